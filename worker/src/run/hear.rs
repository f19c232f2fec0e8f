//! A window's work: its sound from the lease's folder into the child that listens, what it heard back into the folder.

use std::time::{Duration, Instant};

use bytes::Bytes;
use millrace_media::Window;
use millrace_proto::{
    outcome::{Done, Failure, FailureKind, Report},
    task::{Blob, Captions, INIT, Lease, REPORT, REPORT_BYTES_MAX, segment_name},
};
use tokio::time::timeout;

use super::{Worker, step::Means};
use crate::scratch::Folder;

/// Hears a window; its report lies in `out` of the folder.
pub(super) async fn work(
    worker: &Worker,
    folder: &Folder,
    out: &str,
    lease: &Lease,
    work: &Captions,
    means: Means<'_>,
) -> Result<Done, Failure> {
    let begun = Instant::now();
    let failed = |kind, message: String| Failure { kind, message };
    let Some(model) = means.model else {
        return Err(failed(FailureKind::Unsupported, "no model was chosen for it".into()));
    };
    let read = async |name: &str| {
        let bytes = tokio::fs::read(folder.path(name)).await.map(Bytes::from);
        bytes.map_err(|error| failed(FailureKind::Crashed, format!("the worker can't read its file {name}: {error}")))
    };
    let init = read(INIT).await?;
    let mut segments = Vec::new();
    for at in 0..lease.inputs.len().saturating_sub(1) {
        segments.push(read(&segment_name(at)).await?);
    }
    let window = Window {
        start_ms: Some(work.start_ms),
        language: work.language.clone(),
        translate: work.translate,
        context: work.context.clone(),
        last: work.last,
        patience_ms: work.patience_ms,
        threads: means.threads,
    };
    let hearing = worker.ears.hear(model, &window, &init, &segments);
    let Ok(heard) = timeout(Duration::from_millis(means.time_ms_max), hearing).await else {
        return Err(failed(FailureKind::TimedOut, "the window was not heard when its time was over".into()));
    };
    let (heard, version) = heard?;
    let report = serde_json::to_vec(&heard).map_err(|error| failed(FailureKind::Crashed, error.to_string()))?;
    if report.len() as u64 > REPORT_BYTES_MAX {
        return Err(failed(FailureKind::Limit, format!("the report has {} bytes", report.len())));
    }
    let kept = tokio::fs::write(folder.path(out).join(REPORT), &report).await;
    kept.map_err(|error| failed(FailureKind::Limit, format!("the worker can't write its report: {error}")))?;
    let report = Report { blob: Blob::of(&report), model: model.to_owned(), version: version.to_owned() };
    let work_ms = begun.elapsed().as_millis() as u64;
    Ok(Done { renditions: Vec::new(), report: Some(report), frames_concealed: 0, work_ms })
}
