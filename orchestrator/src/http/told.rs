//! The addresses that apps are told: as configured, as the proxy before this server says, or as it was asked.
//!
//! A proxy's headers count only if the peer is one of `api.proxies_trusted`, and then only what that peer itself
//! added. Whoever lies in them, or in `Host`, misleads nobody else: answers with such addresses are never cached.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, HeaderName, header, request::Parts, uri::Authority},
};
use ipnet::IpNet;

use crate::house::House;

/// Where apps reach this server, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// As in `https://video.example.org`.
    pub(super) http: String,
    /// With the application's name, as in `rtmp://video.example.org:1935/live`.
    pub(super) rtmp: String,
    /// As in `srt://video.example.org:8890`; absent where SRT is not taken.
    pub(super) srt: Option<String>,
}

impl FromRequestParts<Arc<House>> for Told {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, house: &Arc<House>) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let asked = asked(&parts.headers, peer, &house.config.api.proxies_trusted);
        let http = match &asked {
            Some((scheme, at)) if house.config.public_http_url.is_empty() => format!("{scheme}://{at}"),
            _ => house.http_url.clone(),
        };
        // Who listens on all addresses has no address to tell: then RTMP and SRT are where HTTP is.
        let named = http.split_once("://").and_then(|(_, at)| authority(at));
        let here = |configured: &str, at: SocketAddr| {
            let named = named.as_ref().filter(|_| configured.is_empty() && at.ip().is_unspecified())?;
            Some(format!("{}:{}", named.host(), at.port()))
        };
        let rtmp = here(&house.config.public_rtmp_url, house.rtmp_at)
            .map_or_else(|| house.rtmp_url.clone(), |at| format!("rtmp://{at}/live"));
        let srt = house.srt.as_ref().map(|(at, url)| {
            here(&house.config.public_srt_url, *at).map_or_else(|| url.clone(), |at| format!("srt://{at}"))
        });
        Ok(Self { http, rtmp, srt })
    }
}

/// Scheme and authority by which this server was asked; `None` where the request does not tell.
pub(super) fn asked(headers: &HeaderMap, peer: Option<IpAddr>, trusted: &[IpNet]) -> Option<(&'static str, Authority)> {
    let trusted = peer.is_some_and(|peer| trusted.iter().any(|net| net.contains(&peer.to_canonical())));
    let (mut host, mut proto) = (None, None);
    if trusted {
        host = forwarded(headers, "host").or_else(|| last(headers, &HeaderName::from_static("x-forwarded-host")));
        proto = forwarded(headers, "proto").or_else(|| last(headers, &HeaderName::from_static("x-forwarded-proto")));
    }
    let host = host.or_else(|| headers.get(header::HOST)?.to_str().ok())?;
    let scheme = if proto.is_some_and(|proto| proto.eq_ignore_ascii_case("https")) { "https" } else { "http" };
    Some((scheme, authority(host)?))
}

fn authority(text: &str) -> Option<Authority> {
    text.parse().ok().filter(|at: &Authority| !at.as_str().contains('@') && !at.host().is_empty())
}

/// The last value of a list that proxies append to: what the peer added.
fn last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get_all(name).iter().next_back()?.to_str().ok()?.rsplit(',').next().map(str::trim)
}

/// A parameter of the last element of `Forwarded` (RFC 7239). Neither hosts nor schemes hold a comma or a semicolon,
/// so that quotes which a stranger left open in an element before it change nothing.
fn forwarded<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    last(headers, &header::FORWARDED)?.split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told to a peer at `peer`, with loopback trusted.
    fn told(peer: &str, headers: &[(&'static str, &str)]) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let trusted = ["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        asked(&map, peer.parse().ok(), &trusted).map(|(scheme, at)| format!("{scheme}://{at}"))
    }

    #[test]
    fn a_trusted_proxy_says_how_it_was_asked() {
        let host = ("host", "127.0.0.1:8080");
        let cases: [(&[(&'static str, &str)], &str); 7] = [
            (&[host], "http://127.0.0.1:8080"),
            (&[host, ("forwarded", "for=192.0.2.1;proto=https;host=a.example")], "https://a.example"),
            (&[host, ("forwarded", "Host=\"a.example:8443\"; Proto=HTTPS")], "https://a.example:8443"),
            (&[host, ("x-forwarded-proto", "https"), ("x-forwarded-host", "b.example")], "https://b.example"),
            (&[("host", "c.example"), ("x-forwarded-proto", "https")], "https://c.example"),
            // Only what the proxy itself added counts, whatever came before it.
            (
                &[host, ("forwarded", "host=evil.example;for=\"x, for=1;proto=https;host=a.example")],
                "https://a.example",
            ),
            (
                &[host, ("forwarded", "host=evil.example"), ("forwarded", "host=[2001:db8::1]:80")],
                "http://[2001:db8::1]:80",
            ),
        ];
        for (headers, wanted) in cases {
            for peer in ["127.0.0.1", "::1", "::ffff:127.0.0.9"] {
                assert_eq!(told(peer, headers).as_deref(), Some(wanted), "{peer} {headers:?}");
            }
        }
    }

    #[test]
    fn strangers_headers_and_hosts_that_are_none_are_passed_by() {
        let lie = ("forwarded", "host=evil.example;proto=https");
        assert_eq!(told("192.0.2.1", &[("host", "a.example"), lie]).as_deref(), Some("http://a.example"));
        assert_eq!(told("192.0.2.1", &[lie]), None);
        for bad in ["", "a b", "user@a.example", "a/b", "<a>"] {
            assert_eq!(told("127.0.0.1", &[("host", bad)]), None, "{bad:?}");
        }
    }
}
