//! Where segments are cut: as long as promised whatever the source's keyframes are, and for sound without pictures too.

use crate::{
    clip::{live_source, made, text, times},
    conformance,
    house::House,
    live::{assert_every_frame, recording, small_ladder},
    playlist::Media,
    push::{address, push, push_to},
    wait::s,
};

#[test]
fn keyframes_far_apart_make_no_longer_segments() {
    let house = House::with_workers(1);
    let input = live_source(12);
    let source = made("far-apart.mp4", &["-i", text(&input)], "-c:v libx264 -preset ultrafast -bf 2 -g 250 -c:a copy");
    let stream = house.api.create("live", &small_ladder());
    let follow = conformance::Follow::start(&house.api, &stream.playback.hls);
    let mut publisher = push(&house, &stream, &source);
    assert!(publisher.wait(s(60)).success(), "{}", publisher.log());
    let master = recording(&house, &stream);
    conformance::assert_none(&follow.finish());
    assert_every_frame(&master, &source);
    for url in master.all() {
        let list = Media::fetch(&house.api, url).expect("the playlist is there");
        assert!(list.target_s == 2 && list.segments.len() >= 6, "{}", list.text);
    }
}

#[test]
fn sound_alone_is_a_stream_too() {
    // Nobody has to work on it: there is no worker.
    let house = House::with_workers(0);
    let source = live_source(10);
    let stream = house.api.create("live", &small_ladder());
    let follow = conformance::Follow::start(&house.api, &stream.playback.hls);
    let mut publisher = push_to(&house, "sound", &address(&stream), &["-re", "-i", text(&source), "-vn", "-c", "copy"]);
    assert!(publisher.wait(s(60)).success(), "{}", publisher.log());
    let recorded = recording(&house, &stream);
    conformance::assert_none(&follow.finish());
    assert!(recorded.rungs.is_empty(), "{recorded:?}");
    let packets = |media: &str| times(media, "a:0").pts.len();
    let wanted = packets(text(&source));
    let vod = format!("{}/hls/{}/vod.m3u8", house.api.base, stream.id);
    conformance::assert_none(&conformance::recording(&house.api, &vod));
    for media in [vod, format!("{}/dash/{}/manifest.mpd", house.api.base, stream.id)] {
        assert_eq!(packets(&media), wanted, "packets of sound in {media}");
    }
}
