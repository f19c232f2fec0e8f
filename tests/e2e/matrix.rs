//! The matrix: streams as they really come, each by its way into one house, and what comes out of it. The table in
//! docs/matrix.md is what this run made; `MILLRACE_BLESS=1` writes it anew, and only where every case holds.
//! `MILLRACE_MATRIX=WORDS` runs the cases whose names hold these words, and compares no table.

mod cases;
mod eye;
mod hour;
mod judge;
mod media;

use std::{
    env,
    fmt::Write,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use millrace_proto::api::{Stream, StreamState};
use serde_json::json;

use crate::{
    conformance::Follow,
    house::House,
    http_push::{pieces, put_all},
    push::{address, push_to},
    rtmp, srt,
    wait::{s, until},
};
use cases::{Case, Way, cases};

/// Where the table is, from the repository's root.
const TABLE: &str = "docs/matrix.md";

/// Sends the media of `case` in, to its end. Live streams are followed meanwhile.
#[track_caller]
fn send(house: &House, case: &Case, stream: &Stream, files: &[PathBuf]) -> Result<(), String> {
    match case.way {
        Way::File => {
            house.api.upload_all(stream, &media::joined(files));
            return Ok(());
        }
        Way::Rtmp => {
            let name = format!("publisher-{}", stream.id);
            let file = crate::clip::text(&files[0]);
            let mut publisher = push_to(house, &name, &address(stream), &["-i", file, "-c", "copy"]);
            let status = publisher.wait(s(60));
            if !status.success() {
                return Err(format!("ffmpeg was turned away: {}", publisher.log()));
            }
        }
        Way::Srt => {
            let mut publisher = srt::push_srt(house, stream, &files[0]);
            let status = publisher.wait(s(60));
            if !status.success() {
                return Err(format!("ffmpeg was turned away: {}", publisher.log()));
            }
        }
        Way::Tags(change) => {
            let mut all = Vec::new();
            let mut at_ms = 0;
            for file in files {
                let mut tags = rtmp::tags(file);
                for tag in &mut tags {
                    tag.time_ms += at_ms;
                }
                all.extend(tags);
                at_ms += case.media.seconds * 1_000;
            }
            rtmp::publish(stream, &change(all));
        }
        Way::Enhanced => rtmp::publish(stream, &rtmp::enhanced(&files[0])),
        Way::Segments => {
            let pieces = pieces(house, &files[0], "mpegts", "ts", case.media.args);
            put_all(house, stream, &pieces, &(0..pieces.len()).collect::<Vec<_>>());
        }
    }
    // At once, when the publisher has hung up: nobody comes back.
    until("the end of the stream", s(30), || {
        let answer = house.api.call("POST", &format!("/v1/streams/{}/end", stream.id), None);
        assert!(matches!(answer.status, 200 | 409), "{}", answer.text());
        (answer.status == 200).then_some(())
    });
    Ok(())
}

/// One case from its media to its end; what came out, or what is wrong.
fn run(house: &House, case: &Case, files: &[PathBuf]) -> Result<String, String> {
    let live = !matches!(case.way, Way::File);
    let profile = json!({"ladder": [{"name": "120p", "short_side_px": 120, "bitrate_bps_max": 600_000,
        "preset": "ultrafast", "crf": 18}]});
    let stream = house.api.create(if live { "live" } else { "file" }, &profile);
    let follow = live.then(|| Follow::start(&house.api, &stream.playback.hls));
    send(house, case, &stream, files)?;
    let ended = house.api.until(&stream, StreamState::Ended, s(120));
    let mut findings = follow.map(Follow::finish).unwrap_or_default().into_iter().map(|f| f.to_string());
    let judged = judge::judge(house, case, &ended, files);
    let found = findings.by_ref().collect::<Vec<_>>().join("\n");
    match judged {
        Ok(facts) if found.is_empty() => Ok(facts),
        Ok(_) => Err(found),
        Err(wrong) => Err(format!("{found}\n{wrong}")),
    }
}

#[test]
fn streams_as_they_come() {
    let only = env::var("MILLRACE_MATRIX").ok();
    let wanted = |name: &str| only.as_ref().is_none_or(|words| name.contains(words.as_str()));
    let cases: Vec<_> = cases().into_iter().filter(|case| wanted(case.name)).collect();
    // One after the other: some cases are about the same file.
    let files: Vec<_> = cases.iter().map(|case| case.media.files()).collect();
    let mut house = House::configured(2, srt::LISTENS);
    // Two at a time: one is judged while another is worked on.
    let next = AtomicUsize::new(0);
    let hand = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(at) else { return done };
            let result = catch_unwind(AssertUnwindSafe(|| run(&house, case, &files[at])));
            done.push((at, result.unwrap_or_else(|_| Err("an assertion failed, see above".into()))));
        }
    };
    let (mut results, long) = thread::scope(|scope| {
        let long = wanted(hour::NAME).then(|| scope.spawn(|| hour::run(&house)));
        let hands = [scope.spawn(hand), scope.spawn(hand)];
        let results: Vec<_> = hands.into_iter().flat_map(|hand| hand.join().expect("a case panicked")).collect();
        (results, long.map(|long| long.join().expect("the hour does not panic")))
    });
    results.sort_by_key(|(at, _)| *at);
    house.assert_up();
    let rows = cases.iter().map(|case| (case.name, case.way.name())).chain([(hour::NAME, Way::File.name())]);
    let mut table = String::from(
        "# Streams as they come\n\nEach row is a real stream that the end-to-end tests sent in, and what a player got \
         out of it: every frame at its\ntime, sound and picture together, and all that is served right by the rules \
         of HLS. The test `matrix` writes this table.\n\n| what comes | by | what comes out |\n|---|---|---|\n",
    );
    let mut faults = Vec::new();
    for ((name, way), result) in rows.zip(results.into_iter().map(|(_, result)| result).chain(long)) {
        match result {
            Ok(facts) => writeln!(table, "| {name} | {way} | {facts} |").expect("it is text"),
            Err(wrong) => faults.push(format!("--- {name}\n{wrong}")),
        }
    }
    println!("{table}");
    assert!(faults.is_empty(), "{} cases do not hold:\n{}", faults.len(), faults.join("\n"));
    if only.is_some() {
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(TABLE);
    if env::var_os("MILLRACE_BLESS").is_some() {
        fs::write(&path, &table).expect("the table can be written");
    }
    let told = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(told, table, "{TABLE} does not say what came out: run with MILLRACE_BLESS=1, and read what changed");
}
