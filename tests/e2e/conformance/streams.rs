//! The checker on what is really served: live, through a reconnect, the recording of that, and a file.

use std::fs;

use millrace_proto::api::StreamState;
use serde_json::json;

use super::{Follow, assert_none, recording};
use crate::{
    clip::{clip, live_source},
    house::House,
    live::{small_ladder, until_playable},
    push::push,
    wait::s,
};

#[test]
fn a_live_stream_conforms_all_the_time_and_so_does_its_recording() {
    let house = House::with_workers(1);
    // A window so short that it slides.
    let mut profile = small_ladder();
    profile["window_s"] = json!(12);
    let stream = house.api.create("live", &profile);
    let follow = Follow::start(&house.api, &stream.playback.hls);
    let mut publisher = push(&house, &stream, &live_source(24));
    until_playable(&house, &stream, 3);
    // Lost, not ended: it says no goodbye.
    publisher.kill();
    house.api.until(&stream, StreamState::Interrupted, s(60));
    let mut publisher = push(&house, &stream, &live_source(24));
    house.api.until(&stream, StreamState::Live, s(20));
    assert!(publisher.wait(s(60)).success(), "{}", publisher.log());
    let ended = house.api.until(&stream, StreamState::Ended, s(60));
    assert_none(&follow.finish());
    assert_none(&recording(&house.api, &ended.playback.vod.expect("an ended stream has a recording")));
}

#[test]
fn a_file_conforms_when_it_is_through() {
    let house = House::with_workers(2);
    let stream = house.api.create("file", &small_ladder());
    house.api.upload_all(&stream, &fs::read(clip("bunny.mp4")).expect("the clip can be read"));
    let ended = house.api.until(&stream, StreamState::Ended, s(90));
    assert_none(&recording(&house.api, &stream.playback.hls));
    assert_none(&recording(&house.api, &ended.playback.vod.expect("an ended stream has a recording")));
}
