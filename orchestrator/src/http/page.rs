//! `/v1/playback`: what the page at `/` shows. Public: it names only streams marked `listed`.

use std::sync::Arc;

use axum::extract::State;
use millrace_proto::api::StreamState;
use serde::Serialize;

use super::{Answer, error::Json};
use crate::house::House;

const ITEMS_MAX: u32 = 200;

#[derive(Debug, Serialize)]
pub(super) struct Playable {
    id: String,
    name: String,
    state: StreamState,
    hls: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Listing {
    items: Vec<Playable>,
    workers_online: usize,
}

pub(super) async fn playback(State(house): State<Arc<House>>) -> Answer<Listing> {
    let streams = house.store.streams(None, ITEMS_MAX).await?;
    let items = streams
        .into_iter()
        .filter(|stream| stream.listed && stream.state != StreamState::Expired)
        .map(|stream| Playable {
            hls: format!("/hls/{}/index.m3u8", stream.id),
            id: stream.id.to_string(),
            name: stream.name,
            state: stream.state,
        })
        .collect();
    Ok(Json(Listing { items, workers_online: house.farm.heard_at().len() }))
}
