//! `PUT /v1/streams/{id}/segments/{number}`, and the same under `/live/{key}/{number}.ts` as clients of Livepeer's
//! HTTP push send it: segments come in, by number.
//!
//! Answers once a segment is durable; with `Accept: multipart/mixed` it waits for the renditions (`push/parts.rs`): as
//! transport streams where one was pushed by Livepeer's form, or where `Accept` names them too.
//! What becomes of segments is `ingest/push.rs`'s business.

mod parts;
mod transport;

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream as Chunks, StreamExt};
use millrace_proto::{
    Sha256,
    api::{self, Source},
    task::Blob,
};
use sha2::Digest;

use super::{
    auth::Admin,
    error::{Error, Json},
    streams,
};
use crate::{
    clock::now_ms,
    house::House,
    ingest::{event::Refusal, live, push},
    media,
    store::{
        Noted,
        record::{Pushed, Stream},
    },
};

/// Numbers stay readable for clients that count in floating point.
const NUMBER_MAX: u64 = (1 << 53) - 1;

const TRANSPORT_STREAM: &str = "video/mp2t";

/// What renditions are answered as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Fragmented MP4, pictures and sound apart.
    Mp4,
    /// MPEG-TS at the pushed segment's own times, each with the sound.
    TransportStream,
}

pub(super) async fn put(
    _: Admin,
    State(house): State<Arc<House>>,
    Path((id, number)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let stream = streams::find(&house, &id).await?;
    let form = if accepts(&headers, TRANSPORT_STREAM) { Form::TransportStream } else { Form::Mp4 };
    receive(&house, &stream, parse(&number)?, form, &headers, body).await
}

/// Livepeer's form. `key` is the whole stream key, or the stream's id with the administrator's key in the header.
/// `Content-Duration` and `Content-Resolution` are not needed: the media tells both.
pub(super) async fn live(
    admin: Result<Admin, Error>,
    State(house): State<Arc<House>>,
    Path((key, file)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let stream = find(&house, admin, &key).await?;
    match file.rsplit_once('.') {
        Some((_, "m3u8")) => Ok(StatusCode::OK.into_response()),
        Some((number, "ts")) => receive(&house, &stream, parse(number)?, Form::TransportStream, &headers, body).await,
        Some((number, "mp4")) => receive(&house, &stream, parse(number)?, Form::Mp4, &headers, body).await,
        _ => Err(bad_number(&file)),
    }
}

/// An encoder that writes HLS sends its playlist too; the order of segments is in their numbers.
pub(super) async fn playlist(
    admin: Result<Admin, Error>,
    State(house): State<Arc<House>>,
    Path(key): Path<String>,
) -> Result<StatusCode, Error> {
    find(&house, admin, &key).await.map(|_| StatusCode::OK)
}

async fn find(house: &House, admin: Result<Admin, Error>, key: &str) -> Result<Stream, Error> {
    if key.contains('_') {
        return Ok(live::by_key(&house.store, key).await?);
    }
    admin?;
    streams::find(house, key).await
}

fn bad_number(text: &str) -> Error {
    let message = format!("{text:?} is no segment's number");
    Error::invalid("bad_number", message, "count segments from 0 on, in decimal digits")
}

fn parse(text: &str) -> Result<u64, Error> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number <= NUMBER_MAX).ok_or_else(|| bad_number(text))
}

async fn receive(
    house: &Arc<House>,
    stream: &Stream,
    number: u64,
    form: Form,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let limits = &house.config.ingest;
    if stream.source != Source::Live {
        return Err(Error::conflict("not_live", "nothing is pushed into this stream", "create a live stream for that"));
    }
    let Some(receiving) = house.pushes.receive(&stream.id, number, limits.push_open_max) else {
        return Err(Error::Busy("this segment is coming in already, or too many others are".into()));
    };
    let blob = if let Some(known) = house.store.pushed(&stream.id, number).await? {
        let blob = digest(chunks(house, body), limits.push_bytes_max).await?;
        same(&known, blob)?;
        blob
    } else {
        // Encoders hang up as soon as they have sent all: what came is kept nevertheless.
        let (house, stream) = (house.clone(), stream.clone());
        let kept = tokio::spawn(async move {
            let kept = keep(&house, &stream, number, body).await;
            drop(receiving);
            kept
        });
        kept.await.map_err(|error| Error::Unavailable(error.to_string()))??
    };
    if accepts(headers, "multipart/mixed") {
        return parts::answer(house, &stream.id, number, form).await;
    }
    let answer = api::Pushed { stream: stream.id.clone(), number, sha256: blob.sha256, bytes: blob.bytes };
    Ok(Json(answer).into_response())
}

/// Whether the asker named this type.
fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = accept.flat_map(|value| value.split(',')).filter_map(|part| part.split(';').next());
    kinds.any(|part| part.trim().eq_ignore_ascii_case(kind))
}

/// Makes a new segment durable.
async fn keep(house: &Arc<House>, stream: &Stream, number: u64, body: Body) -> Result<Blob, Error> {
    let limits = &house.config.ingest;
    push::open(house, &stream.id).await?;
    let blob = house.media.receive_push(&stream.id, number, limits.push_bytes_max, chunks(house, body)).await?;
    let noted = match blob.bytes {
        0 => Err(Error::invalid("empty_segment", "no bytes came", "send the segment as the body")),
        _ => note(house, stream, number, blob).await,
    };
    match noted {
        Ok(()) => match push::open(house, &stream.id).await {
            // It is durable: if it can't be taken just now, the loop that looks for such takes it.
            Ok(()) | Err(Refusal::Unavailable | Refusal::Busy) => Ok(blob),
            Err(refusal) => Err(refusal.into()),
        },
        Err(error) => {
            // Whether it was noted is not known when the store does not answer: then its bytes stay.
            if !matches!(error, Error::Unavailable(_)) {
                house.media.delete_push(&stream.id, number).await?;
            }
            Err(error)
        }
    }
}

async fn note(house: &House, stream: &Stream, number: u64, blob: Blob) -> Result<(), Error> {
    let push = Pushed::new(stream.id.clone(), number, blob, now_ms());
    match house.store.note_push(&push, house.config.ingest.push_open_max).await? {
        Noted::Done => Ok(()),
        Noted::Known(known) => same(&known, blob),
        Noted::Passed => Err(Error::conflict(
            "number_passed",
            "a segment with a higher number is in the stream already",
            "push segments in order, or sooner after those that follow them",
        )),
        Noted::Full => Err(Error::Busy("too many segments wait: push the missing lower number, or wait".into())),
        Noted::Gone => Err(Error::no_stream()),
    }
}

fn same(known: &Pushed, blob: Blob) -> Result<(), Error> {
    if known.sha256 == blob.sha256 {
        return Ok(());
    }
    Err(Error::conflict(
        "different_segment",
        format!("segment {} came before, with other bytes", known.number),
        "give every segment its own number",
    ))
}

/// The body, as long as something comes in time.
fn chunks(house: &House, body: Body) -> impl Chunks<Item = Result<Bytes, axum::BoxError>> + Send {
    let idle = Duration::from_secs(house.config.api.upload_idle_s_max);
    futures_util::stream::unfold(Some(body.into_data_stream()), move |chunks| async move {
        let mut chunks = chunks?;
        match tokio::time::timeout(idle, chunks.next()).await {
            Err(late) => Some((Err(late.into()), None)),
            Ok(None) => None,
            Ok(Some(Err(error))) => Some((Err(error.into()), None)),
            Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some(chunks))),
        }
    })
}

/// What bytes are that are here already.
async fn digest(
    chunks: impl Chunks<Item = Result<Bytes, axum::BoxError>>,
    bytes_max: u64,
) -> Result<Blob, media::Error> {
    let mut chunks = std::pin::pin!(chunks);
    let (mut digest, mut bytes) = (sha2::Sha256::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| media::Kind::BrokenOff)?;
        bytes += chunk.len() as u64;
        if bytes > bytes_max {
            return Err(media::Kind::TooLarge(bytes_max).into());
        }
        digest.update(&chunk);
    }
    Ok(Blob { sha256: Sha256::from_digest(digest.finalize().into()), bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_plain() {
        assert_eq!(parse("0").unwrap(), 0);
        assert_eq!(parse("0012").unwrap(), 12);
        for bad in ["", "+1", "-1", "1a", "9007199254740992", "99999999999999999999999"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
