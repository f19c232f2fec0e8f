//! The answer `multipart/mixed`: a pushed segment's renditions, one part each, as soon as they are accepted.

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use millrace_proto::{Sha256, StreamId};
use object_store::GetOptions;
use tokio::time::Instant;
use tokio_util::io::ReaderStream;

use super::{
    Error, Form, TRANSPORT_STREAM,
    transport::{self, Muxed},
};
use crate::{
    house::House,
    ingest::intake::SOURCE,
    media,
    publish::hls::AUDIO,
    store::record::{Media, Pushed, Segment, SegmentState, Stream},
};

/// How often it is looked whether all is there.
const LOOK: Duration = Duration::from_millis(50);

/// Segments that are made of one pushed segment and answered with.
const SEGMENTS_MAX: u32 = 256;

pub(super) async fn answer(house: &Arc<House>, id: &StreamId, number: u64, form: Form) -> Result<Response, Error> {
    let ends = Instant::now() + Duration::from_millis(house.config.ingest.push_answer_ms_max);
    let late = || {
        let message = format!("segment {number} is stored, and its renditions take longer than usual");
        Error::Unavailable(message)
    };
    loop {
        let push = house.store.pushed(id, number).await?.ok_or_else(Error::no_stream)?;
        if let Some(segments) = settled(house, &push).await? {
            let stream = house.store.stream(id).await?.ok_or_else(Error::no_stream)?;
            let renditions = renditions(&stream, &segments);
            let muxed = match form {
                Form::Mp4 => None,
                Form::TransportStream => {
                    let made = transport::mux(house, &push, &renditions);
                    Some(tokio::time::timeout_at(ends, made).await.map_err(|_| late())??)
                }
            };
            return Ok(written(house, id, number, &renditions, muxed));
        }
        if Instant::now() >= ends {
            return Err(late());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The segments that were made of a pushed one, once nothing more will be done to them.
async fn settled(house: &House, push: &Pushed) -> Result<Option<Vec<Segment>>, Error> {
    let (Some(first_seq), Some(end_seq)) = (push.first_seq, push.end_seq) else { return Ok(None) };
    if let Some(reason) = &push.reason {
        return Err(Error::invalid("bad_segment", reason, "push MPEG-TS or MP4 that starts with a keyframe"));
    }
    let count = u32::try_from(end_seq - first_seq).unwrap_or(u32::MAX);
    if count > SEGMENTS_MAX {
        let message = format!("it became {count} segments, and an answer holds {SEGMENTS_MAX}: they are published");
        return Err(Error::conflict("too_long", message, "push shorter segments"));
    }
    let segments = house.store.segments(&push.stream, first_seq, count).await?;
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

/// One rendition of what was pushed.
#[derive(Debug)]
pub(super) struct Rendition<'a> {
    pub(super) name: String,
    /// In order, never empty.
    pub(super) media: Vec<&'a Media>,
}

/// What there is of the segments, the sound last.
fn renditions<'a>(stream: &Stream, segments: &'a [Segment]) -> Vec<Rendition<'a>> {
    let source = stream.profile.passthrough.then(|| SOURCE.to_owned());
    let names = stream.rungs.iter().map(|rung| rung.name.clone()).chain(source).chain([AUDIO.to_owned()]);
    let found = names.map(|name| {
        let media = segments.iter().filter_map(|segment| media_of(segment, &name)).collect();
        Rendition { name, media }
    });
    found.filter(|rendition| !rendition.media.is_empty()).collect()
}

fn media_of<'a>(segment: &'a Segment, name: &str) -> Option<&'a Media> {
    match name {
        AUDIO => segment.audio.as_ref(),
        SOURCE => segment.video.as_ref(),
        _ => segment.renditions.iter().find(|media| media.name == name),
    }
}

/// A piece of the body.
enum Piece {
    Text(String),
    Blob(Sha256),
    File(PathBuf),
}

/// The answer; what is not among `muxed` is in it as it is stored.
fn written(house: &House, id: &StreamId, number: u64, renditions: &[Rendition<'_>], muxed: Option<Muxed>) -> Response {
    let boundary = hex::encode(rand::random::<[u8; 16]>());
    let mut pieces = Vec::new();
    for Rendition { name, media } in renditions {
        let ts = muxed.as_ref().and_then(|muxed| muxed.find(name));
        let (kind, ending, bytes, mut body) = match ts {
            Some((bytes, file)) => (TRANSPORT_STREAM, "ts", bytes, vec![Piece::File(file)]),
            // It is in each of the others.
            None if name == AUDIO && muxed.as_ref().is_some_and(|muxed| muxed.sound_is_in_all) => continue,
            None => {
                let kind = if name == AUDIO { "audio/mp4" } else { "video/mp4" };
                let (bytes, body) = stored(media);
                (kind, "mp4", bytes, body)
            }
        };
        pieces.push(Piece::Text(format!(
            "--{boundary}\r\nContent-Type: {kind}\r\nContent-Length: {bytes}\r\nRendition-Name: {name}\r\n\
             Content-Disposition: attachment; filename=\"{name}_{number}.{ending}\"\r\n\r\n"
        )));
        pieces.append(&mut body);
        pieces.push(Piece::Text("\r\n".into()));
    }
    pieces.push(Piece::Text(format!("--{boundary}--\r\n")));
    let (store, id) = (house.media.clone(), id.clone());
    let body = futures_util::stream::iter(pieces).then(move |piece| {
        let (store, id) = (store.clone(), id.clone());
        async move { read(&store, &id, piece).await }
    });
    // The files are there as long as they are read.
    let body = body.try_flatten().inspect(move |_| _ = &muxed);
    let kind = format!("multipart/mixed; boundary={boundary}");
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(body)).into_response()
}

async fn read(
    store: &media::MediaStore,
    id: &StreamId,
    piece: Piece,
) -> Result<BoxStream<'static, Result<Bytes, media::Error>>, media::Error> {
    Ok(match piece {
        Piece::Text(text) => futures_util::stream::once(async { Ok(Bytes::from(text)) }).boxed(),
        Piece::Blob(hash) => {
            let found = store.get(id, hash, GetOptions::default()).await?;
            media::pieces(found).map_err(media::Error::from).boxed()
        }
        Piece::File(path) => ReaderStream::new(tokio::fs::File::open(path).await?).map_err(media::Error::from).boxed(),
    })
}

/// One rendition as one fragmented MP4: the header where it begins or changes, and its media.
fn stored(found: &[&Media]) -> (u64, Vec<Piece>) {
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
    (bytes, body)
}
