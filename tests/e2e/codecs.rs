//! Ladders of several codecs in browsers, and one that nobody can encode. What comes out of ladders is in the matrix.

use std::fs;

use millrace_proto::api::StreamState;
use serde_json::json;

use crate::{
    clip::made,
    house::House,
    in_page,
    wait::{s, until},
};

/// Three seconds of pictures and sound, small; three segments.
fn film() -> Vec<u8> {
    let input =
        ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=24:duration=3", "-f", "lavfi", "-i", "sine=duration=3"];
    let args = "-pix_fmt yuv420p -c:v libx264 -g 24 -sc_threshold 0 -bf 2 -c:a aac";
    fs::read(made("codecs-24.mp4", &input, args)).expect("it was just made")
}

#[test]
fn players_leave_out_the_codecs_that_their_browser_lacks_and_play_to_the_end() {
    let house = House::with_workers(1);
    let rung = |name: &str, side: u32, codec: &str| json!({"name": name, "short_side_px": side, "codec": codec, "bitrate_bps_max": 400_000, "preset": "superfast"});
    let mut halved = rung("h264", 180, "h264");
    halved["fps_divisor"] = json!(2);
    let average = json!({"name": "low", "short_side_px": 90, "codec": "hevc", "bitrate_bps": 100_000});
    let ladder = [rung("hevc", 180, "hevc"), rung("av1", 180, "av1"), halved, average];
    let stream = house.api.create("file", &json!({"segment_ms": 1_000, "ladder": ladder}));
    house.api.upload_all(&stream, &film());
    house.api.until(&stream, StreamState::Ended, s(120));
    // Who reads no further than the first variant gets what every player knows.
    let text = house.api.get(&stream.playback.hls).text();
    let first = text.lines().find(|line| line.starts_with("#EXT-X-STREAM-INF")).expect("there are variants");
    assert!(first.contains("avc1"), "{text}");
    let manifest = house.api.get(&format!("/dash/{}/manifest.mpd", stream.id)).text();
    assert_eq!(manifest.matches("contentType=\"video\"").count(), 3, "a set for each codec: {manifest}");

    // Chromium has no HEVC: players leave it out, take a codec that it has, and stay with that to the end.
    let (hls, dash) = (&stream.playback.hls, format!("{}/dash/{}/manifest.mpd", house.api.base, stream.id));
    let wanted = [
        ("hls.js", "HLS", hls.as_str()),
        ("dash.js", "DASH", &dash),
        ("Shaka Player", "HLS", hls),
        ("Shaka Player", "DASH", &dash),
    ];
    for seen in in_page::start(&house, &wanted).end() {
        println!("{seen:?}");
        assert!(matches!(seen.codec.split('.').next(), Some("avc1" | "av01")), "{seen:?}");
        assert!(seen.at_s > 2.9 && seen.frames >= 36, "{seen:?}");
    }
}

#[test]
fn a_stream_that_nobody_can_work_on_says_so() {
    let house = House::with_workers(0);
    let ladder = json!({"ladder": [{"name": "low", "short_side_px": 90, "codec": "av1", "bitrate_bps_max": 100_000}]});
    let stream = house.api.create("file", &ladder);
    house.api.upload_all(&stream, &film());
    let why = until("the stream to say that it is stuck", s(30), || house.api.stream(&stream.id).stuck);
    assert!(why.contains("worker"), "{why}");
    until("the metric to tell of its tasks", s(30), || {
        let metrics = house.api.get("/metrics").text();
        metrics.lines().any(|line| line.starts_with("millrace_tasks_stuck ") && !line.ends_with(" 0")).then_some(())
    });
}
