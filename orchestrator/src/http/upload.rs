//! `PUT /v1/streams/{id}/source`: a recording comes in, whole or in parts, and can go on where it broke off.

use std::{io::SeekFrom, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, header},
};
use futures_util::StreamExt;
use millrace_proto::api::{self, Source, StreamState};
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncSeekExt, AsyncWriteExt},
};

use super::{
    Answer,
    auth::Admin,
    error::{Error, Json},
    streams,
    told::Told,
};
use crate::{house::House, ingest::file, media, store::record::Stream};

/// Progress is made durable at least every so many bytes.
const CHECKPOINT_BYTES: u64 = 16 << 20;

/// Which bytes of the file a request brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    first: u64,
    /// How many bytes this request brings; unknown for a whole file of unknown length.
    bytes: Option<u64>,
    total: Option<u64>,
}

#[cfg(any(test, feature = "fuzz"))]
impl Part {
    /// Panics if it is none.
    pub(super) fn check(self) {
        let end = self.first.checked_add(self.bytes.unwrap_or(0)).expect("it ends");
        assert!(self.total.is_none_or(|total| end <= total), "it ends behind the file's end");
    }
}

pub(super) async fn put(
    _: Admin,
    State(house): State<Arc<House>>,
    told: Told,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer<api::Stream> {
    let stream = streams::find(&house, &id).await?;
    let part = part(&headers)?;
    refuse(&house, &stream, part)?;
    let Some(hold) = house.uploading.begin(&stream.id) else {
        return Err(Error::conflict("upload_busy", "another upload is under way", "wait for it, or stop it"));
    };
    // Read again under the hold: an upload before this one may have ended meanwhile.
    let stream = streams::find(&house, &id).await?;
    if part.first != stream.source_bytes && part.first != 0 {
        let message = format!("the part starts at {}, {} bytes are here", part.first, stream.source_bytes);
        return Err(Error::conflict("wrong_offset", message, "go on at progress.source_bytes of the stream"));
    }
    receive(&house, &stream, part, body).await?;
    drop(hold);
    house.file_complete.notify_one();
    let stream = streams::find(&house, &id).await?;
    if stream.source_bytes == 0 && part.first == 0 {
        return Err(Error::invalid("empty_file", "not one byte came", "send the file as the request's body"));
    }
    Ok(Json(streams::view(&house, &told, &stream)))
}

fn refuse(house: &House, stream: &Stream, part: Part) -> Result<(), Error> {
    if stream.source != Source::File {
        return Err(Error::conflict(
            "not_a_file",
            "this stream is live, or is fetched from a url",
            "push to it over RTMP, or create a file stream",
        ));
    }
    if stream.state != StreamState::Waiting {
        return Err(Error::conflict(
            "upload_complete",
            "the upload is complete",
            "create a new stream for another file",
        ));
    }
    let most = house.config.ingest.upload_bytes_max;
    if part.total.or(part.bytes).unwrap_or(0).max(part.first) > most {
        return Err(Error::TooLarge(format!("an upload has at most {most} bytes")));
    }
    Ok(())
}

pub(super) fn part(headers: &HeaderMap) -> Result<Part, Error> {
    let text = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    let length = text(header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
    let Some(range) = text(header::CONTENT_RANGE) else {
        return Ok(Part { first: 0, bytes: length, total: length });
    };
    let wrong = || {
        Error::invalid(
            "bad_range",
            format!("{range:?} is no range of bytes"),
            "send 'Content-Range: bytes FIRST-LAST/TOTAL', LAST included",
        )
    };
    let (span, total) = range.strip_prefix("bytes ").and_then(|rest| rest.split_once('/')).ok_or_else(wrong)?;
    let (first, last) = span.split_once('-').ok_or_else(wrong)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    let (first, last, total) = (number(first)?, number(last)?, number(total)?);
    if last < first || last >= total || length.is_some_and(|length| length != last - first + 1) {
        return Err(wrong());
    }
    Ok(Part { first, bytes: Some(last - first + 1), total: Some(total) })
}

async fn receive(house: &House, stream: &Stream, part: Part, body: Body) -> Result<(), Error> {
    let path = file::upload_path(house, &stream.id);
    let failed = |error: std::io::Error| Error::from(media::Error::from(error));
    let mut file = OpenOptions::new().create(true).write(true).truncate(false).open(&path).await.map_err(failed)?;
    file.set_len(part.first).await.map_err(failed)?;
    file.seek(SeekFrom::Start(part.first)).await.map_err(failed)?;
    let most = part.bytes.unwrap_or(house.config.ingest.upload_bytes_max);
    let idle = Duration::from_secs(house.config.api.upload_idle_s_max);
    let (mut bytes, mut durable) = (0, 0);
    let mut chunks = body.into_data_stream();
    let ending = loop {
        match tokio::time::timeout(idle, chunks.next()).await {
            Err(_) => break Err(Error::invalid("too_slow", "nothing came for too long", "go on where it broke off")),
            Ok(None) => break Ok(()),
            Ok(Some(Err(_))) => break Err(Error::from(media::Error::from(media::Kind::BrokenOff))),
            Ok(Some(Ok(chunk))) => {
                if bytes + chunk.len() as u64 > most {
                    break Err(Error::TooLarge(format!("more than the announced {most} bytes came")));
                }
                // Which of the last bytes were written nobody knows then: it goes on from what is durable.
                file.write_all(&chunk).await.map_err(failed)?;
                bytes += chunk.len() as u64;
                if bytes - durable >= CHECKPOINT_BYTES {
                    checkpoint(house, stream, &mut file, part.first + bytes, part.total).await?;
                    durable = bytes;
                }
            }
        }
    };
    // What came before a break is kept: the upload goes on there.
    let total = if ending.is_ok() { part.total.or(Some(part.first + bytes)) } else { part.total };
    match (ending, checkpoint(house, stream, &mut file, part.first + bytes, total).await) {
        (Err(error), _) | (Ok(()), Err(error)) => Err(error),
        (Ok(()), Ok(())) if part.bytes.is_some_and(|wanted| bytes < wanted) => {
            Err(media::Error::from(media::Kind::BrokenOff).into())
        }
        (Ok(()), Ok(())) => Ok(()),
    }
}

async fn checkpoint(
    house: &House,
    stream: &Stream,
    file: &mut File,
    bytes: u64,
    total: Option<u64>,
) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::from(media::Error::from(error));
    file.flush().await.map_err(failed)?;
    file.sync_data().await.map_err(failed)?;
    if house.store.note_upload(&stream.id, bytes, total).await? { Ok(()) } else { Err(Error::no_stream()) }
}
