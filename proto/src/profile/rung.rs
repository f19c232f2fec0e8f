//! Rungs of a ladder, and how each is encoded.

use serde::{Deserialize, Serialize};

/// Bitrates of a rung, bits per second.
pub(super) const BPS_MIN: u64 = 50_000;
pub(super) const BPS_MAX: u64 = 100_000_000;

/// One rung of the ladder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rung {
    /// Its name in URLs and playlists: 1 to 16 characters of `a-z`, `0-9` and `-`; not `audio`, `source`,
    /// `captions` or `english`.
    pub name: String,
    /// Length of the picture's shorter side: 720 is 1280x720 for a 16:9 source and 720x1280 for a 9:16 one.
    /// Rungs above the source are left out.
    pub short_side_px: u32,
    /// The codec to encode to.
    #[serde(default)]
    pub codec: VideoCodec,
    /// Constant rate factor, lower is better; if absent the encoder's own default: 23 for H.264, 28 for HEVC, 35 for
    /// AV1, whose scales differ. Goes with `bitrate_bps_max`, below which the bitrate stays all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crf: Option<u8>,
    /// The encoder's rate cap (VBV), bits per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate_bps_max: Option<u64>,
    /// Alone, in place of the two above: the average that the encoder aims at, bits per second, whatever quality that
    /// gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate_bps: Option<u64>,
    /// How hard the encoder works.
    #[serde(default)]
    pub preset: Preset,
    /// The most that decoders of an H.264 rung must know; High if absent. For no other codec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<H264Profile>,
    /// Keep the first frame of every segment and every n-th from there, 1 to 4: 2 makes 30 frames per second of 60.
    /// Frames that stay keep their times, so that all rungs stay aligned.
    #[serde(default = "every_frame", skip_serializing_if = "is_every_frame")]
    pub fps_divisor: u8,
}

/// How an encoder spends its bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "each variant says what its fields are")]
pub enum Rate {
    /// As many as the constant rate factor asks for, at most so many per second; the buffer holds one second.
    Capped { crf: u8, bitrate_bps_max: u64 },
    /// So many per second on average.
    Average { bitrate_bps: u64 },
}

impl Rate {
    /// Bits per second that are not to be passed for long.
    pub fn bitrate_bps(self) -> u64 {
        match self {
            Self::Capped { bitrate_bps_max, .. } => bitrate_bps_max,
            Self::Average { bitrate_bps } => bitrate_bps,
        }
    }
}

impl Rung {
    /// How its encoder spends bits.
    pub fn rate(&self) -> Rate {
        match (self.bitrate_bps, self.bitrate_bps_max) {
            (Some(bitrate_bps), _) => Rate::Average { bitrate_bps },
            // The second is for a rung that was never checked.
            (None, bps) => {
                Rate::Capped { crf: self.crf.unwrap_or(self.codec.crf()), bitrate_bps_max: bps.unwrap_or(BPS_MIN) }
            }
        }
    }
}

/// Codecs that a rung can be encoded to, all 8-bit 4:2:0. The order is that of playlists: what every player knows
/// comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// H.264, by libx264.
    #[default]
    H264,
    /// HEVC, Main profile, by libx265.
    Hevc,
    /// AV1, Main profile, by SVT-AV1.
    Av1,
}

impl VideoCodec {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::H264, Self::Hevc, Self::Av1];

    /// The name, as FFmpeg has it, too.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::Hevc => "hevc",
            Self::Av1 => "av1",
        }
    }

    /// Its encoder's own default of the constant rate factor; they look about alike.
    pub fn crf(self) -> u8 {
        match self {
            Self::H264 => 23,
            Self::Hevc => 28,
            Self::Av1 => 35,
        }
    }

    /// Shortest side that its encoder takes, in pixels.
    pub fn side_px_min(self) -> u32 {
        match self {
            Self::H264 => 2,
            Self::Hevc => 32,
            Self::Av1 => 64,
        }
    }
}

/// Profiles of H.264 (ISO/IEC 14496-10, annex A).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the standard's own")]
pub enum H264Profile {
    Baseline,
    Main,
    #[default]
    High,
}

impl H264Profile {
    /// The name as x264 knows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Main => "main",
            Self::High => "high",
        }
    }

    /// `profile_idc`, as codec strings have it.
    pub fn idc(self) -> u8 {
        match self {
            Self::Baseline => 66,
            Self::Main => 77,
            Self::High => 100,
        }
    }
}

/// How much work the encoder puts into a rung: x264's and x265's own names. SVT-AV1 counts its presets; see
/// [`Preset::svt_av1`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are x264's own")]
pub enum Preset {
    Ultrafast,
    Superfast,
    #[default]
    Veryfast,
    Faster,
    Fast,
    Medium,
    Slow,
    Slower,
    Veryslow,
}

impl Preset {
    /// The name as x264 knows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ultrafast => "ultrafast",
            Self::Superfast => "superfast",
            Self::Veryfast => "veryfast",
            Self::Faster => "faster",
            Self::Fast => "fast",
            Self::Medium => "medium",
            Self::Slow => "slow",
            Self::Slower => "slower",
            Self::Veryslow => "veryslow",
        }
    }

    /// The number of SVT-AV1's preset that takes its place: 12 is its fastest that is meant for use, 3 about where
    /// slower ones stop to pay.
    pub fn svt_av1(self) -> u8 {
        match self {
            Self::Ultrafast => 12,
            Self::Superfast => 11,
            Self::Veryfast => 10,
            Self::Faster => 9,
            Self::Fast => 8,
            Self::Medium => 7,
            Self::Slow => 5,
            Self::Slower => 4,
            Self::Veryslow => 3,
        }
    }
}

pub(super) fn every_frame() -> u8 {
    1
}
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks like this")]
fn is_every_frame(divisor: &u8) -> bool {
    *divisor == 1
}
