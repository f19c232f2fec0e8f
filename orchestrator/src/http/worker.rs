//! `/v1/worker/...`: the workers' protocol, see `millrace_proto::worker`.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use millrace_proto::{
    LeaseId, PROTOCOL_VERSION, Sha256,
    identity::signer,
    outcome::{MESSAGE_BYTES_MAX, Outcome, Result as Handed},
    worker::{Challenge, ChallengeRequest, Finished, Poll, Polled, Renewed, SHA256_HEADER, Session, SessionRequest},
};
use object_store::GetOptions;

use super::{
    Answer,
    auth::{LeaseToken, Worker},
    error::{Error, Json},
};
use crate::{clock::now_ms, farm::Ticket, house::House, media, task::source};

/// Leases that one poll can name.
const HELD_MAX: usize = 1_024;
/// Models that one poll can name.
const WARM_MAX: usize = 64;
/// Slots that one worker can have.
const SLOTS_MAX: u32 = 256;

pub(super) async fn challenge(
    State(house): State<Arc<House>>,
    Json(request): Json<ChallengeRequest>,
) -> Answer<Challenge> {
    if request.protocol != PROTOCOL_VERSION {
        let message = format!("this server speaks worker protocol {PROTOCOL_VERSION}, not {}", request.protocol);
        return Err(Error::invalid("wrong_protocol", message, "install the worker of the server's version"));
    }
    Ok(Json(Challenge { text: house.sessions.challenge(request.address, &house.http_url, now_ms())? }))
}

pub(super) async fn session(State(house): State<Arc<House>>, Json(request): Json<SessionRequest>) -> Answer<Session> {
    let (address, offer, now_ms) = (request.address, request.offer.clone(), now_ms());
    if offer.slots == 0 || offer.slots > SLOTS_MAX {
        return Err(Error::invalid("bad_offer", format!("{} slots are offered", offer.slots), "offer 1 to 256 slots"));
    }
    let token = house.sessions.open(request, now_ms)?;
    house.store.greet_worker(address, &offer, now_ms).await?;
    tracing::info!(worker = %address, slots = offer.slots, "worker joined");
    Ok(Json(Session { token }))
}

pub(super) async fn poll(worker: Worker, State(house): State<Arc<House>>, Json(poll): Json<Poll>) -> Answer<Polled> {
    if poll.held.len() > HELD_MAX || poll.instance.len() > 64 || poll.warm.len() > WARM_MAX {
        return Err(Error::invalid(
            "bad_poll",
            "too many leases or models, or too long an instance name",
            "name those held alone",
        ));
    }
    let ticket = house.farm.poll(&worker.0, &poll, now_ms()).await?;
    let revoked = ticket.revoked.clone();
    let wait_ms = if revoked.is_empty() { poll.wait_ms.min(house.config.api.poll_ms_max) } else { 0 };
    let mut place = Place { house: house.clone(), ticket: Some(ticket) };
    let leases = match place.ticket.as_mut() {
        Some(ticket) => tokio::time::timeout(Duration::from_millis(wait_ms), &mut ticket.leases).await,
        None => Ok(Ok(Vec::new())),
    };
    let leases = match leases {
        Ok(leases) => leases.unwrap_or_default(),
        Err(_) => place.ticket.take().map(|ticket| house.farm.leave(ticket)).unwrap_or_default(),
    };
    place.ticket = None;
    Ok(Json(Polled { leases, revoked }))
}

/// A place in the queue. When the worker hangs up, this is dropped, and what was on the way goes to others.
struct Place {
    house: Arc<House>,
    ticket: Option<Ticket>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let leases = self.house.farm.leave(ticket);
        if !leases.is_empty() {
            let house = self.house.clone();
            tokio::spawn(async move {
                // Where this fails, the leases run out by themselves.
                if let Err(error) = house.farm.undeliver(&leases, now_ms()).await {
                    tracing::warn!(%error, "undelivered leases run out by themselves");
                }
            });
        }
    }
}

fn lease_id(text: &str) -> Result<LeaseId, Error> {
    text.parse().map_err(|_| Error::LeaseGone)
}

pub(super) async fn renew(
    worker: Worker,
    token: LeaseToken,
    State(house): State<Arc<House>>,
    Path(lease): Path<String>,
) -> Answer<Renewed> {
    let lease_ms = house.farm.renew(worker.0.address, &lease_id(&lease)?, &token.0, now_ms()).await?;
    Ok(Json(Renewed { lease_ms }))
}

pub(super) async fn finish(
    worker: Worker,
    token: LeaseToken,
    State(house): State<Arc<House>>,
    Path(lease): Path<String>,
    Json(mut outcome): Json<Outcome>,
) -> Answer<Finished> {
    let (address, lease) = (worker.0.address, lease_id(&lease)?);
    if signer(&Outcome::message(&lease, &outcome.result), &outcome.signature) != Ok(address) {
        return Err(Error::invalid(
            "wrong_signature",
            "the outcome's signature is not the worker's",
            "sign the outcome's message with the worker's key",
        ));
    }
    if let Handed::Failed(failure) = &mut outcome.result {
        let end = failure.message.floor_char_boundary(MESSAGE_BYTES_MAX);
        failure.message.truncate(end);
    }
    let taken = house.farm.finish(address, &lease, &token.0, outcome, now_ms()).await?;
    Ok(Json(Finished { taken }))
}

pub(super) async fn input(
    worker: Worker,
    token: LeaseToken,
    State(house): State<Arc<House>>,
    Path((lease, name)): Path<(String, String)>,
) -> Result<Response, Error> {
    let task = house.farm.open(worker.0.address, &lease_id(&lease)?, &token.0).await?;
    let named = source::inputs(&*house.store, &task).await?.ok_or(Error::LeaseGone)?;
    let (_, blob) = named
        .into_iter()
        .find(|(known, _)| *known == name)
        .ok_or_else(|| Error::not_found("input", "the task has no such input", "use the lease's own URLs"))?;
    let found = house.media.get(&task.stream, blob.sha256, GetOptions::default()).await?;
    let headers = [(header::CONTENT_TYPE, "video/mp4".to_owned()), (header::CONTENT_LENGTH, blob.bytes.to_string())];
    Ok((headers, Body::from_stream(media::pieces(found))).into_response())
}

pub(super) async fn output(
    worker: Worker,
    token: LeaseToken,
    State(house): State<Arc<House>>,
    Path((lease, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Error> {
    let lease = lease_id(&lease)?;
    let task = house.farm.open(worker.0.address, &lease, &token.0).await?;
    let hash =
        headers.get(SHA256_HEADER).and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<Sha256>().ok());
    let hash = hash.ok_or_else(|| {
        Error::invalid("no_hash", "the header Millrace-Sha256 is missing or malformed", "send 64 hexadecimal digits")
    })?;
    let body = body.into_data_stream();
    let taken = house.uploads.receive(&house.media, &task, &lease, &name, hash, body).await?;
    let unknown = || Error::not_found("output", "the task has no such output", "use the lease's own URLs");
    taken.map(|_| StatusCode::NO_CONTENT).ok_or_else(unknown)
}
