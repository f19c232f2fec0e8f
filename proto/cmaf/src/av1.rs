//! AV1 configurations, made from what an encoder says first (AV1 Bitstream & Decoding Process Specification), and its
//! frames as MP4 keeps them (AV1 Codec ISO Media File Format Binding).

use bytes::{BufMut, Bytes, BytesMut};
use mp4_atom::{Atom, Av1c};

use crate::{Error, Video, bits::Bits};

/// OBU types (the specification, 6.2.2).
const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const PADDING: u8 = 15;

/// Bytes of a record before its OBUs (the binding, 2.3.3).
const RECORD_BYTES: usize = 4;

/// Makes an `AV1CodecConfigurationRecord` from the sequence header among `obus`.
///
/// # Errors
/// [`Error::Config`] if there is none, or it breaks off.
pub fn config(obus: &[u8]) -> Result<Bytes, Error> {
    let missing = || Error::config("av1C", "no sequence header was found");
    let header = units(obus).find(|unit| unit.kind == SEQUENCE_HEADER).ok_or_else(missing)?;
    let read = sequence_header(&mut Bits::new(header.payload));
    let (mut record, _) = read.ok_or_else(|| Error::config("sequence header", "it ends early"))?;
    record.config_obus = sized(&header).to_vec();
    let mut out = Vec::new();
    record.encode_body(&mut out).map_err(|error| Error::config("av1C", error))?;
    Ok(out.into())
}

/// The picture that an `AV1CodecConfigurationRecord` describes: the largest size of its sequence header, square pixels,
/// rotation 0.
///
/// # Errors
/// [`Error::Config`] if it holds no sequence header, or one that breaks off.
pub fn picture(config: &[u8]) -> Result<Video, Error> {
    let header = units(config.get(RECORD_BYTES..).unwrap_or_default()).find(|unit| unit.kind == SEQUENCE_HEADER);
    let header = header.ok_or_else(|| Error::config("av1C", "it holds no sequence header"))?;
    let read = sequence_header(&mut Bits::new(header.payload));
    let (_, (width, height)) = read.ok_or_else(|| Error::config("sequence header", "it ends early"))?;
    Ok(Video { width, height, pixel_aspect: (1, 1), rotation_deg: 0 })
}

/// A temporal unit as MP4 keeps it: every OBU with its size, without temporal delimiters and padding (the binding,
/// 2.4).
pub fn sample(unit: &[u8]) -> Bytes {
    let mut kept = BytesMut::with_capacity(unit.len());
    for unit in units(unit).filter(|unit| !matches!(unit.kind, TEMPORAL_DELIMITER | PADDING)) {
        kept.put_slice(&sized(&unit));
    }
    kept.freeze()
}

/// One open bitstream unit.
struct Unit<'a> {
    kind: u8,
    /// The header without its size flag, and its extension.
    header: &'a [u8],
    payload: &'a [u8],
}

/// The OBUs of `bytes` (the specification, 5.3); ends where one points beyond them.
fn units(bytes: &[u8]) -> impl Iterator<Item = Unit<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let first = *rest.first()?;
        let header_bytes = if first & 4 != 0 { 2 } else { 1 };
        let (header, body) = rest.split_at_checked(header_bytes)?;
        let (length, body) = if first & 2 != 0 { leb128(body)? } else { (body.len(), body) };
        let (payload, after) = body.split_at_checked(length)?;
        rest = after;
        Some(Unit { kind: first >> 3 & 15, header, payload })
    })
}

/// An OBU with its size.
fn sized(unit: &Unit) -> Bytes {
    let mut out = BytesMut::with_capacity(unit.payload.len() + 8);
    out.put_u8(unit.header[0] | 2);
    out.put_slice(&unit.header[1..]);
    let mut length = unit.payload.len();
    while length > 0x7f {
        out.put_u8(0x80 | (length & 0x7f) as u8);
        length >>= 7;
    }
    out.put_u8(length as u8);
    out.put_slice(unit.payload);
    out.freeze()
}

/// A little-endian number of 7-bit groups, and what is behind it (the specification, 4.10.5).
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0u64;
    for (at, byte) in bytes.iter().enumerate().take(8) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, &bytes[at + 1..]));
        }
    }
    None
}

/// The record's fields that a sequence header tells, and the largest width and height (the specification, 5.5).
fn sequence_header(bits: &mut Bits) -> Option<(Av1c, (u32, u32))> {
    let mut record = Av1c { seq_profile: bits.take(3)? as u8, ..Av1c::default() };
    bits.take(1)?;
    let is_reduced = bits.take(1)? == 1;
    if is_reduced {
        record.seq_level_idx_0 = bits.take(5)? as u8;
    } else {
        (record.seq_level_idx_0, record.seq_tier_0) = operating_points(bits)?;
    }
    let (width_bits, height_bits) = (bits.take(4)? + 1, bits.take(4)? + 1);
    let size = (bits.take(width_bits)? + 1, bits.take(height_bits)? + 1);
    if !is_reduced && bits.take(1)? == 1 {
        bits.take(7)?;
    }
    bits.take(3)?;
    if !is_reduced {
        tools(bits)?;
    }
    bits.take(3)?;
    colours(bits, &mut record)?;
    Some((record, size))
}

/// Level and tier of the first operating point.
fn operating_points(bits: &mut Bits) -> Option<(u8, bool)> {
    let mut delay_bits = None;
    if bits.take(1)? == 1 {
        bits.take(32)?;
        bits.take(32)?;
        if bits.take(1)? == 1 {
            bits.golomb()?;
        }
        if bits.take(1)? == 1 {
            delay_bits = Some(bits.take(5)? + 1);
            bits.take(32)?;
            bits.take(10)?;
        }
    }
    let tells_display_delay = bits.take(1)? == 1;
    let mut first = None;
    for _ in 0..=bits.take(5)? {
        bits.take(12)?;
        let level = bits.take(5)? as u8;
        let tier = level > 7 && bits.take(1)? == 1;
        if let Some(delay_bits) = delay_bits
            && bits.take(1)? == 1
        {
            bits.take(delay_bits)?;
            bits.take(delay_bits)?;
            bits.take(1)?;
        }
        if tells_display_delay && bits.take(1)? == 1 {
            bits.take(4)?;
        }
        first.get_or_insert((level, tier));
    }
    first
}

/// Passes over what says which coding tools are used.
fn tools(bits: &mut Bits) -> Option<()> {
    bits.take(4)?;
    let has_order = bits.take(1)? == 1;
    if has_order {
        bits.take(2)?;
    }
    let screen_content = if bits.take(1)? == 1 { 2 } else { bits.take(1)? };
    if screen_content > 0 && bits.take(1)? == 0 {
        bits.take(1)?;
    }
    if has_order {
        bits.take(3)?;
    }
    Some(())
}

fn colours(bits: &mut Bits, record: &mut Av1c) -> Option<()> {
    /// BT.709, sRGB, identity: what RGB is told as (the specification, 6.4.2).
    const RGB: (u32, u32, u32) = (1, 13, 0);
    record.high_bitdepth = bits.take(1)? == 1;
    record.twelve_bit = record.seq_profile == 2 && record.high_bitdepth && bits.take(1)? == 1;
    record.monochrome = record.seq_profile != 1 && bits.take(1)? == 1;
    let told = if bits.take(1)? == 1 { (bits.take(8)?, bits.take(8)?, bits.take(8)?) } else { (2, 2, 2) };
    if !record.monochrome && told == RGB {
        return Some(());
    }
    bits.take(1)?;
    (record.chroma_subsampling_x, record.chroma_subsampling_y) = match record.seq_profile {
        _ if record.monochrome => (true, true),
        0 => (true, true),
        1 => (false, false),
        _ if record.twelve_bit => {
            let across = bits.take(1)? == 1;
            (across, across && bits.take(1)? == 1)
        }
        _ => (true, false),
    };
    if !record.monochrome && record.chroma_subsampling_x && record.chroma_subsampling_y {
        record.chroma_sample_position = bits.take(2)? as u8;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_written_and_delimiters_left_out() {
        // A delimiter, a frame without a size (it goes to the end).
        let unit = [0x12, 0, 0x30, 1, 2, 3];
        assert_eq!(&sample(&unit)[..], [0x32, 3, 1, 2, 3]);
        // A frame of 200 bytes keeps the two bytes of its size.
        let long = [&[0x32, 0xc8, 0x01][..], &[7; 200]].concat();
        assert_eq!(sample(&long), long);
        assert!(sample(&[0x32, 9, 1]).is_empty(), "a size beyond the end");
    }

    #[test]
    fn no_header_and_half_a_header_are_refused() {
        assert!(config(&[]).is_err());
        assert!(config(&[0x12, 0]).is_err());
        assert!(config(&[0x0a, 2, 0, 0]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = (config(&bytes), picture(&bytes));
            let kept = sample(&bytes);
            prop_assert_eq!(sample(&kept), kept, "what is kept is kept again");
        }
    }
}
