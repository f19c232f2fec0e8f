//! How late a live segment is: from its last frame's arrival to its rungs being listed, as a part of its duration, for
//! one stream and for as many as the machine carries; and how long each step takes of that.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{
    clips::published,
    house::{House, Plan},
    kit::Kit,
    measure::quantile,
    pusher::Clip,
    report::Table,
};

/// Streams are added until the slowest of twenty segments takes longer than it plays.
const P95_MAX: f64 = 1.0;
/// A segment of `standard` plays for so long.
const SEGMENT_S: f64 = 2.0;

pub(crate) fn run(kit: &Kit) -> Result<Table> {
    let (length_s, most) = if kit.quick { (12, 1) } else { (30, 4) };
    let clip = Arc::new(Clip::read(kit, &published(kit, "trailer")?)?);
    let mut table = Table::new(&["streams", "segments", "p50", "p95", "p50 of each step, ms"]);
    let mut carried = 0;
    for count in 1..=most {
        let (lags_s, steps) = streams(kit, &clip, count, Duration::from_secs(length_s))?;
        let (p50, p95) = (quantile(&lags_s, 0.5) / SEGMENT_S, quantile(&lags_s, 0.95) / SEGMENT_S);
        let steps = steps.iter().map(|(name, ms)| format!("{name} {:.0}", quantile(ms, 0.5))).collect::<Vec<_>>();
        table.row([
            count.to_string(),
            lags_s.len().to_string(),
            format!("{p50:.2}"),
            format!("{p95:.2}"),
            steps.join(", "),
        ]);
        if p95 > P95_MAX {
            break;
        }
        carried = count;
    }
    table.remark(format!(
        "The trailer of Big Buck Bunny in real time for {length_s} s to each stream, profile `standard`, one worker with \
         its default slots and threads on the same {} cores; p50 and p95 in segment durations (2 s), counted from the \
         arrival of a segment's last sample. The machine carries as many streams as have a p95 of {P95_MAX} or less: \
         {carried}, of {most} tried at most.",
        kit.cores
    ));
    Ok(table)
}

/// Milliseconds of every segment, by step.
type Steps = BTreeMap<String, Vec<f64>>;

/// Seconds from arrival to listing of every segment, and its steps.
fn streams(kit: &Kit, clip: &Arc<Clip>, count: usize, length: Duration) -> Result<(Vec<f64>, Steps)> {
    let plan = Plan { log: "info,millrace_orchestrator=debug,sqlx=warn", workers: &[&[]], ..Plan::default() };
    let mut house = House::start(kit, "live-house", &plan)?;
    let mut addresses = Vec::new();
    for _ in 0..count {
        let stream = house.create("live", &json!("standard"))?;
        let key = stream.ingest.and_then(|ingest| ingest.stream_key).unwrap_or_default();
        addresses.push(format!("rtmp://{}/live/{key}", house.rtmp));
    }
    kit.runtime.block_on(clip.clone().publish(addresses, length))?;
    // The last segments are still on their way.
    std::thread::sleep(Duration::from_secs(6));
    house.orchestrator.stop()?;
    let (mut lags_s, mut steps) = (Vec::new(), Steps::new());
    for line in house.orchestrator.log().lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        let fields = &line["fields"];
        if let (Some("listed"), Some(ms)) = (fields["message"].as_str(), fields["lag_ms"].as_f64()) {
            lags_s.push(ms / 1e3);
        }
        if let (Some("step"), Some(step), Some(ms)) =
            (fields["message"].as_str(), fields["step"].as_str(), fields["ms"].as_f64())
        {
            steps.entry(step.to_owned()).or_default().push(ms);
        }
    }
    let least = count * (length.as_secs() as usize / 2).saturating_sub(2);
    ensure!(lags_s.len() >= least, "only {} segments of {count} streams were listed", lags_s.len());
    Ok((lags_s, steps))
}
