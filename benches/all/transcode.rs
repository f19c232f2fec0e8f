//! Segments through the media child, as a worker runs it, beside the ffmpeg command line with the same codec settings:
//! with a plain `split` and with our cascade, one segment at a time on all threads and as many at once as there are
//! cores on one thread each. All ways take turns; VMAF tells what each made.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use millrace_media::{Launcher, Limits, job};
use millrace_proto::{
    profile::Rate,
    task::{Part, Target, output_name},
};

use crate::{
    clips::{Segment, segments},
    kit::{Kit, run as run_program},
    measure::{children, children_cpu_s, median, spread},
    report::Table,
    vmaf::vmaf,
};

/// Who transcodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    CliSplit,
    CliCascade,
    Ours,
}

/// How a segment is transcoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    who: Who,
    /// As many segments as there are cores, on one thread each; or one, on all threads.
    at_once: bool,
}

const WAYS: [Way; 6] = [
    Way { who: Who::CliSplit, at_once: false },
    Way { who: Who::CliCascade, at_once: false },
    Way { who: Who::Ours, at_once: false },
    Way { who: Who::CliSplit, at_once: true },
    Way { who: Who::CliCascade, at_once: true },
    Way { who: Who::Ours, at_once: true },
];

impl Way {
    fn name(self) -> String {
        let who = match self.who {
            Who::CliSplit => "ffmpeg, split",
            Who::CliCascade => "ffmpeg, cascade",
            Who::Ours => "millrace-media",
        };
        format!("{who}, {}", if self.at_once { "one segment a core" } else { "one segment, all threads" })
    }
}

/// What one way took for all segments, once.
#[derive(Debug, Clone, Copy)]
struct Took {
    wall_s: f64,
    cpu_s: f64,
}

pub(crate) fn run(kit: &Kit) -> Result<Table> {
    let (count, rounds) = if kit.quick { (4, 2) } else { (10, 3) };
    let mut all = segments(kit, "bunny")?;
    all.extend(segments(kit, "trailer")?.into_iter().take(count - all.len()));
    let mut took: BTreeMap<Way, Vec<Took>> = BTreeMap::new();
    let mut outs = BTreeMap::new();
    for round in 0..rounds {
        for way in WAYS {
            let out = kit.folder(&format!("transcoded-{way:?}").replace([' ', '{', '}', ':', ','], ""))?;
            took.entry(way).or_default().push(go(kit, way, &all, &out)?);
            if round == 0 {
                outs.insert(way, out);
            }
        }
    }
    let mut table = Table::new(&["way", "wall s", "CPU s", "times real time", "VMAF of each rung"]);
    let seconds: f64 = all.iter().map(|segment| segment.seconds).sum();
    let mut quality = BTreeMap::new();
    for way in WAYS {
        let vmafs = score(kit, way, &all, &outs[&way])?;
        let walls: Vec<f64> = took[&way].iter().map(|took| took.wall_s).collect();
        let cpus: Vec<f64> = took[&way].iter().map(|took| took.cpu_s).collect();
        let (low, high) = spread(&walls);
        table.row([
            way.name(),
            format!("{:.2} ({low:.2} to {high:.2})", median(&walls)),
            format!("{:.2}", median(&cpus)),
            format!("{:.1}", seconds / median(&walls)),
            vmafs.iter().map(|(name, score)| format!("{name} {score:.2}")).collect::<Vec<_>>().join(", "),
        ]);
        quality.insert(way, vmafs);
    }
    let ratio = |slow: Way, fast: Way| -> Vec<f64> {
        took[&slow].iter().zip(&took[&fast]).map(|(slow, fast)| slow.wall_s / fast.wall_s).collect()
    };
    let way = |who, at_once| Way { who, at_once };
    let (ours, one_by_one) = (way(Who::Ours, true), way(Who::Ours, false));
    table.at_least(
        "speed beside one ffmpeg run a segment with split, one by one; ours with one segment a core",
        1.25,
        &ratio(way(Who::CliSplit, false), ours),
    );
    table.at_least(
        "speed beside ffmpeg with cascade, both with one segment a core",
        1.08,
        &ratio(way(Who::CliCascade, true), ours),
    );
    table.at_least(
        "speed beside ffmpeg with cascade, both with one segment on all threads",
        1.08,
        &ratio(way(Who::CliCascade, false), one_by_one),
    );
    let quality = &quality;
    let lost = |ours: Way, other: Way| quality[&other].iter().map(move |(name, score)| score - quality[&ours][name]);
    let worst = [ours, one_by_one]
        .into_iter()
        .flat_map(|ours| [Who::CliSplit, Who::CliCascade].map(|who| (ours, way(who, ours.at_once))))
        .flat_map(|(ours, other)| lost(ours, other))
        .fold(f64::NEG_INFINITY, f64::max);
    table.at_most("VMAF lost beside ffmpeg, the worst of all rungs and ways", 0.2, &[worst]);
    table.remark(format!(
        "{} segments of 2 s, 1280x720, of Big Buck Bunny and its trailer, published with a keyframe every two seconds, \
         into {} with x264 veryfast at the rates of the profile `standard`; medians of {rounds} rounds in which all ways \
         take turns. `bikes.mp4` is smaller than the lowest of several rungs and left out.",
        all.len(),
        all[0].targets.iter().map(|target| format!("{}x{}", target.width, target.height)).collect::<Vec<_>>().join(", ")
    ));
    Ok(table)
}

fn go(kit: &Kit, way: Way, segments: &[Segment], out: &Path) -> Result<Took> {
    let at_once = if way.at_once { kit.cores } else { 1 };
    let threads = if way.at_once { 1 } else { kit.cores };
    let launcher = Launcher::new(kit.program("millrace-media")?);
    let (begun, cpu_s) = (Instant::now(), children_cpu_s());
    match way.who {
        Who::Ours => kit.runtime.block_on(ours(&launcher, segments, out, threads as u32, at_once))?,
        who => theirs(who, segments, out, threads, at_once)?,
    }
    let wall_s = begun.elapsed().as_secs_f64();
    // A child of ours that has answered ends by itself, and is waited for by the runtime a moment later.
    let deadline = Instant::now() + Duration::from_secs(5);
    while !children(std::process::id()).is_empty() && Instant::now() < deadline {
        std::thread::yield_now();
    }
    Ok(Took { wall_s, cpu_s: children_cpu_s() - cpu_s })
}

async fn ours(launcher: &Launcher, segments: &[Segment], out: &Path, threads: u32, at_once: usize) -> Result<()> {
    let jobs = segments.iter().map(|segment| async move {
        let out = out.join(&segment.name);
        fs::create_dir_all(&out)?;
        let (source, targets) = (segment.pair.clone(), segment.targets.clone());
        let limits = Limits::transcode(&targets);
        launcher.transcode(&job::Transcode { source, targets, out, threads, card: None }, &limits).await?;
        anyhow::Ok(())
    });
    stream::iter(jobs.collect::<Vec<_>>()).buffer_unordered(at_once).try_collect().await
}

fn theirs(who: Who, segments: &[Segment], out: &Path, threads: usize, at_once: usize) -> Result<()> {
    let waiting: Mutex<VecDeque<&Segment>> = Mutex::new(segments.iter().collect());
    let work = || {
        while let Some(segment) = { waiting.lock().expect("no holder panics").pop_front() } {
            let folder = out.join(&segment.name);
            fs::create_dir_all(&folder)?;
            run_program(&mut ffmpeg(who, segment, &folder, threads))?;
        }
        anyhow::Ok(())
    };
    std::thread::scope(|scope| {
        let hands: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        hands.into_iter().try_for_each(|hand| hand.join().expect("no hand panics"))
    })
}

/// The command that makes the same renditions, with the encoders' settings of
/// worker/media/child/src/transcode/encode/settings.rs.
fn ffmpeg(who: Who, segment: &Segment, out: &Path, threads: usize) -> Command {
    let threads = threads.to_string();
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-y", "-filter_threads", &threads]);
    command.args(["-filter_complex_threads", &threads, "-threads", &threads, "-i"]).arg(&segment.file);
    command.args(["-filter_complex", &graph(who, &segment.targets)]);
    for (at, target) in segment.targets.iter().enumerate() {
        let Rate::Capped { crf, bitrate_bps_max } = target.rate else { unreachable!("`standard` caps its rungs") };
        command.args(["-map", &format!("[r{at}]"), "-c:v", "libx264", "-threads", &threads]);
        command.args(["-preset", target.preset.as_str(), "-profile:v", target.profile.as_str(), "-a53cc", "0"]);
        command.args(["-x264-params", "keyint=infinite:min-keyint=100000:stitchable=1"]);
        command.args(["-crf", &crf.to_string(), "-maxrate", &bitrate_bps_max.to_string()]);
        command.args(["-bufsize", &bitrate_bps_max.to_string()]);
        command.args(["-f", "mp4", "-movflags", "frag_keyframe+empty_moov+default_base_moof"]);
        command.arg(rendition(out, &target.name));
    }
    command
}

fn graph(who: Who, targets: &[Target]) -> String {
    let scale = |target: &Target| format!("scale={}:{}:flags=bicubic", target.width, target.height);
    let last = targets.len() - 1;
    let split = who == Who::CliSplit;
    let legs = targets.iter().enumerate().map(|(at, target)| {
        let from = match at {
            _ if split => format!("[s{at}]"),
            0 => "[0:v]".to_owned(),
            _ => format!("[c{at}]"),
        };
        let end = if split || at == last { format!("[r{at}]") } else { format!(",split[r{at}][c{}]", at + 1) };
        format!("{from}{}{end}", scale(target))
    });
    let mut chains: Vec<String> = legs.collect();
    if split {
        let outs: Vec<String> = (0..targets.len()).map(|at| format!("[s{at}]")).collect();
        chains.insert(0, format!("[0:v]split={}{}", targets.len(), outs.concat()));
    }
    chains.join(";")
}

fn rendition(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.mp4"))
}

/// The mean VMAF of each rung.
fn score(kit: &Kit, way: Way, segments: &[Segment], out: &Path) -> Result<BTreeMap<String, f64>> {
    let mut scores: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for segment in segments {
        let folder = out.join(&segment.name);
        for target in &segment.targets {
            let file = rendition(&folder, &target.name);
            if way.who == Who::Ours {
                let part = |part| fs::read(folder.join(output_name(&target.name, part)));
                fs::write(&file, [part(Part::Init)?, part(Part::Segment)?].concat())?;
            }
            let source = segment.targets.first().context("a rendition")?;
            let score = vmaf(kit, &file, &segment.file, (source.width, source.height))?;
            scores.entry(target.name.clone()).or_default().push(score);
        }
    }
    Ok(scores.into_iter().map(|(name, scores)| (name, scores.iter().sum::<f64>() / scores.len() as f64)).collect())
}
