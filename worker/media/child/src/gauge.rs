//! The gauge job: how many bits a segment's pictures take at a constant quality, found out by encoding some of them
//! small and fast.

use millrace_media::{
    Failure,
    job::{Gauge, Gauged},
};
use millrace_proto::{
    profile::{H264Profile, Preset, Rate, VideoCodec},
    task::Target,
};

use crate::{av::clip::Clip, transcode, trouble};

/// Frames that are looked at: two seconds of most sources.
const FRAMES_MAX: usize = 60;

/// The shorter side that they are scaled to, unless they are smaller.
const SHORT_SIDE_PX: u32 = 360;

/// What ladders are made with, so that the bits are those that a rung would take.
const CRF: u8 = 23;
const NO_CAP_BPS: u64 = 1_000_000_000;

/// Runs the job.
pub(crate) fn run(job: &Gauge) -> Result<Gauged, Failure> {
    let clip = Clip::read(&job.source)?;
    let (width, height) = size(job.display);
    let target = Target {
        name: "gauge".into(),
        width,
        height,
        codec: VideoCodec::H264,
        rate: Rate::Capped { crf: CRF, bitrate_bps_max: NO_CAP_BPS },
        preset: Preset::Veryfast,
        profile: H264Profile::High,
        fps_divisor: 1,
    };
    let taken = transcode::first_frames(clip, FRAMES_MAX, &[target], job.threads)?;
    let (bytes, seconds) = (taken.bytes as f64, taken.seconds);
    if seconds <= 0.0 {
        return Err(trouble::bad_input("one frame alone tells no bitrate"));
    }
    Ok(Gauged {
        pixels: width * height,
        bitrate_bps: (bytes * 8.0 / seconds) as u64,
        frames_per_s: taken.frames as f64 / seconds,
    })
}

/// The size that a picture is scaled to, even.
fn size((width, height): (u32, u32)) -> (u32, u32) {
    let short = u64::from(width.min(height).max(1));
    let side = short.min(SHORT_SIDE_PX.into());
    let scaled = |length: u32| (u64::from(length) * side).div_ceil(2 * short).clamp(1, 4_096) as u32 * 2;
    (scaled(width), scaled(height))
}
