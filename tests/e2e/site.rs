//! A web site of a test's own, on the loopback, that does to its visitors whatever the test says.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// The path, with the query.
    pub(crate) path: String,
    /// By lower-case name.
    pub(crate) headers: BTreeMap<String, String>,
}

impl Ask {
    /// The path alone.
    pub(crate) fn file(&self) -> &str {
        self.path.split('?').next().unwrap_or_default().trim_start_matches('/')
    }

    /// First byte, and the one behind the last, of the part that is asked for, if one is.
    pub(crate) fn range(&self, length: usize) -> Option<(usize, usize)> {
        let (first, last) = self.headers.get("range")?.strip_prefix("bytes=")?.split_once('-')?;
        let last = last.parse().map_or(length, |last: usize| length.min(last + 1));
        Some((first.parse().ok()?, last))
    }
}

/// What is answered. The connection ends with it.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// The body is sent again and again, for ever.
    endless: bool,
}

impl Reply {
    /// A body and its length.
    pub(crate) fn body(bytes: &[u8]) -> Self {
        let headers = vec![("Content-Length", bytes.len().to_string())];
        Self { status: 200, headers, body: bytes.to_vec(), endless: false }
    }

    /// A status and nothing else.
    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::body(b"") }
    }

    /// To somewhere else.
    pub(crate) fn redirect(to: &str) -> Self {
        Self::status(302).with("Location", to)
    }

    /// What `ask` asks for of `file`, which has this tag: all, or a part.
    pub(crate) fn file(ask: &Ask, file: &[u8], tag: &str) -> Self {
        let same = ask.headers.get("if-range").is_none_or(|wanted| wanted == tag);
        match ask.range(file.len()).filter(|_| same) {
            None => Self::body(file),
            Some((first, end)) if first >= end => Self::status(416),
            Some((first, end)) => {
                let range = format!("bytes {first}-{}/{}", end - 1, file.len());
                Self { status: 206, ..Self::body(&file[first..end]) }.with("Content-Range", &range)
            }
        }
        .with("ETag", tag)
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Breaks off after so many bytes of the body.
    pub(crate) fn cut(mut self, bytes: usize) -> Self {
        self.body.truncate(bytes);
        self
    }

    /// Goes on for ever, without a length.
    pub(crate) fn endless(mut self) -> Self {
        self.headers.retain(|(name, _)| *name != "Content-Length");
        Self { endless: true, ..self }
    }
}

/// A site; ends with the test's process.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// Host and port.
    pub(crate) address: String,
    scheme: &'static str,
    seen: Arc<Mutex<Vec<Ask>>>,
}

impl Site {
    /// Answers at `ip`, on a free port.
    pub(crate) fn open(ip: &str, answer: impl Fn(&Ask) -> Reply + Send + Sync + 'static) -> Self {
        Self::open_as(ip, None, answer)
    }

    /// The same within TLS.
    pub(crate) fn open_tls(
        ip: &str,
        tls: ServerConfig,
        answer: impl Fn(&Ask) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::open_as(ip, Some(Arc::new(tls)), answer)
    }

    fn open_as(
        ip: &str,
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&Ask) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((ip, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address").to_string();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let site = Self { address, scheme, seen: Arc::default() };
        let (answer, seen) = (Arc::new(answer), site.seen.clone());
        thread::spawn(move || {
            for visitor in listener.incoming().flatten() {
                let (answer, seen, tls) = (answer.clone(), seen.clone(), tls.clone());
                // Visitors may leave whenever they like.
                thread::spawn(move || match tls {
                    None => visit(visitor, &seen, &*answer),
                    Some(tls) => {
                        let connection = ServerConnection::new(tls).ok()?;
                        visit(StreamOwned::new(connection, visitor), &seen, &*answer)
                    }
                });
            }
        });
        site
    }

    /// An address on it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}/{path}", self.scheme, self.address)
    }

    /// What was asked for so far.
    pub(crate) fn seen(&self) -> Vec<Ask> {
        self.seen.lock().expect("no panic while held").clone()
    }
}

fn visit(mut visitor: impl Read + Write, seen: &Mutex<Vec<Ask>>, answer: &dyn Fn(&Ask) -> Reply) -> Option<()> {
    let mut lines = BufReader::new(&mut visitor).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let header = |line: String| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let headers = lines.take_while(|line| !line.is_empty()).filter_map(header).collect();
    let ask = Ask { path, headers };
    seen.lock().expect("no panic while held").push(ask.clone());
    let reply = answer(&ask);
    write!(visitor, "HTTP/1.1 {} Said\r\nConnection: close\r\n", reply.status).ok()?;
    for (name, value) in &reply.headers {
        write!(visitor, "{name}: {value}\r\n").ok()?;
    }
    visitor.write_all(b"\r\n").ok()?;
    loop {
        visitor.write_all(&reply.body).ok()?;
        if !reply.endless {
            return visitor.flush().ok();
        }
    }
}
