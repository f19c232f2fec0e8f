//! The worker protocol: messages between a worker and the orchestrator, all sent by the worker over HTTP.
//!
//! | call | body | answer |
//! |---|---|---|
//! | `POST /v1/worker/challenge` | [`ChallengeRequest`] | [`Challenge`] |
//! | `POST /v1/worker/session` | [`SessionRequest`] | [`Session`] |
//! | `POST /v1/worker/poll` | [`Poll`] | [`Polled`], held up to `wait_ms` |
//! | `GET` an input's URL | | the bytes |
//! | `PUT` an output's URL | the bytes, header `Millrace-Sha256` | 204 |
//! | `POST /v1/worker/leases/{id}/renew` | | [`Renewed`] |
//! | `POST /v1/worker/leases/{id}/finish` | [`crate::outcome::Outcome`] | [`Finished`] |
//!
//! From `poll` on, `Authorization: Bearer` carries the session's token; calls on a lease also carry its token
//! in `Millrace-Lease`. Errors are [`crate::api::Error`].

use serde::{Deserialize, Serialize};

use crate::{Address, LeaseId, offer::Offer, task::Lease};

/// Header with a lease's token.
pub const LEASE_HEADER: &str = "millrace-lease";
/// Header with the hash of an uploaded output.
pub const SHA256_HEADER: &str = "millrace-sha256";

/// Asks for a text to sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChallengeRequest {
    /// Who asks.
    pub address: Address,
    /// The sender's [`crate::PROTOCOL_VERSION`].
    pub protocol: u32,
}

/// A text to sign; good once, for a short time, for the address that asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// The whole text. It names the orchestrator and the address, so that it can't be replayed elsewhere.
    pub text: String,
}

/// Opens a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionRequest {
    /// Who signs.
    pub address: Address,
    /// The challenge's text.
    pub challenge: String,
    /// Its EIP-191 signature.
    pub signature: String,
    /// What this worker can do.
    pub offer: Offer,
}

/// An open session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Bearer token for all later calls. A 401 means: make a new session.
    pub token: String,
}

/// Leases that a worker may hold for each slot that it offers: one that is worked on, one that is handed in, and one
/// whose inputs it fetches ahead.
pub const LEASES_A_SLOT_MAX: u32 = 3;

/// Asks for work, and waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// Names this running program, made at start: two programs with one key don't take each other's leases for
    /// lost. What a program that is gone held runs out by itself.
    pub instance: String,
    /// Leases wanted at most that are worked on at once.
    pub slots_free: u32,
    /// Leases wanted beyond these, to be fetched while others are worked on: given only of recordings, and only where
    /// more tasks wait than there are free slots. 0 for both is a sign of life alone.
    #[serde(default)]
    pub ahead_free: u32,
    /// Leases this program still works on or hands in. What the orchestrator thinks it holds beyond these was
    /// lost on the way, and is leased anew.
    pub held: Vec<LeaseId>,
    /// Models that are loaded just now, by name: tasks for them begin at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warm: Vec<String>,
    /// Answer after this long with nothing, rather than keep waiting.
    pub wait_ms: u64,
}

/// The answer to a poll.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Polled {
    /// New leases, at most `slots_free` and `ahead_free` together; the worker fetches the inputs of each at once.
    pub leases: Vec<Lease>,
    /// Leases in `held` that are no longer this worker's: stop work on them.
    pub revoked: Vec<LeaseId>,
}

/// The answer to a renewal. A lease that has ended answers with the error `lease_gone`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// It now ends this long from now.
    pub lease_ms: u64,
}

/// The answer to an outcome. Handing in the same outcome twice gets the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// False: the lease had ended before, the outcome is not used, and the worker forgets it.
    pub taken: bool,
}
