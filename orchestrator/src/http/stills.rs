//! `/hls/{stream}/poster.jpg`, `thumbnails.vtt` and `sprite-{n}.jpg`: pictures of a stream, for pages and players.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, http::request::Parts, response::Response};
use millrace_proto::api::StreamState;
use object_store::{GetOptions, GetResult};
use tokio::time::Instant;

use super::{
    answer::{Whole, matches},
    error::Error,
};
use crate::{
    assets::stills::{self, LIVE_POSTER, POSTER, THUMBNAILS},
    clock::now_ms,
    house::House,
    media,
    store::record::Stream,
};

/// A live stream's poster is made anew when it is asked for and this old.
const LIVE_MS_MAX: u64 = 10_000;
/// Between two looks at what another request lets make.
const LOOK: Duration = Duration::from_millis(100);

/// Whether a file of this name is one of these pictures.
pub(super) fn is_one(name: &str) -> bool {
    let sheet = |name: &str| name.strip_prefix("sprite-")?.strip_suffix(".jpg")?.parse::<u32>().ok();
    name == POSTER || name == THUMBNAILS || sheet(name).is_some()
}

/// The picture. One that is not there yet is made; who asks waits, but not for long.
pub(super) async fn get(house: &Arc<House>, stream: &Stream, name: &str, request: &Parts) -> Result<Response, Error> {
    let live = match stream.state {
        StreamState::Ended => false,
        _ if name == POSTER && stream.listed_seq > stream.first_seq => true,
        _ => return Err(Error::not_found("picture", "the stream has not ended yet", "ask again when it has")),
    };
    let stored = if live { LIVE_POSTER } else { name };
    let deadline = Instant::now() + Duration::from_millis(house.config.assets.wait_ms_max);
    loop {
        match house.media.get_asset(&stream.id, stored, GetOptions::default()).await {
            Ok(found) if !live || is_fresh(&found) => return Ok(answer(found, name, live, request)),
            Ok(_) => {}
            Err(error) if error.kind == media::Kind::Missing => {}
            Err(error) => return Err(error.into()),
        }
        // Other sheets than there are: the list of thumbnails is there when all of them are.
        if !live && name != THUMBNAILS && house.media.has_asset(&stream.id, THUMBNAILS).await? {
            return Err(Error::not_found("picture", "there is no such picture", "look it up in thumbnails.vtt"));
        }
        if let Some(making) = stills::begin(house, stream.clone(), live) {
            match tokio::time::timeout_at(deadline, making).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => return Err(error.into()),
                Ok(Err(_)) => return Err(Error::Unavailable("the pictures can't be made now".into())),
                Err(_) => return Err(Error::BeingMade),
            }
        } else if Instant::now() > deadline {
            return Err(Error::BeingMade);
        } else {
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn is_fresh(found: &GetResult) -> bool {
    let made_ms = u64::try_from(found.meta.last_modified.timestamp_millis()).unwrap_or(0);
    now_ms().saturating_sub(made_ms) < LIVE_MS_MAX
}

fn answer(found: GetResult, name: &str, live: bool, request: &Parts) -> Response {
    let cache = if live { "public, max-age=10" } else { "public, max-age=3600" };
    // The same name has other bytes when it is made anew.
    let etag = format!("\"{:x}-{:x}\"", found.meta.last_modified.timestamp_millis(), found.meta.size);
    let kind = if name == THUMBNAILS { "text/vtt; charset=utf-8" } else { "image/jpeg" };
    let whole = Whole { kind, cache, etag, size: found.meta.size };
    if matches(request, &whole.etag) {
        whole.same()
    } else {
        whole.answer(None, Body::from_stream(media::pieces(found)))
    }
}
