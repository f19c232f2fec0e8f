//! Tracks, discontinuities and times, message by message.

use std::collections::HashMap;

use millrace_cmaf::{Codec, Track, Video, aac, h264};
use proptest::prelude::*;

use super::*;

/// Parameter sets of 128x96 and 64x48 that libx264 wrote, baseline profile.
#[rustfmt::skip]
const SPS: [&[u8]; 2] = [
    &[0x67, 0x42, 0xc0, 0x0a, 0xd9, 0x02, 0x0d, 0xb0, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x32, 0x0f, 0x12, 0x26, 0x48],
    &[0x67, 0x42, 0xc0, 0x0a, 0xd9, 0x04, 0x7b, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x22, 0x64, 0x80],
];
const PPS: &[u8] = &[0x68, 0xcb, 0x83, 0xcb, 0x20];
const IDR: &[u8] = &[0x65, 1, 2, 3];
const SLICE: &[u8] = &[0x41, 1, 2, 3];
const SEI: &[u8] = &[0x06, 1, 2];

fn limits() -> Limits {
    Limits { tracks_wait_ms_max: 1_500, held_bytes_max: 1_000 }
}

fn config(which: usize) -> Bytes {
    h264::config([SPS[which], PPS]).unwrap()
}

fn tag(head: &[u8], body: &[u8]) -> Bytes {
    [head, body].concat().into()
}

fn video_config(which: usize) -> Bytes {
    tag(&[0x17, 0, 0, 0, 0], &config(which))
}

fn picture(units: &[&[u8]]) -> Bytes {
    let key = units.contains(&IDR);
    tag(&[if key { 0x17 } else { 0x27 }, 1, 0, 0, 0], &nal_join(units))
}

fn nal_join(units: &[&[u8]]) -> Bytes {
    millrace_cmaf::nal::join(units.iter().copied())
}

fn audio_config(sample_rate: u32) -> Bytes {
    tag(&[0xaf, 0], &aac::config(millrace_cmaf::Audio { sample_rate, channels: 2 }).unwrap())
}

fn frame() -> Bytes {
    tag(&[0xaf, 1], &[7, 7])
}

/// Events in short: `T` with the tracks there are, `V` and `A` with decode times in milliseconds.
fn events(assembler: &mut Assembler) -> Vec<String> {
    std::iter::from_fn(|| assembler.pop())
        .map(|event| match event {
            Event::Tracks { video, audio } => {
                let width = video.and_then(|track| track.video()).map(|video| format!(" {}", video.width));
                let rate = audio.map(|track| format!(" {}", track.timescale));
                format!("T{}{}", width.unwrap_or_default(), rate.unwrap_or_default())
            }
            Event::Video(sample) => format!("{}{}", if sample.key { "K" } else { "V" }, sample.dts),
            Event::Audio(sample) => format!("A{}", sample.dts),
            Event::End => "E".to_owned(),
        })
        .collect()
}

fn metadata(names: &[&str]) -> AmfValue {
    let fields = names.iter().map(|name| ((*name).to_owned(), AmfValue::Number(7.0)));
    AmfValue::EcmaArray(fields.collect::<HashMap<_, _>>())
}

#[test]
fn both_tracks_are_awaited_and_told_first() {
    let mut assembler = Assembler::new(limits());
    assembler.metadata(&metadata(&["videocodecid", "audiocodecid"]));
    assembler.video(0, &video_config(0)).unwrap();
    assembler.video(0, &picture(&[SEI, IDR])).unwrap();
    assert!(events(&mut assembler).is_empty());
    assert!(assembler.holds());
    assembler.audio(0, &audio_config(48_000)).unwrap();
    assembler.audio(0, &frame()).unwrap();
    assert_eq!(events(&mut assembler), ["T 128 48000", "K0", "A0"]);
    assert!(!assembler.holds());
}

#[test]
fn a_sole_track_is_not_kept_waiting_when_the_metadata_says_so() {
    let mut assembler = Assembler::new(limits());
    assembler.metadata(&metadata(&["width", "videocodecid"]));
    assembler.video(0, &video_config(0)).unwrap();
    assert_eq!(events(&mut assembler), ["T 128"]);
    let mut assembler = Assembler::new(limits());
    assembler.audio(0, &audio_config(8_000)).unwrap();
    assert!(events(&mut assembler).is_empty());
    assembler.metadata(&metadata(&["audiocodecid"]));
    assert_eq!(events(&mut assembler), ["T 8000"]);
}

#[test]
fn a_missing_track_is_awaited_for_so_long_and_so_much() {
    let mut assembler = Assembler::new(limits());
    assembler.video(0, &video_config(0)).unwrap();
    for time_ms in (0..=1_500).step_by(500) {
        assembler.video(time_ms, &picture(&[IDR])).unwrap();
        assert!(events(&mut assembler).is_empty());
    }
    assembler.video(1_501, &picture(&[SLICE])).unwrap();
    assert_eq!(events(&mut assembler), ["T 128", "K0", "K500", "K1000", "K1500", "V1501"]);

    let mut assembler = Assembler::new(limits());
    assembler.video(0, &video_config(0)).unwrap();
    assembler.video(0, &picture(&[IDR, &[0x41; 1_000]])).unwrap();
    assert_eq!(events(&mut assembler), ["T 128", "K0"]);

    let mut assembler = Assembler::new(limits());
    assembler.audio(0, &audio_config(8_000)).unwrap();
    assembler.audio(0, &frame()).unwrap();
    assembler.finish();
    assert_eq!(events(&mut assembler), ["T 8000", "A0"]);
}

#[test]
fn a_picture_that_was_promised_is_awaited_longer() {
    let awaiting = |end_ms: u32| {
        let mut assembler = Assembler::new(limits());
        assembler.metadata(&metadata(&["videocodecid", "audiocodecid"]));
        assembler.audio(0, &audio_config(8_000)).unwrap();
        for time_ms in (0..=end_ms).step_by(5_000) {
            assembler.audio(time_ms, &frame()).unwrap();
        }
        assembler.video(end_ms, &video_config(0)).unwrap();
        assembler.video(end_ms, &picture(&[IDR])).unwrap();
        events(&mut assembler)
    };
    assert_eq!(awaiting(10_000), ["T 128 8000", "A0", "A40000", "A80000", "K10000"]);
    assert_eq!(awaiting(15_000), ["T 8000", "A0", "A40000", "A80000", "A120000", "T 128 8000", "K15000"]);
}

#[test]
fn media_without_headers_is_given_up() {
    let mut assembler = Assembler::new(limits());
    for time_ms in (0..=10_000).step_by(1_000) {
        assembler.video(time_ms, &picture(&[IDR])).unwrap();
    }
    assert_eq!(assembler.video(10_001, &picture(&[IDR])), Err(Unsupported::NoConfig(10)));
    assert!(events(&mut assembler).is_empty());
}

/// With both tracks out and a key frame at 1,000.
fn running() -> Assembler {
    let mut assembler = Assembler::new(limits());
    assembler.video(0, &video_config(0)).unwrap();
    assembler.audio(0, &audio_config(1_000 * 8)).unwrap();
    assembler.video(1_000, &picture(&[IDR])).unwrap();
    assembler.audio(1_000, &frame()).unwrap();
    assert_eq!(events(&mut assembler), ["T 128 8000", "K1000", "A8000"]);
    assembler
}

#[test]
fn video_begins_with_a_key_frame() {
    let mut assembler = Assembler::new(limits());
    assembler.metadata(&metadata(&["videocodecid"]));
    assembler.video(0, &video_config(0)).unwrap();
    assembler.video(0, &picture(&[SLICE])).unwrap();
    // Called a key frame, but decoding can't start there.
    assembler.video(40, &tag(&[0x17, 1, 0, 0, 0], &nal_join(&[SEI, SLICE]))).unwrap();
    // An IDR that isn't called a key frame.
    assembler.video(80, &tag(&[0x27, 1, 0, 0, 0], &nal_join(&[IDR]))).unwrap();
    assembler.video(120, &picture(&[IDR])).unwrap();
    assert_eq!(events(&mut assembler), ["T 128", "K120"]);
    assert_eq!(assembler.take_dropped(), 3);
}

#[test]
fn only_coded_pictures_become_samples() {
    let mut assembler = running();
    assembler.video(1_040, &picture(&[SEI])).unwrap();
    assembler.video(1_040, &picture(&[])).unwrap();
    assembler.video(1_040, &tag(&[0x17, 2, 0, 0, 0], &[])).unwrap();
    assembler.video(1_080, &tag(&[0x27, 1, 0, 0, 0], &[&nal_join(&[SLICE])[..], &[0, 0, 0, 99, 1]].concat())).unwrap();
    let Some(Event::Video(sample)) = assembler.pop() else { panic!("no sample") };
    assert_eq!(sample.data, nal_join(&[SLICE]), "a broken tail is cut off");
    assert_eq!(assembler.pop(), None);
}

#[test]
fn a_repeated_header_says_nothing_and_a_changed_one_waits_for_its_key_frame() {
    let mut assembler = running();
    assembler.video(1_040, &video_config(0)).unwrap();
    assembler.audio(1_040, &audio_config(8_000)).unwrap();
    assembler.video(1_040, &picture(&[SLICE])).unwrap();
    assert_eq!(events(&mut assembler), ["V1040"]);
    assembler.video(1_080, &video_config(1)).unwrap();
    assembler.video(1_080, &picture(&[SLICE])).unwrap();
    assembler.audio(1_128, &frame()).unwrap();
    assembler.video(1_120, &picture(&[IDR])).unwrap();
    assert_eq!(events(&mut assembler), ["A9024", "T 64 8000", "K1120"]);
    assembler.audio(1_256, &audio_config(16_000)).unwrap();
    assembler.audio(1_256, &frame()).unwrap();
    assembler.video(1_160, &picture(&[SLICE])).unwrap();
    assembler.video(1_200, &picture(&[IDR])).unwrap();
    assembler.audio(1_384, &frame()).unwrap();
    // What the new header's first frame would have said waited too long to be heard.
    assert_eq!(events(&mut assembler), ["V1160", "T 64 16000", "K1200", "A22144"]);
}

#[test]
fn a_late_track_joins_at_the_next_key_frame_and_no_picture_is_lost() {
    let mut assembler = Assembler::new(limits());
    assembler.metadata(&metadata(&["videocodecid"]));
    assembler.video(0, &video_config(0)).unwrap();
    for time_ms in (0..5_000).step_by(1_000) {
        assembler.video(time_ms, &picture(&[IDR])).unwrap();
    }
    assert_eq!(events(&mut assembler).len(), 6);
    assembler.audio(5_000, &audio_config(8_000)).unwrap();
    assembler.audio(5_000, &frame()).unwrap();
    assembler.video(5_000, &picture(&[SLICE])).unwrap();
    assembler.video(5_100, &picture(&[IDR])).unwrap();
    assembler.audio(5_128, &frame()).unwrap();
    assert_eq!(events(&mut assembler), ["V5000", "T 128 8000", "K5100", "A41024"]);

    let mut assembler = Assembler::new(limits());
    assembler.metadata(&metadata(&["audiocodecid"]));
    assembler.audio(0, &audio_config(8_000)).unwrap();
    assembler.audio(0, &frame()).unwrap();
    assembler.video(128, &video_config(0)).unwrap();
    assembler.audio(128, &frame()).unwrap();
    assembler.video(150, &picture(&[IDR])).unwrap();
    assert_eq!(events(&mut assembler), ["T 8000", "A0", "A1024", "T 128 8000", "K150"]);
}

#[test]
fn a_break_in_time_is_a_discontinuity_for_both_tracks() {
    let mut assembler = running();
    assembler.video(3_600_000, &picture(&[SLICE])).unwrap();
    assembler.audio(1_128, &frame()).unwrap();
    assembler.audio(3_600_000, &frame()).unwrap();
    assembler.video(3_600_040, &picture(&[IDR])).unwrap();
    assembler.audio(3_600_128, &frame()).unwrap();
    assert_eq!(events(&mut assembler), ["T 128 8000", "K3600040", "A28801024"]);
    assert_eq!(assembler.take_dropped(), 3);
}

#[test]
fn a_discontinuity_does_not_wait_for_ever() {
    let mut assembler = running();
    assembler.audio(1_128, &audio_config(16_000)).unwrap();
    for time_ms in (2_000..=12_000).step_by(1_000) {
        assembler.audio(time_ms, &frame()).unwrap();
    }
    assert_eq!(events(&mut assembler), ["T 128 16000", "A192000"]);
}

#[test]
fn times_that_repeat_move_on_and_wraps_run_through() {
    let mut assembler = running();
    for time_ms in [1_000, 1_000, 990, 1_040] {
        assembler.video(time_ms, &picture(&[SLICE])).unwrap();
    }
    assert_eq!(events(&mut assembler), ["V1001", "V1002", "V1003", "V1040"]);

    let mut assembler = Assembler::new(limits());
    assembler.metadata(&metadata(&["videocodecid"]));
    assembler.video(0, &video_config(0)).unwrap();
    assembler.video(0xffff_fff0, &tag(&[0x17, 1, 0, 0, 80], &nal_join(&[IDR]))).unwrap();
    assembler.video(0x18, &tag(&[0x27, 1, 0xff, 0xff, 0xd8], &nal_join(&[SLICE]))).unwrap();
    let wrap = 1_i64 << 32;
    assert_eq!(times(&mut assembler), [(wrap - 16, wrap + 64), (wrap + 24, wrap - 16)]);
}

#[test]
fn presentation_is_kept_where_decode_times_repeat() {
    let mut assembler = running();
    let picture = |offset_ms: u8| tag(&[0x27, 1, 0, 0, offset_ms], &nal_join(&[SLICE]));
    // As GStreamer sends the beginning of a stream with B-frames.
    for (time_ms, offset_ms) in [(1_000, 120), (1_000, 40), (1_000, 80), (1_040, 200)] {
        assembler.video(time_ms, &picture(offset_ms)).unwrap();
    }
    assert_eq!(times(&mut assembler), [(1_001, 1_120), (1_002, 1_040), (1_003, 1_080), (1_040, 1_240)]);
    // Without B-frames presentation moves on too.
    for _ in 0..3 {
        assembler.video(1_080, &picture(9)).unwrap();
    }
    assert_eq!(times(&mut assembler), [(1_080, 1_089), (1_081, 1_090), (1_082, 1_091)]);
}

/// Decode and presentation times of the pictures that are out.
fn times(assembler: &mut Assembler) -> Vec<(i64, i64)> {
    std::iter::from_fn(|| assembler.pop())
        .filter_map(|event| if let Event::Video(sample) = event { Some((sample.dts, sample.pts)) } else { None })
        .collect()
}

#[test]
fn lengths_of_two_bytes_become_four() {
    let mut record = config(0).to_vec();
    record[4] = 0xfc | 1;
    let mut assembler = Assembler::new(limits());
    assembler.metadata(&metadata(&["videocodecid"]));
    assembler.video(0, &tag(&[0x17, 0, 0, 0, 0], &record)).unwrap();
    assembler.video(0, &tag(&[0x17, 1, 0, 0, 0], &[&[0, 4][..], IDR].concat())).unwrap();
    let Some(Event::Tracks { video: Some(Track { codec: Codec::H264 { video, config }, .. }), audio: None }) =
        assembler.pop()
    else {
        panic!("no tracks")
    };
    assert_eq!(video, Video { width: 128, height: 96, pixel_aspect: (1, 1), rotation_deg: 0 });
    assert_eq!(h264::length_bytes(&config), Ok(4));
    let Some(Event::Video(sample)) = assembler.pop() else { panic!("no sample") };
    assert_eq!(sample.data, nal_join(&[IDR]));
}

#[test]
fn broken_headers_are_refused_in_words() {
    let mut assembler = Assembler::new(limits());
    let error = assembler.video(0, &tag(&[0x17, 0, 0, 0, 0], &[1, 2, 3])).unwrap_err().to_string();
    assert!(error.starts_with("the H.264 header can't be used"), "{error}");
    let error = assembler.audio(0, &tag(&[0xaf, 0], &[0x12])).unwrap_err().to_string();
    assert!(error.starts_with("the AAC header can't be used"), "{error}");
}

proptest! {
    #[test]
    fn no_messages_panic(
        messages in proptest::collection::vec((any::<bool>(), any::<u32>(), 0usize..8, proptest::collection::vec(any::<u8>(), 0..40)), 0..40)
    ) {
        let mut assembler = Assembler::new(limits());
        let (mut tracks, mut last) = (false, None);
        for (is_video, time_ms, which, bytes) in messages {
            let body = match which {
                0 => video_config(usize::from(bytes.len() % 2 == 0)),
                1 => audio_config(if bytes.len() % 2 == 0 { 8_000 } else { 48_000 }),
                2 => picture(&[IDR, &bytes]),
                3 => picture(&[SLICE, &bytes]),
                4 => frame(),
                5 => tag(&[0x17, 0, 0, 0, 0], &[&config(0)[..bytes.len().min(8)], &bytes].concat()),
                6 => tag(&[0xaf, 0], &bytes),
                _ => bytes.into(),
            };
            let _ = if is_video { assembler.video(time_ms, &body) } else { assembler.audio(time_ms, &body) };
            while let Some(event) = assembler.pop() {
                match event {
                    Event::Tracks { video, audio } => {
                        prop_assert!(video.is_some() || audio.is_some());
                        (tracks, last) = (true, None);
                    }
                    Event::Video(sample) => {
                        prop_assert!(tracks && last.is_none_or(|last| sample.dts > last) && (last.is_some() || sample.key));
                        last = Some(sample.dts);
                    }
                    Event::Audio(_) => prop_assert!(tracks),
                    Event::End => prop_assert!(false, "nobody said goodbye"),
                }
            }
            prop_assert!(assembler.held_bytes <= 1_000 + 60);
        }
    }
}
