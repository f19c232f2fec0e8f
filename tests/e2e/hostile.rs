//! Files that are broken, by accident or on purpose.

use std::fs;

use millrace_proto::api::StreamState;

use crate::{
    clip::{clip, made, text, times},
    house::House,
    live::{recording, small_ladder},
    playlist::{Master, Media},
    wait::s,
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
