//! `/v1/streams/{id}/timeline`: what workers found, by time, as JSON or as it comes, by server-sent events.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderMap, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{Stream as Events, stream};
use millrace_proto::{
    StreamId,
    api::StreamState,
    offer::Capability,
    timeline::{Entry, SCHEMA, Timeline, Track},
};
use serde::Deserialize;

use super::{
    auth::Admin,
    captions,
    error::{Error, Json},
    streams,
};
use crate::{
    house::House,
    store::{
        record::Stream,
        reports::{Chain, MODERATION, Of},
    },
    timeline::{Filter, Place, Sent, entries},
    words,
};

/// Windows of a track that one answer tells at most.
const PAGE_REPORTS: u32 = 100;
/// Marks of a track that one answer tells at most: more than can begin at one moment.
const PAGE_MARKS: u32 = 1_000;
/// Between two looks for what has come.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Whoever follows hears something this often, so that nobody between takes the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(10);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    kind: Option<Capability>,
    track: Option<String>,
    label: Option<String>,
    from_ms: Option<i64>,
    to_ms: Option<i64>,
}

pub(super) async fn get(
    _: Admin,
    State(house): State<Arc<House>>,
    Path(id): Path<String>,
    wish: Result<Query<Wish>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let Query(Wish { kind, track, label, from_ms, to_ms }) = wish.map_err(|error| {
        let hint = "the filters are kind (captions, moderation, products), track, label, from_ms and to_ms";
        Error::invalid("bad_filter", error.body_text(), hint)
    })?;
    let stream = streams::kept(&house, &id).await?;
    let filter = Filter { kind, track, label, from_ms: from_ms.unwrap_or(0), to_ms: to_ms.unwrap_or(i64::MAX) };
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if !text(header::ACCEPT).is_some_and(|accept| accept.contains("text/event-stream")) {
        return Ok(Json(page(&house, &stream, &filter).await?).into_response());
    }
    let sent = match text(header::HeaderName::from_static("last-event-id")) {
        Some(id) => Sent::parse(id).ok_or_else(|| {
            Error::invalid("bad_event_id", "Last-Event-ID is none that came from here", "leave it out to begin anew")
        })?,
        None => Sent::default(),
    };
    let follower =
        Follower { house, stream: stream.id, filter, sent, waiting: VecDeque::new(), revision: None, over: false };
    Ok(Sse::new(follower.events()).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response())
}

fn is_over(stream: &Stream) -> bool {
    matches!(stream.state, StreamState::Ended | StreamState::Failed | StreamState::Expired)
}

async fn page(house: &House, stream: &Stream, filter: &Filter) -> Result<Timeline, Error> {
    let (mut items, mut tracks, mut next_ms) = (Vec::new(), Vec::new(), None);
    for chain in chains(house, stream, filter).await? {
        let of = Of { stream: &stream.id, kind: chain.kind, track: &chain.track };
        let reports = house.store.reports(of, filter.from_ms, filter.to_ms, PAGE_REPORTS).await?;
        if reports.len() == PAGE_REPORTS as usize {
            // What begins behind the last window is told by the next answer, of all tracks.
            let end_ms = reports.last().map_or(filter.from_ms, |report| report.end_ms);
            next_ms = Some(next_ms.map_or(end_ms, |next: i64| next.min(end_ms)));
        }
        for report in &reports {
            items.extend(entries(report, captions::heard(house, stream, report).await?.as_ref()));
        }
        if chain.kind != Capability::Captions {
            let marks = house.store.marks(of, filter.from_ms, filter.to_ms, PAGE_MARKS).await?;
            if marks.len() == PAGE_MARKS as usize {
                let start_ms = marks.last().map_or(filter.from_ms, |mark| mark.entry.start_ms);
                next_ms = Some(next_ms.map_or(start_ms, |next: i64| next.min(start_ms)));
            }
            items.extend(marks.into_iter().map(|mark| mark.entry));
        }
        let complete = !chain.open && is_over(stream);
        // Words are found in what is heard.
        let is_words = chain.kind == Capability::Moderation && chain.track != MODERATION;
        let needed = if is_words { Capability::Captions } else { chain.kind };
        let stuck = if chain.open { streams::lack(house, stream, needed) } else { None };
        tracks.push(Track { kind: chain.kind, track: chain.track, settled_ms: chain.position_ms, complete, stuck });
    }
    items.retain(|entry| filter.takes(entry) && next_ms.is_none_or(|next_ms| entry.start_ms < next_ms));
    items.sort_by_key(|entry| entry.start_ms);
    Ok(Timeline { schema: SCHEMA, stream: stream.id.clone(), tracks, items, next_ms })
}

async fn chains(house: &House, stream: &Stream, filter: &Filter) -> Result<Vec<Chain>, Error> {
    let mut chains = house.store.chains(&stream.id).await?;
    if stream.profile.moderation.as_ref().is_some_and(|wish| !wish.words.is_empty()) {
        chains.extend(words::chains(&chains));
    }
    chains.retain(|chain| filter.takes_track(chain.kind, &chain.track));
    Ok(chains)
}

/// Someone who follows a timeline.
struct Follower {
    house: Arc<House>,
    stream: StreamId,
    filter: Filter,
    sent: Sent,
    waiting: VecDeque<Event>,
    /// The store's, of what was looked at last.
    revision: Option<u64>,
    over: bool,
}

impl Follower {
    fn events(self) -> impl Events<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut follower| async {
            loop {
                if let Some(event) = follower.waiting.pop_front() {
                    return Some((Ok(event), follower));
                }
                if follower.over {
                    return None;
                }
                let revision = follower.house.store.revision(&follower.stream);
                if revision.is_some() && revision == follower.revision {
                    tokio::time::sleep(LOOK_EVERY).await;
                    continue;
                }
                follower.revision = revision;
                if let Err(error) = follower.look().await {
                    tracing::warn!(stream = %follower.stream, ?error, "a timeline can't be followed");
                    return None;
                }
                if follower.waiting.is_empty() && follower.revision.is_none() {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        })
    }

    /// Reads what has come since the last look, and whether more may come.
    async fn look(&mut self) -> Result<(), Error> {
        let Some(stream) = self.house.store.stream(&self.stream).await? else {
            self.over = true;
            return Ok(());
        };
        let (mut more, mut open) = (false, !is_over(&stream));
        for chain in chains(&self.house, &stream, &self.filter).await? {
            open |= chain.open;
            more |= self.look_at_reports(&stream, &chain).await?;
            if chain.kind != Capability::Captions {
                more |= self.look_at_marks(&chain).await?;
            }
        }
        if more {
            self.revision = None;
        } else if !open {
            self.over = true;
            self.waiting.push_back(Event::default().event("end").data("{}"));
        }
        Ok(())
    }

    /// Sends what has come of a track's reports: cues, and why nothing could be found; returns whether there may be more.
    async fn look_at_reports(&mut self, stream: &Stream, chain: &Chain) -> Result<bool, Error> {
        let of = Of { stream: &self.stream, kind: chain.kind, track: &chain.track };
        let place = Place::Time(chain.kind, &chain.track);
        let from_ms = self.sent.of(place).unwrap_or(self.filter.from_ms);
        let reports = self.house.store.reports(of, from_ms, self.filter.to_ms, PAGE_REPORTS).await?;
        for report in &reports {
            let entries = entries(report, captions::heard(&self.house, stream, report).await?.as_ref());
            self.sent.set(place, report.end_ms);
            self.send(entries);
        }
        Ok(reports.len() == PAGE_REPORTS as usize)
    }

    /// Sends what windows have changed of a track's marks; returns whether there may be more.
    async fn look_at_marks(&mut self, chain: &Chain) -> Result<bool, Error> {
        let of = Of { stream: &self.stream, kind: chain.kind, track: &chain.track };
        let place = Place::Window(chain.kind, &chain.track);
        let from = self.sent.of(place).and_then(|from| u64::try_from(from).ok()).unwrap_or(0);
        let mut marks = self.house.store.marks_changed(of, from, PAGE_MARKS).await?;
        let more = marks.len() == PAGE_MARKS as usize;
        if let (true, Some(last)) = (more, marks.last().map(|mark| mark.changed)) {
            // What the last window changed is perhaps not all here.
            if marks.first().is_some_and(|first| first.changed < last) {
                marks.retain(|mark| mark.changed < last);
            }
        }
        let Some(last) = marks.last().map(|mark| mark.changed) else { return Ok(false) };
        self.sent.set(place, i64::try_from(last + 1).unwrap_or(i64::MAX));
        self.send(marks.into_iter().map(|mark| mark.entry).collect());
        Ok(more)
    }

    /// With the last of them all have been sent; who breaks off before gets all of them again.
    fn send(&mut self, mut entries: Vec<Entry>) {
        entries.retain(|entry| self.filter.takes(entry));
        let last = entries.len().saturating_sub(1);
        let event = |(at, entry): (usize, &Entry)| {
            let event = Event::default().event("entry").json_data(entry).expect("its keys are text");
            if at == last { event.id(self.sent.text()) } else { event }
        };
        self.waiting.extend(entries.iter().enumerate().map(event));
    }
}
