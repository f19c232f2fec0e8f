//! Moderation and products on this machine: which models can look at pictures, and the proof that they can.

use std::{fs, time::Instant};

use bytes::Bytes;
use millrace_media::{
    Failure, FailureKind, Glance, Launcher, Limits, Loaded, Looker,
    card::Card,
    job::{Boxes, Detect, Embed, Look, Picture},
};
use millrace_models::{Channels, Error, ErrorKind, Layout, Model, Order};
use millrace_proto::{
    offer::{self, Absent, Capability},
    vision::Sights,
};

use crate::{
    device::{self, Deal},
    models::Shelf,
    senses::{Child, Sense},
};

/// What the program takes beside its models: FFmpeg's libraries, stacks of threads and pictures of 8K.
const MEMORY_BYTES: u64 = 2 << 30;
/// The stack of a thread and its decoder's pictures, as address space.
const THREAD_BYTES: u64 = 128 << 20;
/// For loading and for each window.
const WALL_MS_MAX: u64 = 120_000;
/// A child that looks lives for long, and is held to its wall time window by window.
const CPU_S_MAX: u64 = 365 * 86_400;
/// What counts where the catalogue says nothing of it.
const SCORE: f64 = 0.25;
const OVERLAP: f64 = 0.5;
const NAMED: f64 = 0.5;

/// A cup of coffee on a table, as CMAF: what models are tried on.
const PICTURE_INIT: &[u8] = include_bytes!("look/picture.init");
const PICTURE_SEGMENT: &[u8] = include_bytes!("look/picture.segment");
/// The sample is harmless: a model that says more than this of it says nothing.
const HARMLESS: f32 = 0.5;

/// What is to be looked for, at least one of the two, and with what.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// What not everyone is to see.
    pub moderation: Option<&'a Model>,
    /// Things.
    pub detection: Option<&'a Model>,
    /// A card to do it on.
    pub card: Option<&'a Card>,
}

/// What a child needs to look with these models on `threads`, all of it checked; blocks while it reads the files. Things
/// are looked at more closely by the first model of the catalogue that does that.
pub fn job(shelf: &Shelf, wanted: Wanted<'_>, threads: u32) -> Result<(Look, Limits), Error> {
    let layout = if wanted.card.is_some() { Layout::OnnxruntimeCuda } else { Layout::Onnxruntime };
    let library = shelf.catalog.first(layout).ok_or_else(|| {
        let message = "there is no ONNX Runtime for cards on this kind of machine".into();
        Error { kind: ErrorKind::Unknown, message }
    })?;
    let mut memory_bytes = MEMORY_BYTES + u64::from(threads) * THREAD_BYTES + library.memory_bytes;
    let mut checked = |model: &Model| {
        memory_bytes += model.memory_bytes;
        shelf.cache.check(model)
    };
    let moderation = wanted.moderation.map(&mut checked).transpose()?;
    let detection = match wanted.detection {
        Some(model) => Some(Detect {
            model: checked(model)?,
            picture: picture(model),
            boxes: if model.layout == Layout::Detr { Boxes::Detr } else { Boxes::Rows },
            outputs: model.outputs.clone(),
            labels: labels(shelf, model)?,
            score: threshold(model, "score", SCORE),
            overlap: threshold(model, "overlap", OVERLAP),
        }),
        None => None,
    };
    let closely = shelf.catalog.first(Layout::Embedding).filter(|_| wanted.detection.is_some());
    let embedding = match closely {
        Some(model) => Some(Embed {
            id: model.id.clone(),
            version: model.version.clone(),
            model: checked(model)?,
            picture: picture(model),
            outputs: model.outputs.clone().try_into().expect("the catalogue checks that there are two"),
            labels: labels(shelf, model)?,
            score: threshold(model, "score", NAMED),
        }),
        None => None,
    };
    let runtime = shelf.cache.check(library)?;
    let limits =
        Limits { memory_bytes_max: memory_bytes, wall_ms_max: WALL_MS_MAX, cpu_s_max: CPU_S_MAX, ..Limits::default() };
    let limits = if wanted.card.is_some() { limits.with_cuda() } else { limits };
    Ok((Look { runtime, moderation, detection, embedding, threads, card: wanted.card.cloned() }, limits))
}

fn threshold(model: &Model, name: &str, otherwise: f64) -> f32 {
    model.thresholds.get(name).copied().unwrap_or(otherwise) as f32
}

fn picture(model: &Model) -> Picture {
    let how = model.picture.as_ref().expect("the catalogue checks that it is there");
    Picture {
        input: how.input.clone(),
        width: how.width,
        height: how.height,
        bgr: how.order == Order::Bgr,
        planes: how.channels == Channels::First,
        mean: how.mean,
        deviation: how.deviation,
    }
}

/// What its classes are called.
fn labels(shelf: &Shelf, model: &Model) -> Result<Vec<String>, Error> {
    let Some(id) = &model.labels_of else { return Ok(model.labels.clone()) };
    let path = shelf.cache.check(shelf.catalog.get(id)?)?;
    let text = fs::read_to_string(&path).unwrap_or_default();
    Ok(text.lines().map(str::to_owned).collect())
}

/// Tries every model that is there; what can't be used is absent with its reason.
pub(crate) async fn probe(
    launcher: &Launcher,
    shelf: &Shelf,
    cores: u32,
    cards: &mut Deal<'_>,
    absent: &mut Vec<Absent>,
) -> Vec<(offer::Model, Sense)> {
    let mut offered = Vec::new();
    for (capability, layouts) in
        [(Capability::Moderation, &[Layout::OpenNsfw][..]), (Capability::Products, &[Layout::Rows, Layout::Detr])]
    {
        let all = shelf.catalog.models().iter().filter(|model| layouts.contains(&model.layout));
        let there: Vec<_> = all.filter(|model| shelf.cache.has(model)).collect();
        if there.is_empty() {
            let reason = "no model is there: millrace-worker models fetch".into();
            absent.push(Absent { name: capability.as_str().into(), reason });
        }
        for model in there {
            let try_on = async |card: Option<&Card>| try_out(launcher, shelf, (model, capability), cores, card).await;
            offered.extend(device::proved(&model.id, cards.next(), absent, try_on).await);
        }
    }
    offered
}

async fn try_out(
    launcher: &Launcher,
    shelf: &Shelf,
    (model, capability): (&Model, Capability),
    cores: u32,
    card: Option<&Card>,
) -> Result<(offer::Model, Sense), String> {
    let (job, limits) = checked(shelf, (model, capability), cores, card).await?;
    let mut looker = launcher.look(job.clone(), &limits);
    let (loaded, pictures_per_s) = run(&mut looker, &job).await.map_err(|failure| failure.message)?;
    let spare = match card {
        Some(_) => {
            let (job, limits) = checked(shelf, (model, capability), cores, None).await?;
            Some(Child::Eye(launcher.look(job, &limits)))
        }
        None => None,
    };
    let sense = Sense { id: model.id.clone(), version: model.version.clone(), child: Child::Eye(looker), spare };
    let offered = offer::Model {
        id: model.id.clone(),
        version: model.version.clone(),
        capability,
        device: device::device(card),
        languages: Vec::new(),
        audio_s_per_s: 0.0,
        pictures_per_s,
        memory_bytes: loaded.memory_bytes,
        load_ms: loaded.load_ms,
        warm: true,
    };
    Ok((offered, sense))
}

async fn checked(
    shelf: &Shelf,
    (model, capability): (&Model, Capability),
    cores: u32,
    card: Option<&Card>,
) -> Result<(Look, Limits), String> {
    let (shelf, of, card) = (shelf.clone(), model.clone(), card.cloned());
    let checked = tokio::task::spawn_blocking(move || {
        let wanted = match capability {
            Capability::Moderation => Wanted { moderation: Some(&of), ..Wanted::default() },
            _ => Wanted { detection: Some(&of), ..Wanted::default() },
        };
        job(&shelf, Wanted { card: card.as_ref(), ..wanted }, cores)
    });
    checked.await.expect("it does not panic").map_err(|error| error.message)
}

/// Looks at the sample twice: the first time memory is touched that is there the second time.
async fn run(looker: &mut Looker, job: &Look) -> Result<(Loaded, f64), Failure> {
    let loaded = looker.warm().await?;
    let glance = Glance { every_ms: 1_000, preroll: 0, pictures_max: 1, closely: 1 };
    let (init, segment) = (Bytes::from_static(PICTURE_INIT), [Bytes::from_static(PICTURE_SEGMENT)]);
    looker.look(&glance, &init, &segment).await?;
    let started = Instant::now();
    let sights = looker.look(&glance, &init, &segment).await?;
    let took_s = started.elapsed().as_secs_f64().max(1e-6);
    judge(job, &sights).map_err(|why| Failure::new(FailureKind::Unsupported, why))?;
    Ok((loaded, sights.pictures.len() as f64 / took_s))
}

/// What is wrong with what was seen in the sample.
fn judge(job: &Look, sights: &Sights) -> Result<(), String> {
    let [sight] = &sights.pictures[..] else { return Err("it saw no picture in a sample".into()) };
    if job.moderation.is_some() {
        match &sight.categories[..] {
            [category] if category.score < HARMLESS => {}
            seen => return Err(format!("it takes a cup of coffee for {seen:?}")),
        }
    }
    if job.detection.is_some() {
        let Some(first) = sight.things.first() else { return Err("it saw nothing in a picture of a cup".into()) };
        if job.embedding.is_some() && first.looks.is_empty() {
            return Err("it did not look closely".into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use millrace_proto::vision::{Category, Place, Sight, Thing};

    use super::*;

    #[test]
    fn what_says_nothing_of_the_sample_is_not_offered() {
        let look = Look {
            runtime: "".into(),
            moderation: Some("m".into()),
            detection: None,
            embedding: None,
            threads: 1,
            card: None,
        };
        let seen = |sight: Sight| Sights { pictures: vec![sight], ..Sights::default() };
        let score = |score| Sight { categories: vec![Category { name: "p".into(), score }], ..Sight::default() };
        assert!(judge(&look, &seen(score(0.01))).is_ok());
        assert!(judge(&look, &seen(score(0.9))).is_err() && judge(&look, &seen(Sight::default())).is_err());
        assert!(judge(&look, &Sights::default()).is_err());

        let (shelf, dir) = (Shelf::empty("none".into()), std::path::PathBuf::from("d"));
        let model = shelf.catalog.get("centernet").unwrap();
        let detection = Detect {
            model: dir,
            picture: picture(model),
            boxes: Boxes::Rows,
            outputs: Vec::new(),
            labels: Vec::new(),
            score: 0.0,
            overlap: 0.0,
        };
        let look = Look { moderation: None, detection: Some(detection), ..look };
        let place = Place { x: 0.0, y: 0.0, width: 1.0, height: 1.0 };
        let thing = Thing { label: "cup".into(), score: 0.5, place, finer: None, looks: Vec::new(), embedder: None };
        assert!(judge(&look, &seen(Sight { things: vec![thing], ..Sight::default() })).is_ok());
        assert!(judge(&look, &seen(Sight::default())).is_err());
    }

    #[test]
    fn what_is_missing_is_told_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::empty(dir.path().to_owned());
        let model = |id| Some(shelf.catalog.get(id).unwrap());
        let told = |wanted| job(&shelf, wanted, 1).unwrap_err().message;
        assert!(told(Wanted { moderation: model("open-nsfw"), ..Wanted::default() }).contains("fetch open-nsfw"));
        assert!(told(Wanted { detection: model("centernet"), ..Wanted::default() }).contains("fetch centernet"));
    }
}
