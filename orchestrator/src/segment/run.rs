//! One run of segments with the same tracks: collects samples, finds the cuts, shifts times.

use std::{collections::VecDeque, sync::Arc};

use millrace_cmaf::{Codec, ORIGIN_S, Sample, Track, aac};

use super::{
    Cut, Error, Limits, Part,
    places::{Place, Places},
};
use crate::store::record::Tail;

const NS: i128 = 1_000_000_000;

/// Audio that starts earlier than this before the first keyframe is dropped: nothing would be seen to it.
const AUDIO_LEAD_MS_MAX: i128 = 1_000;

/// How far the run's own times are moved to lie on the stream's timeline.
#[derive(Debug, Clone, Copy)]
struct Shift {
    discontinuity: u32,
    /// The run's own time of its start.
    base_ns: i128,
    /// The timeline's time of its start.
    start_ns: u64,
    /// Added to the leading track's times; places the timeline's start where files have it.
    lead: i64,
    /// Added to the audio's times beside video.
    audio: i64,
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

/// Cuts are found in one track, which leads; audio beside video follows.
#[derive(Debug)]
pub(super) struct Run {
    lead: Arc<Track>,
    audio: Option<Arc<Track>>,
    shift: Option<Shift>,
    pictures: VecDeque<Sample>,
    places: Places,
    /// The last keyframe's presentation time.
    key: Option<i64>,
    /// Segments cut since the one that holds the last keyframe before the open segment; absent before the first cut.
    since_key: Option<u32>,
    sounds: VecDeque<Sample>,
    /// Where the sound ends that was given out.
    heard_to: Option<i64>,
    bytes: u64,
    /// Where the open segment starts, in the leading track's timescale; absent before the first cut.
    open: Option<i64>,
}

impl Run {
    /// Of video, if there is some, with the audio beside it; of the audio alone otherwise.
    pub(super) fn new(video: Option<Track>, audio: Option<Track>) -> Option<Self> {
        let (lead, audio) = match (video, audio) {
            (Some(video), audio) => (video, audio),
            (None, Some(audio)) => (audio, None),
            (None, None) => return None,
        };
        Some(Self {
            lead: Arc::new(lead),
            audio: audio.map(Arc::new),
            shift: None,
            pictures: VecDeque::new(),
            places: Places::default(),
            key: None,
            since_key: None,
            sounds: VecDeque::new(),
            heard_to: None,
            bytes: 0,
            open: None,
        })
    }

    /// Takes the next sample of the leading track, in decode order.
    pub(super) fn video(&mut self, sample: Sample, limits: &Limits) -> Result<(), Error> {
        if self.lead.video().is_none() {
            return Ok(());
        }
        self.follow(sample, limits)
    }

    pub(super) fn audio(&mut self, sample: Sample, limits: &Limits) -> Result<(), Error> {
        if self.lead.video().is_none() {
            return self.follow(sample, limits);
        }
        if self.audio.is_some() {
            self.grow(&sample, limits)?;
            self.sounds.push_back(sample);
        }
        Ok(())
    }

    fn follow(&mut self, mut sample: Sample, limits: &Limits) -> Result<(), Error> {
        sample.key |= self.lead.video().is_none();
        // Decoding can't start before a key picture; what comes earlier, or is shown before a run's first one, could
        // never be seen.
        let unseen = match self.pictures.front() {
            None => !sample.key,
            Some(first) => self.since_key.is_none() && sample.pts < first.pts,
        };
        if unseen {
            return Ok(());
        }
        self.grow(&sample, limits)?;
        self.places.push(self.pictures.len(), sample.pts, sample.key);
        if sample.key {
            self.key = Some(sample.pts);
        }
        let key_ns = self.ns(self.key.unwrap_or(sample.pts));
        let open_ns = self.ns(sample.pts) - key_ns;
        self.pictures.push_back(sample);
        if open_ns > i128::from(limits.keyframe_ms_max) * NS / 1_000 {
            return Err(Error::NoKeyframe(limits.keyframe_ms_max / 1_000));
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
        if all {
            self.places.settle();
        }
        let place = self.place(limits);
        match place {
            Some(place) if !all && !self.audio_reached(place.start, limits) => return None,
            None if !all || self.pictures.is_empty() => return None,
            _ => {}
        }
        let shift = *self
            .shift
            .get_or_insert_with(|| shift(&self.lead, self.audio.as_deref(), &self.pictures, &mut self.sounds, tail));
        let (count, next) = place.map_or((self.pictures.len(), None), |place| (place.at, Some(place.start)));
        let mut pictures: Vec<Sample> = self.pictures.drain(..count).collect();
        match place {
            Some(place) => self.places.cut(place),
            None => self.places.clear(),
        }
        let preroll = self.preroll(&pictures);
        self.bytes -= pictures.iter().map(|sample| sample.data.len() as u64).sum::<u64>();
        let lead_end = next.unwrap_or_else(|| end_of(&pictures, self.lead.timescale));
        let start_ns = self.open.map_or(shift.base_ns, |open| self.ns(open));
        if let Some(open) = self.open {
            // A source that goes on with a picture from before the cut: it is shown first of the new segment.
            for sample in &mut pictures {
                sample.pts = sample.pts.max(open);
            }
        }
        order(&mut pictures);
        let source_start = start_of(&pictures);
        move_by(&mut pictures, shift.lead);
        self.open = Some(lead_end);
        let end_ns = self.ns(lead_end);
        let last = next.is_none() && ending == Ending::Last;
        if let Some(still) = self.still(start_ns).filter(|_| last && self.sounds.is_empty()) {
            self.bytes += still.data.len() as u64;
            self.sounds.push_back(still);
        }
        let audio = self.take_audio(next.map(|_| end_ns), shift);
        let audio_end_ns = audio.as_ref().map_or(i128::MIN, |part| ns(part.end - shift.audio, part.track.timescale));
        // The last segment of a run lasts as long as its longer track.
        let end_ns = if last { end_ns.max(audio_end_ns) } else { end_ns };
        let run_ns = u64::try_from(start_ns - shift.base_ns).unwrap_or(0);
        let end = lead_end + shift.lead;
        let part = Part { track: self.lead.clone(), samples: pictures, source_start, end, preroll };
        let (video, audio) = if self.lead.video().is_some() { (Some(part), audio) } else { (None, Some(part)) };
        Some(Cut {
            discontinuity: shift.discontinuity,
            start_ns: shift.start_ns + run_ns,
            duration_ns: u64::try_from(end_ns - start_ns).unwrap_or(0),
            run_ns,
            video,
            audio,
        })
    }

    /// Where the open segment ends: at the first keyframe that makes it long enough; if none comes in time, at the
    /// first picture that does.
    fn place(&self, limits: &Limits) -> Option<Place> {
        let open_ns = self.ns(self.open.or_else(|| self.pictures.front().map(|first| first.pts))?);
        let length_ns = |pts: i64| self.ns(pts) - open_ns;
        // Half a millisecond of grace: sources round their times.
        let enough_ns = i128::from(limits.segment_ms) * NS / 1_000 - NS / 2_000;
        let forced_ns = limits.segment_ms_max.map(|ms| i128::from(ms) * NS / 1_000);
        let in_time = |place: &Place| forced_ns.is_none_or(|ns| length_ns(place.start) <= ns);
        let at_key = |place: &Place| place.key && length_ns(place.start) >= enough_ns && in_time(place);
        let found = self.places.find(at_key).or_else(|| {
            let late = forced_ns.is_some_and(|ns| self.places.latest().is_some_and(|pts| length_ns(pts) > ns));
            self.places.find(|place| late && length_ns(place.start) >= enough_ns)
        });
        found.filter(|(_, sure)| *sure).map(|(place, _)| place)
    }

    /// How many segments before this one its decoder has to have seen.
    fn preroll(&mut self, pictures: &[Sample]) -> u32 {
        let first = pictures.first();
        let clean = first.is_some_and(|first| first.key && pictures.iter().all(|sample| sample.pts >= first.pts));
        let before = self.since_key.unwrap_or(0);
        self.since_key = Some(if pictures.iter().any(|sample| sample.key) { 1 } else { before + 1 });
        if clean { 0 } else { before }
    }

    /// A frame of silence for a last segment without sound, from `start_ns` on: a publisher that breaks off may leave a
    /// picture or two behind its last sound. Without it that segment has other tracks than those before, and Shaka Player
    /// gives up a live stream with a period that lacks one (`PERIOD_FLATTENING_FAILED`).
    fn still(&self, start_ns: i128) -> Option<Sample> {
        let track = self.audio.as_ref()?;
        let Codec::Aac { config, .. } = &track.codec else { return None };
        let start = i64::try_from(start_ns * i128::from(track.timescale) / NS).ok()?;
        let pts = self.heard_to.map_or(start, |end| end.max(start));
        let (data, duration) = (aac::silence(config)?, aac::frame_samples(config).ok()?);
        Some(Sample { pts, dts: pts, duration, key: true, data })
    }

    fn take_audio(&mut self, end_ns: Option<i128>, shift: Shift) -> Option<Part> {
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
        self.heard_to = Some(end);
        order(&mut samples);
        let source_start = start_of(&samples);
        move_by(&mut samples, shift.audio);
        Some(Part { track, samples, source_start, end: end + shift.audio, preroll: 0 })
    }

    /// Whether all audio before the leading track's time `pts` is here, or so late that it is not waited for.
    fn audio_reached(&self, pts: i64, limits: &Limits) -> bool {
        let Some(track) = &self.audio else { return true };
        let until_ns = self.ns(pts);
        let audio_ns = self.sounds.back().map(|sample| ns(sample.pts, track.timescale));
        let lead_ns = self.pictures.back().map_or(until_ns, |sample| self.ns(sample.pts));
        audio_ns.is_some_and(|audio_ns| audio_ns >= until_ns)
            || lead_ns - until_ns >= i128::from(limits.audio_lag_ms_max) * NS / 1_000
    }

    fn ns(&self, ticks: i64) -> i128 {
        ns(ticks, self.lead.timescale)
    }
}

/// Decides where a run lies on the timeline: its earliest presentation time comes where the last run ended.
fn shift(
    lead: &Track,
    audio: Option<&Track>,
    pictures: &VecDeque<Sample>,
    sounds: &mut VecDeque<Sample>,
    tail: Option<Tail>,
) -> Shift {
    let first_ns = pictures.front().map_or(0, |first| ns(first.pts, lead.timescale));
    if let Some(track) = audio {
        let early_ns = AUDIO_LEAD_MS_MAX * NS / 1_000;
        while sounds.front().is_some_and(|sound| ns(sound.pts, track.timescale) < first_ns - early_ns) {
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
    let audio = audio.map_or(0, |track| ticks(track.timescale));
    Shift { discontinuity, base_ns, start_ns, lead: ticks(lead.timescale), audio }
}

fn ns(ticks: i64, timescale: u32) -> i128 {
    i128::from(ticks) * NS / i128::from(timescale.max(1))
}

/// Where a last sample ends: its own duration, else the distance before it, else a 30th of a second.
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

fn start_of(samples: &[Sample]) -> i64 {
    samples.iter().map(|sample| sample.pts).min().unwrap_or(0)
}

fn move_by(samples: &mut [Sample], ticks: i64) {
    for sample in samples {
        sample.pts += ticks;
        sample.dts += ticks;
    }
}
