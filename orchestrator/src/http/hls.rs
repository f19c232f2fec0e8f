//! `/hls/...`: playlists and segments for players and the CDN before them.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use millrace_proto::{Sha256, api::StreamState};
use object_store::{GetOptions, GetRange};

use super::{error::Error, streams};
use crate::{
    house::House,
    publish::{
        self,
        hls::{self, AUDIO, Span},
    },
    store::record::{SegmentState, Stream},
};

pub(super) const PLAYLIST_TYPE: &str = "application/vnd.apple.mpegurl";
/// Bytes named by hash or by number never change.
const FOREVER: &str = "public, max-age=31536000, immutable";

pub(super) async fn multivariant(
    State(house): State<Arc<House>>,
    Path((id, playlist)): Path<(String, String)>,
    request: HeaderMap,
) -> Result<Response, Error> {
    let stream = streams::find(&house, &id).await?;
    span(&stream, &playlist)?;
    let text = hls::multivariant(&stream, &playlist).ok_or_else(not_yet)?;
    Ok(text_answer(&stream, PLAYLIST_TYPE, text, &request))
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
    request: HeaderMap,
) -> Result<Response, Error> {
    let stream = streams::find(&house, &id).await?;
    let known = rendition == AUDIO || stream.variants.iter().any(|variant| variant.name == rendition);
    if !known {
        return Err(Error::not_found("rendition", "the stream has no such rendition", "look it up in index.m3u8"));
    }
    if let Some(number) = file.strip_suffix(".m4s").and_then(|text| text.parse().ok()) {
        return segment(&house, &stream, &rendition, number, &request).await;
    }
    if let Some(hash) =
        file.strip_prefix("init-").and_then(|rest| rest.strip_suffix(".mp4")).and_then(|text| text.parse().ok())
    {
        return bytes(&house, &stream, &rendition, hash, &request).await;
    }
    let span = span(&stream, &file)?;
    let segments = publish::covered(&house.store, &stream, span).await?;
    if segments.is_empty() {
        return Err(not_yet());
    }
    Ok(text_answer(&stream, PLAYLIST_TYPE, hls::media(&stream, &rendition, &segments, span), &request))
}

async fn segment(
    house: &House,
    stream: &Stream,
    rendition: &str,
    seq: u64,
    request: &HeaderMap,
) -> Result<Response, Error> {
    let gone = || Error::not_found("segment", "there is no such segment", "look it up in the playlist");
    let segment = house.store.segment(&stream.id, seq).await?.filter(|_| seq < stream.listed_seq).ok_or_else(gone)?;
    if segment.state == SegmentState::Pending {
        return Err(gone());
    }
    let media = hls::find(&segment, rendition).ok_or_else(gone)?;
    bytes(house, stream, rendition, media.segment.sha256, request).await
}

async fn bytes(
    house: &House,
    stream: &Stream,
    rendition: &str,
    hash: Sha256,
    request: &HeaderMap,
) -> Result<Response, Error> {
    let etag = format!("\"{hash}\"");
    if matches(request, &etag) {
        return Ok(not_modified(&etag, FOREVER));
    }
    let range = request.get(header::RANGE).and_then(|value| value.to_str().ok()).and_then(byte_range);
    let options = GetOptions { range: range.clone(), ..GetOptions::default() };
    let found = match house.media.get(&stream.id, hash, options).await {
        Ok(found) => found,
        // A range past the end; asking for the whole tells a missing file from a wrong range.
        Err(_) if range.is_some() => {
            let size = house.media.get(&stream.id, hash, GetOptions::default()).await?.meta.size;
            let headers = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response());
        }
        Err(error) => return Err(error.into()),
    };
    let (part, size) = (found.range.clone(), found.meta.size);
    let kind = if rendition == AUDIO { "audio/mp4" } else { "video/mp4" };
    let mut response = Body::from_stream(found.into_stream()).into_response();
    let headers = response.headers_mut();
    let value = |text: String| header::HeaderValue::try_from(text).expect("digits and names are header text");
    headers.insert(header::CONTENT_TYPE, value(kind.into()));
    headers.insert(header::CONTENT_LENGTH, value((part.end - part.start).to_string()));
    headers.insert(header::ACCEPT_RANGES, value("bytes".into()));
    headers.insert(header::CACHE_CONTROL, value(FOREVER.into()));
    headers.insert(header::ETAG, value(etag));
    if range.is_some() {
        headers.insert(
            header::CONTENT_RANGE,
            value(format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1))),
        );
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// A single range of bytes (RFC 9110, 14.1.2); several at once are answered with the whole.
fn byte_range(text: &str) -> Option<GetRange> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => Some(GetRange::Bounded(first..last + 1)),
        (Ok(first), Err(_)) if last.is_empty() => Some(GetRange::Offset(first)),
        (Err(_), Ok(count)) if first.is_empty() && count > 0 => Some(GetRange::Suffix(count)),
        _ => None,
    }
}

/// A playlist or a manifest.
pub(super) fn text_answer(stream: &Stream, kind: &str, text: String, request: &HeaderMap) -> Response {
    let etag = format!("\"{}\"", Sha256::of(text.as_bytes()));
    // A live playlist is old after half a segment; a finished one never changes again.
    let cache = match stream.state {
        StreamState::Ended | StreamState::Failed => "public, max-age=60".to_owned(),
        _ => "public, max-age=1".to_owned(),
    };
    if matches(request, &etag) {
        return not_modified(&etag, &cache);
    }
    let headers = [(header::CONTENT_TYPE, kind.to_owned()), (header::CACHE_CONTROL, cache), (header::ETAG, etag)];
    (headers, text).into_response()
}

fn matches(request: &HeaderMap, etag: &str) -> bool {
    let asked = request.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or("");
    asked.split(',').any(|one| one.trim().trim_start_matches("W/") == etag || one.trim() == "*")
}

fn not_modified(etag: &str, cache: &str) -> Response {
    let headers = [(header::ETAG, etag.to_owned()), (header::CACHE_CONTROL, cache.to_owned())];
    (StatusCode::NOT_MODIFIED, headers).into_response()
}
