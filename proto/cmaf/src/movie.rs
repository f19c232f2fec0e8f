//! Whole movies: one MP4 file with its index at the front, made of CMAF segments that are there already.
//!
//! The file is `ftyp`, `moov`, and an `mdat` that holds the segments' samples as they are, so whoever serves it needs
//! the segments and this index alone. Cuts are exact: a movie starts between keyframes by an edit list, and samples
//! behind its end are left out. Pure; the caller reads segments and joins bytes.

mod table;

use std::ops::Range;

use bytes::{BufMut, Bytes};
use mp4_atom::{Encode, FourCC, Ftyp, Moov, Mvhd};

use crate::{Error, ORIGIN_S, read::Head};
use table::Table;

/// Ticks per second of durations and edits; media times are exact in their track's own. An edit is off by 6 µs at
/// most, less than a sound sample.
const TIMESCALE: u32 = 90_000;

/// Samples of one movie at most: 18 hours of pictures at 60 per second. Their index takes some 30 bytes each.
const SAMPLES_MAX: usize = 4_000_000;

/// Which track of a movie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The pictures.
    Video,
    /// The sound.
    Audio,
}

/// A movie in the making.
#[derive(Debug)]
pub struct Movie {
    start_ns: u64,
    end_ns: Option<u64>,
    video: Option<Table>,
    audio: Option<Table>,
    data_bytes: u64,
}

/// A movie that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// What stands before the samples.
    pub head: Bytes,
    /// Where it starts on the stream's timeline: with the picture that is shown at the start that was asked for.
    pub start_ns: u64,
    /// Its length.
    pub duration_ns: u64,
}

impl Movie {
    /// A movie of what is on the stream's timeline from `start_ns` on, up to `end_ns` if given.
    pub fn new(start_ns: u64, end_ns: Option<u64>) -> Self {
        Self { start_ns, end_ns, video: None, audio: None, data_bytes: 0 }
    }

    /// Appends a segment's samples, as far as they belong to the movie. Tracks' segments come in order, from one on that
    /// decoding can start with and that starts no later than the movie, if there is one. Returns which bytes of the segment come next in the file; none if empty.
    ///
    /// # Errors
    /// [`Error::Config`] if `init` is not one track's header, or the movie gets too long for one file.
    pub fn add(&mut self, kind: Kind, init: &Bytes, head: &Head) -> Result<Range<u64>, Error> {
        let slot = match kind {
            Kind::Video => &mut self.video,
            Kind::Audio => &mut self.audio,
        };
        let table = match slot {
            Some(table) => table,
            None => slot.insert(Table::new(kind, init)?),
        };
        let bytes = table.add(init, head, (self.start_ns, self.end_ns), self.data_bytes)?;
        self.data_bytes += bytes.end - bytes.start;
        let samples = [&self.video, &self.audio].into_iter().flatten().map(Table::samples).sum::<usize>();
        if samples > SAMPLES_MAX {
            return Err(Error::config("movie", format!("it has more than {SAMPLES_MAX} samples")));
        }
        Ok(bytes)
    }

    /// Bytes of all samples so far.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// Ends the movie.
    ///
    /// # Errors
    /// [`Error::Empty`] without samples, [`Error::Config`] if a header can't be written.
    pub fn finish(self) -> Result<Made, Error> {
        let tables: Vec<&Table> =
            [&self.video, &self.audio].into_iter().flatten().filter(|t| t.samples() > 0).collect();
        let Some(first) = tables.first() else { return Err(Error::Empty) };
        let start_ns = first.shown_at(self.start_ns);
        let last_ns = tables.iter().map(|table| table.end_ns()).max().unwrap_or(start_ns);
        let end_ns = self.end_ns.unwrap_or(u64::MAX).min(last_ns).max(start_ns + 1);
        let ftyp = Ftyp {
            major_brand: FourCC::new(b"isom"),
            minor_version: 0x200,
            compatible_brands: [b"isom", b"iso6", b"mp42"].map(FourCC::new).to_vec(),
        };
        // Offsets have a width of their own, so the index is as long with wrong ones as with right ones.
        let wide = self.data_bytes > u64::from(u32::MAX) - (1 << 28);
        let moov = |before| Moov {
            mvhd: Mvhd {
                timescale: TIMESCALE,
                duration: ticks(end_ns - start_ns, TIMESCALE),
                rate: 1.into(),
                volume: 1.into(),
                next_track_id: 3,
                ..Mvhd::default()
            },
            trak: tables.iter().map(|table| table.trak(start_ns..end_ns, before, wide)).collect(),
            ..Moov::default()
        };
        let encode = |before| {
            let mut out = Vec::new();
            ftyp.encode(&mut out).and_then(|()| moov(before).encode(&mut out)).map(|()| out)
        };
        let mdat_header_bytes = if wide { 16 } else { 8 };
        let sized = encode(0).map_err(|error| Error::config("movie", error))?.len() as u64;
        let mut head = encode(sized + mdat_header_bytes).map_err(|error| Error::config("movie", error))?;
        if wide {
            head.put_u32(1);
            head.put_slice(b"mdat");
            head.put_u64(16 + self.data_bytes);
        } else {
            head.put_u32((8 + self.data_bytes) as u32);
            head.put_slice(b"mdat");
        }
        Ok(Made { head: head.into(), start_ns, duration_ns: end_ns - start_ns })
    }
}

/// Nanoseconds in ticks, to the nearest.
fn ticks(ns: u64, timescale: u32) -> u64 {
    let ticks = (u128::from(ns) * u128::from(timescale) + 500_000_000) / 1_000_000_000;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// A place on the stream's timeline as a presentation time in its files.
fn pts_of(ns: u64, timescale: u32) -> i64 {
    i64::try_from(ticks(ns, timescale)).unwrap_or(i64::MAX).saturating_add(ORIGIN_S * i64::from(timescale))
}

/// The other way round.
fn ns_of(pts: i64, timescale: u32) -> u64 {
    let ticks = u64::try_from(pts - ORIGIN_S * i64::from(timescale)).unwrap_or(0);
    let ns = (u128::from(ticks) * 1_000_000_000 + u128::from(timescale) / 2) / u128::from(timescale.max(1));
    u64::try_from(ns).unwrap_or(u64::MAX)
}
