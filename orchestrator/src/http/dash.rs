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
use millrace_proto::{StreamId, api::StreamState, profile::Encryption};

use super::{
    answer::{changing, text_answer},
    captions,
    error::Error,
    hls::not_yet,
    kept::Seen,
    streams, tokens,
    told::Told,
};
use crate::{
    clock::now_ms,
    house::House,
    publish::{
        self,
        dash::{self, Known, Period, Periods, Phase},
        hls::{Span, rfc3339},
    },
    store::{Store, record::Stream},
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
    told: Told,
    Path((id, name)): Path<(String, String)>,
    request: Parts,
) -> Result<Response, Error> {
    let seen = Seen::begin(&house, &id);
    let stream = streams::kept(&house, &id).await?;
    if stream.profile.encryption == Some(Encryption::Aes128) {
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
        periods(&house.store, &stream, None, stream.first_seq).await?
    } else {
        let from = publish::window_from(&stream);
        let known = edges.get(&stream.id).filter(|known| (stream.first_seq..=from).contains(&known.seq));
        let read_from = known.as_ref().map_or(stream.first_seq, |known| known.seq);
        let mut periods = periods(&house.store, &stream, known, read_from).await?;
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
    let phase = Phase::of(&stream, span, now_ms());
    let token = tokens::carried(&house, &stream, &request)?;
    let key = stream.profile.encryption.is_some().then(|| {
        let license = format!("{}/dash/{}/license{token}", told.http, stream.id);
        dash::Key { id: house.playback.scheme(&stream.id).key_id, license }
    });
    // Who brings no token to an encrypted stream's captions is not led to them.
    let is_open = key.is_none() || !token.is_empty();
    let texts = if is_open { captions::texts(&house, &stream, span, &token).await? } else { Vec::new() };
    let text = dash::manifest(&stream, &periods, span, phase, key.as_ref(), &texts).ok_or_else(not_yet)?;
    let answer = text_answer(&stream, MANIFEST_TYPE, text, &request);
    // How long it closes is a matter of time, and the licence's address one of who asks.
    let seen = seen.filter(|_| phase != Phase::Closing && key.is_none());
    Ok(Seen::keep(seen, if phase == Phase::Closed { answer } else { changing(answer) }))
}

/// The periods of the listed segments from number `from` on, read page by page.
async fn periods(
    store: &Arc<dyn Store>,
    stream: &Stream,
    known: Option<Known>,
    from: u64,
) -> Result<Vec<Period>, Error> {
    let too_long = |what: String| {
        Err(Error::conflict("too_long", format!("{what} than one manifest names"), "play it as HLS: /hls/ID/vod.m3u8"))
    };
    if stream.listed_seq - from > dash::SEGMENTS_MAX {
        return too_long(format!("{} segments are more", stream.listed_seq - from));
    }
    let (mut periods, mut next) = (Periods::new(stream, known), from);
    loop {
        let page = publish::page(store, stream, next).await?;
        let Some(last) = page.last() else { return Ok(periods.finish()) };
        next = last.seq + 1;
        for segment in &page {
            periods.push(segment);
        }
        if periods.count() > dash::PERIODS_MAX {
            return too_long(format!("{} breaks are more", periods.count()));
        }
    }
}

/// The time by our clock, for players whose own is wrong.
pub(super) async fn now() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain"), (header::CACHE_CONTROL, "no-store")];
    (headers, rfc3339(now_ms())).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{http::playlist::tests::recording, store::sqlite::SqliteStore};

    #[tokio::test]
    async fn a_week_is_in_one_manifest_and_what_is_too_long_is_told() {
        let store = SqliteStore::in_memory().await.unwrap();
        let stream = recording(&store, 200_000).await;
        let store: Arc<dyn Store> = Arc::new(store);
        let periods = periods(&store, &stream, None, 0).await.unwrap();
        assert_eq!(periods.len(), 1);
        assert!(periods[0].segments.iter().map(|slot| slot.seq).eq(0..200_000));
        let text = dash::manifest(&stream, &periods, Span::Vod, dash::Phase::Closed, None, &[]).unwrap();
        assert!(text.contains("<S t=\"1000000\" d=\"2000000\" r=\"199999\"/>"), "{text}");
        assert!(text.contains("mediaPresentationDuration=\"PT400000.000S\""), "{text}");
        let longer = Stream { listed_seq: dash::SEGMENTS_MAX + 1, ..stream };
        let refused = super::periods(&store, &longer, None, 0).await;
        assert!(matches!(refused, Err(Error::Conflict { code: "too_long", .. })), "{refused:?}");
    }
}
