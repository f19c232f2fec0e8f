//! Checks of joining: what follows follows without a seam, what does not begins anew.

use bytes::Bytes;
use millrace_cmaf::{Audio, Codec, Video};

use super::*;

fn tracks(timescale: u32, config: &'static [u8]) -> Event {
    let video = Video { width: 640, height: 360, pixel_aspect: (1, 1), rotation_deg: 0 };
    let audio = Audio { sample_rate: 48_000, channels: 2 };
    Event::Tracks {
        video: Some(Track { timescale, codec: Codec::H264 { video, config: Bytes::from_static(config) } }),
        audio: Some(Track { timescale: 48_000, codec: Codec::Aac { audio, config: Bytes::from_static(b"a") } }),
    }
}

fn sample(pts: i64, duration: u32) -> Sample {
    Sample { pts, dts: pts, duration, key: true, data: Bytes::from_static(b"data") }
}

/// Two seconds from `second` on, one picture and one sound a second, `sound_off` ticks beside their places.
fn piece(second: i64, sound_off: i64) -> Vec<Event> {
    let mut events = vec![tracks(90_000, b"x")];
    for second in [second, second + 1] {
        events.push(Event::Video(sample(second * 90_000, 90_000)));
        events.push(Event::Audio(sample(second * 48_000 + sound_off, 48_000)));
    }
    events
}

fn times(events: &[Event]) -> (Vec<i64>, Vec<i64>) {
    let mut times = (Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Video(sample) => times.0.push(sample.pts),
            Event::Audio(sample) => times.1.push(sample.pts),
            _ => {}
        }
    }
    times
}

fn anew(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event, Event::Tracks { .. }))
}

#[test]
fn what_follows_goes_on_and_its_sound_has_no_seam() {
    let mut joiner = Joiner::default();
    assert!(anew(&joiner.join(piece(0, 0))));
    let second = joiner.join(piece(2, -3));
    assert!(!anew(&second));
    assert_eq!(times(&second), (vec![180_000, 270_000], vec![96_000, 144_000]));
    let third = joiner.join(piece(4, 2));
    assert_eq!(times(&third).1, [192_000, 240_000], "roundings don't add up");
}

#[test]
fn jumps_back_and_far_ahead_and_other_tracks_begin_anew() {
    for second in [0, 1, 7] {
        let mut joiner = Joiner::default();
        joiner.join(piece(0, 0));
        let events = joiner.join(piece(second, 0));
        assert!(anew(&events), "from {second} s");
        assert_eq!(events, piece(second, 0), "nothing is moved");
        assert!(!anew(&joiner.join(piece(second + 2, 0))), "and it goes on from there");
    }
    let mut joiner = Joiner::default();
    joiner.join(piece(0, 0));
    let mut other = piece(2, 0);
    other[0] = tracks(90_000, b"y");
    assert!(anew(&joiner.join(other)));
    joiner.part();
    assert!(anew(&joiner.join(piece(4, 0))), "a hole is one even if times go on");
}

#[test]
fn a_transport_streams_clock_may_wrap() {
    let mut joiner = Joiner::default();
    let last_s = WRAP / 90_000 - 1;
    joiner.join(piece(last_s, 0));
    // The reader counts from the wrap on, or from one wrap below.
    for wraps in [1, 2] {
        let mut events = piece(last_s + 2, 0);
        for event in &mut events {
            match event {
                Event::Video(sample) => sample.pts -= wraps * WRAP,
                Event::Audio(sample) => sample.pts -= wraps * WRAP * 48_000 / 90_000,
                _ => {}
            }
        }
        let told = times(&events);
        let mut joiner = Joiner { last: joiner.last.clone(), ..Joiner::default() };
        let events = joiner.join(events);
        assert!(!anew(&events));
        let moved = times(&events);
        assert_eq!(moved.0[0], (last_s + 2) * 90_000);
        let starts = Starts { video: Some(moved.0[0]), audio: Some(moved.1[0]) };
        assert_eq!(joiner.own(starts), Starts { video: Some(told.0[0]), audio: Some(told.1[0]) });
    }
}

#[test]
fn sound_that_was_there_before_is_dropped() {
    let mut joiner = Joiner::default();
    joiner.join(piece(0, 0));
    let mut events = piece(2, 0);
    events.insert(1, Event::Audio(sample(48_000, 48_000)));
    assert_eq!(times(&joiner.join(events)).1, [96_000, 144_000]);
}

#[test]
fn sound_alone_goes_on_too_over_the_wrap() {
    let alone = |second: i64, wraps: i64| -> Vec<Event> {
        let Event::Tracks { audio, .. } = tracks(90_000, b"x") else { unreachable!() };
        let off = wraps * WRAP * 48_000 / 90_000;
        let sounds = [second, second + 1].map(|second| Event::Audio(sample(second * 48_000 - off, 48_000)));
        std::iter::once(Event::Tracks { video: None, audio }).chain(sounds).collect()
    };
    let mut joiner = Joiner::default();
    let last_s = WRAP / 90_000 - 1;
    assert!(anew(&joiner.join(alone(last_s, 0))));
    let second = joiner.join(alone(last_s + 2, 1));
    assert!(!anew(&second));
    assert_eq!(times(&second).1, [(last_s + 2) * 48_000, (last_s + 3) * 48_000]);
    assert!(anew(&joiner.join(alone(last_s + 7, 0))), "a hole is one");
    assert!(anew(&joiner.join(piece(last_s + 9, 0))), "pictures are other tracks");
}
