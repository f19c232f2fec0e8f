//! Checks of the segmenter: every sample once, cuts at keyframes, times aligned, runs joined.

use bytes::Bytes;
use millrace_cmaf::{Audio, Codec, Sample, Track, Video};
use proptest::prelude::*;

use super::*;

const LIMITS: Limits =
    Limits { segment_ms: 2_000, segment_ms_max: 30_000, segment_bytes_max: 1 << 20, audio_lag_ms_max: 1_000 };

const ORIGIN_NS: i64 = millrace_cmaf::ORIGIN_S * 1_000_000_000;

fn video() -> Track {
    let video = Video { width: 640, height: 360, pixel_aspect: (1, 1), rotation_deg: 0 };
    Track { timescale: 1_000, codec: Codec::H264 { video, config: Bytes::from_static(b"x") } }
}

fn audio() -> Track {
    let audio = Audio { sample_rate: 48_000, channels: 2 };
    Track { timescale: 48_000, codec: Codec::Aac { audio, config: Bytes::from_static(b"x") } }
}

fn sample(pts: i64, key: bool) -> Sample {
    Sample { pts, dts: pts, duration: 0, key, data: Bytes::from_static(b"data") }
}

fn tracks() -> Event {
    Event::Tracks { video: Some(video()), audio: Some(audio()) }
}

/// `seconds` of 25 fps video with a keyframe each second and 48 kHz audio, interleaved by time.
fn media(seconds: i64, offset_ms: i64) -> Vec<Event> {
    let mut timed: Vec<(i64, Event)> = Vec::new();
    for frame in 0..seconds * 25 {
        let at_ms = offset_ms + frame * 40;
        timed.push((at_ms, Event::Video(sample(at_ms, frame % 25 == 0))));
    }
    for packet in 0..seconds * 48_000 / 1_024 {
        let pts = offset_ms * 48 + packet * 1_024;
        timed.push((pts / 48, Event::Audio(Sample { duration: 1_024, ..sample(pts, true) })));
    }
    timed.sort_by_key(|(at_ms, _)| *at_ms);
    timed.into_iter().map(|(_, event)| event).collect()
}

fn run(segmenter: &mut Segmenter, events: impl IntoIterator<Item = Event>) -> Vec<Cut> {
    let mut cuts = Vec::new();
    for event in events {
        cuts.extend(segmenter.push(event).unwrap());
    }
    cuts.extend(segmenter.finish());
    cuts
}

#[test]
fn cuts_at_keyframes_and_keeps_every_sample() {
    let mut segmenter = Segmenter::new(LIMITS, None);
    let cuts = run(&mut segmenter, std::iter::once(tracks()).chain(media(5, 7_000)));
    let starts: Vec<u64> = cuts.iter().map(|cut| cut.start_ns / 1_000_000).collect();
    assert_eq!(starts, [0, 2_000, 4_000], "the timeline starts at 0 wherever the source's clock does");
    assert_eq!(cuts.iter().map(|cut| cut.video.samples.len()).sum::<usize>(), 125);
    assert_eq!(cuts.iter().filter_map(|cut| cut.audio.as_ref()).map(|part| part.samples.len()).sum::<usize>(), 234);
    for cut in &cuts {
        assert!(cut.video.samples[0].key);
        let audio = cut.audio.as_ref().unwrap();
        let apart_ns = (audio.samples[0].pts * 1_000_000_000 / 48_000 - ORIGIN_NS - cut.start_ns as i64).abs();
        assert!(apart_ns < 22_000_000, "audio starts within a packet of the cut: {apart_ns}");
    }
}

#[test]
fn a_second_run_goes_on_where_the_first_ended() {
    let mut segmenter = Segmenter::new(LIMITS, None);
    let first = run(&mut segmenter, std::iter::once(tracks()).chain(media(3, 0)));
    let second = run(&mut segmenter, std::iter::once(tracks()).chain(media(3, 900_000)));
    let end_ns = first.last().map(|cut| cut.start_ns + cut.duration_ns).unwrap();
    assert_eq!((first[0].discontinuity, second[0].discontinuity), (0, 1));
    assert_eq!(second[0].start_ns, end_ns);
    assert!(second[0].video.samples[0].pts >= ((end_ns as i64 + ORIGIN_NS) / 1_000_000));
    assert_eq!(second[0].run_ns, 0);
}

#[test]
fn a_run_without_a_keyframe_leaves_no_trace() {
    let mut segmenter = Segmenter::new(LIMITS, None);
    assert!(run(&mut segmenter, [tracks(), Event::Video(sample(0, false))]).is_empty());
    let cuts = run(&mut segmenter, std::iter::once(tracks()).chain(media(1, 0)));
    assert_eq!(cuts[0].discontinuity, 0);
}

#[test]
fn late_audio_is_waited_for_and_missing_audio_is_not() {
    let mut segmenter = Segmenter::new(LIMITS, None);
    segmenter.push(tracks()).unwrap();
    let pictures = |from: i64, to: i64| (from..to).map(|frame| Event::Video(sample(frame * 40, frame % 25 == 0)));
    let mut cuts = Vec::new();
    for event in pictures(0, 75) {
        cuts.extend(segmenter.push(event).unwrap());
    }
    assert!(cuts.is_empty(), "audio up to the cut is waited for");
    for event in pictures(75, 76) {
        cuts.extend(segmenter.push(event).unwrap());
    }
    assert_eq!(cuts.len(), 1, "but not for longer than the limit");
    assert!(cuts[0].audio.is_none());
}

#[test]
fn limits_have_their_errors() {
    let mut segmenter = Segmenter::new(LIMITS, None);
    assert_eq!(segmenter.push(Event::Video(sample(0, true))), Err(Error::NoTracks));
    assert_eq!(segmenter.push(Event::Tracks { video: None, audio: Some(audio()) }), Err(Error::NoVideo));
    segmenter.push(tracks()).unwrap();
    segmenter.push(Event::Video(sample(0, true))).unwrap();
    assert_eq!(segmenter.push(Event::Video(sample(30_001, false))), Err(Error::NoKeyframe(30)));
    segmenter.push(tracks()).unwrap();
    segmenter.push(Event::Video(sample(0, true))).unwrap();
    let huge = Sample { data: Bytes::from(vec![0; 1 << 20]), ..sample(40, false) };
    assert_eq!(segmenter.push(Event::Video(huge)), Err(Error::TooLarge(1 << 20)));
}

proptest! {
    /// Whatever the frame durations, reordering and keyframe places: no sample is lost, segments touch without
    /// hole or overlap, and times within one are distinct.
    #[test]
    fn segments_touch_and_lose_nothing(
        gops in prop::collection::vec(prop::collection::vec(1_i64..200, 1..40), 1..20),
        offset in -5_000_i64..5_000,
    ) {
        let mut events = vec![Event::Tracks { video: Some(video()), audio: None }];
        let (mut at, mut count) = (offset, 0);
        for gop in &gops {
            let mut times = vec![at];
            for step in gop {
                at += step;
                times.push(at);
            }
            at += 1;
            // The second and third frame change places, as a B frame does.
            if times.len() > 2 {
                times.swap(1, 2);
            }
            count += times.len();
            events.extend(times.iter().enumerate().map(|(n, &pts)| Event::Video(sample(pts, n == 0))));
        }
        let cuts = run(&mut Segmenter::new(LIMITS, None), events);
        prop_assert_eq!(cuts.iter().map(|cut| cut.video.samples.len()).sum::<usize>(), count);
        prop_assert_eq!(cuts[0].start_ns, 0);
        for pair in cuts.windows(2) {
            prop_assert_eq!(pair[0].start_ns + pair[0].duration_ns, pair[1].start_ns);
            prop_assert_eq!(pair[0].video.end, pair[1].video.samples[0].pts);
        }
        for cut in &cuts {
            let mut times: Vec<i64> = cut.video.samples.iter().map(|sample| sample.pts).collect();
            let distinct = times.len();
            times.sort_unstable();
            times.dedup();
            prop_assert_eq!(times.len(), distinct);
            prop_assert!(times[0] >= 0 && *times.last().unwrap() < cut.video.end);
        }
    }
}
