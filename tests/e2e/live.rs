//! A live push by real ffmpeg, from the first packet to the recording, and what players make of it meanwhile.

use millrace_proto::api::{Stream, StreamState};
use serde_json::{Value, json};

use crate::{
    clip::{live_source, text, times},
    house::House,
    player,
    playlist::{Master, Media, assert_whole},
    push::{address, push},
    table::outputs::{self, LIVE, RECORDED},
    wait::{s, until},
    watch::Watch,
};

/// A ladder that two cores encode many times faster than it comes in.
pub(crate) fn small_ladder() -> Value {
    json!({"ladder": [
        {"name": "360p", "short_side_px": 360, "bitrate_bps_max": 900_000},
        {"name": "240p", "short_side_px": 240, "bitrate_bps_max": 400_000},
    ]})
}

/// Waits until the stream can be played: every rung and the audio list `segments` segments.
#[track_caller]
pub(crate) fn until_playable(house: &House, stream: &Stream, segments: usize) -> Master {
    until("the stream to be playable", s(40), || {
        let master = Master::fetch(&house.api, &stream.playback.hls)?;
        let all =
            master.all().all(|url| Media::fetch(&house.api, url).is_some_and(|list| list.segments.len() >= segments));
        all.then_some(master)
    })
}

/// Waits for the end of a stream whose publisher said goodbye, and returns its recording's playlist.
#[track_caller]
pub(crate) fn recording(house: &House, stream: &Stream) -> Master {
    let stream = house.api.until(stream, StreamState::Ended, s(60));
    assert_eq!(stream.progress.segments, stream.progress.segments_settled, "{:?}", stream.progress);
    assert_eq!(stream.progress.segments_failed, 0, "{:?}", stream.progress);
    let vod = stream.playback.vod.expect("an ended stream has a recording");
    let master = Master::fetch(&house.api, &vod).expect("the recording is there");
    for url in master.all() {
        let list = Media::fetch(&house.api, url).expect("every playlist of a recording is there");
        assert_whole(&list, url);
        assert!(list.ended && list.vod, "{url}:\n{}", list.text);
        assert_eq!(list.sequence, 0, "{url}:\n{}", list.text);
    }
    master
}

/// What was pushed is in every rung, frame by frame. RTMP counts in milliseconds, so times are right to one. Returns how
/// many frames that are.
#[track_caller]
pub(crate) fn assert_every_frame(master: &Master, source: &std::path::Path) -> usize {
    let wanted = times(text(source), "v:0").offsets_s();
    let mut starts_s = Vec::new();
    for rung in &master.rungs {
        let rung_times = times(&rung.url, "v:0");
        let got = rung_times.offsets_s();
        assert_eq!(got.len(), wanted.len(), "frames in {}", rung.url);
        for (got, wanted) in got.iter().zip(&wanted) {
            assert!((got - wanted).abs() < 0.002, "a frame of {} is at {got} s, not {wanted} s", rung.url);
        }
        starts_s.push(rung_times.start_s());
    }
    assert!(starts_s.iter().all(|start_s| (start_s - starts_s[0]).abs() < 1e-6), "rungs start at {starts_s:?}");
    wanted.len()
}

#[test]
fn a_push_plays_in_ffmpeg_ffplay_and_gstreamer_and_is_recorded_whole() {
    let house = House::with_workers(1);
    let source = live_source(24);
    let stream = house.api.create("live", &small_ladder());
    assert_eq!(stream.state, StreamState::Waiting);
    let watch = Watch::start(&house.api, &stream.playback.hls);
    let mut publisher = push(&house, &stream, &source);
    house.api.until(&stream, StreamState::Live, s(20));

    let master = until_playable(&house, &stream, 2);
    let sizes: Vec<_> = master.rungs.iter().map(|rung| (rung.width, rung.height)).collect();
    assert_eq!(sizes, [(640, 360), (426, 240)]);
    let url = crate::playlist::resolve(&format!("{}/", house.api.base), &stream.playback.hls);
    let gstreamer = player::gstreamer(&house, "gstreamer", &url);
    let ffplay = player::ffplay(&house, &url, 8);
    let ffmpeg = player::ffmpeg(&house, &url, 8);
    let frames = player::ffmpeg_end(ffmpeg);
    assert!(frames >= 8 * 24 - 2, "ffmpeg decoded {frames} frames of 8 s at 24 frames/s");
    let played_s = player::ffplay_end(ffplay);
    assert!(played_s > 6.0, "ffplay played {played_s} s of 8");
    player::gstreamer_shows(gstreamer, 5 * 24);

    let status = publisher.wait(s(60));
    assert!(status.success(), "ffmpeg was turned away: {}", publisher.log());
    let recorded = recording(&house, &stream);
    let seen = watch.finish();
    let segments: std::collections::BTreeSet<_> = seen.values().map(std::collections::BTreeMap::len).collect();
    let frames = assert_every_frame(&recorded, &source);
    let rungs = recorded.rungs.len();
    outputs::tell(&[
        (
            "HLS playlists",
            LIVE,
            format!("{} media playlists, read all the time: segments in each {segments:?}, none moved", seen.len()),
        ),
        ("HLS playlists", RECORDED, format!("{rungs} rungs of {frames} frames each, all at the source's times")),
    ]);
}

#[test]
fn a_publisher_that_comes_back_continues_its_stream_with_a_discontinuity() {
    let house = House::with_workers(1);
    let source = live_source(10);
    let stream = house.api.create("live", &small_ladder());
    let watch = Watch::start(&house.api, &stream.playback.hls);
    // The first publisher is lost, not ended: it says no goodbye.
    let mut publisher = push(&house, &stream, &live_source(62));
    until_playable(&house, &stream, 3);
    publisher.kill();
    house.api.until(&stream, StreamState::Interrupted, s(60));

    let mut publisher = push(&house, &stream, &source);
    house.api.until(&stream, StreamState::Live, s(20));
    assert!(publisher.wait(s(60)).success(), "{}", publisher.log());
    let recorded = recording(&house, &stream);

    for (url, seen) in watch.finish() {
        let marks: Vec<_> =
            seen.values().filter(|segment| segment.discontinuity).map(|segment| segment.number).collect();
        assert_eq!(marks.len(), 1, "discontinuities of {url} are at {marks:?}");
        // The wall clock goes on over the break.
        let at: Vec<_> = seen.values().filter_map(|segment| segment.at_ms).collect();
        assert!(!at.is_empty() && at.is_sorted(), "EXT-X-PROGRAM-DATE-TIME of {url}: {at:?}");
    }
    for rung in &recorded.rungs {
        let list = Media::fetch(&house.api, &rung.url).expect("a recording is there");
        let from = list.segments.iter().position(|segment| segment.discontinuity).expect("a discontinuity");
        let after_s: f64 = list.segments[from..].iter().map(|segment| segment.duration_s).sum();
        assert!((after_s - 10.0).abs() < 0.1, "the second push took {after_s} s:\n{}", list.text);
    }
}

#[test]
fn encoders_of_other_makes_are_understood() {
    // GStreamer's rtmp2sink and librtmp (in ffmpeg's address form) talk RTMP in ways of their own.
    let house = House::with_workers(1);
    let source = live_source(10);
    let stream = house.api.create("live", &small_ladder());
    let pipeline = format!(
        "filesrc location={} ! qtdemux name=d  flvmux name=m streamable=true ! \
         rtmp2sink location={} d.video_0 ! queue ! h264parse ! m. d.audio_0 ! queue ! aacparse ! m.",
        text(&source),
        address(&stream)
    );
    let mut command = std::process::Command::new("gst-launch-1.0");
    command.args(pipeline.split_whitespace());
    let mut publisher = crate::program::Program::start("publisher", &mut command, house.log_path("publisher"));
    let status = publisher.wait(s(60));
    assert!(status.success(), "GStreamer was turned away: {}", publisher.log());
    assert_every_frame(&recording(&house, &stream), &source);
}
