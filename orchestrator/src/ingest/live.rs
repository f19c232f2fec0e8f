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
    house::{Hold, House},
    store::{Move, record::Stream},
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
    match admit(&house, &publish.key).await {
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
                interrupt(&house, &id, ending).await;
            } else {
                interrupt(&house, &id, Ending::Lost(None)).await;
            }
            drop(reserved);
        }
    }
}

async fn admit(house: &House, key: &str) -> Result<(Stream, Hold), Refusal> {
    let (id, secret) = key.split_once('_').ok_or(Refusal::WrongKey)?;
    let id: StreamId = id.parse().map_err(|_| Refusal::WrongKey)?;
    let unavailable = |error: crate::store::Error| {
        tracing::warn!(%error, "a publisher could not be looked up");
        Refusal::Unavailable
    };
    let stream = house.store.stream(&id).await.map_err(unavailable)?;
    // An unknown stream takes the same comparison as a known one.
    let want = stream.as_ref().and_then(|stream| stream.key_sha256).unwrap_or_else(|| Sha256::of(b""));
    let have = Sha256::of(secret.as_bytes());
    let fits = bool::from(have.to_string().as_bytes().ct_eq(want.to_string().as_bytes()));
    stream.filter(|stream| fits && stream.source == Source::Live).ok_or(Refusal::WrongKey)?;
    let reserved = house.publishing.begin(&id).ok_or(Refusal::Busy)?;
    let open = [StreamState::Waiting, StreamState::Interrupted, StreamState::Live];
    let step = Move { from: &open, to: StreamState::Live, reason: None, grace_ends_ms: 0, now_ms: now_ms() };
    if !house.store.move_stream(&id, &step).await.map_err(unavailable)? {
        return Err(Refusal::Ended);
    }
    // Read again: the place is ours only now, and the last publisher may have committed since.
    let stream = house.store.stream(&id).await.map_err(unavailable)?.ok_or(Refusal::WrongKey)?;
    Ok((stream, reserved))
}

enum Ending {
    Goodbye,
    Lost(Option<String>),
}

async fn run(house: &House, stream: Stream, mut events: mpsc::Receiver<Event>) -> Ending {
    let limits = house.config.ingest.limits(&stream.profile);
    let retry_s_max = house.config.ingest.storage_retry_s_max;
    let mut intake = Intake::live(house.store.clone(), house.media.clone(), stream, limits, retry_s_max);
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

async fn interrupt(house: &House, id: &StreamId, ending: Ending) {
    let now_ms = now_ms();
    let (grace_s, reason) = match ending {
        Ending::Goodbye => (house.config.ingest.goodbye_grace_s, None),
        Ending::Lost(reason) => (house.config.ingest.lost_grace_s, reason),
    };
    let step = Move {
        from: &[StreamState::Live],
        to: StreamState::Interrupted,
        reason,
        grace_ends_ms: now_ms + grace_s * 1_000,
        now_ms,
    };
    match house.store.move_stream(id, &step).await {
        Ok(_) => tracing::info!(stream = %id, grace_s, "publisher gone"),
        // The next start finds the stream live without a publisher and interrupts it then.
        Err(error) => tracing::warn!(stream = %id, %error, "the publisher's leaving could not be noted"),
    }
}
