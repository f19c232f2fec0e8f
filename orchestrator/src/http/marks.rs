//! What is to be seen in a stream, for players: ranges in HLS playlists, and a `WebVTT` track of metadata.
//!
//! Of an encrypted stream it goes to nobody without a playback token.

use axum::{
    http::{header, request::Parts},
    response::Response,
};
use millrace_proto::{offer::Capability, timeline::Entry};

use super::{
    answer::{PRIVATE, changing, set, text_answer},
    captions::VTT_TYPE,
    error::Error,
    tokens,
};
use crate::{
    house::House,
    publish::{
        self,
        hls::{Span, ranges::Ranges},
        webvtt,
    },
    store::{
        record::Stream,
        reports::{Chain, Of},
    },
    task::window,
};

/// The name of the track of metadata.
pub(super) const METADATA: &str = "metadata.vtt";
/// Marks of one answer at most, of each track.
const MARKS_MAX: u32 = 10_000;

/// Whether a stream's profile asks for anything that is to be seen.
pub(super) fn has_any(stream: &Stream) -> bool {
    stream.profile.moderation.is_some() || stream.profile.products.is_some()
}

/// The ranges that a playlist of this span tells of, none where nobody looks; and whether more may come.
pub(super) async fn ranges(house: &House, stream: &Stream, span: Span) -> Result<(Option<Ranges>, bool), Error> {
    if !has_any(stream) {
        return Ok((None, false));
    }
    let first = house.store.segments(&stream.id, publish::first_of(stream, span), 1).await?;
    let from_ms = first.first().map_or(0, |segment| window::ms(segment.start_ns));
    let (chains, entries) = entries(house, stream, from_ms).await?;
    Ok((Some(Ranges::new(entries)), chains.iter().any(|chain| chain.open)))
}

/// Everything that is to be seen, as a track that plays beside the stream.
pub(super) async fn metadata(house: &House, stream: &Stream, request: &Parts) -> Result<Response, Error> {
    tokens::check(house, stream, request)?;
    if !has_any(stream) {
        let hint = "ask for moderation or products in its profile";
        return Err(Error::not_found("file", "nobody looks at what this stream shows", hint));
    }
    let (chains, mut entries) = entries(house, stream, i64::MIN).await?;
    entries.sort_by_key(|entry| entry.start_ms);
    let mut answer = text_answer(stream, VTT_TYPE, webvtt::metadata(&entries), request);
    if stream.profile.encryption.is_some() {
        set(&mut answer, header::CACHE_CONTROL, PRIVATE);
    }
    Ok(if chains.iter().any(|chain| chain.open) { changing(answer) } else { answer })
}

/// What is to be seen from a time on, and the chains that tell it.
async fn entries(house: &House, stream: &Stream, from_ms: i64) -> Result<(Vec<Chain>, Vec<Entry>), Error> {
    let (mut chains, mut entries) = (house.store.chains(&stream.id).await?, Vec::new());
    chains.retain(|chain| chain.kind != Capability::Captions);
    for chain in &chains {
        let of = Of { stream: &stream.id, kind: chain.kind, track: &chain.track };
        let marks = house.store.marks(of, from_ms, i64::MAX, MARKS_MAX).await?;
        entries.extend(marks.into_iter().map(|mark| mark.entry));
    }
    Ok((chains, entries))
}
