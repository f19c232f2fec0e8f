//! The HTTP client: the worker protocol's calls, and the transfers of inputs and outputs.
//!
//! Owns URLs, headers, who gets which token, and how answers become [`Fault`]s. Decides nothing: the agent
//! does, also when to try again. Called by `run`.

mod fault;
mod transfer;

use std::{net::IpAddr, time::Duration};

use millrace_proto::{
    LeaseId, PROTOCOL_VERSION,
    identity::Secret,
    offer::Offer,
    outcome::Outcome,
    task::Lease,
    worker::{Challenge, ChallengeRequest, Finished, LEASE_HEADER, Poll, Polled, Renewed, Session, SessionRequest},
};
use reqwest::{Method, RequestBuilder, Response, Url, redirect};
use serde::{Serialize, de::DeserializeOwned};

use crate::{agent::Fault, sign};

const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// A transfer in which no byte comes for this long is taken for dead.
const STALL_WAIT: Duration = Duration::from_secs(20);
/// Answers are small; a lease with all its targets has a few KiB.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Speaks with one orchestrator.
#[derive(Debug, Clone)]
pub struct Client {
    base: Url,
    calls: reqwest::Client,
    transfers: reqwest::Client,
}

/// Why a text is no orchestrator's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no orchestrator's address: give one like https://millrace.example.org or http://127.0.0.1:8080")]
pub struct InvalidUrl(String);

/// Reads an orchestrator's address.
pub fn parse_url(text: &str) -> Result<Url, InvalidUrl> {
    let invalid = || InvalidUrl(text.chars().take(200).collect());
    let mut url = Url::parse(text.trim()).map_err(|_| invalid())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() || url.query().is_some() {
        return Err(invalid());
    }
    // `join` replaces what follows the last slash.
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// Whether others on the way could read what is said.
pub fn is_exposed(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    url.scheme() == "http" && !here
}

impl Client {
    /// A client for the orchestrator at `base`, see [`parse_url`]. Needs a TLS provider to be installed.
    pub fn new(base: Url) -> reqwest::Result<Self> {
        let builder = || {
            reqwest::Client::builder()
                .user_agent(concat!("millrace-worker/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_WAIT)
                .tcp_keepalive(Duration::from_secs(15))
                // A redirect could carry a lease's token to another host.
                .redirect(redirect::Policy::none())
        };
        Ok(Self { base, calls: builder().build()?, transfers: builder().read_timeout(STALL_WAIT).build()? })
    }

    /// Asks for a text to sign.
    pub async fn challenge(&self, secret: &Secret) -> Result<Challenge, Fault> {
        let body = ChallengeRequest { address: secret.address(), protocol: PROTOCOL_VERSION };
        self.call(self.post("v1/worker/challenge")?.json(&body)).await
    }

    /// Signs the challenge and opens a session.
    pub async fn open(&self, secret: &Secret, challenge: Challenge, offer: &Offer) -> Result<Session, Fault> {
        let signature = sign::challenge(secret, &challenge.text)?;
        let (address, offer) = (secret.address(), offer.clone());
        let body = SessionRequest { address, challenge: challenge.text, signature, offer };
        self.call(self.post("v1/worker/session")?.json(&body)).await
    }

    /// Asks for work. Takes up to the poll's `wait_ms`.
    pub async fn poll(&self, session: &str, poll: &Poll) -> Result<Polled, Fault> {
        self.call(self.post("v1/worker/poll")?.bearer_auth(session).json(poll)).await
    }

    /// Keeps a lease.
    pub async fn renew(&self, session: &str, lease: &Lease) -> Result<Renewed, Fault> {
        self.on_lease(session, lease, "renew", &()).await
    }

    /// Hands in an outcome.
    pub async fn finish(&self, session: &str, lease: &Lease, outcome: &Outcome) -> Result<Finished, Fault> {
        self.on_lease(session, lease, "finish", outcome).await
    }

    async fn on_lease<T: DeserializeOwned>(
        &self,
        session: &str,
        lease: &Lease,
        verb: &str,
        body: &impl Serialize,
    ) -> Result<T, Fault> {
        let path = lease_path(&lease.id, verb);
        let request = self.post(&path)?.bearer_auth(session).header(LEASE_HEADER, &lease.token);
        self.call(request.json(body)).await
    }

    fn post(&self, path: &str) -> Result<RequestBuilder, Fault> {
        Ok(self.calls.request(Method::POST, self.url(path)?))
    }

    /// An absolute URL, or one relative to the orchestrator's address.
    fn url(&self, text: &str) -> Result<Url, Fault> {
        let url = self.base.join(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        url.ok_or_else(|| Fault::Strange("the orchestrator sent a URL that is none".into()))
    }

    /// Tokens go to the orchestrator's own origin alone.
    fn is_home(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    async fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Fault> {
        let response = request.send().await.map_err(|error| fault::of_error(&error))?;
        if !response.status().is_success() {
            return Err(fault::of_response(response).await);
        }
        let url = response.url().clone();
        let body = read(response, ANSWER_BYTES_MAX).await?;
        serde_json::from_slice(&body)
            .map_err(|error| Fault::Strange(format!("{url} gave an answer that is not the protocol's: {error}")))
    }
}

fn lease_path(lease: &LeaseId, verb: &str) -> String {
    format!("v1/worker/leases/{lease}/{verb}")
}

/// Reads a body of at most `bytes_max`.
async fn read(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| fault::of_error(&error))? {
        if body.len() + chunk.len() > bytes_max {
            return Err(Fault::Strange(format!("{} gave an answer of more than {bytes_max} bytes", response.url())));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_joined() {
        for bad in ["", "example.org", "ftp://example.org", "http://", "file:///etc", "http://a/?x=1"] {
            assert!(parse_url(bad).is_err(), "{bad}");
        }
        for (url, exposed) in [
            ("http://a.test", true),
            ("http://10.0.0.1:80", true),
            ("https://a.test", false),
            ("http://127.0.0.1:8080", false),
            ("http://[::1]:8080", false),
            ("http://localhost", false),
        ] {
            assert_eq!(is_exposed(&parse_url(url).unwrap()), exposed, "{url}");
        }
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::new(parse_url("http://a.test:8080/pool").unwrap()).unwrap();
        assert_eq!(client.url("v1/worker/poll").unwrap().as_str(), "http://a.test:8080/pool/v1/worker/poll");
        assert_eq!(client.url("/v1/x").unwrap().as_str(), "http://a.test:8080/v1/x");
        assert!(client.url("file:///etc/passwd").is_err());
        for (url, home) in [
            ("http://a.test:8080/x", true),
            ("//a.test:8080/x", true),
            ("https://a.test:8080/x", false),
            ("http://a.test/x", false),
            ("http://b.test:8080/x", false),
            ("//evil.test/x", false),
            ("http://a.test:8080@evil.test/x", false),
        ] {
            assert_eq!(client.is_home(&client.url(url).unwrap()), home, "{url}");
        }
    }
}
