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
use millrace_proto::api::{CreateToken, Token};

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
        expires_ms: expires_s * 1_000,
        token: token.clone(),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// The key of an encrypted stream.
pub(super) async fn key(
    State(house): State<Arc<House>>,
    Path(id): Path<String>,
    request: Parts,
) -> Result<Response, Error> {
    let stream = streams::find(&house, &id).await?;
    if stream.profile.encryption.is_none() {
        return Err(Error::not_found("key", "the stream is not encrypted", "play it as it is"));
    }
    let token = in_query(&request).or_else(|| bearer(&request.headers)).ok_or(Refused::Missing)?;
    house.playback.check(&stream.id, token, now_ms())?;
    let key = house.playback.content_key(&stream.id);
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], key.to_vec()).into_response())
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
