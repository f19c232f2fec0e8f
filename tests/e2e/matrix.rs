//! The matrix: streams as they really come, each by its way into a house, and what comes out of it. Each part is a
//! test and a section of docs/matrix.md, which is what these tests saw (`table.rs`). A case is a line in
//! `matrix/parts.rs`. `MILLRACE_MATRIX=WORDS` runs the cases whose names hold these words, and compares no table.

mod cases;
mod eye;
mod hls;
mod hour;
mod judge;
mod media;
mod parts;
mod send;

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use millrace_proto::api::StreamState;

use crate::{house::House, rtmps, srt, table::MATRIX, url::NEAR, wait::s};
use cases::Case;

const COLUMNS: [&str; 4] = ["what comes", "by", "what comes out", "DASH"];

/// One case from its media to its end; what came out and how DASH tells it, or what is wrong.
fn run(house: &House, case: &Case, files: &[PathBuf]) -> Result<[String; 2], String> {
    let sent = send::send(house, case, files)?;
    let ended = house.api.until(&sent.stream, StreamState::Ended, s(120));
    let mut wrong: Vec<_> =
        sent.follow.map(crate::conformance::Follow::finish).iter().flatten().map(ToString::to_string).collect();
    wrong.extend(sent.site.and_then(|site| hls::check(&site).err()));
    match judge::judge(house, case, &ended, files) {
        Ok(facts) if wrong.is_empty() => Ok(facts),
        judged => {
            wrong.extend(judged.err());
            Err(wrong.join("\n"))
        }
    }
}

/// Runs the cases of a part, and tells what came out.
#[track_caller]
fn part(name: &str, cases: Vec<Case>) {
    let only = env::var("MILLRACE_MATRIX").ok();
    let wanted = |case: &Case| only.as_ref().is_none_or(|words| case.name.contains(words.as_str()));
    let cases: Vec<_> = cases.into_iter().filter(wanted).collect();
    if cases.is_empty() {
        return;
    }
    // One after the other: some cases are about the same file.
    let files: Vec<_> = cases.iter().map(|case| case.media.files()).collect();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut house = House::configured(2, &format!("{NEAR}{}{}", rtmps::config(folder.path()), srt::LISTENS));
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
    let mut results: Vec<_> = thread::scope(|scope| {
        let hands = [scope.spawn(hand), scope.spawn(hand)];
        hands.into_iter().flat_map(|hand| hand.join().expect("a case panicked")).collect()
    });
    results.sort_by_key(|(at, _)| *at);
    house.assert_up();
    let log = house.log();
    assert!(!log.contains("sesame"), "a secret in the log:\n{log}");
    let made = cases.iter().filter(|case| (case.profile)() == "auto").count();
    assert_eq!(log.matches("the ladder is made for these pictures").count(), made, "once for each: {log}");
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    for (case, (_, result)) in cases.iter().zip(results) {
        match result {
            Ok([facts, dash]) => rows.push(vec![case.name.to_owned(), case.way.name().to_owned(), facts, dash]),
            Err(wrong) => faults.push(format!("--- {}\n{wrong}", case.name)),
        }
    }
    if only.is_some() || !faults.is_empty() {
        println!("{rows:#?}");
    }
    assert!(faults.is_empty(), "{} cases do not hold:\n{}", faults.len(), faults.join("\n"));
    if only.is_none() {
        MATRIX.tell(name, &COLUMNS, &rows);
    }
}

#[test]
fn ways_in() {
    part("Ways in", parts::ways());
}

#[test]
fn pictures() {
    part("Pictures", parts::pictures());
}

#[test]
fn frame_rates() {
    part("Frame rates", parts::rates());
}

#[test]
fn sound() {
    part("Sound", parts::sounds());
}

#[test]
fn clocks() {
    part("Clocks", parts::times());
}

#[test]
fn contents() {
    part("Contents", parts::contents());
}

#[test]
fn codecs() {
    part("Codecs", parts::codecs());
}

#[test]
fn ladders() {
    part("Ladders", parts::ladders());
}

#[test]
fn an_hour() {
    let facts = hour::run(&House::with_workers(2)).unwrap_or_else(|wrong| panic!("{wrong}"));
    MATRIX.tell("Length", &COLUMNS[..3], &[vec!["an hour".into(), "file".into(), facts]]);
}
