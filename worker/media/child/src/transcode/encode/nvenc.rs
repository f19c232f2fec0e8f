//! What a card's encoders (NVENC) are told, as `settings.rs` says it to those in software: one closed group of pictures a
//! segment, one header for all segments of a rendition, quality not below x264's veryfast at the same bit rate.
//!
//! Names and ranges are those of FFmpeg's `h264_nvenc`, `hevc_nvenc` and `av1_nvenc`.

use ffmpeg_next::Dictionary;
use millrace_media::card::Tools;
use millrace_proto::{
    profile::{H264Profile, Preset, Rate, VideoCodec},
    task::Target,
};

use super::settings::AVERAGE_BUFFER_MS;
use crate::transcode::Common;

/// No segment has as many frames, so the first picture alone is IDR; a constant, since it may show in headers.
const GROUP_FRAMES: &str = "100000";
/// B pictures in a row, as many as x264 has at most.
const B_FRAMES: &str = "3";
/// Frames that rate control looks ahead, and so waits for.
const LOOKAHEAD_FRAMES: &str = "20";

/// FFmpeg's name of the encoder for a codec.
pub(crate) fn name(codec: VideoCodec) -> &'static str {
    match codec {
        VideoCodec::H264 => "h264_nvenc",
        VideoCodec::Hevc => "hevc_nvenc",
        VideoCodec::Av1 => "av1_nvenc",
    }
}

/// The options for one rendition.
pub(super) fn of(target: &Target, common: &Common, tools: Tools) -> Dictionary<'static> {
    let mut settings = Dictionary::new();
    for (option, value) in options(target, common.rate_scale, tools) {
        settings.set(option, &value);
    }
    settings
}

/// `rate_scale`: see [`Common::rate_scale`]; NVENC counts time in frames.
fn options(target: &Target, rate_scale: f64, tools: Tools) -> Vec<(&'static str, String)> {
    let (preset, multipass) = preset(target.preset);
    let mut options = vec![("preset", preset), ("tune", "hq"), ("multipass", multipass)];
    // Latency-tolerant transcoding: high quality, variable rate, adaptive quantization, two passes, looking ahead
    // (NVENC Video Encoder API Programming Guide, "Recommended NVENC Settings").
    options.extend([("rc", "vbr"), ("spatial-aq", "1"), ("g", GROUP_FRAMES), ("forced-idr", "1")]);
    // Other pictures than the first are no IDR, wherever the scene changes; captions in the pictures would come through
    // on some rungs and not on others.
    options.extend([("no-scenecut", "1"), ("a53cc", "0"), ("extra_sei", "0")]);
    let profile = match (target.codec, target.profile) {
        (VideoCodec::H264, profile) => Some(profile.as_str()),
        (VideoCodec::Hevc, _) => Some("main"),
        (VideoCodec::Av1, _) => None,
    };
    options.extend(profile.map(|profile| ("profile", profile)));
    // Baseline has none (ISO/IEC 14496-10, A.2.1).
    let has_b = target.codec != VideoCodec::H264 || target.profile != H264Profile::Baseline;
    if tools == Tools::Full {
        options.extend([("rc-lookahead", LOOKAHEAD_FRAMES), ("temporal-aq", "1")]);
    }
    if tools == Tools::Full && has_b {
        options.extend([("bf", B_FRAMES), ("b_ref_mode", "middle")]);
    } else {
        options.push(("bf", "0"));
    }
    if target.codec == VideoCodec::Av1 {
        options.retain(|(option, _)| !["a53cc", "profile"].contains(option));
    }
    let mut options: Vec<_> = options.into_iter().map(|(option, value)| (option, value.to_owned())).collect();
    let scaled = |bps: u64| ((bps as f64 * rate_scale) as u64).to_string();
    match target.rate {
        // The rate factor's place is taken by NVENC's target quality, on H.264's own scale of quantizers as well. Its
        // average, which is 2 Mbit/s if nothing is said, must be none.
        Rate::Capped { crf, bitrate_bps_max } => options.extend([
            ("cq", crf.to_string()),
            ("b", "0".into()),
            ("maxrate", scaled(bitrate_bps_max)),
            ("bufsize", scaled(bitrate_bps_max)),
        ]),
        Rate::Average { bitrate_bps } => options.extend([
            ("b", scaled(bitrate_bps)),
            ("maxrate", scaled(bitrate_bps + bitrate_bps / 10)),
            ("bufsize", scaled(bitrate_bps * AVERAGE_BUFFER_MS / 1_000)),
        ]),
    }
    options
}

/// NVENC's preset and its passes. p4 is its medium and p7 its slowest (NVENC Preset Migration Guide); a pass at a quarter
/// of the size costs little. What NVENC is faster at than x264 is spent on quality: nothing below p4.
fn preset(preset: Preset) -> (&'static str, &'static str) {
    match preset {
        Preset::Ultrafast | Preset::Superfast => ("p4", "qres"),
        Preset::Veryfast | Preset::Faster => ("p5", "qres"),
        Preset::Fast | Preset::Medium => ("p6", "fullres"),
        Preset::Slow | Preset::Slower | Preset::Veryslow => ("p7", "fullres"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn target(codec: VideoCodec, rate: Rate) -> Target {
        Target {
            name: "720p".into(),
            width: 1_280,
            height: 720,
            codec,
            rate,
            preset: Preset::Veryfast,
            profile: H264Profile::High,
            fps_divisor: 1,
        }
    }

    fn told(target: &Target, rate_scale: f64, tools: Tools) -> BTreeMap<&'static str, String> {
        let options = options(target, rate_scale, tools);
        let told: BTreeMap<_, _> = options.iter().cloned().collect();
        assert_eq!(told.len(), options.len(), "nothing is said twice: {options:?}");
        told
    }

    const CAPPED: Rate = Rate::Capped { crf: 23, bitrate_bps_max: 3_000_000 };
    const CODECS: [VideoCodec; 3] = [VideoCodec::H264, VideoCodec::Hevc, VideoCodec::Av1];

    #[test]
    fn one_group_of_pictures_a_segment_and_quality_first() {
        for codec in CODECS {
            let told = told(&target(codec, CAPPED), 1.0, Tools::Full);
            for (option, value) in [
                ("preset", "p5"),
                ("tune", "hq"),
                ("multipass", "qres"),
                ("rc", "vbr"),
                ("g", "100000"),
                ("forced-idr", "1"),
                ("no-scenecut", "1"),
                ("spatial-aq", "1"),
                ("temporal-aq", "1"),
                ("bf", "3"),
            ] {
                assert_eq!(told[option], value, "{codec:?} {option}");
            }
        }
    }

    #[test]
    fn a_capped_rate_has_no_average_and_an_average_its_margin() {
        let capped = told(&target(VideoCodec::H264, CAPPED), 1.0, Tools::Full);
        let of = |told: &BTreeMap<_, String>| ["cq", "b", "maxrate", "bufsize"].map(|option| told.get(option).cloned());
        let some = |value: &str| Some(value.to_owned());
        assert_eq!(of(&capped), [some("23"), some("0"), some("3000000"), some("3000000")]);
        let average = Rate::Average { bitrate_bps: 1_000_000 };
        let average = told(&target(VideoCodec::Hevc, average), 1.25, Tools::Full);
        assert_eq!(of(&average), [None, some("1250000"), some("1375000"), some("625000")]);
    }

    #[test]
    fn older_chips_and_baseline_get_no_b_pictures() {
        let plain = told(&target(VideoCodec::Hevc, CAPPED), 1.0, Tools::Plain);
        assert_eq!(plain["bf"], "0");
        assert!(!["b_ref_mode", "temporal-aq", "rc-lookahead"].iter().any(|option| plain.contains_key(option)));
        let baseline = Target { profile: H264Profile::Baseline, ..target(VideoCodec::H264, CAPPED) };
        let baseline = told(&baseline, 1.0, Tools::Full);
        assert_eq!((baseline["profile"].as_str(), baseline["bf"].as_str()), ("baseline", "0"));
        assert!(!baseline.contains_key("b_ref_mode"));
    }

    #[test]
    fn harder_presets_are_never_weaker() {
        let all = [
            Preset::Ultrafast,
            Preset::Superfast,
            Preset::Veryfast,
            Preset::Faster,
            Preset::Fast,
            Preset::Medium,
            Preset::Slow,
            Preset::Slower,
            Preset::Veryslow,
        ];
        let names = all.map(|one| preset(one).0);
        assert!(names.is_sorted() && names[0] == "p4" && names[8] == "p7", "{names:?}");
    }

    #[test]
    fn this_ffmpeg_knows_every_option() {
        for codec in CODECS {
            // Debian 12's has none for AV1.
            let Some(encoder) = ffmpeg_next::encoder::find_by_name(name(codec)) else { continue };
            for tools in Tools::ALL {
                for (option, value) in options(&target(codec, CAPPED), 1.0, tools) {
                    assert!(
                        crate::av::device::knows(&encoder, option),
                        "{} has no option {option} ({value})",
                        name(codec)
                    );
                }
            }
        }
        assert!(ffmpeg_next::encoder::find_by_name("h264_nvenc").is_some(), "this FFmpeg is built with NVENC");
    }
}
