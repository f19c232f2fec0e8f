//! Streams that the orchestrator fetches itself: files by URL, from servers that break off, lie and lead astray.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use millrace_proto::api::{Stream, StreamState};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use serde_json::{Value, json};

use crate::{
    api::Answer,
    clip::live_source,
    house::House,
    live::{assert_every_frame, recording, small_ladder},
    site::{Reply, Site},
    table::REFUSALS,
    wait::{s, until},
};

/// Lets a test's own sites be fetched from, and gives up soon.
pub(crate) const NEAR: &str = "[ingest]\nupload_bytes_max = 16777216\n[ingest.fetch]\nprivate_allowed = [\"127.0.0.1/32\"]\n\
                    give_up_s = 4\nretry_ms = 50\nidle_ms_max = 2000\nredirects_max = 3\n";

fn ask(house: &House, url: &str, profile: &Value) -> Answer {
    let ask = json!({"name": "a test", "source": "url", "url": url, "profile": profile});
    house.api.call("POST", "/v1/streams", Some(&ask))
}

/// A stream that is fetched from `url`.
#[track_caller]
pub(crate) fn fetch(house: &House, url: &str) -> Stream {
    fetch_as(house, url, &small_ladder())
}

/// The same with another profile.
#[track_caller]
pub(crate) fn fetch_as(house: &House, url: &str, profile: &Value) -> Stream {
    let answer = ask(house, url, profile);
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

#[test]
fn a_file_by_url_is_fetched_over_breaks_a_redirect_and_kill_9() {
    let mut house = House::configured(1, &NEAR.replace("give_up_s = 4", "give_up_s = 60"));
    let source = live_source(10);
    let file = Arc::new(fs::read(&source).expect("the clip can be read"));
    let third = file.len() / 3;
    let (open, tries) = (Arc::new(AtomicBool::new(false)), AtomicUsize::new(0));
    let site = Site::open("127.0.0.1", {
        let (file, open) = (file.clone(), open.clone());
        move |ask| match ask.file() {
            "start" => Reply::redirect(&format!("http://{}/clip.mp4?token=sesame", ask.headers["host"])),
            "clip.mp4" => match tries.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => Reply::file(ask, &file, "\"one\"").cut(third),
                _ if !open.load(Ordering::Relaxed) => Reply::status(503).with("Retry-After", "1"),
                _ => Reply::file(ask, &file, "\"one\""),
            },
            _ => Reply::status(404),
        }
    });
    let stream = fetch(&house, &site.url("start?token=sesame").replace("http://", "http://name:word@"));
    assert_eq!(stream.url.as_deref(), Some(site.url("start?token=sesame").as_str()), "without name and password");
    assert!(stream.ingest.is_none(), "{stream:?}");
    let progress = until("two thirds to be here", s(30), || {
        let progress = house.api.stream(&stream.id).progress;
        (progress.source_bytes == 2 * third as u64).then_some(progress)
    });
    assert_eq!(progress.source_bytes_total, Some(file.len() as u64));
    house.kill_orchestrator();
    house.start_orchestrator();
    open.store(true, Ordering::Relaxed);
    house.api.until(&stream, StreamState::Ended, s(90));
    assert_every_frame(&recording(&house, &stream), &source);

    assert!(site.seen()[0].headers.contains_key("authorization"), "{:#?}", site.seen()[0]);
    let parts: Vec<_> = site.seen().into_iter().filter(|ask| ask.file() == "clip.mp4").collect();
    assert_eq!(parts[1].range(file.len()), Some((third, file.len())), "{parts:#?}");
    let last = parts.last().expect("it was asked for");
    assert_eq!(last.range(file.len()), Some((2 * third, file.len())), "{parts:#?}");
    assert_eq!(last.headers.get("if-range").map(String::as_str), Some("\"one\""));
    assert!(parts.iter().all(|ask| !ask.headers.contains_key("authorization")), "meant for the first address alone");
    let log = house.log();
    assert!(!log.contains("sesame") && !log.contains("word@"), "a secret in the log:\n{log}");
    let metrics = house.api.get("/metrics").text();
    let bytes = metrics.lines().find_map(|line| line.strip_prefix("millrace_fetched_bytes_total "));
    assert!(bytes.is_some_and(|bytes| bytes.parse::<f64>().is_ok_and(|bytes| bytes > 0.0)), "{metrics}");
}

/// An authority of a test's own, and what a server of the loopback needs that it signed.
fn authority() -> (String, ServerConfig) {
    let key = KeyPair::generate().expect("a key can be made");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "an authority of a test");
    let authority = params.self_signed(&key).expect("it signs itself").pem();
    let own = KeyPair::generate().expect("a key can be made");
    let params_of_server = CertificateParams::new(["127.0.0.1".to_owned()]).expect("an address is a name");
    let signed = params_of_server.signed_by(&own, &Issuer::new(params, key)).expect("it signs servers");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("there are versions")
        .with_no_client_auth()
        .with_single_cert(vec![signed.der().clone()], PrivateKeyDer::Pkcs8(own.serialize_der().into()))
        .expect("certificate and key go together");
    (authority, config)
}

#[test]
fn https_needs_an_authority_that_is_known_and_one_may_be_named() {
    let (trusted, server) = authority();
    let (_, stranger) = authority();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, trusted).expect("a file can be written");
    let house = House::configured(1, &format!("{NEAR}ca = {:?}\n", crate::clip::text(&ca)));
    let source = live_source(10);
    let file = fs::read(&source).expect("the clip can be read");
    let site = Site::open_tls("127.0.0.1", server, move |ask| Reply::file(ask, &file, "\"same\""));
    let other = Site::open_tls("127.0.0.1", stranger, |_| Reply::body(b"of a stranger"));
    assert!(site.url("").starts_with("https://"));
    let stream = fetch(&house, &site.url("film"));
    let refused = fetch(&house, &other.url("film"));
    house.api.until(&stream, StreamState::Ended, s(90));
    assert_every_frame(&recording(&house, &stream), &source);
    let why = house.api.until(&refused, StreamState::Failed, s(30)).reason.unwrap_or_default();
    assert!(why.contains("certificate"), "{why}");
    assert!(other.seen().is_empty(), "it was asked: {:?}", other.seen());
}

#[test]
fn what_can_not_be_fetched_fails_and_says_why() {
    let house = House::configured(0, NEAR);
    let other = Site::open("127.0.0.2", |_| Reply::body(b"private"));
    let site = Site::open("127.0.0.1", {
        let other = other.url("secret");
        move |ask| match ask.file() {
            "astray" => Reply::redirect(&other),
            "round" => Reply::redirect("/round"),
            "passwd" => Reply::redirect("file:///etc/passwd"),
            "endless" => Reply::body(&[7; 4_096]).endless(),
            "short" => Reply::body(&[7; 1_000]).cut(500),
            "empty" => Reply::body(b""),
            "text" => Reply::body(b"no video at all"),
            "packed" => Reply::body(b"x").with("Content-Encoding", "gzip"),
            "busy" => Reply::status(503),
            _ => Reply::status(404),
        }
    });
    let cases = [
        ("missing", "what is not there", "404"),
        ("astray", "a redirect to a private address", "127.0.0.2 leads to a private address"),
        ("round", "redirects without end", "more than 3 redirects"),
        ("passwd", "a redirect to a file", "no address to fetch from"),
        ("endless", "an answer without end", "larger than 16777216 bytes"),
        ("short", "a transfer that breaks off each time", "for 4 s"),
        ("empty", "nothing", "empty"),
        ("text", "a text", "video file"),
        ("packed", "something compressed", "compresses"),
        ("busy", "a server that is busy", "503"),
    ];
    let streams = cases.map(|(path, what, why)| (fetch(&house, &site.url(path)), what, why));
    REFUSALS.tell_failures("Files by URL", &house, &streams);
    assert!(other.seen().is_empty(), "it was asked: {:?}", other.seen());
    let left: Vec<_> = fs::read_dir(house.data().join("uploads")).expect("it is there").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn private_addresses_are_refused_by_number_and_by_name() {
    let house = House::with_workers(0);
    let site = Site::open("127.0.0.1", |_| Reply::body(b"private"));
    let port = site.address.rsplit_once(':').expect("it has a port").1;
    let profile = json!("standard");
    for url in
        [&site.url("a"), "http://169.254.169.254/latest", "http://[::1]/", "http://0x7f.1/", "file:///etc/passwd", ""]
    {
        assert_eq!(ask(&house, url, &profile).error(400).code, "bad_url", "{url}");
    }
    for wrong in
        [json!({"name": "a", "source": "url"}), json!({"name": "a", "source": "file", "url": "http://a.test/"})]
    {
        assert_eq!(house.api.call("POST", "/v1/streams", Some(&wrong)).error(400).code, "bad_url", "{wrong}");
    }
    let stream = fetch(&house, &format!("http://localhost:{port}/a"));
    let failed = house.api.until(&stream, StreamState::Failed, s(20));
    assert!(failed.reason.as_ref().is_some_and(|why| why.contains("localhost leads to a private")), "{failed:?}");
    assert!(site.seen().is_empty(), "it was asked: {:?}", site.seen());
}
