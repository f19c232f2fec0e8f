//! Clips as publishers send them: a keyframe every two seconds; and their segments as workers get them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use millrace_cmaf::{ORIGIN_S, Sample, Track};
use millrace_media::{
    Launcher, Limits,
    job::{Demux, Demuxed, Pair},
};
use millrace_orchestrator::task::plan;
use millrace_proto::{profile::Choice, task::Target};

use crate::kit::{Kit, run};

/// A segment on disk.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) pair: Pair,
    /// The same in one file.
    pub(crate) file: PathBuf,
    /// Largest first.
    pub(crate) targets: Vec<Target>,
    pub(crate) seconds: f64,
}

/// The clip `name` as a live encoder sends it: H.264, a keyframe every two seconds, AAC.
pub(crate) fn published(kit: &Kit, name: &str) -> Result<PathBuf> {
    let file = kit.folder(&format!("published-{name}"))?.join(format!("{name}.mp4"));
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-i"]).arg(kit.clip(&format!("{name}.mp4"))?);
    command.args(["-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-pix_fmt", "yuv420p", "-sc_threshold", "0"]);
    command.args(["-force_key_frames", "expr:gte(t,n_forced*2)", "-c:a", "aac", "-b:a", "128k"]);
    run(command.arg(&file))?;
    Ok(file)
}

/// The segments of two seconds of [`published`], in the renditions of the profile `standard`.
pub(crate) fn segments(kit: &Kit, name: &str) -> Result<Vec<Segment>> {
    let file = published(kit, name)?;
    let launcher = Launcher::new(kit.program("millrace-media")?);
    let (track, samples) = kit.runtime.block_on(video(&launcher, &file))?;
    let folder = kit.folder(&format!("segments-{name}"))?;
    let profile = Choice::default().resolve().context("the default profile")?;
    let display = track.video().map(|video| video.display_size()).context("a picture")?;
    let rungs = plan::rungs(&profile, display);
    let targets: Vec<Target> = rungs.iter().map(|rung| plan::target(rung, display)).collect();
    let init = millrace_cmaf::init(&track)?;
    let starts: Vec<usize> = (0..samples.len()).filter(|&at| samples[at].key).collect();
    let mut segments = Vec::new();
    // What is behind the last keyframe is shorter than the others, and left out.
    for (at, place) in starts.windows(2).enumerate() {
        let (part, end) = (&samples[place[0]..place[1]], samples[place[1]].pts);
        let media = millrace_cmaf::segment(&track, at as u32 + 1, part, end)?;
        segments.push(write(&folder, &format!("{name}-{at}"), &init, &media, &targets, &track, part, end)?);
    }
    Ok(segments)
}

#[expect(clippy::too_many_arguments, reason = "what a segment is made of")]
fn write(
    folder: &Path,
    name: &str,
    init: &[u8],
    media: &[u8],
    targets: &[Target],
    track: &Track,
    part: &[Sample],
    end: i64,
) -> Result<Segment> {
    let path = |ending: &str| folder.join(format!("{name}.{ending}"));
    let pair = Pair { init: path("init"), preroll: Vec::new(), segment: path("segment") };
    fs::write(&pair.init, init)?;
    fs::write(&pair.segment, media)?;
    fs::write(path("mp4"), [init, media].concat())?;
    let first = part.iter().map(|sample| sample.pts).min().unwrap_or(end);
    let seconds = (end - first) as f64 / f64::from(track.timescale);
    Ok(Segment { name: name.to_owned(), pair, file: path("mp4"), targets: targets.to_vec(), seconds })
}

/// The picture's track and samples, on the timeline that files have.
async fn video(launcher: &Launcher, file: &Path) -> Result<(Track, Vec<Sample>)> {
    let mut demuxing = launcher.demux(&Demux { input: file.to_owned() }, &Limits::whole_file()).await?;
    let (mut track, mut samples) = (None, Vec::new());
    while let Some(event) = demuxing.next().await? {
        match event {
            Demuxed::Tracks { video, .. } => track = video,
            Demuxed::Video(mut sample) => {
                let scale = track.as_ref().map_or(0, |track: &Track| track.timescale);
                sample.pts += i64::from(scale) * ORIGIN_S;
                sample.dts += i64::from(scale) * ORIGIN_S;
                samples.push(sample);
            }
            Demuxed::Audio(_) | Demuxed::Ignored(_) | Demuxed::End => {}
        }
    }
    let Some(track) = track else { bail!("{} has no picture", file.display()) };
    Ok((track, samples))
}
