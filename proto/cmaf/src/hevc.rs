//! HEVC configurations, made from parameter sets (transport streams carry nothing else).

use bytes::Bytes;
use mp4_atom::{Atom, HvcCArray, Hvcc};

use crate::{Error, Video, bits::Bits, entry, nal};

/// NAL unit types (ISO/IEC 23008-2, table 7-1).
const IDR_W_RADL: u8 = 19;
const IDR_N_LP: u8 = 20;
const VPS: u8 = 32;
const SPS: u8 = 33;
const PPS: u8 = 34;
/// Coded slices (the same): all types below are; and those of pictures that decoding can start at.
const SLICE_MAX: u8 = 31;
const STARTS: std::ops::RangeInclusive<u8> = 16..=21;

/// Makes an `HEVCDecoderConfigurationRecord` with 4-byte lengths from the parameter sets among `units`, each
/// once.
pub fn config<'a>(units: impl IntoIterator<Item = &'a [u8]>) -> Result<Bytes, Error> {
    let mut arrays =
        [VPS, SPS, PPS].map(|nal_unit_type| HvcCArray { completeness: true, nal_unit_type, nalus: Vec::new() });
    for unit in units {
        let kind = kind(unit);
        let array = arrays.iter_mut().find(|array| Some(array.nal_unit_type) == kind);
        if let Some(array) = array.filter(|array| !array.nalus.iter().any(|other| other == unit)) {
            array.nalus.push(unit.to_vec());
        }
    }
    if let Some(missing) = arrays.iter().find(|array| array.nalus.is_empty()) {
        return Err(Error::config("hvcC", format!("no NAL unit of type {} was found", missing.nal_unit_type)));
    }
    let record = Hvcc { arrays: arrays.to_vec(), ..described(&arrays[1].nalus[0])?.0 };
    let mut out = Vec::new();
    record.encode_body(&mut out).map_err(|error| Error::config("hvcC", error))?;
    Ok(out.into())
}

/// Whether `sample` (with 4-byte lengths) holds a slice of an IDR picture: decoding can start here.
pub fn is_idr(sample: &[u8]) -> bool {
    nal::prefixed(sample, 4).any(|unit| matches!(kind(unit), Some(IDR_W_RADL | IDR_N_LP)))
}

/// The picture that an `HEVCDecoderConfigurationRecord` describes: cropped size of its first sequence parameter
/// set, square pixels, rotation 0.
pub fn picture(config: &[u8]) -> Result<Video, Error> {
    let hvcc = entry::hvcc(config)?;
    let sps = hvcc.arrays.iter().find(|array| array.nal_unit_type == SPS).and_then(|array| array.nalus.first());
    let sps = sps.ok_or_else(|| Error::config("hvcC", "it holds no SPS"))?;
    let (_, (width, height)) = described(sps)?;
    Ok(Video { width, height, pixel_aspect: (1, 1), rotation_deg: 0 })
}

/// Bytes of the lengths in samples that go with `config`, 1 to 4.
pub fn length_bytes(config: &[u8]) -> Result<usize, Error> {
    Ok(usize::from(entry::hvcc(config)?.length_size_minus_one & 3) + 1)
}

/// Whether `unit` is a slice of a picture, and if so whether decoding can start at that picture.
pub fn slice(unit: &[u8]) -> Option<bool> {
    kind(unit).filter(|kind| *kind <= SLICE_MAX).map(|kind| STARTS.contains(&kind))
}

/// Whether `unit` is a parameter set.
pub fn is_parameter_set(unit: &[u8]) -> bool {
    matches!(kind(unit), Some(VPS | SPS | PPS))
}

fn kind(unit: &[u8]) -> Option<u8> {
    unit.first().map(|header| header >> 1 & 0x3f)
}

/// The record's fields that a sequence parameter set tells (ISO/IEC 23008-2, 7.3.2.2 and 7.3.3), and its picture's
/// cropped width and height.
fn described(sps: &[u8]) -> Result<(Hvcc, (u32, u32)), Error> {
    let payload = nal::unescaped(sps.get(2..).unwrap_or_default());
    read(&mut Bits::new(&payload)).ok_or_else(|| Error::config("SPS", "it ends early"))
}

fn read(bits: &mut Bits) -> Option<(Hvcc, (u32, u32))> {
    bits.take(4)?;
    let sub_layers = bits.take(3)? + 1;
    let temporal_id_nested = bits.take(1)? == 1;
    let mut record = Hvcc {
        general_profile_space: bits.take(2)? as u8,
        general_tier_flag: bits.take(1)? == 1,
        general_profile_idc: bits.take(5)? as u8,
        general_profile_compatibility_flags: bits.take(32)?.to_be_bytes(),
        num_temporal_layers: sub_layers as u8,
        temporal_id_nested,
        length_size_minus_one: 3,
        ..Hvcc::new()
    };
    for flags in &mut record.general_constraint_indicator_flags {
        *flags = bits.take(8)? as u8;
    }
    record.general_level_idc = bits.take(8)? as u8;
    skip_sub_layers(bits, sub_layers - 1)?;
    bits.golomb()?;
    record.chroma_format_idc = bits.golomb()? as u8;
    if record.chroma_format_idc == 3 {
        bits.take(1)?;
    }
    let (mut width, mut height) = (bits.golomb()?, bits.golomb()?);
    if bits.take(1)? == 1 {
        // In units of chroma samples (the same, table 6-1).
        let (wide, high) = match record.chroma_format_idc {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        let [left, right, top, bottom] = [bits.golomb()?, bits.golomb()?, bits.golomb()?, bits.golomb()?];
        width = width.checked_sub(left.checked_add(right)?.checked_mul(wide)?)?;
        height = height.checked_sub(top.checked_add(bottom)?.checked_mul(high)?)?;
    }
    record.bit_depth_luma_minus8 = bits.golomb()? as u8;
    record.bit_depth_chroma_minus8 = bits.golomb()? as u8;
    Some((record, (width, height)))
}

fn skip_sub_layers(bits: &mut Bits, count: u32) -> Option<()> {
    let present = (0..count).map(|_| Some((bits.take(1)?, bits.take(1)?))).collect::<Option<Vec<_>>>()?;
    if count > 0 {
        bits.take(2 * (8 - count))?;
    }
    for (profile, level) in present {
        bits.skip((profile * 88 + level * 8) as usize);
    }
    Some(())
}
