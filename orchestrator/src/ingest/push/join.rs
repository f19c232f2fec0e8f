//! Joins pushed segments: each is read by itself, and is to go on where the one before it ended. Pure.
//!
//! Times that go on are kept as they are, over the wrap of transport streams too; times that do not go on begin a
//! new discontinuity. Sound runs on by sample count, since each segment rounds its times for itself.

use millrace_cmaf::{Sample, Track};

use crate::{ingest::event::Event, store::record::Starts};

/// A hole up to this is one in the picture and not a new timeline.
const GAP_MS_MAX: i64 = 500;

/// Sound is moved by up to this to follow on what came before.
const SOUND_MS_MAX: i64 = 50;

/// MPEG-TS counts in 33 bits, 90,000 ticks a second (ISO/IEC 13818-1, 2.4.3.7).
const WRAP: i64 = 1 << 33;
const TS_TIMESCALE: u32 = 90_000;

/// What the last segment left off with.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    last: Option<Last>,
    /// By how many ticks pictures and sound of the segment that was joined last were moved, but for what made its
    /// sound follow on what came before.
    moved: (i64, i64),
}

#[derive(Debug, Clone)]
struct Last {
    video: Option<Track>,
    audio: Option<Track>,
    /// Its last picture's time, and where that picture ended; of the sound where there are no pictures.
    picture: (i64, i64),
    /// Where its sound ended.
    sound_end: Option<i64>,
}

impl Joiner {
    /// What comes next goes on from nothing.
    pub(super) fn part(&mut self) {
        self.last = None;
    }

    /// Makes a segment's events follow on those before it.
    pub(super) fn join(&mut self, mut events: Vec<Event>) -> Vec<Event> {
        // Tracks that nothing followed are none.
        let first_run = events.iter().skip(1).position(|event| matches!(event, Event::Tracks { .. }));
        let length = first_run.map_or(events.len(), |at| at + 1);
        self.moved = (0, 0);
        if let Some(move_by) = self.last.as_ref().and_then(|last| last.follow(&events[..length])) {
            let sound_end = self.last.as_ref().and_then(|last| last.sound_end);
            move_times(&mut events[..length], move_by, sound_end);
            self.moved = move_by;
            events.retain({
                let mut at = 0;
                move |event| {
                    at += 1;
                    at > 1 && !matches!(event, Event::Audio(sound) if sound.data.is_empty())
                }
            });
        } else {
            self.last = None;
        }
        self.learn(&events);
        events
    }

    /// Times of the segment that was joined last as it told them itself, with its sound where it follows on.
    pub(super) fn own(&self, starts: Starts) -> Starts {
        let back = |time: Option<i64>, by: i64| time.map(|time| time.saturating_sub(by));
        Starts { video: back(starts.video, self.moved.0), audio: back(starts.audio, self.moved.1) }
    }

    fn learn(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::Tracks { video, audio } => {
                    let (video, audio) = (video.clone(), audio.clone());
                    self.last = Some(Last { video, audio, picture: (i64::MIN, i64::MIN), sound_end: None });
                }
                Event::Video(sample) => {
                    if let Some(last) = &mut self.last {
                        last.note(sample);
                    }
                }
                Event::Audio(sample) => {
                    if let Some(last) = &mut self.last {
                        last.sound_end = Some(sample.pts.saturating_add(i64::from(sample.duration)));
                        if last.video.is_none() {
                            last.note(sample);
                        }
                    }
                }
                Event::End => {}
            }
        }
    }
}

impl Last {
    /// By how many ticks of video and audio `events` are moved so that they follow on this; `None` if they don't.
    fn follow(&self, events: &[Event]) -> Option<(i64, i64)> {
        let Some(Event::Tracks { video, audio }) = events.first() else { return None };
        if *video != self.video || *audio != self.audio {
            return None;
        }
        let timescale = video.as_ref().or(audio.as_ref())?.timescale;
        let pictures = events.iter().filter_map(|event| match event {
            Event::Video(sample) => Some(sample.pts),
            Event::Audio(sample) if video.is_none() => Some(sample.pts),
            _ => None,
        });
        let first = pictures.min()?;
        let (last, end) = self.picture;
        let ticks = |wraps: i128, timescale: u32| {
            i64::try_from(wraps * i128::from(WRAP) * i128::from(timescale) / i128::from(TS_TIMESCALE)).ok()
        };
        // The sound's own timescale does not tell where it comes from.
        let mut wraps = 0;
        if video.is_none() || timescale == TS_TIMESCALE {
            let wrap = i128::from(ticks(1, timescale)?).max(1);
            wraps = (i128::from(end) - i128::from(first) + wrap / 2).div_euclid(wrap);
        }
        let move_by = ticks(wraps, timescale)?;
        let at = first.checked_add(move_by)?;
        let gap_max = i64::from(timescale) * GAP_MS_MAX / 1_000;
        let follows = at > last && at.checked_sub(end)? <= gap_max;
        let sound_by = ticks(wraps, audio.as_ref().map_or(1, |audio| audio.timescale))?;
        follows.then_some((move_by, sound_by))
    }

    fn note(&mut self, sample: &Sample) {
        if sample.pts > self.picture.0 {
            let length = i64::from(sample.duration).max(1);
            self.picture = (sample.pts, sample.pts.saturating_add(length));
        }
    }
}

/// Moves times; sound that lies on sound before it is emptied, to be dropped.
fn move_times(events: &mut [Event], (video_by, audio_by): (i64, i64), sound_end: Option<i64>) {
    let rate = events.first().and_then(|event| match event {
        Event::Tracks { audio: Some(audio), .. } => Some(i64::from(audio.timescale)),
        _ => None,
    });
    let near = rate.unwrap_or(1) * SOUND_MS_MAX / 1_000;
    let mut snap = None;
    let shift = |sample: &mut Sample, by: i64| {
        sample.pts = sample.pts.saturating_add(by);
        sample.dts = sample.dts.saturating_add(by);
    };
    for event in events {
        match event {
            Event::Video(sample) => shift(sample, video_by),
            Event::Audio(sample) => {
                shift(sample, audio_by);
                match (snap, sound_end) {
                    (Some(by), _) => shift(sample, by),
                    (None, Some(end)) if end.saturating_sub(sample.pts).saturating_abs() <= near => {
                        let by = end.saturating_sub(sample.pts);
                        shift(sample, by);
                        snap = Some(by);
                    }
                    (None, Some(end)) if sample.pts < end => sample.data.clear(),
                    (None, _) => snap = Some(0),
                }
            }
            Event::Tracks { .. } | Event::End => {}
        }
    }
}

#[cfg(test)]
mod tests;
