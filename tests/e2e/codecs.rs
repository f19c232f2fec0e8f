//! A ladder in a codec that nobody can encode. Ladders that come out are in the matrix.

use std::fs;

use serde_json::json;

use crate::{
    clip::made,
    house::House,
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
