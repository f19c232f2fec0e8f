//! Cold start: from a worker's launch with its models on disk to its first caption and its first segment, and the same of
//! one that is warm.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use millrace_proto::api::{Stream, Transcript};
use serde_json::{Value, json};

use crate::{
    house::{House, Plan},
    kit::Kit,
    measure::median,
    report::Table,
    speech::{Speech, filmed, text},
};

/// All that `millrace-worker models fetch` brings.
const ALL: [&str; 5] = ["whisper-base", "open-nsfw", "centernet", "efficientnet-lite2", "imagenet-labels"];

/// Seconds of one run.
#[derive(Debug, Default)]
struct Took {
    online: Vec<f64>,
    segment: Vec<f64>,
    caption: Vec<f64>,
    warm_segment: Vec<f64>,
    warm_caption: Vec<f64>,
}

pub(crate) fn run(kit: &Kit) -> Result<Table> {
    let rounds = if kit.quick { 1 } else { 3 };
    let speech = Speech::read(kit, 1)?;
    let length_s = speech.seconds.min(12.0);
    let film = filmed(kit, "cold", &["-i", text(&speech.wav)], length_s)?;
    let mut table = Table::new(&["models on disk", "from", "online, s", "first segment, s", "first caption, s"]);
    for (name, models) in [("none of vision", &ALL[..1]), ("the default set", &ALL[..])] {
        let mut took = Took::default();
        for _ in 0..rounds {
            measure(kit, models, &film, &mut took)?;
        }
        let s = |values: &[f64]| format!("{:.1}", median(values));
        table.row([name.into(), "launch of a worker".into(), s(&took.online), s(&took.segment), s(&took.caption)]);
        let warm = [
            name.into(),
            "upload to a warm one".to_owned(),
            String::new(),
            s(&took.warm_segment),
            s(&took.warm_caption),
        ];
        table.row(warm);
    }
    table.remark(format!(
        "A recording of {length_s:.0} s with speech, one rung of 240 lines and captions by whisper-base. Cold: it waits \
         when the worker is launched, whose models lie in its cache; the worker tries its encoders and all of its models \
         before it joins. Warm: from the end of the upload of a second one. On {} cores; medians of {rounds} rounds.",
        kit.cores
    ));
    Ok(table)
}

fn profile() -> Value {
    let ladder = json!([{"name": "240p", "short_side_px": 240, "bitrate_bps_max": 400_000}]);
    json!({"ladder": ladder, "captions": {"language": "en", "model": ALL[0]}})
}

fn measure(kit: &Kit, models: &[&str], film: &Path, took: &mut Took) -> Result<()> {
    let plan = Plan { log: "warn", models, ..Plan::default() };
    let mut house = House::start(kit, "cold-house", &plan)?;
    let first = house.create("file", &profile())?;
    house.upload(first.id.as_str(), film)?;
    // Cutting it is not the worker's.
    wait("segments", || Ok(house.stream(first.id.as_str())?.progress.segments > 0))?;
    let begun = Instant::now();
    house.join(kit, "worker", &[])?;
    took.online.push(begun.elapsed().as_secs_f64());
    shown(&house, &first, begun, &mut took.segment, &mut took.caption)?;
    let second = house.create("file", &profile())?;
    house.upload(second.id.as_str(), film)?;
    shown(&house, &second, Instant::now(), &mut took.warm_segment, &mut took.warm_caption)
}

/// Notes when the first segment and the first caption of a stream are there.
fn shown(house: &House, stream: &Stream, begun: Instant, segment: &mut Vec<f64>, caption: &mut Vec<f64>) -> Result<()> {
    let id = stream.id.as_str();
    let (mut listed, mut told) = (None, None);
    wait("the first caption", || {
        if listed.is_none() && house.stream(id)?.progress.segments_settled > 0 {
            listed = Some(begun.elapsed().as_secs_f64());
        }
        // There is no such file before the stream has variants.
        let answer = house.bytes(&format!("/hls/{id}/captions.json")).ok();
        let all = answer.and_then(|bytes| serde_json::from_slice::<Transcript>(&bytes).ok());
        let is_told = all.is_some_and(|all| all.windows.iter().any(|window| !window.words.is_empty()));
        if told.is_none() && is_told {
            told = Some(begun.elapsed().as_secs_f64());
        }
        Ok(listed.is_some() && told.is_some())
    })?;
    segment.push(listed.context("a segment is listed")?);
    caption.push(told.context("a caption is there")?);
    Ok(())
}

fn wait(what: &str, mut there: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_mins(2);
    while !there()? {
        ensure!(Instant::now() < deadline, "{what} did not come in two minutes");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
