//! Checks of blending: every packet comes once, beside the pictures during which it begins.

use bytes::Bytes;
use millrace_cmaf::{Audio, Codec, Video};

use super::*;

/// 1,024 samples at 48 kHz.
const PACKET: i64 = 1_024;

fn sample(pts: i64, duration: u32) -> Sample {
    Sample { pts, dts: pts, duration, key: true, data: Bytes::from_static(b"data") }
}

fn sound_track(config: &'static [u8]) -> Track {
    let audio = Audio { sample_rate: 48_000, channels: 2 };
    Track { timescale: 48_000, codec: Codec::Aac { audio, config: Bytes::from_static(config) } }
}

/// Two seconds of video from `second` on, in half seconds, with sound of its own that is not wanted.
fn video(second: i64) -> Vec<Event> {
    let picture = Video { width: 640, height: 360, pixel_aspect: (1, 1), rotation_deg: 0 };
    let codec = Codec::H264 { video: picture, config: Bytes::from_static(b"x") };
    let tracks = Event::Tracks { video: Some(Track { timescale: 90_000, codec }), audio: Some(sound_track(b"own")) };
    let pictures = (0..4).map(|at| Event::Video(sample(second * 90_000 + at * 45_000, 45_000)));
    std::iter::once(tracks).chain(pictures).chain([Event::Audio(sample(second * 48_000, 1_024))]).collect()
}

/// Packets `from..to` as a file whose times are `off` samples beside their places.
fn sound(from: i64, to: i64, off: i64) -> Vec<Event> {
    let tracks = Event::Tracks { video: None, audio: Some(sound_track(b"a")) };
    let packets = (from..to).map(|at| Event::Audio(sample(at * PACKET + off, PACKET as u32)));
    std::iter::once(tracks).chain(packets).collect()
}

fn packets(events: &[Event]) -> Vec<i64> {
    let pts = events.iter().filter_map(|event| match event {
        Event::Audio(packet) => Some(packet.pts),
        _ => None,
    });
    pts.collect()
}

#[test]
fn every_packet_comes_once_however_files_are_cut() {
    let mut blender = Blender::default();
    let mut all = Vec::new();
    for second in [0, 2, 4] {
        // 300 packets are 6.4 s; each segment sees more than is its own, in files that round for themselves.
        let (from, to) = ((second * 46 - 20).max(0), second * 47 + 120);
        let cut = i64::midpoint(from, to);
        let events = blender.blend(video(second), vec![sound(from, cut, 0), sound(cut, to, 3)]);
        assert!(matches!(&events[0], Event::Tracks { audio: Some(track), .. } if *track == sound_track(b"a")));
        assert_eq!(events.iter().filter(|event| matches!(event, Event::Video(_))).count(), 4);
        all.extend(packets(&events));
    }
    let wanted: Vec<i64> = (0..282).map(|at| at * PACKET).take_while(|pts| *pts < 6 * 48_000).collect();
    assert_eq!(all, wanted);
}

#[test]
fn sound_stands_among_the_pictures_in_time() {
    let events = Blender::default().blend(video(2), vec![sound(90, 200, 0)]);
    let first = packets(&events)[0];
    assert_eq!(first, 94 * PACKET, "the first one of which most is heard with the pictures");
    let behind = events.iter().position(|event| matches!(event, Event::Video(picture) if picture.pts == 225_000));
    let before = packets(&events[..behind.unwrap()]);
    assert!(before.iter().all(|pts| *pts <= 120_000) && before.len() > 20, "{before:?}");
}

#[test]
fn what_was_not_there_yet_comes_with_the_next_segment() {
    let mut blender = Blender::default();
    let first = packets(&blender.blend(video(0), vec![sound(0, 91, 0)]));
    let second = packets(&blender.blend(video(2), vec![sound(80, 200, 1)]));
    assert_eq!((first.last(), second[0]), (Some(&(90 * PACKET)), 91 * PACKET + 1));
    blender.part();
    let anew = packets(&blender.blend(video(8), vec![sound(300, 500, 0)]));
    assert_eq!(anew[0], 375 * PACKET, "from its own pictures on");
}

#[test]
fn what_has_no_sound_beside_it_keeps_its_own_and_clocks_may_wrap() {
    assert_eq!(Blender::default().blend(video(0), Vec::new()), video(0));
    let wrap = (1_i64 << 33) * 48_000 / 90_000;
    let events = Blender::default().blend(video(0), vec![sound(0, 90, wrap)]);
    let got = packets(&events);
    assert!(got.len() >= 89 && got[0].abs() <= 1, "{got:?}");
    let far = Blender::default().blend(video(0), vec![sound(9_000, 9_010, 0)]);
    assert!(packets(&far).is_empty());
}
