//! Media playlists on their way out: short ones whole, long ones page by page as they are read from the store.
//!
//! What they say is `publish/hls.rs`'s business; which one is asked for is `http/hls.rs`'s.

use std::sync::Arc;

use axum::{body::Body, http::request::Parts, response::Response};
use bytes::Bytes;
use futures_util::Stream as Chunks;
use millrace_proto::Sha256;

use super::{
    answer::{text_answer, text_of},
    error::Error,
    hls::{PLAYLIST_TYPE, not_yet},
};
use crate::{
    publish::{
        self,
        hls::{Lines, Span},
    },
    store::{self, Store, record::Stream},
};

/// Why a playlist breaks off: its connection is closed, so that nobody takes what came for all.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("segment {0} was freed while the playlist was written")]
    Freed(u64),
}

/// The playlist of this span that `lines` writes.
pub(super) async fn answer(
    store: &Arc<dyn Store>,
    stream: &Stream,
    span: Span,
    mut lines: impl Lines + 'static,
    request: &Parts,
) -> Result<Response, Error> {
    let page = publish::page(store, stream, publish::first_of(stream, span)).await?;
    let (Some(first), Some(last)) = (page.first(), page.last()) else { return Err(not_yet()) };
    let (mut text, next, seal) = (String::new(), last.seq + 1, lines.seal());
    lines.begin(&mut text, Some(first));
    for segment in &page {
        lines.add(&mut text, segment);
    }
    if next >= stream.listed_seq {
        lines.end(&mut text);
        return Ok(text_answer(stream, PLAYLIST_TYPE, text, request));
    }
    // The same records give the same text: what it is made of tells it, without all of it being made.
    let made_of = format!(
        "{} {} {span:?} {} {} {} {:?} {} {seal}",
        stream.id,
        request.uri,
        first.seq,
        stream.listed_seq,
        stream.withheld_segments,
        stream.state,
        stream.target_duration_s
    );
    let body = Body::from_stream(written(store.clone(), stream.clone(), next, text, lines));
    Ok(text_of(stream, PLAYLIST_TYPE, Sha256::of(made_of.as_bytes()), body, request))
}

/// `text`, and the lines of all listed segments from number `next` on, a page at a time.
fn written(
    store: Arc<dyn Store>,
    stream: Stream,
    next: u64,
    text: String,
    lines: impl Lines,
) -> impl Chunks<Item = Result<Bytes, Broken>> + Send {
    futures_util::stream::try_unfold(Some((next, text, lines)), move |at| {
        let (store, stream) = (store.clone(), stream.clone());
        async move {
            let Some((next, text, mut lines)) = at else { return Ok(None) };
            if !text.is_empty() {
                return Ok(Some((Bytes::from(text), Some((next, String::new(), lines)))));
            }
            let (mut text, mut next) = (String::new(), next);
            let page = if next < stream.listed_seq { publish::page(&store, &stream, next).await? } else { Vec::new() };
            if next < stream.listed_seq && page.first().is_none_or(|segment| segment.seq != next) {
                return Err(Broken::Freed(next));
            }
            for segment in &page {
                lines.add(&mut text, segment);
                next = segment.seq + 1;
            }
            if page.is_empty() {
                lines.end(&mut text);
                return Ok(Some((Bytes::from(text), None)));
            }
            Ok(Some((Bytes::from(text), Some((next, String::new(), lines)))))
        }
    })
}

#[cfg(test)]
pub(super) mod tests;
