//! The HTTP API as an app calls it.

use std::time::Duration;

use millrace_proto::api;
use serde_json::{Value, json};
use ureq::http::{Request, Response};

use crate::wait::{s, until};

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: Response<()>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A header's value; empty if it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.head.headers().get(name).map_or("", |value| value.to_str().expect("headers are ASCII"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}: {}", self.text()))
    }

    /// The error that this answer is: status, and all three parts filled.
    #[track_caller]
    pub(crate) fn error(&self, status: u16) -> api::Error {
        assert_eq!(self.status, status, "{}", self.text());
        let error: api::Error = self.json();
        let told = [&error.code, &error.message, &error.hint];
        assert!(told.iter().all(|part| !part.trim().is_empty()), "a part is missing: {error:?}");
        error
    }
}

/// A client of one orchestrator.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    /// `http://HOST:PORT`.
    pub(crate) base: String,
    key: String,
    agent: ureq::Agent,
}

impl Api {
    pub(crate) fn new(address: &str, key: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(s(60)))
            // Tests stop and start the server; a connection of before is of no use.
            .max_idle_connections(0)
            .allow_non_standard_methods(true)
            .build();
        Self { base: format!("http://{address}"), key: key.to_owned(), agent: config.into() }
    }

    /// The same server, asked at another address.
    pub(crate) fn at(&self, address: &str) -> Self {
        Self::new(address, &self.key)
    }

    /// The administrator's `Authorization`.
    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.key)
    }

    /// One request, with exactly these headers.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Answer, ureq::Error> {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = match body {
            Some(body) => self.agent.run(request.body(body).expect("the request is well-formed")),
            None => self.agent.run(request.body(()).expect("the request is well-formed")),
        }?;
        let (head, mut body) = answer.into_parts();
        let status = head.status.as_u16();
        let body = body.with_config().limit(1 << 30).read_to_vec()?;
        Ok(Answer { status, head: Response::from_parts(head, ()), body })
    }

    /// GET without a key, as players do.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], None).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// One request with the administrator's key.
    #[track_caller]
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let key = format!("Bearer {}", self.key);
        let text = body.map(Value::to_string);
        let headers = [("authorization", key.as_str()), ("content-type", "application/json")];
        self.send(method, path, &headers[..=usize::from(body.is_some())], text.as_deref().map(str::as_bytes))
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Makes a stream; `profile` is a preset's name or a profile.
    #[track_caller]
    pub(crate) fn create(&self, source: &str, profile: &Value) -> api::Stream {
        let ask = json!({"name": "a test", "source": source, "profile": profile, "listed": true});
        let answer = self.call("POST", "/v1/streams", Some(&ask));
        assert!((200..300).contains(&answer.status), "{}: {}", answer.status, answer.text());
        answer.json()
    }

    #[track_caller]
    pub(crate) fn stream(&self, id: &millrace_proto::StreamId) -> api::Stream {
        let answer = self.call("GET", &format!("/v1/streams/{id}"), None);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Waits until the stream is in `state`.
    #[track_caller]
    pub(crate) fn until(&self, stream: &api::Stream, state: api::StreamState, limit: Duration) -> api::Stream {
        let mut last = None;
        let what = format!("the state {state:?} of stream {}", stream.id);
        until(&what, limit, || {
            // The server may be away: some tests restart it while they wait.
            let key = format!("Bearer {}", self.key);
            let path = format!("/v1/streams/{}", stream.id);
            let answer = self.send("GET", &path, &[("authorization", &key)], None).ok()?;
            let now: api::Stream = (answer.status == 200).then(|| answer.json())?;
            let told = Some((now.state, now.progress));
            if told != last {
                println!("stream {}: {:?} {:?} {:?}", now.id, now.state, now.progress, now.reason);
                last = told;
            }
            let over = matches!(now.state, api::StreamState::Failed | api::StreamState::Ended);
            assert!(!over || now.state == state, "the stream is {:?} ({:?})", now.state, now.reason);
            (now.state == state).then_some(now)
        })
    }

    /// Uploads bytes `first..` of `file`, up to `end` of it.
    #[track_caller]
    pub(crate) fn upload(&self, stream: &api::Stream, file: &[u8], first: usize, end: usize) -> Answer {
        let key = format!("Bearer {}", self.key);
        let range = format!("bytes {first}-{}/{}", end - 1, file.len());
        let headers = [("authorization", key.as_str()), ("content-range", range.as_str())];
        let path = format!("/v1/streams/{}/source", stream.id);
        self.send("PUT", &path, &headers, Some(&file[first..end])).unwrap_or_else(|error| panic!("PUT {path}: {error}"))
    }

    /// Uploads the whole of `file`.
    #[track_caller]
    pub(crate) fn upload_all(&self, stream: &api::Stream, file: &[u8]) {
        let answer = self.upload(stream, file, 0, file.len());
        assert!((200..300).contains(&answer.status), "{}: {}", answer.status, answer.text());
    }

    #[track_caller]
    pub(crate) fn workers(&self) -> Vec<api::Worker> {
        let answer = self.call("GET", "/v1/workers", None);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json::<api::Page<api::Worker>>().items
    }
}
