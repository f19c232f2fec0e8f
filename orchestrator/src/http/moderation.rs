//! `/v1/streams/{id}/moderation`: what is held back, and what someone decides about it.

use std::sync::Arc;

use axum::extract::{Path, State};
use millrace_proto::{
    api::{Decide, HeldSegment, HoldState, Page},
    offer::Capability,
};
use serde::Deserialize;

use super::{
    Answer,
    auth::Admin,
    error::{Error, Json, Query},
    streams,
};
use crate::{
    clock::now_ms,
    house::House,
    publish::hold,
    store::{
        holds::Decision,
        record::{Segment, Stream},
        reports::{MODERATION, Of},
    },
    task::window::ms,
};

const PAGE_ITEMS: u32 = 100;
/// Marks that are looked through for one with a number.
const MARKS_MAX: u32 = 10_000;

#[derive(Debug, Deserialize)]
pub(super) struct After {
    after: Option<u64>,
}

/// What is held back, or was, by number.
pub(super) async fn list(
    _: Admin,
    State(house): State<Arc<House>>,
    Path(id): Path<String>,
    Query(After { after }): Query<After>,
) -> Answer<Page<HeldSegment>> {
    let stream = streams::kept(&house, &id).await?;
    let from = after.map_or(0, |after| after.saturating_add(1));
    let mut held = house.store.held(&stream.id, from, PAGE_ITEMS + 1).await?;
    let more = held.len() > PAGE_ITEMS as usize;
    held.truncate(PAGE_ITEMS as usize);
    let next = held.last().filter(|_| more).map(|segment| segment.seq.to_string());
    Ok(Json(Page { items: told(&held), next }))
}

pub(super) async fn approve(
    _: Admin,
    State(house): State<Arc<House>>,
    Path(id): Path<String>,
    Json(wish): Json<Decide>,
) -> Answer<Page<HeldSegment>> {
    decide(&house, &id, &wish, HoldState::Approved).await
}

pub(super) async fn reject(
    _: Admin,
    State(house): State<Arc<House>>,
    Path(id): Path<String>,
    Json(wish): Json<Decide>,
) -> Answer<Page<HeldSegment>> {
    decide(&house, &id, &wish, HoldState::Rejected).await
}

async fn decide(house: &House, id: &str, wish: &Decide, state: HoldState) -> Answer<Page<HeldSegment>> {
    let stream = streams::kept(house, id).await?;
    if !hold::holds(&stream.profile) {
        let hint = "make a stream whose profile says \"moderation\": {\"action\": \"hold\"}";
        return Err(Error::conflict("not_held", "nothing of this stream is ever held back", hint));
    }
    let (from_ms, to_ms) = times(house, &stream, wish).await?;
    let ns = |ms: i64| u64::try_from(ms).unwrap_or(0).saturating_mul(1_000_000);
    let decision = Decision { from_ns: ns(from_ms), to_ns: ns(to_ms), state, now_ms: now_ms() };
    let found = house.store.decide(&stream.id, decision).await?;
    let states: Vec<_> = found.iter().filter_map(|segment| segment.hold.as_ref()).map(|hold| hold.state).collect();
    match states.first() {
        None => Err(Error::conflict(
            "not_held",
            format!("no segment between {from_ms} and {to_ms} ms is held back"),
            "GET /v1/streams/{id}/moderation tells which are; those that are not listed yet have to wait",
        )),
        Some(other) if !states.contains(&state) => Err(Error::conflict(
            "already_decided",
            format!(
                "these segments were {} before",
                if *other == HoldState::Approved { "approved" } else { "rejected" }
            ),
            "what is decided stays so: it was published, or will never be",
        )),
        Some(_) => Ok(Json(Page { items: told(&found), next: None })),
    }
}

/// The time that is meant, in milliseconds of the stream's timeline.
async fn times(house: &House, stream: &Stream, wish: &Decide) -> Result<(i64, i64), Error> {
    match *wish {
        Decide { number: None, track: None, from_ms: Some(from_ms), to_ms: Some(to_ms) } if from_ms < to_ms => {
            Ok((from_ms, to_ms))
        }
        Decide { number: Some(number), ref track, from_ms: None, to_ms: None } => {
            let track = track.as_deref().unwrap_or(MODERATION);
            let of = Of { stream: &stream.id, kind: Capability::Moderation, track };
            let marks = house.store.marks(of, i64::MIN, i64::MAX, MARKS_MAX).await?;
            let mark = marks.iter().find(|mark| mark.number == number);
            let hint = "its number and track are in GET /v1/streams/{id}/timeline?kind=moderation";
            mark.map(|mark| (mark.entry.start_ms, mark.entry.end_ms))
                .ok_or_else(|| Error::not_found("entry", "the track has no entry with this number", hint))
        }
        _ => Err(Error::invalid(
            "bad_decision",
            "it is not said what is meant",
            "send the 'number' of an entry of the timeline, or 'from_ms' and a later 'to_ms'",
        )),
    }
}

fn told(segments: &[Segment]) -> Vec<HeldSegment> {
    let one = |segment: &Segment| {
        let hold = segment.hold.clone()?;
        Some(HeldSegment {
            seq: segment.seq,
            start_ms: ms(segment.start_ns),
            end_ms: ms(segment.start_ns + segment.duration_ns),
            state: hold.state,
            reason: hold.reason,
            since_ms: hold.since_ms,
        })
    };
    segments.iter().filter_map(one).collect()
}
