//! Readers of HTTP's headers without their sockets, for [`crate::fuzz`].

use std::net::{IpAddr, Ipv4Addr};

use axum::http::{HeaderMap, Method, Request};

use super::{answer, auth, told, upload};

/// Whatever a request's headers say.
pub(crate) fn headers(headers: HeaderMap) {
    if let Ok(part) = upload::part(&headers) {
        part.check();
    }
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let trusted = [peer.into()];
    if let Some((scheme, authority)) = told::asked(&headers, Some(peer), &trusted) {
        assert!(!authority.as_str().contains(['@', '/', ' ', '"']), "{scheme}://{authority} is told to apps");
    }
    auth::bearer(&headers);
    let (mut request, ()) = Request::new(()).into_parts();
    request.method = Method::GET;
    request.headers = headers;
    for size in [0, 1, 1_000, u64::MAX] {
        if let Ok(Some(range)) = answer::wanted(&request, "\"tag\"", size) {
            assert!(range.start < range.end && range.end <= size, "{range:?} of {size}");
        }
    }
    answer::matches(&request, "\"tag\"");
}
