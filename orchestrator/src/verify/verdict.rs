//! Verdicts: is an outcome what the task asked for? Pure; `verify.rs` brings what was seen.

use millrace_media::job::{Inspection, Seen};
use millrace_proto::{
    outcome::Done,
    profile::{H264Profile, VideoCodec},
    task::{Target, Transcode},
};

/// Judges the renditions of a transcode. `source` and `made` are what our own media child saw, `made` in the
/// order of the targets. The error says what is wrong, and is the worker's fault.
pub fn transcode(task: &Transcode, done: &Done, source: &Seen, made: &[Inspection]) -> Result<(), String> {
    if done.renditions.len() != task.renditions.len() || made.len() != task.renditions.len() {
        return Err(format!("{} renditions instead of {}", done.renditions.len(), task.renditions.len()));
    }
    for ((target, claimed), seen) in task.renditions.iter().zip(&done.renditions).zip(made) {
        let name = &target.name;
        if claimed.name != *name {
            return Err(format!("rendition {:?} where {name:?} was asked for", claimed.name));
        }
        let seen = match seen {
            Inspection::Readable(seen) => seen,
            Inspection::Unreadable { message } => return Err(format!("{name}: {message}")),
        };
        rendition(target, claimed.frames, source, seen).map_err(|what| format!("{name}: {what}"))?;
    }
    Ok(())
}

fn rendition(target: &Target, frames_claimed: u32, source: &Seen, seen: &Seen) -> Result<(), String> {
    let codec = target.codec.as_str();
    if seen.codec != codec {
        return Err(format!("its codec is {}, {codec} was asked for", seen.codec));
    }
    if !plays_as(target, &seen.codec_string) {
        return Err(format!("its codec is {}, which needs more of players than was asked for", seen.codec_string));
    }
    if (seen.width, seen.height) != (target.width, target.height) {
        let (width, height) = (target.width, target.height);
        return Err(format!("its picture is {}x{}, {width}x{height} was asked for", seen.width, seen.height));
    }
    if !seen.key_first {
        return Err("it does not start with a keyframe".into());
    }
    // What a worker keeps of the source: see `Target::fps_divisor`.
    let wanted: Vec<i64> = source.pts.iter().copied().step_by(usize::from(target.fps_divisor.max(1))).collect();
    if seen.pts.len() != wanted.len() || seen.pts.len() != frames_claimed as usize {
        let (has, wants) = (seen.pts.len(), wanted.len());
        return Err(format!("it has {has} frames and claims {frames_claimed}, the source has {wants} for it"));
    }
    if seen.timescale != source.timescale {
        return Err(format!("its timescale is {}, the source's is {}", seen.timescale, source.timescale));
    }
    match seen.pts.iter().zip(&wanted).position(|(a, b)| a != b) {
        Some(at) => Err(format!("frame {at} is at {}, in the source at {}", seen.pts[at], wanted[at])),
        None => Ok(()),
    }
}

/// Whether what an RFC 6381 codec string names is 8-bit 4:2:0, of a profile no higher than was asked for. Encoders
/// may use less than they may.
fn plays_as(target: &Target, codec_string: &str) -> bool {
    let mut parts = codec_string.split('.');
    let (entry, profile) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match target.codec {
        VideoCodec::H264 => {
            let idc = profile.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
            let known = [H264Profile::Baseline, H264Profile::Main, H264Profile::High];
            entry == "avc1" && known.iter().any(|one| *one <= target.profile && Some(one.idc()) == idc)
        }
        // Main (ISO/IEC 23008-2, annex A.3.2).
        VideoCodec::Hevc => entry == "hvc1" && profile == "1",
        // Main, at 8 bits (AV1 Codec ISO Media File Format Binding, 5).
        VideoCodec::Av1 => entry == "av01" && profile == "0" && parts.nth(1) == Some("08"),
    }
}

#[cfg(test)]
mod tests;
