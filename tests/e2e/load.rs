//! Many peers at once that say nothing, read nothing, guess keys or never end: the others are served meanwhile, memory
//! stays bounded, and refusals say why.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::Duration,
};

use millrace_proto::api::StreamState;
use serde_json::json;

use crate::{
    clip::{clip, live_source},
    house::House,
    live::{assert_every_frame, recording},
    push::push,
    rtmp::Peer,
    wait::{s, until},
    watch::Watch,
};

/// Limits that end within the test what they end.
const LIMITS: &str = "
[rtmp_server]
handshake_ms_max = 3000
publish_ms_max = 3000
[api]
upload_idle_s_max = 4
[api.connections]
head_ms_max = 3000
write_idle_ms_max = 3000
";

/// Memory of the orchestrator under all of it; idle it has about 30 MiB in a debug build.
const MEMORY_BYTES_MAX: u64 = 128 << 20;

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(s(20))).expect("a socket has a read timeout");
    stream.set_write_timeout(Some(s(20))).expect("a socket has a write timeout");
    stream
}

/// `count` connections that each say `first` and no more.
fn silent(address: &str, count: usize, first: &[u8]) -> Vec<TcpStream> {
    let one = |_| {
        let mut stream = connect(address);
        stream.write_all(first).expect("the server reads");
        stream
    };
    (0..count).map(one).collect()
}

/// What is read until the server closes.
fn to_the_end(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    match stream.read_to_end(&mut text) {
        // Closed with something of ours unread.
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("it is open still: {error}"),
        Ok(_) | Err(_) => String::from_utf8_lossy(&text).into_owned(),
    }
}

/// The value of a metric without labels.
fn metric(house: &House, name: &str) -> f64 {
    let text = house.api.get("/metrics").text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("there is no {name} in\n{text}"))
}

#[test]
fn silent_slow_and_guessing_peers_leave_room_for_a_live_stream() {
    let house = House::configured(1, LIMITS);
    let recorded = house.api.create("file", &json!("passthrough"));
    house.api.upload_all(&recorded, &fs::read(clip("trailer.mp4")).expect("the clip can be read"));
    house.api.until(&recorded, StreamState::Ended, s(60));
    let source = live_source(20);
    let ladder = json!({"ladder": [{"name": "180p", "short_side_px": 180, "bitrate_bps_max": 300_000}]});
    let stream = house.api.create("live", &ladder);
    let watch = Watch::start(&house.api, &stream.playback.hls);
    let mut publisher = push(&house, &stream, &source);
    house.api.until(&stream, StreamState::Live, s(20));

    // A version and the first of two times 1,536 bytes: the handshake waits for the rest.
    let half_open = [&[3][..], &[0; 1_536]].concat();
    let mut peers = silent(&house.rtmp, 200, b"");
    peers.extend(silent(&house.rtmp, 200, &half_open));
    peers.extend(silent(&house.http, 200, b""));
    peers.extend(silent(&house.http, 100, b"GET /hls/x/index.m3u8 HTTP/1.1\r\nHost: a\r\nX-"));
    let body = "Content-Type: application/json\r\nContent-Length: 1000";
    let slow = format!("POST /v1/worker/challenge HTTP/1.1\r\nHost: a\r\n{body}\r\n\r\n{{");
    peers.extend(silent(&house.http, 50, slow.as_bytes()));
    let movie = format!(
        "GET /hls/{}/source.mp4 HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\n\r\n",
        recorded.id,
        house.api.bearer()
    );
    let deaf = silent(&house.http, 50, movie.as_bytes());

    let guesses = guess(&house, 200);
    assert_eq!(guesses, 200, "every wrong key is answered");
    let worst = house.memory_bytes();
    println!("{} MiB with {} peers", worst >> 20, peers.len() + deaf.len());
    assert!(worst < MEMORY_BYTES_MAX, "{worst} bytes");

    // Nobody holds a place for long without using it.
    for peer in peers {
        to_the_end(peer);
    }
    until("those who read nothing to be cut off", s(30), || {
        (metric(&house, "millrace_http_connections") < 30.0).then_some(())
    });
    drop(deaf);
    assert!(publisher.wait(s(60)).success(), "{}", publisher.log());
    let master = recording(&house, &stream);
    watch.finish();
    assert_every_frame(&master, &source);
}

/// Publishers with `count` wrong keys, 20 at a time; how many were told so.
fn guess(house: &House, count: usize) -> usize {
    let one = |at: usize| {
        let stream = connect(&house.rtmp);
        let closing = stream.try_clone().expect("a socket can be had twice");
        let mut peer = Peer::greet(stream);
        peer.ask(&format!("nobody_{at}"));
        to_the_end(closing).contains("NetStream.Publish.Unauthorized")
    };
    let mut told = 0;
    for from in (0..count).step_by(20) {
        thread::scope(|scope| {
            let asked: Vec<_> = (from..from + 20).map(|at| scope.spawn(move || one(at))).collect();
            told += asked.into_iter().filter_map(|one| one.join().ok()).filter(|told| *told).count();
        });
    }
    told
}

#[test]
fn a_connection_too_many_is_told_so_and_the_next_is_served() {
    let house = House::configured(0, "[api.connections]\nconnections_max = 20\n[rtmp_server]\nconnections_max = 20\n");
    let http = silent(&house.http, 20, b"");
    let refused = until("a refusal", s(10), || {
        let mut stream = connect(&house.http);
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ok()?;
        Some(to_the_end(stream)).filter(|answer| answer.starts_with("HTTP/1.1 503"))
    });
    assert!(refused.contains("too_many_connections") && refused.contains("retry-after: 5"), "{refused}");
    drop(http);
    until("a place", s(10), || {
        let answer = house.api.send("GET", "/healthz", &[], None).ok()?;
        (answer.status == 200).then_some(())
    });
    assert!(metric(&house, "millrace_http_connections_refused_total") >= 1.0);

    let rtmp = silent(&house.rtmp, 20, b"");
    until("an RTMP connection to be closed", s(10), || {
        // The last of them may not have been counted yet: then this one waits for its handshake.
        let mut stream = connect(&house.rtmp);
        stream.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
        matches!(stream.read(&mut [0]), Ok(0)).then_some(())
    });
    drop(rtmp);
}

#[test]
fn what_never_ends_is_refused_at_its_limit() {
    let mut house = House::configured(0, "[ingest]\nupload_bytes_max = 1000000\npush_bytes_max = 1000000\n");
    let file = house.api.create("file", &json!("passthrough"));
    let live = house.api.create("live", &json!("passthrough"));
    let cases = [
        ("PUT", format!("/v1/streams/{}/source", file.id)),
        ("PUT", format!("/v1/streams/{}/segments/0", live.id)),
        ("POST", "/v1/streams".to_owned()),
        ("POST", "/v1/worker/challenge".to_owned()),
    ];
    for (method, path) in cases {
        let mut stream = connect(&house.http);
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\nContent-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\n\r\n",
            house.api.bearer()
        );
        stream.write_all(head.as_bytes()).expect("the server reads");
        let chunk = [b"8000\r\n".to_vec(), vec![b' '; 0x8000], b"\r\n".to_vec()].concat();
        // As much as nobody would take, unless it says so before.
        let sent = (0..4_000).take_while(|_| stream.write_all(&chunk).is_ok()).count();
        assert!(sent < 4_000, "{path} took {} MiB", (sent * 0x8000) >> 20);
        let _ = stream.shutdown(Shutdown::Write);
        println!("{path}: {sent} chunks");
    }
    assert!(house.memory_bytes() < MEMORY_BYTES_MAX);
    house.assert_up();
}
