//! Looking at media with the media child. Decides nothing; `verify.rs` judges what is seen here.

use std::path::PathBuf;

use async_trait::async_trait;
use millrace_media::{
    FailureKind, Launcher, Limits,
    job::{Inspect, Inspection, Pair},
};
use millrace_proto::{StreamId, task::Blob};

use super::{Error, Look};
use crate::media::MediaStore;

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
    async fn has(&self, stream: &StreamId, blob: Blob) -> Result<bool, Error> {
        Ok(self.media.has(stream, blob).await?)
    }

    async fn inspect(
        &self,
        stream: &StreamId,
        pairs: &[(Blob, Blob)],
        decode_all: bool,
    ) -> Result<Vec<Inspection>, Error> {
        let folder = tempfile::tempdir_in(&self.scratch)?;
        let mut segments = Vec::new();
        for (at, (init, media)) in pairs.iter().enumerate() {
            let pair = Pair {
                init: folder.path().join(format!("{at}.init")),
                segment: folder.path().join(format!("{at}.segment")),
            };
            self.media.copy_out(stream, init.sha256, &pair.init).await?;
            self.media.copy_out(stream, media.sha256, &pair.segment).await?;
            segments.push(pair);
        }
        let job = Inspect { segments, decode_all };
        self.launcher.inspect(&job, &Limits::default()).await.map_err(|failure| match failure.kind {
            FailureKind::NotStarted => Error::NoChild(failure.to_string()),
            _ => Error::Broke(failure.to_string()),
        })
    }
}
