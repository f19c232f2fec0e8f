//! What a task's source is made of: its own segment, and those before it that its decoder has to have seen.
//! Called by `farm.rs`, `http/worker.rs` and `verify.rs`, so that worker and checker decode the same bytes.

use millrace_proto::task::{Blob, INIT, SEGMENT, preroll_name};

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
