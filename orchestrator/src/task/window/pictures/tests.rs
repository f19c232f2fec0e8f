//! Tests of windows of pictures: where they begin and end, whatever comes in.

use millrace_proto::{
    api::{Source, StreamState},
    profile::Choice,
    task::Blob,
};

use super::*;
use crate::{
    store::record::{Media, SegmentState},
    task::window::given_up,
};

fn stream(state: StreamState, live: bool) -> Stream {
    let mut profile = Choice::default().resolve().unwrap();
    profile.products = Some(millrace_proto::profile::Products::default());
    let source = if live { Source::Live } else { Source::File };
    Stream { state, next_seq: 1_000, ..Stream::new("s".parse().unwrap(), "", source, profile, 0) }
}

fn segment(seq: u64) -> Segment {
    let video = Media {
        name: "source".into(),
        init: Blob::of(b"header"),
        segment: Blob::of(&seq.to_be_bytes()),
        codec: "avc1.64001f".into(),
        frames: 60,
        width: 1_280,
        height: 720,
        channels: 0,
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
        video: Some(video),
        audio: None,
        state: SegmentState::Pending,
        renditions: Vec::new(),
    }
}

fn segments(numbers: std::ops::Range<u64>) -> Vec<Segment> {
    numbers.map(segment).collect()
}

fn chain(position_ms: i64) -> Chain {
    let all = Chain::of(&stream(StreamState::Live, true));
    Chain { position_ms, number: 7, carry: Some("what is in sight".into()), ..all[0].clone() }
}

/// First segment, beginning, end and preroll.
fn planned(step: &Step) -> (u64, i64, i64, u32) {
    let Step::Plan(task) = step else { panic!("{step:?}") };
    let Work::Look(work) = &task.work else { panic!("{task:?}") };
    assert_eq!(i64::try_from(task.duration_ms).unwrap(), work.end_ms - work.start_ms);
    (task.seq, work.start_ms, work.end_ms, work.preroll)
}

#[test]
fn a_live_segment_is_looked_at_as_soon_as_it_is_there() {
    let live = stream(StreamState::Live, true);
    assert_eq!(next(&chain(4_000), &live, &segments(0..2), 9), Step::Wait);
    assert_eq!(planned(&next(&chain(4_000), &live, &segments(0..3), 9)), (2, 4_000, 6_000, 0));
    // Who is behind takes more at once, and no more than a window.
    assert_eq!(planned(&next(&chain(4_000), &live, &segments(0..5), 9)), (2, 4_000, 10_000, 0));
    assert_eq!(planned(&next(&chain(4_000), &live, &segments(0..99), 9)), (2, 4_000, 14_000, 0));
}

#[test]
fn a_recording_waits_for_whole_windows_and_comes_to_its_end() {
    let growing = Stream { next_seq: 3, ..stream(StreamState::Live, false) };
    assert_eq!(next(&chain(0), &growing, &segments(0..3), 9), Step::Wait);
    assert_eq!(planned(&next(&chain(0), &growing, &segments(0..6), 9)), (0, 0, 10_000, 0));
    let ended = stream(StreamState::Ended, false);
    assert_eq!(planned(&next(&chain(0), &ended, &segments(0..3), 9)), (0, 0, 6_000, 0));
    let Step::Close(closed) = next(&chain(6_000), &ended, &segments(0..3), 9) else { panic!("it is over") };
    assert!(!closed.open && closed.number == 8);
}

#[test]
fn windows_end_where_the_pictures_change() {
    let live = stream(StreamState::Live, true);
    let change = |change: fn(&mut Segment)| {
        let mut all = segments(0..4);
        all[2..].iter_mut().for_each(change);
        planned(&next(&chain(0), &live, &all, 9))
    };
    assert_eq!(change(|segment| segment.discontinuity = 1), (0, 0, 4_000, 0));
    assert_eq!(change(|segment| segment.video = None), (0, 0, 4_000, 0));
    assert_eq!(change(|segment| segment.video.as_mut().unwrap().init = Blob::of(b"other")), (0, 0, 4_000, 0));
    let mut all = segments(0..4);
    all[2].video.as_mut().unwrap().preroll = 2;
    assert_eq!(planned(&next(&chain(4_000), &live, &all, 9)), (2, 4_000, 8_000, 2));
}

#[test]
fn what_can_not_be_looked_at_is_passed_over() {
    let live = stream(StreamState::Live, true);
    let skipped = |step: Step| match step {
        Step::Skip(chain, report) => (chain, report.start_ms, report.end_ms, report.reason.unwrap()),
        other => panic!("{other:?}"),
    };
    let (on, start_ms, end_ms, why) = skipped(next(&chain(2_000), &live, &segments(3..4), 9));
    assert_eq!((start_ms, end_ms, why.contains("freed")), (2_000, 6_000, true));
    assert_eq!((on.carry, on.number), (chain(0).carry, 8));
    let mut open = segments(2..3);
    open[0].video.as_mut().unwrap().preroll = 2;
    let (_, start_ms, end_ms, why) = skipped(next(&chain(4_000), &Stream { first_seq: 1, ..live.clone() }, &open, 9));
    assert_eq!((start_ms, end_ms, why.contains("decoded after")), (4_000, 6_000, true));
    let mut blind = segments(0..3);
    blind[..2].iter_mut().for_each(|segment| segment.video = None);
    let (_, start_ms, end_ms, why) = skipped(next(&chain(0), &live, &blind, 9));
    assert_eq!((start_ms, end_ms, why.as_str()), (0, 4_000, "there are no pictures"));
    // A window that was given up says nothing of what was in sight before, which stays.
    let Step::Plan(task) = next(&chain(0), &live, &segments(0..1), 9) else { panic!("there is one") };
    let (on, report) = given_up(&task, "given up", 9).unwrap();
    assert_eq!((on.carry, on.position_ms, on.number), (None, 2_000, 8));
    assert_eq!((report.start_ms, report.end_ms, report.reason.as_deref()), (0, 2_000, Some("given up")));
}

#[test]
fn many_pictures_a_second_make_short_windows() {
    let mut often = stream(StreamState::Live, true);
    often.profile.products.as_mut().unwrap().every_ms = 200;
    assert_eq!(planned(&next(&chain(0), &often, &segments(0..9), 9)), (0, 0, 4_000, 0));
}
