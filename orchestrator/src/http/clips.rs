//! `/v1/streams/{id}/clips`, and `/hls/{stream}/clip-{id}.mp4`: pieces of a stream as files.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State},
    http::{StatusCode, header, request::Parts},
    response::Response,
};
use chrono::DateTime;
use millrace_proto::{
    ClipId,
    api::{self, ClipState, CreateClip, Page, Place},
};
use object_store::{GetOptions, GetRange};

use super::{
    Answer,
    answer::{self, Whole},
    auth::Admin,
    error::{Error, Json},
    movie, streams,
    told::Told,
};
use crate::{
    assets::clips,
    clock::now_ms,
    house::House,
    media,
    store::{
        clips::Created,
        record::{Clip, Stream},
    },
};

/// The shortest clip: some frames.
const NS_MIN: u64 = 100_000_000;

pub(super) async fn create(
    _: Admin,
    told: Told,
    State(house): State<Arc<House>>,
    Path(id): Path<String>,
    Json(wish): Json<CreateClip>,
) -> Result<(StatusCode, Json<api::Clip>), Error> {
    let stream = streams::kept(&house, &id).await?;
    if stream.profile.encryption.is_some() {
        let message = "the stream is encrypted, and has no plain files";
        return Err(Error::conflict("encrypted", message, "clip a stream whose profile has no encryption"));
    }
    let rendition = wish.rendition.as_deref().or(clips::largest(&stream));
    let rendition = rendition.filter(|name| stream.variants.iter().any(|variant| variant.name == **name));
    let rendition = rendition
        .ok_or_else(|| Error::not_found("rendition", "the stream has no such rendition", "look it up in index.m3u8"))?;
    let places = (place(&wish.start, "start")?, place(&wish.end, "end")?);
    let piece = clips::piece(&house.store, &stream, rendition, places).await?;
    let length_ns = piece.end_ns.saturating_sub(piece.start_ns);
    let most_s = house.config.assets.clip_s_max;
    if length_ns < NS_MIN || length_ns > most_s * 1_000_000_000 {
        let message = format!("from start to end it is {:.3} s", length_ns as f64 / 1e9);
        return Err(Error::Invalid { code: "bad_length", message, hint: format!("ask for 0.1 to {most_s} s") });
    }
    let clip = Clip {
        id: streams::random_text(12).parse().expect("letters and digits are an id"),
        stream: stream.id.clone(),
        rendition: rendition.to_owned(),
        start_ns: piece.start_ns,
        end_ns: piece.end_ns,
        from_seq: piece.from_seq,
        to_seq: piece.to_seq,
        created_ms: now_ms(),
        state: ClipState::Pending,
        reason: None,
        bytes: 0,
    };
    match house.store.create_clip(&clip, house.config.assets.clips_max).await? {
        Created::Done => {}
        Created::Gone => return Err(Error::no_stream()),
        Created::Expired => return Err(expired("the start is not kept any more")),
        Created::Full => {
            let message = format!("the stream has {} clips already", house.config.assets.clips_max);
            return Err(Error::conflict("too_many_clips", message, "delete some that are not needed any more"));
        }
    }
    house.clips.notify_one();
    Ok((StatusCode::ACCEPTED, Json(view(&told, &clip))))
}

fn expired(message: impl Into<String>) -> Error {
    Error::conflict("expired", message, "start later; retention_s of the profile says how long segments are kept")
}

fn place(place: &Place, what: &str) -> Result<clips::Place, Error> {
    let wrong = || {
        Error::invalid(
            "bad_place",
            format!("{what} is neither seconds nor a date"),
            "send seconds on the timeline, as 12.5, or a date, as \"2026-11-22T18:00:00Z\"",
        )
    };
    match place {
        Place::Seconds(s) if (0.0..1e9).contains(s) => Ok(clips::Place::Timeline { ns: (s * 1e9).round() as u64 }),
        Place::Seconds(_) => Err(wrong()),
        Place::Date(text) => {
            let ms = DateTime::parse_from_rfc3339(text).map_err(|_| wrong())?.timestamp_millis();
            Ok(clips::Place::Clock { ms: u64::try_from(ms).map_err(|_| wrong())? })
        }
    }
}

impl From<clips::Error> for Error {
    fn from(error: clips::Error) -> Self {
        let message = error.to_string();
        match error {
            clips::Error::Store(error) => error.into(),
            clips::Error::Expired { .. } => expired(message),
            clips::Error::Beyond { .. } => {
                Self::conflict("not_yet", message, "end earlier, or ask again when the stream is that far")
            }
            clips::Error::Empty => Self::conflict("not_yet", message, "try again when the first segments are through"),
            clips::Error::NoClock => {
                Self::invalid("no_clock", message, "send seconds on the timeline: recordings have no times of day")
            }
        }
    }
}

pub(super) async fn list(
    _: Admin,
    told: Told,
    State(house): State<Arc<House>>,
    Path(id): Path<String>,
) -> Answer<Page<api::Clip>> {
    let stream = streams::find(&house, &id).await?;
    let items = house.store.clips(&stream.id).await?.iter().map(|clip| view(&told, clip)).collect();
    Ok(Json(Page { items, next: None }))
}

pub(super) async fn one(
    _: Admin,
    told: Told,
    State(house): State<Arc<House>>,
    Path((id, clip)): Path<(String, String)>,
) -> Answer<api::Clip> {
    let stream = streams::find(&house, &id).await?;
    Ok(Json(view(&told, &find(&house, &stream, &clip).await?)))
}

pub(super) async fn delete(
    _: Admin,
    State(house): State<Arc<House>>,
    Path((id, clip)): Path<(String, String)>,
) -> Result<StatusCode, Error> {
    let stream = streams::find(&house, &id).await?;
    let clip = find(&house, &stream, &clip).await?;
    if !house.store.delete_clip(&stream.id, &clip.id).await? {
        return Err(no_clip());
    }
    house.media.delete_asset(&stream.id, &clips::file_name(&clip)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn no_clip() -> Error {
    Error::not_found("clip", "no clip of the stream has this id", "list them with GET /v1/streams/{id}/clips")
}

async fn find(house: &House, stream: &Stream, id: &str) -> Result<Clip, Error> {
    let id: ClipId = id.parse().map_err(|_| no_clip())?;
    house.store.clip(&stream.id, &id).await?.ok_or_else(no_clip)
}

/// The clip's file, public as the stream's playlists are.
pub(super) async fn file(house: &House, stream: &Stream, id: &str, request: &Parts) -> Result<Response, Error> {
    let clip = find(house, stream, id).await?;
    match clip.state {
        ClipState::Ready => {}
        ClipState::Pending => return Err(Error::BeingMade),
        ClipState::Failed => return Err(no_clip()),
    }
    // One id has the same bytes for ever.
    let whole =
        Whole { kind: "video/mp4", cache: "public, max-age=3600", etag: format!("\"{}\"", clip.id), size: clip.bytes };
    if answer::matches(request, &whole.etag) {
        return Ok(whole.same());
    }
    let part = answer::wanted(request, &whole.etag, whole.size)?;
    let options = GetOptions { range: part.clone().map(GetRange::Bounded), ..GetOptions::default() };
    let found = house.media.get_asset(&stream.id, &clips::file_name(&clip), options).await?;
    let mut response = whole.answer(part, Body::from_stream(media::pieces(found)));
    let name = format!("{}-{id}.mp4", stream.name);
    answer::set(&mut response, header::CONTENT_DISPOSITION, movie::disposition(&name));
    Ok(response)
}

fn view(told: &Told, clip: &Clip) -> api::Clip {
    let ready = clip.state == ClipState::Ready;
    api::Clip {
        id: clip.id.clone(),
        stream: clip.stream.clone(),
        state: clip.state,
        reason: clip.reason.clone(),
        rendition: clip.rendition.clone(),
        start_s: clip.start_ns as f64 / 1e9,
        end_s: clip.end_ns as f64 / 1e9,
        created_ms: clip.created_ms,
        bytes: ready.then_some(clip.bytes),
        url: ready.then(|| format!("{}/hls/{}/clip-{}.mp4", told.http, clip.stream, clip.id)),
    }
}
