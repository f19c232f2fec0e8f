//! What apps, encoders, players and proxies put into HTTP's heads, and the addresses that apps name.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::{http::fuzz, ingest::fetch::address};

/// Lines of `name: value`.
pub(super) fn headers(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    // HTTP itself is read by hyper; what it lets pass is what comes here.
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        let Some(at) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (HeaderName::from_bytes(&line[..at]), HeaderValue::from_bytes(&line[at + 1..]));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    fuzz::headers(headers);
}

/// A URL, and a link that is followed from it.
pub(super) fn addresses(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (url, link) = text.split_once('\n').unwrap_or((&text, ""));
    address::told(url);
    let Ok(base) = address::parse(url) else { return };
    address::host(&base);
    let _ = address::check(&base, &[]);
    if let Ok(next) = address::follow(&base, link) {
        assert!(!(base.scheme() == "https" && next.scheme() == "http"), "{base} led to {next}");
        let _ = address::check(&next, &[]);
    }
}
