//! What the farm adds: a file through an orchestrator and a worker on one machine, beside the worker's media child alone
//! on the same segments, and how busy the worker's slots were from the first child to the last.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use millrace_media::{
    Launcher, Limits,
    job::{Pair, Transcode},
};
use millrace_orchestrator::task::plan;
use millrace_proto::{api::StreamState, profile::Choice, task::Target};
use millrace_worker::cli;
use serde_json::json;

use crate::{
    clips::published,
    house::{House, Plan, Program},
    kit::{Kit, run as run_program},
    measure::{children, median},
    report::Table,
};

/// How often the worker's children are counted.
const LOOK: Duration = Duration::from_millis(10);
/// How often the stream is asked for: the orchestrator's answers are its own work.
const ASK: Duration = Duration::from_millis(50);

/// The arguments of each worker.
type Workers = &'static [&'static [&'static str]];

/// What one run through the farm took.
struct Took {
    /// From the first child's start to the last one's end, of the part of time in which all slots had one.
    busy: f64,
    wall_s: f64,
    folder: PathBuf,
    id: String,
}

pub(crate) fn run(kit: &Kit) -> Result<Table> {
    // Shorter than the clip: where it begins anew a segment may need the one before, which the child alone does not get.
    let (length_s, rounds) = if kit.quick { (20, 1) } else { (50, 3) };
    let file = looped(kit, length_s)?;
    let one: Workers = &[&[]];
    let mut farm = Vec::new();
    let mut alone = Vec::new();
    for _ in 0..rounds {
        let took = through(kit, &file, one)?;
        let pairs = sources(&took)?;
        alone.push(by_itself(kit, &pairs)?);
        farm.push(took);
    }
    // Many small workers, as in a pool, and long enough that beginning and end weigh little.
    let two: Workers = &[&["--slots", "1", "--threads", "1"], &["--slots", "1", "--threads", "1"]];
    let long_s = if kit.quick { 60 } else { 600 };
    let long = through(kit, &looped(kit, long_s)?, two)?;
    let ratios: Vec<f64> = farm.iter().zip(&alone).map(|(farm, alone)| farm.wall_s / alone).collect();
    let walls: Vec<f64> = farm.iter().map(|took| took.wall_s).collect();
    let busy: Vec<f64> = farm.iter().map(|took| took.busy).collect();
    let mut table = Table::new(&["way", "wall s", "times real time", "part of the time in which every slot works"]);
    let rate_of = |length_s: u32, wall_s: f64| format!("{:.1}", f64::from(length_s) / wall_s);
    let rate = |wall_s| rate_of(length_s, wall_s);
    table.row([
        "orchestrator and worker".to_owned(),
        format!("{:.2}", median(&walls)),
        rate(median(&walls)),
        format!("{:.3}", median(&busy)),
    ]);
    table.row(["media child alone".to_owned(), format!("{:.2}", median(&alone)), rate(median(&alone)), "1".to_owned()]);
    table.row([
        format!("orchestrator and two workers of one slot, {long_s} s, once"),
        format!("{:.2}", long.wall_s),
        rate_of(long_s, long.wall_s),
        format!("{:.3}", long.busy),
    ]);
    table.at_most("time of a file through the farm, beside the child alone", 1.05, &ratios);
    table.at_least("part of the time from first to last child in which every slot works", 0.95, &busy);
    table.at_least("the same of all slots of two workers, over a long file", 0.95, &[long.busy]);
    table.remark(format!(
        "{length_s} s of the trailer of Big Buck Bunny, in the profile `standard`, from the end of the upload to the end of \
         the stream; one worker with its default slots and threads on the same {} cores, which also check every \
         outcome. The child alone is started by the worker's own launcher on the segments that the orchestrator cut, \
         with as many slots and threads. Medians of {rounds} rounds in turns.",
        kit.cores
    ));
    Ok(table)
}

/// The trailer, again and again, without a new encoding.
fn looped(kit: &Kit, length_s: u32) -> Result<PathBuf> {
    let file = kit.folder("looped")?.join("looped.mp4");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-stream_loop", "-1", "-i"]).arg(published(kit, "trailer")?);
    run_program(command.args(["-c", "copy", "-t", &length_s.to_string()]).arg(&file))?;
    Ok(file)
}

/// A worker's own, with all slots taken.
fn slots_and_threads(kit: &Kit) -> (u32, u32) {
    let (slots, threads_max) = cli::slots_and_threads(None, None, kit.cores as u32, kit.cores as u32);
    (slots, (kit.cores as u32 / slots).clamp(1, threads_max))
}

fn through(kit: &Kit, file: &Path, workers: Workers) -> Result<Took> {
    let mut house = House::start(kit, "whole-house", &Plan { log: "warn", workers, ..Plan::default() })?;
    let stream = house.create("file", &json!("standard"))?;
    let id = stream.id.to_string();
    let pids: Vec<_> = house.workers.iter().map(Program::pid).collect();
    let done = Arc::new(AtomicBool::new(false));
    let watch = thread::spawn({
        let done = done.clone();
        move || {
            let mut seen = Vec::new();
            while !done.load(Ordering::Relaxed) {
                seen.push(pids.iter().map(|pid| children(*pid).len()).sum::<usize>());
                thread::sleep(LOOK);
            }
            seen
        }
    });
    house.upload(&id, file)?;
    let begun = Instant::now();
    while house.stream(&id)?.state != StreamState::Ended {
        ensure!(begun.elapsed() < Duration::from_mins(10), "the file is not through after 10 min");
        thread::sleep(ASK);
    }
    let wall_s = begun.elapsed().as_secs_f64();
    done.store(true, Ordering::Relaxed);
    let seen = watch.join().map_err(|_| anyhow::anyhow!("the watch ended early"))?;
    let slots = slots_and_threads(kit).0 as usize;
    let first = seen.iter().position(|&count| count > 0).context("the worker had no child")?;
    let last = seen.iter().rposition(|&count| count > 0).unwrap_or(first);
    let part = &seen[first..=last];
    let busy = part.iter().filter(|&&count| count >= slots).count() as f64 / part.len() as f64;
    house.orchestrator.stop()?;
    Ok(Took { busy, wall_s, folder: house.folder.clone(), id })
}

/// The segments that the orchestrator cut, as it keeps them.
fn sources(took: &Took) -> Result<Vec<Pair>> {
    let media = took.folder.join("data/media").join(&took.id);
    let database = took.folder.join("data/millrace.db");
    let rows = crate::store::sources(&database)?;
    let pair = |(init, segment): (String, String)| Pair {
        init: media.join(init),
        preroll: Vec::new(),
        segment: media.join(segment),
    };
    Ok(rows.into_iter().map(pair).collect())
}

/// Seconds of the child alone.
fn by_itself(kit: &Kit, pairs: &[Pair]) -> Result<f64> {
    let (slots, threads) = slots_and_threads(kit);
    let profile = Choice::default().resolve().context("the default profile")?;
    let display = (1_280, 720);
    let rungs = plan::rungs(&profile, display);
    let targets: Vec<Target> = rungs.iter().map(|rung| plan::target(rung, display)).collect();
    let launcher = Launcher::new(kit.program("millrace-media")?);
    let out = kit.folder("alone")?;
    let begun = Instant::now();
    let jobs = pairs.iter().enumerate().map(|(at, source)| {
        let (out, targets, launcher) = (out.join(at.to_string()), targets.clone(), &launcher);
        async move {
            fs::create_dir_all(&out)?;
            let limits = Limits::transcode(&targets);
            launcher
                .transcode(&Transcode { source: source.clone(), targets, out, threads, card: None }, &limits)
                .await?;
            anyhow::Ok(())
        }
    });
    kit.runtime
        .block_on(stream::iter(jobs.collect::<Vec<_>>()).buffer_unordered(slots as usize).try_collect::<()>())?;
    Ok(begun.elapsed().as_secs_f64())
}
