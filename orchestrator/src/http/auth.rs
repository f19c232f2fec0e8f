//! Who calls: the administrator by key, a worker by its session.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use millrace_proto::{Sha256, worker::LEASE_HEADER};
use subtle::ConstantTimeEq;

use super::error::Error;
use crate::{clock::now_ms, farm::sessions::Session, house::House};

/// Proof that the caller has the administrator's key.
#[derive(Debug)]
pub(super) struct Admin;

impl FromRequestParts<Arc<House>> for Admin {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, house: &Arc<House>) -> Result<Self, Error> {
        admin(house, &parts.headers)
    }
}

/// The administrator by the headers of a request.
pub(super) fn admin(house: &House, headers: &HeaderMap) -> Result<Admin, Error> {
    let key = bearer(headers).ok_or(Error::Unauthorized)?;
    // Hashes have one length, so that the comparison tells nothing of the key's.
    let (have, want) = (Sha256::of(key.as_bytes()).to_string(), Sha256::of(house.admin_key.as_bytes()).to_string());
    if bool::from(have.as_bytes().ct_eq(want.as_bytes())) { Ok(Admin) } else { Err(Error::Unauthorized) }
}

/// A worker with an open session.
#[derive(Debug)]
pub(super) struct Worker(pub Session);

impl FromRequestParts<Arc<House>> for Worker {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, house: &Arc<House>) -> Result<Self, Error> {
        let now_ms = now_ms();
        let session =
            bearer(&parts.headers).and_then(|token| house.sessions.find(token, now_ms)).ok_or(Error::NoSession)?;
        house.farm.heard(&session, now_ms);
        Ok(Self(session))
    }
}

/// The token of a lease.
#[derive(Debug)]
pub(super) struct LeaseToken(pub String);

impl<S: Send + Sync> FromRequestParts<S> for LeaseToken {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let token = parts.headers.get(LEASE_HEADER).and_then(|value| value.to_str().ok());
        token.map(|token| Self(token.to_owned())).ok_or(Error::LeaseGone)
    }
}

pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}
