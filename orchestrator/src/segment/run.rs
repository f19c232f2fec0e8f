//! One run of segments with the same tracks: collects samples, finds the cuts, shifts times.

use std::{collections::VecDeque, sync::Arc};

use millrace_cmaf::{ORIGIN_S, Sample, Track};

use super::{Cut, Error, Limits, Part};
use crate::store::record::Tail;

const NS: i128 = 1_000_000_000;

/// Audio that starts earlier than this before the first keyframe is dropped: nothing would be seen to it.
const AUDIO_LEAD_MS_MAX: i128 = 1_000;

/// How far the run's own times are moved to lie on the stream's timeline.
#[derive(Debug, Clone, Copy)]
struct Place {
    discontinuity: u32,
    /// The run's own time of its start.
    base_ns: i128,
    /// The timeline's time of its start.
    start_ns: u64,
    /// Added to the video's times; places the timeline's start where files have it.
    video_shift: i64,
    /// Added to the audio's times.
    audio_shift: i64,
}

/// What comes after the samples that are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// More, perhaps of the same segment.
    Open,
    /// More, with a keyframe first.
    Pause,
    /// Nothing.
    Last,
}

#[derive(Debug)]
pub(super) struct Run {
    video: Arc<Track>,
    audio: Option<Arc<Track>>,
    place: Option<Place>,
    /// Key pictures at which segments start, as indexes into `pictures`; the first is 0.
    cuts: VecDeque<usize>,
    pictures: VecDeque<Sample>,
    sounds: VecDeque<Sample>,
    bytes: u64,
    /// Where the open segment starts, on the run's own clock.
    start_ns: Option<i128>,
}

impl Run {
    pub(super) fn new(video: Track, audio: Option<Track>) -> Self {
        Self {
            video: Arc::new(video),
            audio: audio.map(Arc::new),
            place: None,
            cuts: VecDeque::new(),
            pictures: VecDeque::new(),
            sounds: VecDeque::new(),
            bytes: 0,
            start_ns: None,
        }
    }

    pub(super) fn video(&mut self, sample: Sample, limits: &Limits) -> Result<(), Error> {
        if self.pictures.is_empty() {
            // Decoding can't start before a key picture; what comes earlier could never be seen.
            if !sample.key {
                return Ok(());
            }
            self.cuts.push_back(0);
        } else if sample.key {
            let last = self.cuts.back().map_or(sample.pts, |&at| self.pictures[at].pts);
            // Half a millisecond of grace: sources round their times.
            let length_ns = self.video_ns(sample.pts) - self.video_ns(last) + NS / 2_000;
            if length_ns >= i128::from(limits.segment_ms) * NS / 1_000 {
                self.cuts.push_back(self.pictures.len());
            }
        }
        self.grow(&sample, limits)?;
        let open =
            self.cuts.back().map_or(sample.pts, |&at| self.pictures.get(at).map_or(sample.pts, |first| first.pts));
        let open_ns = self.video_ns(sample.pts) - self.video_ns(open);
        self.pictures.push_back(sample);
        if open_ns > i128::from(limits.segment_ms_max) * NS / 1_000 {
            return Err(Error::NoKeyframe(limits.segment_ms_max / 1_000));
        }
        Ok(())
    }

    pub(super) fn audio(&mut self, sample: Sample, limits: &Limits) -> Result<(), Error> {
        if self.audio.is_some() {
            self.grow(&sample, limits)?;
            self.sounds.push_back(sample);
        }
        Ok(())
    }

    fn grow(&mut self, sample: &Sample, limits: &Limits) -> Result<(), Error> {
        self.bytes += sample.data.len() as u64;
        if self.bytes > limits.segment_bytes_max {
            return Err(Error::TooLarge(limits.segment_bytes_max));
        }
        Ok(())
    }

    /// The next segment, if it is complete, or whatever is there at a pause and at the end.
    pub(super) fn take(&mut self, ending: Ending, tail: Option<Tail>, limits: &Limits) -> Option<Cut> {
        let all = ending != Ending::Open;
        let closed = self.cuts.len() > 1;
        if self.pictures.is_empty() || !(closed || all) {
            return None;
        }
        let (count, next) = match self.cuts.get(1) {
            Some(&at) => (at, Some(self.pictures[at].pts)),
            None => (self.pictures.len(), None),
        };
        if let (Some(next), false) = (next, all)
            && !self.audio_reached(next, limits)
        {
            return None;
        }
        let place = *self
            .place
            .get_or_insert_with(|| place(&self.video, self.audio.as_deref(), &self.pictures, &mut self.sounds, tail));
        self.cuts.pop_front();
        for at in &mut self.cuts {
            *at -= count;
        }
        let mut pictures: Vec<Sample> = self.pictures.drain(..count).collect();
        self.bytes -= pictures.iter().map(|sample| sample.data.len() as u64).sum::<u64>();
        let video_end = next.unwrap_or_else(|| end_of(&pictures, self.video.timescale));
        order(&mut pictures);
        shift(&mut pictures, place.video_shift);
        let end_ns = ns(video_end, self.video.timescale);
        let audio = self.take_audio(next.map(|_| end_ns), place);

        let start_ns = self.start_ns.unwrap_or(place.base_ns);
        let audio_end_ns =
            audio.as_ref().map_or(i128::MIN, |part| ns(part.end - place.audio_shift, part.track.timescale));
        // The last segment of a run lasts as long as its longer track.
        let last = next.is_none() && ending == Ending::Last;
        let end_ns = if last { end_ns.max(audio_end_ns) } else { end_ns };
        self.start_ns = Some(end_ns);
        let run_ns = u64::try_from(start_ns - place.base_ns).unwrap_or(0);
        Some(Cut {
            discontinuity: place.discontinuity,
            start_ns: place.start_ns + run_ns,
            duration_ns: u64::try_from(end_ns - start_ns).unwrap_or(0),
            run_ns,
            video: Part { track: self.video.clone(), samples: pictures, end: video_end + place.video_shift },
            audio,
        })
    }

    fn take_audio(&mut self, end_ns: Option<i128>, place: Place) -> Option<Part> {
        let track = self.audio.clone()?;
        let count = match end_ns {
            Some(end_ns) => self.sounds.iter().take_while(|sample| ns(sample.pts, track.timescale) < end_ns).count(),
            None => self.sounds.len(),
        };
        let mut samples: Vec<Sample> = self.sounds.drain(..count).collect();
        self.bytes -= samples.iter().map(|sample| sample.data.len() as u64).sum::<u64>();
        let last = samples.last()?;
        let own_end = last.pts + i64::from(last.duration.max(1));
        // Up to the next packet if it follows closely; over a hole the last packet keeps its own length.
        let end = match self.sounds.front() {
            Some(next) if next.pts > last.pts && next.pts - own_end <= i64::from(track.timescale) / 20 => next.pts,
            _ => own_end,
        };
        order(&mut samples);
        shift(&mut samples, place.audio_shift);
        Some(Part { track, samples, end: end + place.audio_shift })
    }

    /// Whether all audio before video time `pts` is here, or so late that it is not waited for.
    fn audio_reached(&self, pts: i64, limits: &Limits) -> bool {
        let Some(track) = &self.audio else { return true };
        let until_ns = self.video_ns(pts);
        let audio_ns = self.sounds.back().map(|sample| ns(sample.pts, track.timescale));
        let video_ns = self.pictures.back().map_or(until_ns, |sample| self.video_ns(sample.pts));
        audio_ns.is_some_and(|audio_ns| audio_ns >= until_ns)
            || video_ns - until_ns >= i128::from(limits.audio_lag_ms_max) * NS / 1_000
    }

    fn video_ns(&self, ticks: i64) -> i128 {
        ns(ticks, self.video.timescale)
    }
}

/// Decides where a run lies on the timeline: its earliest presentation time comes where the last run ended.
fn place(
    video: &Track,
    audio: Option<&Track>,
    pictures: &VecDeque<Sample>,
    sounds: &mut VecDeque<Sample>,
    tail: Option<Tail>,
) -> Place {
    let first_ns = pictures.front().map_or(0, |first| ns(first.pts, video.timescale));
    if let Some(track) = audio {
        let lead_ns = AUDIO_LEAD_MS_MAX * NS / 1_000;
        while sounds.front().is_some_and(|sound| ns(sound.pts, track.timescale) < first_ns - lead_ns) {
            sounds.pop_front();
        }
    }
    let audio_ns = audio.and_then(|track| sounds.front().map(|sound| ns(sound.pts, track.timescale)));
    let base_ns = audio_ns.map_or(first_ns, |audio_ns| audio_ns.min(first_ns));
    let (discontinuity, start_ns) = tail.map_or((0, 0), |tail| (tail.discontinuity + 1, tail.end_ns));
    let move_ns = i128::from(start_ns) + i128::from(ORIGIN_S) * NS - base_ns;
    // Rounded up, so that no time falls before the start.
    let ticks = |timescale: u32| {
        let scaled = move_ns * i128::from(timescale);
        i64::try_from(scaled.div_euclid(NS) + i128::from(scaled.rem_euclid(NS) > 0)).unwrap_or(0)
    };
    let audio_shift = audio.map_or(0, |track| ticks(track.timescale));
    Place { discontinuity, base_ns, start_ns, video_shift: ticks(video.timescale), audio_shift }
}

fn ns(ticks: i64, timescale: u32) -> i128 {
    i128::from(ticks) * NS / i128::from(timescale.max(1))
}

/// Where a last picture ends: its own duration, else the distance before it, else a 30th of a second.
fn end_of(pictures: &[Sample], timescale: u32) -> i64 {
    let mut times: Vec<i64> = pictures.iter().map(|sample| sample.pts).collect();
    times.sort_unstable();
    let last = times.last().copied().unwrap_or(0);
    let named = pictures.iter().find(|sample| sample.pts == last).map_or(0, |sample| i64::from(sample.duration));
    let before = times.len().checked_sub(2).map_or(0, |at| last - times[at]);
    let fallback = i64::from(timescale / 30).max(1);
    last + [named, before, fallback].into_iter().find(|&length| length > 0).unwrap_or(fallback)
}

/// Makes presentation times strictly increasing in presentation order: a source that repeats one has its
/// second frame moved by a tick.
fn order(samples: &mut [Sample]) {
    let mut by_time: Vec<usize> = (0..samples.len()).collect();
    by_time.sort_by_key(|&at| samples[at].pts);
    for pair in by_time.windows(2) {
        let floor = samples[pair[0]].pts + 1;
        let sample = &mut samples[pair[1]];
        sample.pts = sample.pts.max(floor);
    }
}

fn shift(samples: &mut [Sample], ticks: i64) {
    for sample in samples {
        sample.pts += ticks;
        sample.dts += ticks;
    }
}
