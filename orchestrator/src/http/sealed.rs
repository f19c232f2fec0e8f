//! Segments whose samples are encrypted on their way out: what that may cost at once.
//!
//! The map of a segment is made of all of it, so it is read into memory, by so many at once as there are places. From
//! there it also goes out, as long as all that goes out so fits into a budget: who reads slowly may keep its share, and
//! what finds none left is read a second time as it goes out, so that nobody waits for the slow.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use millrace_cmaf::protect::{self, Protected};
use millrace_proto::StreamId;
use object_store::GetOptions;
use tokio::sync::Semaphore;

use super::error::Error;
use crate::{
    media::{MediaStore, pieces},
    store::record::Media,
};

/// What goes out of memory is handed on in pieces of this size.
const PIECE_BYTES: usize = 64 << 10;

/// Bytes that one permit of the budget stands for.
const PERMIT_BYTES: u64 = 1 << 10;

/// What encrypting segments may cost at once.
#[derive(Debug)]
pub struct Seals {
    /// To be read into memory.
    places: Semaphore,
    /// For what goes out of memory, in units of [`PERMIT_BYTES`].
    room: Arc<Semaphore>,
}

/// The bytes of a stored segment, from the first on.
pub(super) type Plain = BoxStream<'static, object_store::Result<Bytes>>;

/// A segment to be encrypted.
pub(super) struct Segment {
    pub(super) protected: Protected,
    /// How long it is as it is stored.
    pub(super) size: u64,
    /// Its bytes, if there was room for them.
    kept: Option<Plain>,
}

impl Seals {
    /// So many segments are read at once, and so many bytes of them stay on their way out.
    pub(crate) fn new(places: usize, bytes_max: u64) -> Self {
        Self { places: Semaphore::new(places), room: Arc::new(Semaphore::new((bytes_max / PERMIT_BYTES) as usize)) }
    }

    /// Reads a segment and makes its map.
    pub(super) async fn segment(&self, store: &MediaStore, stream: &StreamId, media: &Media) -> Result<Segment, Error> {
        let hash = media.segment.sha256;
        let place = self.places.acquire().await.expect("places are never taken away");
        let header = store.read(stream, media.init.sha256).await?;
        let plain = store.read(stream, hash).await?;
        let protected = protect::segment(&header, &plain).map_err(|error| {
            tracing::warn!(%stream, %hash, %error, "a segment can't be encrypted");
            Error::Unavailable("the segment can't be encrypted".into())
        })?;
        drop(place);
        let size = plain.len() as u64;
        let permits = u32::try_from(size.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        let room = self.room.clone().try_acquire_many_owned(permits).ok();
        // The room is given back with the last of the pieces, or when nobody wants them any more.
        let kept = room.map(|room| {
            let pieces = stream::unfold((plain, room), |(mut plain, room)| async {
                let piece = plain.split_to(plain.len().min(PIECE_BYTES));
                (!piece.is_empty()).then_some((Ok(piece), (plain, room)))
            });
            pieces.boxed()
        });
        Ok(Segment { protected, size, kept })
    }
}

impl Segment {
    /// Its bytes and its map.
    pub(super) async fn open(
        self,
        store: &MediaStore,
        stream: &StreamId,
        media: &Media,
    ) -> Result<(Plain, Protected), Error> {
        let plain = match self.kept {
            Some(kept) => kept,
            None => pieces(store.get(stream, media.segment.sha256, GetOptions::default()).await?),
        };
        Ok((plain, self.protected))
    }
}

#[cfg(test)]
mod tests;
