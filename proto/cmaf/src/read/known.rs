//! Only boxes that this crate writes get to the box parser, which knows many more: among those are some whose entries
//! take no bytes, so that a count of four thousand million of them stands in forty bytes and fills the memory.

use bytes::Buf;

use crate::Error;

const HEADER_BYTES: usize = 8;
/// `moov`, `trak`, `mdia`, `minf`, `stbl`, `stsd`, the sample entry.
const CONTAINERS_DEEP_MAX: usize = 7;

/// Boxes of boxes, and what stands before those: version and flags, and a count.
const CONTAINERS: [(&[u8; 4], usize); 11] = [
    (b"moov", 0),
    (b"trak", 0),
    (b"mdia", 0),
    (b"minf", 0),
    (b"dinf", 0),
    (b"dref", 8),
    (b"stbl", 0),
    (b"stsd", 8),
    (b"mvex", 0),
    (b"moof", 0),
    (b"traf", 0),
];
/// Fields of a sample entry before its boxes (ISO/IEC 14496-12, 12.2.3): of `mp4a`, and of pictures, whatever their name.
const SOUND: (&[u8; 4], usize) = (b"mp4a", 28);
const PICTURES_BYTES: usize = 78;
/// All others.
const LEAVES: [&[u8; 4]; 25] = [
    b"ftyp", b"styp", b"mvhd", b"tkhd", b"mdhd", b"hdlr", b"vmhd", b"smhd", b"url ", b"stts", b"stsc", b"stsz",
    b"stco", b"trex", b"mfhd", b"tfhd", b"tfdt", b"trun", b"mdat", b"avcC", b"hvcC", b"av1C", b"vpcC", b"esds",
    b"pasp",
];

/// Looks at the first box of `bytes`, if it is there whole, and at all in it.
///
/// # Errors
/// [`Error::Config`] if one is of another kind, is longer than what it stands in, or does not say its length in 32 bits.
pub(super) fn only(what: &'static str, bytes: &[u8]) -> Result<(), Error> {
    let Some((size, _)) = header(bytes) else { return Ok(()) };
    if size > bytes.len() { Ok(()) } else { look(what, &bytes[..size.max(HEADER_BYTES)], *b"file", 0) }
}

/// Looks at boxes that have to fill `bytes`, so deep in others, the last of which is a `within`.
fn look(what: &'static str, mut bytes: &[u8], within: [u8; 4], deep: usize) -> Result<(), Error> {
    while !bytes.is_empty() {
        let (size, kind) = header(bytes).ok_or_else(|| Error::config(what, "a box ends early"))?;
        if size < HEADER_BYTES || size > bytes.len() {
            return Err(Error::config(what, "a box has a wrong length"));
        }
        let before = match CONTAINERS.iter().find(|(name, _)| **name == kind) {
            _ if within == *b"stsd" && kind == *SOUND.0 => Some(SOUND.1),
            _ if within == *b"stsd" => Some(PICTURES_BYTES),
            Some((_, before)) => Some(*before),
            None => None,
        };
        if let Some(before) = before.filter(|_| deep < CONTAINERS_DEEP_MAX) {
            let inner = bytes[HEADER_BYTES..size].get(before..);
            look(what, inner.ok_or_else(|| Error::config(what, "a box ends early"))?, kind, deep + 1)?;
        } else if !LEAVES.contains(&&kind) {
            return Err(Error::config(what, format!("a box '{}' does not belong there", kind.escape_ascii())));
        }
        bytes = &bytes[size..];
    }
    Ok(())
}

fn header(mut bytes: &[u8]) -> Option<(usize, [u8; 4])> {
    let size = bytes.try_get_u32().ok()?;
    let kind = bytes.first_chunk()?;
    Some((usize::try_from(size).ok()?, *kind))
}
