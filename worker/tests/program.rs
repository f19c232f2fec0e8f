//! The real program against a small orchestrator, with a real segment and the real media child.

#[path = "program/clip.rs"]
mod clip;
#[path = "program/house.rs"]
mod house;
#[path = "program/worker.rs"]
mod worker;

use std::time::Duration;

use millrace_media::{
    Launcher, Limits,
    job::{Inspect, Inspection, Pair},
};
use millrace_proto::{
    identity::signer,
    outcome::{self, FailureKind, Outcome},
};

use clip::Clip;
use house::{House, Inputs};
use worker::{Worker, media};

fn kind(outcome: &Outcome) -> FailureKind {
    match &outcome.result {
        outcome::Result::Failed(failure) => failure.kind,
        outcome::Result::Done(_) => panic!("it was done"),
    }
}

#[test]
fn a_segment_goes_all_the_way() {
    let clip = Clip::make();
    let house = House::start(&clip);
    let mut worker = Worker::join(&house.url(), &[]);
    let lease = house.give(Inputs::Sound);
    let outcome = house.wait(|seen| seen.outcomes.get(&lease).cloned());
    let address = house.wait(|seen| seen.address);
    assert_eq!(signer(&Outcome::message(&lease, &outcome.result), &outcome.signature), Ok(address));
    let outcome::Result::Done(done) = outcome.result else { panic!("{:?}", outcome.result) };
    let names: Vec<&str> = done.renditions.iter().map(|rendition| rendition.name.as_str()).collect();
    assert_eq!(names, ["180p", "90p"]);

    let folder = tempfile::tempdir().unwrap();
    let mut segments = Vec::new();
    for rendition in &done.renditions {
        let pair =
            Pair { init: folder.path().join("init"), segment: folder.path().join(&rendition.name), ..Pair::default() };
        for (part, blob, path) in [("init", rendition.init, &pair.init), ("segment", rendition.segment, &pair.segment)]
        {
            let name = format!("{}.{part}", rendition.name);
            let bytes = house.wait(|seen| seen.outputs.get(&(lease.clone(), name.clone())).cloned());
            assert_eq!(millrace_proto::task::Blob::of(&bytes), blob);
            std::fs::write(path, bytes).unwrap();
        }
        let job = Inspect { segments: vec![pair], decode_all: true };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        segments.extend(runtime.block_on(Launcher::new(media()).inspect(&job, &Limits::default())).unwrap());
    }
    for (segment, height) in segments.iter().zip([180, 90]) {
        let Inspection::Readable(seen) = segment else { panic!("{segment:?}") };
        assert_eq!((seen.height, &seen.pts), (height, &clip.pts), "every frame, at its source's time");
        assert_eq!(seen.frames_decoded as usize, clip.pts.len());
    }

    worker.terminate();
    assert_eq!(worker.wait(), Some(0));
    assert_eq!(worker.scratch_entries(), ["lock"], "nothing is left behind");
    let printed = worker.printed();
    assert!(printed.contains(&address.to_string()) && printed.contains("libx264"), "{printed}");
    assert!(printed.contains(&house.url()), "{printed}");
}

#[test]
fn an_orchestrator_that_dies_and_returns_gets_the_outcome() {
    let clip = Clip::make();
    let mut house = House::start(&clip);
    let _worker = Worker::join(&house.url(), &[]);
    house.hold_inputs(true);
    let lease = house.give(Inputs::Sound);
    house.wait(|seen| seen.fetches.contains(&lease).then_some(()));
    // It forgets its sessions, as after a kill.
    house.die();
    house.hold_inputs(false);
    house.rise();
    let outcome = house.wait(|seen| seen.outcomes.get(&lease).cloned());
    assert!(matches!(outcome.result, outcome::Result::Done(_)), "{:?}", outcome.result);
    assert_eq!(house.wait(|seen| (seen.sessions >= 2).then_some(seen.sessions)), 2);
    assert!(house.wait(|seen| Some(seen.held.contains(&lease))), "the new session is told what is held");
}

#[test]
fn sigterm_lets_a_running_lease_finish() {
    let clip = Clip::make();
    let house = House::start(&clip);
    let mut worker = Worker::join(&house.url(), &[]);
    house.hold_inputs(true);
    let lease = house.give(Inputs::Sound);
    house.wait(|seen| seen.fetches.contains(&lease).then_some(()));
    worker.terminate();
    house.wait(|seen| (seen.slots_free == 0).then_some(()));
    house.give(Inputs::Sound);
    house.hold_inputs(false);
    assert_eq!(worker.wait(), Some(0));
    let outcomes = house.wait(|seen| Some(seen.outcomes.clone()));
    assert_eq!(outcomes.len(), 1, "no new lease");
    assert!(matches!(outcomes[&lease].result, outcome::Result::Done(_)), "{:?}", outcomes[&lease].result);
}

#[test]
fn sigterm_hands_back_what_outlasts_its_grace() {
    let clip = Clip::make();
    let house = House::start(&clip);
    let mut worker = Worker::join(&house.url(), &["--grace-s", "1"]);
    house.hold_inputs(true);
    let lease = house.give(Inputs::Sound);
    house.wait(|seen| seen.fetches.contains(&lease).then_some(()));
    worker.terminate();
    assert_eq!(worker.wait(), Some(0));
    let outcome = house.wait(|seen| seen.outcomes.get(&lease).cloned());
    assert_eq!(kind(&outcome), FailureKind::Released);
    assert_eq!(worker.scratch_entries(), ["lock"]);
}

#[test]
fn inputs_that_are_not_what_the_lease_says_are_told_apart() {
    let clip = Clip::make();
    let house = House::start(&clip);
    let _worker = Worker::join(&house.url(), &[]);
    for (inputs, expected) in [
        (Inputs::OtherHash, FailureKind::Transfer),
        (Inputs::TooLong, FailureKind::Transfer),
        (Inputs::Missing, FailureKind::Transfer),
        (Inputs::TooLarge, FailureKind::Limit),
        (Inputs::Garbage, FailureKind::BadInput),
    ] {
        let lease = house.give(inputs);
        let outcome = house.wait(|seen| seen.outcomes.get(&lease).cloned());
        assert_eq!(kind(&outcome), expected, "{inputs:?}: {:?}", outcome.result);
    }
}

#[test]
fn tokens_go_to_the_orchestrator_alone() {
    let clip = Clip::make();
    let house = House::start(&clip);
    let storage = House::start(&clip);
    let _worker = Worker::join(&house.url(), &[]);
    let lease = house.give_from(Inputs::Sound, &storage.url());
    let outcome = house.wait(|seen| seen.outcomes.get(&lease).cloned());
    assert!(matches!(outcome.result, outcome::Result::Done(_)), "{:?}", outcome.result);
    let (fetches, tokens) = storage.wait(|seen| Some((seen.fetches.len(), seen.tokens)));
    assert_eq!((fetches, tokens), (2, 0));
    assert!(house.wait(|seen| (seen.tokens > 0).then_some(seen.tokens)) > 0);
}

#[test]
fn refusals_and_wrong_setups_end_the_program_with_a_reason() {
    let clip = Clip::make();
    let house = House::start(&clip);
    house.refuse(true);
    let ends = |arguments: &[&str], code: i32, reason: &str| {
        let mut worker = Worker::join(&house.url(), arguments);
        assert_eq!(worker.wait(), Some(code), "{}", worker.printed());
        assert!(worker.printed().contains(reason), "{}", worker.printed());
    };
    ends(&[], 4, "install the worker of the server's version");
    ends(&["--media", "/nowhere/media"], 3, "/nowhere/media");
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "no key").unwrap();
    ends(&["--key-file", key.to_str().unwrap()], 2, "key file");
    house.refuse(false);
    let mut elsewhere = Worker::join(&format!("{}/elsewhere", house.url()), &[]);
    assert_eq!(elsewhere.wait(), Some(4));
    assert!(elsewhere.printed().contains("check the address"), "{}", elsewhere.printed());
}

#[test]
fn a_killed_workers_files_are_swept_and_its_lease_goes_to_the_next_program() {
    let clip = Clip::make();
    let house = House::start(&clip);
    let mut worker = Worker::join(&house.url(), &[]);
    house.hold_inputs(true);
    let lease = house.give(Inputs::Sound);
    house.wait(|seen| seen.fetches.contains(&lease).then_some(()));
    worker.kill();
    assert_eq!(worker.scratch_entries().len(), 2, "it had no time to clean up");
    house.hold_inputs(false);
    let mut next = worker.again(&house.url());
    let outcome = house.wait(|seen| seen.outcomes.get(&lease).cloned());
    assert!(matches!(outcome.result, outcome::Result::Done(_)), "{:?}", outcome.result);
    next.terminate();
    assert_eq!(next.wait(), Some(0));
    assert_eq!(next.scratch_entries(), ["lock"]);
}

/// Longest wait for anything in these tests; nothing is timed by it.
const PATIENCE: Duration = Duration::from_mins(1);

/// A worker that believes in a card which is not there, with the real media child: what the driver's absence really says
/// comes back typed, and the segment is made in software within its lease.
#[test]
fn a_card_that_refuses_costs_no_segment() {
    use millrace_media::card::{Able, Card, Tools, Use};
    use millrace_proto::{
        identity::Secret,
        offer::{Encoder, Offer},
        profile::VideoCodec,
    };
    use millrace_worker::{
        agent::{Agent, Config, Exit, Limits as Asked, Seats, Timing},
        client::{self, Client},
        run::{self, Worker},
        scratch::Scratch,
        senses::Senses,
    };

    // As `main` does.
    rustls::crypto::ring::default_provider().install_default().ok();
    let clip = Clip::make();
    let house = House::start(&clip);
    let folder = tempfile::tempdir().unwrap();
    let card = Card { index: 77, minor: 77, uuid: None };
    let able = Able { decodes: vec![VideoCodec::H264], encodes: vec![(VideoCodec::H264, Tools::Full)] };
    let worker = Worker {
        client: Client::new(client::parse_url(&house.url()).unwrap()).unwrap(),
        launcher: Launcher::new(media()),
        secret: Secret::from_hex(&"7".repeat(64)).unwrap(),
        offer: Offer {
            version: "0".into(),
            slots: 1,
            cores: 1,
            encoders: vec![Encoder { codec: VideoCodec::H264, name: "h264_nvenc".into(), pixels_per_s: 1.0 }],
            absent: vec![],
            sandbox: millrace_proto::offer::Sandbox::default(),
            models: vec![],
            cards: vec![],
        },
        scratch: Scratch::new(folder.path()).unwrap(),
        slots: 1,
        threads_max: 1,
        cores: 1,
        senses: Senses::default(),
        cards: vec![Use { card, able }],
    };
    let seats = vec![Seats { slots: 1, sessions: 8 }];
    let (timing, limits) = (Timing::default(), Asked::default());
    let config =
        Config { instance: "i-1".into(), slots: 1, ahead: 1, seed: 1, timing, limits, cards: seats, models: vec![] };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (drain, drains) = tokio::sync::mpsc::channel(2);
    let running = runtime.spawn(run::run(Agent::new(config), worker, drains));
    // After the third refusal the card is left alone; segments are made all the same.
    for _ in 0..4 {
        let lease = house.give(Inputs::Sound);
        let outcome = house.wait(|seen| seen.outcomes.get(&lease).cloned());
        let outcome::Result::Done(done) = outcome.result else { panic!("{:?}", outcome.result) };
        assert!(done.renditions.iter().all(|rendition| rendition.frames as usize == clip.pts.len()));
    }
    runtime.block_on(async {
        drain.send(()).await.unwrap();
        assert_eq!(running.await.unwrap(), Exit::Drained);
    });
}

/// A card that is named and not there is told, and the worker works without.
#[test]
fn a_card_that_is_named_and_absent_is_told_and_not_missed() {
    let clip = Clip::make();
    let house = House::start(&clip);
    let worker = Worker::join(&house.url(), &["--gpu", "77"]);
    let lease = house.give(Inputs::Sound);
    let outcome = house.wait(|seen| seen.outcomes.get(&lease).cloned());
    assert!(matches!(outcome.result, outcome::Result::Done(_)), "{:?}", outcome.result);
    assert!(worker.printed().contains("card 77      absent: the card can't be opened"), "{}", worker.printed());
}
