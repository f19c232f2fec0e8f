//! Looking at media with the media child. Decides nothing; `verify.rs` judges what is seen here.

use std::path::PathBuf;

use async_trait::async_trait;
use millrace_media::{
    FailureKind, Launcher, Limits,
    job::{Inspect, Inspection, Pair},
};
use millrace_proto::{
    StreamId,
    task::{Blob, INIT, SEGMENT},
};

use super::{Error, Look};
use crate::{media::MediaStore, task::source::Decodable};

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
        segments: &[Decodable],
        decode_all: bool,
    ) -> Result<Vec<Inspection>, Error> {
        let folder = tempfile::tempdir_in(&self.scratch)?;
        let mut pairs = Vec::new();
        for (at, segment) in segments.iter().enumerate() {
            let (mut init, mut media, mut preroll) = (PathBuf::new(), PathBuf::new(), Vec::new());
            for (name, blob) in segment.named() {
                let path = folder.path().join(format!("{at}.{name}"));
                self.media.copy_out(stream, blob.sha256, &path).await?;
                match name.as_str() {
                    INIT => init = path,
                    SEGMENT => media = path,
                    _ => preroll.push(path),
                }
            }
            pairs.push(Pair { init, preroll, segment: media });
        }
        let job = Inspect { segments: pairs, decode_all };
        self.launcher.inspect(&job, &Limits::default()).await.map_err(|failure| match failure.kind {
            FailureKind::NotStarted => Error::NoChild(failure.to_string()),
            _ => Error::Broke(failure.to_string()),
        })
    }
}
