//! Captions as a track of their own: `WebVTT` in CMAF (ISO/IEC 14496-30, 6; ISO/IEC 23000-19, 11.3).
//!
//! Samples follow each other without a hole: each has all cues that are shown from its start to its end, or says that
//! there are none. So a cue that goes on in another segment is in both, each with its part of the time.

use std::ops::Range;

use bytes::{BufMut, Bytes};
use mp4_atom::TrunEntry;

use crate::{Error, fragment, header};

/// The codec's name in playlists and manifests (RFC 6381).
pub const CODEC: &str = "wvtt";

/// What is shown for a time, in the track's timescale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cue {
    /// From when on.
    pub start: i64,
    /// Until when.
    pub end: i64,
    /// Its text, as it stands in a cue of `WebVTT`.
    pub text: String,
}

/// Writes a track's CMAF header. The same timescale always gives the same bytes.
///
/// # Errors
/// [`Error::Format`] without ticks per second.
pub fn init(timescale: u32) -> Result<Bytes, Error> {
    header::text(timescale)
}

/// Writes one CMAF media segment that fills `time`; `sequence` counts segments. What cues have outside of it is left out.
///
/// # Errors
/// [`Error::Empty`] of no time, [`Error::NegativeTime`], [`Error::TooLong`], [`Error::TooLarge`].
pub fn segment(sequence: u32, cues: &[Cue], time: Range<i64>) -> Result<Bytes, Error> {
    if time.is_empty() {
        return Err(Error::Empty);
    }
    let start = u64::try_from(time.start).map_err(|_| Error::NegativeTime { sample: 0, pts: time.start })?;
    let mut borders = vec![time.start, time.end];
    borders.extend(cues.iter().flat_map(|cue| [cue.start, cue.end]).filter(|border| time.contains(border)));
    borders.sort_unstable();
    borders.dedup();
    let (mut entries, mut samples) = (Vec::new(), Vec::new());
    for pair in borders.windows(2) {
        let sample = sample(cues.iter().filter(|cue| cue.start < pair[1] && cue.end > pair[0]));
        let ticks = pair[1] - pair[0];
        entries.push(TrunEntry {
            duration: Some(u32::try_from(ticks).map_err(|_| Error::TooLong { ticks })?),
            size: u32::try_from(sample.len()).ok(),
            ..TrunEntry::default()
        });
        samples.push(sample);
    }
    fragment::write(sequence, start, entries, samples.iter().map(Vec::as_slice))
}

/// Boxes `vttc`, each with the text of a cue in `payl`, or `vtte` if there is none.
fn sample<'a>(cues: impl Iterator<Item = &'a Cue>) -> Vec<u8> {
    let mut out = Vec::new();
    for cue in cues {
        let bytes = 8 + u32::try_from(cue.text.len()).unwrap_or(u32::MAX - 16);
        out.put_u32(8 + bytes);
        out.put_slice(b"vttc");
        out.put_u32(bytes);
        out.put_slice(b"payl");
        out.put_slice(cue.text.as_bytes());
    }
    if out.is_empty() {
        out.put_u32(8);
        out.put_slice(b"vtte");
    }
    out
}
