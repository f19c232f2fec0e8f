//! Answers to players, and to the CDN before them: lifetimes, conditions and ranges (RFC 9110, RFC 9111).

use std::ops::Range;

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use millrace_cmaf::protect;
use millrace_proto::{Sha256, api::StreamState, profile::Encryption};
use object_store::{GetOptions, GetRange};

use super::{error::Error, tokens::in_query};
use crate::{
    house::House,
    media,
    publish::{
        hls::AUDIO,
        seal::{self, cbcs},
    },
    store::record::{Media, Stream},
};

/// Bytes named by hash or by number never change.
pub(super) const FOREVER: &str = "public, max-age=31536000, immutable";
/// A live playlist is old after half a segment.
pub(super) const LIVE: &str = "public, max-age=1";
/// The playlists of what has ended change no more, but may be deleted.
pub(super) const ENDED: &str = "public, max-age=300";
/// A playlist with a viewer's token in it is that viewer's.
pub(super) const PRIVATE: &str = "private, max-age=1";

/// A playlist or a manifest. Its validator is weak, since it goes out compressed, too (RFC 9110, 8.8.3.3).
pub(super) fn text_answer(stream: &Stream, kind: &str, text: String, request: &Parts) -> Response {
    let validator = Sha256::of(text.as_bytes());
    text_of(stream, kind, validator, Body::from(text), request)
}

/// The same for a text that is told by `validator` and written while it is sent.
pub(super) fn text_of(stream: &Stream, kind: &str, validator: Sha256, text: Body, request: &Parts) -> Response {
    let etag = format!("W/\"{validator}\"");
    let cache = match stream.state {
        _ if stream.profile.encryption.is_some() && in_query(request).is_some() => PRIVATE,
        StreamState::Ended | StreamState::Failed => ENDED,
        _ => LIVE,
    };
    let mut response = if matches(request, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, kind.to_owned())], text).into_response()
    };
    set(&mut response, header::CACHE_CONTROL, cache);
    set(&mut response, header::VARY, "accept-encoding");
    set(&mut response, header::ETAG, etag);
    response
}

/// The same, of what changes once more though its stream has ended.
pub(super) fn changing(mut response: Response) -> Response {
    if response.headers().get(header::CACHE_CONTROL).is_some_and(|cache| cache == ENDED) {
        set(&mut response, header::CACHE_CONTROL, LIVE);
    }
    response
}

/// What is asked for of a rendition.
#[derive(Debug, Clone, Copy)]
pub(super) enum Piece<'a> {
    /// The header of this hash.
    Header(Sha256),
    /// Segment `seq`.
    Segment(u64, &'a Media),
}

/// Stored bytes of a rendition, which are encrypted on their way where the stream wants that.
pub(super) async fn bytes(
    house: &House,
    stream: &Stream,
    rendition: &str,
    piece: Piece<'_>,
    request: &Parts,
) -> Result<Response, Error> {
    let kind = if rendition == AUDIO { "audio/mp4" } else { "video/mp4" };
    let hash = match piece {
        Piece::Header(hash) => hash,
        Piece::Segment(_, media) => media.segment.sha256,
    };
    let key = house.playback.content_key(&stream.id);
    let etag = match (stream.profile.encryption, piece) {
        (None, _) | (Some(Encryption::Aes128), Piece::Header(_)) => format!("\"{hash}\""),
        // Of what is served. The plain segment's own hash is told to nobody: it would be its name as a header.
        _ => format!("\"{}\"", Sha256::of(format!("{hash} {key:?}").as_bytes())),
    };
    if matches(request, &etag) {
        return Ok(Whole { kind, cache: FOREVER, etag, size: 0 }.same());
    }
    match (stream.profile.encryption, piece) {
        (Some(Encryption::Cbcs), Piece::Header(_)) => protected_header(house, stream, kind, hash, etag, request).await,
        (Some(Encryption::Cbcs), Piece::Segment(_, media)) => {
            let segment = house.seals.segment(&house.media, &stream.id, media).await?;
            let whole = Whole { kind, cache: FOREVER, etag, size: cbcs::sealed_size(&segment.protected, segment.size) };
            let part = wanted(request, &whole.etag, whole.size)?;
            let through = part.clone().unwrap_or(0..whole.size);
            let (plain, protected) = segment.open(&house.media, &stream.id, media).await?;
            let scheme = house.playback.scheme(&stream.id);
            Ok(whole.answer(part, Body::from_stream(cbcs::seal(plain, &key, &scheme, protected, through))))
        }
        (Some(Encryption::Aes128), Piece::Segment(seq, _)) => {
            let size = seal::sealed_size(house.media.size(&stream.id, hash).await?);
            let whole = Whole { kind, cache: FOREVER, etag, size };
            let part = wanted(request, &whole.etag, whole.size)?;
            let through = part.clone().unwrap_or(0..size);
            // A part of what is encrypted needs all before it.
            let plain = media::pieces(house.media.get(&stream.id, hash, GetOptions::default()).await?);
            Ok(whole.answer(part, Body::from_stream(seal::seal(plain, &key, seq, through))))
        }
        _ => {
            let whole = Whole { kind, cache: FOREVER, etag, size: house.media.size(&stream.id, hash).await? };
            let part = wanted(request, &whole.etag, whole.size)?;
            let options = GetOptions { range: part.clone().map(GetRange::Bounded), ..GetOptions::default() };
            let plain = media::pieces(house.media.get(&stream.id, hash, options).await?);
            Ok(whole.answer(part, Body::from_stream(plain)))
        }
    }
}

/// A header that says that its samples are encrypted.
async fn protected_header(
    house: &House,
    stream: &Stream,
    kind: &'static str,
    hash: Sha256,
    etag: String,
    request: &Parts,
) -> Result<Response, Error> {
    let plain = house.media.read(&stream.id, hash).await?;
    let header = protect::header(&plain, &house.playback.scheme(&stream.id));
    // A segment has a hash, too, and is no header.
    let header =
        header.map_err(|_| Error::not_found("header", "there is no such header", "look it up in the playlist"))?;
    let whole = Whole { kind, cache: FOREVER, etag, size: header.len() as u64 };
    let part = wanted(request, &whole.etag, whole.size)?;
    let body = part.clone().map_or(header.clone(), |part| header.slice(part.start as usize..part.end as usize));
    Ok(whole.answer(part, Body::from(body)))
}

/// A file that is served whole or in parts.
#[derive(Debug, Clone)]
pub(super) struct Whole {
    pub(super) kind: &'static str,
    pub(super) cache: &'static str,
    pub(super) etag: String,
    pub(super) size: u64,
}

impl Whole {
    /// For who has it already.
    pub(super) fn same(self) -> Response {
        self.validated(StatusCode::NOT_MODIFIED.into_response())
    }

    /// `body` is the wanted part, or all of it.
    pub(super) fn answer(self, part: Option<Range<u64>>, body: Body) -> Response {
        let mut response = body.into_response();
        let length = part.as_ref().map_or(self.size, |part| part.end - part.start);
        set(&mut response, header::CONTENT_TYPE, self.kind);
        set(&mut response, header::CONTENT_LENGTH, length.to_string());
        set(&mut response, header::ACCEPT_RANGES, "bytes");
        if let Some(part) = part {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            set(&mut response, header::CONTENT_RANGE, format!("bytes {}-{}/{}", part.start, part.end - 1, self.size));
        }
        self.validated(response)
    }

    fn validated(self, mut response: Response) -> Response {
        set(&mut response, header::CACHE_CONTROL, self.cache);
        set(&mut response, header::ETAG, self.etag);
        response
    }
}

pub(super) fn set(response: &mut Response, name: HeaderName, value: impl Into<String>) {
    let value = HeaderValue::try_from(value.into()).expect("digits and names are header text");
    response.headers_mut().insert(name, value);
}

/// Whether the asker has this already (RFC 9110, 13.1.2: the comparison is the weak one).
pub(super) fn matches(request: &Parts, etag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let asked = request.headers.get_all(header::IF_NONE_MATCH);
    asked
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|one| one.trim() == "*" || opaque(one) == opaque(etag)))
}

/// The bytes that are wanted of `size`; `None` for all of them.
pub(super) fn wanted(request: &Parts, etag: &str, size: u64) -> Result<Option<Range<u64>>, Error> {
    let text = |name| request.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    // Ranges are of GET alone (RFC 9110, 14.2). Who has a part of something else wants all of this (13.1.5).
    if request.method != Method::GET || text(header::IF_RANGE).is_some_and(|had| had != etag) {
        return Ok(None);
    }
    match text(header::RANGE).and_then(|range| byte_range(range, size)) {
        Some(range) if range.is_empty() => Err(Error::BeyondEnd(size)),
        range => Ok(range),
    }
}

/// A single range (RFC 9110, 14.1.2), empty if it can't be satisfied; several at once are answered with the whole.
fn byte_range(text: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => Some(first..last.saturating_add(1).min(size)),
        (Ok(first), Err(_)) if last.is_empty() => Some(first..size),
        (Err(_), Ok(count)) if first.is_empty() => Some(size.saturating_sub(count)..size),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        let cases: [(&str, Option<Range<u64>>); 10] = [
            ("bytes=0-99", Some(0..10)),
            ("bytes=2-3", Some(2..4)),
            ("bytes=9-", Some(9..10)),
            ("bytes=-4", Some(6..10)),
            ("bytes=-40", Some(0..10)),
            ("bytes=0-18446744073709551615", Some(0..10)),
            ("bytes=5-4", None),
            ("bytes=0-1,3-4", None),
            ("lines=0-1", None),
            ("bytes=-", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(byte_range(text, 10), wanted, "{text}");
        }
        for text in ["bytes=10-", "bytes=10-20", "bytes=-0"] {
            assert!(byte_range(text, 10).is_some_and(|range| range.is_empty()), "{text}");
        }
    }
}
