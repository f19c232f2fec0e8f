//! What the tests of the media child share: media made by the ffmpeg command line, and files read through the
//! launcher.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use millrace_cmaf::{ORIGIN_S, Sample, Track, init, segment};
use millrace_media::{
    Failure, Launcher, Limits,
    job::{Demux, Demuxed, Pair},
};
use millrace_proto::{
    profile::{H264Profile, Preset, Rate, VideoCodec},
    task::Target,
};

pub(crate) fn launcher() -> Launcher {
    Launcher::new(env!("CARGO_BIN_EXE_millrace-media"))
}

/// Runs ffmpeg on `arguments` (split at spaces) and returns the file it made in `dir`.
pub(crate) fn ffmpeg(dir: &Path, arguments: &str, name: &str) -> PathBuf {
    let file = dir.join(name);
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-nostdin"])
        .args(arguments.split_whitespace())
        .arg(&file)
        .output()
        .expect("ffmpeg can be started: install it");
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    file
}

/// What ffprobe says of `entries`, a row of values each.
pub(crate) fn probe(file: &Path, stream: &str, entries: &str) -> Vec<Vec<String>> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", stream, "-show_entries", entries, "-of", "csv=p=0"])
        .arg(file)
        .output()
        .expect("ffprobe can be started: install it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let rows = text.lines().filter(|line| !line.is_empty());
    rows.map(|line| line.trim_end_matches(',').split(',').map(str::to_owned).collect()).collect()
}

/// Everything a demux passed on.
#[derive(Debug, Default)]
pub(crate) struct Demuxing {
    pub(crate) video_track: Option<Track>,
    pub(crate) audio_track: Option<Track>,
    pub(crate) video: Vec<Sample>,
    pub(crate) audio: Vec<Sample>,
    pub(crate) tracks_told: usize,
}

pub(crate) async fn demux(file: &Path) -> Result<Demuxing, Failure> {
    let job = Demux { input: file.to_owned() };
    let mut reading = launcher().demux(&job, &Limits::whole_file()).await?;
    let mut all = Demuxing::default();
    let mut ended = false;
    while let Some(next) = reading.next().await? {
        assert!(!ended, "nothing comes after the end");
        match next {
            Demuxed::Tracks { video, audio } => {
                all.tracks_told += 1;
                (all.video_track, all.audio_track) = (video, audio);
            }
            Demuxed::Video(sample) => all.video.push(sample),
            Demuxed::Audio(sample) => all.audio.push(sample),
            Demuxed::Ignored(_) => {}
            Demuxed::End => ended = true,
        }
    }
    assert!(ended);
    Ok(all)
}

/// Writes the video as CMAF segments, cut at every key frame, on a timeline that starts at the origin.
pub(crate) fn segments(dir: &Path, track: &Track, samples: &[Sample]) -> Vec<Pair> {
    let starts: Vec<usize> = (0..samples.len()).filter(|at| samples[*at].key).collect();
    cut(dir, track, samples, &starts)
}

/// The same, cut before the samples of these numbers.
pub(crate) fn cut(dir: &Path, track: &Track, samples: &[Sample], starts: &[usize]) -> Vec<Pair> {
    let header = dir.join("source.init");
    fs::write(&header, init(track).unwrap()).unwrap();
    let shift = ORIGIN_S * i64::from(track.timescale) - samples.iter().map(|sample| sample.pts).min().unwrap();
    let shifted: Vec<_> = samples.iter().map(|s| Sample { pts: s.pts + shift, ..s.clone() }).collect();
    let mut pairs: Vec<Pair> = Vec::new();
    for (number, from) in starts.iter().enumerate() {
        let to = starts.get(number + 1).copied().unwrap_or(shifted.len());
        let end = shifted[to..].iter().map(|next| next.pts).min().unwrap_or(0);
        let file = dir.join(format!("source-{number}.segment"));
        fs::write(&file, segment(track, number as u32 + 1, &shifted[*from..to], end).unwrap()).unwrap();
        let before = pairs.last().filter(|_| !shifted[*from].key);
        let preroll =
            before.map_or(Vec::new(), |last| [&last.preroll[..], std::slice::from_ref(&last.segment)].concat());
        pairs.push(Pair { init: header.clone(), preroll, segment: file });
    }
    pairs
}

pub(crate) fn target(name: &str, width: u32, height: u32) -> Target {
    Target {
        name: name.into(),
        width,
        height,
        codec: VideoCodec::H264,
        rate: Rate::Capped { crf: 23, bitrate_bps_max: 2_000_000 },
        preset: Preset::Veryfast,
        profile: H264Profile::High,
        fps_divisor: 1,
    }
}

/// One file of header and segments, as a player puts them together.
pub(crate) fn joined(dir: &Path, name: &str, parts: &[PathBuf]) -> PathBuf {
    let bytes: Vec<u8> = parts.iter().flat_map(|part| fs::read(part).unwrap()).collect();
    let file = dir.join(name);
    fs::write(&file, bytes).unwrap();
    file
}
