//! Answers to players that are kept in memory, so that what thousands ask for is made once.
//!
//! Owns what is kept, within a number of bytes, and for how long: as long as the store says that nothing of the stream
//! has changed since the answer was made of it ([`Store::revision`]). Handlers say which answers follow from the
//! address and the store alone ([`Seen::keep`]); whatever depends on who asks, on a token or on the time is made anew
//! for each. Stands before all routes; decides nothing about what is answered.

use std::sync::Arc;

use axum::{
    body::{Body, HttpBody as _, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use millrace_proto::StreamId;
use quick_cache::{
    DefaultHashBuilder, OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};
use serde::{Deserialize, Serialize};

use super::{answer, error::Error};
use crate::{house::House, store::Store};

/// What an entry takes beside its body: its name, headers and place. Rounded up.
const ENTRY_BYTES: u64 = 2_048;
/// Longest address and longest `Accept-Encoding` that are looked for: those of players are short.
const ADDRESS_BYTES_MAX: usize = 256;
const ENCODING_BYTES_MAX: usize = 64;
/// Parts of the table, each with its own lock and its share of the bytes.
const SHARDS: usize = 4;

/// How much is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Bytes of all answers; 0 keeps none.
    pub bytes_max: u64,
    /// Bytes of one answer; longer ones are read from the disk each time.
    pub answer_bytes_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { bytes_max: 128 << 20, answer_bytes_max: 4 << 20 }
    }
}

impl Config {
    /// Checks what the types do not; the error names the key.
    pub fn check(&self) -> Result<(), String> {
        let share = self.bytes_max / SHARDS as u64;
        if self.bytes_max > 0 && share < self.answer_bytes_max.saturating_add(ENTRY_BYTES) {
            return Err(format!("bytes_max is too small: use 0, or more than {SHARDS} times answer_bytes_max"));
        }
        Ok(())
    }
}

/// What is kept.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    store: Arc<dyn Store>,
    answers: Option<Arc<Cache<Asked, Arc<Answer>, Weight>>>,
}

/// What an answer that is kept follows from, beside the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Asked {
    address: Box<str>,
    /// Of texts, which go out compressed or not.
    encoding: Box<str>,
}

/// The records of a stream as a handler found them, or later ones.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    stream: StreamId,
    revision: u64,
    answer_bytes_max: u64,
}

#[derive(Debug)]
struct Answer {
    stream: StreamId,
    revision: u64,
    headers: HeaderMap,
    body: Bytes,
}

#[derive(Debug, Clone)]
struct Weight;

impl Weighter<Asked, Arc<Answer>> for Weight {
    fn weight(&self, _: &Asked, answer: &Arc<Answer>) -> u64 {
        answer.body.len() as u64 + ENTRY_BYTES
    }
}

impl Seen {
    /// To be called before anything of the stream is read. `None` if nothing of it can be kept.
    pub(super) fn begin(house: &House, stream: &str) -> Option<Self> {
        let stream = stream.parse().ok()?;
        let revision = house.store.revision(&stream)?;
        Some(Self { stream, revision, answer_bytes_max: house.config.api.kept.answer_bytes_max })
    }

    /// Marks an answer that follows from the address and what was seen, and from nothing else.
    pub(super) fn keep(seen: Option<Self>, mut response: Response) -> Response {
        let length = response.headers().get(header::CONTENT_LENGTH).and_then(|text| text.to_str().ok()?.parse().ok());
        let length = length.or_else(|| response.body().size_hint().exact());
        if let (Some(seen), Some(length), StatusCode::OK) = (seen, length, response.status())
            && length <= seen.answer_bytes_max
        {
            response.extensions_mut().insert(seen);
        }
        response
    }
}

/// Answers from memory, or keeps what is answered if that may be.
pub(super) async fn serve(State(kept): State<Kept>, request: Request, next: Next) -> Response {
    let Some((answers, asked)) = kept.answers.as_ref().zip(Asked::of(&request)) else {
        return next.run(request).await;
    };
    let (parts, body) = request.into_parts();
    let known = answers.get(&asked).filter(|known| kept.store.revision(&known.stream) == Some(known.revision));
    if let Some(answered) = known.and_then(|known| known.answer(&parts)) {
        return answered;
    }
    let mut response = next.run(Request::from_parts(parts, body)).await;
    let Some(seen) = response.extensions_mut().remove::<Seen>() else { return response };
    let (head, body) = response.into_parts();
    // A text that is compressed gets shorter, or longer by some bytes.
    let Ok(body) = to_bytes(body, seen.answer_bytes_max as usize + 1_024).await else {
        return Error::Unavailable("a file broke off while it was read".into()).into_response();
    };
    let mut headers = head.headers.clone();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    let answer = Answer { stream: seen.stream, revision: seen.revision, headers, body: body.clone() };
    answers.insert(asked, Arc::new(answer));
    Response::from_parts(head, Body::from(body))
}

impl Kept {
    pub(super) fn new(config: &Config, store: Arc<dyn Store>) -> Self {
        let items = (config.bytes_max / (64 << 10)).max(64) as usize;
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            .estimated_items_capacity(items)
            .weight_capacity(config.bytes_max)
            .build()
            .expect("all that has no default is given");
        let table = || Cache::with_options(options, Weight, DefaultHashBuilder::default(), DefaultLifecycle::default());
        Self { store, answers: (config.bytes_max > 0).then(|| Arc::new(table())) }
    }
}

impl Asked {
    /// `None` for what is never kept.
    fn of(request: &Request) -> Option<Self> {
        let path = request.uri().path();
        let is_playback = path.starts_with("/hls/") || path.starts_with("/dash/");
        if request.method() != Method::GET || !is_playback || path.len() > ADDRESS_BYTES_MAX {
            return None;
        }
        let (_, ending) = path.rsplit_once('.')?;
        let encoding = match ending {
            // Media is the same for all: a token is in its address only to be carried on, and it is not compressed.
            "m4s" | "mp4" => "",
            // A text may repeat what follows the `?`.
            "m3u8" | "mpd" | "vtt" if request.uri().query().is_none() => {
                let mut encodings = request.headers().get_all(header::ACCEPT_ENCODING).iter();
                let encoding = encodings.next().map_or(Some(""), |value| value.to_str().ok())?;
                encodings.next().is_none().then_some(encoding).filter(|text| text.len() <= ENCODING_BYTES_MAX)?
            }
            _ => return None,
        };
        Some(Self { address: path.into(), encoding: encoding.into() })
    }
}

impl Answer {
    /// For this request, by its conditions; `None` if it asks for what is not there.
    fn answer(&self, request: &Parts) -> Option<Response> {
        let text = |name| self.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let etag = text(header::ETAG)?;
        let mut headers = self.headers.clone();
        if answer::matches(request, etag) {
            for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::ACCEPT_RANGES]
            {
                headers.remove(name);
            }
            return Some((StatusCode::NOT_MODIFIED, headers).into_response());
        }
        let size = self.body.len() as u64;
        let part =
            if headers.contains_key(header::ACCEPT_RANGES) { answer::wanted(request, etag, size).ok()? } else { None };
        let mut response = Response::new(Body::from(match &part {
            Some(part) => self.body.slice(part.start as usize..part.end as usize),
            None => self.body.clone(),
        }));
        *response.headers_mut() = headers;
        if let Some(part) = part {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            answer::set(&mut response, header::CONTENT_LENGTH, (part.end - part.start).to_string());
            answer::set(&mut response, header::CONTENT_RANGE, format!("bytes {}-{}/{size}", part.start, part.end - 1));
        }
        Some(response)
    }
}

#[cfg(test)]
mod tests;
