//! How HTTP answers and their absence become faults. The only place in the worker that knows status codes.

use std::error::Error as _;

use millrace_proto::api;
use reqwest::{Response, StatusCode, header::RETRY_AFTER};

use super::read;
use crate::agent::Fault;

const ERROR_BYTES_MAX: usize = 64 << 10;
/// Longest text of an orchestrator that is shown to a person.
const TEXT_CHARS_MAX: usize = 500;

pub(super) fn of_error(error: &reqwest::Error) -> Fault {
    if error.is_builder() {
        return Fault::Strange(format!("the orchestrator sent what can't be asked for: {error}"));
    }
    // reqwest's own text says which URL, its sources say what happened.
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    Fault::Away { message, retry_after_ms: None }
}

/// What an orchestrator's answer that is not 2xx means.
pub(super) async fn of_response(response: Response) -> Fault {
    let (status, url) = (response.status(), response.url().clone());
    let retry_after_ms = retry_after_ms(&response);
    let error = read(response, ERROR_BYTES_MAX).await.ok().and_then(|body| serde_json::from_slice(&body).ok());
    if passing(status) {
        let message = match error.map(clean) {
            Some(error) => format!("{} ({})", error.message, error.code),
            None => format!("{url} answered {status}"),
        };
        return Fault::Away { message, retry_after_ms };
    }
    match error.map(clean) {
        // Some part of the way ended the upload early; this end is not at fault.
        Some(error) if error.code == "broken_off" => Fault::Away { message: error.message, retry_after_ms },
        Some(error) if error.code == "lease_gone" => Fault::Gone(error),
        Some(error) if status == StatusCode::UNAUTHORIZED => Fault::Unauthorized(error),
        Some(error) => Fault::Refused(error),
        None => Fault::Strange(format!("{url} answered {status}, not as an orchestrator does: check the address")),
    }
}

/// What the answer of somebody else's storage means.
pub(super) fn of_storage(response: &Response) -> Fault {
    let (status, host) = (response.status(), response.url().host_str().unwrap_or_default());
    let message = format!("{host} answered {status}");
    if passing(status) {
        return Fault::Away { message, retry_after_ms: retry_after_ms(response) };
    }
    let hint = "the orchestrator gave this URL: tell its operator".into();
    Fault::Refused(api::Error { code: "storage_refused".into(), message, hint })
}

fn passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

fn retry_after_ms(response: &Response) -> Option<u64> {
    let seconds: u64 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(seconds.saturating_mul(1_000))
}

/// Texts of strangers end up on a terminal: no control characters, no novels.
fn clean(error: api::Error) -> api::Error {
    let clean = |text: String| text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect();
    api::Error { code: clean(error.code), message: clean(error.message), hint: clean(error.hint) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &str) -> Response {
        axum::http::Response::builder().status(status).header(RETRY_AFTER, "3").body(body.to_owned()).unwrap().into()
    }

    #[tokio::test]
    async fn answers_are_told_apart() {
        let body = |code: &str| format!(r#"{{"code":"{code}","message":"m\u001b[2J","hint":"h"}}"#);
        let gone = of_response(response(409, &body("lease_gone"))).await;
        assert!(matches!(gone, Fault::Gone(error) if error.message == "m[2J"));
        assert!(matches!(of_response(response(400, &body("broken_off"))).await, Fault::Away { .. }));
        assert!(matches!(of_response(response(401, &body("session_unknown"))).await, Fault::Unauthorized(_)));
        assert!(matches!(of_response(response(400, &body("bad_body"))).await, Fault::Refused(_)));
        assert!(matches!(of_response(response(404, "<html>")).await, Fault::Strange(_)));
        assert!(matches!(of_response(response(401, "<html>")).await, Fault::Strange(_)));
        for status in [408, 429, 500, 502, 503] {
            let fault = of_response(response(status, "")).await;
            assert!(matches!(fault, Fault::Away { retry_after_ms: Some(3_000), .. }), "{status}: {fault:?}");
        }
    }

    #[test]
    fn storage_can_not_end_a_session() {
        for status in [401, 403, 404, 410] {
            assert!(matches!(of_storage(&response(status, "")), Fault::Refused(_)), "{status}");
        }
        assert!(matches!(of_storage(&response(503, "")), Fault::Away { .. }));
    }
}
