//! Fetching: HTTP from servers that an app named, which are trusted with nothing.
//!
//! One client for all: it connects to permitted machines alone (`fetch/address.rs`), follows redirects by hand so that
//! each is checked anew, takes no proxy from the environment, asks for nothing compressed and takes nothing
//! compressed, and bounds every wait. Decides nothing about streams: `pull.rs` does. Nothing here writes a URL's path,
//! query, name or password into a log or an error.

pub mod address;
mod config;
mod resolve;
mod retry;

use std::{
    error::Error as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use ipnet::IpNet;
use prometheus::{IntCounter, IntCounterVec};
use reqwest::{Certificate, Client, Response, StatusCode, Url, header, redirect};
use tokio::time::timeout;

pub use config::Config;
pub use retry::Retry;

/// What went wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Failure {
    /// What callers look at.
    pub kind: Kind,
    /// For people, without secrets.
    pub why: String,
}

/// Why nothing can be fetched at all.
#[derive(Debug, thiserror::Error)]
pub enum Unready {
    /// The client can't be made.
    #[error(transparent)]
    Client(#[from] reqwest::Error),
    /// The file of trusted certificates is of no use.
    #[error("{}: {why}: set ingest.fetch.ca to a PEM file", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// In words.
        why: String,
    },
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The address is not fetched from.
    Refused,
    /// The server said no: it is likely to say so again.
    Denied,
    /// It is larger than allowed.
    TooLarge,
    /// It is no longer what part of it was fetched of: to be fetched from its start.
    Changed,
    /// Another try may succeed, after this pause at the earliest.
    Later(Option<Duration>),
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: Kind, why: impl Into<String>) -> Self {
        Self { kind, why: why.into() }
    }

    fn later(why: impl Into<String>) -> Self {
        Self::new(Kind::Later(None), why)
    }

    fn label(&self) -> &'static str {
        match self.kind {
            Kind::Refused => "refused",
            Kind::Denied => "denied",
            Kind::TooLarge => "too_large",
            Kind::Changed => "changed",
            Kind::Later(_) => "later",
        }
    }
}

impl From<address::Refused> for Failure {
    fn from(refused: address::Refused) -> Self {
        Self::new(Kind::Refused, refused.to_string())
    }
}

/// Which bytes are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Part<'a> {
    /// The first one.
    pub first: u64,
    /// How many; all up to the end if absent.
    pub bytes: Option<u64>,
    /// Only of this version; otherwise [`Kind::Changed`].
    pub version: Option<&'a str>,
}

impl Part<'_> {
    fn is_all(&self) -> bool {
        self.first == 0 && self.bytes.is_none()
    }
}

/// The head of an answer that brings what was asked for.
#[derive(Debug)]
pub struct Answer {
    /// Where it came from in the end: what links in it are relative to.
    pub url: Url,
    /// How many bytes the whole has, if the server tells.
    pub total: Option<u64>,
    /// Which version of the whole it is of, as a condition for its other parts.
    pub version: Option<String>,
    /// How many bytes are still to come, if the server tells.
    left: Option<u64>,
    response: Response,
    idle: Duration,
    bytes: IntCounter,
    failures: IntCounterVec,
}

impl Answer {
    /// The next bytes; `None` after the last.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let next = self.next().await;
        if let Err(failure) = &next {
            self.failures.with_label_values(&[failure.label()]).inc();
        }
        next
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let next = timeout(self.idle, self.response.chunk()).await;
        match next.map_err(|_| Failure::later("the transfer stood still"))?.map_err(|error| of_error(&error))? {
            Some(chunk) => {
                self.bytes.inc_by(chunk.len() as u64);
                if let Some(left) = &mut self.left {
                    *left = left.saturating_sub(chunk.len() as u64);
                }
                Ok(Some(chunk))
            }
            None if self.left.is_some_and(|left| left > 0) => Err(Failure::later("the transfer broke off")),
            None => Ok(None),
        }
    }

    /// All that comes, if it is at most `bytes_max`.
    pub async fn read(mut self, bytes_max: u64) -> Result<Bytes, Failure> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if (body.len() + chunk.len()) as u64 > bytes_max {
                return Err(Failure::new(Kind::TooLarge, format!("more than {bytes_max} bytes came")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

/// Fetches.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client,
    allowed: Arc<[IpNet]>,
    config: Config,
    bytes: IntCounter,
    failures: IntCounterVec,
}

impl Fetcher {
    /// A fetcher with these limits. Counts bytes, and failures by kind.
    pub fn new(config: &Config, bytes: IntCounter, failures: IntCounterVec) -> Result<Self, Unready> {
        // Fails where one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let allowed: Arc<[IpNet]> = config.private_allowed.clone().into();
        let authorities = authorities(&config.ca)?;
        let client = Client::builder()
            .tls_certs_merge(authorities)
            .user_agent(concat!("millrace/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .dns_resolver(resolve::Resolver { allowed: allowed.clone() })
            .connect_timeout(Duration::from_millis(config.answer_ms_max))
            .http2_max_header_list_size(64 << 10)
            .pool_max_idle_per_host(2)
            .build()?;
        Ok(Self { client, allowed, config: config.clone(), bytes, failures })
    }

    /// The limits.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Refuses a URL that can be told to be forbidden without asking anyone.
    pub fn check(&self, url: &Url) -> Result<(), address::Refused> {
        address::check(url, &self.allowed)
    }

    /// Asks for `part` of what is at `url`; the answer brings it and nothing else.
    pub async fn get(&self, url: &Url, part: Part<'_>) -> Result<Answer, Failure> {
        let answer = self.ask(url, part).await;
        if let Err(failure) = &answer {
            self.failures.with_label_values(&[failure.label()]).inc();
        }
        answer
    }

    async fn ask(&self, url: &Url, part: Part<'_>) -> Result<Answer, Failure> {
        let mut url = url.clone();
        for _ in 0..=self.config.redirects_max {
            address::check(&url, &self.allowed)?;
            let mut request = self.client.get(url.clone()).header(header::ACCEPT_ENCODING, "identity");
            if !part.is_all() {
                let last = part.bytes.map_or(String::new(), |bytes| (part.first + bytes.max(1) - 1).to_string());
                request = request.header(header::RANGE, format!("bytes={}-{last}", part.first));
                if let Some(version) = part.version {
                    request = request.header(header::IF_RANGE, version);
                }
            }
            // A server may take its time with the last byte of a head, too.
            let wait = Duration::from_millis(self.config.answer_ms_max) * 2;
            let response = timeout(wait, request.send()).await;
            let response = response
                .map_err(|_| Failure::later(format!("{} does not answer", address::host(&url))))?
                .map_err(|error| refused(&url, &error).unwrap_or_else(|| of_error(&error)))?;
            match response.status() {
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => {
                    let link = header_text(&response, &header::LOCATION)
                        .ok_or_else(|| Failure::new(Kind::Denied, "a redirect leads nowhere"))?;
                    url = address::follow(&url, link)?;
                }
                _ => return self.begin(url, part, response),
            }
        }
        let most = self.config.redirects_max;
        Err(Failure::new(Kind::Denied, format!("more than {most} redirects: give the address that they lead to")))
    }

    fn begin(&self, url: Url, part: Part<'_>, response: Response) -> Result<Answer, Failure> {
        let status = response.status();
        let host = address::host(&url);
        let total = match status {
            StatusCode::OK if part.is_all() => response.content_length(),
            // It has no ranges, or is another one by now.
            StatusCode::OK | StatusCode::RANGE_NOT_SATISFIABLE if part.first > 0 || part.bytes.is_some() => {
                return Err(Failure::new(Kind::Changed, format!("{host} does not give that part of it")));
            }
            StatusCode::PARTIAL_CONTENT if !part.is_all() => {
                let range = header_text(&response, &header::CONTENT_RANGE).and_then(range);
                let (first, last, total) = range
                    .ok_or_else(|| Failure::new(Kind::Changed, format!("{host} does not say which part it sends")))?;
                if first != part.first || part.bytes.is_some_and(|bytes| last - first + 1 != bytes) {
                    return Err(Failure::new(Kind::Changed, format!("{host} sends another part than was asked for")));
                }
                total
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                return Err(Failure::new(Kind::Later(pause(&response)), format!("{host} answers {status}")));
            }
            _ if status.is_server_error() => {
                return Err(Failure::new(Kind::Later(pause(&response)), format!("{host} answers {status}")));
            }
            _ => return Err(Failure::new(Kind::Denied, format!("{host} answers {status}"))),
        };
        if header_text(&response, &header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(Failure::new(Kind::Denied, format!("{host} compresses what it sends, though asked not to")));
        }
        let tag = header_text(&response, &header::ETAG).filter(|tag| !tag.starts_with("W/"));
        let version = tag.or_else(|| header_text(&response, &header::LAST_MODIFIED)).map(str::to_owned);
        let idle = Duration::from_millis(self.config.idle_ms_max);
        Ok(Answer {
            url,
            total,
            version,
            left: response.content_length(),
            response,
            idle,
            bytes: self.bytes.clone(),
            failures: self.failures.clone(),
        })
    }
}

/// The certificates that are trusted besides the system's.
fn authorities(ca: &Path) -> Result<Vec<Certificate>, Unready> {
    if ca.as_os_str().is_empty() {
        return Ok(Vec::new());
    }
    let unready = |why: String| Unready::Ca { path: ca.to_owned(), why };
    let pem = std::fs::read(ca).map_err(|error| unready(error.to_string()))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| unready(error.to_string()))?;
    if found.is_empty() { Err(unready("it holds no certificate".into())) } else { Ok(found) }
}

fn header_text<'a>(response: &'a Response, name: &header::HeaderName) -> Option<&'a str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

/// First and last byte, and the whole's length if it is known, of `bytes FIRST-LAST/TOTAL` (RFC 9110, 14.4).
fn range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (span, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = span.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    (first <= last && total.is_none_or(|total| last < total)).then_some((first, last, total))
}

/// `Retry-After` in seconds; dates are not understood and mean no wish.
fn pause(response: &Response) -> Option<Duration> {
    header_text(response, &header::RETRY_AFTER)?.trim().parse().ok().map(Duration::from_secs)
}

/// The refusal that our own resolver gave, if that is what went wrong.
fn refused(url: &Url, error: &reqwest::Error) -> Option<Failure> {
    let private = causes(error).any(<dyn std::error::Error>::is::<resolve::Private>);
    private.then(|| address::Refused::Private(address::host(url)).into())
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |cause: &&(dyn std::error::Error + 'static)| (*cause).source())
}

/// In words, without the URL, which reqwest's own text has.
fn of_error(error: &reqwest::Error) -> Failure {
    let what = if error.is_connect() {
        "can't connect"
    } else if error.is_timeout() {
        "no answer in time"
    } else {
        "the transfer broke off"
    };
    let cause = causes(error).last();
    Failure::later(cause.map_or_else(|| what.to_owned(), |cause| format!("{what}: {cause}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(range("bytes 5-9/10"), Some((5, 9, Some(10))));
        assert_eq!(range("bytes 0-0/*"), Some((0, 0, None)));
        for bad in ["", "bytes */10", "bytes 5-4/10", "bytes 5-10/10", "5-9/10", "bytes 5-/10", "bytes -1-4/10"] {
            assert_eq!(range(bad), None, "{bad:?}");
        }
    }
}
