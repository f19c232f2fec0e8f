//! What lies with a lease in the media store: what its worker uploaded, and what was judged of it.
//!
//! `uploads.rs` takes uploads in and sweeps them, `verify.rs` judges and promotes.

use std::{io, path::Path};

use futures_util::{StreamExt, TryStreamExt};
use millrace_proto::{LeaseId, StreamId, task::Blob};
use object_store::{GetOptions, ObjectStoreExt, path::Path as Key};

use super::{Kind, MediaStore, Result};
use crate::store::record::Media;

/// The folder of the leases' folders. No stream has such an id.
const UPLOADS: &str = "_uploads";

/// What was judged of a lease's uploads. No hash looks like this.
const VERDICT: &str = "accepted";

/// Names of files that are still written have this in them, as `object_store` makes them; keys can't.
const UNFINISHED: char = '#';

pub(super) fn folder(lease: &LeaseId) -> Key {
    Key::from(format!("{UPLOADS}/{lease}"))
}

/// Removes the parts of uploads that a killed program left behind. Nothing may be uploaded meanwhile.
pub(super) fn remove_cut_off(media: &Path) -> io::Result<()> {
    let leases = match std::fs::read_dir(media.join(UPLOADS)) {
        Ok(leases) => leases,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for lease in leases {
        let lease = lease?.path();
        for file in std::fs::read_dir(&lease)? {
            let file = file?;
            if file.file_name().to_string_lossy().contains(UNFINISHED) {
                std::fs::remove_file(file.path())?;
            }
        }
        // It stays where there is more in it.
        let _ = std::fs::remove_dir(&lease);
    }
    Ok(())
}

impl MediaStore {
    /// How many bytes lie with a lease.
    pub async fn uploaded_bytes(&self, lease: &LeaseId) -> Result<u64> {
        let sizes = self.0.list(Some(&folder(lease))).map_ok(|meta| meta.size);
        Ok(sizes.try_fold(0, |sum, size| std::future::ready(Ok(sum + size))).await?)
    }

    /// All leases that something lies with.
    pub async fn leases_uploaded(&self) -> Result<Vec<LeaseId>> {
        let found = match self.0.list_with_delimiter(Some(&Key::from(UPLOADS))).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(Vec::new()),
            found => found?,
        };
        Ok(found.common_prefixes.iter().filter_map(|key| key.filename()?.parse().ok()).collect())
    }

    /// Removes all that lies with a lease.
    pub async fn delete_uploads(&self, lease: &LeaseId) -> Result<()> {
        let keys: Vec<Key> = self.0.list(Some(&folder(lease))).map_ok(|meta| meta.location).try_collect().await?;
        if keys.is_empty() {
            // An upload that broke off left its folder, which goes with the last file in it.
            self.0.put(&folder(lease).join(VERDICT), bytes::Bytes::new().into()).await?;
            return self.remove(&folder(lease).join(VERDICT)).await;
        }
        let keys = futures_util::stream::iter(keys).map(Ok).boxed();
        self.0.delete_stream(keys).try_for_each(|_| async { Ok(()) }).await?;
        Ok(())
    }

    /// Says that what lies with a lease was accepted, as what; durable when this returns.
    pub async fn put_accepted(&self, lease: &LeaseId, renditions: &[Media]) -> Result<()> {
        let text = serde_json::to_vec(renditions).map_err(io::Error::other)?;
        self.0.put(&folder(lease).join(VERDICT), text.into()).await?;
        Ok(())
    }

    /// What was accepted of a lease, if it was.
    pub async fn accepted(&self, lease: &LeaseId) -> Result<Option<Vec<Media>>> {
        let found = match self.0.get_opts(&folder(lease).join(VERDICT), GetOptions::default()).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            found => found?.bytes().await?,
        };
        Ok(Some(serde_json::from_slice(&found).map_err(io::Error::other)?))
    }

    /// Puts what lies with a lease with the stream as well; durable when this returns. It may be there already.
    /// [`Kind::Missing`] if it is in neither place.
    pub async fn promote(&self, lease: &LeaseId, stream: &StreamId, blob: Blob) -> Result<()> {
        if self.has(stream, blob).await? {
            return Ok(());
        }
        if !self.has(lease, blob).await? {
            return Err(Kind::Missing.into());
        }
        let (from, to) = (Self::key(lease, blob.sha256), Self::key(stream, blob.sha256));
        match self.0.copy_if_not_exists(&from, &to).await {
            // Another lease brought the same.
            Ok(()) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. }) => {
                Ok(self.0.copy(&from, &to).await?)
            }
            Err(error) => Err(error.into()),
        }
    }
}
