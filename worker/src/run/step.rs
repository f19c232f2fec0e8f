//! A lease's steps: fetch the inputs, let the media child compute, upload what it made.

use std::{
    collections::BTreeSet,
    io::{self, Read},
    path::Path,
    sync::{Mutex, OnceLock, PoisonError},
    time::Instant,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use millrace_media::{
    Limits,
    card::{Refusal, Use},
    job::{self, Pair},
};
use millrace_proto::{
    Sha256,
    outcome::{Done, Failure, FailureKind, Rendition},
    task::{Blob, INIT, Lease, Part, REPORT, SEGMENT, Target, Work, output_name, preroll_name},
};
use sha2::Digest;

use super::{Worker, sense};
use crate::{
    agent::{Fault, Job},
    scratch::Folder,
};

/// Transfers of one lease at once: enough to hide a slow line's latency.
const TRANSFERS_MAX: usize = 4;
/// Folder of the results in the lease's folder.
const OUT: &str = "out";

/// Where one lease is worked on.
#[derive(Debug, Default)]
pub(super) struct Bench {
    folder: OnceLock<Folder>,
    uploaded: Mutex<BTreeSet<String>>,
}

impl Bench {
    fn folder(&self, worker: &Worker, job: Job) -> io::Result<&Folder> {
        if let Some(folder) = self.folder.get() {
            return Ok(folder);
        }
        let folder = worker.scratch.job(job)?;
        // One step runs at a time, so nobody else has set it.
        Ok(self.folder.get_or_init(|| folder))
    }

    fn is_uploaded(&self, output: &str) -> bool {
        self.uploaded.lock().unwrap_or_else(PoisonError::into_inner).contains(output)
    }

    fn set_uploaded(&self, output: String) {
        self.uploaded.lock().unwrap_or_else(PoisonError::into_inner).insert(output);
    }
}

pub(super) async fn fetch(worker: &Worker, bench: &Bench, job: Job, session: &str, lease: &Lease) -> Result<(), Fault> {
    let folder = bench
        .folder(worker, job)
        .map_err(|error| Fault::Spoiled(format!("the worker can't make a scratch folder: {error}")))?;
    // A loop, not a closure: the compiler can't see that a closure's futures are `Send` for every lifetime.
    let mut downloads = Vec::new();
    for input in &lease.inputs {
        // The agent took the lease only after checking that the names are plain ones.
        let to = folder.path(&input.name);
        downloads.push(async move { worker.client.download(session, lease, input, &to).await });
    }
    stream::iter(downloads).buffer_unordered(TRANSFERS_MAX).try_collect().await
}

/// What a lease's work may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Means<'a> {
    pub(super) threads: u32,
    pub(super) time_ms_max: u64,
    pub(super) card: Option<&'a Use>,
    pub(super) model: Option<&'a str>,
}

/// Why work came to nothing.
#[derive(Debug)]
pub(super) enum Spoilt {
    /// That is to be handed in.
    Work(Failure),
    /// It was the card; software may do it.
    Card(Refusal),
}

impl From<Failure> for Spoilt {
    fn from(failure: Failure) -> Self {
        Self::Work(failure)
    }
}

pub(super) async fn work(worker: &Worker, bench: &Bench, lease: &Lease, means: Means<'_>) -> Result<Done, Spoilt> {
    let Means { threads, time_ms_max, card, .. } = means;
    let begun = Instant::now();
    let crashed = |message: String| Failure { kind: FailureKind::Crashed, message };
    let Some(folder) = bench.folder.get() else { return Err(crashed("the inputs are gone".into()).into()) };
    let out = folder.path(OUT);
    tokio::fs::create_dir_all(&out).await.map_err(|error| {
        let message = format!("the worker can't make a scratch folder: {error}");
        Failure { kind: FailureKind::Limit, message }
    })?;
    let work = match &lease.work {
        Work::Transcode(work) => work,
        Work::Captions(work) => return Ok(sense::hear(worker, folder, OUT, lease, work, means).await?),
        Work::Look(work) => return Ok(sense::look(worker, folder, OUT, lease, work, means).await?),
    };
    let mut source = Pair { init: folder.path(INIT), preroll: Vec::new(), segment: folder.path(SEGMENT) };
    source.preroll = (0..lease.inputs.len() - 2).map(|at| folder.path(&preroll_name(at))).collect();
    let job =
        job::Transcode { source, targets: work.renditions.clone(), out: out.clone(), threads, card: card.cloned() };
    // CPU time counts on every thread; one more is for what is not the codecs'.
    let cpu_s_max = time_ms_max.div_ceil(1_000).saturating_mul(u64::from(threads) + 1).max(1);
    let limits = Limits { wall_ms_max: time_ms_max, cpu_s_max, ..Limits::transcode(&work.renditions) };
    let limits = if card.is_some() { limits.with_card() } else { limits };
    let made = match (worker.launcher.transcode(&job, &limits).await, card) {
        (Ok(made), Some(_)) => {
            if let Some(why) = &made.card_unused {
                tracing::info!(lease = %lease.id, why, "done in software beside the card");
            }
            made
        }
        (Ok(made), None) => made,
        (Err(failure), Some(used)) => {
            let refusal = refusal(&failure);
            let (card, message) = (used.card.minor, failure.message);
            tracing::warn!(lease = %lease.id, card, refusal = refusal.as_str(), message, "the card did not do it; software will");
            return Err(Spoilt::Card(refusal));
        }
        (Err(failure), None) => return Err(Failure::from(failure).into()),
    };
    let work_ms = begun.elapsed().as_millis() as u64;

    let fits = |(made, target): (&job::Made, &Target)| made.name == target.name;
    if made.renditions.len() != work.renditions.len() || !made.renditions.iter().zip(&work.renditions).all(fits) {
        return Err(crashed("the media child made other renditions than it was asked for".into()).into());
    }
    let describe = move || -> io::Result<Vec<Rendition>> {
        let blob = |name: &str, part| describe(&out.join(output_name(name, part)));
        let rendition = |made: job::Made| {
            let (init, segment) = (blob(&made.name, Part::Init)?, blob(&made.name, Part::Segment)?);
            Ok(Rendition { init, segment, name: made.name, codec: made.codec, frames: made.frames })
        };
        made.renditions.into_iter().map(rendition).collect()
    };
    let described = tokio::task::spawn_blocking(describe).await;
    let renditions = described
        .map_err(|error| crashed(format!("hashing failed: {error}")))?
        .map_err(|error| crashed(format!("the media child's results can't be read: {error}")))?;
    Ok(Done { renditions, report: None, frames_concealed: made.frames_concealed, work_ms })
}

/// What a failure of a job with a card says of the card. A child that died or hung may have done so in the driver.
fn refusal(failure: &millrace_media::Failure) -> Refusal {
    use millrace_media::FailureKind as Kind;
    failure.card.unwrap_or(match failure.kind {
        Kind::Crashed | Kind::TimedOut => Refusal::Lost,
        Kind::Limit => Refusal::Full,
        Kind::BadInput | Kind::Unsupported | Kind::NotStarted => Refusal::Unsupported,
    })
}

pub(super) async fn upload(
    worker: &Worker,
    bench: &Bench,
    session: &str,
    lease: &Lease,
    done: &Done,
) -> Result<(), Fault> {
    let Some(folder) = bench.folder.get() else { return Err(Fault::Spoiled("the results are gone".into())) };
    let mut outputs = Vec::new();
    for Rendition { name, init, segment, .. } in &done.renditions {
        outputs.extend([(output_name(name, Part::Init), *init), (output_name(name, Part::Segment), *segment)]);
    }
    outputs.extend(done.report.iter().map(|report| (REPORT.to_owned(), report.blob)));
    let mut uploads = Vec::new();
    for (output, blob) in outputs {
        if bench.is_uploaded(&output) {
            continue;
        }
        let from = folder.path(OUT).join(&output);
        uploads.push(async move {
            worker.client.upload(session, lease, &output, blob, &from).await?;
            bench.set_uploaded(output);
            Ok(())
        });
    }
    stream::iter(uploads).buffer_unordered(TRANSFERS_MAX).try_collect().await
}

/// Hashes a file.
fn describe(path: &Path) -> io::Result<Blob> {
    let mut file = std::fs::File::open(path)?;
    let mut hash = sha2::Sha256::new();
    let (mut bytes, mut piece) = (0, vec![0; 256 << 10]);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            break;
        }
        hash.update(&piece[..read]);
        bytes += read as u64;
    }
    Ok(Blob { sha256: Sha256::from_digest(hash.finalize().into()), bytes })
}
