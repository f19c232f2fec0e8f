//! Rules that answers must keep (RFC 9110, RFC 9111, the Fetch standard): what players and caches are told.

use std::collections::BTreeMap;

use crate::api::{Answer, Api};

use super::{Book, Finding, Findings};

pub(super) const TYPE: &str = "RFC 8216bis 4, 3.1.2 (Content-Type)";
pub(super) const CORS: &str = "Fetch 3.2 (Access-Control-Allow-Origin)";
pub(super) const CACHE: &str = "RFC 8216bis 6.2.1, RFC 9111 5.2 (Cache-Control)";
pub(super) const ETAG: &str = "RFC 9110 8.8.3 (ETag, If-None-Match)";
pub(super) const HEAD: &str = "RFC 9110 9.3.2 (HEAD)";
pub(super) const RANGE: &str = "RFC 9110 14 (range requests)";
pub(super) const GZIP: &str = "RFC 8216bis 6.2.1 (playlists are compressed)";

const PLAYLIST: &str = "application/vnd.apple.mpegurl";
/// Segments never change: a year is what RFC 9111 calls forever.
const FOREVER_S: u64 = 31_536_000;
/// A live playlist is old after half a target duration.
const LIVE_S_MAX: u64 = 2;

const NAMES: [&str; 8] = [
    "content-type",
    "access-control-allow-origin",
    "cache-control",
    "etag",
    "content-length",
    "content-range",
    "accept-ranges",
    "content-encoding",
];

/// An answer, as far as it is judged.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<&'static str, String>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    fn of(answer: Answer) -> Self {
        let headers = NAMES.map(|name| (name, answer.header(name).to_owned())).into();
        Self { status: answer.status, headers, body: answer.body }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn max_age_s(&self) -> Option<u64> {
        self.header("cache-control").split(',').find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok())
    }
}

/// The same asked in all ways.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) url: String,
    pub(super) kind: &'static str,
    pub(super) live: bool,
    pub(super) plain: Reply,
    pub(super) head: Reply,
    /// With the `ETag` that it has.
    pub(super) same: Reply,
    /// With one that it does not have.
    pub(super) other: Reply,
    pub(super) gzip: Reply,
    /// Bytes 1 to 10.
    pub(super) part: Reply,
    /// The last 10.
    pub(super) tail: Reply,
    /// From behind the end.
    pub(super) beyond: Reply,
}

/// Asks for the multivariant playlist, and for everything else of which there are many, once.
pub(super) fn judge(api: &Api, book: &Book) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut look = |url: &str, kind, live| match ask(api, url, kind, live) {
        Ok(asked) => findings.extend(rules(&asked)),
        Err(error) => findings.push(Finding { rule: HEAD, url: url.to_owned(), what: error.to_string() }),
    };
    let Some(master) = book.masters.last() else { return findings };
    look(&master.url, PLAYLIST, book.live);
    for list in book.lists.values().filter_map(|states| states.last()) {
        look(&list.url, PLAYLIST, book.live && !list.ended);
        let kind = if master.is_sound(&list.url) { "audio/mp4" } else { "video/mp4" };
        if let Some(entry) = list.entries.iter().rfind(|entry| !entry.gap) {
            look(&entry.url, kind, false);
            if let Some(init) = &entry.init {
                look(init, kind, false);
            }
        }
    }
    findings
}

fn ask(api: &Api, url: &str, kind: &'static str, live: bool) -> Result<Asked, ureq::Error> {
    let send = |method: &str, name: &str, value: &str| -> Result<Reply, ureq::Error> {
        let origin = ("origin", "https://player.example");
        let headers = [origin, (name, value)];
        let count = if name.is_empty() { 1 } else { 2 };
        Ok(Reply::of(api.send(method, url, &headers[..count], None)?))
    };
    // A live playlist may change between two questions; then both are asked again.
    let (plain, same) = loop {
        let plain = send("GET", "", "")?;
        let same = send("GET", "if-none-match", plain.header("etag"))?;
        if !live || same.status == 304 || same.header("etag") == plain.header("etag") {
            break (plain, same);
        }
    };
    let length = plain.body.len();
    Ok(Asked {
        url: url.to_owned(),
        kind,
        live,
        head: send("HEAD", "", "")?,
        same,
        other: send("GET", "if-none-match", "\"another\"")?,
        gzip: send("GET", "accept-encoding", "gzip")?,
        part: send("GET", "range", "bytes=1-10")?,
        tail: send("GET", "range", "bytes=-10")?,
        beyond: send("GET", "range", &format!("bytes={}-", length + 1))?,
        plain,
    })
}

/// Judges one thing that was asked for in all ways.
pub(super) fn rules(asked: &Asked) -> Vec<Finding> {
    let mut findings = Findings::default();
    let (plain, same) = (&asked.plain, &asked.same);
    let mut check = |holds, rule, reply: &Reply| {
        findings.check(holds, rule, &asked.url, || format!("{} {:?}", reply.status, reply.headers));
    };
    check(plain.status == 200 && plain.header("content-type") == asked.kind, TYPE, plain);
    check(plain.header("access-control-allow-origin") == "*", CORS, plain);
    let etag = plain.header("etag");
    check(etag.len() > 2 && etag.ends_with('"'), ETAG, plain);
    check(same.status == 304 && same.body.is_empty() && same.header("etag") == etag, ETAG, same);
    check(asked.other.status == 200 && !asked.other.body.is_empty(), ETAG, &asked.other);
    let head = &asked.head;
    check(head.status == 200 && head.body.is_empty() && head.header("content-type") == asked.kind, HEAD, head);
    if asked.kind == PLAYLIST {
        let gzip = &asked.gzip;
        check(gzip.header("content-encoding") == "gzip" && gzip.body.starts_with(&[0x1f, 0x8b]), GZIP, gzip);
        let short = plain.header("cache-control").contains("no-cache")
            || plain.max_age_s().is_some_and(|age_s| age_s <= LIVE_S_MAX);
        let told = !plain.header("cache-control").is_empty();
        let never_forever = !plain.header("cache-control").contains("immutable");
        check(told && never_forever && (short || !asked.live), CACHE, plain);
        return findings.0;
    }
    let forever = plain.header("cache-control").contains("immutable") && plain.max_age_s() >= Some(FOREVER_S);
    check(forever, CACHE, plain);
    let length = plain.body.len();
    check(head.header("content-length") == length.to_string(), HEAD, head);
    check(plain.header("accept-ranges") == "bytes", RANGE, plain);
    for (reply, from, to) in [(&asked.part, 1, 11), (&asked.tail, length.saturating_sub(10), length)] {
        let told = format!("bytes {from}-{}/{length}", to - 1);
        let right = reply.status == 206 && reply.header("content-range") == told;
        check(right && plain.body.get(from..to) == Some(&reply.body[..]), RANGE, reply);
    }
    let beyond = &asked.beyond;
    check(beyond.status == 416 && beyond.header("content-range") == format!("bytes */{length}"), RANGE, beyond);
    findings.0
}
