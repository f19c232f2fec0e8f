//! Real clips and what is made of them with ffmpeg, and what ffprobe tells about any media.

use std::{env, fs, path::PathBuf, process, process::Command};

/// Longest that one of ffmpeg's tools may take, in seconds.
const TOOL_S_MAX: &str = "120";

/// A clip that deploy/test fetched.
#[track_caller]
pub(crate) fn clip(name: &str) -> PathBuf {
    let cache = || {
        let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || PathBuf::from(env::var_os("HOME").expect("HOME is set")).join(".cache");
        cache.unwrap_or_else(home).join("millrace/clips")
    };
    let path = env::var_os("MILLRACE_CLIPS").map_or_else(cache, PathBuf::from).join(name);
    assert!(path.is_file(), "{} is not there: run deploy/test, which fetches it", path.display());
    path
}

/// Runs a tool to its end; returns what it wrote, to both streams. Fails the test if the tool fails.
#[track_caller]
pub(crate) fn tool(program: &str, args: &[&str]) -> String {
    let out = Command::new("timeout").arg(TOOL_S_MAX).arg(program).args(args).output().expect("timeout is there");
    let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert!(out.status.success(), "{program} {args:?} came to {}:\n{text}", out.status);
    text
}

/// A file for pushing: 640x360, 24 frames/s, a key frame every 2 s, B-frames, AAC; `seconds` of the trailer, looped.
#[track_caller]
pub(crate) fn live_source(seconds: u32) -> PathBuf {
    let args = format!(
        "-t {seconds} -vf scale=640:360:flags=bicubic -c:v libx264 -preset veryfast -g 48 -keyint_min 48 \
         -sc_threshold 0 -pix_fmt yuv420p -c:a aac -b:a 96k -ar 48000 -ac 2"
    );
    made(&format!("live-{seconds}.mp4"), &["-stream_loop", "-1", "-i", text(&clip("trailer.mp4"))], &args)
}

/// `name` in the tests' folder, made once by ffmpeg from `input` with `args`.
#[track_caller]
pub(crate) fn made(name: &str, input: &[&str], args: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let path = dir.join(name);
    if !path.is_file() {
        fs::create_dir_all(&dir).expect("the tests' folder can be made");
        // Tests run side by side: each makes its own, and the last one put in place stays.
        let scratch = dir.join(format!("{}-{name}", process::id()));
        let args = ["-v", "error", "-nostdin", "-y"].into_iter().chain(input.iter().copied()).chain(args.split(' '));
        let args: Vec<_> = args.filter(|arg| !arg.is_empty()).chain([text(&scratch)]).collect();
        tool("ffmpeg", &args);
        fs::rename(&scratch, &path).expect("a file can be put in place");
    }
    path
}

/// A path as an argument.
pub(crate) fn text(path: &std::path::Path) -> &str {
    path.to_str().expect("the tests' paths are UTF-8")
}

/// The presentation times of one track, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Times {
    /// Ticks per second.
    pub(crate) timescale: i64,
    /// In ticks.
    pub(crate) pts: Vec<i64>,
}

impl Times {
    /// Seconds from the first time to each.
    pub(crate) fn offsets_s(&self) -> Vec<f64> {
        self.pts.iter().map(|pts| (pts - self.pts[0]) as f64 / self.timescale as f64).collect()
    }

    /// The first time, in seconds.
    pub(crate) fn start_s(&self) -> f64 {
        self.pts[0] as f64 / self.timescale as f64
    }
}

/// Presentation times of all packets of a track of a file or an address; `track` is `v:0` or `a:0`.
#[track_caller]
pub(crate) fn times(media: &str, track: &str) -> Times {
    let time_base = field(media, track, "time_base");
    let (one, timescale) = time_base.split_once('/').expect("a time base is a fraction");
    assert_eq!(one, "1", "time base of {media}");
    let lines = tool(
        "ffprobe",
        &["-v", "error", "-select_streams", track, "-show_entries", "packet=pts", "-of", "csv=p=0", media],
    );
    let mut pts: Vec<_> = lines.lines().filter_map(|line| line.split(',').next()?.parse().ok()).collect();
    pts.sort_unstable();
    assert!(!pts.is_empty(), "ffprobe saw no packet of {track} in {media}:\n{lines}");
    Times { timescale: timescale.parse().expect("a number"), pts }
}

/// One field of a track, as ffprobe tells it.
#[track_caller]
pub(crate) fn field(media: &str, track: &str, name: &str) -> String {
    let entry = format!("stream={name}");
    let out =
        tool("ffprobe", &["-v", "error", "-select_streams", track, "-show_entries", &entry, "-of", "csv=p=0", media]);
    // A track of an HLS stream is told twice, the second time as part of its program.
    out.lines().next().unwrap_or_default().trim_end_matches(',').to_owned()
}
