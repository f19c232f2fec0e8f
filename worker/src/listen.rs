//! Captions on this machine: which models can be listened with, and the proof that they can.

use std::time::Instant;

use bytes::Bytes;
use millrace_media::{Failure, Launcher, Limits, Listener, Window, card::Card, job::Listen};
use millrace_models::{Error, Layout, Model};
use millrace_proto::offer::{self, Absent, Capability};

use crate::{
    device::{self, Deal},
    models::Shelf,
    senses::{Child, Sense},
};

/// What the program takes beside its models: FFmpeg's libraries and stacks of threads.
const MEMORY_BYTES: u64 = 1 << 30;
/// The stack of a thread, as address space.
const THREAD_BYTES: u64 = 64 << 20;
/// For loading and for each window: half a minute of sound on a slow core.
const WALL_MS_MAX: u64 = 120_000;
/// A child that listens lives for long, and is held to its wall time window by window.
const CPU_S_MAX: u64 = 365 * 86_400;

/// A second of speech, as CMAF: what models are tried on.
const SPEECH_INIT: &[u8] = include_bytes!("listen/speech.init");
const SPEECH_SEGMENT: &[u8] = include_bytes!("listen/speech.segment");

/// What a child needs to listen with `whisper` on the processor, all of it checked; blocks while it reads the files.
pub fn job(shelf: &Shelf, whisper: &Model) -> Result<(Listen, Limits), Error> {
    let whole = |layout| {
        let model = shelf.catalog.first(layout).expect("the built-in catalogue has one");
        shelf.cache.check(model).map(|path| (model, path))
    };
    let (library, runtime) = whole(Layout::Onnxruntime)?;
    let (silero, voice) = whole(Layout::Silero16k)?;
    let path = shelf.cache.check(whisper)?;
    let threshold = |name: &str, otherwise: f64| silero.thresholds.get(name).copied().unwrap_or(otherwise) as f32;
    let (speech, pause) = (threshold("speech", 0.5), threshold("pause", 0.35));
    let job = Listen { runtime, voice, whisper: path, dtw: whisper.dtw.clone(), speech, pause, card: None };
    let models = library.memory_bytes + silero.memory_bytes + whisper.memory_bytes;
    let limits = Limits {
        memory_bytes_max: MEMORY_BYTES + models,
        wall_ms_max: WALL_MS_MAX,
        cpu_s_max: CPU_S_MAX,
        ..Limits::default()
    };
    Ok((job, limits))
}

/// Tries every model that is there; what can't be used is absent with its reason.
pub(crate) async fn probe(
    launcher: &Launcher,
    shelf: &Shelf,
    cores: u32,
    cards: &mut Deal<'_>,
    absent: &mut Vec<Absent>,
) -> Vec<(offer::Model, Sense)> {
    let all = shelf.catalog.models().iter().filter(|model| model.layout == Layout::WhisperGgml);
    let there: Vec<_> = all.filter(|model| shelf.cache.has(model)).collect();
    if there.is_empty() {
        let reason = "no model is there: millrace-worker models fetch".into();
        absent.push(Absent { name: "captions".into(), reason });
    }
    let mut offered = Vec::new();
    for model in there {
        let try_on = async |card: Option<&Card>| try_out(launcher, shelf, model, cores, card).await;
        offered.extend(device::proved(&model.id, cards.next(), absent, try_on).await);
    }
    offered
}

async fn try_out(
    launcher: &Launcher,
    shelf: &Shelf,
    model: &Model,
    cores: u32,
    card: Option<&Card>,
) -> Result<(offer::Model, Sense), String> {
    let mut listener = listener(launcher, shelf, model, cores, card).await?;
    let (loaded, audio_s_per_s) = run(&mut listener, cores).await.map_err(|failure| failure.message)?;
    let spare = match card {
        Some(_) => Some(Child::Ear(self::listener(launcher, shelf, model, cores, None).await?)),
        None => None,
    };
    let sense = Sense { id: model.id.clone(), version: model.version.clone(), child: Child::Ear(listener), spare };
    let offered = offer::Model {
        id: model.id.clone(),
        version: model.version.clone(),
        capability: Capability::Captions,
        device: device::device(card),
        languages: model.languages.clone(),
        audio_s_per_s,
        pictures_per_s: 0.0,
        memory_bytes: loaded.memory_bytes,
        load_ms: loaded.load_ms,
        warm: true,
    };
    Ok((offered, sense))
}

/// A child that is not started yet.
async fn listener(
    launcher: &Launcher,
    shelf: &Shelf,
    model: &Model,
    cores: u32,
    card: Option<&Card>,
) -> Result<Listener, String> {
    let (own, of) = (shelf.clone(), model.clone());
    let checked = tokio::task::spawn_blocking(move || job(&own, &of)).await.expect("it does not panic");
    let (mut job, mut limits) = checked.map_err(|error| error.message)?;
    job.card = card.cloned();
    limits.memory_bytes_max += u64::from(cores) * THREAD_BYTES;
    Ok(launcher.listen(job, &if card.is_some() { limits.with_cuda() } else { limits }))
}

/// Hears the sample twice: the first time memory is touched that is there the second time.
async fn run(listener: &mut Listener, threads: u32) -> Result<(millrace_media::Loaded, f64), Failure> {
    let loaded = listener.warm().await?;
    let window = Window {
        start_ms: None,
        language: Some("en".into()),
        translate: false,
        context: String::new(),
        last: true,
        patience_ms: 10_000,
        draft: false,
        threads,
    };
    let (init, segment) = (Bytes::from_static(SPEECH_INIT), [Bytes::from_static(SPEECH_SEGMENT)]);
    listener.hear(&window, &init, &segment).await?;
    let started = Instant::now();
    let heard = listener.hear(&window, &init, &segment).await?;
    let took_s = started.elapsed().as_secs_f64().max(1e-6);
    if heard.words.is_empty() {
        let message = "it heard nothing in a sample of speech";
        return Err(Failure::new(millrace_media::FailureKind::Unsupported, message));
    }
    Ok((loaded, (heard.end_ms - heard.start_ms) as f64 / 1_000.0 / took_s))
}
