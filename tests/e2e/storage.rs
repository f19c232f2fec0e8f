//! The disk under the orchestrator is full for a while.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use millrace_proto::api::Stream;

use crate::{
    clip::live_source,
    hls_pull::hls,
    house::House,
    live::{assert_every_frame, recording, small_ladder, until_playable},
    playlist::Media,
    push::push,
    site::{Reply, Site},
    url::{NEAR, fetch},
    wait::{s, until},
    watch::Watch,
};

/// Holds a stream of the tests' size for some minutes, and is soon full of something else.
const DISK_BYTES: u64 = 64 << 20;

/// What takes all of the disk that is still free.
struct Ballast {
    path: PathBuf,
    file: File,
}

impl Ballast {
    #[track_caller]
    fn load(house: &House) -> Self {
        let path = house.data().join("ballast");
        let file = File::create(&path).expect("there is still room");
        Self { path, file }
    }

    /// Takes whatever is free just now.
    #[track_caller]
    fn fill(&mut self) {
        let block = vec![0; 64 << 10];
        let full = loop {
            if let Err(error) = self.file.write_all(&block) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull);
    }

    #[track_caller]
    fn remove(self) {
        fs::remove_file(&self.path).expect("the ballast can be removed");
    }
}

#[test]
fn a_full_disk_stops_fetching_and_loses_nothing() {
    let mut house = House::on_small_disk(DISK_BYTES, &NEAR.replace("give_up_s = 4", "give_up_s = 60"));
    house.add_worker(&format!("http://{}", house.http));
    house.until_online(1);
    let source = live_source(24);
    hls(&house, "ts", &source);
    let film = fs::read(&source).expect("the clip can be read");
    let third = film.len() / 3;
    let open = Arc::new(AtomicBool::new(false));
    let site = Site::open("127.0.0.1", {
        let (open, root, begun) = (open.clone(), house.scratch().to_owned(), AtomicBool::new(false));
        move |ask| match ask.file() {
            "film" if !begun.swap(true, Ordering::Relaxed) => Reply::file(ask, &film, "\"one\"").cut(third),
            "film" if open.load(Ordering::Relaxed) => Reply::file(ask, &film, "\"one\""),
            name if name.starts_with("ts/") && (open.load(Ordering::Relaxed) || !name.ends_with("2.ts")) => {
                fs::read(root.join(name)).map_or(Reply::status(404), |bytes| Reply::file(ask, &bytes, "\"same\""))
            }
            _ => Reply::status(503),
        }
    });
    let (film, list) = (fetch(&house, &site.url("film")), fetch(&house, &site.url("ts/index.m3u8")));
    until("the first part of both", s(40), || {
        let progress = |stream: &Stream| house.api.stream(&stream.id).progress;
        (progress(&film).source_bytes == third as u64 && progress(&list).segments_settled == 2).then_some(())
    });
    let mut ballast = Ballast::load(&house);
    ballast.fill();
    open.store(true, Ordering::Relaxed);
    until("both to wait for space", s(40), || {
        // What is freed meanwhile is taken, too.
        ballast.fill();
        house.assert_up();
        let log = house.log();
        let waits = ["what is fetched can't be written", "a segment can't be kept"];
        waits.iter().all(|words| log.contains(words)).then_some(())
    });
    ballast.remove();
    for stream in [&film, &list] {
        assert_every_frame(&recording(&house, stream), &source);
    }
}

#[test]
fn a_full_disk_stops_the_stream_and_loses_nothing() {
    let mut house = House::on_small_disk(DISK_BYTES, "");
    house.add_worker(&format!("http://{}", house.http));
    house.until_online(1);
    let stream = house.api.create("live", &small_ladder());
    let watch = Watch::start(&house.api, &stream.playback.hls);
    let source = live_source(40);
    let mut publisher = push(&house, &stream, &source);
    until_playable(&house, &stream, 2);

    let mut ballast = Ballast::load(&house);
    ballast.fill();
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
    ballast.remove();
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
