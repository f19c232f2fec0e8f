//! The media store: immutable bytes, named by their stream and their hash.
//!
//! Sits on the `object_store` crate, so that files can become S3 later. Never decides what is kept. What workers upload
//! lies apart, with its lease (`media/lease.rs`).

mod lease;
mod pictures;

use std::{os::unix::fs::FileExt, path::Path, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream::BoxStream};
use millrace_proto::{LeaseId, Sha256, StreamId, task::Blob};
use object_store::{
    GetOptions, GetResult, GetResultPayload, ObjectStore, ObjectStoreExt, WriteMultipart, local::LocalFileSystem,
    path::Path as Key,
};
use sha2::Digest;
use tokio::io::AsyncWriteExt;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct Error {
    /// What callers look at.
    pub kind: Kind,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Kinds of error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Kind {
    /// Nothing has this name.
    #[error("no such media")]
    Missing,
    /// The disk is full.
    #[error("no space left for media: free some, nothing is lost meanwhile")]
    Full,
    /// The bytes that came are not those announced.
    #[error("the bytes do not have the announced hash or length")]
    Mismatch,
    /// More bytes came than allowed.
    #[error("more than {0} bytes came")]
    TooLarge(u64),
    /// The sender stopped in the middle.
    #[error("the upload broke off")]
    BrokenOff,
    /// Anything else.
    #[error("the media store failed")]
    Failed,
}

/// What calls on the media store return.
pub type Result<T> = std::result::Result<T, Error>;

impl From<Kind> for Error {
    fn from(kind: Kind) -> Self {
        Self { kind, source: None }
    }
}

impl From<object_store::Error> for Error {
    fn from(source: object_store::Error) -> Self {
        let kind = match &source {
            object_store::Error::NotFound { .. } => Kind::Missing,
            other if is_full(other) => Kind::Full,
            _ => Kind::Failed,
        };
        Self { kind, source: Some(source.into()) }
    }
}

impl From<std::io::Error> for Error {
    fn from(source: std::io::Error) -> Self {
        let kind = if is_full(&source) { Kind::Full } else { Kind::Failed };
        Self { kind, source: Some(source.into()) }
    }
}

fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded))
}

/// Parts in which uploads are written: S3 takes none smaller than 5 MiB.
const PART_BYTES: usize = 5 << 20;

/// Bytes read from a file at once: each piece goes by way of another thread, so that small ones cost more than reading.
const READ_BYTES: u64 = 256 << 10;

/// What was found, piece by piece. `object_store`'s own stream of a file has pieces of 8 KiB.
pub fn pieces(found: GetResult) -> BoxStream<'static, object_store::Result<Bytes>> {
    let (file, range) = match (found.payload, found.range) {
        (GetResultPayload::File(file, _), range) => (Arc::new(file), range),
        (GetResultPayload::Stream(stream), _) => return stream,
    };
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic { store: "file", source };
    futures_util::stream::try_unfold((file, range), move |(file, left)| async move {
        if left.is_empty() {
            return Ok(None);
        }
        let end = left.end.min(left.start + READ_BYTES);
        let (from, mut piece) = (file.clone(), vec![0; (end - left.start) as usize]);
        let read =
            tokio::task::spawn_blocking(move || from.read_exact_at(&mut piece, left.start).map(|()| piece)).await;
        let piece = read.map_err(|error| failed(error.into()))?.map_err(|error| failed(error.into()))?;
        Ok(Some((Bytes::from(piece), (file, end..left.end))))
    })
    .boxed()
}

/// Where bytes lie.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// With the stream that they belong to.
    Stream(&'a StreamId),
    /// With the lease that a worker uploaded them under: nobody is shown them.
    Lease(&'a LeaseId),
}

impl<'a> From<&'a StreamId> for Place<'a> {
    fn from(stream: &'a StreamId) -> Self {
        Self::Stream(stream)
    }
}

impl<'a> From<&'a LeaseId> for Place<'a> {
    fn from(lease: &'a LeaseId) -> Self {
        Self::Lease(lease)
    }
}

/// The media store.
#[derive(Debug, Clone)]
pub struct MediaStore(Arc<dyn ObjectStore>);

impl MediaStore {
    /// Keeps media in `folder`, made if absent.
    pub fn local(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        lease::remove_cut_off(folder)?;
        // A segment is acknowledged once it is written: it must survive a power cut from then on.
        let files = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
        Ok(Self(Arc::new(files.with_automatic_cleanup(true))))
    }

    /// Keeps media behind any object store.
    pub fn over(objects: Arc<dyn ObjectStore>) -> Self {
        Self(objects)
    }

    fn key<'a>(place: impl Into<Place<'a>>, hash: Sha256) -> Key {
        match place.into() {
            Place::Stream(stream) => Key::from(format!("{stream}/{hash}")),
            Place::Lease(lease) => lease::folder(lease).join(hash.to_string()),
        }
    }

    /// Stores `bytes`; durable when this returns. What is there already is written over with the same.
    pub async fn put(&self, stream: &StreamId, bytes: Bytes) -> Result<Blob> {
        let blob = Blob::of(&bytes);
        self.0.put(&Self::key(stream, blob.sha256), bytes.into()).await?;
        Ok(blob)
    }

    /// Stores what arrives, if it is what `hash` says and no longer than `bytes_max`; durable when this returns.
    pub async fn receive<'a, E>(
        &self,
        place: impl Into<Place<'a>>,
        hash: Sha256,
        bytes_max: u64,
        body: impl Stream<Item = std::result::Result<Bytes, E>>,
    ) -> Result<Blob> {
        let upload = self.0.put_multipart(&Self::key(place, hash)).await?;
        let mut write = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let (mut digest, mut bytes) = (sha2::Sha256::new(), 0);
        let mut body = std::pin::pin!(body);
        let outcome = loop {
            match body.next().await {
                None if Sha256::from_digest(digest.clone().finalize().into()) == hash => break Ok(()),
                None => break Err(Kind::Mismatch),
                Some(Err(_)) => break Err(Kind::BrokenOff),
                Some(Ok(chunk)) => {
                    bytes += chunk.len() as u64;
                    if bytes > bytes_max {
                        break Err(Kind::TooLarge(bytes_max));
                    }
                    digest.update(&chunk);
                    if let Err(error) = write.wait_for_capacity(2).await {
                        return Err(error.into());
                    }
                    write.put(chunk);
                }
            }
        };
        if let Err(kind) = outcome {
            write.abort().await?;
            return Err(kind.into());
        }
        write.finish().await?;
        Ok(Blob { sha256: hash, bytes })
    }

    /// Stores what was pushed as segment `number` until it is cut; durable when this returns. What an earlier try
    /// left behind is written over.
    pub async fn receive_push<E>(
        &self,
        stream: &StreamId,
        number: u64,
        bytes_max: u64,
        body: impl Stream<Item = std::result::Result<Bytes, E>>,
    ) -> Result<Blob> {
        let upload = self.0.put_multipart(&Self::push_key(stream, number)).await?;
        let mut write = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let (mut digest, mut bytes) = (sha2::Sha256::new(), 0);
        let mut body = std::pin::pin!(body);
        while let Some(chunk) = body.next().await {
            let wrong = match &chunk {
                Err(_) => Some(Kind::BrokenOff),
                Ok(chunk) if bytes + chunk.len() as u64 > bytes_max => Some(Kind::TooLarge(bytes_max)),
                Ok(_) => None,
            };
            if let Some(kind) = wrong {
                write.abort().await?;
                return Err(kind.into());
            }
            let Ok(chunk) = chunk else { continue };
            bytes += chunk.len() as u64;
            digest.update(&chunk);
            write.wait_for_capacity(2).await?;
            write.put(chunk);
        }
        write.finish().await?;
        Ok(Blob { sha256: Sha256::from_digest(digest.finalize().into()), bytes })
    }

    /// Copies what was pushed as segment `number` into a file, for the media child.
    pub async fn copy_push(&self, stream: &StreamId, number: u64, file: &Path) -> Result<()> {
        let bytes = self.0.get_opts(&Self::push_key(stream, number), GetOptions::default()).await?;
        Self::write_out(bytes, file).await
    }

    /// Removes what was pushed as segment `number`; it may be gone already.
    pub async fn delete_push(&self, stream: &StreamId, number: u64) -> Result<()> {
        self.remove(&Self::push_key(stream, number)).await
    }

    fn push_key(stream: &StreamId, number: u64) -> Key {
        // No hash looks like this.
        Key::from(format!("{stream}/push-{number}"))
    }

    /// Stores something that is made of a stream, under a name of its own; durable when this returns. What had the
    /// name before is written over.
    pub async fn put_asset(&self, stream: &StreamId, name: &str, bytes: Bytes) -> Result<()> {
        self.0.put(&Self::asset_key(stream, name), bytes.into()).await?;
        Ok(())
    }

    /// As [`MediaStore::put_asset`], from bytes that come one after the other. Nothing has the name before all came.
    pub async fn receive_asset(
        &self,
        stream: &StreamId,
        name: &str,
        body: impl Stream<Item = Result<Bytes>>,
    ) -> Result<()> {
        let upload = self.0.put_multipart(&Self::asset_key(stream, name)).await?;
        let mut write = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let mut body = std::pin::pin!(body);
        while let Some(chunk) = body.next().await {
            match chunk {
                Ok(chunk) => {
                    write.wait_for_capacity(2).await?;
                    write.put(chunk);
                }
                Err(error) => {
                    write.abort().await?;
                    return Err(error);
                }
            }
        }
        write.finish().await?;
        Ok(())
    }

    /// Removes what was stored under a name; it may be gone already.
    pub async fn delete_asset(&self, stream: &StreamId, name: &str) -> Result<()> {
        self.remove(&Self::asset_key(stream, name)).await
    }

    /// Reads what was stored under a name.
    pub async fn get_asset(&self, stream: &StreamId, name: &str, options: GetOptions) -> Result<GetResult> {
        Ok(self.0.get_opts(&Self::asset_key(stream, name), options).await?)
    }

    /// Whether something is stored under a name.
    pub async fn has_asset(&self, stream: &StreamId, name: &str) -> Result<bool> {
        match self.0.head(&Self::asset_key(stream, name)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn asset_key(stream: &StreamId, name: &str) -> Key {
        Key::from(format!("{stream}/asset-{name}"))
    }

    /// Whether these bytes are here, in full.
    pub async fn has<'a>(&self, place: impl Into<Place<'a>>, blob: Blob) -> Result<bool> {
        match self.0.head(&Self::key(place, blob.sha256)).await {
            Ok(meta) => Ok(meta.size == blob.bytes),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// How many bytes these are.
    pub async fn size(&self, stream: &StreamId, hash: Sha256) -> Result<u64> {
        Ok(self.0.head(&Self::key(stream, hash)).await?.size)
    }

    /// Reads, as `options` say.
    pub async fn get<'a>(&self, place: impl Into<Place<'a>>, hash: Sha256, options: GetOptions) -> Result<GetResult> {
        Ok(self.0.get_opts(&Self::key(place, hash), options).await?)
    }

    /// All of a stored file. Segments fit in memory: they came through it.
    pub async fn read<'a>(&self, place: impl Into<Place<'a>>, hash: Sha256) -> Result<Bytes> {
        Ok(self.get(place, hash, GetOptions::default()).await?.bytes().await?)
    }

    /// Copies a blob into a file, for the media child.
    pub async fn copy_out<'a>(&self, place: impl Into<Place<'a>>, hash: Sha256, file: &Path) -> Result<()> {
        Self::write_out(self.get(place, hash, GetOptions::default()).await?, file).await
    }

    async fn write_out(bytes: GetResult, file: &Path) -> Result<()> {
        let mut bytes = pieces(bytes);
        let mut file = tokio::fs::File::create(file).await?;
        while let Some(chunk) = bytes.try_next().await? {
            file.write_all(&chunk).await?;
        }
        Ok(file.flush().await?)
    }

    /// Whether a write would succeed now.
    pub async fn ready(&self) -> Result<()> {
        let key = Key::from("ready");
        self.0.put(&key, Bytes::from_static(b"ready").into()).await?;
        Ok(())
    }

    /// Removes one blob; it may be gone already.
    pub async fn delete(&self, stream: &StreamId, hash: Sha256) -> Result<()> {
        self.remove(&Self::key(stream, hash)).await
    }

    async fn remove(&self, key: &Key) -> Result<()> {
        match self.0.delete(key).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes all that is stored of a stream but its clips' files.
    pub async fn delete_all_but_clips(&self, stream: &StreamId) -> Result<()> {
        let clips = Self::asset_key(stream, "clip-").to_string();
        let keys = self.0.list(Some(&Key::from(stream.as_str()))).map_ok(|meta| meta.location);
        let keys = keys.try_filter(move |key| std::future::ready(!key.as_ref().starts_with(&clips))).boxed();
        self.0.delete_stream(keys).try_for_each(|_| async { Ok(()) }).await?;
        Ok(())
    }

    /// Removes all media of a stream.
    pub async fn delete_stream(&self, stream: &StreamId) -> Result<()> {
        let keys = self.0.list(Some(&Key::from(stream.as_str()))).map_ok(|meta| meta.location).boxed();
        self.0.delete_stream(keys).try_for_each(|_| async { Ok(()) }).await?;
        Ok(())
    }
}
