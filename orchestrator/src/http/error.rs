//! Errors as answers: the one place that knows status codes. Every one is `{code, message, hint}`.

use axum::{
    extract::{self, FromRequest, FromRequestParts, Request, rejection::JsonRejection},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use millrace_proto::api;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    assets::{movie, stills},
    farm,
    farm::sessions,
    ingest::event::Refusal,
    media,
    playback::Refused,
    store,
};

/// Everything that can be answered instead of what was asked for.
#[derive(Debug)]
pub(super) enum Error {
    /// A value is wrong; what and how to mend it.
    Invalid { code: &'static str, message: String, hint: String },
    /// No such thing.
    NotFound { code: String, message: String, hint: String },
    /// The administrator's key is missing or wrong.
    Unauthorized,
    /// The worker's session is missing or over.
    NoSession,
    /// The stream was kept as long as its profile says.
    Expired,
    /// A playback token is missing, wrong or over.
    Token(Refused),
    /// The thing is not in a state for this.
    Conflict { code: &'static str, message: String, hint: String },
    /// The lease has ended.
    LeaseGone,
    /// A limit was passed.
    TooLarge(String),
    /// A range starts behind the end; how many bytes there are.
    BeyondEnd(u64),
    /// The method is none of this address.
    WrongMethod,
    /// What is asked for takes longer to make than one waits.
    BeingMade,
    /// Too many at once.
    Busy(String),
    /// No space left.
    StorageFull,
    /// A model that this server needs for it is not there, or not whole; which, and the command that gets it.
    NoModel(String),
    /// Something of ours failed; the log says what.
    Unavailable(String),
}

impl Error {
    pub(super) fn invalid(code: &'static str, message: impl Into<String>, hint: &str) -> Self {
        Self::Invalid { code, message: message.into(), hint: hint.into() }
    }

    pub(super) fn not_found(noun: &str, message: &str, hint: &str) -> Self {
        Self::NotFound { code: format!("unknown_{noun}"), message: message.into(), hint: hint.into() }
    }

    pub(super) fn conflict(code: &'static str, message: impl Into<String>, hint: &str) -> Self {
        Self::Conflict { code, message: message.into(), hint: hint.into() }
    }

    pub(super) fn no_stream() -> Self {
        Self::not_found("stream", "no stream has this id", "list the streams with GET /v1/streams")
    }

    fn parts(self) -> (StatusCode, String, String, String) {
        let say = |status, code: &str, message: &str, hint: &str| {
            (status, code.to_owned(), message.to_owned(), hint.to_owned())
        };
        match self {
            Self::Invalid { code, message, hint } => (StatusCode::BAD_REQUEST, code.into(), message, hint),
            Self::NotFound { code, message, hint } => (StatusCode::NOT_FOUND, code, message, hint),
            Self::Conflict { code, message, hint } => (StatusCode::CONFLICT, code.into(), message, hint),
            Self::Unauthorized => say(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "the administrator's key is missing or wrong",
                "send 'Authorization: Bearer KEY'; the key is in the file admin.key of the data folder",
            ),
            Self::NoSession => say(
                StatusCode::UNAUTHORIZED,
                "no_session",
                "there is no such worker session",
                "open a new one with POST /v1/worker/challenge and /v1/worker/session",
            ),
            Self::Expired => say(
                StatusCode::GONE,
                "stream_expired",
                "the stream was kept as long as its profile says, and is gone",
                "its clips are still there; retention_s of a profile says how long a stream is kept",
            ),
            Self::Token(refused) => {
                let (status, code) = match refused {
                    Refused::Missing => (StatusCode::UNAUTHORIZED, "token_missing"),
                    Refused::Wrong => (StatusCode::FORBIDDEN, "token_wrong"),
                    Refused::Expired => (StatusCode::FORBIDDEN, "token_expired"),
                };
                let hint = "get one with POST /v1/streams/ID/tokens and send it as '?token=', or as a bearer token";
                say(status, code, &refused.to_string(), hint)
            }
            Self::LeaseGone => {
                say(StatusCode::GONE, "lease_gone", "the lease has ended", "forget it and poll for new work")
            }
            Self::TooLarge(message) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too_large".into(), message, "send less at once".into())
            }
            Self::BeyondEnd(size) => (
                StatusCode::RANGE_NOT_SATISFIABLE,
                "beyond_end".into(),
                format!("the range starts behind the end: there are {size} bytes"),
                "ask for bytes that there are, or without Range".into(),
            ),
            Self::WrongMethod => say(
                StatusCode::METHOD_NOT_ALLOWED,
                "wrong_method",
                "this address does not take this method",
                "see the header Allow for those that it takes",
            ),
            Self::BeingMade => say(
                StatusCode::SERVICE_UNAVAILABLE,
                "being_made",
                "it is being made",
                "ask again after the seconds that the header Retry-After says",
            ),
            Self::Busy(message) => {
                (StatusCode::TOO_MANY_REQUESTS, "busy".into(), message, "try again in a minute".into())
            }
            Self::StorageFull => say(
                StatusCode::INSUFFICIENT_STORAGE,
                "storage_full",
                "no space is left to store this",
                "free disk space on the server and send it again: nothing stored before is lost",
            ),
            Self::NoModel(message) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "no_model".into(),
                message,
                "run 'millrace-worker models fetch' as the server's user, and send it again".into(),
            ),
            Self::Unavailable(message) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable".into(),
                message,
                "try again in a few seconds; the server's log says more".into(),
            ),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let beyond = if let Self::BeyondEnd(size) = self { Some(size) } else { None };
        let later = matches!(self, Self::BeingMade);
        let (status, code, message, hint) = self.parts();
        let mut response = (status, axum::Json(api::Error { code, message, hint })).into_response();
        // What is not there now may be there in a second: a CDN must ask again.
        response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
        if let Some(size) = beyond {
            let range = header::HeaderValue::try_from(format!("bytes */{size}")).expect("digits are header text");
            response.headers_mut().insert(header::CONTENT_RANGE, range);
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        if later {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
        }
        response
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        tracing::warn!(%error, "the store failed");
        Self::Unavailable("the store does not answer".into())
    }
}

impl From<media::Error> for Error {
    fn from(error: media::Error) -> Self {
        match error.kind {
            media::Kind::Missing => Self::not_found("media", "there is no such media", "look it up in the playlist"),
            media::Kind::Full => Self::StorageFull,
            media::Kind::Mismatch => Self::invalid(
                "wrong_hash",
                error.kind.to_string(),
                "send the bytes that the header Millrace-Sha256 announces",
            ),
            media::Kind::TooLarge(_) => Self::TooLarge(error.kind.to_string()),
            media::Kind::BrokenOff => Self::invalid("broken_off", error.kind.to_string(), "send it again"),
            media::Kind::Failed => {
                tracing::warn!(error = ?error, "the media store failed");
                Self::Unavailable("the media store does not answer".into())
            }
        }
    }
}

impl From<movie::Error> for Error {
    fn from(error: movie::Error) -> Self {
        match error {
            movie::Error::Media(error) => error.into(),
            movie::Error::Cmaf(millrace_cmaf::Error::Empty) => {
                Self::not_found("movie", "nothing of it was published", "look at progress of the stream")
            }
            movie::Error::Cmaf(error) => {
                Self::conflict("no_movie", format!("it can't be one file: {error}"), "play it by its playlists")
            }
        }
    }
}

impl From<stills::Error> for Error {
    fn from(error: stills::Error) -> Self {
        match error {
            stills::Error::Store(error) => error.into(),
            stills::Error::Media(error) => error.into(),
            stills::Error::NoPicture => {
                Self::not_found("picture", "nothing that is published has a picture", "look at progress of the stream")
            }
            stills::Error::Scratch(_) | stills::Error::Child(_) => {
                tracing::warn!(%error, "pictures can't be made");
                Self::Unavailable("the pictures can't be made now".into())
            }
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::WrongKey => {
                Self::not_found("stream", &refusal.to_string(), "a stream's key is told when it is made")
            }
            Refusal::Busy => Self::conflict("publisher_live", "another publisher is live on it", "stop it first"),
            Refusal::Ended => Self::conflict("stream_ended", "the stream has ended", "create a new one"),
            Refusal::Unavailable => Self::Unavailable(refusal.to_string()),
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::Token(refused)
    }
}

impl From<farm::Refused> for Error {
    fn from(refused: farm::Refused) -> Self {
        match refused {
            farm::Refused::Gone => Self::LeaseGone,
            farm::Refused::Store(error) => error.into(),
        }
    }
}

impl From<sessions::Refused> for Error {
    fn from(refused: sessions::Refused) -> Self {
        match refused {
            sessions::Refused::Full => Self::Busy(refused.to_string()),
            sessions::Refused::Challenge => {
                Self::invalid("wrong_challenge", refused.to_string(), "ask for a new one and sign it within a minute")
            }
            sessions::Refused::Signature => {
                Self::invalid("wrong_signature", refused.to_string(), "sign the challenge's text as EIP-191 says")
            }
        }
    }
}

/// JSON in and out, with our form of error where it can't be read.
#[derive(Debug)]
pub(super) struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(JsonRejection::MissingJsonContentType(_)) => Err(Error::invalid(
                "not_json",
                "the body is not marked as JSON",
                "send the header 'Content-Type: application/json'",
            )),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Error::TooLarge("the JSON body is too large".into()))
            }
            Err(rejection) => {
                Err(Error::invalid("bad_json", rejection.body_text(), "compare the body with README.md's examples"))
            }
        }
    }
}

/// What stands behind an address's `?`, with our form of error where it can't be read.
#[derive(Debug)]
pub(super) struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => {
                let hint = "a page's 'next' is the 'after' of the page behind it; the first page needs none";
                Err(Error::invalid("bad_filter", rejection.body_text(), hint))
            }
        }
    }
}
