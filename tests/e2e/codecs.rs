//! Ladders in several codecs: told apart in playlists, played to the end, and asked for only where someone can.

use std::fs;

use millrace_proto::api::StreamState;
use serde_json::json;

use crate::{
    clip::{field, made, times, tool},
    house::House,
    live::recording,
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
fn hevc_and_av1_stand_beside_h264_and_play_to_the_end() {
    let house = House::with_workers(1);
    let rung = |name: &str, side: u32, codec: &str| json!({"name": name, "short_side_px": side, "codec": codec, "bitrate_bps_max": 400_000, "preset": "superfast"});
    let mut halved = rung("h264", 180, "h264");
    halved["fps_divisor"] = json!(2);
    let average = json!({"name": "low", "short_side_px": 90, "codec": "hevc", "bitrate_bps": 100_000});
    let ladder = [rung("hevc", 180, "hevc"), rung("av1", 180, "av1"), halved, average];
    let stream = house.api.create("file", &json!({"segment_ms": 1_000, "ladder": ladder}));
    house.api.upload_all(&stream, &film());
    house.api.until(&stream, StreamState::Ended, s(120));
    let master = recording(&house, &stream);
    let entry = |codecs: &str| codecs.split('.').next().unwrap_or_default().to_owned();
    let of = |name: &str| {
        let found = master.rungs.iter().find(|rung| rung.url.contains(&format!("/{name}/")));
        found.unwrap_or_else(|| panic!("{name} is in {master:?}"))
    };
    for (name, codec, tag, height, frames) in [
        ("h264", "h264", "avc1", 180, 36),
        ("hevc", "hevc", "hvc1", 180, 72),
        ("av1", "av1", "av01", 180, 72),
        ("low", "hevc", "hvc1", 90, 72),
    ] {
        let rung = of(name);
        assert_eq!((entry(&rung.codecs).as_str(), rung.height), (tag, height), "{rung:?}");
        assert!((rung.frame_rate - frames as f64 / 3.0).abs() < 0.01, "{rung:?}");
        assert_eq!(
            (field(&rung.url, "v:0", "codec_name"), field(&rung.url, "v:0", "pix_fmt")),
            (codec.into(), "yuv420p".into())
        );
        assert_eq!(times(&rung.url, "v:0").pts.len(), frames, "{name}");
        let list = tool("ffmpeg", &["-v", "warning", "-nostdin", "-i", &rung.url, "-f", "null", "-"]);
        assert!(!list.contains("rror"), "{name}: {list}");
    }
    // Who reads no further than the first variant gets what every player knows.
    let text = house.api.get(&stream.playback.hls).text();
    let first = text.lines().find(|line| line.starts_with("#EXT-X-STREAM-INF")).expect("there are variants");
    assert!(first.contains("avc1"), "{text}");
    let manifest = house.api.get(&format!("/dash/{}/manifest.mpd", stream.id)).text();
    assert_eq!(manifest.matches("contentType=\"video\"").count(), 3, "a set for each codec: {manifest}");
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

#[test]
fn an_auto_ladder_is_made_for_the_pictures_and_stays() {
    let house = House::with_workers(1);
    let stream = house.api.create("file", &json!("auto"));
    // A still picture: a ladder of what is usual would allow it four times as much.
    let input = ["-f", "lavfi", "-i", "color=navy:size=640x480:rate=50:duration=5"];
    let args = "-pix_fmt yuv420p -c:v libx264 -g 100 -sc_threshold 0";
    house.api.upload_all(&stream, &fs::read(made("still.mp4", &input, args)).expect("it was just made"));
    house.api.until(&stream, StreamState::Ended, s(120));
    let master = recording(&house, &stream);
    let told: Vec<_> = master.rungs.iter().map(|rung| (rung.height, rung.frame_rate.round() as u64)).collect();
    assert_eq!(told, [(480, 50), (360, 25), (240, 25)], "few frames on small rungs");
    let log = fs::read_to_string(house.log_path("orchestrator")).expect("the orchestrator writes a log");
    assert_eq!(log.matches("the ladder is made for these pictures").count(), 1, "{log}");
}
