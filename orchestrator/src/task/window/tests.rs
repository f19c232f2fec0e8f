//! Tests of windows: where they begin and end, whatever comes in.

use millrace_proto::{
    api::Source,
    profile::Choice,
    task::{Blob, Work},
};

use super::*;
use crate::store::record::{Media, SegmentState};

fn stream(state: StreamState, live: bool) -> Stream {
    let mut profile = Choice::default().resolve().unwrap();
    profile.captions = Some(profile::Captions::default());
    let source = if live { Source::Live } else { Source::File };
    Stream { state, next_seq: 1_000, ..Stream::new("s".parse().unwrap(), "", source, profile, 0) }
}

fn segment(seq: u64, header: &[u8]) -> Segment {
    let audio = Media {
        name: "audio".into(),
        init: Blob::of(header),
        segment: Blob::of(&seq.to_be_bytes()),
        codec: "mp4a.40.2".into(),
        frames: 1,
        width: 0,
        height: 0,
        channels: 2,
        duration_ns: 2_000_000_000,
        preroll: 0,
        key_bytes: 0,
    };
    Segment {
        hold: None,
        stream: "s".parse().unwrap(),
        seq,
        discontinuity: 0,
        start_ns: seq * 2_000_000_000,
        duration_ns: 2_000_000_000,
        wall_ms: None,
        arrived_ms: 0,
        video: None,
        audio: Some(audio),
        state: SegmentState::Ready,
        renditions: Vec::new(),
    }
}

fn segments(numbers: std::ops::Range<u64>) -> Vec<Segment> {
    numbers.map(|seq| segment(seq, b"header")).collect()
}

fn chain(position_ms: i64, seen_ms: i64) -> Chain {
    let all = Chain::of(&stream(StreamState::Live, true));
    Chain { position_ms, seen_ms, number: 7, context: "before".into(), ..all[0].clone() }
}

fn step(chain: &Chain, stream: &Stream, segments: &[Segment]) -> Step {
    next(chain, stream, stream.profile.captions.as_ref().unwrap(), segments, &Pace::default(), 99)
}

/// First segment, beginning, end, and whether nothing comes after.
fn planned(step: &Step) -> (u64, i64, i64, bool) {
    let Step::Plan(task) = step else { panic!("{step:?}") };
    let Work::Captions(work) = &task.work else { panic!("{task:?}") };
    assert_eq!(i64::try_from(task.duration_ms).unwrap(), work.end_ms - work.start_ms);
    (task.seq, work.start_ms, work.end_ms, work.last)
}

#[test]
fn live_windows_are_short_and_begin_where_the_last_one_is_settled() {
    let live = stream(StreamState::Live, true);
    assert_eq!(step(&chain(0, 0), &live, &segments(0..0)), Step::Wait);
    assert_eq!(planned(&step(&chain(0, 0), &live, &segments(0..2))), (0, 0, 4_000, false));
    // It saw four seconds and settled three: the next one needs new sound.
    assert_eq!(step(&chain(3_000, 4_000), &live, &segments(0..2)), Step::Wait);
    let next = step(&chain(3_000, 4_000), &live, &segments(0..4));
    assert_eq!(planned(&next), (1, 3_000, 8_000, false));
    let Step::Plan(task) = next else { unreachable!() };
    assert_eq!((task.id.as_str(), task.live), ("s-7-captions", true));
    let Work::Captions(work) = task.work else { unreachable!() };
    assert_eq!((work.context.as_str(), work.patience_ms, work.translate), ("before", 12_000, false));
}

#[test]
fn speech_that_goes_on_is_heard_again_from_its_pause_on() {
    let live = stream(StreamState::Live, true);
    let mut going = chain(7_000, 8_000);
    going.carry = Some(Carry { again_ms: 4_500, ..Carry::default() }.text());
    let next = step(&going, &live, &segments(0..5));
    assert_eq!(planned(&next), (1, 2_500, 10_000, false));
    let Step::Plan(task) = next else { unreachable!() };
    let (position, _) = given_up(&task, "nobody could", 5).unwrap();
    assert_eq!(position.position_ms, 10_000);
    assert_eq!(given_up(&task, "nobody could", 5).unwrap().1.start_ms, 7_000, "what was settled stays");
    let Work::Captions(work) = task.work else { unreachable!() };
    assert!(work.draft && work.again_ms == 4_500);
    // What was found to be spoken goes on.
    let spanish = Chain { label: Some("es".into()), ..going.clone() };
    let Step::Plan(task) = step(&spanish, &live, &segments(0..5)) else { panic!("there is enough") };
    assert!(matches!(task.work, Work::Captions(work) if work.language.as_deref() == Some("es")));
    // Freed in between: it is heard from where there is sound.
    let Step::Plan(task) = step(&going, &live, &segments(3..5)) else { panic!("there is enough") };
    let Work::Captions(work) = task.work else { unreachable!() };
    assert_eq!((work.start_ms, work.again_ms), (6_000, 1_000));
    // A recording has time.
    let file = stream(StreamState::Live, false);
    let Step::Plan(task) = step(&chain(0, 0), &file, &segments(0..20)) else { panic!("there is enough") };
    assert!(matches!(task.work, Work::Captions(work) if !work.draft));
}

#[test]
fn recorded_windows_are_as_long_as_the_model_hears() {
    let file = stream(StreamState::Live, false);
    assert_eq!(step(&chain(0, 0), &file, &segments(0..12)), Step::Wait);
    assert_eq!(planned(&step(&chain(0, 0), &file, &segments(0..13))), (0, 0, 26_000, false));
    assert_eq!(planned(&step(&chain(0, 0), &file, &segments(0..60))), (0, 0, 28_000, false));
    // A live stream that fell behind catches up with as much at once.
    let live = stream(StreamState::Live, true);
    assert_eq!(planned(&step(&chain(0, 0), &live, &segments(0..60))), (0, 0, 28_000, false));
}

#[test]
fn a_publisher_that_left_leaves_no_words_behind() {
    // Too little for a window that more comes after.
    let short = chain(3_000, 4_000);
    assert_eq!(step(&short, &Stream { next_seq: 2, ..stream(StreamState::Live, true) }, &segments(0..2)), Step::Wait);
    let left = Stream { next_seq: 2, ..stream(StreamState::Interrupted, true) };
    assert_eq!(planned(&step(&short, &left, &segments(0..2))), (1, 3_000, 4_000, true));
    assert_eq!(step(&chain(4_000, 4_000), &left, &segments(0..2)), Step::Wait, "who left may come back");
}

#[test]
fn the_end_of_a_stream_is_the_end_of_its_chain() {
    let ended = Stream { next_seq: 2, ..stream(StreamState::Finishing, true) };
    assert_eq!(planned(&step(&chain(3_500, 3_500), &ended, &segments(0..2))), (1, 3_500, 4_000, true));
    for state in [StreamState::Finishing, StreamState::Ended, StreamState::Failed, StreamState::Expired] {
        let ended = Stream { next_seq: 2, ..stream(state, true) };
        let Step::Close(closed) = step(&chain(4_000, 4_000), &ended, &segments(0..2)) else { panic!("{state:?}") };
        assert!(!closed.open && closed.position_ms == 4_000);
    }
}

#[test]
fn a_window_ends_where_its_sound_does() {
    let live = stream(StreamState::Live, true);
    let mut broken = segments(0..5);
    broken[1] = segment(1, b"another header");
    assert_eq!(planned(&step(&chain(0, 0), &live, &broken)), (0, 0, 2_000, true));
    let mut broken = segments(0..5);
    broken[1..].iter_mut().for_each(|segment| segment.discontinuity = 1);
    assert_eq!(planned(&step(&chain(0, 0), &live, &broken)), (0, 0, 2_000, true));
    let mut mute = segments(0..5);
    (mute[1].audio, mute[2].audio) = (None, None);
    assert_eq!(planned(&step(&chain(0, 0), &live, &mute)), (0, 0, 2_000, true));
    let Step::Skip(next, report) = step(&chain(2_000, 2_000), &live, &mute) else { panic!("it can't be heard") };
    assert_eq!((next.position_ms, next.number, report.start_ms, report.end_ms), (6_000, 8, 2_000, 6_000));
    assert_eq!((report.number, report.reason.as_deref()), (7, Some("there is no sound")));
}

#[test]
fn what_was_freed_is_passed_over() {
    let live = stream(StreamState::Live, true);
    let Step::Skip(next, report) = step(&chain(1_000, 1_000), &live, &segments(5..9)) else { panic!("it is gone") };
    assert_eq!((next.position_ms, next.seq, report.start_ms), (10_000, 5, 1_000));
    assert!(report.found.is_none() && report.reason.is_some_and(|reason| reason.contains("freed")));
}

#[test]
fn a_window_that_is_given_up_leaves_its_chain_behind_it() {
    let live = stream(StreamState::Live, true);
    let Step::Plan(task) = step(&chain(1_000, 1_000), &live, &segments(0..4)) else { panic!("there is enough") };
    let (next, report) = given_up(&task, "nobody could", 5).unwrap();
    assert_eq!((next.number, next.position_ms, next.open), (8, 8_000, true));
    assert_eq!((report.number, report.start_ms, report.end_ms), (7, 1_000, 8_000));
    assert_eq!(report.reason.as_deref(), Some("nobody could"));
}

#[test]
fn a_pace_is_checked() {
    assert!(Pace::default().check().is_ok());
    let slow = Pace { live_ms: 0, ..Pace::default() };
    assert!(slow.check().unwrap_err().contains("live_ms is 0"));
}
