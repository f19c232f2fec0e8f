//! `/hls/{stream}/{rendition}.mp4`: an ended stream as one file, to download or to play.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError},
};

use axum::{
    body::Body,
    http::{HeaderName, header, request::Parts},
    response::Response,
};
use millrace_proto::{StreamId, api::StreamState};
use tokio::sync::Mutex;

use super::{
    answer::{self, Whole},
    auth,
    error::Error,
};
use crate::{
    assets::movie::{self, File},
    house::House,
    ingest::intake::SOURCE,
    publish::{
        self,
        hls::{AUDIO, Span},
    },
    store::record::Stream,
};

/// Files whose index is kept for the next request: players ask for one in many parts. An index of an hour takes
/// some megabytes.
const KEPT_MAX: usize = 8;

/// Segments of one file at most, a day of two-second ones: its index is kept in memory.
const SEGMENTS_MAX: u64 = 50_000;

/// Says how many sample descriptions a file's pictures have, where that is more than one: not every player takes it.
const SAMPLE_DESCRIPTIONS: HeaderName = HeaderName::from_static("millrace-sample-descriptions");

/// A file as long as the stream's segments are the same.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    stream: StreamId,
    rendition: String,
    segments: (u64, u64),
    /// One that was held back is in it once it is approved.
    withheld: u64,
}

/// The newest first.
type Kept = VecDeque<(Key, Arc<File>)>;

/// Indexes that were made lately. A hint: what is not here is made again. One is made at a time.
#[derive(Debug, Clone, Default)]
pub(super) struct Movies {
    kept: Arc<std::sync::Mutex<Kept>>,
    making: Arc<Mutex<()>>,
}

impl Movies {
    fn find(&self, key: &Key) -> Option<Arc<File>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(known, _)| known == key).map(|(_, file)| file.clone())
    }

    async fn file(&self, house: &House, stream: &Stream, rendition: &str) -> Result<Arc<File>, Error> {
        let key = Key {
            stream: stream.id.clone(),
            rendition: rendition.to_owned(),
            segments: (stream.first_seq, stream.listed_seq),
            withheld: stream.withheld_segments,
        };
        if let Some(file) = self.find(&key) {
            return Ok(file);
        }
        let _making = self.making.lock().await;
        if let Some(file) = self.find(&key) {
            return Ok(file);
        }
        let count = stream.listed_seq - stream.first_seq;
        if count > SEGMENTS_MAX {
            let message = format!("the recording has {count} segments, one file holds {SEGMENTS_MAX}");
            return Err(Error::conflict("too_long", message, "make clips of it with POST /v1/streams/{id}/clips"));
        }
        let segments = publish::covered(&house.store, stream, Span::Vod).await?;
        let start_ns = segments.first().map_or(0, |segment| segment.start_ns);
        let file = movie::file(&house.media, &stream.id, rendition, &segments, (start_ns, None)).await?;
        let file = Arc::new(file);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_front((key, file.clone()));
        kept.truncate(KEPT_MAX);
        Ok(file)
    }
}

/// Who may have which file: the renditions are public as their playlists are. The source is, if the profile publishes
/// it; otherwise it is for the administrator.
pub(super) async fn get(
    house: &House,
    movies: &Movies,
    stream: &Stream,
    rendition: &str,
    request: &Parts,
) -> Result<Response, Error> {
    let published = stream.variants.iter().any(|variant| variant.name == rendition);
    let private = rendition == SOURCE && !published;
    if private {
        auth::admin(house, &request.headers)?;
    } else if !published {
        return Err(Error::not_found("rendition", "the stream has no such rendition", "look it up in index.m3u8"));
    }
    if stream.state != StreamState::Ended {
        return Err(Error::not_found(
            "movie",
            "the stream has not ended yet",
            "play index.m3u8 until it has, or make a clip with POST /v1/streams/{id}/clips",
        ));
    }
    let file = movies.file(house, stream, rendition).await?;
    let name = format!("{}-{rendition}.mp4", stream.name);
    let kind = if rendition == AUDIO { "audio/mp4" } else { "video/mp4" };
    let cache = if private { "private, max-age=60" } else { "public, max-age=60" };
    let whole = Whole { kind, cache, etag: format!("\"{}\"", file.hash), size: file.bytes };
    answer(house, &file, whole, &name, request)
}

/// The file, or the part of it that is asked for.
fn answer(house: &House, file: &Arc<File>, whole: Whole, name: &str, request: &Parts) -> Result<Response, Error> {
    if answer::matches(request, &whole.etag) {
        return Ok(whole.same());
    }
    let part = answer::wanted(request, &whole.etag, whole.size)?;
    let body = file.clone().read(house.media.clone(), part.clone().unwrap_or(0..whole.size));
    let mut response = whole.answer(part, Body::from_stream(body));
    answer::set(&mut response, header::CONTENT_DISPOSITION, disposition(name));
    if file.headers > 1 {
        answer::set(&mut response, SAMPLE_DESCRIPTIONS, file.headers.to_string());
    }
    Ok(response)
}

/// What a browser saves it as (RFC 6266, RFC 8187); it may still play it in place.
pub(super) fn disposition(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_. ".contains(c) { c } else { '_' };
    let ascii: String = name.chars().map(plain).collect();
    let coded: String = name
        .bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect();
    format!("inline; filename=\"{ascii}\"; filename*=UTF-8''{coded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_quotes_and_letters_of_all_kinds_is_one_header() {
        assert_eq!(
            disposition("a \"b\"\r\né.mp4"),
            "inline; filename=\"a _b____.mp4\"; filename*=UTF-8''a%20%22b%22%0D%0A%C3%A9.mp4"
        );
    }
}
