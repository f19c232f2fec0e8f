//! One track of a movie: its samples' times, sizes and places, as `stbl` keeps them, run by run.

use std::ops::Range;

use bytes::Bytes;
use mp4_atom::{
    Co64, Codec, Ctts, CttsEntry, Edts, Elst, ElstEntry, Stbl, Stco, Stsc, StscEntry, Stsd, Stss, Stsz, StszSamples,
    Stts, SttsEntry, Trak,
};

use super::{Kind, TIMESCALE, ns_of, pts_of, ticks};
use crate::{
    Error,
    read::{Head, moov},
};

/// AAC packets depend on the one before: a decoder needs so many before the first that is heard.
const AUDIO_PREROLL: usize = 1;

/// Sound that comes so much before the first picture is what encoders put there, and is cut off.
const LEAD_IN_NS_MAX: u64 = 100_000_000;

/// Cuts are moved by so much at most to where a picture starts.
const SNAP_NS: u64 = 1_000_000;

/// Samples of one segment, in the file one after another.
#[derive(Debug)]
struct Chunk {
    samples: u32,
    entry: u32,
    /// From the start of the movie's data.
    at: u64,
}

#[derive(Debug)]
pub(super) struct Table {
    id: u32,
    /// The first header's track; all but its samples is kept.
    trak: Trak,
    timescale: u32,
    video: bool,
    inits: Vec<Bytes>,
    entries: Vec<Codec>,
    chunks: Vec<Chunk>,
    sizes: Vec<u32>,
    durations: Vec<SttsEntry>,
    offsets: Vec<CttsEntry>,
    keys: Vec<u32>,
    /// Decode time of the first sample.
    decode_start: i64,
    /// Decode time and duration of the last sample; how long it really lasts is told by the one that follows.
    last: Option<(i64, i64)>,
    /// The first presentation time, the last one that is not after the movie's start, and where the last sample ends.
    shown_first: Option<i64>,
    shown_at_start: Option<i64>,
    shown_end: i64,
}

impl Table {
    pub(super) fn new(kind: Kind, init: &Bytes) -> Result<Self, Error> {
        let (trak, _) = trak_of(init)?;
        let timescale = trak.mdia.mdhd.timescale.max(1);
        Ok(Self {
            id: if kind == Kind::Video { 1 } else { 2 },
            video: kind == Kind::Video,
            timescale,
            trak,
            inits: Vec::new(),
            entries: Vec::new(),
            chunks: Vec::new(),
            sizes: Vec::new(),
            durations: Vec::new(),
            offsets: Vec::new(),
            keys: Vec::new(),
            decode_start: 0,
            last: None,
            shown_first: None,
            shown_at_start: None,
            shown_end: 0,
        })
    }

    pub(super) fn samples(&self) -> usize {
        self.sizes.len()
    }

    /// See [`super::Movie::add`]; `at` is where the samples come to lie in the movie's data.
    pub(super) fn add(
        &mut self,
        init: &Bytes,
        head: &Head,
        (start_ns, end_ns): (u64, Option<u64>),
        at: u64,
    ) -> Result<Range<u64>, Error> {
        let (trak, codec) = trak_of(init)?;
        let from = trak.mdia.mdhd.timescale.max(1);
        // A run with another timescale counts in the first one's, to the nearest tick.
        let scaled = |time: i64| scale(time, from, self.timescale);
        let mut decode = i64::try_from(head.decode_start).unwrap_or(i64::MAX);
        let mut times = Vec::with_capacity(head.samples.len());
        for sample in &head.samples {
            let end = decode.saturating_add(sample.duration.into());
            let duration = scaled(end) - scaled(decode);
            times.push((scaled(decode), scaled(decode.saturating_add(sample.offset)), duration));
            decode = end;
        }
        // Who asks for a picture's own time in decimals means that picture.
        let snap_ns = if self.video { SNAP_NS } else { 0 };
        let start = pts_of(start_ns + snap_ns, self.timescale);
        let wanted = self.wanted(&times, start, end_ns.map(|ns| pts_of(ns.saturating_sub(snap_ns), self.timescale)));
        let bytes = |samples: &[crate::read::Entry]| samples.iter().map(|sample| u64::from(sample.bytes)).sum::<u64>();
        let begin = head.data_at + bytes(&head.samples[..wanted.start]);
        let end = begin + bytes(&head.samples[wanted.clone()]);
        if wanted.is_empty() {
            return Ok(begin..begin);
        }
        let entry = self.entry(init, codec);
        for (sample, &(decode, shown, duration)) in head.samples[wanted.clone()].iter().zip(&times[wanted.clone()]) {
            let decode = self.step(decode, duration);
            let offset = shown - decode;
            match self.offsets.last_mut() {
                Some(run) if run.sample_offset == offset => run.sample_count += 1,
                _ => self.offsets.push(CttsEntry { sample_count: 1, sample_offset: offset }),
            }
            self.sizes.push(sample.bytes);
            if sample.key {
                self.keys.push(self.sizes.len() as u32);
            }
            self.shown_first = Some(self.shown_first.map_or(shown, |first| first.min(shown)));
            if shown <= start {
                self.shown_at_start = Some(self.shown_at_start.map_or(shown, |at| at.max(shown)));
            }
            self.shown_end = self.shown_end.max(shown + duration);
        }
        self.chunks.push(Chunk { samples: wanted.len() as u32, entry, at });
        Ok(begin..end)
    }

    /// Which samples of a segment belong to the movie. A picture is shown until the next one, and needs all before
    /// it in its segment; sound is whole packets, and none twice where two runs meet.
    fn wanted(&self, times: &[(i64, i64, i64)], start: i64, end: Option<i64>) -> Range<usize> {
        let before = |limit: i64| times.iter().rposition(|&(_, shown, _)| shown < limit).map_or(0, |last| last + 1);
        let to = end.map_or(times.len(), before);
        if self.video {
            return 0..to;
        }
        let from = match self.last {
            None => times.iter().take_while(|&&(_, shown, duration)| shown + duration <= start).count(),
            Some((last, duration)) => {
                let half = duration / 2;
                times.iter().take_while(|&&(_, shown, _)| shown + half < last + duration).count()
            }
        };
        let from = if self.last.is_none() { from.saturating_sub(AUDIO_PREROLL) } else { from };
        from.min(to)..to
    }

    fn entry(&mut self, init: &Bytes, codec: Codec) -> u32 {
        let known = self.inits.iter().position(|known| known == init);
        let at = known.unwrap_or_else(|| {
            self.inits.push(init.clone());
            self.entries.push(codec);
            self.entries.len() - 1
        });
        at as u32 + 1
    }

    /// Notes a sample's decode time, which never goes back, and how long the one before it lasts.
    fn step(&mut self, decode: i64, duration: i64) -> i64 {
        let decode = match self.last {
            None => {
                self.decode_start = decode;
                decode
            }
            Some((last, _)) => {
                let decode = decode.max(last + 1);
                push_duration(&mut self.durations, decode - last);
                decode
            }
        };
        self.last = Some((decode, duration));
        decode
    }

    /// Where the picture starts that is shown at `start_ns`, or right after it; the same for sound.
    pub(super) fn shown_at(&self, start_ns: u64) -> u64 {
        let soon = pts_of(start_ns + LEAD_IN_NS_MAX, self.timescale);
        match self.shown_at_start.or(self.shown_first.filter(|&shown| shown <= soon)) {
            Some(shown) if self.video => ns_of(shown, self.timescale),
            _ => start_ns,
        }
    }

    pub(super) fn end_ns(&self) -> u64 {
        ns_of(self.shown_end, self.timescale)
    }

    /// The track, shown from `shown.start` to `shown.end` on the stream's timeline; the movie's data is at `before`.
    pub(super) fn trak(&self, shown: Range<u64>, before: u64, wide: bool) -> Trak {
        let mut trak = self.trak.clone();
        let (start, end) = (pts_of(shown.start, self.timescale), pts_of(shown.end, self.timescale));
        let first = self.shown_first.unwrap_or(start);
        // Rounding is no lateness.
        let late = if first - start > 1 { first - start } else { 0 };
        let heard_ns = |ticks: i64| ns_of(ticks.max(0) + crate::ORIGIN_S * i64::from(self.timescale), self.timescale);
        let late_ns = heard_ns(late);
        let length_ns = heard_ns(self.shown_end.min(end) - start).saturating_sub(late_ns);
        let edit = |duration, media_time| ElstEntry { segment_duration: duration, media_time, media_rate: 1.into() };
        let mut edits = Vec::new();
        if late > 0 {
            edits.push(edit(ticks(late_ns, TIMESCALE), None));
        }
        let media_start = u64::try_from(start.max(first) - self.decode_start).unwrap_or(0);
        edits.push(edit(ticks(length_ns, TIMESCALE), Some(media_start)));
        trak.edts = Some(Edts { elst: Some(Elst { entries: edits }) });
        trak.tkhd.track_id = self.id;
        trak.tkhd.duration = ticks(late_ns + length_ns, TIMESCALE);
        let mut durations = self.durations.clone();
        let (last, duration) = self.last.unwrap_or_default();
        push_duration(&mut durations, duration.max(1));
        trak.mdia.mdhd.duration = u64::try_from(last + duration - self.decode_start).unwrap_or(0);
        trak.mdia.minf.stbl = self.stbl(durations, before, wide);
        trak
    }

    fn stbl(&self, durations: Vec<SttsEntry>, before: u64, wide: bool) -> Stbl {
        let mut runs: Vec<StscEntry> = Vec::new();
        for (at, chunk) in self.chunks.iter().enumerate() {
            let same =
                |run: &StscEntry| (run.samples_per_chunk, run.sample_description_index) == (chunk.samples, chunk.entry);
            if !runs.last().is_some_and(same) {
                runs.push(StscEntry {
                    first_chunk: at as u32 + 1,
                    samples_per_chunk: chunk.samples,
                    sample_description_index: chunk.entry,
                });
            }
        }
        let places = self.chunks.iter().map(|chunk| before + chunk.at);
        let plain = self.offsets.iter().all(|run| run.sample_offset == 0);
        Stbl {
            stsd: Stsd { codecs: self.entries.clone() },
            stts: Stts { entries: durations },
            ctts: (!plain).then(|| Ctts { entries: self.offsets.clone() }),
            stss: (self.keys.len() < self.sizes.len()).then(|| Stss { entries: self.keys.clone() }),
            stsc: Stsc { entries: runs },
            stsz: Stsz { samples: StszSamples::Different { sizes: self.sizes.clone() } },
            stco: (!wide).then(|| Stco { entries: places.clone().map(|place| place as u32).collect() }),
            co64: wide.then(|| Co64 { entries: places.collect() }),
            ..Stbl::default()
        }
    }
}

fn push_duration(runs: &mut Vec<SttsEntry>, duration: i64) {
    let sample_delta = u32::try_from(duration).unwrap_or(u32::MAX);
    match runs.last_mut() {
        Some(run) if run.sample_delta == sample_delta => run.sample_count += 1,
        _ => runs.push(SttsEntry { sample_count: 1, sample_delta }),
    }
}

/// A time in another timescale, to the nearest tick.
fn scale(time: i64, from: u32, to: u32) -> i64 {
    if from == to {
        return time;
    }
    let (time, from) = (i128::from(time) * i128::from(to), i128::from(from));
    i64::try_from((time + from / 2).div_euclid(from)).unwrap_or(i64::MAX)
}

/// The only track of a CMAF header, and its only sample entry.
fn trak_of(init: &Bytes) -> Result<(Trak, Codec), Error> {
    let broken = |message: &str| Error::config("header", message);
    let mut moov = moov(init)?;
    let trak = moov.trak.pop().filter(|_| moov.trak.is_empty()).ok_or_else(|| broken("it has not one track"))?;
    let codec = trak.mdia.minf.stbl.stsd.codecs.first().cloned();
    codec.map(|codec| (trak, codec)).ok_or_else(|| broken("no sample entry"))
}
