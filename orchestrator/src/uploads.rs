//! Uploads: what workers send lies with its lease, apart from all that is published, until it is accepted.
//!
//! Takes them in, bounded for each lease, and sweeps what no open lease needs: what was refused, given up or cut off.
//! Called by `http/worker.rs` and `loops.rs`; `verify.rs` puts what it accepts with the stream.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::Stream;
use millrace_proto::{
    LeaseId, Sha256, StreamId, TaskId,
    task::{Blob, REPORT, REPORT_BYTES_MAX, Target, Work},
};

use crate::{
    farm::task_of,
    media::{self, MediaStore},
    store::{self, Store},
    task::Task,
};

/// Largest CMAF header taken: codec configurations are a few hundred bytes.
const INIT_BYTES_MAX: u64 = 64 << 10;

/// A lease's uploads take so many times at most what all of its outputs may: a worker that was cut off sends them again.
const UPLOADS_A_LEASE: u64 = 2;

/// Why a sweep stopped; the next one goes on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The media store failed.
    #[error(transparent)]
    Media(#[from] media::Error),
}

/// What may still come in under each lease, in bytes. Memory only.
#[derive(Debug, Default)]
pub struct Uploads(Mutex<HashMap<LeaseId, u64>>);

/// Room for an upload; given back when dropped.
struct Room<'a>(&'a Uploads, &'a LeaseId, u64);

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut coming = self.0.0.lock().expect("no panic while held");
        if let Entry::Occupied(mut entry) = coming.entry(self.1.clone()) {
            *entry.get_mut() = entry.get().saturating_sub(self.2);
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

impl Uploads {
    /// Stores what arrives as `output` of a lease that is open for `task`. `None` if the task has no such output.
    pub async fn receive<E>(
        &self,
        media: &MediaStore,
        task: &Task,
        lease: &LeaseId,
        output: &str,
        hash: Sha256,
        body: impl Stream<Item = Result<Bytes, E>>,
    ) -> media::Result<Option<Blob>> {
        let Some(bytes_max) = output_bytes_max(task, output) else { return Ok(None) };
        let (_room, coming) = self.room(lease, bytes_max);
        let lease_max = lease_bytes_max(task);
        if media.uploaded_bytes(lease).await?.saturating_add(coming) > lease_max {
            return Err(media::Kind::TooLarge(lease_max).into());
        }
        media.receive(lease, hash, bytes_max, body).await.map(Some)
    }

    /// Also what may come under the lease, this included.
    fn room<'a>(&'a self, lease: &'a LeaseId, bytes: u64) -> (Room<'a>, u64) {
        let mut coming = self.0.lock().expect("no panic while held");
        let all = coming.entry(lease.clone()).or_default();
        *all = all.saturating_add(bytes);
        (Room(self, lease, bytes), *all)
    }
}

/// How much may lie with a lease of this task.
pub fn lease_bytes_max(task: &Task) -> u64 {
    let all = match &task.work {
        Work::Transcode(work) => {
            work.renditions.iter().map(|target| INIT_BYTES_MAX + segment_bytes_max(task, target)).sum::<u64>()
        }
        Work::Captions(_) | Work::Look(_) => REPORT_BYTES_MAX,
    };
    all * UPLOADS_A_LEASE
}

/// How large an output may be. `None` if the task has no such output.
fn output_bytes_max(task: &Task, name: &str) -> Option<u64> {
    let work = match &task.work {
        Work::Transcode(work) => work,
        Work::Captions(_) | Work::Look(_) => return (name == REPORT).then_some(REPORT_BYTES_MAX),
    };
    let (rendition, part) = name.rsplit_once('.')?;
    let target = work.renditions.iter().find(|target| target.name == rendition)?;
    match part {
        "init" => Some(INIT_BYTES_MAX),
        "segment" => Some(segment_bytes_max(task, target)),
        _ => None,
    }
}

/// The rate cap over the segment's time with room for one full VBV buffer and headers, doubled.
fn segment_bytes_max(task: &Task, target: &Target) -> u64 {
    target.rate.bitrate_bps() / 8 * (task.duration_ms + 1_000) / 1_000 * 2 + (1 << 20)
}

/// Removes what lies with leases that have ended: what was accepted is with its stream by then. Returns how many leases
/// that were.
pub async fn sweep(store: &Arc<dyn Store>, media: &MediaStore) -> Result<usize, Error> {
    let mut swept = 0;
    for lease in media.leases_uploaded().await? {
        let Some(id) = task_of(&lease) else { continue };
        // A lease that has ended never opens again, and it was open before anything came under it.
        let task = store.task(&id).await?;
        if task.as_ref().is_some_and(|task| task.needs(&lease)) {
            continue;
        }
        // What was accepted as the stream was deleted may have come behind that.
        if let (None, Some(stream)) = (task, stream_of(&id))
            && store.stream(&stream).await?.is_none()
        {
            media.delete_stream(&stream).await?;
        }
        media.delete_uploads(&lease).await?;
        swept += 1;
    }
    Ok(swept)
}

/// A task's name begins with its stream's: `{stream}-{seq}-{kind}`.
fn stream_of(task: &TaskId) -> Option<StreamId> {
    task.as_str().rsplitn(3, '-').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests;
