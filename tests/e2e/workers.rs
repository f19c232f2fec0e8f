//! Workers and their media children die in the middle of live video: not one segment is missing.

use std::time::Instant;

use millrace_proto::api::StreamState;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    clip::live_source,
    house::House,
    live::{assert_every_frame, recording, small_ladder},
    push::push,
    wait::{s, until},
    watch::Watch,
};

#[test]
fn two_workers_one_killed_every_ten_seconds_lose_nothing_in_a_minute() {
    let mut house = House::with_workers(2);
    let source = live_source(62);
    let stream = house.api.create("live", &small_ladder());
    let watch = Watch::start(&house.api, &stream.playback.hls);
    let mut publisher = push(&house, &stream, &source);
    let began = Instant::now();
    let mut kills = 0;
    let status = until("the end of the push", s(100), || {
        watch.assert_holding();
        if began.elapsed() >= s(10) * (kills + 1) {
            house.replace_worker(kills as usize % 2);
            kills += 1;
        }
        publisher.ended()
    });
    assert!(status.success(), "{}", publisher.log());
    assert!(kills >= 5, "{kills} kills in {:?}", began.elapsed());

    let recorded = recording(&house, &stream);
    for (url, seen) in watch.finish() {
        let length_s: f64 = seen.values().map(|segment| segment.duration_s).sum();
        assert!((length_s - 62.0).abs() < 0.5, "{url} listed {length_s} s of 62");
        assert!(seen.values().all(|segment| !segment.discontinuity || segment.number == 0), "{url}: {seen:?}");
    }
    assert_every_frame(&recorded, &source);
}

#[test]
fn media_children_that_are_killed_cost_nothing() {
    let mut house = House::with_workers(1);
    // Bigger pictures than elsewhere, so that there is a child to hit at most times.
    let source = live_source(24);
    let stream = house.api.create("live", &small_ladder());
    let watch = Watch::start(&house.api, &stream.playback.hls);
    let mut publisher = push(&house, &stream, &source);
    let mut kills = 0;
    let mut last = Instant::now();
    let status = until("the end of the push", s(60), || {
        watch.assert_holding();
        if last.elapsed() > s(2)
            && kills < 6
            && let Some(&pid) = house.worker(0).children("millrace-media").first()
        {
            // Gone already is as good.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            kills += 1;
            last = Instant::now();
        }
        publisher.ended()
    });
    assert!(status.success(), "{}", publisher.log());
    assert!(kills >= 3, "only {kills} children were hit");
    let recorded = recording(&house, &stream);
    watch.finish();
    assert_every_frame(&recorded, &source);
    assert!(house.api.workers()[0].failed > 0, "{:?}", house.api.workers());
}

#[test]
fn a_worker_that_is_asked_to_stop_hands_its_work_back() {
    let mut house = House::with_workers(2);
    let source = live_source(24);
    let stream = house.api.create("live", &small_ladder());
    let mut publisher = push(&house, &stream, &source);
    house.api.until(&stream, StreamState::Live, s(20));
    until("the first worker to work", s(20), || (!house.worker(0).children("millrace-media").is_empty()).then_some(()));
    house.worker(0).signal(Signal::SIGTERM);
    let status = house.worker(0).wait(s(20));
    assert!(status.success(), "a worker that drains ends well, not with {status}");
    assert!(publisher.wait(s(60)).success(), "{}", publisher.log());
    assert_every_frame(&recording(&house, &stream), &source);
}
