//! Profiles: what an app wants done with a stream. Presets by name, or a ladder in JSON.

use serde::{Deserialize, Serialize};

/// What an app wants of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Segments are cut at the first keyframe at or after this length.
    #[serde(default = "segment_ms")]
    pub segment_ms: u32,
    /// How much of a live stream its playlists list, counted from the newest segment.
    #[serde(default = "window_s")]
    pub window_s: u32,
    /// A live stream's segments are freed when they are this old and no longer in the playlists' window; absent:
    /// kept for ever, for `vod.m3u8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_s: Option<u32>,
    /// Publish the source's own video as a further rung, untouched.
    #[serde(default)]
    pub passthrough: bool,
    /// The rungs to encode, in any order. May be empty only with `passthrough`.
    pub ladder: Vec<Rung>,
}

/// One rung of the ladder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rung {
    /// Its name in URLs and playlists: 1 to 16 characters of `a-z`, `0-9` and `-`; not `audio`, not `source`.
    pub name: String,
    /// Length of the picture's shorter side: 720 is 1280x720 for a 16:9 source and 720x1280 for a 9:16 one.
    /// Rungs above the source are left out.
    pub short_side_px: u32,
    /// The codec to encode to.
    #[serde(default)]
    pub codec: VideoCodec,
    /// Constant rate factor, lower is better; the bitrate stays below `bitrate_bps_max` all the same.
    #[serde(default = "crf")]
    pub crf: u8,
    /// The encoder's rate cap (VBV), bits per second.
    pub bitrate_bps_max: u64,
    /// x264's preset.
    #[serde(default)]
    pub preset: Preset,
}

/// Codecs that a rung can be encoded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// H.264, High profile, 8-bit 4:2:0.
    #[default]
    H264,
}

/// How much work the encoder puts into a rung.
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
        }
    }
}

fn segment_ms() -> u32 {
    2_000
}
fn window_s() -> u32 {
    60
}
fn crf() -> u8 {
    23
}

/// A profile by preset name or spelled out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Choice {
    /// One of [`PRESETS`].
    Preset(String),
    /// The app's own.
    Custom(Profile),
}

impl Default for Choice {
    fn default() -> Self {
        Self::Preset("standard".into())
    }
}

/// The presets by name, for error texts and documentation.
pub const PRESETS: [&str; 4] = ["standard", "mobile", "1080p", "passthrough"];

/// Why a profile was refused, in words for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

impl Choice {
    /// The profile that is meant, checked.
    pub fn resolve(self) -> Result<Profile, Invalid> {
        let profile = match self {
            Self::Custom(profile) => profile,
            Self::Preset(name) => preset(&name)
                .ok_or_else(|| Invalid(format!("no profile is named {name:?}: use one of {}", PRESETS.join(", "))))?,
        };
        profile.check()?;
        Ok(profile)
    }
}

/// The bitrates follow Apple's HLS authoring specification for H.264, 16:9, rounded.
fn preset(name: &str) -> Option<Profile> {
    let rung = |short_side_px: u32, bitrate_bps_max| Rung {
        name: format!("{short_side_px}p"),
        short_side_px,
        codec: VideoCodec::H264,
        crf: crf(),
        bitrate_bps_max,
        preset: Preset::default(),
    };
    let profile = |ladder, passthrough| Profile {
        segment_ms: segment_ms(),
        window_s: window_s(),
        retention_s: None,
        passthrough,
        ladder,
    };
    Some(match name {
        "standard" => profile(vec![rung(720, 3_000_000), rung(480, 1_600_000), rung(360, 730_000)], false),
        "mobile" => profile(vec![rung(480, 1_600_000), rung(240, 365_000)], false),
        "1080p" => {
            profile(vec![rung(1080, 6_000_000), rung(720, 3_000_000), rung(480, 1_600_000), rung(360, 730_000)], false)
        }
        "passthrough" => profile(vec![], true),
        _ => return None,
    })
}

impl Profile {
    /// Checks every limit; the error says which value is wrong and what would be right.
    pub fn check(&self) -> Result<(), Invalid> {
        let within = |what: &str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(Invalid(format!("{what} is {value}: use {low} to {high}")))
            }
        };
        within("segment_ms", self.segment_ms.into(), 500, 10_000)?;
        within("window_s", self.window_s.into(), 6, 86_400)?;
        if let Some(retention_s) = self.retention_s {
            within("retention_s", retention_s.into(), 60, 31_536_000)?;
        }
        within("the number of rungs", self.ladder.len() as u64, u64::from(!self.passthrough), 8)?;
        for (at, rung) in self.ladder.iter().enumerate() {
            let name = &rung.name;
            let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            if !plain || !(1..=16).contains(&name.len()) || name == "audio" || name == "source" {
                return Err(Invalid(format!(
                    "{name:?} can't name a rung: use 1 to 16 characters of a-z, 0-9 and '-', not audio or source"
                )));
            }
            if self.ladder[..at].iter().any(|other| other.name == *name) {
                return Err(Invalid(format!("two rungs are named {name:?}: give each its own name")));
            }
            within(&format!("{name}: short_side_px"), rung.short_side_px.into(), 64, 4_320)?;
            within(&format!("{name}: crf"), rung.crf.into(), 10, 45)?;
            within(&format!("{name}: bitrate_bps_max"), rung.bitrate_bps_max, 50_000, 100_000_000)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_passes_its_own_check() {
        for name in PRESETS {
            Choice::Preset(name.into()).resolve().unwrap();
        }
    }

    #[test]
    fn a_ladder_in_json_needs_little() {
        let json = r#"{"ladder": [{"name": "low", "short_side_px": 240, "bitrate_bps_max": 400000}]}"#;
        let profile = serde_json::from_str::<Choice>(json).unwrap().resolve().unwrap();
        assert_eq!((profile.segment_ms, profile.ladder[0].crf), (2_000, 23));
    }

    #[test]
    fn refusals_name_the_value() {
        let refusal = |change: fn(&mut Profile)| {
            let mut profile = preset("standard").unwrap();
            change(&mut profile);
            profile.check().unwrap_err().to_string()
        };
        assert!(refusal(|p| p.segment_ms = 1).contains("segment_ms is 1"));
        assert!(refusal(|p| p.ladder.clear()).contains("number of rungs"));
        assert!(refusal(|p| p.ladder[1].name = "../x".into()).contains("can't name"));
        assert!(refusal(|p| p.ladder[1].name = "720p".into()).contains("two rungs"));
        assert!(refusal(|p| p.ladder[0].short_side_px = 9_999).contains("short_side_px"));
        assert!(Choice::Preset("best".into()).resolve().unwrap_err().to_string().contains("standard"));
    }
}
