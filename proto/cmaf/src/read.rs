//! Reads back what this crate writes, and nothing wider: one track, one fragment. What a stranger delivered
//! is checked with it before a decoder sees it.

mod known;

use bytes::Buf;
use mp4_atom::{Atom, DecodeMaybe, FourCC, Ftyp, Moof, Moov, Styp};

use crate::{
    Error,
    fragment::{MDAT_HEADER_BYTES, SYNC},
    header::TRACK_ID,
    lead,
};

/// `sample_is_non_sync_sample` (ISO/IEC 14496-12, 8.8.3.1).
const NON_SYNC_FLAG: u32 = 0x0001_0000;

/// What a CMAF header says of its only track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Ticks per second.
    pub timescale: u32,
    /// A video track; otherwise audio.
    pub video: bool,
}

/// What a media segment says of its only fragment. Times count in the track's timescale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// The fragment's sequence number.
    pub sequence: u32,
    /// Its number of samples.
    pub samples: usize,
    /// Decode time of the first sample.
    pub decode_start: u64,
    /// Decode time at which the last sample ends.
    pub decode_end: u64,
    /// Bytes from the segment's start to the end of its first sample: what an I-frame playlist names.
    pub key_bytes: u64,
}

/// What stands before a media segment's samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The fragment's sequence number.
    pub sequence: u32,
    /// Decode time of the first sample, in the track's timescale.
    pub decode_start: u64,
    /// The samples in decode order; their bytes follow each other.
    pub samples: Vec<Entry>,
    /// Bytes before the first sample's.
    pub data_at: u64,
}

/// What a media segment says of one sample. Times count in the track's timescale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// From its decode time to the next one's.
    pub duration: u32,
    /// Its bytes.
    pub bytes: u32,
    /// From its decode time to its presentation time.
    pub offset: i64,
    /// Decoding can start here.
    pub key: bool,
}

impl Fragment {
    /// Where the segment ends on the timeline: the `end` that [`crate::segment`] was given.
    pub fn end(&self, header: Header) -> i64 {
        let early = if header.video { lead(header.timescale) } else { 0 };
        i64::try_from(self.decode_end).unwrap_or(i64::MAX).saturating_add(early)
    }
}

/// Reads a header.
///
/// # Errors
/// [`Error::Config`] if it is not `ftyp` and `moov` with one video or audio track for fragments, without edit
/// list and without samples of its own.
pub fn header(bytes: &[u8]) -> Result<Header, Error> {
    let broken = |message: &str| Error::config("header", message);
    let moov = moov(bytes)?;
    let ([trak], Some(mvex)) = (&moov.trak[..], &moov.mvex) else {
        return Err(broken("it has not one track for fragments"));
    };
    if trak.tkhd.track_id != TRACK_ID || mvex.trex.len() != 1 || mvex.trex[0].track_id != TRACK_ID {
        return Err(broken("its track has another number than 1"));
    }
    if trak.edts.as_ref().is_some_and(|edts| edts.elst.is_some()) {
        return Err(broken("it has an edit list"));
    }
    if trak.mdia.minf.stbl.stsd.codecs.len() != 1 || !trak.mdia.minf.stbl.stts.entries.is_empty() {
        return Err(broken("it has other than one sample entry, or samples"));
    }
    let handler = trak.mdia.hdlr.handler;
    let video = handler == FourCC::new(b"vide");
    if !video && handler != FourCC::new(b"soun") || trak.mdia.mdhd.timescale == 0 {
        return Err(broken("its track is neither video nor audio"));
    }
    Ok(Header { timescale: trak.mdia.mdhd.timescale, video })
}

/// A header's `moov`.
pub(crate) fn moov(bytes: &[u8]) -> Result<Moov, Error> {
    let broken = |message: &str| Error::config("header", message);
    let mut rest = bytes;
    let (Some(_), Some(moov)) = (next::<Ftyp>("header", &mut rest)?, next::<Moov>("header", &mut rest)?) else {
        return Err(broken("it ends early"));
    };
    if rest.is_empty() { Ok(moov) } else { Err(broken("it is more than ftyp and moov")) }
}

/// Reads a media segment.
///
/// # Errors
/// [`Error::Config`] if it is not `styp`, `moof` and `mdat` with one run of samples that say their times and
/// sizes and fill the `mdat`.
pub fn fragment(bytes: &[u8]) -> Result<Fragment, Error> {
    let broken = |message: &str| Error::config("segment", message);
    let head = head(bytes)?.ok_or_else(|| broken("it ends early"))?;
    let (mut decode_end, mut end) = (head.decode_start, head.data_at);
    for sample in &head.samples {
        decode_end = decode_end.checked_add(sample.duration.into()).ok_or_else(|| broken("its times overflow"))?;
        end += u64::from(sample.bytes);
    }
    if end != bytes.len() as u64 {
        return Err(broken("it does not end with its samples"));
    }
    Ok(Fragment {
        sequence: head.sequence,
        samples: head.samples.len(),
        decode_start: head.decode_start,
        decode_end,
        key_bytes: head.data_at + u64::from(head.samples[0].bytes),
    })
}

/// Reads what stands before a media segment's samples; `bytes` are the segment's first. `None` if more of them are
/// needed.
///
/// # Errors
/// As [`fragment`], but that nothing is known of what follows the given bytes.
pub fn head(bytes: &[u8]) -> Result<Option<Head>, Error> {
    let broken = |message: &str| Error::config("segment", message);
    let mut rest = bytes;
    if next::<Styp>("segment", &mut rest)?.is_none() {
        return Ok(None);
    }
    let before = rest.len();
    let Some(moof) = next::<Moof>("segment", &mut rest)? else { return Ok(None) };
    let moof_bytes = before - rest.len();
    if rest.len() < MDAT_HEADER_BYTES {
        return Ok(None);
    }
    let mdat_bytes = rest.get_u32();
    if rest.get_u32() != u32::from_be_bytes(*b"mdat") {
        return Err(broken("after moof comes no mdat"));
    }
    let [traf] = &moof.traf[..] else { return Err(broken("it has not one track")) };
    let ([run], Some(tfdt)) = (&traf.trun[..], &traf.tfdt) else {
        return Err(broken("it has not one run of samples with a decode time"));
    };
    if traf.tfhd.track_id != TRACK_ID {
        return Err(broken("its track has another number than 1"));
    }
    let data_offset = i32::try_from(moof_bytes + MDAT_HEADER_BYTES).ok();
    if !traf.tfhd.default_base_is_moof || run.data_offset != data_offset {
        return Err(broken("its samples do not follow the moof"));
    }
    let samples = run.samples.iter().map(|sample| {
        let (Some(duration), Some(bytes)) = (sample.duration, sample.size) else {
            return Err(broken("a sample does not say its duration or size"));
        };
        let key = sample.flags.unwrap_or(SYNC) & NON_SYNC_FLAG == 0;
        Ok(Entry { duration, bytes, offset: sample.cts.unwrap_or(0), key })
    });
    let samples = samples.collect::<Result<Vec<_>, _>>()?;
    let sizes = samples.iter().map(|sample| u64::from(sample.bytes)).sum::<u64>();
    if samples.is_empty() || sizes + MDAT_HEADER_BYTES as u64 != u64::from(mdat_bytes) {
        return Err(broken("its samples do not fill its data"));
    }
    Ok(Some(Head {
        sequence: moof.mfhd.sequence_number,
        decode_start: tfdt.base_media_decode_time,
        samples,
        data_at: (bytes.len() - rest.len()) as u64,
    }))
}

/// The next box, if it is there whole.
fn next<T: Atom>(what: &'static str, rest: &mut &[u8]) -> Result<Option<T>, Error> {
    known::only(what, rest)?;
    T::decode_maybe(rest).map_err(|error| Error::config(what, error))
}
