//! Retention: what a live stream's profile no longer wants kept is freed, and never what its window lists.
//!
//! First the store says that segments have expired, so that no playlist names them any more; then their media goes,
//! then what is known of them. A crash in between is made good by the next sweep.

use std::sync::Arc;

use super::window_from;
use crate::{
    media::{self, MediaStore},
    store::{
        self, Store,
        record::{Segment, Stream},
    },
};

/// Segments freed in one step.
const STEP_SEGMENTS: u32 = 128;

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

/// The first segment that is to be kept. `oldest` are the stream's segments from `first_seq` on, `unlisted` is its
/// first one that is not listed: those that it is decoded after are kept as well.
pub fn keep_from(stream: &Stream, oldest: &[Segment], unlisted: Option<&Segment>, now_ms: u64) -> u64 {
    let Some(retention_s) = stream.profile.retention_s.filter(|_| stream.is_live()) else { return stream.first_seq };
    let old = |segment: &&Segment| segment.arrived_ms + u64::from(retention_s) * 1_000 <= now_ms;
    let expired = oldest.iter().take_while(old).map(|segment| segment.seq + 1).last().unwrap_or(stream.first_seq);
    let needed = unlisted.map_or(u64::MAX, |segment| {
        let preroll = segment.video.as_ref().map_or(0, |video| video.preroll);
        segment.seq.saturating_sub(preroll.into())
    });
    expired.min(window_from(stream)).min(needed).max(stream.first_seq)
}

/// Frees what has expired of `stream`. Returns how many segments were freed.
pub async fn sweep(store: &Arc<dyn Store>, media: &MediaStore, stream: &Stream, now_ms: u64) -> Result<usize, Error> {
    let oldest = store.segments(&stream.id, stream.first_seq, STEP_SEGMENTS).await?;
    let unlisted = store.segment(&stream.id, stream.listed_seq).await?;
    let keep = keep_from(stream, &oldest, unlisted.as_ref(), now_ms);
    // The store has the last word: a clip may need what is old.
    let keep = if keep > stream.first_seq { store.expire_segments(&stream.id, keep).await? } else { keep };
    let mut expired = store.segments(&stream.id, 0, STEP_SEGMENTS).await?;
    expired.retain(|segment| segment.seq < keep);
    let Some(last) = expired.last() else { return Ok(0) };
    for segment in &expired {
        // Headers are shared by all segments and stay.
        for track in segment.renditions.iter().chain(&segment.video).chain(&segment.audio) {
            media.delete(&stream.id, track.segment.sha256).await?;
        }
    }
    store.forget_segments(&stream.id, last.seq + 1).await?;
    Ok(expired.len())
}

#[cfg(test)]
mod tests;
