//! Sessions: who a worker proved to be. Memory only: after a restart workers prove it again.

use std::{collections::HashMap, sync::Mutex};

use millrace_proto::{Address, Sha256, identity, offer::Offer, worker::SessionRequest};

/// How long a challenge is good, in milliseconds.
const CHALLENGE_MS: u64 = 60_000;
/// A session unheard for so long is forgotten, in milliseconds.
const SESSION_MS: u64 = 600_000;
/// Challenges and sessions kept at most; beyond, newcomers are turned away.
const KEPT_MAX: usize = 20_000;

/// An open session.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// Who it is.
    pub address: Address,
    /// What it can do.
    pub offer: Offer,
    seen_ms: u64,
}

/// Why no session was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too many at once.
    #[error("too many workers at once")]
    Full,
    /// The challenge is not one of ours, was used, or is too old.
    #[error("the challenge is unknown or too old")]
    Challenge,
    /// The signature is not the address's.
    #[error("the signature was not made by the address's key")]
    Signature,
}

/// All sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    challenges: Mutex<HashMap<String, u64>>,
    sessions: Mutex<HashMap<Sha256, Session>>,
}

impl Sessions {
    /// A text for `address` to sign, once.
    pub fn challenge(&self, address: Address, house: &str, now_ms: u64) -> Result<String, Refused> {
        let mut challenges = self.challenges.lock().expect("no panic while held");
        challenges.retain(|_, made_ms| now_ms.saturating_sub(*made_ms) < CHALLENGE_MS);
        if challenges.len() >= KEPT_MAX {
            return Err(Refused::Full);
        }
        let nonce = hex::encode(rand::random::<[u8; 16]>());
        let text = format!("Millrace worker {address} opens a session at {house}, nonce {nonce}");
        challenges.insert(text.clone(), now_ms);
        Ok(text)
    }

    /// Opens a session; returns its token.
    pub fn open(&self, request: SessionRequest, now_ms: u64) -> Result<String, Refused> {
        let made_ms = self.challenges.lock().expect("no panic while held").remove(&request.challenge);
        if made_ms.is_none_or(|made_ms| now_ms.saturating_sub(made_ms) >= CHALLENGE_MS)
            || !request.challenge.contains(&request.address.to_string())
        {
            return Err(Refused::Challenge);
        }
        if identity::signer(&request.challenge, &request.signature) != Ok(request.address) {
            return Err(Refused::Signature);
        }
        let mut sessions = self.sessions.lock().expect("no panic while held");
        sessions.retain(|_, session| now_ms.saturating_sub(session.seen_ms) < SESSION_MS);
        if sessions.len() >= KEPT_MAX {
            return Err(Refused::Full);
        }
        let token = hex::encode(rand::random::<[u8; 32]>());
        let session = Session { address: request.address, offer: request.offer, seen_ms: now_ms };
        sessions.insert(Sha256::of(token.as_bytes()), session);
        Ok(token)
    }

    /// The session behind a token. Looked up by the token's hash, so that timing tells nothing of others.
    pub fn find(&self, token: &str, now_ms: u64) -> Option<Session> {
        let mut sessions = self.sessions.lock().expect("no panic while held");
        let session = sessions.get_mut(&Sha256::of(token.as_bytes()))?;
        session.seen_ms = now_ms;
        Some(session.clone())
    }
}
