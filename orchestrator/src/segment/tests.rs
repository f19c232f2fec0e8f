//! Checks of the segmenter: every sample once, cuts at keyframes, times aligned, runs joined.

use bytes::Bytes;
use millrace_cmaf::{Audio, Codec, Sample, Track, Video};
use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    segment_ms: 2_000,
    segment_ms_max: Some(2_450),
    keyframe_ms_max: 30_000,
    segment_bytes_max: 1 << 20,
    audio_lag_ms_max: 1_000,
};
const KEYFRAMES_ONLY: Limits = Limits { segment_ms_max: None, ..LIMITS };

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
    assert_eq!(pictures(&cuts), 125);
    assert_eq!(cuts.iter().filter_map(|cut| cut.audio.as_ref()).map(|part| part.samples.len()).sum::<usize>(), 234);
    for cut in &cuts {
        let video = cut.video.as_ref().unwrap();
        assert!(video.samples[0].key && video.preroll == 0);
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
    assert!(second[0].video.as_ref().unwrap().samples[0].pts >= ((end_ns as i64 + ORIGIN_NS) / 1_000_000));
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
    for event in pictures(75, 77) {
        cuts.extend(segmenter.push(event).unwrap());
    }
    assert_eq!(cuts.len(), 1, "but not for longer than the limit");
    assert!(cuts[0].audio.is_none());
}

#[test]
fn a_picture_behind_the_last_sound_has_silence_beside_it() {
    let spoken = Audio { sample_rate: 48_000, channels: 2 };
    let config = millrace_cmaf::aac::config(spoken).unwrap();
    let audio = Track { timescale: 48_000, codec: Codec::Aac { audio: spoken, config } };
    let tracks = || Event::Tracks { video: Some(video()), audio: Some(audio.clone()) };
    let last = || Event::Video(sample(2_000, true));
    for late_ms in [0, 15] {
        // Sound to the last keyframe, or a little less or more than that.
        let spoken = |event: &Event| match event {
            Event::Audio(sound) => sound.pts / 48 + 21 <= 2_000 + late_ms,
            _ => true,
        };
        let events: Vec<Event> = media(2, 0).into_iter().filter(spoken).chain([last()]).collect();
        let cuts = run(&mut Segmenter::new(LIMITS, None), std::iter::once(tracks()).chain(events));
        assert_eq!(cuts.len(), 2);
        let [before, after] = [&cuts[0], &cuts[1]].map(|cut| cut.audio.as_ref().unwrap());
        assert_eq!((after.samples.len(), after.samples[0].duration), (1, 1_024));
        assert!((0..4_800).contains(&(after.samples[0].pts - before.end)), "{before:?} {after:?}");
    }
    // No sound came at all.
    let cuts = run(&mut Segmenter::new(LIMITS, None), [tracks(), Event::Video(sample(7, true))]);
    assert_eq!(cuts[0].audio.as_ref().unwrap().samples.len(), 1);
}

#[test]
fn who_comes_back_without_sound_has_silence_all_along() {
    let spoken = Audio { sample_rate: 44_100, channels: 1 };
    let config = millrace_cmaf::aac::config(spoken).unwrap();
    let audio = Track { timescale: 48_000, codec: Codec::Aac { audio: spoken, config } };
    let mute = || Event::Tracks { video: Some(video()), audio: None };
    let pictures = |seconds| media(seconds, 7_000).into_iter().filter(|event| matches!(event, Event::Video(_)));
    let mut segmenter = Segmenter::new(LIMITS, None);
    let never = run(&mut segmenter, std::iter::once(mute()).chain(pictures(2)));
    assert!(never.iter().all(|cut| cut.audio.is_none()), "there was no sound yet");
    run(&mut segmenter, std::iter::once(Event::Tracks { video: Some(video()), audio: Some(audio) }).chain(media(2, 0)));
    // The same where a program goes on from what the store kept of it.
    for mut segmenter in [Segmenter::new(LIMITS, segmenter.tail()), segmenter] {
        let cuts = run(&mut segmenter, std::iter::once(mute()).chain(pictures(5)));
        let lengths: Vec<u64> = cuts.iter().map(|cut| cut.duration_ns / 1_000_000).collect();
        assert_eq!(lengths, [2_000, 2_000, 1_000]);
        let mut end = None;
        for cut in &cuts {
            let [pictures, sound] = [&cut.video, &cut.audio].map(|part| part.as_ref().unwrap());
            let Codec::Aac { audio, .. } = sound.track.codec else { panic!("{sound:?}") };
            assert_eq!((audio.channels, sound.track.timescale), (1, 48_000));
            assert!(end.is_none_or(|end| end == sound.samples[0].pts), "a hole");
            let behind = |ticks: i64, ms: i64| (ticks / 48 - ms).abs();
            assert!(behind(sound.samples[0].pts, pictures.samples[0].pts) < 22, "{sound:?}");
            assert!(behind(sound.end, pictures.end) <= 140, "{} {}", sound.end / 48, pictures.end);
            end = Some(sound.end);
        }
    }
}

#[test]
fn limits_have_their_errors() {
    let mut segmenter = Segmenter::new(LIMITS, None);
    assert_eq!(segmenter.push(Event::Video(sample(0, true))), Err(Error::NoTracks));
    assert_eq!(segmenter.push(Event::Tracks { video: None, audio: None }), Err(Error::NoTracks));
    segmenter.push(tracks()).unwrap();
    segmenter.push(Event::Video(sample(0, true))).unwrap();
    assert_eq!(segmenter.push(Event::Video(sample(30_001, false))), Err(Error::NoKeyframe(30)));
    segmenter.push(tracks()).unwrap();
    segmenter.push(Event::Video(sample(0, true))).unwrap();
    let huge = Sample { data: Bytes::from(vec![0; 1 << 20]), ..sample(40, false) };
    assert_eq!(segmenter.push(Event::Video(huge)), Err(Error::TooLarge(1 << 20)));
}

fn pictures(cuts: &[Cut]) -> usize {
    cuts.iter().filter_map(|cut| cut.video.as_ref()).map(|video| video.samples.len()).sum()
}

/// Pictures 40 ms apart, by the number at which each is shown; `I` is a keyframe.
fn coded(order: &str) -> Vec<Event> {
    let picture = |word: &str| {
        let number: i64 = word[1..].parse().unwrap();
        Event::Video(sample(number * 40, word.starts_with('I')))
    };
    std::iter::once(Event::Tracks { video: Some(video()), audio: None })
        .chain(order.split_whitespace().map(picture))
        .collect()
}

#[test]
fn without_keyframes_in_time_segments_are_as_long_all_the_same() {
    let pictures: Vec<String> = (0..250).map(|at| format!("{}{at}", if at % 120 == 0 { 'I' } else { 'P' })).collect();
    let cuts = run(&mut Segmenter::new(LIMITS, None), coded(&pictures.join(" ")));
    let told: Vec<(u64, u32)> =
        cuts.iter().map(|cut| (cut.start_ns / 1_000_000, cut.video.as_ref().unwrap().preroll)).collect();
    // Keyframes are at 0, 4.8 and 9.6 s: the third segment holds the second one.
    assert_eq!(told, [(0, 0), (2_000, 1), (4_000, 2), (6_000, 1), (8_000, 2)]);
    let cuts = run(&mut Segmenter::new(KEYFRAMES_ONLY, None), coded(&pictures.join(" ")));
    let starts: Vec<u64> = cuts.iter().map(|cut| cut.start_ns / 1_000_000).collect();
    assert_eq!(starts, [0, 4_800, 9_600], "a source that is published as it is is cut at its keyframes");
}

#[test]
fn a_keyframe_that_comes_a_little_late_is_waited_for() {
    let pictures: Vec<String> = (0..180).map(|at| format!("{}{at}", if at % 60 == 0 { 'I' } else { 'P' })).collect();
    let cuts = run(&mut Segmenter::new(LIMITS, None), coded(&pictures.join(" ")));
    let starts: Vec<u64> = cuts.iter().map(|cut| cut.start_ns / 1_000_000).collect();
    assert_eq!(starts, [0, 2_400, 4_800]);
}

#[test]
fn leading_pictures_are_shown_with_their_keyframe_and_decoded_after_what_they_refer_to() {
    // An open group: B50 and B51 refer to P49 and I52.
    let open: Vec<String> = (0..50).map(|at| format!("{}{at}", if at == 0 { 'I' } else { 'P' })).collect();
    let order = format!("{} I52 B50 B51 P53 P54", open.join(" "));
    let cuts = run(&mut Segmenter::new(LIMITS, None), coded(&order));
    assert_eq!((cuts.len(), pictures(&cuts)), (2, 55));
    let second = cuts[1].video.as_ref().unwrap();
    assert_eq!((cuts[1].start_ns, second.preroll), (2_000_000_000, 1));
    // A run that starts with such a group can't show its leading pictures.
    let cuts = run(&mut Segmenter::new(LIMITS, None), coded("I2 B0 B1 P3"));
    assert_eq!((pictures(&cuts), cuts[0].start_ns), (2, 0));
}

#[test]
fn a_picture_from_before_the_cut_is_kept() {
    let order: Vec<String> = (0..130).map(|at| format!("{}{at}", if at % 60 == 0 { 'I' } else { 'P' })).collect();
    let cuts = run(&mut Segmenter::new(LIMITS, None), coded(&format!("{} P3 P130", order.join(" "))));
    assert_eq!(pictures(&cuts), 132);
    for cut in &cuts {
        let times = cut.video.iter().flat_map(|part| &part.samples).map(|sample| sample.pts);
        assert!(times.min().unwrap() >= (cut.start_ns / 1_000_000) as i64 + ORIGIN_NS / 1_000_000);
    }
}

#[test]
fn sound_alone_is_cut_at_its_packets() {
    let mut events = vec![Event::Tracks { video: None, audio: Some(audio()) }];
    events.extend((0..235).map(|at| Event::Audio(Sample { duration: 1_024, ..sample(at * 1_024, true) })));
    let cuts = run(&mut Segmenter::new(LIMITS, None), events);
    assert_eq!(cuts.len(), 3);
    assert!(cuts.iter().all(|cut| cut.video.is_none()));
    assert_eq!(cuts.iter().filter_map(|cut| cut.audio.as_ref()).map(|part| part.samples.len()).sum::<usize>(), 235);
    let apart_ns = cuts[1].start_ns.abs_diff(2_000_000_000);
    assert!(apart_ns < 22_000_000 && cuts[0].start_ns + cuts[0].duration_ns == cuts[1].start_ns);
}

/// Groups of pictures of any lengths, reordered as B pictures are, some of them open.
fn groups(gops: &[(Vec<i64>, bool)], offset: i64) -> Vec<Sample> {
    let mut at = offset;
    let mut samples = Vec::new();
    for (gop, open) in gops {
        let mut times = vec![at];
        for step in gop {
            at += step;
            times.push(at);
        }
        at += 1;
        if *open && !samples.is_empty() && times.len() > 2 {
            // The keyframe is shown second.
            times.swap(0, 1);
        } else if times.len() > 3 {
            times.swap(1, 2);
        }
        samples.extend(times.iter().enumerate().map(|(n, &pts)| sample(pts, n == 0)));
    }
    samples
}

proptest! {
    /// Whatever the frame durations, reordering and keyframe places: no sample is lost, segments touch without
    /// hole or overlap, times within one are distinct, and each can be decoded with what is said to come before.
    #[test]
    fn segments_touch_and_lose_nothing(
        gops in prop::collection::vec((prop::collection::vec(1_i64..200, 1..60), any::<bool>()), 1..20),
        offset in -5_000_i64..5_000,
        forced in any::<bool>(),
    ) {
        let limits = if forced { LIMITS } else { KEYFRAMES_ONLY };
        let samples = groups(&gops, offset);
        let count = samples.len();
        let tracks = Event::Tracks { video: Some(video()), audio: None };
        let events = std::iter::once(tracks).chain(samples.into_iter().map(Event::Video));
        let cuts = run(&mut Segmenter::new(limits, None), events);
        prop_assert_eq!(pictures(&cuts), count);
        prop_assert_eq!(cuts[0].start_ns, 0);
        let parts: Vec<&Part> = cuts.iter().map(|cut| cut.video.as_ref().unwrap()).collect();
        for (pair, parts) in cuts.windows(2).zip(parts.windows(2)) {
            prop_assert_eq!(pair[0].start_ns + pair[0].duration_ns, pair[1].start_ns);
            prop_assert_eq!(Some(parts[0].end), parts[1].samples.iter().map(|sample| sample.pts).min());
            if forced {
                // One picture may last 200 ms.
                prop_assert!(pair[0].duration_ns <= 2_450_000_000, "{}", pair[0].duration_ns);
            }
        }
        for (at, part) in parts.iter().enumerate() {
            let mut times: Vec<i64> = part.samples.iter().map(|sample| sample.pts).collect();
            let distinct = times.len();
            times.sort_unstable();
            times.dedup();
            prop_assert_eq!(times.len(), distinct);
            prop_assert!(times[0] >= 0 && *times.last().unwrap() < part.end);
            let from = parts[at - part.preroll as usize];
            let clean = part.samples[0].key && part.samples[0].pts == times[0];
            let decodable = if part.preroll == 0 { clean } else { from.samples.iter().any(|sample| sample.key) };
            prop_assert!(decodable, "segment {at}");
        }
    }
}
