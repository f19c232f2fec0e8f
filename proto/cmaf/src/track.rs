//! Tracks: what a decoder must know before the first sample.

use std::fmt::Write as _;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Error, aac, entry};

/// One video or audio track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// Ticks per second of all its times. At least 1.
    pub timescale: u32,
    /// What a decoder needs to know.
    pub codec: Codec,
}

/// What a decoder needs to know of a track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each variant says what its fields are")]
pub enum Codec {
    /// H.264; `config` is an `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15, 5.3.3.1).
    H264 { video: Video, config: Bytes },
    /// HEVC; `config` is an `HEVCDecoderConfigurationRecord` (ISO/IEC 14496-15, 8.3.3.1).
    Hevc { video: Video, config: Bytes },
    /// AV1; `config` is an `AV1CodecConfigurationRecord` (AV1 in ISOBMFF, 2.3.3).
    Av1 { video: Video, config: Bytes },
    /// VP8.
    Vp8 { video: Video },
    /// VP9, profile 0 8-bit 4:2:0 unless the record says otherwise; `config` is the payload of `vpcC` after
    /// its version and flags, empty if the source has none.
    Vp9 { video: Video, config: Bytes },
    /// Video whose samples tell decoders all by themselves; `entry` is the name of its sample entry: `m2v1` for
    /// MPEG-2, `apcn` and its kin for ProRes (QuickTime file format, "Video sample description"). Decoders read it;
    /// players don't.
    InBand { video: Video, entry: [u8; 4] },
    /// AAC; `config` is an `AudioSpecificConfig` (ISO/IEC 14496-3, 1.6.2.1).
    Aac { audio: Audio, config: Bytes },
}

/// A video track's picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Video {
    /// Coded width in pixels.
    pub width: u32,
    /// Coded height in pixels.
    pub height: u32,
    /// Pixel aspect ratio, width and height; (1, 1) is square.
    pub pixel_aspect: (u32, u32),
    /// Clockwise turn that shows the picture upright: 0, 90, 180 or 270 degrees.
    pub rotation_deg: u16,
}

/// An audio track's sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audio {
    /// Samples per second and channel.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u16,
}

impl Track {
    /// The picture, if this is a video track.
    pub fn video(&self) -> Option<Video> {
        match self.codec {
            Codec::H264 { video, .. }
            | Codec::Hevc { video, .. }
            | Codec::Av1 { video, .. }
            | Codec::Vp8 { video }
            | Codec::Vp9 { video, .. }
            | Codec::InBand { video, .. } => Some(video),
            Codec::Aac { .. } => None,
        }
    }

    /// The sound, if this is an audio track.
    pub fn audio(&self) -> Option<Audio> {
        match self.codec {
            Codec::Aac { audio, .. } => Some(audio),
            _ => None,
        }
    }

    /// The track's codec as RFC 6381 names it, for `CODECS` in playlists: `avc1.64001f`, `mp4a.40.2`.
    ///
    /// # Errors
    /// [`Error::Config`] if the codec configuration breaks its syntax.
    pub fn codec_string(&self) -> Result<String, Error> {
        Ok(match &self.codec {
            Codec::H264 { config, .. } => {
                let avcc = entry::avcc(config)?;
                let (profile, level) = (avcc.avc_profile_indication, avcc.avc_level_indication);
                format!("avc1.{profile:02x}{:02x}{level:02x}", avcc.profile_compatibility)
            }
            Codec::Hevc { config, .. } => hevc_string(config)?,
            Codec::Av1 { config, .. } => {
                let av1c = entry::av1c(config)?;
                let depth = 8 + 2 * (u8::from(av1c.high_bitdepth) + u8::from(av1c.twelve_bit));
                let tier = if av1c.seq_tier_0 { 'H' } else { 'M' };
                format!("av01.{}.{:02}{tier}.{depth:02}", av1c.seq_profile, av1c.seq_level_idx_0)
            }
            Codec::Vp8 { video } => vp_string("vp08", &[], video)?,
            Codec::Vp9 { video, config } => vp_string("vp09", config, video)?,
            Codec::InBand { entry, .. } => entry.escape_ascii().to_string(),
            Codec::Aac { config, .. } => format!("mp4a.40.{}", aac::object_type_of(config)?),
        })
    }
}

/// ISO/IEC 14496-15, annex E.3.
fn hevc_string(config: &[u8]) -> Result<String, Error> {
    let hvcc = entry::hvcc(config)?;
    let space = ["", "A", "B", "C"][usize::from(hvcc.general_profile_space & 3)];
    let compatibility = u32::from_be_bytes(hvcc.general_profile_compatibility_flags).reverse_bits();
    let tier = if hvcc.general_tier_flag { 'H' } else { 'L' };
    let (profile, level) = (hvcc.general_profile_idc, hvcc.general_level_idc);
    let mut text = format!("hvc1.{space}{profile}.{compatibility:X}.{tier}{level}");
    let flags = hvcc.general_constraint_indicator_flags;
    let used = flags.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for byte in &flags[..used] {
        let _ = write!(text, ".{byte:X}");
    }
    Ok(text)
}

/// VP Codec ISO Media File Format Binding, "Codecs Parameter String".
fn vp_string(name: &str, config: &[u8], video: &Video) -> Result<String, Error> {
    let vpcc = entry::vpcc(config, video)?;
    Ok(format!("{name}.{:02}.{:02}.{:02}", vpcc.profile, vpcc.level, vpcc.bit_depth))
}

impl Video {
    /// Size of the upright picture in square pixels: rotation and pixel aspect ratio applied.
    pub fn display_size(&self) -> (u32, u32) {
        let (num, den) = self.pixel_aspect;
        let stretched = if num == 0 || den == 0 {
            u64::from(self.width)
        } else {
            u64::from(self.width) * u64::from(num) / u64::from(den)
        };
        let width = u32::try_from(stretched.max(1)).unwrap_or(u32::MAX);
        if self.rotation_deg % 180 == 90 { (self.height, width) } else { (width, self.height) }
    }
}
