//! `/dash/...`: manifests for DASH players. Segments and headers are those of `/hls/...`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Extension,
    extract::{Path, State},
    http::{header, request::Parts},
    response::{IntoResponse, Response},
};
use millrace_proto::{StreamId, api::StreamState};

use super::{answer::text_answer, error::Error, hls::not_yet, streams};
use crate::{
    clock::now_ms,
    house::House,
    publish::{
        self,
        dash::{self, Known},
        hls::{Span, rfc3339},
    },
};

pub(super) const MANIFEST_TYPE: &str = "application/dash+xml";

/// Streams whose place is remembered; beyond that it is found again by reading the stream's records.
const KNOWN_MAX: usize = 10_000;

/// Where the periods at the windows' edges start. A hint: what is not here is found again.
#[derive(Debug, Clone, Default)]
pub(super) struct Edges(Arc<Mutex<HashMap<StreamId, Known>>>);

impl Edges {
    fn get(&self, id: &StreamId) -> Option<Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn set(&self, id: &StreamId, known: Known) {
        let mut edges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if edges.len() >= KNOWN_MAX {
            edges.clear();
        }
        edges.insert(id.clone(), known);
    }
}

pub(super) async fn manifest(
    State(house): State<Arc<House>>,
    Extension(edges): Extension<Edges>,
    Path((id, name)): Path<(String, String)>,
    request: Parts,
) -> Result<Response, Error> {
    let stream = streams::kept(&house, &id).await?;
    if stream.profile.encryption.is_some() {
        let message = "the stream is encrypted in a way that DASH players can't read";
        return Err(Error::not_found("manifest", message, "play it as HLS"));
    }
    let span = match &*name {
        "manifest.mpd" if stream.is_live() => Span::Window,
        "manifest.mpd" | "vod.mpd" if stream.state == StreamState::Ended => Span::Vod,
        "manifest.mpd" => {
            return Err(Error::not_found("manifest", "the recording is not through yet", "play it as HLS until it is"));
        }
        "vod.mpd" => {
            return Err(Error::not_found("manifest", "the stream has not ended yet", "play manifest.mpd until it has"));
        }
        _ => return Err(Error::not_found("manifest", "there is no such manifest", "play manifest.mpd")),
    };
    let periods = if span == Span::Vod {
        dash::periods(&stream, None, publish::covered(&house.store, &stream, Span::Vod).await?)
    } else {
        let from = publish::window_from(&stream);
        let known = edges.get(&stream.id).filter(|known| (stream.first_seq..=from).contains(&known.seq));
        let read_from = known.as_ref().map_or(stream.first_seq, |known| known.seq);
        let segments = publish::listed_from(&house.store, &stream, read_from).await?;
        let mut periods = dash::periods(&stream, known, segments);
        for period in &mut periods {
            let held = period.segments.len();
            period.segments.retain(|segment| segment.seq >= from);
            if let Some(edge) = period.segments.first().filter(|_| period.segments.len() < held) {
                edges.set(&stream.id, Known { first: period.first.clone(), seq: edge.seq });
            }
        }
        periods.retain(|period| !period.segments.is_empty());
        periods
    };
    let text = dash::manifest(&stream, &periods, span).ok_or_else(not_yet)?;
    Ok(text_answer(&stream, MANIFEST_TYPE, text, &request))
}

/// The time by our clock, for players whose own is wrong.
pub(super) async fn now() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain"), (header::CACHE_CONTROL, "no-store")];
    (headers, rfc3339(now_ms())).into_response()
}
