//! `/hls/...`: playlists and segments for players and the CDN before them.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, State},
    http::{header, request::Parts},
    response::Response,
};
use millrace_proto::api::StreamState;

use super::{
    answer::{PRIVATE, Piece, bytes, changing, set, text_answer},
    auth, captions, clips,
    error::Error,
    kept::Seen,
    marks::{self, METADATA},
    movie::{self, Movies},
    playlist, stills, streams, tokens,
};
use crate::{
    house::House,
    publish::hls::{
        self, AUDIO, MediaLines, Span,
        iframes::{self, IframeLines},
    },
    store::record::{SegmentState, Stream},
};

pub(super) const PLAYLIST_TYPE: &str = "application/vnd.apple.mpegurl";

pub(super) async fn multivariant(
    State(house): State<Arc<House>>,
    Extension(movies): Extension<Movies>,
    Path((id, playlist)): Path<(String, String)>,
    request: Parts,
) -> Result<Response, Error> {
    let seen = Seen::begin(&house, &id);
    let stream = streams::find(&house, &id).await?;
    let (film, still) = (playlist.strip_suffix(".mp4"), stills::is_one(&playlist));
    if stream.profile.encryption.is_some() && (film.is_some() || still) {
        return Err(Error::not_found("file", "the stream is encrypted, and has no plain files", "play index.m3u8"));
    }
    // No rendition has so long a name.
    if let Some(clip) = film.and_then(|film| film.strip_prefix("clip-")) {
        return clips::file(&house, &stream, clip, &request).await;
    }
    if stream.state == StreamState::Expired {
        return Err(Error::Expired);
    }
    if let Some(rendition) = film {
        return movie::get(&house, &movies, &stream, rendition, &request).await;
    }
    if still {
        return stills::get(&house, &stream, &playlist, &request).await;
    }
    if let Some(name) = playlist.strip_prefix("captions.") {
        let answer = captions::download(&house, &stream, name, &request).await?;
        return Ok(Seen::keep(seen.filter(|_| stream.profile.encryption.is_none()), answer));
    }
    if playlist == METADATA {
        let answer = marks::metadata(&house, &stream, &request).await?;
        return Ok(Seen::keep(seen.filter(|_| stream.profile.encryption.is_none()), answer));
    }
    let span = span(&stream, &playlist)?;
    let named = format!("{playlist}{}", tokens::carried(&house, &stream, &request)?);
    // Who brings no token to an encrypted stream's captions is not led to them.
    let is_open = stream.profile.encryption.is_none() || named != playlist;
    let tracks = if is_open { captions::tracks(&house, &stream).await? } else { Vec::new() };
    let text = hls::multivariant(&stream, &named, span, &tracks).ok_or_else(not_yet)?;
    Ok(Seen::keep(seen, text_answer(&stream, PLAYLIST_TYPE, text, &request)))
}

pub(super) fn not_yet() -> Error {
    Error::not_found("playlist", "nothing is published yet", "try again when the first segments are through")
}

/// Which segments the playlist of this name covers.
fn span(stream: &Stream, playlist: &str) -> Result<Span, Error> {
    match playlist {
        "index.m3u8" if stream.is_live() => Ok(Span::Window),
        "index.m3u8" => Ok(Span::Event),
        "vod.m3u8" if stream.state == StreamState::Ended => Ok(Span::Vod),
        "vod.m3u8" => Err(Error::not_found("playlist", "the stream has not ended yet", "play index.m3u8 until it has")),
        _ => Err(Error::not_found("playlist", "there is no such playlist", "play index.m3u8")),
    }
}

pub(super) async fn file(
    State(house): State<Arc<House>>,
    Path((id, rendition, file)): Path<(String, String, String)>,
    request: Parts,
) -> Result<Response, Error> {
    let seen = Seen::begin(&house, &id);
    let answer = media(&house, &id, (&rendition, &file), &request).await?;
    // Captions of an encrypted stream are for who has a token.
    let is_private = answer.headers().get(header::CACHE_CONTROL).is_some_and(|cache| cache == PRIVATE);
    Ok(Seen::keep(seen.filter(|_| !is_private), answer))
}

/// A file of a rendition: its playlists, its segments and their headers.
async fn media(house: &House, id: &str, (rendition, file): (&str, &str), request: &Parts) -> Result<Response, Error> {
    let stream = streams::kept(house, id).await?;
    if captions::is_track(rendition) {
        return captions::file(house, &stream, (rendition, file), span, request).await;
    }
    let known = rendition == AUDIO || stream.variants.iter().any(|variant| variant.name == rendition);
    if !known {
        return Err(Error::not_found("rendition", "the stream has no such rendition", "look it up in index.m3u8"));
    }
    if let Some(number) = file.strip_suffix(".m4s").and_then(|text| text.parse().ok()) {
        return segment(house, &stream, rendition, number, request).await;
    }
    if let Some(hash) =
        file.strip_prefix("init-").and_then(|rest| rest.strip_suffix(".mp4")).and_then(|text| text.parse().ok())
    {
        return bytes(house, &stream, rendition, Piece::Header(hash), request).await;
    }
    // Parts of an encrypted segment are of no use by themselves.
    if file == iframes::PLAYLIST && stream.profile.encryption.is_none() {
        span(&stream, "vod.m3u8")?;
        if !iframes::has(&stream, rendition) {
            return Err(not_yet());
        }
        let lines = IframeLines::new(stream.clone(), rendition);
        return playlist::answer(&house.store, &stream, Span::Vod, lines, request).await;
    }
    let span = span(&stream, file)?;
    let query = tokens::carried(house, &stream, request)?;
    let key = stream.profile.encryption.map(|how| hls::Key { how, query, iv: house.playback.scheme(&stream.id).iv });
    let (ranges, open) = marks::ranges(house, &stream, span).await?;
    let lines = MediaLines::new(stream.clone(), rendition, span, key).with(ranges);
    let answer = playlist::answer(&house.store, &stream, span, lines, request).await?;
    Ok(if open { changing(answer) } else { answer })
}

async fn segment(
    house: &House,
    stream: &Stream,
    rendition: &str,
    seq: u64,
    request: &Parts,
) -> Result<Response, Error> {
    let gone = || Error::not_found("segment", "there is no such segment", "look it up in the playlist");
    let segment = house.store.segment(&stream.id, seq).await?.filter(|_| seq < stream.listed_seq).ok_or_else(gone)?;
    if segment.state == SegmentState::Pending {
        return Err(gone());
    }
    if segment.is_withheld() {
        // Who decides has to see it; nobody between may keep it.
        let held = |_| Error::not_found("segment", "moderation holds it back", "it is there once it is approved");
        auth::admin(house, &request.headers).map_err(held)?;
        let media = hls::find(&segment, rendition).ok_or_else(gone)?;
        let mut answer = bytes(house, stream, rendition, Piece::Segment(seq, media), request).await?;
        set(&mut answer, header::CACHE_CONTROL, PRIVATE);
        return Ok(answer);
    }
    let media = hls::find(&segment, rendition).ok_or_else(gone)?;
    bytes(house, stream, rendition, Piece::Segment(seq, media), request).await
}
