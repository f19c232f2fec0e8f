//! What an app writes where a profile is asked for: a preset by name, alone or with more, or a profile of its own.

use serde::{Deserialize, Serialize};

use super::{
    Captions, Moderation, Policy, Preset, Products, Profile, Rung, VideoCodec, rung::every_frame, segment_ms, window_s,
};

/// A profile by preset name, alone or with more, or spelled out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Choice {
    /// One of [`PRESETS`].
    Preset(String),
    /// One of [`PRESETS`] with what is not in any of them.
    Extended(Extended),
    /// The app's own.
    Custom(Profile),
}

/// A preset with more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extended {
    /// One of [`PRESETS`].
    pub preset: String,
    /// As in [`Profile`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captions: Option<Captions>,
    /// As in [`Profile`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub products: Option<Products>,
    /// As in [`Profile`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moderation: Option<Moderation>,
}

impl Default for Choice {
    fn default() -> Self {
        Self::Preset("standard".into())
    }
}

/// The presets by name, for error texts and documentation.
pub const PRESETS: [&str; 5] = ["standard", "mobile", "1080p", "auto", "passthrough"];

/// Why a profile was refused, in words for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub(super) String);

impl Choice {
    /// The profile that is meant, checked.
    pub fn resolve(self) -> Result<Profile, Invalid> {
        let named = |name: &str| {
            preset(name)
                .ok_or_else(|| Invalid(format!("no profile is named {name:?}: use one of {}", PRESETS.join(", "))))
        };
        let profile = match self {
            Self::Custom(profile) => profile,
            Self::Preset(name) => named(&name)?,
            Self::Extended(Extended { preset, captions, products, moderation }) => {
                Profile { captions, products, moderation, ..named(&preset)? }
            }
        };
        profile.check()?;
        Ok(profile)
    }
}

/// The bitrates follow Apple's HLS authoring specification for H.264, 16:9, rounded.
pub(super) fn preset(name: &str) -> Option<Profile> {
    let rung = |short_side_px: u32, bitrate_bps_max| Rung {
        name: format!("{short_side_px}p"),
        short_side_px,
        codec: VideoCodec::H264,
        crf: Some(VideoCodec::H264.crf()),
        bitrate_bps_max: Some(bitrate_bps_max),
        bitrate_bps: None,
        preset: Preset::default(),
        profile: None,
        fps_divisor: every_frame(),
    };
    let profile = |ladder, passthrough| Profile {
        segment_ms: segment_ms(),
        window_s: window_s(),
        retention_s: None,
        encryption: None,
        passthrough,
        auto: false,
        policy: Policy::default(),
        captions: None,
        products: None,
        moderation: None,
        ladder,
    };
    Some(match name {
        "standard" => profile(vec![rung(720, 3_000_000), rung(480, 1_600_000), rung(360, 730_000)], false),
        "mobile" => profile(vec![rung(480, 1_600_000), rung(240, 365_000)], false),
        "1080p" => {
            profile(vec![rung(1080, 6_000_000), rung(720, 3_000_000), rung(480, 1_600_000), rung(360, 730_000)], false)
        }
        "auto" => Profile { auto: true, ..profile(vec![], false) },
        "passthrough" => profile(vec![], true),
        _ => return None,
    })
}
