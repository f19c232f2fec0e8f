//! What each encoder is told: as FFmpeg's options and the encoders' own. One closed group of pictures a segment, the
//! same header for every segment of a rendition, no more threads than are given.

use ffmpeg_next::Dictionary;
use millrace_proto::{
    profile::{Rate, VideoCodec},
    task::Target,
};

use crate::transcode::Common;

/// One IDR, at the start: scene cuts become other I pictures. `stitchable` keeps the headers free of what
/// the content was, so that all segments of a rendition share one.
const X264: &str = "keyint=infinite:min-keyint=100000:stitchable=1";

/// The same for x265. The frame rate that it is told is coarse and goes into no header.
const X265: &str = "log-level=none:info=0:repeat-headers=0:open-gop=0:keyint=-1:min-keyint=100000:vui-timing-info=0";

/// x265 takes no more.
const X265_FRAME_THREADS_MAX: u32 = 16;

/// The buffer of an average rate, in milliseconds of it: what a segment may be above the average for good, since the
/// next one is encoded by another hand.
pub(super) const AVERAGE_BUFFER_MS: u64 = 500;

/// FFmpeg's name of the encoder for a codec.
pub(crate) fn name(codec: VideoCodec) -> &'static str {
    match codec {
        VideoCodec::H264 => "libx264",
        VideoCodec::Hevc => "libx265",
        VideoCodec::Av1 => "libsvtav1",
    }
}

/// The options for one rendition.
pub(super) fn of(target: &Target, common: &Common, threads: u32) -> Dictionary<'static> {
    let mut settings = Dictionary::new();
    match target.codec {
        VideoCodec::H264 => {
            settings.set("preset", target.preset.as_str());
            settings.set("profile", target.profile.as_str());
            // Captions in the pictures would come through on some rungs and not on others.
            settings.set("a53cc", "0");
            settings.set("x264-params", X264);
            rate(&mut settings, target.rate, 1.0);
        }
        VideoCodec::Hevc => {
            settings.set("preset", target.preset.as_str());
            settings.set("profile", "main");
            let frame_threads = threads.min(X265_FRAME_THREADS_MAX);
            settings.set("x265-params", &format!("{X265}:pools={threads}:frame-threads={frame_threads}"));
            rate(&mut settings, target.rate, common.rate_scale);
        }
        VideoCodec::Av1 => {
            settings.set("preset", &target.preset.svt_av1().to_string());
            // One key frame, as for the others; but it shares an average out among as many frames as it is told.
            let frames = common.frames.div_ceil(target.fps_divisor.max(1).into());
            settings.set("g", &(frames + 1).to_string());
            settings.set("svtav1-params", &format!("lp={threads}"));
            rate(&mut settings, target.rate, common.rate_scale);
        }
    }
    settings
}

/// `scale` is for encoders that count time in frames: see [`Common::rate_scale`].
fn rate(settings: &mut Dictionary, rate: Rate, scale: f64) {
    let scaled = |bps: u64| ((bps as f64 * scale) as u64).to_string();
    match rate {
        Rate::Capped { crf, bitrate_bps_max } => {
            settings.set("crf", &crf.to_string());
            settings.set("maxrate", &scaled(bitrate_bps_max));
            settings.set("bufsize", &scaled(bitrate_bps_max));
        }
        Rate::Average { bitrate_bps } => {
            settings.set("b", &scaled(bitrate_bps));
            settings.set("maxrate", &scaled(bitrate_bps + bitrate_bps / 10));
            settings.set("bufsize", &scaled(bitrate_bps * AVERAGE_BUFFER_MS / 1_000));
        }
    }
}
