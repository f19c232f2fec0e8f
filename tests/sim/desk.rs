//! The orchestrator's desk: what `http/worker.rs` does with each request, without HTTP.
//!
//! Calls the real farm, sessions and media store; decides nothing that they do not.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use millrace_orchestrator::{
    farm::{self, Ticket, sessions},
    media, store,
    task::source,
};
use millrace_proto::{
    api, identity,
    outcome::Outcome,
    task,
    worker::{Challenge, Finished, Renewed, Session},
};
use millrace_worker::agent::{Fault, Input};
use object_store::GetOptions;

use crate::{
    house::Rooms,
    wire::{Answer, Ask, Claim, Request, Who},
};

/// What the desk says to a request.
pub(crate) enum Said {
    /// This.
    Now(Answer),
    /// Wait: it stands in the queue for so long.
    Later(Ticket, u64),
}

fn error(code: &str) -> api::Error {
    api::Error { code: code.into(), message: code.into(), hint: String::new() }
}

pub(crate) fn away(message: &str) -> Fault {
    Fault::Away { message: message.into(), retry_after_ms: None }
}

fn store_fault(_: store::Error) -> Fault {
    away("the store does not answer")
}

fn media_fault(failed: &media::Error) -> Fault {
    match failed.kind {
        media::Kind::Full | media::Kind::Failed | media::Kind::BrokenOff => away("the media store does not answer"),
        media::Kind::Missing | media::Kind::Mismatch | media::Kind::TooLarge(_) => Fault::Refused(error("media")),
    }
}

fn farm_fault(refused: farm::Refused) -> Fault {
    match refused {
        farm::Refused::Gone => Fault::Gone(error("lease_gone")),
        farm::Refused::Store(error) => store_fault(error),
    }
}

fn session_fault(refused: sessions::Refused) -> Fault {
    match refused {
        sessions::Refused::Full => away("too many workers"),
        sessions::Refused::Challenge => Fault::Refused(error("wrong_challenge")),
        sessions::Refused::Signature => Fault::Refused(error("wrong_signature")),
    }
}

fn caller(rooms: &Rooms, token: &str) -> Result<sessions::Session, Fault> {
    let now_ms = rooms.gate.now_ms();
    let session = rooms.sessions.find(token, now_ms).ok_or_else(|| Fault::Unauthorized(error("no_session")))?;
    rooms.farm.heard(&session, now_ms);
    Ok(session)
}

/// Answers a request.
pub(crate) async fn serve(rooms: Arc<Rooms>, request: Request) -> (Who, millrace_worker::agent::Call, Said) {
    let Request { who, call, ask } = request;
    let now_ms = rooms.gate.now_ms();
    let input = match ask {
        Ask::Challenge(address) => {
            let text = rooms.sessions.challenge(address, "http://millrace.test", now_ms);
            Input::Challenged(call, text.map(|text| Challenge { text }).map_err(session_fault))
        }
        Ask::Open(request) => Input::Opened(call, open(&rooms, request, now_ms).await),
        Ask::Poll { session, poll } => match caller(&rooms, &session) {
            Err(fault) => Input::Polled(call, Err(fault)),
            Ok(session) => match rooms.farm.poll(&session, &poll, now_ms).await {
                Err(error) => Input::Polled(call, Err(store_fault(error))),
                Ok(ticket) => {
                    let wait_ms = if ticket.revoked.is_empty() { poll.wait_ms.min(30_000) } else { 0 };
                    return (who, call, Said::Later(ticket, wait_ms));
                }
            },
        },
        Ask::Renew { held } => Input::Renewed(call, renew(&rooms, &held, now_ms).await),
        Ask::Finish { held, outcome } => Input::Finished(call, finish(&rooms, &held, outcome, now_ms).await),
        Ask::Fetch { held, inputs } => match fetch(&rooms, &held, &inputs).await {
            Ok(bytes) => return (who, call, Said::Now(Answer { input: Input::Fetched(call, Ok(())), bytes })),
            Err(fault) => Input::Fetched(call, Err(fault)),
        },
        Ask::Upload { held, files } => Input::Uploaded(call, upload(&rooms, &held, files).await),
    };
    (who, call, Said::Now(input.into()))
}

async fn open(rooms: &Rooms, request: millrace_proto::worker::SessionRequest, now_ms: u64) -> Result<Session, Fault> {
    let (address, offer) = (request.address, request.offer.clone());
    let token = rooms.sessions.open(request, now_ms).map_err(session_fault)?;
    rooms.store.greet_worker(address, &offer, now_ms).await.map_err(store_fault)?;
    Ok(Session { token })
}

async fn renew(rooms: &Rooms, held: &Claim, now_ms: u64) -> Result<Renewed, Fault> {
    let worker = caller(rooms, &held.session)?.address;
    let lease_ms = rooms.farm.renew(worker, &held.lease, &held.token, now_ms).await.map_err(farm_fault)?;
    Ok(Renewed { lease_ms })
}

async fn finish(rooms: &Rooms, held: &Claim, outcome: Outcome, now_ms: u64) -> Result<Finished, Fault> {
    let worker = caller(rooms, &held.session)?.address;
    if identity::signer(&Outcome::message(&held.lease, &outcome.result), &outcome.signature) != Ok(worker) {
        return Err(Fault::Refused(error("wrong_signature")));
    }
    let taken = rooms.farm.finish(worker, &held.lease, &held.token, outcome, now_ms).await.map_err(farm_fault)?;
    Ok(Finished { taken })
}

async fn fetch(rooms: &Rooms, held: &Claim, inputs: &[task::Input]) -> Result<Vec<Bytes>, Fault> {
    let worker = caller(rooms, &held.session)?.address;
    let mut all = Vec::new();
    for input in inputs {
        let task = rooms.farm.open(worker, &held.lease, &held.token).await.map_err(farm_fault)?;
        let named = source::inputs(&*rooms.store, &task).await.map_err(store_fault)?;
        let named = named.ok_or_else(|| Fault::Gone(error("lease_gone")))?;
        let (_, blob) =
            named.into_iter().find(|(name, _)| *name == input.name).ok_or_else(|| Fault::Gone(error("lease_gone")))?;
        let found = rooms
            .media
            .get(&task.stream, blob.sha256, GetOptions::default())
            .await
            .map_err(|failed| media_fault(&failed))?;
        let bytes = found.bytes().await.map_err(|failed| media_fault(&failed.into()))?;
        if task::Blob::of(&bytes) != input.blob {
            return Err(Fault::Spoiled("other bytes than the lease says".into()));
        }
        all.push(bytes);
    }
    Ok(all)
}

async fn upload(rooms: &Rooms, held: &Claim, files: Vec<(String, millrace_proto::Sha256, Bytes)>) -> Result<(), Fault> {
    let worker = caller(rooms, &held.session)?.address;
    for (output, sha256, bytes) in files {
        let task = rooms.farm.open(worker, &held.lease, &held.token).await.map_err(farm_fault)?;
        let body = stream::iter([Ok::<_, std::io::Error>(bytes)]);
        let taken = rooms.uploads.receive(&rooms.media, &task, &held.lease, &output, sha256, body).await;
        taken.map_err(|failed| media_fault(&failed))?.ok_or_else(|| Fault::Refused(error("unknown_output")))?;
    }
    Ok(())
}
