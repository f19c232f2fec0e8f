//! Common Encryption, scheme `cbcs` (ISO/IEC 23001-7:2016, 10.4): what headers and segments say of samples that are
//! encrypted, and which of their bytes are. H.264 and AAC; one key and one constant IV for all of a track.
//!
//! Owns the boxes and the map of protected bytes; never has a key. The orchestrator encrypts on the way out.

mod slice;

use std::ops::Range;

use bytes::Bytes;
use mp4_atom::{Any, Codec as Entry, Decode, DecodeMaybe, Encode, Moof, Saio, Saiz, Senc, Styp};

use crate::{
    Error,
    read::{self, Head},
};
use slice::Slices;

/// Bytes that the cipher takes at once.
pub const BLOCK_BYTES: u64 = 16;
/// Of ten blocks of a picture's slice the first is encrypted: what the standard recommends (10.4.2) and HLS demands.
const PATTERN_BLOCKS: u64 = 10;
/// Size and type of a box, and version and flags of one that has them.
const BOX_BYTES: usize = 8;
const FULL_BOX_BYTES: usize = 12;
/// What one subsample takes in `senc`, and its clear bytes at most.
const SUBSAMPLE_BYTES: usize = 6;
const CLEAR_BYTES_MAX: usize = u16::MAX as usize;

/// What a header tells of a track's encryption, to everyone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheme {
    /// The key's name.
    pub key_id: [u8; 16],
    /// Each protected range is a chain of its own that starts with this.
    pub iv: [u8; 16],
}

/// A segment whose samples are protected, but for the cipher itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protected {
    /// Stands in place of the plain segment's first bytes.
    pub head: Bytes,
    /// How many of the plain segment's bytes it replaces.
    pub replaces: u64,
    /// What is protected, by the place in the plain segment: in order, apart, within the samples.
    pub ranges: Vec<Range<u64>>,
    /// From one encrypted block to the next.
    step: u64,
}

impl Protected {
    /// Where the encrypted blocks of a range start, in the plain segment.
    pub fn blocks(&self, range: &Range<u64>) -> impl Iterator<Item = u64> + use<> {
        let end = range.end;
        (range.start..end).step_by(self.step as usize).take_while(move |at| at + BLOCK_BYTES <= end)
    }
}

/// The header of a protected track, made of the plain one.
///
/// # Errors
/// [`Error::Config`] if `plain` is no header, [`Error::Format`] if its codec is neither H.264 nor AAC.
pub fn header(plain: &[u8], scheme: &Scheme) -> Result<Bytes, Error> {
    let video = read::header(plain)?.video;
    let mut out = plain.to_vec();
    let (mut grow, mut within) = (Vec::new(), 0..plain.len());
    for kind in [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"] {
        let found = child(plain, within, *kind)?;
        grow.push(found.start);
        within = found.start + BOX_BYTES..found.end;
    }
    // `stsd` has version, flags and the number of its entries before the first.
    let first = within.start + FULL_BOX_BYTES - BOX_BYTES + 4;
    let (entry, format) = boxed(plain, first..within.end)?;
    grow.push(entry.start);
    let name = match &format {
        b"avc1" => *b"encv",
        b"mp4a" => *b"enca",
        other => return Err(Error::Format(format!("{} that is protected", other.escape_ascii()))),
    };
    out[entry.start + 4..entry.start + BOX_BYTES].copy_from_slice(&name);
    let sinf = sinf(format, video, scheme);
    for at in grow {
        let size = u32::from_be_bytes([out[at], out[at + 1], out[at + 2], out[at + 3]]) + sinf.len() as u32;
        out[at..at + 4].copy_from_slice(&size.to_be_bytes());
    }
    out.splice(entry.end..entry.end, sinf);
    Ok(out.into())
}

/// What becomes of a segment of the track that the plain `header` describes.
///
/// # Errors
/// [`Error::Config`] if one of them is broken, or a picture has more slices than `saiz` can count; [`Error::Format`] if
/// the codec is neither H.264 nor AAC.
pub fn segment(header: &[u8], plain: &[u8]) -> Result<Protected, Error> {
    let head = read::head(plain)?.ok_or_else(|| Error::config("segment", "it ends early"))?;
    let spans = spans(&head, plain)?;
    Ok(match entry(header)? {
        Entry::Avc1(avc1) => {
            let slices = Slices::new(&avc1.avcc)?;
            let mut ranges = Vec::new();
            let maps = spans.into_iter().map(|span| subsamples(&slices, plain, span, &mut ranges));
            let maps = maps.collect::<Result<Vec<_>, _>>()?;
            Protected {
                head: protected_head(plain, &maps)?,
                replaces: head.data_at,
                ranges,
                step: PATTERN_BLOCKS * BLOCK_BYTES,
            }
        }
        // Sound is encrypted whole, but for what does not fill a block (9.7): the header says all there is to say.
        Entry::Mp4a(_) => Protected {
            head: plain[..head.data_at as usize].to_vec().into(),
            replaces: head.data_at,
            ranges: spans.into_iter().map(|span| span.start as u64..span.end as u64).collect(),
            step: BLOCK_BYTES,
        },
        _ => return Err(Error::Format("a codec that can't be protected".into())),
    })
}

/// Where each sample lies.
fn spans(head: &Head, plain: &[u8]) -> Result<Vec<Range<usize>>, Error> {
    let mut at = head.data_at as usize;
    let samples = head.samples.iter().map(|sample| {
        let start = at;
        at += sample.bytes as usize;
        if at > plain.len() { Err(Error::config("segment", "it ends early")) } else { Ok(start..at) }
    });
    samples.collect()
}

/// The sample entry of a header's only track.
fn entry(header: &[u8]) -> Result<Entry, Error> {
    read::header(header)?;
    let mut rest = header;
    while let Some(found) = Any::decode_maybe(&mut rest).map_err(|error| Error::config("header", error))? {
        if let Any::Moov(moov) = found
            && let Some(entry) = moov.trak.first().and_then(|trak| trak.mdia.minf.stbl.stsd.codecs.first())
        {
            return Ok(entry.clone());
        }
    }
    Err(Error::config("header", "it has no sample entry"))
}

/// The protected ranges of one picture go to `ranges`; returned is what `senc` says of it: clear and protected bytes in
/// turn. Lengths, NAL headers, slice headers, and all that is no slice are clear (9.5.2.2, 10.4.2).
fn subsamples(
    slices: &Slices,
    plain: &[u8],
    sample: Range<usize>,
    ranges: &mut Vec<Range<u64>>,
) -> Result<Vec<u8>, Error> {
    let (mut map, mut count) = (Vec::new(), 0_u16);
    let mut put = |mut clear: usize, protected: usize| {
        while clear > CLEAR_BYTES_MAX {
            map.extend_from_slice(&[0xff, 0xff, 0, 0, 0, 0]);
            (clear, count) = (clear - CLEAR_BYTES_MAX, count + 1);
        }
        map.extend_from_slice(&(clear as u16).to_be_bytes());
        map.extend_from_slice(&(protected as u32).to_be_bytes());
        count += 1;
    };
    // Up to here all is told.
    let (mut told, mut at) = (sample.start, sample.start);
    while let Some((unit_at, unit)) = slices.unit(&plain[at..sample.end]).map(|(skip, unit)| (at + skip, unit)) {
        at = unit_at + unit.len();
        let start = unit_at + slices.clear_bytes(unit);
        if start + BLOCK_BYTES as usize <= at {
            put(start - told, at - start);
            ranges.push(start as u64..at as u64);
            told = at;
        }
    }
    if told < sample.end {
        put(sample.end - told, 0);
    }
    let size = 2 + map.len();
    if size > usize::from(u8::MAX) {
        let message = format!("{count} subsamples of a picture are more than saiz can tell of");
        return Err(Error::config("senc", message));
    }
    debug_assert_eq!(usize::from(count) * SUBSAMPLE_BYTES, map.len());
    Ok([&count.to_be_bytes()[..], &map].concat())
}

/// The segment's boxes before its samples, with `senc`, `saiz` and `saio`.
fn protected_head(plain: &[u8], maps: &[Vec<u8>]) -> Result<Bytes, Error> {
    let broken = |error| Error::config("segment", error);
    let mut rest = plain;
    let styp = Styp::decode(&mut rest).map_err(broken)?;
    let before = rest.len();
    let mut moof = Moof::decode(&mut rest).map_err(broken)?;
    let was = before - rest.len();
    let traf = moof.traf.first_mut().ok_or_else(|| Error::config("segment", "it has no track"))?;
    let count = u32::try_from(maps.len()).map_err(|_| Error::config("segment", "it has too many samples"))?;
    traf.senc = Some(Senc {
        use_subsamples: true,
        data: [&count.to_be_bytes()[..], &maps.concat()].concat(),
        ..Senc::default()
    });
    traf.saiz = vec![Saiz {
        sample_count: count,
        sample_info_size: maps.iter().map(|map| map.len() as u8).collect(),
        ..Saiz::default()
    }];
    traf.saio = vec![Saio { offsets: vec![0], ..Saio::default() }];
    let encoded = |moof: &Moof| {
        let mut out = Vec::new();
        moof.encode(&mut out).map(|()| out).map_err(broken)
    };
    // Places in the box depend on nothing but its own size, which they do not change.
    let sized = encoded(&moof)?;
    let traf_at = child(&sized, BOX_BYTES..sized.len(), *b"traf")?;
    let senc_at = child(&sized, traf_at.start + BOX_BYTES..traf_at.end, *b"senc")?;
    let traf = &mut moof.traf[0];
    // The first sample's entry, behind the number of samples.
    traf.saio[0].offsets[0] = (senc_at.start + FULL_BOX_BYTES + 4) as u64;
    for run in &mut traf.trun {
        run.data_offset = run.data_offset.map(|offset| offset + (sized.len() - was) as i32);
    }
    let mut out = Vec::new();
    styp.encode(&mut out).map_err(broken)?;
    out.extend(encoded(&moof)?);
    // Size and type of the `mdat` stay.
    out.extend_from_slice(rest.get(..BOX_BYTES).ok_or_else(|| Error::config("segment", "it ends early"))?);
    Ok(out.into())
}

/// `sinf`: what the samples would be, by which scheme they are encrypted, and how (8.1, 8.2).
fn sinf(format: [u8; 4], video: bool, scheme: &Scheme) -> Vec<u8> {
    let pattern = if video { 1 << 4 | (PATTERN_BLOCKS - 1) as u8 } else { 0 };
    // Version 1; protected by default, no IV of its own for each sample.
    let mut tenc = vec![1, 0, 0, 0, 0, pattern, 1, 0];
    tenc.extend_from_slice(&scheme.key_id);
    tenc.push(scheme.iv.len() as u8);
    tenc.extend_from_slice(&scheme.iv);
    // Version 1.0 of the scheme.
    let schm = [&[0; 4][..], b"cbcs", &[0, 1, 0, 0]].concat();
    let schi = with_head(*b"tenc", &tenc);
    let inner = [with_head(*b"frma", &format), with_head(*b"schm", &schm), with_head(*b"schi", &schi)].concat();
    with_head(*b"sinf", &inner)
}

fn with_head(kind: [u8; 4], body: &[u8]) -> Vec<u8> {
    [&((BOX_BYTES + body.len()) as u32).to_be_bytes()[..], &kind, body].concat()
}

/// The first box in `within`, and its type.
fn boxed(bytes: &[u8], within: Range<usize>) -> Result<(Range<usize>, [u8; 4]), Error> {
    let broken = || Error::config("header", "a box ends early");
    let head = bytes.get(within.start..within.start + BOX_BYTES).ok_or_else(broken)?;
    let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let end = within.start + size;
    if size < BOX_BYTES || end > within.end {
        Err(broken())
    } else {
        Ok((within.start..end, [head[4], head[5], head[6], head[7]]))
    }
}

/// The first box of this type in `within`, a run of boxes.
fn child(bytes: &[u8], mut within: Range<usize>, kind: [u8; 4]) -> Result<Range<usize>, Error> {
    while !within.is_empty() {
        let (found, its) = boxed(bytes, within.clone())?;
        if its == kind {
            return Ok(found);
        }
        within.start = found.end;
    }
    Err(Error::config("header", format!("there is no {}", kind.escape_ascii())))
}
