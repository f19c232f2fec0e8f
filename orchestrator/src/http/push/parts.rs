//! The answer `multipart/mixed`: a pushed segment's renditions, one part each, as soon as they are accepted.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::StreamExt;
use millrace_proto::{Sha256, StreamId};
use object_store::GetOptions;
use tokio::time::Instant;

use super::Error;
use crate::{
    house::House,
    ingest::intake::SOURCE,
    media,
    publish::hls::AUDIO,
    store::record::{Media, Segment, SegmentState, Stream},
};

/// How often it is looked whether all is there.
const LOOK: Duration = Duration::from_millis(50);

/// Segments that are made of one pushed segment and answered with.
const SEGMENTS_MAX: u32 = 256;

pub(super) async fn answer(house: &Arc<House>, id: &StreamId, number: u64) -> Result<Response, Error> {
    let ends = Instant::now() + Duration::from_millis(house.config.ingest.push_answer_ms_max);
    loop {
        if let Some(segments) = settled(house, id, number).await? {
            let stream = house.store.stream(id).await?.ok_or_else(Error::no_stream)?;
            return Ok(written(house, &stream, number, &segments));
        }
        if Instant::now() >= ends {
            let message = format!("segment {number} is stored, and its renditions take longer than usual");
            return Err(Error::Unavailable(message));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The segments that were made of a pushed one, once nothing more will be done to them.
async fn settled(house: &House, id: &StreamId, number: u64) -> Result<Option<Vec<Segment>>, Error> {
    let push = house.store.pushed(id, number).await?.ok_or_else(Error::no_stream)?;
    let (Some(first_seq), Some(end_seq)) = (push.first_seq, push.end_seq) else { return Ok(None) };
    if let Some(reason) = push.reason {
        return Err(Error::invalid("bad_segment", reason, "push MPEG-TS or MP4 that starts with a keyframe"));
    }
    let count = u32::try_from(end_seq - first_seq).unwrap_or(SEGMENTS_MAX).min(SEGMENTS_MAX);
    let segments = house.store.segments(id, first_seq, count).await?;
    if segments.first().is_none_or(|segment| segment.seq != first_seq) {
        return Err(Error::not_found("segment", "the segment is no longer kept", "raise retention_s of the profile"));
    }
    for segment in &segments {
        match &segment.state {
            SegmentState::Pending => return Ok(None),
            SegmentState::Ready => {}
            SegmentState::Failed { reason } => {
                let message = format!("no worker could process it: {reason}");
                return Err(Error::conflict("segment_failed", message, "go on with the next one: this one is a gap"));
            }
        }
    }
    Ok(Some(segments))
}

/// A piece of the body.
enum Piece {
    Text(String),
    Blob(Sha256),
}

fn written(house: &House, stream: &Stream, number: u64, segments: &[Segment]) -> Response {
    let boundary = hex::encode(rand::random::<[u8; 16]>());
    let mut pieces = Vec::new();
    let source = stream.profile.passthrough.then(|| SOURCE.to_owned());
    for name in stream.rungs.iter().map(|rung| rung.name.clone()).chain(source).chain([AUDIO.to_owned()]) {
        let found: Vec<&Media> = segments.iter().filter_map(|segment| media_of(segment, &name)).collect();
        if !found.is_empty() {
            part(&mut pieces, &boundary, &name, number, &found);
        }
    }
    pieces.push(Piece::Text(format!("--{boundary}--\r\n")));
    let (store, id) = (house.media.clone(), stream.id.clone());
    let body = futures_util::stream::iter(pieces).then(move |piece| {
        let (store, id) = (store.clone(), id.clone());
        async move {
            match piece {
                Piece::Text(text) => Ok(Bytes::from(text)),
                Piece::Blob(hash) => {
                    let found = store.get(&id, hash, GetOptions::default()).await?;
                    found.bytes().await.map_err(media::Error::from)
                }
            }
        }
    });
    let kind = format!("multipart/mixed; boundary={boundary}");
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(body)).into_response()
}

fn media_of<'a>(segment: &'a Segment, name: &str) -> Option<&'a Media> {
    match name {
        AUDIO => segment.audio.as_ref(),
        SOURCE => segment.video.as_ref(),
        _ => segment.renditions.iter().find(|media| media.name == name),
    }
}

/// One rendition as one fragmented MP4: the header where it begins or changes, and its media.
fn part(pieces: &mut Vec<Piece>, boundary: &str, name: &str, number: u64, found: &[&Media]) {
    let (mut bytes, mut body, mut header) = (0, Vec::new(), None);
    for media in found {
        if header != Some(media.init.sha256) {
            header = Some(media.init.sha256);
            bytes += media.init.bytes;
            body.push(Piece::Blob(media.init.sha256));
        }
        bytes += media.segment.bytes;
        body.push(Piece::Blob(media.segment.sha256));
    }
    let kind = if name == AUDIO { "audio/mp4" } else { "video/mp4" };
    pieces.push(Piece::Text(format!(
        "--{boundary}\r\nContent-Type: {kind}\r\nContent-Length: {bytes}\r\nRendition-Name: {name}\r\n\
         Content-Disposition: attachment; filename=\"{name}_{number}.mp4\"\r\n\r\n"
    )));
    pieces.append(&mut body);
    pieces.push(Piece::Text("\r\n".into()));
}
