//! How fast the media child looks at pictures, decoding included, beside Python with the same ONNX Runtime and models.

use std::{fs, time::Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use millrace_media::{Glance, Launcher};
use millrace_worker::{
    look::{Wanted, job},
    models::Shelf,
};

use crate::{
    clips::{Segment, published, segments},
    kit::Kit,
    measure::median,
    peers::Peer,
    report::Table,
    speech::text,
};

/// As many as Python gets.
const THREADS: u32 = 2;
const MODELS: [(&str, &str); 2] = [("open-nsfw", "open_nsfw.onnx"), ("centernet", "centernet.onnx")];

pub(crate) fn run(kit: &Kit) -> Result<Table> {
    let rounds = if kit.quick { 1 } else { 3 };
    let film = published(kit, "trailer")?;
    let segments = segments(kit, "trailer")?;
    let mut table = Table::new(&["model", "a picture every", "millrace-media, pictures a second", "Python", "ratio"]);
    let mut ratios = Vec::new();
    for (id, file) in MODELS {
        for every_ms in [1_000, 2_000] {
            let shelf = Shelf::empty(kit.models().to_owned());
            let model = shelf.catalog.get(id)?;
            let is_moderation = id == MODELS[0].0;
            let wanted = Wanted {
                moderation: is_moderation.then_some(model),
                detection: (!is_moderation).then_some(model),
                ..Wanted::default()
            };
            let (mut job, limits) = job(&shelf, wanted, THREADS)?;
            // Python does not look closely at what it finds.
            job.embedding = None;
            let mut ours = Launcher::new(kit.program("millrace-media")?).look(job, &limits);
            let mut look = |segments: &[Segment]| -> Result<f64> {
                let begun = Instant::now();
                let mut pictures = 0;
                for segment in segments {
                    let (init, media) = (fs::read(&segment.pair.init)?, fs::read(&segment.pair.segment)?);
                    let glance = Glance { every_ms, preroll: 0, pictures_max: 16, closely: 0 };
                    let (init, media) = (Bytes::from(init), [Bytes::from(media)]);
                    let seen = kit.runtime.block_on(ours.look(&glance, &init, &media))?;
                    pictures += seen.pictures.len();
                }
                ensure!(pictures * 3 >= segments.len() * 2, "it looked at {pictures} pictures only");
                Ok(pictures as f64 / begun.elapsed().as_secs_f64())
            };
            let path = kit.models().join(id).join(file);
            let (threads, every) = (THREADS.to_string(), every_ms.to_string());
            let arguments = [id, text(&path), &threads, &every];
            let mut python = Peer::start(kit, "onnx_look", &arguments)?;
            let mut others = || -> Result<f64> {
                let told = python.ask(&film)?;
                let (pictures, s) = told["pictures"].as_f64().zip(told["s"].as_f64()).context("it counts")?;
                Ok(pictures / s)
            };
            look(&segments[..2])?;
            let (mut our_rates, mut their_rates) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                our_rates.push(look(&segments)?);
                their_rates.push(others()?);
            }
            let here: Vec<f64> = our_rates.iter().zip(&their_rates).map(|(ours, theirs)| ours / theirs).collect();
            table.row([
                id.to_owned(),
                format!("{} s", every_ms / 1_000),
                format!("{:.1}", median(&our_rates)),
                format!("{:.1}", median(&their_rates)),
                format!("{:.2}", median(&here)),
            ]);
            ratios.push((format!("speed beside Python: {id}, a picture every {} s", every_ms / 1_000), here));
        }
    }
    for (what, ratios) in &ratios {
        table.at_least(what, 1.0, ratios);
    }
    table.remark(format!(
        "The trailer of Big Buck Bunny, 1280x720 with a keyframe every two seconds, decoding included, {THREADS} threads \
         each, models loaded; medians of {rounds} rounds in turns. The child is started by the worker's launcher in its \
         sandbox and asked segment after segment; Python has the whole film: PyAV decodes it (keyframes alone where they \
         are enough), Pillow scales, the same ONNX Runtime 1.31.1 looks."
    ));
    Ok(table)
}
