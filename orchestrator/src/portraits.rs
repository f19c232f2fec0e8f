//! Pictures of products, looked at by a media child that stays warm for a while: they are strangers' bytes, and this program
//! links no codec.

pub mod upkeep;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use millrace_media::{
    Failure, FailureKind, Launcher, Limits, Portrait, Portrayer,
    job::{Embed, Picture, Portray},
};
use millrace_models::{Cache, Catalog, Channels, Error as ModelError, Layout, Order};
use millrace_proto::vision::Embedder;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};

/// What the child takes beside its model: FFmpeg's libraries, its stack, a picture of 8K in three forms.
const MEMORY_BYTES: u64 = 2 << 30;
/// For loading and for each picture.
const WALL_MS_MAX: u64 = 30_000;
/// A child that is not asked for so long is let go, with the memory of its model.
const IDLE: Duration = Duration::from_mins(1);
/// Pictures that come in or wait at once: each is in memory meanwhile.
const PLACES: usize = 8;

/// Why there is no portrait.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model is not there, or not as it should be; the message names the command that gets it.
    #[error("{}", .0.message)]
    Models(ModelError),
    /// The picture is none, or can't be read.
    #[error("{0}")]
    Picture(String),
    /// The media child failed.
    #[error("the media child: {0}")]
    Child(Failure),
}

/// What looks at pictures of products.
#[derive(Debug)]
pub struct Portraits {
    launcher: Launcher,
    cache: Cache,
    catalog: Catalog,
    places: Semaphore,
    child: Arc<Mutex<Warm>>,
}

#[derive(Debug, Default)]
struct Warm {
    portrayer: Option<Portrayer>,
    used: Option<Instant>,
}

impl Portraits {
    /// With the models of a folder; the child is started when it is first needed.
    pub fn new(launcher: Launcher, models: &Path) -> Self {
        let (places, child, cache) = (Semaphore::new(PLACES), Arc::default(), Cache::new(models));
        Self { launcher, cache, catalog: Catalog::built_in(), places, child }
    }

    /// A place for a picture, unless all are taken; to be had before it is read.
    pub fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.try_acquire().ok()
    }

    /// All places, once nobody has one any more: no picture comes in meanwhile.
    async fn all_places(&self) -> SemaphorePermit<'_> {
        self.places.acquire_many(PLACES as u32).await.expect("it is never closed")
    }

    /// What looks at pictures; workers look at things with the same.
    pub fn embedder(&self) -> Embedder {
        let model = self.catalog.first(Layout::Embedding).expect("the built-in catalogue has one");
        Embedder { model: model.id.clone(), version: model.version.clone() }
    }

    /// Looks at a JPEG or PNG.
    pub async fn portray(&self, picture: Bytes) -> Result<Portrait, Error> {
        let mut warm = self.child.lock().await;
        let mut portrayer = match warm.portrayer.take() {
            Some(portrayer) => portrayer,
            None => self.start().await?,
        };
        let portrait = portrayer.portray(picture).await;
        (warm.portrayer, warm.used) = (Some(portrayer), Some(Instant::now()));
        drop(warm);
        let child = self.child.clone();
        tokio::spawn(async move {
            tokio::time::sleep(IDLE).await;
            let mut warm = child.lock().await;
            if warm.used.is_some_and(|used| used.elapsed() >= IDLE) {
                warm.portrayer = None;
            }
        });
        portrait.map_err(|failure| match failure.kind {
            FailureKind::BadInput => Error::Picture(failure.message),
            FailureKind::Limit => Error::Picture(format!("it takes more than a picture may: {}", failure.message)),
            _ => Error::Child(failure),
        })
    }

    async fn start(&self) -> Result<Portrayer, Error> {
        let (cache, catalog) = (self.cache.clone(), self.catalog.clone());
        let job = tokio::task::spawn_blocking(move || job(&cache, &catalog));
        let (job, limits) = job.await.expect("it does not panic").map_err(Error::Models)?;
        Ok(self.launcher.portray(job, &limits))
    }
}

/// What the child needs, all of it checked; blocks while it reads the files.
fn job(cache: &Cache, catalog: &Catalog) -> Result<(Portray, Limits), ModelError> {
    let library = catalog.first(Layout::Onnxruntime).expect("the built-in catalogue has one");
    let model = catalog.first(Layout::Embedding).expect("the built-in catalogue has one");
    let runtime = cache.check(library)?;
    let labels = match &model.labels_of {
        Some(id) => {
            let text = std::fs::read_to_string(cache.check(catalog.get(id)?)?).unwrap_or_default();
            text.lines().map(str::to_owned).collect()
        }
        None => model.labels.clone(),
    };
    let how = model.picture.as_ref().expect("the catalogue checks that it is there");
    let picture = Picture {
        input: how.input.clone(),
        width: how.width,
        height: how.height,
        bgr: how.order == Order::Bgr,
        planes: how.channels == Channels::First,
        mean: how.mean,
        deviation: how.deviation,
    };
    let outputs = model.outputs.clone().try_into().expect("the catalogue checks that there are two");
    let (id, version, file) = (model.id.clone(), model.version.clone(), cache.check(model)?);
    // Nobody asks what the picture is called.
    let embedding = Embed { id, version, model: file, picture, outputs, labels, score: 1.0 };
    let memory_bytes_max = MEMORY_BYTES + library.memory_bytes + model.memory_bytes;
    let limits = Limits { memory_bytes_max, wall_ms_max: WALL_MS_MAX, ..Limits::default() };
    Ok((Portray { runtime, embedding, threads: 1 }, limits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_model_is_told_with_the_command_that_gets_it() {
        let folder = tempfile::tempdir().unwrap();
        let portraits = Portraits::new(Launcher::new("/nowhere"), folder.path());
        let told = portraits.portray(Bytes::from_static(b"\xff\xd8\xff")).await.unwrap_err();
        assert!(told.to_string().contains("millrace-worker models fetch"), "{told}");
        assert_eq!(portraits.embedder().model, "efficientnet-lite2");
    }
}
