//! CMAF media segments: `styp`, `moof` and `mdat`, one fragment each.
//!
//! Decode times are made here: the sorted presentation times, early by a constant [`lead`]. So segments that
//! were encoded apart join without overlap and without edit lists, and composition offsets are not negative:
//! FFmpeg and GStreamer shift every presentation time of a fragmented file that has a negative one.

use bytes::{BufMut, Bytes, BytesMut};
use mp4_atom::{Encode, FourCC, Mfhd, Moof, Styp, Tfdt, Tfhd, Traf, Trun, TrunEntry};

use crate::{Error, Sample, Track, header::TRACK_ID};

/// Sample flags of a sync sample: depends on no other (ISO/IEC 14496-12, 8.8.3.1).
pub(crate) const SYNC: u32 = 0x0200_0000;
/// Sample flags of every other sample: depends on others, is no sync sample.
const NON_SYNC: u32 = 0x0101_0000;

/// Size and type of the `mdat` box.
pub(crate) const MDAT_HEADER_BYTES: usize = 8;

/// Where a stream's timeline starts in its files, in seconds: far enough from 0 for decode times to be early.
pub const ORIGIN_S: i64 = 1;

/// By how many ticks decode times are early in video segments of a track: an eighth of a second, which is
/// three frames at 24 frames per second, and short enough for players to step over at the start.
///
/// All segments of a track need the same, and nobody sees all of them; so it follows from the timescale alone.
pub fn lead(timescale: u32) -> i64 {
    i64::from(timescale.div_ceil(8)).max(4)
}

/// Writes one CMAF media segment.
///
/// `samples` stand in decode order, their presentation times differ from each other and none is negative.
/// `sequence` counts segments. The last sample (in presentation order) lasts until `end`, the start of the
/// next segment; where `end` is not after it, it lasts as long as the one before it, or as its own duration
/// says, or one tick.
///
/// Players read every presentation time exactly. Decode times run from the first presentation time to `end`,
/// early by [`lead`] (audio: not early); a first presentation time below that, or frames that are reordered
/// further than that, make for uneven decode times, but for no wrong presentation time.
///
/// # Errors
/// [`Error::Empty`], [`Error::NegativeTime`], [`Error::RepeatedTime`], [`Error::TooLong`],
/// [`Error::TooLarge`].
pub fn segment(track: &Track, sequence: u32, samples: &[Sample], end: i64) -> Result<Bytes, Error> {
    let early = if track.video().is_some() { lead(track.timescale) } else { 0 };
    let shown = shown_times(samples)?;
    let times = decode_times(samples, &shown, early);
    let end = shown.last().map_or(end, |last| last.saturating_add(last_duration(&shown, samples, end))) - early;
    let entries = samples
        .iter()
        .enumerate()
        .map(|(at, sample)| {
            let duration = (times.get(at + 1).copied().unwrap_or(end) - times[at]).max(1);
            let offset = sample.pts - times[at];
            Ok(TrunEntry {
                duration: Some(u32::try_from(duration).map_err(|_| Error::TooLong { ticks: duration })?),
                size: u32::try_from(sample.data.len()).ok(),
                flags: track.video().map(|_| if sample.key { SYNC } else { NON_SYNC }),
                cts: match i32::try_from(offset) {
                    Ok(offset) => track.video().map(|_| offset.into()),
                    Err(_) => return Err(Error::TooLong { ticks: offset }),
                },
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    write(sequence, times[0].unsigned_abs(), entries, samples.iter().map(|sample| &*sample.data))
}

/// A segment of samples that say all of themselves; the first one's decode time is `start`.
pub(crate) fn write<'a>(
    sequence: u32,
    start: u64,
    entries: Vec<TrunEntry>,
    data: impl Iterator<Item = &'a [u8]> + Clone,
) -> Result<Bytes, Error> {
    let bytes = data.clone().map(|sample| sample.len() as u64).sum::<u64>();
    if i32::try_from(bytes).is_err() {
        return Err(Error::TooLarge { bytes });
    }
    let mut out = BytesMut::from(boxes(sequence, start, entries)?.as_slice());
    out.reserve(MDAT_HEADER_BYTES + bytes as usize);
    out.put_u32((MDAT_HEADER_BYTES as u64 + bytes) as u32);
    out.put_slice(b"mdat");
    for sample in data {
        out.put_slice(sample);
    }
    Ok(out.freeze())
}

/// The sorted presentation times, checked.
fn shown_times(samples: &[Sample]) -> Result<Vec<i64>, Error> {
    if samples.is_empty() {
        return Err(Error::Empty);
    }
    if let Some(sample) = samples.iter().position(|sample| sample.pts < 0) {
        return Err(Error::NegativeTime { sample, pts: samples[sample].pts });
    }
    let mut times = samples.iter().map(|sample| sample.pts).collect::<Vec<_>>();
    times.sort_unstable();
    match times.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::RepeatedTime { pts: pair[0] }),
        None => Ok(times),
    }
}

/// Strictly rising, not negative, no later than what is shown from then on where that is possible, and `early`
/// otherwise.
fn decode_times(samples: &[Sample], shown: &[i64], early: i64) -> Vec<i64> {
    let mut times = shown.iter().map(|pts| pts - early).collect::<Vec<_>>();
    let mut latest = i64::MAX;
    for (time, sample) in times.iter_mut().zip(samples).rev() {
        latest = latest.min(sample.pts);
        *time = latest.min(*time);
        latest = latest.min(*time - 1);
    }
    let mut earliest = 0;
    for time in &mut times {
        *time = earliest.max(*time);
        earliest = *time + 1;
    }
    times
}

fn last_duration(shown: &[i64], samples: &[Sample], end: i64) -> i64 {
    match *shown {
        [.., last] if end > last => end - last,
        [.., before, last] => last - before,
        _ => samples.last().map_or(1, |sample| i64::from(sample.duration.max(1))),
    }
}

/// `styp` and `moof`; the only run's data starts after the header of the `mdat` that follows.
fn boxes(sequence: u32, start: u64, entries: Vec<TrunEntry>) -> Result<Vec<u8>, Error> {
    let styp = Styp {
        major_brand: FourCC::new(b"msdh"),
        minor_version: 0,
        compatible_brands: vec![FourCC::new(b"msdh"), FourCC::new(b"cmfs"), FourCC::new(b"iso6")],
    };
    let mut moof = Moof {
        mfhd: Mfhd { sequence_number: sequence },
        traf: vec![Traf {
            tfhd: Tfhd { track_id: TRACK_ID, default_base_is_moof: true, ..Tfhd::default() },
            tfdt: Some(Tfdt { base_media_decode_time: start }),
            trun: vec![Trun { data_offset: Some(0), samples: entries.into() }],
            ..Traf::default()
        }],
    };
    let invalid = |error| Error::config("segment", error);
    let mut sized = Vec::new();
    moof.encode(&mut sized).map_err(invalid)?;
    moof.traf[0].trun[0].data_offset = Some((sized.len() + MDAT_HEADER_BYTES) as i32);
    let mut out = Vec::new();
    styp.encode(&mut out).and_then(|()| moof.encode(&mut out)).map_err(invalid)?;
    Ok(out)
}
