//! Segmenting: cuts a stream's samples near keyframes and puts them on the stream's timeline. Pure.
//!
//! Takes [`Event`]s, gives [`Cut`]s. Never writes a byte and never looks at a clock; `ingest/intake.rs` drives it.
//! A cut is final: its video ends where the next segment's starts, its audio is complete up to there. Where no keyframe
//! comes in time, the cut is made before another picture, and says from which segment on it has to be decoded.

mod places;
mod run;
mod silence;

use std::sync::Arc;

use millrace_cmaf::{Sample, Track};

use crate::{ingest::event::Event, store::record::Tail};

use run::{Ending, Run};
use silence::Silence;

/// Where to cut, and what is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Cut at the first keyframe at or after this length.
    pub segment_ms: u32,
    /// Cut at any picture if no keyframe comes by this length; absent: at keyframes alone.
    pub segment_ms_max: Option<u32>,
    /// Longest time without a keyframe.
    pub keyframe_ms_max: u32,
    /// Most bytes without a cut.
    pub segment_bytes_max: u64,
    /// How far audio may trail behind video before a cut goes on without it.
    pub audio_lag_ms_max: u32,
}

/// Why a stream can't be segmented.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Samples before any track, or no track at all.
    #[error("media came before its codec header: restart the publisher")]
    NoTracks,
    /// Too long without a keyframe.
    #[error("no keyframe for {0} s: set the encoder's keyframe interval to 2 s")]
    NoKeyframe(u32),
    /// Too many bytes without a keyframe.
    #[error("more than {0} bytes in one segment: lower the bitrate or segment_ms")]
    TooLarge(u64),
}

/// One segment's samples, on the stream's timeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Cut {
    /// Its run of segments with the same tracks.
    pub discontinuity: u32,
    /// Start on the stream's timeline.
    pub start_ns: u64,
    /// Duration on the stream's timeline.
    pub duration_ns: u64,
    /// Start relative to the first segment of its discontinuity.
    pub run_ns: u64,
    /// The video, if the stream has any; never empty.
    pub video: Option<Part>,
    /// The audio, if any came.
    pub audio: Option<Part>,
}

/// One track's samples of a segment.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// What a decoder needs to know.
    pub track: Arc<Track>,
    /// In decode order, presentation times on the stream's timeline, which starts at
    /// [`millrace_cmaf::ORIGIN_S`] in files, and without duplicates.
    pub samples: Vec<Sample>,
    /// The first presentation time as the source told it.
    pub source_start: i64,
    /// Where the last sample ends, in the track's timescale.
    pub end: i64,
    /// How many segments before this one, of the same discontinuity, its decoder has to have seen.
    pub preroll: u32,
}

impl Part {
    /// From the first presentation time to the end.
    pub fn duration_ns(&self) -> u64 {
        let first = self.samples.iter().map(|sample| sample.pts).min().unwrap_or(self.end);
        let ticks = u128::try_from(self.end - first).unwrap_or(0);
        u64::try_from(ticks * 1_000_000_000 / u128::from(self.track.timescale.max(1))).unwrap_or(u64::MAX)
    }
}

/// The state of segmenting one stream.
#[derive(Debug)]
pub struct Segmenter {
    limits: Limits,
    tail: Option<Tail>,
    run: Option<Run>,
    silence: Option<Silence>,
}

impl Segmenter {
    /// Starts or goes on where `tail` ended.
    pub fn new(limits: Limits, tail: Option<Tail>) -> Self {
        Self { limits, tail, run: None, silence: None }
    }

    /// Where the timeline ends that the next segment goes on from.
    pub fn tail(&self) -> Option<Tail> {
        self.tail
    }

    /// Takes the next event; gives the segments that it completes.
    pub fn push(&mut self, event: Event) -> Result<Vec<Cut>, Error> {
        match event {
            Event::Tracks { video, audio } => {
                let cuts = self.finish();
                let sounds = audio.is_some();
                let had = self.tail.map_or(0, |tail| tail.channels);
                let audio = audio.or_else(|| video.as_ref().and_then(|_| silence::track(had)));
                let both = video.as_ref().zip(audio.as_ref());
                self.silence = both.and_then(|(video, audio)| Silence::new(video, audio, sounds));
                self.run = Some(Run::new(video, audio).ok_or(Error::NoTracks)?);
                Ok(cuts)
            }
            Event::Video(sample) => {
                let lag_ms = self.limits.audio_lag_ms_max;
                let silence = self.silence.as_mut().map(|silence| silence.picture(&sample, lag_ms));
                self.fill(silence.unwrap_or_default())?;
                self.run.as_mut().ok_or(Error::NoTracks)?.video(sample, &self.limits)?;
                Ok(self.take(Ending::Open))
            }
            Event::Audio(sample) => {
                match self.silence.as_mut().map(|silence| silence.sound(&sample)) {
                    // Silence was put in its place already.
                    Some(None) => return Ok(Vec::new()),
                    Some(Some(silence)) => self.fill(silence)?,
                    None => {}
                }
                self.run.as_mut().ok_or(Error::NoTracks)?.audio(sample, &self.limits)?;
                Ok(self.take(Ending::Open))
            }
            Event::End => Ok(self.finish()),
        }
    }

    fn fill(&mut self, silence: Vec<Sample>) -> Result<(), Error> {
        let Some(run) = &mut self.run else { return Ok(()) };
        silence.into_iter().try_for_each(|sample| run.audio(sample, &self.limits))
    }

    fn fill_end(&mut self, end: fn(&mut Silence) -> Vec<Sample>) {
        let silence = self.silence.as_mut().map(end).unwrap_or_default();
        // Silence that is too much is left out: a few bytes at the end.
        let _ = self.fill(silence);
    }

    /// Ends the run of segments: whatever is there becomes the last one.
    pub fn finish(&mut self) -> Vec<Cut> {
        self.fill_end(Silence::rest);
        let cuts = self.take(Ending::Last);
        self.run = None;
        cuts
    }

    /// Whatever is there becomes a segment, and the run goes on behind it: its source cuts at keyframes itself.
    pub fn pause(&mut self) -> Vec<Cut> {
        self.fill_end(Silence::pause);
        self.take(Ending::Pause)
    }

    fn take(&mut self, ending: Ending) -> Vec<Cut> {
        let Some(run) = &mut self.run else { return Vec::new() };
        let mut cuts = Vec::new();
        while let Some(cut) = run.take(ending, self.tail, &self.limits) {
            // The wall clock is the caller's.
            let wall_end_ms = self.tail.map_or(0, |tail| tail.wall_end_ms);
            let end_ns = cut.start_ns + cut.duration_ns;
            let sound = cut.audio.as_ref().and_then(|part| part.track.audio());
            let channels = sound.map_or(0, |sound| sound.channels);
            self.tail = Some(Tail { discontinuity: cut.discontinuity, end_ns, wall_end_ms, channels });
            cuts.push(cut);
        }
        cuts
    }
}

#[cfg(test)]
mod tests;
