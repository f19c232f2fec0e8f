//! A window's work: its sound or its pictures from the lease's folder into the child that listens or looks, what comes of
//! it back into the folder.

use std::time::{Duration, Instant};

use bytes::Bytes;
use millrace_media::{Glance, Window};
use millrace_proto::{
    outcome::{Done, Failure, FailureKind, Report},
    task::{Blob, Captions, INIT, Input, Lease, Look, REPORT, REPORT_BYTES_MAX},
};
use serde::Serialize;
use tokio::time::timeout;

use super::{Worker, step::Means};
use crate::scratch::Folder;

/// Hears a window; its report lies in `out` of the folder.
pub(super) async fn hear(
    worker: &Worker,
    folder: &Folder,
    out: &str,
    lease: &Lease,
    work: &Captions,
    means: Means<'_>,
) -> Result<Done, Failure> {
    let begun = Instant::now();
    let (model, init, segments) = given(folder, lease, means).await?;
    let window = Window {
        start_ms: Some(work.start_ms),
        language: work.language.clone(),
        translate: work.translate,
        context: work.context.clone(),
        last: work.last,
        patience_ms: work.patience_ms,
        draft: work.draft,
        threads: means.threads,
    };
    let time = Duration::from_millis(means.time_ms_max);
    let Ok(heard) = timeout(time, worker.senses.hear(model, &window, (&init, &segments), time)).await else {
        return Err(late("heard"));
    };
    let (heard, version) = heard?;
    told(folder, out, &heard, (model, version), begun).await
}

/// Looks at a window, as [`hear`] hears one.
pub(super) async fn look(
    worker: &Worker,
    folder: &Folder,
    out: &str,
    lease: &Lease,
    work: &Look,
    means: Means<'_>,
) -> Result<Done, Failure> {
    let begun = Instant::now();
    let (model, init, segments) = given(folder, lease, means).await?;
    let (every_ms, preroll, closely) = (work.every_ms, work.preroll, work.closely);
    let glance = Glance { every_ms, preroll, pictures_max: work.pictures_max(), closely };
    let time = Duration::from_millis(means.time_ms_max);
    let Ok(seen) = timeout(time, worker.senses.look(model, &glance, (&init, &segments), time)).await else {
        return Err(late("looked at"));
    };
    let (seen, version) = seen?;
    told(folder, out, &seen, (model, version), begun).await
}

fn late(what: &str) -> Failure {
    let message = format!("the window was not {what} when its time was over");
    Failure { kind: FailureKind::TimedOut, message }
}

/// The model that was chosen, and what was fetched: the header, and all segments in order.
async fn given<'a>(folder: &Folder, lease: &Lease, means: Means<'a>) -> Result<(&'a str, Bytes, Vec<Bytes>), Failure> {
    let failed = |kind, message: String| Failure { kind, message };
    let Some(model) = means.model else {
        return Err(failed(FailureKind::Unsupported, "no model was chosen for it".into()));
    };
    let read = async |Input { name, .. }: &Input| {
        let bytes = tokio::fs::read(folder.path(name)).await.map(Bytes::from);
        bytes.map_err(|error| failed(FailureKind::Crashed, format!("the worker can't read its file {name}: {error}")))
    };
    let (mut init, mut segments) = (Bytes::new(), Vec::new());
    for input in &lease.inputs {
        let bytes = read(input).await?;
        if input.name == INIT { init = bytes } else { segments.push(bytes) }
    }
    Ok((model, init, segments))
}

/// Writes a report into the folder, and tells of it.
async fn told(
    folder: &Folder,
    out: &str,
    found: &impl Serialize,
    (model, version): (&str, &str),
    begun: Instant,
) -> Result<Done, Failure> {
    let failed = |kind, message: String| Failure { kind, message };
    let report = serde_json::to_vec(found).map_err(|error| failed(FailureKind::Crashed, error.to_string()))?;
    if report.len() as u64 > REPORT_BYTES_MAX {
        return Err(failed(FailureKind::Limit, format!("the report has {} bytes", report.len())));
    }
    let kept = tokio::fs::write(folder.path(out).join(REPORT), &report).await;
    kept.map_err(|error| failed(FailureKind::Limit, format!("the worker can't write its report: {error}")))?;
    let report = Report { blob: Blob::of(&report), model: model.to_owned(), version: version.to_owned() };
    let work_ms = begun.elapsed().as_millis() as u64;
    Ok(Done { renditions: Vec::new(), report: Some(report), frames_concealed: 0, work_ms })
}
