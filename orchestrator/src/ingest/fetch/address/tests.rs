//! Addresses that are and are not fetched from.

use super::*;

fn refused(text: &str) -> bool {
    parse(text).and_then(|url| check(&url, &[])).is_err()
}

#[test]
fn only_http_with_a_host_is_an_address() {
    let long = format!("http://example.org/{}", "a".repeat(CHARS_MAX));
    for bad in ["", "clip.mp4", "file:///etc/passwd", "ftp://example.org/a", "data:,a", "http://", &long] {
        assert_eq!(parse(bad), Err(Refused::Unreadable), "{bad:?}");
    }
    for good in
        ["https://example.org/clip.mp4?token=1", " http://name:word@example.org:8080 ", "http://[2606:4700::1]/"]
    {
        assert!(!refused(good), "{good}");
    }
}

#[test]
fn what_is_not_public_is_refused_however_it_is_written() {
    for bad in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.7",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        // The same machine, in other spellings that URLs have.
        "127.1",
        "0x7f.0.0.1",
        "2130706433",
        "0177.0.0.1",
        "%31%32%37.0.0.1",
        "127.0.0.1.",
        "[::]",
        "[::1]",
        "[::127.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:10.0.0.1]",
        "[::ffff:0:7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::1]",
        "[100::1]",
        "[2001::1]",
        "[2001:1ff::1]",
        "[2001:db8::1]",
        "[2002:7f00:1::]",
        "[2002:808:808::]",
        "[3fff::1]",
        "[3fff:fff::1]",
        "[4000::1]",
        "[5f00::1]",
        "[fc00::1]",
        "[fd12::1]",
        "[fe80::1]",
        "[fec0::1]",
        "[ff02::1]",
    ] {
        assert!(refused(&format!("http://{bad}/a")), "{bad}");
    }
    for good in [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.1",
        "172.15.0.1",
        "172.32.0.1",
        "192.0.1.1",
        "192.167.1.1",
        "198.17.0.1",
        "198.20.0.1",
        "223.255.255.255",
        "[2606:4700:4700::1111]",
        "[2001:200::1]",
        "[2a00:1450::1]",
        "[3ffe::1]",
        "[::ffff:8.8.8.8]",
        "[64:ff9b::8.8.8.8]",
    ] {
        assert!(!refused(&format!("http://{good}/a")), "{good}");
    }
}

#[test]
fn networks_that_are_configured_are_let_in() {
    let allowed: Vec<IpNet> = ["10.2.0.0/16", "fd00::/8"].iter().map(|text| text.parse().unwrap()).collect();
    for (address, fits) in [
        ("10.2.3.4", true),
        ("::ffff:10.2.3.4", true),
        ("fd00::1", true),
        ("10.3.0.1", false),
        ("127.0.0.1", false),
        ("::1", false),
        ("8.8.8.8", true),
    ] {
        assert_eq!(permits(address.parse().unwrap(), &allowed), fits, "{address}");
    }
}

#[test]
fn links_are_followed_to_http_alone_and_never_to_less_safety() {
    let base = parse("https://example.org/a/list.m3u8?token=1").unwrap();
    assert_eq!(follow(&base, "b/1.ts").unwrap().as_str(), "https://example.org/a/b/1.ts");
    assert_eq!(follow(&base, "//cdn.example.org/1.ts").unwrap().as_str(), "https://cdn.example.org/1.ts");
    assert_eq!(follow(&base, "file:///etc/passwd"), Err(Refused::Unreadable));
    assert_eq!(follow(&base, "http://example.org/1.ts"), Err(Refused::Downgrade("example.org".into())));
    let open = parse("http://example.org/").unwrap();
    assert_eq!(follow(&open, "https://example.org/x").unwrap().as_str(), "https://example.org/x");
}

#[test]
fn secrets_are_not_told() {
    assert_eq!(told("https://name:word@example.org/a?b=c"), "https://example.org/a?b=c");
    assert_eq!(host(&parse("https://name:word@example.org/a?b=c").unwrap()), "example.org");
}
