//! The probe job: one encoder, run on a moving picture made on the spot, and timed.

use std::time::Instant;

use ffmpeg_next::{format::Pixel, frame::Video};
use millrace_media::{
    Failure,
    job::{Probe, Probed},
};
use millrace_proto::{
    profile::{H264Profile, Preset, Rate, VideoCodec},
    task::Target,
};

use crate::{
    av,
    transcode::{self, Common, Encoded, Encoder},
    trouble,
};

/// What is encoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) frames: usize,
}

/// The rung that most ladders spend most on: 720p, two seconds of it ...
pub(crate) const HD: Scene = Scene { width: 1_280, height: 720, frames: 60 };
/// ... and less for encoders that take ten times as long: a worker is not to wait for half a minute at its start.
pub(crate) const SMALL: Scene = Scene { width: 640, height: 360, frames: 30 };

/// Different pictures; they are made before the clock starts and shown in turn, forth and back.
pub(crate) const PICTURES: usize = 16;

/// Runs the job.
pub(crate) fn run(job: &Probe) -> Result<Probed, Failure> {
    let scene = if job.codec == VideoCodec::H264 { HD } else { SMALL };
    let threads = job.threads.max(1);
    let (target, common) = (target(job.codec, scene), common(scene, threads));
    let pictures = (0..PICTURES).map(|at| picture(scene, at)).collect::<Result<Vec<_>, _>>()?;
    let (_, pixels_per_s) = encode(Encoder::open(&target, &common, threads)?, &pictures, scene)?;
    Ok(Probed { encoder: transcode::encoder_name(job.codec).into(), pixels_per_s })
}

/// Encodes the scene, and tells how many pixels a second.
pub(crate) fn encode(mut encoder: Encoder, pictures: &[Video], scene: Scene) -> Result<(Encoded, f64), Failure> {
    let there_and_back = (0..PICTURES).chain((1..PICTURES - 1).rev()).cycle();
    let started = Instant::now();
    for (pts, picture) in there_and_back.take(scene.frames).enumerate() {
        encoder.push(&pictures[picture], pts as i64)?;
    }
    let made = encoder.finish()?;
    let pixels = f64::from(scene.width) * f64::from(scene.height) * scene.frames as f64;
    Ok((made, pixels / started.elapsed().as_secs_f64().max(1e-6)))
}

/// What the scene is encoded to.
pub(crate) fn target(codec: VideoCodec, scene: Scene) -> Target {
    Target {
        name: "probe".into(),
        width: scene.width,
        height: scene.height,
        codec,
        rate: Rate::Capped { crf: 23, bitrate_bps_max: 3_000_000 },
        preset: Preset::Veryfast,
        profile: H264Profile::High,
        fps_divisor: 1,
    }
}

pub(crate) fn common(scene: Scene, threads: u32) -> Common {
    Common {
        timescale: 30,
        frames_per_s: 30,
        rate_scale: 1.0,
        frames: scene.frames,
        rotation_deg: 0,
        colour: transcode::Colour::default(),
        threads,
    }
}

/// A textured plane that moves, with noise on it: something to search motion in, and something to spend bits
/// on, as in natural pictures.
pub(crate) fn picture(scene: Scene, at: usize) -> Result<Video, Failure> {
    let mut frame = av::frame::picture(Pixel::YUV420P, scene.width, scene.height)
        .map_err(|error| trouble::machine("make a picture", error))?;
    // A linear congruential generator (Numerical Recipes, 7.1); any noise does.
    let mut noise = at as u32;
    for plane in 0..3 {
        let stride = frame.stride(plane);
        for (y, row) in frame.data_mut(plane).chunks_mut(stride).enumerate() {
            for (x, byte) in row.iter_mut().enumerate() {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let (x, y) = (x + at * 3, y + at);
                let texture = (x * x / 97 + y * x / 61 + y * 2) % 160;
                *byte = 40 + texture as u8 + (noise >> 29) as u8;
            }
        }
    }
    Ok(frame)
}
