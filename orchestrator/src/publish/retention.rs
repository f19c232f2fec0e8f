//! Retention: what a stream's profile no longer wants kept is freed, and never what is listed.
//!
//! First the store says that segments have expired, so that no playlist names them any more; then their media goes,
//! then what is known of them. A crash in between is made good by the next sweep.

use std::sync::Arc;

use millrace_proto::{
    StreamId,
    api::{ClipState, StreamState},
};

use super::window_from;
use crate::{
    media::{self, MediaStore},
    store::{
        self, Move, Store,
        record::{Segment, Stream},
    },
    task::window,
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
    forget_reports(store, media, &stream.id, window::ms(last.start_ns + last.duration_ns)).await?;
    store.forget_segments(&stream.id, last.seq + 1).await?;
    Ok(expired.len())
}

/// Frees all of a stream that ended as long ago as its profile wants it kept: media, headers, pictures, and what
/// workers uploaded in vain. Its record stays, and so do its clips. Returns whether there was anything to free.
pub async fn expire(store: &Arc<dyn Store>, media: &MediaStore, stream: &Stream, now_ms: u64) -> Result<bool, Error> {
    let id = &stream.id;
    let kept_ms = stream.profile.retention_s.map(|retention_s| u64::from(retention_s) * 1_000);
    match stream.state {
        StreamState::Expired => {}
        StreamState::Ended if kept_ms.is_some_and(|kept_ms| stream.state_since_ms + kept_ms <= now_ms) => {
            let (from, to) = (&[StreamState::Ended], StreamState::Expired);
            if !store.move_stream(id, &Move { from, to, reason: None, grace_ends_ms: 0, now_ms }).await? {
                return Ok(false);
            }
        }
        _ => return Ok(false),
    }
    let pending = store.clips(id).await?.iter().any(|clip| clip.state == ClipState::Pending);
    if pending || store.segments(id, 0, 1).await?.is_empty() {
        return Ok(false);
    }
    // Nothing names it any more. The segments' records go last: as long as they are there, this is done again.
    media.delete_all_but_clips(id).await?;
    forget_reports(store, media, id, i64::MAX).await?;
    store.expire_segments(id, u64::MAX).await?;
    store.forget_segments(id, u64::MAX).await?;
    Ok(true)
}

/// Frees what was found in a stream's windows that are over by `below_ms`.
async fn forget_reports(
    store: &Arc<dyn Store>,
    media: &MediaStore,
    stream: &StreamId,
    below_ms: i64,
) -> Result<(), Error> {
    store.forget_marks(stream, below_ms).await?;
    loop {
        let over = store.reports_over(stream, below_ms, STEP_SEGMENTS).await?;
        if over.is_empty() {
            return Ok(());
        }
        for report in over {
            if let Some(found) = &report.found {
                media.delete(stream, found.blob.sha256).await?;
            }
            store.forget_report(&report).await?;
        }
    }
}

#[cfg(test)]
mod tests;
