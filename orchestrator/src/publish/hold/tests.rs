//! What is held back, and what is not.

use millrace_proto::{
    profile::{Captions, Choice, Moderation},
    timeline::Entry,
};

use super::*;
use crate::{
    publish::hls::tests::segment,
    store::record::{SegmentState, Stream},
};

fn profile(words: &[&str]) -> Profile {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    Profile {
        captions: Some(Captions::default()),
        moderation: Some(Moderation { action: Action::Hold, words, ..Moderation::default() }),
        ..Choice::default().resolve().unwrap()
    }
}

/// The second of two-second segments, and its stream's chains as far as they have come.
fn known(profile: &Profile, pictures_ms: i64, words_ms: i64) -> (Segment, Known) {
    let one = segment(1, 0, SegmentState::Ready);
    let source = millrace_proto::api::Source::Live;
    let mut chains = Chain::of(&Stream::new(one.stream.clone(), "", source, profile.clone(), 0));
    for chain in &mut chains {
        chain.position_ms = if chain.kind == Capability::Moderation { pictures_ms } else { words_ms };
    }
    (one, Known { chains, ..Known::default() })
}

fn mark(track: &str, level: Level, start_ms: i64, end_ms: i64) -> Mark {
    let entry = Entry {
        label: Some("rude".into()),
        level: Some(level),
        score: Some(0.9),
        ..Entry::blank(Capability::Moderation, track, start_ms, end_ms)
    };
    Mark { stream: "s".parse().unwrap(), number: 0, changed: 0, entry, looks: vec![] }
}

fn report(kind: Capability, track: &str, start_ms: i64, end_ms: i64, reason: Option<&str>) -> Report {
    Report {
        stream: "s".parse().unwrap(),
        kind,
        track: track.into(),
        number: 0,
        start_ms,
        end_ms,
        created_ms: 0,
        found: None,
        reason: reason.map(str::to_owned),
    }
}

#[test]
fn a_segment_waits_for_what_looks_at_it_and_no_longer() {
    let profile = profile(&[]);
    let judged = |pictures_ms, words_ms| {
        let (segment, known) = known(&profile, pictures_ms, words_ms);
        judge(&profile, &segment, &known)
    };
    assert_eq!(judged(3_999, 9_000), Verdict::Wait);
    assert_eq!(judged(4_000, 0), Verdict::Show, "nobody minds any word");
    let observed = Profile { moderation: Some(Moderation::default()), ..profile.clone() };
    let (segment, known) = known(&observed, 0, 0);
    assert_eq!(judge(&observed, &segment, &known), Verdict::Show, "nothing is held, so nothing is waited for");
}

#[test]
fn words_are_waited_for_where_there_is_sound() {
    let profile = profile(&["rude"]);
    let (segment, mut known) = known(&profile, 4_000, 3_000);
    let mute = Segment { audio: None, ..segment.clone() };
    assert_eq!(judge(&profile, &mute, &known), Verdict::Show);
    assert_eq!(judge(&profile, &segment, &known), Verdict::Wait);
    for chain in &mut known.chains {
        chain.position_ms = 4_000;
    }
    assert_eq!(judge(&profile, &segment, &known), Verdict::Show);
    known.marks = vec![mark(words::WORDS, Level::Flag, 3_500, 3_900)];
    assert_eq!(judge(&profile, &segment, &known), Verdict::Hold("the word rude (0.90)".into()));
}

#[test]
fn what_is_flagged_is_held_and_what_is_beside_it_is_not() {
    let profile = profile(&[]);
    let (segment, known) = known(&profile, 4_000, 0);
    let judged = |marks| judge(&profile, &segment, &Known { marks, ..known.clone() });
    assert_eq!(judged(vec![mark(MODERATION, Level::Flag, 1_000, 3_000)]), Verdict::Hold("rude (0.90)".into()));
    assert_eq!(judged(vec![mark(MODERATION, Level::Flag, 3_999, 9_000)]), Verdict::Hold("rude (0.90)".into()));
    // This one begins at two seconds and ends at four.
    let beside = [mark(MODERATION, Level::Flag, 0, 2_000), mark(MODERATION, Level::Flag, 4_000, 5_000)];
    assert_eq!(judged(beside.into()), Verdict::Show);
    assert_eq!(judged(vec![mark(MODERATION, Level::Review, 0, 9_000)]), Verdict::Show, "it is published meanwhile");
}

#[test]
fn what_nobody_could_look_at_is_held() {
    let profile = profile(&[]);
    let (segment, known) = known(&profile, 4_000, 0);
    let passed = |kind, track: &str, start_ms, end_ms| {
        let reports = vec![report(kind, track, start_ms, end_ms, Some("no worker can"))];
        judge(&profile, &segment, &Known { reports, ..known.clone() })
    };
    let Verdict::Hold(why) = passed(Capability::Moderation, MODERATION, 0, 4_000) else { panic!("it is shown") };
    assert_eq!(why, "it could not be looked at: no worker can");
    assert_eq!(passed(Capability::Moderation, MODERATION, 4_000, 9_000), Verdict::Show);
    assert_eq!(passed(Capability::Captions, CAPTIONS, 0, 4_000), Verdict::Show, "nobody minds any word");
    let seen = vec![report(Capability::Moderation, MODERATION, 0, 4_000, None)];
    assert_eq!(judge(&profile, &segment, &Known { reports: seen, ..known.clone() }), Verdict::Show);
    // A chain that was closed before, or is not there.
    let mut closed = known.clone();
    for chain in &mut closed.chains {
        (chain.open, chain.position_ms) = (false, 0);
    }
    assert!(matches!(judge(&profile, &segment, &closed), Verdict::Hold(_)));
    assert!(matches!(judge(&profile, &segment, &Known::default()), Verdict::Hold(_)));
    // There is nothing to look at in sound.
    let sound = Segment { video: None, ..segment.clone() };
    assert_eq!(judge(&profile, &sound, &Known::default()), Verdict::Show);
}

#[test]
fn what_is_held_for_one_reason_is_told_once() {
    let reasons = [Some("a"), Some("a"), Some("b"), None, Some("b"), None];
    let one = |(seq, reason): (u64, Option<&str>)| {
        let hold = reason.map(|why| held(why.into(), 7));
        Segment { hold, ..segment(seq, 0, SegmentState::Ready) }
    };
    let segments: Vec<Segment> = (0..).zip(reasons).map(one).collect();
    let events = told(&segments);
    let runs: Vec<_> =
        events.iter().map(|event| (event.body["first"].as_u64(), event.body["end_ms"].as_i64())).collect();
    assert_eq!(runs, [(Some(0), Some(4_000)), (Some(2), Some(6_000)), (Some(4), Some(10_000))]);
    assert!(events.iter().all(|event| (event.kind.as_str(), event.created_ms) == ("moderation.held", 7)));
}

#[test]
fn nothing_of_what_is_withheld_is_shown() {
    let mut one = segment(1, 0, SegmentState::Ready);
    for (state, is_shown) in [(HoldState::Held, false), (HoldState::Rejected, false), (HoldState::Approved, true)] {
        one.hold = Some(Hold { state, reason: "rude".into(), since_ms: 0 });
        let shown = one.clone().shown();
        let has = shown.state == SegmentState::Ready && !shown.renditions.is_empty() && shown.audio.is_some();
        assert_eq!(has, is_shown, "{state:?}");
        assert_eq!(shown.is_withheld(), !is_shown);
    }
}
