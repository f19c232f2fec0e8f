//! Addresses: which URLs and which machines may be fetched from. Pure.
//!
//! What an app names is fetched from inside the operator's network: without these rules it could read what only
//! that network should see (server-side request forgery). They apply to what a name resolves to, not to the name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use reqwest::Url;

/// Longest URL.
const CHARS_MAX: usize = 4_096;

/// Why an address is not fetched from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It can't be read, or is none of ours.
    #[error(
        "this is no address to fetch from: give one like https://example.org/clip.mp4, {CHARS_MAX} characters at most"
    )]
    Unreadable,
    /// It leads to what is no part of the public internet.
    #[error(
        "{0} leads to a private address: use a public one, or have its network added to ingest.fetch.private_allowed"
    )]
    Private(String),
    /// From an encrypted connection to an open one.
    #[error("{0} leads from https to http: give the http address if that is wanted")]
    Downgrade(String),
}

/// Reads an address: `http` or `https`, with a host.
pub fn parse(text: &str) -> Result<Url, Refused> {
    let url = Url::parse(text.trim()).map_err(|_| Refused::Unreadable)?;
    let fits = matches!(url.scheme(), "http" | "https") && url.host_str().is_some() && url.as_str().len() <= CHARS_MAX;
    if fits { Ok(url) } else { Err(Refused::Unreadable) }
}

/// Where `link`, which came from `base`, leads: a redirect, or an entry of a playlist.
pub fn follow(base: &Url, link: &str) -> Result<Url, Refused> {
    let url = parse(base.join(link.trim()).map_err(|_| Refused::Unreadable)?.as_str())?;
    if base.scheme() == "https" && url.scheme() != "https" { Err(Refused::Downgrade(host(&url))) } else { Ok(url) }
}

/// Refuses a URL that names a forbidden machine by its number. What names resolve to is looked at later.
pub fn check(url: &Url, allowed: &[IpNet]) -> Result<(), Refused> {
    // Other spellings of IPv4 (0x7f.1, 2130706433) were put into the usual one as the URL was read.
    let text = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    match text.parse() {
        Ok(address) if !permits(address, allowed) => Err(Refused::Private(host(url))),
        _ => Ok(()),
    }
}

/// Whether this machine may be fetched from.
pub fn permits(address: IpAddr, allowed: &[IpNet]) -> bool {
    let plain = address.to_canonical();
    is_public(address) || allowed.iter().any(|network| network.contains(&address) || network.contains(&plain))
}

/// Whether an address is part of the public internet: globally reachable by the IANA special-purpose registries
/// (RFC 6890 and its updates), and not multicast.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        // This network, private, loopback; multicast, reserved and broadcast.
        (0 | 10 | 127 | 224..=255, ..)
        // Shared with carriers (100.64.0.0/10).
        | (100, 64..=127, _)
        // Link-local, where clouds tell secrets; private (172.16.0.0/12, 192.168.0.0/16).
        | (169, 254, _) | (172, 16..=31, _) | (192, 168, _)
        // Protocol assignments, documentation, relays of 6to4.
        | (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113) | (192, 88, 99)
        // Benchmarks (198.18.0.0/15).
        | (198, 18 | 19, _)
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    match address.segments() {
        // Translated to IPv4 on the way (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_public_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))),
        // Protocol assignments with Teredo (2001::/23); documentation; 6to4; documentation (3fff::/20).
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // Global unicast is 2000::/3; all else is unspecified, loopback, local, multicast or not given out.
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

/// The URL without name and password, as apps are told it.
pub fn told(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return String::new() };
    // Fails for URLs without a host alone, which never get here.
    let _ = (url.set_username(""), url.set_password(None));
    url.to_string()
}

/// The URL's host, for people: paths and queries may hold secrets.
pub fn host(url: &Url) -> String {
    url.host_str().unwrap_or("the address").to_owned()
}

#[cfg(test)]
mod tests;
