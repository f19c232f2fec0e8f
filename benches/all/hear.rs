//! How fast the media child hears, beside other programs with the same weights: seconds of sound a second, the model loaded.

use std::{fs, path::Path, process::Command, time::Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use millrace_cmaf::{ORIGIN_S, Sample, Track};
use millrace_media::{
    Launcher, Limits, Window,
    job::{Demux, Demuxed},
};
use millrace_worker::{listen, models::Shelf};

use crate::{
    kit::{Kit, run as run_program},
    measure::median,
    peers,
    report::Table,
    speech::Speech,
};

/// As many as the others get.
const THREADS: u32 = 2;

pub(crate) fn run(kit: &Kit) -> Result<Table> {
    let rounds = if kit.quick { 1 } else { 11 };
    let models: &[&str] = if kit.quick { &["whisper-tiny.en"] } else { &["whisper-base", "whisper-tiny.en"] };
    let speech = Speech::read(kit, 1)?;
    let (init, segments) = kit.runtime.block_on(sound(kit, &speech.wav))?;
    let mut table = Table::new(&["model", "way", "seconds of sound a second", "words wrong"]);
    for model in models {
        let shelf = Shelf::empty(kit.models().to_owned());
        let (job, limits) = listen::job(&shelf, shelf.catalog.get(model)?)?;
        let mut ours = Launcher::new(kit.program("millrace-media")?).listen(job, &limits);
        let window = Window {
            start_ms: None,
            language: Some("en".into()),
            translate: false,
            context: String::new(),
            last: true,
            patience_ms: 12_000,
            draft: false,
            threads: THREADS,
        };
        let mut hear = || -> Result<(f64, String)> {
            let begun = Instant::now();
            let heard = kit.runtime.block_on(ours.hear(&window, &init, &segments))?;
            let text: Vec<&str> = heard.words.iter().map(|word| word.text.as_str()).collect();
            Ok((begun.elapsed().as_secs_f64(), text.join(" ")))
        };
        let threads = THREADS as usize;
        let mut others = vec![("pywhispercpp", peers::whisper_cpp(kit, model, threads)?)];
        let same = "faster-whisper int8, Silero and times of words included";
        for (way, words) in [("faster-whisper int8", false), (same, true)] {
            others.extend(peers::faster_whisper(kit, model, threads, words)?.map(|peer| (way, peer)));
        }
        // The first time memory is touched that is there the second time.
        let mut texts = vec![hear()?.1];
        for (_, peer) in &mut others {
            texts.push(peers::written(peer, &speech)?);
        }
        let mut took_s = vec![Vec::new(); texts.len()];
        for _ in 0..rounds {
            took_s[0].push(hear()?.0);
            for ((_, peer), took_s) in others.iter_mut().zip(&mut took_s[1..]) {
                took_s.push(peers::took_s(peer, &speech.wav)?);
            }
        }
        let ways = others.iter().map(|(way, _)| *way);
        let ways = std::iter::once("millrace-media, Silero and times of words included").chain(ways);
        for ((way, took_s), text) in ways.zip(&took_s).zip(&texts) {
            let wrong = speech.errors(text);
            let rate = format!("{:.2}", speech.seconds / median(took_s));
            table.row([(*model).to_owned(), way.to_owned(), rate, format!("{wrong} of {}", speech.words.len())]);
        }
        let ratios: Vec<f64> = took_s[1].iter().zip(&took_s[0]).map(|(cpp, ours)| cpp / ours).collect();
        table.at_least(&format!("speed beside pywhispercpp: {model}"), 1.0, &ratios);
    }
    table.remark(format!(
        "{:.1} s of LibriVox, as one window, English given, {THREADS} threads each, models loaded and heard once before; \
         medians of {rounds} rounds in turns. The child is started by the worker's launcher in its sandbox and gets CMAF \
         with AAC, which it decodes; the others get samples. whisper.cpp and faster-whisper with their defaults but for \
         greedy decoding; the versions are pinned in `benches/run`.",
        speech.seconds
    ));
    Ok(table)
}

/// The speech as an orchestrator stores it: a header and segments of two seconds.
pub(crate) async fn sound(kit: &Kit, wav: &Path) -> Result<(Bytes, Vec<Bytes>)> {
    let file = kit.folder("sound")?.join("sound.m4a");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-i"]).arg(wav).args(["-c:a", "aac", "-b:a", "96k", "-ar", "48000"]);
    run_program(command.arg(&file))?;
    ensure!(fs::metadata(&file)?.len() > 0, "no sound came of it");
    let launcher = Launcher::new(kit.program("millrace-media")?);
    let mut demuxing = launcher.demux(&Demux { input: file }, &Limits::whole_file()).await?;
    let (mut track, mut samples): (Option<Track>, Vec<Sample>) = (None, Vec::new());
    while let Some(event) = demuxing.next().await? {
        match event {
            Demuxed::Tracks { audio, .. } => track = audio,
            Demuxed::Audio(mut sample) => {
                let shift = i64::from(track.as_ref().map_or(0, |track| track.timescale)) * ORIGIN_S;
                (sample.pts, sample.dts) = (sample.pts + shift, sample.pts + shift);
                samples.push(sample);
            }
            Demuxed::Video(_) | Demuxed::Ignored(_) | Demuxed::End => {}
        }
    }
    let track = track.context("there is sound")?;
    let scale = i64::from(track.timescale) * 2;
    let groups = samples.chunk_by(|a, b| a.pts / scale == b.pts / scale).enumerate();
    let segment = |(at, group): (usize, &[Sample])| {
        let last = &group[group.len() - 1];
        millrace_cmaf::segment(&track, at as u32 + 1, group, last.pts + i64::from(last.duration))
    };
    Ok((millrace_cmaf::init(&track)?, groups.map(segment).collect::<Result<_, _>>()?))
}
