//! Live ingest: lets publishers in by their stream key, and keeps their streams' states.
//!
//! Protocol servers send [`Publish`] requests; what they then send as events goes through an [`Intake`]. A lost
//! publisher may come back within the grace time; the stream goes on with a discontinuity.

use std::sync::Arc;

use millrace_proto::{
    Sha256, StreamId,
    api::{Source, StreamState},
};
use subtle::ConstantTimeEq;
use tokio::sync::mpsc;

use super::{
    event::{Event, Publish, Refusal},
    intake::Intake,
};
use crate::{
    clock::now_ms,
    config::Ingest,
    house::{Busy, Hold, House},
    store::{self, Move, Store, record::Stream},
};

/// Events on the way from a protocol server: a full channel stops the publisher's socket.
const EVENTS_MAX: usize = 256;

/// A stream key: the stream's id and a secret.
pub fn stream_key(stream: &StreamId, secret: &str) -> String {
    format!("{stream}_{secret}")
}

/// Answers publishers until the channel closes.
pub async fn desk(house: Arc<House>, mut publishers: mpsc::Receiver<Publish>) {
    while let Some(publish) = publishers.recv().await {
        tokio::spawn(answer(house.clone(), publish));
    }
}

async fn answer(house: Arc<House>, publish: Publish) {
    let peer = publish.peer;
    match admit(&house.store, &house.publishing, &publish.key, now_ms()).await {
        Err(refusal) => {
            tracing::info!(peer, %refusal, "publisher refused");
            // Nobody listens any more if the publisher left meanwhile.
            let _ = publish.reply.send(Err(refusal));
        }
        Ok((stream, reserved)) => {
            let id = stream.id.clone();
            let (sender, events) = mpsc::channel(EVENTS_MAX);
            if publish.reply.send(Ok(sender)).is_ok() {
                tracing::info!(stream = %id, peer, "publisher live");
                let ending = run(&house, stream, events).await;
                leave(&house, &id, ending).await;
            } else {
                leave(&house, &id, Ending::Lost(None)).await;
            }
            drop(reserved);
        }
    }
}

/// Looks a publisher up by its key and reserves its stream; the stream is live then.
pub async fn admit(
    store: &Arc<dyn Store>,
    publishing: &Busy,
    key: &str,
    now_ms: u64,
) -> Result<(Stream, Hold), Refusal> {
    let id = by_key(store, key).await?.id;
    let reserved = publishing.begin(&id).ok_or(Refusal::Busy)?;
    let stream = open(store, &id, now_ms).await?;
    Ok((stream, reserved))
}

/// The live stream that has this key.
pub async fn by_key(store: &Arc<dyn Store>, key: &str) -> Result<Stream, Refusal> {
    let (id, secret) = key.split_once('_').ok_or(Refusal::WrongKey)?;
    let id: StreamId = id.parse().map_err(|_| Refusal::WrongKey)?;
    let stream = store.stream(&id).await.map_err(|error| unavailable(&error))?;
    // An unknown stream takes the same comparison as a known one.
    let want = stream.as_ref().and_then(|stream| stream.key_sha256).unwrap_or_else(|| Sha256::of(b""));
    let have = Sha256::of(secret.as_bytes());
    let fits = bool::from(have.to_string().as_bytes().ct_eq(want.to_string().as_bytes()));
    stream.filter(|stream| fits && stream.source == Source::Live).ok_or(Refusal::WrongKey)
}

/// The stream, whose place the caller holds, is live from now on.
pub(super) async fn open(store: &Arc<dyn Store>, id: &StreamId, now_ms: u64) -> Result<Stream, Refusal> {
    let open = [StreamState::Waiting, StreamState::Interrupted, StreamState::Live];
    let step = Move { from: &open, to: StreamState::Live, reason: None, grace_ends_ms: 0, now_ms };
    if !store.move_stream(id, &step).await.map_err(|error| unavailable(&error))? {
        return Err(Refusal::Ended);
    }
    // Read again: the place is ours only now, and the last publisher may have committed since.
    store.stream(id).await.map_err(|error| unavailable(&error))?.ok_or(Refusal::WrongKey)
}

fn unavailable(error: &store::Error) -> Refusal {
    tracing::warn!(%error, "a publisher could not be looked up");
    Refusal::Unavailable
}

/// How a publisher left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It said goodbye.
    Goodbye,
    /// It was lost, or cut off with a reason.
    Lost(Option<String>),
}

async fn run(house: &House, stream: Stream, mut events: mpsc::Receiver<Event>) -> Ending {
    let limits = house.config.ingest.limits(&stream.profile);
    let retry_s_max = house.config.ingest.storage_retry_s_max;
    let mut intake = Intake::live(house.store.clone(), house.media.clone(), stream, limits, retry_s_max)
        .with_eyes(house.verifier.eyes.clone());
    let mut ending = Ending::Lost(None);
    while let Some(event) = events.recv().await {
        let goodbye = event == Event::End;
        match intake.take(event).await {
            Ok(0) => {}
            Ok(_) => house.committed(intake.id()),
            Err(error) => {
                tracing::warn!(stream = %intake.id(), %error, "the publisher is cut off");
                ending = Ending::Lost(Some(error.to_string()));
                break;
            }
        }
        if goodbye {
            ending = Ending::Goodbye;
            break;
        }
    }
    // What came before a loss is whole pictures; it is kept.
    match intake.finish().await {
        Ok(0) => {}
        Ok(_) => house.committed(intake.id()),
        Err(error) => tracing::warn!(stream = %intake.id(), %error, "the last segment is lost"),
    }
    ending
}

pub(super) async fn leave(house: &House, id: &StreamId, ending: Ending) {
    match interrupt(&house.store, &house.config.ingest, id, ending, now_ms()).await {
        Ok(_) => tracing::info!(stream = %id, "publisher gone"),
        Err(error) => tracing::warn!(stream = %id, %error, "the publisher's leaving is noted later"),
    }
}

/// The publisher is gone: its stream waits for it to come back, for a time.
pub async fn interrupt(
    store: &Arc<dyn Store>,
    limits: &Ingest,
    id: &StreamId,
    ending: Ending,
    now_ms: u64,
) -> store::Result<bool> {
    let (grace_s, reason) = match ending {
        Ending::Goodbye => (limits.goodbye_grace_s, None),
        Ending::Lost(reason) => (limits.lost_grace_s, reason),
    };
    let step = Move {
        from: &[StreamState::Live],
        to: StreamState::Interrupted,
        reason,
        grace_ends_ms: now_ms + grace_s * 1_000,
        now_ms,
    };
    store.move_stream(id, &step).await
}

/// Streams that are live and have no publisher are interrupted: the last run ended, or a publisher's leaving
/// could not be noted.
pub async fn recover(store: &Arc<dyn Store>, publishing: &Busy, limits: &Ingest, now_ms: u64) -> store::Result<()> {
    for stream in store.streams_in(&[StreamState::Live]).await? {
        if !stream.is_live() {
            continue;
        }
        // Held meanwhile: a publisher that comes just now must not be found interrupted.
        if let Some(_hold) = publishing.begin(&stream.id) {
            interrupt(store, limits, &stream.id, Ending::Lost(None), now_ms).await?;
        }
    }
    Ok(())
}

/// Interrupted streams whose grace time is over are finished. Returns which.
pub async fn end_overdue(store: &Arc<dyn Store>, publishing: &Busy, now_ms: u64) -> store::Result<Vec<StreamId>> {
    let mut ended = Vec::new();
    let from = &[StreamState::Interrupted];
    for stream in store.streams_in(from).await? {
        if stream.grace_ends_ms > now_ms {
            continue;
        }
        let Some(_hold) = publishing.begin(&stream.id) else { continue };
        let step = Move { from, to: StreamState::Finishing, reason: None, grace_ends_ms: 0, now_ms };
        if store.move_stream(&stream.id, &step).await? {
            ended.push(stream.id);
        }
    }
    Ok(ended)
}
