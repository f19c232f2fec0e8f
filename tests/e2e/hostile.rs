//! Files that are broken, by accident or on purpose.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpStream},
};

use millrace_proto::api::{Stream, StreamState};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;

use crate::{
    clip::{clip, made, text, times},
    house::House,
    http_push::{pieces, put},
    live::{recording, small_ladder},
    playlist::{Master, Media},
    push::address,
    rtmp::{Peer, tags},
    site::{Reply, Site},
    url::{NEAR, fetch},
    wait::{s, until},
};

/// Bytes without any sense, the same each time.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        // Marsaglia's xorshift64: good enough to be no video.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[test]
fn files_that_are_no_video_fail_with_a_reason_and_harm_nothing() {
    let mut house = House::with_workers(1);
    let trailer = fs::read(clip("trailer.mp4")).expect("the clip can be read");
    let cases: [(&str, Vec<u8>); 4] = [
        ("noise", noise(300_000)),
        ("text", b"this is no video\n".repeat(1000)),
        ("half a header", trailer[..100].to_vec()),
        // An MP4 whose index says what is in it, and whose media is missing.
        ("no media", trailer[trailer.len() - 40_000..].to_vec()),
    ];
    let streams = cases.map(|(what, bytes)| {
        let stream = house.api.create("file", &small_ladder());
        house.api.upload_all(&stream, &bytes);
        (what, stream)
    });
    for (what, stream) in streams {
        let failed = house.api.until(&stream, StreamState::Failed, s(60));
        let reason = failed.reason.unwrap_or_default();
        println!("{what}: {reason}");
        assert!(!reason.is_empty(), "{what} failed without a reason");
    }
    house.assert_up();
    // The house still works.
    let stream = house.api.create("file", &small_ladder());
    let bunny = clip("bunny.mp4");
    house.api.upload_all(&stream, &fs::read(&bunny).expect("the clip can be read"));
    house.api.until(&stream, StreamState::Ended, s(60));
    recording(&house, &stream);
}

#[test]
fn a_broken_stretch_in_the_middle_does_not_end_the_stream() {
    let house = House::with_workers(1);
    // A key frame every 2 s; in TS, which has no index that could be broken.
    let path = made(
        "broken.ts",
        &["-t", "20", "-i", text(&clip("trailer.mp4"))],
        "-vf scale=640:360 -c:v libx264 -preset veryfast -g 48 -keyint_min 48 -sc_threshold 0 -c:a aac",
    );
    let mut file = fs::read(&path).expect("the file can be read");
    let (from, to) = (file.len() * 2 / 5, file.len() / 2);
    file[from..to].copy_from_slice(&noise(to - from));
    let stream = house.api.create("file", &small_ladder());
    house.api.upload_all(&stream, &file);
    let ended = house.api.until(&stream, StreamState::Ended, s(90));
    println!("{:?}", ended.progress);
    let master = Master::fetch(&house.api, &stream.playback.hls).expect("it was published");
    for rung in &master.rungs {
        let list = Media::fetch(&house.api, &rung.url).expect("it was published");
        let whole_s: f64 = list.segments.iter().filter(|segment| !segment.gap).map(|segment| segment.duration_s).sum();
        assert!(whole_s > 14.0, "{whole_s} s of 20 with 2 broken:\n{}", list.text);
        // The timeline keeps its length: what is broken is a gap in it, not a cut.
        assert!((list.length_s() - 20.0).abs() < 1.0, "{} s:\n{}", list.length_s(), list.text);
    }
    let frames = times(&master.rungs[0].url, "v:0").pts.len();
    assert!(frames > 14 * 24, "{frames} frames of {}", 20 * 24);
}

/// `bytes` with some of them changed, the same ones for the same number.
fn broken(bytes: &[u8], number: u64) -> Vec<u8> {
    let mut luck = StdRng::seed_from_u64(number);
    let mut bytes = bytes.to_vec();
    for _ in 0..luck.random_range(1..200) {
        let at = luck.random_range(0..bytes.len());
        bytes[at] = luck.random();
    }
    bytes
}

/// Broken inputs of each way in.
const BROKEN: u64 = 8;

#[test]
fn broken_media_by_every_way_in_ends_and_harms_nobody() {
    let mut house = House::configured(1, &NEAR.replacen("[ingest]\n", "[ingest]\nlost_grace_s = 2\n", 1));
    let source = made(
        "small.mp4",
        &["-t", "4", "-i", text(&clip("bunny.mp4"))],
        "-vf scale=320:180 -c:v libx264 -preset veryfast -g 25 -c:a aac",
    );
    let file = fs::read(&source).expect("the file can be read");
    let parts = pieces(&house, &source, "mpegts", "ts", "");
    let mut streams: Vec<(String, Stream)> = Vec::new();
    for number in 0..BROKEN {
        let stream = house.api.create("file", &small_ladder());
        house.api.upload_all(&stream, &broken(&file, number));
        streams.push((format!("file {number}"), stream));
    }
    // One broken piece after another, and a sound one at the end.
    let pushed = house.api.create("live", &small_ladder());
    for number in 0..BROKEN as usize {
        let status = put(&house, &pushed, number, &broken(&parts[0], number as u64)).status;
        assert!(status == 200 || (400..500).contains(&status), "piece {number} was answered with {status}");
    }
    assert_eq!(put(&house, &pushed, BROKEN as usize, &parts[0]).status, 200);
    let site = Site::open("127.0.0.1", {
        let part = parts[0].clone();
        move |ask| match ask.file().split_once('.') {
            Some(("list", number)) => {
                let list = format!("#EXTINF:2,\n0.{number}\n#EXTINF:2,\n1.{number}\n");
                let text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n{list}#EXT-X-ENDLIST\n");
                let number = number.parse().unwrap_or(0);
                // Every other playlist is broken, too.
                Reply::body(&if number % 2 == 0 { text.into_bytes() } else { broken(text.as_bytes(), number) })
            }
            Some((at, number)) => Reply::body(&broken(&part, at.len() as u64 + number.len() as u64)),
            None => Reply::status(404),
        }
    });
    streams.extend(
        (0..BROKEN / 2).map(|number| (format!("pulled {number}"), fetch(&house, &site.url(&format!("list.{number}"))))),
    );
    let flv = made("small.flv", &["-i", text(&source)], "-c copy");
    for number in 0..BROKEN {
        let stream = house.api.create("live", &json!("passthrough"));
        publish_broken(&stream, &flv, number);
        streams.push((format!("RTMP {number}"), stream));
    }
    for (what, stream) in &streams {
        let state = until(&format!("the end of {what}"), s(120), || {
            let state = house.api.stream(&stream.id).state;
            // A publisher whose media is refused may come back with better.
            let waits = what.starts_with("RTMP") && state == StreamState::Waiting;
            (waits || matches!(state, StreamState::Ended | StreamState::Failed)).then_some(state)
        });
        println!("{what}: {state:?}");
    }
    house.assert_up();
    let answer = house.api.call("POST", &format!("/v1/streams/{}/end", pushed.id), None);
    assert_eq!(answer.status, 200, "{}", answer.text());
    house.api.until(&pushed, StreamState::Ended, s(60));
    // The house still works.
    let stream = house.api.create("file", &small_ladder());
    house.api.upload_all(&stream, &file);
    recording(&house, &stream);
}

/// Publishes an FLV file whose tags are broken, until the server has enough of it.
fn publish_broken(stream: &Stream, flv: &std::path::Path, number: u64) {
    let address = address(stream);
    let (server, key) = address.rsplit_once('/').expect("an address and a key");
    let host = server.strip_prefix("rtmp://").and_then(|rest| rest.split('/').next()).expect("an RTMP address");
    let socket = TcpStream::connect(host).expect("the server listens");
    let mut raw = socket.try_clone().expect("a socket can be had twice");
    let mut peer = Peer::greet(socket);
    peer.ask(key);
    let mut luck = StdRng::seed_from_u64(number);
    for (at, tag) in tags(flv).into_iter().enumerate() {
        // Headers come as they are: what is broken is what they announce.
        let body =
            if tag.is_header() || luck.random_ratio(3, 4) { tag.body.to_vec() } else { broken(&tag.body, at as u64) };
        let head = [
            &[5][..],
            &tag.time_ms.to_be_bytes()[1..],
            &(body.len() as u32).to_be_bytes()[1..],
            &[tag.kind, 1, 0, 0, 0],
        ];
        let mut message = head.concat();
        for (at, chunk) in body.chunks(4_096).enumerate() {
            if at > 0 {
                message.push(0xc5);
            }
            message.extend_from_slice(chunk);
        }
        // In the end the chunks themselves are broken, and the server hangs up.
        let message = if at > 60 { broken(&message, number) } else { message };
        if raw.write_all(&message).is_err() {
            break;
        }
    }
    // What it answered is read, or closing would reset the connection and take what was sent along.
    let _ = raw.shutdown(Shutdown::Write);
    let _ = raw.read_to_end(&mut Vec::new());
}
