//! Profiles: what an app wants done with a stream. Presets by name, or a ladder in JSON.

mod captions;
mod choice;
mod moderation;
mod products;
mod rung;

pub use captions::{Captions, MODEL_ID_LENGTH_MAX, is_model_id};
pub use choice::{Choice, Extended, Invalid, PRESETS};
pub use moderation::{Action, Moderation};
pub use products::Products;
use rung::{BPS_MAX, BPS_MIN};
pub use rung::{H264Profile, Preset, Rate, Rung, VideoCodec};
use serde::{Deserialize, Serialize};

/// What an app wants of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Segments are cut at the first keyframe at or after this length, or between keyframes if none comes in time; with
    /// `passthrough` at keyframes alone.
    #[serde(default = "segment_ms")]
    pub segment_ms: u32,
    /// How much of a live stream its playlists list, counted from the newest segment.
    #[serde(default = "window_s")]
    pub window_s: u32,
    /// While a stream is live its segments are freed when they are this old and no longer in the playlists' window.
    /// So long after its end all of a stream is freed but its clips. Absent: kept until it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_s: Option<u32>,
    /// Publish the source's own video as a further rung, untouched.
    #[serde(default)]
    pub passthrough: bool,
    /// How what is published is encrypted; absent: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// Make a ladder for the stream when its first segment is there: by the source's size, frame rate and bitrate, and
    /// by how hard its pictures are.
    #[serde(default, skip_serializing_if = "is_false")]
    pub auto: bool,
    /// Which workers may get the stream's segments.
    #[serde(default, skip_serializing_if = "Policy::is_open")]
    pub policy: Policy,
    /// Captions of what is spoken; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captions: Option<Captions>,
    /// Things that are to be seen; absent: nobody looks for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub products: Option<Products>,
    /// Marks of what not everyone is to see or hear; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moderation: Option<Moderation>,
    /// The rungs to encode, in any order. Empty with `auto`; may be empty with `passthrough`.
    #[serde(default)]
    pub ladder: Vec<Rung>,
}

/// Which workers may get a stream's segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Only those whose offers say that every part of their sandbox holds, see [`crate::offer::Sandbox`].
    #[serde(default)]
    pub sandboxed: bool,
}

impl Policy {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks like this")]
    fn is_open(&self) -> bool {
        *self == Self::default()
    }
}

/// How what is published is encrypted. Players get the key with a playback token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encryption {
    /// HLS's `METHOD=AES-128`: whole segments, AES-128 in CBC mode. DASH players can't read it.
    #[serde(rename = "aes-128")]
    Aes128,
    /// Common Encryption's `cbcs` (ISO/IEC 23001-7): samples, for HLS (`METHOD=SAMPLE-AES`) and DASH alike. Of H.264 rungs
    /// alone.
    #[serde(rename = "cbcs")]
    Cbcs,
}

fn segment_ms() -> u32 {
    2_000
}
fn window_s() -> u32 {
    60
}
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks like this")]
fn is_false(flag: &bool) -> bool {
    !flag
}
/// Names of what is no rung.
const TAKEN: [&str; 4] = ["audio", "source", "captions", "english"];

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
            if retention_s < self.window_s {
                let window_s = self.window_s;
                return Err(Invalid(format!(
                    "retention_s is {retention_s}, but {window_s} s of a live stream are listed: use at least window_s"
                )));
            }
        }
        if self.auto && !self.ladder.is_empty() {
            return Err(Invalid("auto makes the ladder: leave out one of both".into()));
        }
        within("the number of rungs", self.ladder.len() as u64, u64::from(!self.passthrough && !self.auto), 8)?;
        self.check_encryption()?;
        self.captions.as_ref().map_or(Ok(()), Captions::check)?;
        self.products.as_ref().map_or(Ok(()), Products::check)?;
        self.moderation.as_ref().map_or(Ok(()), |moderation| moderation.check(self.captions.is_some()))?;
        for (at, rung) in self.ladder.iter().enumerate() {
            let name = &rung.name;
            let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            if !plain || !(1..=16).contains(&name.len()) || TAKEN.contains(&name.as_str()) {
                return Err(Invalid(format!(
                    "{name:?} can't name a rung: use 1 to 16 characters of a-z, 0-9 and '-', not {}",
                    TAKEN.join(", ")
                )));
            }
            if self.ladder[..at].iter().any(|other| other.name == *name) {
                return Err(Invalid(format!("two rungs are named {name:?}: give each its own name")));
            }
            within(&format!("{name}: short_side_px"), rung.short_side_px.into(), 64, 4_320)?;
            within(&format!("{name}: fps_divisor"), rung.fps_divisor.into(), 1, 4)?;
            if let Some(crf) = rung.crf {
                within(&format!("{name}: crf"), crf.into(), 10, if rung.codec == VideoCodec::Av1 { 63 } else { 45 })?;
            }
            match (rung.bitrate_bps, rung.bitrate_bps_max) {
                (Some(bps), None) if rung.crf.is_none() => {
                    within(&format!("{name}: bitrate_bps"), bps, BPS_MIN, BPS_MAX)?;
                }
                (None, Some(bps)) => within(&format!("{name}: bitrate_bps_max"), bps, BPS_MIN, BPS_MAX)?,
                _ => {
                    return Err(Invalid(format!(
                        "{name} does not say its bitrate in one way: give bitrate_bps_max, with crf if you like, \
                         or bitrate_bps alone"
                    )));
                }
            }
            if rung.profile.is_some() && rung.codec != VideoCodec::H264 {
                let codec = rung.codec.as_str();
                return Err(Invalid(format!("{name}: profile is H.264's: leave it out for {codec}")));
            }
        }
        Ok(())
    }

    /// What stays clear of a picture follows from its codec, and so far H.264's is known.
    fn check_encryption(&self) -> Result<(), Invalid> {
        if self.encryption != Some(Encryption::Cbcs) {
            return Ok(());
        }
        if self.passthrough {
            let message = "cbcs encrypts H.264 alone, and passthrough publishes whatever comes: leave out one of both";
            return Err(Invalid(message.into()));
        }
        match self.ladder.iter().find(|rung| rung.codec != VideoCodec::H264) {
            Some(Rung { name, codec, .. }) => Err(Invalid(format!(
                "{name}: cbcs encrypts H.264 alone, not {}: use another codec, or aes-128",
                codec.as_str()
            ))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{choice::preset, *};

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
        assert_eq!(profile.segment_ms, 2_000);
        assert_eq!(profile.ladder[0].rate(), Rate::Capped { crf: 23, bitrate_bps_max: 400_000 });
        let json = r#"{"preset": "mobile", "captions": {"translate": true}}"#;
        let profile = serde_json::from_str::<Choice>(json).unwrap().resolve().unwrap();
        assert_eq!(profile.ladder.len(), 2);
        assert!(profile.captions.is_some_and(|captions| captions.translate && captions.language.is_none()));
        let json = r#"{"preset": "mobile", "moderation": {"action": "hold"}}"#;
        let profile = serde_json::from_str::<Choice>(json).unwrap().resolve().unwrap();
        assert_eq!(profile.moderation.unwrap().action, Action::Hold);
        let json = r#"{"ladder": [{"name": "x", "short_side_px": 240, "codec": "av1", "bitrate_bps": 300000}]}"#;
        let profile = serde_json::from_str::<Choice>(json).unwrap().resolve().unwrap();
        assert_eq!(profile.ladder[0].rate(), Rate::Average { bitrate_bps: 300_000 });
    }

    #[test]
    fn refusals_name_the_value() {
        let refusal = |change: fn(&mut Profile)| {
            let mut profile = preset("standard").unwrap();
            change(&mut profile);
            profile.check().unwrap_err().to_string()
        };
        assert!(refusal(|p| p.segment_ms = 1).contains("segment_ms is 1"));
        assert!(refusal(|p| (p.window_s, p.retention_s) = (7_200, Some(3_600))).contains("at least window_s"));
        assert!(refusal(|p| p.ladder.clear()).contains("number of rungs"));
        assert!(refusal(|p| p.ladder[1].name = "../x".into()).contains("can't name"));
        assert!(refusal(|p| p.ladder[1].name = "720p".into()).contains("two rungs"));
        assert!(refusal(|p| p.ladder[0].short_side_px = 9_999).contains("short_side_px"));
        assert!(refusal(|p| p.auto = true).contains("leave out"));
        assert!(refusal(|p| p.ladder[0].fps_divisor = 0).contains("fps_divisor is 0"));
        assert!(refusal(|p| p.ladder[0].bitrate_bps = Some(1_000_000)).contains("in one way"));
        assert!(refusal(|p| p.ladder[0].bitrate_bps_max = None).contains("in one way"));
        assert!(refusal(|p| p.ladder[0].crf = Some(46)).contains("crf is 46"));
        let hevc = |p: &mut Profile| {
            (p.ladder[0].codec, p.ladder[0].profile) = (VideoCodec::Hevc, Some(H264Profile::Main));
        };
        assert!(refusal(hevc).contains("H.264's"));
        let cbcs_of = |p: &mut Profile| (p.encryption, p.ladder[1].codec) = (Some(Encryption::Cbcs), VideoCodec::Av1);
        assert!(refusal(cbcs_of).contains("480p: cbcs encrypts H.264 alone, not av1"));
        assert!(refusal(|p| (p.encryption, p.passthrough) = (Some(Encryption::Cbcs), true)).contains("passthrough"));
        let language = |code: &str| Captions { language: Some(code.into()), ..Captions::default() };
        assert!(refusal(|p| p.ladder[0].name = "captions".into()).contains("can't name"));
        let speaks = |captions| {
            let chosen = Choice::Extended(Extended {
                preset: "standard".into(),
                captions: Some(captions),
                products: None,
                moderation: None,
            });
            chosen.resolve().map_err(|why| why.to_string())
        };
        assert!(speaks(language("klingon")).unwrap_err().contains("captions.language is \"klingon\""));
        assert!(speaks(Captions { translate: true, ..language("en") }).unwrap_err().contains("\"en\" already"));
        assert!(speaks(Captions { translate: true, ..language("de") }).is_ok());
        let model = |name: &str| Captions { model: Some(name.into()), ..Captions::default() };
        assert!(
            speaks(model("whisper-tiny.en")).is_ok() && speaks(model("../x")).unwrap_err().contains("captions.model")
        );
        assert!(Choice::Preset("best".into()).resolve().unwrap_err().to_string().contains("standard"));
    }
}
