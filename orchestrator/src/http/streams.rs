//! `/v1/streams` and `/v1/workers`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use millrace_proto::{
    Sha256, StreamId,
    api::{self, CreateStream, Ingest, Page, Playback, Progress, Source, StreamState},
    offer::Capability,
    profile::{Encryption, Products, Profile},
};
use serde::Deserialize;

use super::{
    Answer,
    auth::Admin,
    error::{Error, Json, Query},
    marks::{self, METADATA},
    told::Told,
};
use crate::{
    assets::stills::{POSTER, THUMBNAILS},
    clock::now_ms,
    farm::ONLINE_MS,
    house::House,
    ingest::{fetch::address, file, intake::SOURCE, live, push},
    loops,
    publish::hls::AUDIO,
    store::record::Stream,
    task::assign::{Needs, NeedsModel},
};

const PAGE_ITEMS: u32 = 100;
const WORKERS_MAX: u32 = 1_000;

/// A stream id in a path: unreadable ones are unknown ones.
pub(super) fn stream_id(text: &str) -> Result<StreamId, Error> {
    text.parse().map_err(|_| Error::no_stream())
}

pub(super) async fn find(house: &House, id: &str) -> Result<Stream, Error> {
    house.store.stream(&stream_id(id)?).await?.ok_or_else(Error::no_stream)
}

/// A stream that is still there to be played.
pub(super) async fn kept(house: &House, id: &str) -> Result<Stream, Error> {
    let stream = find(house, id).await?;
    if stream.state == StreamState::Expired { Err(Error::Expired) } else { Ok(stream) }
}

pub(super) async fn create(
    _: Admin,
    State(house): State<Arc<House>>,
    told: Told,
    Json(wish): Json<CreateStream>,
) -> Result<(StatusCode, Json<api::Stream>), Error> {
    let name = wish.name.trim();
    if name.is_empty() || name.chars().count() > 200 {
        return Err(Error::invalid(
            "bad_name",
            "the name is empty or longer than 200 characters",
            "give a shorter name",
        ));
    }
    let url = source_url(&house, &wish)?;
    let profile = wish.profile.resolve().map_err(|why| {
        Error::invalid("bad_profile", why.to_string(), "name a preset, or send a ladder as README.md shows")
    })?;
    if let Some(catalog) = profile.products.as_ref().and_then(Products::catalog_id)
        && house.store.catalog(&catalog).await?.is_none()
    {
        let message = format!("products.catalog is {catalog}: no catalogue with a product has this id");
        let hint = "put a product into it first: PUT /v1/catalogs/{id}/products/{sku}";
        return Err(Error::invalid("unknown_catalog", message, hint));
    }
    let id: StreamId = random_text(12).parse().expect("letters and digits are an id");
    let secret = random_text(24);
    let stream = Stream {
        url,
        listed: wish.listed,
        key_sha256: (wish.source == Source::Live).then(|| Sha256::of(secret.as_bytes())),
        ..Stream::new(id.clone(), name, wish.source, profile, now_ms())
    };
    if !house.store.create_stream(&stream).await? {
        return Err(Error::Unavailable("the new id was taken".into()));
    }
    let mut view = view(&house, &told, &stream);
    if let (Source::Live, Some(ingest)) = (wish.source, &mut view.ingest) {
        ingest.stream_key = Some(live::stream_key(&id, &secret));
    }
    Ok((StatusCode::CREATED, Json(view)))
}

/// What is to be fetched, for streams that are.
fn source_url(house: &House, wish: &CreateStream) -> Result<Option<String>, Error> {
    let bad = |message: &str, hint: &str| Error::invalid("bad_url", message, hint);
    match (wish.source, &wish.url) {
        (Source::Url, None) => Err(bad("no url is given", "send the address of a file or of an HLS playlist as 'url'")),
        (Source::Url, Some(text)) => {
            let url = address::parse(text).and_then(|url| house.pulls.fetcher.check(&url).map(|()| url));
            let url = url.map_err(|refused| bad(&refused.to_string(), "give an http or https address"))?;
            Ok(Some(url.to_string()))
        }
        (Source::Live | Source::File, Some(_)) => {
            Err(bad("only streams with the source 'url' have a url", "send 'source': 'url' with it, or leave it out"))
        }
        (Source::Live | Source::File, None) => Ok(None),
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct After {
    after: Option<String>,
}

pub(super) async fn list(
    _: Admin,
    State(house): State<Arc<House>>,
    told: Told,
    Query(after): Query<After>,
) -> Answer<Page<api::Stream>> {
    let after = after.after.map(|text| stream_id(&text)).transpose()?;
    let streams = house.store.streams(after.as_ref(), PAGE_ITEMS + 1).await?;
    let next = (streams.len() > PAGE_ITEMS as usize).then(|| streams[PAGE_ITEMS as usize - 1].id.to_string());
    let items = streams.iter().take(PAGE_ITEMS as usize).map(|stream| view(&house, &told, stream)).collect();
    Ok(Json(Page { items, next }))
}

pub(super) async fn one(
    _: Admin,
    State(house): State<Arc<House>>,
    told: Told,
    Path(id): Path<String>,
) -> Answer<api::Stream> {
    Ok(Json(view(&house, &told, &find(&house, &id).await?)))
}

/// Ends a live stream now rather than after its grace time.
pub(super) async fn end(
    _: Admin,
    State(house): State<Arc<House>>,
    told: Told,
    Path(id): Path<String>,
) -> Answer<api::Stream> {
    let stream = find(&house, &id).await?;
    if !stream.is_live() {
        return Err(Error::conflict("not_live", "only live streams are ended by hand", "a recording ends by itself"));
    }
    house.pulls.stop(&stream.id).await;
    // What was pushed and acknowledged belongs to it.
    push::close(&house, &stream.id).await?;
    // Held meanwhile: a publisher that comes just now must not push into a stream that ends.
    let Some(_hold) = house.publishing.begin(&stream.id) else {
        return Err(Error::conflict("publisher_live", "a publisher is live on it", "stop the publisher first"));
    };
    loops::finish(&house, &stream.id, &[StreamState::Waiting, StreamState::Live, StreamState::Interrupted]).await?;
    one(Admin, State(house), told, Path(id)).await
}

pub(super) async fn delete(
    _: Admin,
    State(house): State<Arc<House>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Error> {
    let id = stream_id(&id)?;
    if !house.store.delete_stream(&id).await? {
        return Err(Error::no_stream());
    }
    house.pulls.stop(&id).await;
    // A publisher or a file in the midst of it finds the stream gone at its next segment.
    house.media.delete_stream(&id).await?;
    file::remove_upload(&house, &id).await;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn workers(_: Admin, State(house): State<Arc<House>>) -> Answer<Page<api::Worker>> {
    let now_ms = now_ms();
    house.store.hear_workers(&house.farm.heard_at()).await?;
    let mut items = Vec::new();
    for worker in house.store.workers(WORKERS_MAX).await? {
        let held = house.store.tasks_held(worker.address).await?;
        items.push(api::Worker {
            address: worker.address,
            online: now_ms.saturating_sub(worker.seen_ms) < ONLINE_MS,
            leases: u32::try_from(held.len()).unwrap_or(u32::MAX),
            offer: worker.offer,
            seen_ms: worker.seen_ms,
            accepted: worker.accepted,
            failed: worker.failed,
        });
    }
    Ok(Json(Page { items, next: None }))
}

/// What an app is told of a stream.
pub(super) fn view(house: &House, told: &Told, stream: &Stream) -> api::Stream {
    let (http, id) = (&told.http, &stream.id);
    let ingest = match stream.source {
        Source::Live => Some(Ingest { url: told.rtmp.clone(), srt: told.srt.clone(), stream_key: None }),
        Source::File => Some(Ingest { url: format!("{http}/v1/streams/{id}/source"), srt: None, stream_key: None }),
        Source::Url => None,
    };
    let [captions_stuck, moderation_stuck, products_stuck] = results_stuck(house, stream);
    api::Stream {
        id: id.clone(),
        name: stream.name.clone(),
        source: stream.source,
        url: stream.url.as_deref().map(address::told),
        state: stream.state,
        reason: stream.reason.clone(),
        stuck: stuck(house, stream),
        captions_stuck,
        moderation_stuck,
        products_stuck,
        profile: stream.profile.clone(),
        listed: stream.listed,
        created_ms: stream.created_ms,
        ingest,
        playback: playback(http, stream),
        progress: Progress {
            source_bytes: stream.source_bytes,
            source_bytes_total: stream.source_bytes_total,
            segments: stream.next_seq,
            segments_settled: stream.listed_seq,
            segments_failed: stream.failed_segments,
            segments_withheld: stream.withheld_segments,
        },
    }
}

/// Why nobody works on what waits of `stream`, if nobody can.
fn stuck(house: &House, stream: &Stream) -> Option<String> {
    let is_open = matches!(stream.state, StreamState::Live | StreamState::Interrupted | StreamState::Finishing);
    let codecs: BTreeSet<_> = stream.rungs.iter().map(|rung| rung.codec).collect();
    let needs = Needs { codecs, sandboxed: stream.profile.policy.sandboxed, model: None };
    let waits = is_open && stream.listed_seq < stream.next_seq && !needs.codecs.is_empty();
    if waits { house.farm.lack(&needs, now_ms()) } else { None }
}

/// Why nobody hears or sees what waits of `stream`, by what is looked for, if nobody can.
fn results_stuck(house: &House, stream: &Stream) -> [Option<String>; 3] {
    let is_open = matches!(stream.state, StreamState::Live | StreamState::Interrupted | StreamState::Finishing);
    let all = [Capability::Captions, Capability::Moderation, Capability::Products];
    all.map(|capability| if is_open { lack(house, stream, capability) } else { None })
}

/// Why nobody can hear or see what `stream` asks for, if nobody can.
pub(super) fn lack(house: &House, stream: &Stream, capability: Capability) -> Option<String> {
    let Profile { captions, moderation, products, policy, .. } = &stream.profile;
    let (language, id) = match capability {
        Capability::Captions => {
            let wish = captions.as_ref()?;
            (wish.language.clone().filter(|_| !wish.translate), &wish.model)
        }
        Capability::Moderation => (None, &moderation.as_ref()?.model),
        Capability::Products => (None, &products.as_ref()?.model),
    };
    let model = Some(NeedsModel { capability, language, id: id.clone() });
    house.farm.lack(&Needs { codecs: BTreeSet::new(), sandboxed: policy.sandboxed, model }, now_ms())
}

/// Where a stream is played, and what else there is of it.
pub(super) fn playback(http: &str, stream: &Stream) -> Playback {
    let id = &stream.id;
    let (live, ended) = (stream.is_live(), stream.state == StreamState::Ended);
    // What an address leads to, live or a recording, is known once it was fetched.
    let known = stream.source != Source::Url || stream.fetched.is_some();
    let at = |file: &str| format!("{http}/hls/{id}/{file}");
    // Of what is encrypted there is nothing plain.
    let plain = stream.profile.encryption.is_none();
    let dash = stream.profile.encryption != Some(Encryption::Aes128);
    let some = plain && stream.listed_seq > stream.first_seq;
    // Of a live stream, the manifest for who watches it stays a window when it has ended.
    let manifest = if ended { "vod.mpd" } else { "manifest.mpd" };
    let names = stream.variants.iter().map(|variant| variant.name.as_str());
    // What has no pictures is one file of sound.
    let pictures = stream.variants.iter().any(|variant| variant.width > 0);
    let files = names
        .filter(|name| !pictures || *name != AUDIO)
        .chain(pictures.then_some(SOURCE))
        .map(|name| (name.to_owned(), at(&format!("{name}.mp4"))));
    let forms = || ["vtt", "srt", "json"].map(|form| (form.to_owned(), at(&format!("captions.{form}"))));
    Playback {
        hls: at("index.m3u8"),
        vod: if live { ended.then(|| at("vod.m3u8")) } else { known.then(|| at("index.m3u8")) },
        dash: (dash && (live || ended)).then(|| format!("{http}/dash/{id}/{manifest}")),
        mp4: if ended && some { files.collect() } else { BTreeMap::new() },
        captions: stream.profile.captions.iter().flat_map(|_| forms()).collect(),
        metadata: marks::has_any(stream).then(|| at(METADATA)),
        poster: (some && pictures).then(|| at(POSTER)),
        thumbnails: (ended && some && pictures).then(|| at(THUMBNAILS)),
    }
}

/// Letters and digits without those that look alike.
pub(super) fn random_text(length: usize) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    (0..length).map(|_| char::from(ALPHABET[usize::from(rand::random::<u8>()) % ALPHABET.len()])).collect()
}
