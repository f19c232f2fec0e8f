//! Who hears is killed in the middle of it, and the orchestrator too: what is written down stays, and all the rest comes,
//! once.

use std::{collections::BTreeMap, path::PathBuf};

use millrace_proto::api::{Stream, StreamState, Transcript};
use nix::sys::signal::Signal;
use serde_json::json;

use super::{MODEL, asks, complete, errors, reading, transcript, words};
use crate::{
    clip::{made, text},
    house::House,
    wait::{s, until},
};

/// The reading three times, without pictures: whatever is leased of it is to be heard.
fn spoken() -> (PathBuf, Vec<String>) {
    let (source, said) = reading();
    let sound = made("spoken.mp4", &["-stream_loop", "2", "-i", text(&source)], "-map 0:a -c copy");
    (sound, [said.clone(), said.clone(), said].concat())
}

fn upload(house: &House, source: &PathBuf) -> Stream {
    let stream = house.api.create("file", &asks(&json!({"language": "en"})));
    house.api.upload_all(&stream, &std::fs::read(source).expect("the clip can be read"));
    house.api.until(&stream, StreamState::Ended, s(60))
}

fn leases(house: &House) -> u32 {
    house.api.workers().iter().filter(|worker| worker.online).map(|worker| worker.leases).sum()
}

/// Waits until something is written down and someone hears what comes then.
fn amid(house: &House, stream: &Stream, after_ms: i64) -> Transcript {
    until("a window to be heard behind another", s(60), || {
        let now = transcript(house, stream);
        assert!(!now.complete, "all is heard already");
        (now.settled_ms > after_ms && leases(house) > 0).then_some(now)
    })
}

/// What players can have by now: each segment of captions, by its name.
fn published(house: &House, stream: &Stream) -> BTreeMap<String, String> {
    let folder = format!("/hls/{}/captions", stream.id);
    let list = house.api.get(&format!("{folder}/index.m3u8")).text();
    let names = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    names.map(|name| (name.to_owned(), house.api.get(&format!("{folder}/{name}")).text())).collect()
}

#[test]
fn not_a_word_is_lost_or_doubled_by_kill_9_of_the_worker_and_of_the_orchestrator() {
    let (source, said) = spoken();
    let mut house = House::with_workers(0);
    house.add_hearing_worker(&[MODEL]);
    house.until_online(1);
    let undisturbed = words(&complete(&house, &upload(&house, &source)));
    let wrong = errors(&said, &undisturbed);
    assert!(wrong * 100 <= said.len() * 25, "{wrong} of {} words are wrong: {undisturbed:?}", said.len());

    let stream = upload(&house, &source);
    let first = until("the worker to be hit while it hears", s(60), || {
        let now = amid(&house, &stream, 0);
        // Halted, it can't be done just before it is killed.
        house.worker(0).signal(Signal::SIGSTOP);
        if leases(&house) > 0 {
            return Some(now);
        }
        house.worker(0).signal(Signal::SIGCONT);
        None
    });
    house.worker(0).kill();
    let shown = published(&house, &stream);
    assert!(!shown.is_empty() && shown.values().any(|text| text.contains(" --> ")), "{shown:?}");
    house.add_hearing_worker(&[MODEL]);
    let second = amid(&house, &stream, first.settled_ms);
    let metrics = house.api.get("/metrics").text();
    assert!(metrics.lines().any(|line| line == "millrace_leases_expired_total 1"), "{metrics}");
    house.kill_orchestrator();
    house.start_orchestrator();

    let all = complete(&house, &stream);
    assert!(all.windows.windows(2).all(|pair| pair[0].end_ms == pair[1].start_ms), "{all:?}");
    assert!(all.windows.starts_with(&second.windows) && second.windows.starts_with(&first.windows), "{all:?}");
    assert_eq!(words(&all), undisturbed);
    let finally = published(&house, &stream);
    for (name, text) in shown {
        assert_eq!(finally.get(&name), Some(&text), "{name} was published and changed");
    }
}
