//! Playback tokens: made for apps, demanded for the key of an encrypted stream.
//!
//! A token comes as `Authorization: Bearer TOKEN`, or as `?token=TOKEN`. The latter stands behind every address in the
//! playlists that are asked for with it, so that players carry it to the key by themselves.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use millrace_proto::api::{CreateToken, Token};
use serde::Serialize;

use super::{
    auth::{Admin, bearer},
    error::{Error, Json},
    streams,
    told::Told,
};
use crate::{clock::now_ms, house::House, playback::Refused, store::record::Stream};

/// A month: who may watch for longer gets another one.
const TTL_S_MAX: u64 = 2_678_400;

pub(super) async fn create(
    _: Admin,
    State(house): State<Arc<House>>,
    told: Told,
    Path(id): Path<String>,
    Json(wish): Json<CreateToken>,
) -> Result<(StatusCode, Json<Token>), Error> {
    let stream = streams::find(&house, &id).await?;
    if !(1..=TTL_S_MAX).contains(&wish.ttl_s) {
        let message = format!("ttl_s is {}", wish.ttl_s);
        return Err(Error::invalid("bad_ttl", message, &format!("use 1 to {TTL_S_MAX} seconds")));
    }
    let expires_s = now_ms() / 1_000 + wish.ttl_s;
    let token = house.playback.token(&stream.id, expires_s);
    let playback = streams::playback(&told.http, &stream);
    let with = |address: String| format!("{address}?token={token}");
    let answer = Token {
        hls: with(playback.hls),
        vod: playback.vod.map(with),
        dash: playback.dash.map(with),
        expires_ms: expires_s * 1_000,
        token: token.clone(),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// The key of an encrypted stream, as it is.
pub(super) async fn key(
    State(house): State<Arc<House>>,
    Path(id): Path<String>,
    request: Parts,
) -> Result<Response, Error> {
    let stream = opened(&house, &id, &request).await?;
    let key = house.playback.content_key(&stream.id);
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], key.to_vec()).into_response())
}

/// The same key as browsers want it: a licence of the key system `org.w3.clearkey` (Encrypted Media Extensions, 9.1.4).
/// What is asked for need not be read, since a stream has one key.
pub(super) async fn license(
    State(house): State<Arc<House>>,
    Path(id): Path<String>,
    request: Parts,
) -> Result<Json<License>, Error> {
    let stream = opened(&house, &id, &request).await?;
    let (key, scheme) = (house.playback.content_key(&stream.id), house.playback.scheme(&stream.id));
    let key = LicenseKey { kty: "oct", kid: BASE64.encode(scheme.key_id), k: BASE64.encode(key) };
    Ok(Json(License { keys: [key], kind: "temporary" }))
}

/// A set of keys (RFC 7517).
#[derive(Serialize)]
pub(super) struct License {
    keys: [LicenseKey; 1],
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct LicenseKey {
    kty: &'static str,
    kid: String,
    k: String,
}

/// The encrypted stream whose key is asked for with a right token.
async fn opened(house: &House, id: &str, request: &Parts) -> Result<Stream, Error> {
    let stream = streams::find(house, id).await?;
    if stream.profile.encryption.is_none() {
        return Err(Error::not_found("key", "the stream is not encrypted", "play it as it is"));
    }
    let token = in_query(request).or_else(|| bearer(&request.headers)).ok_or(Refused::Missing)?;
    house.playback.check(&stream.id, token, now_ms())?;
    Ok(stream)
}

/// Of an encrypted stream, a right token is asked for.
pub(super) fn check(house: &House, stream: &Stream, request: &Parts) -> Result<(), Error> {
    if stream.profile.encryption.is_some() {
        let token = in_query(request).or_else(|| bearer(&request.headers)).ok_or(Refused::Missing)?;
        house.playback.check(&stream.id, token, now_ms())?;
    }
    Ok(())
}

/// What is to stand behind the addresses in a playlist: the token that it was asked for with, if that is a right one.
pub(super) fn carried(house: &House, stream: &Stream, request: &Parts) -> Result<String, Error> {
    match in_query(request) {
        Some(token) if stream.profile.encryption.is_some() => {
            house.playback.check(&stream.id, token, now_ms())?;
            Ok(format!("?token={token}"))
        }
        _ => Ok(String::new()),
    }
}

/// The token in a request's address.
pub(super) fn in_query(request: &Parts) -> Option<&str> {
    request.uri.query()?.split('&').find_map(|pair| pair.strip_prefix("token="))
}
