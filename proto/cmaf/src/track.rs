//! Tracks: what a decoder must know before the first sample.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

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
            | Codec::Vp9 { video, .. } => Some(video),
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
