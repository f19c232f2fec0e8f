//! Turns media messages into [`Event`]s: finds the tracks, orders discontinuities, starts at key frames. No I/O.
//!
//! A discontinuity begins at a key frame where there is video: whatever asks for one (a changed codec header, a
//! track that comes late, a break in time) waits for the next, and no picture that could be shown is lost.

mod tracks;

use std::collections::VecDeque;

use bytes::Bytes;
use rtmp_rs::amf::AmfValue;

use crate::ingest::event::Event;

use super::{
    clock::{Kind, Place, Timeline, Unwrap},
    flv::{self, Unsupported},
};
use tracks::{AudioTrack, VideoTrack};

/// Forward beyond this, against both tracks, is a break.
pub(in crate::ingest) const FORWARD_MS_MAX: i64 = 10_000;

/// Media time after which a discontinuity no longer waits for a key frame.
const BOUNDARY_MS_MAX: i64 = 10_000;
/// Media time after which media without any codec header is given up, or without the picture that the metadata
/// promised goes on.
const NO_CONFIG_S_MAX: u32 = 10;

/// How long and how much to wait for the second track.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Media milliseconds.
    pub(crate) tracks_wait_ms_max: i64,
    /// Bytes of samples held back.
    pub(crate) held_bytes_max: usize,
}

/// A discontinuity that waits for its place.
#[derive(Debug)]
struct Boundary {
    since_ms: i64,
    /// Audio that comes now belongs behind it.
    audio_waits: bool,
}

/// Media messages in, events out.
#[derive(Debug)]
pub(crate) struct Assembler {
    limits: Limits,
    unwrap: Unwrap,
    timeline: Timeline,
    now_ms: i64,
    /// Time of the first sample, until the tracks are out.
    began_ms: Option<i64>,
    /// What the metadata says of video and audio.
    expected: [Option<bool>; 2],
    video: Option<VideoTrack>,
    audio: Option<AudioTrack>,
    /// The tracks are out.
    running: bool,
    held: VecDeque<Event>,
    held_bytes: usize,
    boundary: Option<Boundary>,
    needs_key: bool,
    out: VecDeque<Event>,
    dropped: u64,
}

impl Assembler {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            unwrap: Unwrap::default(),
            timeline: Timeline::new(FORWARD_MS_MAX),
            now_ms: 0,
            began_ms: None,
            expected: [None; 2],
            video: None,
            audio: None,
            running: false,
            held: VecDeque::new(),
            held_bytes: 0,
            boundary: None,
            needs_key: true,
            out: VecDeque::new(),
            dropped: 0,
        }
    }

    /// The next event, in order.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.out.pop_front()
    }

    /// Whether samples are held back until the tracks are known.
    pub(crate) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Samples left out since the last call.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Takes the fields of `onMetaData`: they tell which tracks to expect.
    pub(crate) fn metadata(&mut self, fields: &AmfValue) {
        let has = |names: &[&str]| names.iter().any(|name| fields.get(name).is_some_and(|v| !v.is_null_or_undefined()));
        let video = has(&["videocodecid", "width"]);
        let audio = has(&["audiocodecid", "audiosamplerate"]);
        if video || audio {
            self.expected = [Some(video), Some(audio)];
            self.start_when_complete();
        }
    }

    /// Takes a video message.
    pub(crate) fn video(&mut self, wire_ms: u32, body: &Bytes) -> Result<(), Unsupported> {
        match flv::video(body)? {
            flv::Video::Nothing => {}
            flv::Video::Config(codec, config) => {
                if self.video.as_ref().is_some_and(|track| track.is(&config)) {
                    return Ok(());
                }
                self.video = Some(VideoTrack::new(codec, config)?);
                // Pictures of the old configuration are over.
                self.held.retain(|event| !matches!(event, Event::Video(_)));
                self.needs_key = true;
                self.tracks_changed(false);
            }
            flv::Video::Picture { key, offset_ms, data } => {
                let place = self.arrive(Kind::Video, wire_ms)?;
                let time_ms = self.now_ms;
                let made = self.video.as_mut().filter(|_| place != Place::Late);
                match made.and_then(|track| track.sample(time_ms, key, offset_ms, &data)) {
                    Some(sample) => self.sample(Event::Video(sample)),
                    None => self.dropped += 1,
                }
            }
        }
        Ok(())
    }

    /// Takes an audio message.
    pub(crate) fn audio(&mut self, wire_ms: u32, body: &Bytes) -> Result<(), Unsupported> {
        match flv::audio(body)? {
            flv::Audio::Nothing => {}
            flv::Audio::Config(config) => {
                if self.audio.as_ref().is_some_and(|track| track.is(&config)) {
                    return Ok(());
                }
                self.audio = Some(AudioTrack::new(config)?);
                self.held.retain(|event| !matches!(event, Event::Audio(_)));
                self.tracks_changed(true);
            }
            flv::Audio::Frame(data) => {
                let place = self.arrive(Kind::Audio, wire_ms)?;
                let time_ms = self.now_ms;
                let made = self.audio.as_mut().filter(|_| place != Place::Late);
                match made.and_then(|track| track.sample(time_ms, data)) {
                    Some(sample) => self.sample(Event::Audio(sample)),
                    None => self.dropped += 1,
                }
            }
        }
        Ok(())
    }

    /// The source said goodbye: what is held comes out with the tracks there are.
    pub(crate) fn finish(&mut self) {
        self.start();
    }

    /// Places the time of a sample that arrives.
    fn arrive(&mut self, kind: Kind, wire_ms: u32) -> Result<Place, Unsupported> {
        let time_ms = self.unwrap.time_ms(wire_ms);
        let place = self.timeline.place(kind, time_ms);
        if place != Place::Late {
            self.now_ms = time_ms;
        }
        if place == Place::Break {
            if let Some(track) = &mut self.video {
                track.reset();
            }
            if let Some(track) = &mut self.audio {
                track.reset();
            }
            self.needs_key = true;
            if self.running {
                self.ask_boundary(true);
            } else {
                self.dropped += self.held.len() as u64;
                self.held.clear();
                self.held_bytes = 0;
                self.began_ms = None;
            }
        }
        if !self.running {
            let waited_ms = self.now_ms - *self.began_ms.get_or_insert(self.now_ms);
            let no_config_ms_max = i64::from(NO_CONFIG_S_MAX) * 1_000;
            let promised = self.video.is_none() && self.expected[0] == Some(true);
            if waited_ms > if promised { no_config_ms_max } else { self.limits.tracks_wait_ms_max } {
                self.start();
            }
            if !self.running && waited_ms > no_config_ms_max {
                return Err(Unsupported::NoConfig(NO_CONFIG_S_MAX));
            }
        }
        Ok(place)
    }

    fn tracks_changed(&mut self, is_audio: bool) {
        if self.running { self.ask_boundary(is_audio) } else { self.start_when_complete() }
    }

    fn ask_boundary(&mut self, audio_waits: bool) {
        let waits = self.boundary.take().is_some_and(|boundary| boundary.audio_waits);
        self.boundary = Some(Boundary { since_ms: self.now_ms, audio_waits: audio_waits || waits });
    }

    fn start_when_complete(&mut self) {
        let [video, audio] = self.expected;
        if (self.video.is_some() || video == Some(false)) && (self.audio.is_some() || audio == Some(false)) {
            self.start();
        }
    }

    /// Puts the tracks out, if there are any, and then what was held for them.
    fn start(&mut self) {
        if self.running || self.video.is_none() && self.audio.is_none() {
            return;
        }
        self.running = true;
        self.put_tracks();
        self.held_bytes = 0;
        for event in std::mem::take(&mut self.held) {
            self.pass(event);
        }
    }

    fn put_tracks(&mut self) {
        self.boundary = None;
        self.needs_key = true;
        self.out.push_back(Event::Tracks {
            video: self.video.as_ref().map(|track| track.track.clone()),
            audio: self.audio.as_ref().map(|track| track.track.clone()),
        });
    }

    fn sample(&mut self, event: Event) {
        if self.running {
            self.pass(event);
            return;
        }
        if let Event::Video(sample) | Event::Audio(sample) = &event {
            self.held_bytes += sample.data.len();
        }
        self.held.push_back(event);
        if self.held_bytes > self.limits.held_bytes_max {
            self.start();
        }
    }

    /// Puts a sample out where it belongs, a waiting discontinuity before it.
    fn pass(&mut self, event: Event) {
        let is_late = |boundary: &Boundary, now_ms| now_ms - boundary.since_ms > BOUNDARY_MS_MAX;
        match &event {
            Event::Video(sample) => {
                if self.boundary.as_ref().is_some_and(|boundary| sample.key || is_late(boundary, self.now_ms)) {
                    self.put_tracks();
                }
                if self.needs_key && !sample.key {
                    self.dropped += 1;
                    return;
                }
                self.needs_key = false;
            }
            Event::Audio(_) => {
                if let Some(boundary) = &self.boundary {
                    if self.video.is_none() || is_late(boundary, self.now_ms) {
                        self.put_tracks();
                    } else if boundary.audio_waits {
                        self.dropped += 1;
                        return;
                    }
                }
            }
            Event::Tracks { .. } | Event::End => {}
        }
        self.out.push_back(event);
    }
}

#[cfg(test)]
mod tests;
