//! Looking at media with the media child. Decides nothing; `verify.rs` judges what is seen here.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use millrace_media::{
    Failure, FailureKind, Launcher, Limits,
    job::{Gauge, Gauged, Inspect, Inspection, Pair},
};
use millrace_proto::{
    LeaseId, StreamId,
    task::{Blob, INIT, SEGMENT},
};

use super::{Error, Look, Placed};
use crate::{
    media::{MediaStore, Place},
    task::source::Decodable,
};

/// A stream's first segment waits for its gauge: no longer than this, in milliseconds ...
const GAUGE_MS_MAX: u64 = 2_000;
/// ... and it is one of many things to do.
const GAUGE_THREADS: u32 = 2;

/// Copies media out of the media store for the media child, and asks it.
#[derive(Debug, Clone)]
pub struct Child {
    /// Where the bytes are.
    pub media: MediaStore,
    /// Starts the media child.
    pub launcher: Launcher,
    /// Folder for the child's inputs.
    pub scratch: PathBuf,
}

#[async_trait]
impl Look for Child {
    async fn has(&self, lease: &LeaseId, blob: Blob) -> Result<bool, Error> {
        Ok(self.media.has(lease, blob).await?)
    }

    async fn inspect(&self, segments: &[Placed<'_>], decode_all: bool) -> Result<Vec<Inspection>, Error> {
        let folder = tempfile::tempdir_in(&self.scratch)?;
        let mut pairs = Vec::new();
        for (at, Placed { place, segment }) in segments.iter().enumerate() {
            pairs.push(self.copy_out(*place, segment, &folder.path().join(at.to_string())).await?);
        }
        let job = Inspect { segments: pairs, decode_all };
        self.launcher.inspect(&job, &Limits::default()).await.map_err(failed)
    }

    async fn gauge(&self, stream: &StreamId, segment: &Decodable, display: (u32, u32)) -> Result<Gauged, Error> {
        let folder = tempfile::tempdir_in(&self.scratch)?;
        let source = self.copy_out(stream.into(), segment, &folder.path().join("0")).await?;
        let job = Gauge { source, display, threads: GAUGE_THREADS };
        let limits = Limits { wall_ms_max: GAUGE_MS_MAX, ..Limits::default() };
        self.launcher.gauge(&job, &limits).await.map_err(failed)
    }
}

impl Child {
    /// Copies a segment's files to where a job finds them; their names begin with `to`.
    async fn copy_out(&self, place: Place<'_>, segment: &Decodable, to: &Path) -> Result<Pair, Error> {
        let mut pair = Pair::default();
        for (name, blob) in segment.named() {
            let path = to.with_extension(&name);
            self.media.copy_out(place, blob.sha256, &path).await?;
            match name.as_str() {
                INIT => pair.init = path,
                SEGMENT => pair.segment = path,
                _ => pair.preroll.push(path),
            }
        }
        Ok(pair)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands over the failure")]
fn failed(failure: Failure) -> Error {
    match failure.kind {
        FailureKind::NotStarted => Error::NoChild(failure.to_string()),
        _ => Error::Broke(failure.to_string()),
    }
}
