//! Segments through a graphics card, beside the same in software: each way that the card has, at the same average bit
//! rates. What comes out is judged as the orchestrator judges it, and compared by VMAF. Run where it is named alone,
//! since most machines have no card.

use std::{collections::BTreeMap, fs, path::Path, time::Instant};

use anyhow::{Context, Result, bail};
use millrace_media::{
    Launcher, Limits,
    card::{Able, Tried, TryCard, Use},
    job::{Inspect, Inspection, Pair, Transcode, Transcoded},
};
use millrace_orchestrator::verify::verdict;
use millrace_proto::{
    outcome::{Done, Rendition},
    profile::Rate,
    task::{self, Blob, Part, Target, output_name},
};
use millrace_worker::cards::{self, Wanted};

use crate::{
    clips::{Segment, segments},
    kit::Kit,
    measure::{children_cpu_s, median},
    report::Table,
    vmaf::vmaf,
};

/// What went one way.
#[derive(Debug, Default)]
struct Run {
    wall_s: Vec<f64>,
    cpu_s: Vec<f64>,
    /// Of each rung: bytes, and the VMAF of each segment.
    rungs: BTreeMap<String, (u64, Vec<f64>)>,
    /// Why segments did not go through the card.
    beside: Vec<String>,
}

pub(crate) fn run(kit: &Kit) -> Result<Table> {
    let launcher = Launcher::new(kit.program("millrace-media")?);
    let Some(card) = cards::find(&Wanted::Auto).into_iter().next() else { bail!("this machine shows no NVIDIA card") };
    let limits = Limits { wall_ms_max: 120_000, ..Limits::default().with_card() };
    let tried = kit.runtime.block_on(launcher.try_card(&TryCard { card: card.clone() }, &limits))?;
    let through = |able: Able| Some(Use { card: card.clone(), able });
    let mut ways = vec![("x264 veryfast, in software".to_owned(), None)];
    let decoding = Able { encodes: Vec::new(), ..tried.able.clone() };
    ways.push(("decoded and scaled on the card, x264".into(), through(decoding)));
    if !tried.able.encodes.is_empty() {
        ways.push(("all of it on the card".into(), through(tried.able.clone())));
    }
    let (count, rounds) = if kit.quick { (4, 1) } else { (10, 3) };
    let mut all: Vec<Segment> = segments(kit, "bunny")?.into_iter().take(count).collect();
    let missing = count - all.len();
    all.extend(segments(kit, "trailer")?.into_iter().take(missing));
    for segment in &mut all {
        segment.targets.iter_mut().for_each(average);
    }
    let mut runs: Vec<Run> = ways.iter().map(|_| Run::default()).collect();
    for round in 0..rounds {
        for (at, (_, used)) in ways.iter().enumerate() {
            let out = kit.folder(&format!("gpu-{round}-{at}"))?;
            go(kit, &launcher, &all, used.as_ref(), &out, &mut runs[at])?;
            if round == 0 {
                score(kit, &all, &out, &mut runs[at])?;
            }
        }
    }
    let names: Vec<&String> = ways.iter().map(|(name, _)| name).collect();
    Ok(table(&names, &runs, &all, &tried))
}

/// The same average for every way, in place of a cap: half of it, where encoders differ most.
fn average(target: &mut Target) {
    if let Rate::Capped { bitrate_bps_max, .. } = target.rate {
        target.rate = Rate::Average { bitrate_bps: bitrate_bps_max / 2 };
    }
}

fn go(kit: &Kit, launcher: &Launcher, all: &[Segment], used: Option<&Use>, out: &Path, run: &mut Run) -> Result<()> {
    let (begun, cpu_s) = (Instant::now(), children_cpu_s());
    let mut made = Vec::new();
    for segment in all {
        let out = out.join(&segment.name);
        fs::create_dir_all(&out)?;
        let (source, targets, threads) = (segment.pair.clone(), segment.targets.clone(), kit.cores as u32);
        let job = Transcode { source, targets, out, threads, card: used.cloned() };
        made.push(kit.runtime.block_on(launcher.transcode(&job, &Limits::default().with_card()))?);
    }
    run.wall_s.push(begun.elapsed().as_secs_f64());
    run.cpu_s.push(children_cpu_s() - cpu_s);
    for (segment, made) in all.iter().zip(made) {
        run.beside.extend(made.card_unused.clone());
        judge(kit, launcher, segment, &made, &out.join(&segment.name))?;
    }
    Ok(())
}

/// Judges what was made as a pool's orchestrator would: every frame at its source's time, key picture first.
fn judge(kit: &Kit, launcher: &Launcher, segment: &Segment, made: &Transcoded, out: &Path) -> Result<()> {
    let file = |name: &str, part| out.join(output_name(name, part));
    let pair = |name: &str| Pair { init: file(name, Part::Init), preroll: vec![], segment: file(name, Part::Segment) };
    let mut segments = vec![segment.pair.clone()];
    segments.extend(segment.targets.iter().map(|target| pair(&target.name)));
    let mut seen =
        kit.runtime.block_on(launcher.inspect(&Inspect { segments, decode_all: true }, &Limits::default()))?;
    let source = match seen.remove(0) {
        Inspection::Readable(seen) => seen,
        Inspection::Unreadable { message } => bail!("{}: {message}", segment.name),
    };
    let blob = |name: &str, part| anyhow::Ok(Blob::of(&fs::read(file(name, part))?));
    let rendition = |made: &millrace_media::job::Made| {
        let (init, segment) = (blob(&made.name, Part::Init)?, blob(&made.name, Part::Segment)?);
        anyhow::Ok(Rendition { name: made.name.clone(), init, segment, codec: made.codec.clone(), frames: made.frames })
    };
    let renditions = made.renditions.iter().map(rendition).collect::<Result<Vec<_>>>()?;
    let done = Done { renditions, report: None, frames_concealed: made.frames_concealed, work_ms: 0 };
    let task = task::Transcode { renditions: segment.targets.clone() };
    match verdict::transcode(&task, &done, &source, &seen) {
        Ok(()) => Ok(()),
        Err(why) => bail!("{} would be refused: {why}", segment.name),
    }
}

fn score(kit: &Kit, all: &[Segment], out: &Path, run: &mut Run) -> Result<()> {
    for segment in all {
        let largest = segment.targets.first().context("a rendition")?;
        for target in &segment.targets {
            let part = |part| fs::read(out.join(&segment.name).join(output_name(&target.name, part)));
            let (init, media) = (part(Part::Init)?, part(Part::Segment)?);
            let file = out.join(&segment.name).join(format!("{}.mp4", target.name));
            let (bytes, scores) = run.rungs.entry(target.name.clone()).or_default();
            *bytes += media.len() as u64;
            fs::write(&file, [init, media].concat())?;
            scores.push(vmaf(kit, &file, &segment.file, (largest.width, largest.height))?);
        }
    }
    Ok(())
}

fn table(names: &[&String], runs: &[Run], all: &[Segment], tried: &Tried) -> Table {
    let seconds: f64 = all.iter().map(|segment| segment.seconds).sum();
    let mean = |scores: &[f64]| scores.iter().sum::<f64>() / scores.len().max(1) as f64;
    let mut table = Table::new(&["way", "wall s", "CPU s", "times real time", "VMAF at kbit/s of each rung"]);
    for (name, run) in names.iter().zip(runs) {
        let rung = |(name, (bytes, scores)): (&String, &(u64, Vec<f64>))| {
            format!("{name} {:.2} at {:.0}", mean(scores), *bytes as f64 * 8.0 / seconds / 1e3)
        };
        table.row([
            (*name).clone(),
            format!("{:.2}", median(&run.wall_s)),
            format!("{:.2}", median(&run.cpu_s)),
            format!("{:.1}", seconds / median(&run.wall_s)),
            run.rungs.iter().map(rung).collect::<Vec<_>>().join(", "),
        ]);
    }
    let lost = |run: &Run| {
        let pairs = runs[0].rungs.values().zip(run.rungs.values());
        pairs.map(|((_, software), (_, card))| mean(software) - mean(card)).fold(f64::NEG_INFINITY, f64::max)
    };
    let worst = runs[1..].iter().map(lost).fold(f64::NEG_INFINITY, f64::max);
    table.at_most("VMAF lost beside x264 veryfast at the same average, the worst of all rungs and ways", 0.2, &[worst]);
    let Tried { name, memory_bytes, able, sessions, session_bytes, absent, .. } = tried;
    table.remark(format!(
        "{name}, {} MiB: {able:?}; {sessions} encoding sessions at once (at most {} are tried), {} MiB each; {} slots; \
         absent: {absent:?}. Segments one by one, each in a process of its own that opens the card anew.",
        memory_bytes >> 20,
        Tried::SESSIONS_MAX,
        session_bytes >> 20,
        cards::slots(tried)
    ));
    for why in runs.iter().flat_map(|run| &run.beside).collect::<std::collections::BTreeSet<_>>() {
        table.remark(format!("Some segments went beside the card: {why}."));
    }
    table
}
