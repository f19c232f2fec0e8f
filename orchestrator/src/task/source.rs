//! What a task's source is made of: its own segment, and those before it that its decoder has to have seen.
//! Called by `farm.rs`, `http/worker.rs` and `verify.rs`, so that worker and checker decode the same bytes.

use millrace_proto::task::{Blob, INIT, SEGMENT, SEGMENTS_MAX, Work, preroll_name, segment_name};

use super::{Task, window};
use crate::store::{self, Store, record::Segment};

/// A segment's video as bytes that can be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decodable {
    /// CMAF header, the same for all.
    pub init: Blob,
    /// Media segments that only have to be decoded first, in order.
    pub preroll: Vec<Blob>,
    /// The media segment.
    pub segment: Blob,
}

impl Decodable {
    /// Everything by its name as an input, in order.
    pub fn named(&self) -> Vec<(String, Blob)> {
        let preroll = self.preroll.iter().enumerate().map(|(at, blob)| (preroll_name(at), *blob));
        let init = std::iter::once((INIT.to_owned(), self.init));
        init.chain(preroll).chain([(SEGMENT.to_owned(), self.segment)]).collect()
    }
}

/// The source's video of a segment; none if it has no video.
pub async fn source(store: &dyn Store, segment: &Segment) -> store::Result<Option<Decodable>> {
    let Some(video) = &segment.video else { return Ok(None) };
    let mut preroll = Vec::new();
    if video.preroll > 0 {
        let from = segment.seq.saturating_sub(video.preroll.into());
        let before = store.segments(&segment.stream, from, video.preroll).await?;
        let before = before.iter().filter(|other| other.seq < segment.seq).filter_map(|other| other.video.as_ref());
        preroll = before.filter(|other| other.init == video.init).map(|other| other.segment).collect();
    }
    Ok(Some(Decodable { init: video.init, preroll, segment: video.segment }))
}

/// All that a task's worker gets, by its name, in order: its own segment's video, or its window's sound. None if that is
/// no longer there.
pub async fn inputs(store: &dyn Store, task: &Task) -> store::Result<Option<Vec<(String, Blob)>>> {
    match &task.work {
        Work::Transcode(_) => {
            let Some(segment) = store.segment(&task.stream, task.seq).await? else { return Ok(None) };
            Ok(source(store, &segment).await?.as_ref().map(Decodable::named))
        }
        Work::Captions(work) => {
            let segments = window(store, task, work.end_ms).await?;
            let sound: Vec<_> = segments.iter().filter_map(|segment| segment.audio.as_ref()).collect();
            let Some(first) = sound.first() else { return Ok(None) };
            let named = sound.iter().enumerate().map(|(at, audio)| (segment_name(at), audio.segment));
            Ok(Some([(INIT.to_owned(), first.init)].into_iter().chain(named).collect()))
        }
        Work::Look(work) => {
            let segments = window(store, task, work.end_ms).await?;
            let Some(first) = segments.first() else { return Ok(None) };
            let Some(before) = source(store, first).await? else { return Ok(None) };
            let pictures = segments.iter().filter_map(|segment| segment.video.as_ref());
            let named = pictures.enumerate().map(|(at, video)| (segment_name(at), video.segment));
            // The worker was told how many come first.
            let whole = before.preroll.len() == work.preroll as usize;
            let preroll = before.named().into_iter().take(1 + before.preroll.len());
            Ok(whole.then(|| preroll.chain(named).collect()))
        }
    }
}

/// The segments of a task's window, if all are there.
async fn window(store: &dyn Store, task: &Task, end_ms: i64) -> store::Result<Vec<Segment>> {
    let limit = u32::try_from(SEGMENTS_MAX).unwrap_or(u32::MAX);
    let mut segments = store.segments(&task.stream, task.seq, limit).await?;
    segments.retain(|segment| window::ms(segment.start_ns) < end_ms);
    if segments.first().is_none_or(|first| first.seq != task.seq) {
        segments.clear();
    }
    Ok(segments)
}
