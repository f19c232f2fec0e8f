//! HLS of others, fetched over a killed orchestrator, from broadcasts that fall silent, and from what is no use. What
//! comes of each form of it is in the matrix.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use millrace_proto::api::{Stream, StreamState};

use crate::{
    clip::{live_source, text, times, tool},
    house::House,
    live::recording,
    playlist::{Master, Media},
    program::Program,
    site::{Reply, Site},
    table::REFUSALS,
    url::{NEAR, fetch},
    wait::{s, until},
};

/// `source` as HLS in a folder of that name, as it is.
#[track_caller]
pub(crate) fn hls(house: &House, name: &str, source: &Path) {
    let folder = house.scratch().join(name);
    fs::create_dir(&folder).expect("a folder can be made");
    let list = folder.join("index.m3u8");
    let list_args = ["-c", "copy", "-f", "hls", "-hls_time", "2", "-hls_playlist_type", "vod"];
    let head = ["-v", "error", "-nostdin", "-i", text(source)];
    tool("ffmpeg", &[&head[..], &list_args, &[text(&list)]].concat());
}

/// What makes ffmpeg write the sound into a playlist of its own; the names of the playlists are `%v.m3u8`.
pub(crate) const APART: [&str; 8] = [
    "-map",
    "0:v",
    "-map",
    "0:a",
    "-master_pl_name",
    "master.m3u8",
    "-var_stream_map",
    "v:0,agroup:sound a:0,agroup:sound,default:yes",
];

/// A site with the files below `root`; `gate` says what is there just now.
fn site(root: &Path, gate: impl Fn(&str) -> bool + Send + Sync + 'static) -> Site {
    let root = root.to_owned();
    Site::open("127.0.0.1", move |ask| match fs::read(root.join(ask.file())) {
        Ok(_) if !gate(ask.file()) => Reply::status(503),
        Ok(bytes) => Reply::file(ask, &bytes, "\"same\""),
        Err(_) => Reply::status(404),
    })
}

#[test]
fn what_is_no_use_as_hls_is_told() {
    let house = House::configured(0, NEAR);
    let head = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n";
    let lists = [
        (
            "sample.m3u8",
            "encryption of samples",
            format!("{head}#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"k\"\n#EXTINF:2,\n1.ts\n"),
            "SAMPLE-AES",
        ),
        (
            "away.m3u8",
            "a segment at a private address",
            format!("{head}#EXTINF:2,\nhttp://169.254.169.254/1.ts\n#EXT-X-ENDLIST\n"),
            "private address",
        ),
        ("gone.m3u8", "segments that are not there", format!("{head}#EXTINF:2,\nnothing.ts\n#EXT-X-ENDLIST\n"), "404"),
        (
            "junk.m3u8",
            "segments that are no media",
            format!("{head}#EXTINF:2,\njunk.ts\n#EXT-X-ENDLIST\n"),
            "not one segment",
        ),
        ("empty.m3u8", "an ended list of nothing", format!("{head}#EXT-X-ENDLIST\n"), "not one segment"),
        ("strange.m3u8", "a line that can't be read", "#EXTM3U\n#EXTINF:two,\n1.ts\n".to_owned(), "line 2"),
        ("silent.m3u8", "a list that stays empty", head.to_owned(), "names no segment"),
        (
            "sound.m3u8",
            "versions without video or sound",
            "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"stpp\"\n1.m3u8\n".to_owned(),
            "can be read",
        ),
    ];
    fs::write(house.scratch().join("junk.ts"), [7; 4_096]).expect("a file can be written");
    for (name, _, list, _) in &lists {
        fs::write(house.scratch().join(name), list).expect("a file can be written");
    }
    let site = site(house.scratch(), |_| true);
    let streams = lists.map(|(name, what, _, why)| (fetch(&house, &site.url(name)), what, why));
    REFUSALS.tell_failures("HLS by URL", &house, &streams);
}

#[test]
fn a_recording_in_hls_goes_on_after_kill_9_and_takes_nothing_twice() {
    let mut house = House::configured(1, &NEAR.replace("give_up_s = 4", "give_up_s = 60"));
    let source = live_source(24);
    hls(&house, "ts", &source);
    let open = Arc::new(AtomicBool::new(false));
    let site = site(house.scratch(), {
        let open = open.clone();
        move |file| open.load(Ordering::Relaxed) || !["ts/index6.ts", "ts/index10.ts"].contains(&file)
    });
    let stream = fetch(&house, &site.url("ts/index.m3u8"));
    until("the first half to be cut", s(60), || (house.api.stream(&stream.id).progress.segments == 6).then_some(()));
    house.kill_orchestrator();
    house.start_orchestrator();
    open.store(true, Ordering::Relaxed);
    let master = recording(&house, &stream);
    let wanted = times(text(&source), "v:0").pts.len();
    for rung in &master.rungs {
        assert_eq!(times(&rung.url, "v:0").pts.len(), wanted, "frames of {}", rung.url);
        let list = Media::fetch(&house.api, &rung.url).expect("the playlist is there");
        assert_eq!(list.segments.len(), 12, "{}", list.text);
    }
    for number in 0..12 {
        let asked = site.seen().iter().filter(|ask| ask.file() == format!("ts/index{number}.ts")).count();
        assert!(asked == 1 || number == 6, "segment {number} was fetched {asked} times");
    }
}

/// ffmpeg broadcasts `source` as HLS into a folder of that name, at the speed of life.
fn broadcast(house: &House, name: &str, source: &Path, further: &[&str]) -> Program {
    let folder = house.scratch().join(name);
    fs::create_dir(&folder).expect("a folder can be made");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-re", "-i", text(source), "-c", "copy", "-f", "hls", "-hls_time", "2"]);
    command.args(["-hls_list_size", "5", "-hls_delete_threshold", "3", "-hls_flags", "delete_segments+temp_file"]);
    command.args(further).arg(folder.join(if further.is_empty() { "index.m3u8" } else { "%v.m3u8" }));
    Program::start(name, &mut command, house.log_path(name))
}

#[track_caller]
fn until_broadcast(house: &House, lists: &[&str]) {
    // ffmpeg writes one after the other; one that is not there yet would be an answer of 404.
    let are_there = || lists.iter().all(|list| house.scratch().join(list).is_file());
    until("the broadcast to begin", s(30), || are_there().then_some(()));
}

#[test]
fn a_broadcast_in_hls_is_live_and_goes_on_after_kill_9_without_a_duplicate_or_a_hole() {
    let mut house = House::configured(1, NEAR);
    let source = live_source(24);
    let mut publisher = broadcast(&house, "live", &source, &APART);
    until_broadcast(&house, &["live/master.m3u8", "live/0.m3u8", "live/1.m3u8"]);
    let site = site(house.scratch(), |_| true);
    let stream: Stream = fetch(&house, &site.url("live/master.m3u8"));
    house.api.until(&stream, StreamState::Live, s(20));
    until("some segments", s(40), || (house.api.stream(&stream.id).progress.segments_settled >= 3).then_some(()));
    let list = Master::fetch(&house.api, &stream.playback.hls).and_then(|master| {
        let rung = master.rungs.first()?;
        Media::fetch(&house.api, &rung.url)
    });
    let list = list.expect("it is published while it lives");
    assert!(!list.ended && list.text.contains("#EXT-X-PROGRAM-DATE-TIME"), "{}", list.text);
    house.kill_orchestrator();
    house.start_orchestrator();
    assert!(publisher.wait(s(60)).success(), "{}", publisher.log());
    let master = recording(&house, &stream);
    let wanted = times(text(&source), "v:0").pts.len();
    for rung in &master.rungs {
        let list = Media::fetch(&house.api, &rung.url).expect("the playlist is there");
        let breaks = list.segments.iter().skip(1).filter(|segment| segment.discontinuity).count();
        assert!(breaks <= 1, "the restart alone: {}", list.text);
        assert_eq!(times(&rung.url, "v:0").pts.len(), wanted, "frames of {}", rung.url);
        assert_eq!(list.segments.len(), 12, "{}", list.text);
    }
    let sound = times(master.audio.as_ref().expect("it has sound"), "a:0");
    let missing = times(text(&source), "a:0").pts.len().abs_diff(sound.pts.len());
    assert!(missing <= 4, "{missing} packets of sound are missing, or too many");
}

#[test]
fn a_broadcast_that_falls_silent_has_lost_its_publisher() {
    let config =
        format!("{}live_silence_s = 3\n", NEAR.replace("[ingest]", "[ingest]\npush_idle_s = 2\nlost_grace_s = 4"));
    let house = House::configured(1, &config);
    let mut publisher = broadcast(&house, "live", &live_source(24), &[]);
    until_broadcast(&house, &["live/index.m3u8"]);
    let site = site(house.scratch(), |_| true);
    let stream = fetch(&house, &site.url("live/index.m3u8"));
    until("some segments", s(40), || (house.api.stream(&stream.id).progress.segments >= 2).then_some(()));
    // Killed: no end of the list is written.
    publisher.kill();
    house.api.until(&stream, StreamState::Interrupted, s(40));
    recording(&house, &stream);
    let ended = fetch(&house, &site.url("live/index.m3u8"));
    // What ends as soon as it lives may have no segment yet.
    until("a segment", s(20), || (house.api.stream(&ended.id).progress.segments >= 1).then_some(()));
    let answer = house.api.call("POST", &format!("/v1/streams/{}/end", ended.id), None);
    assert_eq!(answer.status, 200, "{}", answer.text());
    recording(&house, &ended);
}
