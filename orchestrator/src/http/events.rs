//! `/v1/events`: what happened to streams, for apps that ask from time to time.

use std::sync::Arc;

use axum::extract::{Query, State, rejection::QueryRejection};
use millrace_proto::events::{Events, SCHEMA};
use serde::Deserialize;

use super::{
    Answer,
    auth::Admin,
    error::{Error, Json},
    streams::stream_id,
};
use crate::house::House;

const LIMIT: u32 = 100;
const LIMIT_MAX: u32 = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    after: Option<u64>,
    stream: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn get(
    _: Admin,
    State(house): State<Arc<House>>,
    wish: Result<Query<Wish>, QueryRejection>,
) -> Answer<Events> {
    let Query(Wish { after, stream, limit }) = wish.map_err(|error| {
        let hint = "the filters are after (an event's number), stream (its id) and limit";
        Error::invalid("bad_filter", error.body_text(), hint)
    })?;
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Error::invalid("bad_filter", format!("limit is {limit}"), "use 1 to 1000"));
    }
    // Events outlive their stream: whose id it was is no matter.
    let stream = stream.map(|id| stream_id(&id)).transpose()?;
    // Asked for first: what goes meanwhile is then told to be there, and not the other way round.
    let oldest = house.store.oldest_event().await?;
    let mut items = house.store.events(after.unwrap_or(0), stream.as_ref(), limit + 1).await?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items.last().filter(|_| more).map(|event| event.number);
    Ok(Json(Events { schema: SCHEMA, items, oldest, next }))
}
