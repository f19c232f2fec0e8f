//! The disk under the orchestrator is full for a while.

use std::{fs, io::Write};

use crate::{
    clip::live_source,
    house::House,
    live::{assert_every_frame, recording, small_ladder, until_playable},
    playlist::Media,
    push::push,
    wait::{s, until},
    watch::Watch,
};

/// Holds a stream of the tests' size for some minutes, and is soon full of something else.
const DISK_BYTES: u64 = 64 << 20;

#[test]
fn a_full_disk_stops_the_stream_and_loses_nothing() {
    let mut house = House::on_small_disk(DISK_BYTES);
    house.add_worker(&format!("http://{}", house.http));
    house.until_online(1);
    let stream = house.api.create("live", &small_ladder());
    let watch = Watch::start(&house.api, &stream.playback.hls);
    let source = live_source(40);
    let mut publisher = push(&house, &stream, &source);
    until_playable(&house, &stream, 2);

    // Whatever is still free is taken.
    let ballast = house.data().join("ballast");
    let mut file = fs::File::create(&ballast).expect("there is still room");
    let block = vec![0; 64 << 10];
    let full = loop {
        if let Err(error) = file.write_all(&block) {
            break error;
        }
    };
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    let before = house.api.stream(&stream.id).progress.segments;
    // Longer than it takes to cut several segments: nothing more can be kept, and nothing breaks.
    let began = std::time::Instant::now();
    until("ten seconds on a full disk", s(20), || {
        watch.assert_holding();
        house.assert_up();
        assert_eq!(house.api.get("/healthz").status, 200);
        (began.elapsed() > s(10)).then_some(())
    });
    let during = house.api.stream(&stream.id).progress.segments;
    assert!(during <= before + 1, "{during} segments are said to be durable, {before} were when the disk was full");

    // With room again, the same publisher goes on: it was kept waiting, and all of it is there.
    drop(file);
    fs::remove_file(&ballast).expect("the ballast can be removed");
    let status = publisher.wait(s(90));
    assert!(status.success(), "the publisher was not kept: {}", publisher.log());
    let master = recording(&house, &stream);
    watch.finish();
    assert_every_frame(&master, &source);
    for url in master.all() {
        let list = Media::fetch(&house.api, url).expect("the playlist is there");
        for segment in &list.segments {
            let answer = house.api.get(&segment.url);
            assert!(answer.status == 200 && !answer.body.is_empty(), "{segment:?} came to {}", answer.status);
        }
    }
}
