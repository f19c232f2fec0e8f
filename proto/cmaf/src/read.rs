//! Reads back what this crate writes, and nothing wider: one track, one fragment. What a stranger delivered
//! is checked with it before a decoder sees it.

use mp4_atom::{Any, DecodeMaybe, FourCC, Moof, Moov};

use crate::{Error, header::TRACK_ID, lead};

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
    let moov: Moov = match &boxes("header", bytes)?[..] {
        [Any::Ftyp(_), Any::Moov(moov)] => moov.clone(),
        _ => return Err(broken("it is not ftyp and moov")),
    };
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

/// Reads a media segment.
///
/// # Errors
/// [`Error::Config`] if it is not `styp`, `moof` and `mdat` with one run of samples that say their times and
/// sizes.
pub fn fragment(bytes: &[u8]) -> Result<Fragment, Error> {
    let broken = |message: &str| Error::config("segment", message);
    let (moof, data_bytes): (Moof, u64) = match &boxes("segment", bytes)?[..] {
        [Any::Styp(_), Any::Moof(moof), Any::Mdat(mdat)] => (moof.clone(), mdat.data.len() as u64),
        _ => return Err(broken("it is not styp, moof and mdat")),
    };
    let [traf] = &moof.traf[..] else { return Err(broken("it has not one track")) };
    let ([run], Some(tfdt)) = (&traf.trun[..], &traf.tfdt) else {
        return Err(broken("it has not one run of samples with a decode time"));
    };
    if traf.tfhd.track_id != TRACK_ID {
        return Err(broken("its track has another number than 1"));
    }
    let mut decode_end = tfdt.base_media_decode_time;
    let mut sizes = 0u64;
    for sample in &run.samples {
        let (Some(duration), Some(size)) = (sample.duration, sample.size) else {
            return Err(broken("a sample does not say its duration or size"));
        };
        decode_end = decode_end.checked_add(duration.into()).ok_or_else(|| broken("its times overflow"))?;
        sizes += u64::from(size);
    }
    if run.samples.is_empty() || sizes != data_bytes {
        return Err(broken("its samples do not fill its data"));
    }
    Ok(Fragment {
        sequence: moof.mfhd.sequence_number,
        samples: run.samples.len(),
        decode_start: tfdt.base_media_decode_time,
        decode_end,
    })
}

/// All boxes of the top level; at most a few are right, so more than a few are refused early.
fn boxes(what: &'static str, bytes: &[u8]) -> Result<Vec<Any>, Error> {
    let mut rest = bytes;
    let mut boxes = Vec::new();
    while !rest.is_empty() {
        match Any::decode_maybe(&mut rest) {
            Ok(Some(found)) if boxes.len() < 4 => boxes.push(found),
            Ok(Some(_)) => return Err(Error::config(what, "it has too many boxes")),
            Ok(None) => return Err(Error::config(what, "it ends early")),
            Err(error) => return Err(Error::config(what, error)),
        }
    }
    Ok(boxes)
}
