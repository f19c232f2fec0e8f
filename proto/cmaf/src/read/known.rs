//! Only boxes that this crate writes get to the box parser, which knows many more: among those are some whose entries
//! take no bytes, so that a count of four thousand million of them stands in forty bytes and fills the memory.

use bytes::Buf;

use crate::Error;

const HEADER_BYTES: usize = 8;
/// `moov`, `trak`, `mdia`, `minf`, `stbl`.
const CONTAINERS_DEEP_MAX: usize = 5;

/// Boxes of boxes.
const CONTAINERS: [&[u8; 4]; 8] = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"mvex", b"moof", b"traf"];
/// All others. What stands in `stsd` is as long as it says: each entry has a header of its own.
const LEAVES: [&[u8; 4]; 20] = [
    b"ftyp", b"styp", b"mvhd", b"tkhd", b"mdhd", b"hdlr", b"vmhd", b"smhd", b"dinf", b"stsd", b"stts", b"stsc",
    b"stsz", b"stco", b"trex", b"mfhd", b"tfhd", b"tfdt", b"trun", b"mdat",
];

/// Looks at the first box of `bytes`, if it is there whole, and at all in it.
///
/// # Errors
/// [`Error::Config`] if one is of another kind, is longer than what it stands in, or does not say its length in 32 bits.
pub(super) fn only(what: &'static str, bytes: &[u8]) -> Result<(), Error> {
    let Some((size, _)) = header(bytes) else { return Ok(()) };
    if size > bytes.len() { Ok(()) } else { look(what, &bytes[..size.max(HEADER_BYTES)], 0) }
}

/// Looks at boxes that have to fill `bytes`, so deep in others.
fn look(what: &'static str, mut bytes: &[u8], deep: usize) -> Result<(), Error> {
    while !bytes.is_empty() {
        let (size, kind) = header(bytes).ok_or_else(|| Error::config(what, "a box ends early"))?;
        if size < HEADER_BYTES || size > bytes.len() {
            return Err(Error::config(what, "a box has a wrong length"));
        }
        if CONTAINERS.contains(&&kind) && deep < CONTAINERS_DEEP_MAX {
            look(what, &bytes[HEADER_BYTES..size], deep + 1)?;
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
