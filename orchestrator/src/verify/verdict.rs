//! Verdicts: is an outcome what the task asked for? Pure; `verify.rs` brings what was seen.

use millrace_media::job::{Inspection, Seen};
use millrace_proto::{
    outcome::Done,
    profile::VideoCodec,
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
    let codec = match target.codec {
        VideoCodec::H264 => "h264",
    };
    if seen.codec != codec {
        return Err(format!("its codec is {}, {codec} was asked for", seen.codec));
    }
    if (seen.width, seen.height) != (target.width, target.height) {
        let (width, height) = (target.width, target.height);
        return Err(format!("its picture is {}x{}, {width}x{height} was asked for", seen.width, seen.height));
    }
    if !seen.key_first {
        return Err("it does not start with a keyframe".into());
    }
    if seen.pts.len() != source.pts.len() || seen.pts.len() != frames_claimed as usize {
        let (has, wants) = (seen.pts.len(), source.pts.len());
        return Err(format!("it has {has} frames and claims {frames_claimed}, the source has {wants}"));
    }
    if seen.timescale != source.timescale {
        return Err(format!("its timescale is {}, the source's is {}", seen.timescale, source.timescale));
    }
    match seen.pts.iter().zip(&source.pts).position(|(a, b)| a != b) {
        Some(at) => Err(format!("frame {at} is at {}, in the source at {}", seen.pts[at], source.pts[at])),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
