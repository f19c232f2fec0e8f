//! Sample entries: what `stsd` says about a track.

use mp4_atom::{
    Atom, Av01, Av1c, Avc1, Avcc, Codec as Entry, Esds, FixedPoint, Hvc1, Hvcc, Jpeg, Mp4a, Pasp, Visual, Vp08, Vp09,
    VpcC,
    esds::{DecoderConfig, DecoderSpecific, EsDescriptor, SLConfig},
};

use crate::{Audio, Codec, Error, Track, Video, aac};

/// MPEG-4 Audio (ISO/IEC 14496-1, 7.2.6.6.2, table 5).
const OBJECT_TYPE_AAC: u8 = 0x40;
/// Audio stream (the same, table 6).
const STREAM_TYPE_AUDIO: u8 = 0x05;

/// The entry that describes `track`, but for the name of one of [`Codec::InBand`]: see [`set_name`].
pub(crate) fn sample_entry(track: &Track) -> Result<Entry, Error> {
    let pasp = track.video().and_then(|video| pixel_aspect(&video));
    Ok(match &track.codec {
        Codec::H264 { video, config } => {
            Avc1 { visual: visual(video)?, avcc: avcc(config)?, pasp, ..Avc1::default() }.into()
        }
        Codec::Hevc { video, config } => {
            Hvc1 { visual: visual(video)?, hvcc: hvcc(config)?, pasp, ..Hvc1::default() }.into()
        }
        Codec::Av1 { video, config } => {
            Av01 { visual: visual(video)?, av1c: av1c(config)?, pasp, ..Av01::default() }.into()
        }
        Codec::Vp8 { video } => {
            Vp08 { visual: visual(video)?, vpcc: vpcc(&[], video)?, pasp, ..Vp08::default() }.into()
        }
        Codec::Vp9 { video, config } => {
            Vp09 { visual: visual(video)?, vpcc: vpcc(config, video)?, pasp, ..Vp09::default() }.into()
        }
        Codec::InBand { video, .. } => Jpeg { visual: visual(video)?, pasp, ..Jpeg::default() }.into(),
        Codec::Aac { audio, config } => mp4a(*audio, config)?.into(),
    })
}

/// Gives the only sample entry in `moov` its name. The box library has no entry without a configuration but
/// `jpeg`, which is the same but for its name.
pub(crate) fn set_name(moov: &mut [u8], codec: &Codec) {
    if let Codec::InBand { entry, .. } = codec
        && let Some(at) = memchr::memmem::find(moov, b"jpeg")
    {
        moov[at..at + 4].copy_from_slice(entry);
    }
}

fn visual(video: &Video) -> Result<Visual, Error> {
    let size = |px: u32| u16::try_from(px).ok().filter(|px| *px > 0);
    match (size(video.width), size(video.height)) {
        (Some(width), Some(height)) => Ok(Visual { data_reference_index: 1, width, height, ..Visual::default() }),
        _ => Err(Error::Format(format!("{}x{} pixels", video.width, video.height))),
    }
}

fn pixel_aspect(video: &Video) -> Option<Pasp> {
    let (h_spacing, v_spacing) = video.pixel_aspect;
    (h_spacing > 0 && v_spacing > 0 && h_spacing != v_spacing).then_some(Pasp { h_spacing, v_spacing })
}

pub(crate) fn avcc(config: &[u8]) -> Result<Avcc, Error> {
    let avcc = Avcc::decode_body(&mut &*config).map_err(|error| Error::config("avcC", error))?;
    if avcc.sequence_parameter_sets.is_empty() || avcc.picture_parameter_sets.is_empty() {
        return Err(Error::config("avcC", "it holds no parameter sets"));
    }
    Ok(avcc)
}

pub(crate) fn hvcc(config: &[u8]) -> Result<Hvcc, Error> {
    Hvcc::decode_body(&mut &*config).map_err(|error| Error::config("hvcC", error))
}

pub(crate) fn av1c(config: &[u8]) -> Result<Av1c, Error> {
    Av1c::decode_body(&mut &*config).map_err(|error| Error::config("av1C", error))
}

/// Reads the payload of a `vpcC` after its version and flags (VP Codec ISO Media File Format Binding), or
/// makes one for 8-bit 4:2:0 if `config` is empty.
pub(crate) fn vpcc(config: &[u8], video: &Video) -> Result<VpcC, Error> {
    match *config {
        [] => Ok(VpcC { level: vp9_level(video), ..VpcC::default() }),
        [profile, level, depth, primaries, transfer, matrix, _, _, ..] => Ok(VpcC {
            profile,
            level: if level == 0 { vp9_level(video) } else { level },
            bit_depth: depth >> 4,
            chroma_subsampling: depth >> 1 & 7,
            video_full_range_flag: depth & 1 == 1,
            color_primaries: primaries,
            transfer_characteristics: transfer,
            matrix_coefficients: matrix,
            codec_initialization_data: Vec::new(),
        }),
        _ => Err(Error::config("vpcC", "it is shorter than 8 bytes")),
    }
}

/// The lowest level whose largest picture holds this one ("VP9 Levels", webmproject.org).
fn vp9_level(video: &Video) -> u8 {
    const LUMA_PX_MAX: [(u64, u8); 9] = [
        (36_864, 10),
        (73_728, 11),
        (122_880, 20),
        (245_760, 21),
        (552_960, 30),
        (983_040, 31),
        (2_228_224, 40),
        (8_912_896, 50),
        (35_651_584, 60),
    ];
    let px = u64::from(video.width) * u64::from(video.height);
    LUMA_PX_MAX.iter().find(|(most, _)| px <= *most).map_or(62, |(_, level)| *level)
}

fn mp4a(audio: Audio, config: &[u8]) -> Result<Mp4a, Error> {
    aac::audio(config)?;
    Ok(Mp4a {
        audio: mp4_atom::Audio {
            data_reference_index: 1,
            channel_count: audio.channels,
            sample_size: 16,
            // The field is 16.16; rates above it are told by the AudioSpecificConfig alone.
            sample_rate: FixedPoint::new(u16::try_from(audio.sample_rate).unwrap_or(0), 0),
        },
        esds: Esds {
            es_desc: EsDescriptor {
                es_id: 1,
                dec_config: DecoderConfig {
                    object_type_indication: OBJECT_TYPE_AAC,
                    stream_type: STREAM_TYPE_AUDIO,
                    dec_specific: Some(DecoderSpecific { raw: config.to_vec(), ..DecoderSpecific::default() }),
                    ..DecoderConfig::default()
                },
                sl_config: SLConfig {},
                ..EsDescriptor::default()
            },
        },
        btrt: None,
        taic: None,
    })
}
