//! The orchestrator is killed in the middle of its work, and goes on where it was.

use std::{fs, thread, time::Duration};

use millrace_proto::api::StreamState;
use serde_json::json;

use crate::{
    clip::{clip, live_source, text, times},
    house::House,
    live::{recording, small_ladder, until_playable},
    playlist::Media,
    push::push,
    wait::{s, until},
    watch::Watch,
};

#[test]
fn a_live_stream_goes_on_after_kill_9_of_the_orchestrator() {
    let mut house = House::with_workers(1);
    let stream = house.api.create("live", &small_ladder());
    let watch = Watch::start(&house.api, &stream.playback.hls);
    let mut kept = 0;
    for round in 1..=2 {
        let mut publisher = push(&house, &stream, &live_source(62));
        house.api.until(&stream, StreamState::Live, s(20));
        until("some more segments", s(40), || {
            watch.assert_holding();
            (house.api.stream(&stream.id).progress.segments_settled >= kept + 3).then_some(())
        });
        kept = house.api.stream(&stream.id).progress.segments;
        house.kill_orchestrator();
        // A real encoder sees the connection break, and tries again.
        until("the publisher to notice", s(20), || publisher.ended());
        house.start_orchestrator();
        let now = house.api.stream(&stream.id);
        assert!(now.progress.segments >= kept, "round {round}: {kept} were durable, now {:?}", now.progress);
        assert!(matches!(now.state, StreamState::Interrupted | StreamState::Live), "round {round}: {:?}", now.state);
        kept = now.progress.segments;
    }
    let mut publisher = push(&house, &stream, &live_source(10));
    assert!(publisher.wait(s(60)).success(), "{}", publisher.log());
    recording(&house, &stream);
    for (url, seen) in watch.finish() {
        let marks = seen.values().filter(|segment| segment.discontinuity && segment.number > 0).count();
        assert_eq!(marks, 2, "discontinuities of {url}: {seen:#?}");
        // All of the last push is there.
        let from = seen.values().rposition(|segment| segment.discontinuity).expect("a discontinuity");
        let after_s: f64 = seen.values().skip(from).map(|segment| segment.duration_s).sum();
        assert!((after_s - 10.0).abs() < 0.1, "{url}: the last push took {after_s} s");
    }
}

#[test]
fn a_file_is_whole_after_kill_9_of_the_orchestrator() {
    let mut house = House::with_workers(2);
    let path = clip("trailer.mp4");
    let file = fs::read(&path).expect("the clip can be read");
    let stream = house.api.create("file", &small_ladder());
    // Killed while it is uploaded ...
    let half = file.len() / 2;
    let answer = house.api.upload(&stream, &file, 0, half);
    assert!((200..300).contains(&answer.status), "{}: {}", answer.status, answer.text());
    house.kill_orchestrator();
    house.start_orchestrator();
    let durable = house.api.stream(&stream.id).progress.source_bytes;
    assert_eq!(durable, half as u64, "what was acknowledged is durable");
    let answer = house.api.upload(&stream, &file, half, file.len());
    assert!((200..300).contains(&answer.status), "{}: {}", answer.status, answer.text());
    // ... as soon as the work on it begins, and in the middle of that.
    house.kill_orchestrator();
    house.start_orchestrator();
    until("half of it to be done", s(90), || {
        let progress = house.api.stream(&stream.id).progress;
        (progress.segments_settled >= 4).then_some(())
    });
    house.kill_orchestrator();
    house.start_orchestrator();
    house.api.until(&stream, StreamState::Ended, s(120));
    let master = recording(&house, &stream);
    let wanted = times(text(&path), "v:0");
    for rung in &master.rungs {
        let got = times(&rung.url, "v:0");
        assert_eq!(got.pts.len(), wanted.pts.len(), "frames of {}", rung.url);
        assert!(got.offsets_s().iter().zip(wanted.offsets_s()).all(|(a, b)| (a - b).abs() < 1e-9), "{}", rung.url);
        let list = Media::fetch(&house.api, &rung.url).expect("the playlist is there");
        assert!(list.segments.iter().skip(1).all(|segment| !segment.discontinuity), "{}", list.text);
    }
}

#[test]
fn a_file_is_whole_after_kill_9_at_any_moment() {
    let mut house = House::with_workers(2);
    let path = clip("bikes.mp4");
    let file = fs::read(&path).expect("the clip can be read");
    let stream = house.api.create("file", &small_ladder());
    house.api.upload_all(&stream, &file);
    let mut state = stream.state;
    for round in 1..=8 {
        // Another moment each time; told, so that a failure can be looked into.
        let moment = Duration::from_millis(rand::random_range(0..600));
        println!("round {round}: {state:?}, killed after {moment:?}");
        thread::sleep(moment);
        house.kill_orchestrator();
        house.start_orchestrator();
        state = house.api.stream(&stream.id).state;
    }
    house.api.until(&stream, StreamState::Ended, s(90));
    let master = recording(&house, &stream);
    let wanted = times(text(&path), "v:0");
    for rung in &master.rungs {
        let got = times(&rung.url, "v:0");
        assert_eq!(got.pts.len(), wanted.pts.len(), "frames of {}", rung.url);
        assert!(got.offsets_s().iter().zip(wanted.offsets_s()).all(|(a, b)| (a - b).abs() < 1e-9), "{}", rung.url);
    }
}

#[test]
fn an_orchestrator_that_is_asked_to_stop_ends_well_and_keeps_everything() {
    let mut house = House::with_workers(1);
    let stream = house.api.create("live", &small_ladder());
    let watch = Watch::start(&house.api, &stream.playback.hls);
    let mut publisher = push(&house, &stream, &live_source(62));
    until_playable(&house, &stream, 2);
    house.stop_orchestrator();
    until("the publisher to notice", s(20), || publisher.ended());
    let kept = house.data();
    assert!(kept.join("admin.key").is_file());
    house.start_orchestrator();
    let mut publisher = push(&house, &stream, &live_source(10));
    assert!(publisher.wait(s(60)).success(), "{}", publisher.log());
    recording(&house, &stream);
    watch.finish();
    let json = json!({"name": "after", "source": "live"});
    assert_eq!(house.api.call("POST", "/v1/streams", Some(&json)).status / 100, 2);
}
