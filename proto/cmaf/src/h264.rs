//! H.264 configurations: made from parameter sets, and read for the picture they describe.

use bytes::Bytes;
use h264_reader::nal::{Nal, RefNal, sps::SeqParameterSet};
use mp4_atom::{Atom, Avcc, AvccExt};

use crate::{Error, Video, entry, nal};

/// NAL unit types (ISO/IEC 14496-10, table 7-1).
const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;

/// The picture that an `AVCDecoderConfigurationRecord` describes: cropped size and pixel aspect ratio of its
/// first sequence parameter set; rotation 0.
pub fn picture(config: &[u8]) -> Result<Video, Error> {
    let avcc = entry::avcc(config)?;
    let sps = sps(&avcc.sequence_parameter_sets[0])?;
    let (width, height) = sps.pixel_dimensions().map_err(|error| Error::config("SPS", format!("{error:?}")))?;
    let aspect = sps.vui_parameters.and_then(|vui| vui.aspect_ratio_info).and_then(|info| info.get());
    let pixel_aspect = aspect.map_or((1, 1), |(num, den)| (num.into(), den.into()));
    Ok(Video { width, height, pixel_aspect, rotation_deg: 0 })
}

/// Makes an `AVCDecoderConfigurationRecord` with 4-byte lengths from the parameter sets among `units`, in the
/// order they come, each once.
pub fn config<'a>(units: impl IntoIterator<Item = &'a [u8]>) -> Result<Bytes, Error> {
    let (mut spss, mut ppss) = (Vec::new(), Vec::new());
    for unit in units {
        let known: &mut Vec<Vec<u8>> = match kind(unit) {
            Some(SPS) => &mut spss,
            Some(PPS) => &mut ppss,
            _ => continue,
        };
        if !known.iter().any(|other| other == unit) {
            known.push(unit.to_vec());
        }
    }
    // The record counts them in 5 and 8 bits.
    if !(1..32).contains(&spss.len()) || !(1..256).contains(&ppss.len()) {
        return Err(Error::config("avcC", format!("{} SPS and {} PPS were found", spss.len(), ppss.len())));
    }
    let first = sps(&spss[0])?;
    let record = Avcc {
        configuration_version: 1,
        avc_profile_indication: spss[0][1],
        profile_compatibility: spss[0][2],
        avc_level_indication: spss[0][3],
        length_size: 4,
        // Written for the profiles that ISO/IEC 14496-15, 5.3.3.1.2 names.
        ext: matches!(spss[0][1], 100 | 110 | 122 | 144).then(|| AvccExt {
            chroma_format: first.chroma_info.chroma_format.to_u32() as u8,
            bit_depth_luma: 8 + first.chroma_info.bit_depth_luma_minus8,
            bit_depth_chroma: 8 + first.chroma_info.bit_depth_chroma_minus8,
            sequence_parameter_sets_ext: Vec::new(),
        }),
        sequence_parameter_sets: spss,
        picture_parameter_sets: ppss,
    };
    let mut out = Vec::new();
    record.encode_body(&mut out).map_err(|error| Error::config("avcC", error))?;
    Ok(out.into())
}

/// Bytes of each length in samples that go with `config`, 1 to 4.
pub fn length_bytes(config: &[u8]) -> Result<usize, Error> {
    Ok(entry::avcc(config)?.length_size.into())
}

/// Whether `sample` (with 4-byte lengths) holds a slice of an IDR picture: decoding can start here.
pub fn is_idr(sample: &[u8]) -> bool {
    nal::prefixed(sample, 4).any(|unit| kind(unit) == Some(IDR))
}

/// Whether `unit` is a parameter set.
pub fn is_parameter_set(unit: &[u8]) -> bool {
    matches!(kind(unit), Some(SPS | PPS))
}

fn kind(unit: &[u8]) -> Option<u8> {
    unit.first().map(|header| header & 0x1f)
}

fn sps(unit: &[u8]) -> Result<SeqParameterSet, Error> {
    let broken = |message: String| Error::config("SPS", message);
    if unit.len() < 4 || kind(unit) != Some(SPS) {
        return Err(broken("it is no sequence parameter set".into()));
    }
    SeqParameterSet::from_bits(RefNal::new(unit, &[], true).rbsp_bits()).map_err(|error| broken(format!("{error:?}")))
}
