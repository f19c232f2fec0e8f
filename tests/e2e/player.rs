//! Players other than the browser, on real streams: ffmpeg, ffplay, GStreamer and VLC.

use std::{fs, process::Command};

use nix::sys::signal::Signal;

use crate::{
    house::House,
    program::Program,
    stranger::Stranger,
    wait::{s, until},
};

/// One of as many pictures as this is written down by VLC.
const VLC_RATIO: u64 = 24;

/// VLC, which refuses to run as root.
pub(crate) struct Vlc {
    program: Program,
    user: Stranger,
}

impl Vlc {
    pub(crate) fn start(house: &House, url: &str) -> Self {
        let user = Stranger::new();
        let mut command = user.command("vlc");
        command.args(["-I", "dummy", "--no-audio", "--play-and-exit", "--no-video-title-show", "--vout", "vdummy"]);
        command.args(["--video-filter", "scene", "--scene-format", "jpg", "--scene-prefix", "at", "--scene-ratio"]);
        command.arg(VLC_RATIO.to_string()).arg("--scene-path").arg(user.dir()).args(["-v", url]);
        Self { program: Program::start("vlc", &mut command, house.log_path("vlc")), user }
    }

    /// Waits until it has played to the end; returns the frames that it showed.
    #[track_caller]
    pub(crate) fn end(mut self) -> u64 {
        let status = self.program.wait(s(60));
        let log = self.program.log();
        assert!(status.success(), "VLC came to {status}:\n{log}");
        self.frames()
    }

    /// How many frames it has shown, to the nearest second.
    pub(crate) fn frames(&self) -> u64 {
        let pictures = fs::read_dir(self.user.dir()).expect("its folder can be read").flatten();
        let count = pictures.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "jpg")).count();
        count as u64 * VLC_RATIO
    }
}

/// Starts ffplay for `seconds` of the stream, with pictures and sound going nowhere.
pub(crate) fn ffplay(house: &House, url: &str, seconds: u32) -> Program {
    let mut command = Command::new("ffplay");
    command.env("SDL_VIDEODRIVER", "dummy").env("SDL_AUDIODRIVER", "dummy");
    command.args(["-hide_banner", "-loglevel", "info", "-stats", "-autoexit", "-t", &seconds.to_string(), url]);
    Program::start("ffplay", &mut command, house.log_path("ffplay"))
}

/// Waits for ffplay's end; returns for how long it played, in seconds.
#[track_caller]
pub(crate) fn ffplay_end(mut ffplay: Program) -> f64 {
    let status = ffplay.wait(s(60));
    let log = ffplay.log();
    assert!(status.success(), "ffplay came to {status}:\n{log}");
    // A status line: the master clock, then the difference of the clocks: "  7.96 A-V: -0.012 fd= 0 aq= ...".
    // The clock is the stream's own: it starts where ffplay came in.
    let clock = |line: &str| line.split_once("A-V:")?.0.trim().parse::<f64>().ok().filter(|clock| clock.is_finite());
    let clocks: Vec<f64> = log.split(['\r', '\n']).filter_map(clock).collect();
    let (Some(first), Some(last)) = (clocks.first(), clocks.last()) else {
        panic!("ffplay showed no picture with sound:\n{log}");
    };
    last - first
}

/// Decodes `seconds` of the stream with ffmpeg as fast as it comes, every rung and the audio; returns frames by rung.
pub(crate) fn ffmpeg(house: &House, url: &str, seconds: u32) -> Program {
    ffmpeg_as(house, "ffmpeg", url, seconds)
}

/// The same for one of several beside each other.
pub(crate) fn ffmpeg_as(house: &House, name: &str, url: &str, seconds: u32) -> Program {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "info", "-nostdin", "-i", url, "-t", &seconds.to_string()]);
    command.args(["-map", "0:v", "-map", "0:a", "-f", "null", "-"]);
    Program::start(name, &mut command, house.log_path(name))
}

/// Waits for ffmpeg's end; returns the frames of its first video track.
#[track_caller]
pub(crate) fn ffmpeg_end(mut ffmpeg: Program) -> u64 {
    let status = ffmpeg.wait(s(60));
    let log = ffmpeg.log();
    assert!(status.success(), "ffmpeg came to {status}:\n{log}");
    for bad in ["Invalid data", "corrupt", "Non-monotonous", "error while decoding", "HTTP error"] {
        assert!(!log.contains(bad), "ffmpeg complains:\n{log}");
    }
    let frames = log.rsplit_once("frame=").and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
    frames.unwrap_or_else(|| panic!("ffmpeg told no frames:\n{log}"))
}

/// Starts GStreamer's playbin3 with sinks that count.
pub(crate) fn gstreamer(house: &House, name: &str, url: &str) -> Program {
    let mut command = Command::new("gst-launch-1.0");
    command.args(["-v", "playbin3", &format!("uri={url}")]);
    command.arg("video-sink=fpsdisplaysink text-overlay=false fps-update-interval=500 video-sink=fakesink");
    command.arg("audio-sink=fakesink sync=true");
    Program::start(name, &mut command, house.log_path(name))
}

/// The frames that GStreamer says it has shown.
fn rendered(log: &str) -> Option<u64> {
    log.rsplit_once("rendered: ").and_then(|(_, rest)| rest.split(',').next()?.parse().ok())
}

/// Waits until GStreamer has played to the end; returns the frames that it showed.
#[track_caller]
pub(crate) fn gstreamer_end(mut gst: Program) -> u64 {
    let status = gst.wait(s(90));
    let log = gst.log();
    assert!(status.success() && log.contains("Got EOS"), "GStreamer came to {status}:\n{log}");
    rendered(&log).unwrap_or_else(|| panic!("GStreamer showed nothing:\n{log}"))
}

/// The frames that GStreamer showed of what it has played to the end by now; nothing if it complains, or hangs.
pub(crate) fn gstreamer_came_to(mut gst: Program) -> Option<u64> {
    let well = gst.ended()?.success();
    let log = gst.log();
    rendered(&log).filter(|_| well && !log.contains("ERROR"))
}

/// Waits until GStreamer has shown `frames` frames, then stops it.
#[track_caller]
pub(crate) fn gstreamer_shows(mut gst: Program, frames: u64) {
    until("GStreamer to show frames", s(60), || {
        let over = gst.ended().is_some();
        let log = gst.log();
        let count = rendered(&log);
        let enough = count.is_some_and(|count: u64| count >= frames);
        assert!(enough || !over, "GStreamer ended after {count:?} frames:\n{log}");
        enough.then_some(())
    });
    gst.signal(Signal::SIGINT);
    gst.wait(s(15));
    let log = gst.log();
    assert!(!log.contains("ERROR"), "GStreamer complains:\n{log}");
}
