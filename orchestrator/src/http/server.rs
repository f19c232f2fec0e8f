//! The HTTP server's connections: how many there are at once, and how long a peer may take.
//!
//! axum's own server has no limit on either: a few thousand peers that say nothing, or read nothing, would take its
//! descriptors away from everyone else. HTTP/1.1 alone, since the time that a head may take is only bounded there;
//! a proxy in front speaks whatever it likes to the world.

use std::{future::poll_fn, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo, http::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_io_timeout::TimeoutWriter;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;
use tracing::{debug, trace, warn};

use crate::metrics::Metrics;

/// Pause after a failed accept, which is a lack of file descriptors: trying at once would only burn CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Largest head of a request, and most that is read or written at once.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// How many above the limit are told so at once; others are closed.
const REFUSALS_MAX: usize = 64;
/// How far what comes after the last answer is read: longest silence, time in all, and bytes, as of a large segment.
const LINGER_IDLE: Duration = Duration::from_secs(1);
const LINGER_MAX: Duration = Duration::from_secs(30);
const LINGER_BYTES_MAX: u64 = 64 << 20;
/// What a connection above the limit is told.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/json\r\nretry-after: 5\r\ncache-control: no-store\r\nconnection: close\r\n\
    content-length: 129\r\n\r\n\
    {\"code\":\"too_many_connections\",\"message\":\"the server has no connection left\",\"hint\":\"try again in a few seconds, and keep fewer\"}";

/// Limits of connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Connections at once; one more is answered with 503.
    pub connections_max: u32,
    /// Longest that the head of a request may take, and longest pause before the next one of a connection.
    pub head_ms_max: u64,
    /// Longest that a peer may read nothing of an answer.
    pub write_idle_ms_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { connections_max: 4_096, head_ms_max: 30_000, write_idle_ms_max: 30_000 }
    }
}

impl Config {
    /// Checks what the types do not; the error names the key.
    pub fn check(&self) -> Result<(), String> {
        let values = [
            ("connections_max", u64::from(self.connections_max)),
            ("head_ms_max", self.head_ms_max),
            ("write_idle_ms_max", self.write_idle_ms_max),
        ];
        match values.iter().find(|(_, value)| *value == 0) {
            Some((key, _)) => Err(format!("{key} is 0: use at least 1")),
            None => Ok(()),
        }
    }
}

/// Serves `router` until `stop`; returns once requests that are under way are answered.
pub async fn serve(listener: TcpListener, router: Router, config: Config, metrics: Metrics, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(config.connections_max as usize));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let tasks = TaskTracker::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!("http can't accept: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            metrics.http_refused.inc();
            if let Ok(hearing) = Arc::clone(&refusals).try_acquire_owned() {
                tasks.spawn(async move {
                    turn_away(stream).await;
                    drop(hearing);
                });
            }
            continue;
        };
        let (router, config, open, stop) =
            (router.clone(), config.clone(), metrics.http_connections.clone(), stop.clone());
        tasks.spawn(async move {
            trace!(%peer, "http connection");
            open.inc();
            if let Err(error) = connection(stream, peer, router, &config, stop).await {
                debug!(%peer, "http connection ended: {error}");
            }
            open.dec();
            drop(place);
        });
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// Says why.
async fn turn_away(mut stream: TcpStream) {
    let tell = async {
        stream.write_all(TOO_MANY).await?;
        stream.shutdown().await
    };
    if let Ok(Ok(())) = tokio::time::timeout(LINGER_IDLE, tell).await {
        let _ = tokio::time::timeout(LINGER_IDLE, linger(stream)).await;
    }
}

/// Reads until the peer has closed too. Closing with bytes unread, as of an upload that was refused before its end,
/// would reset the connection: the peer's next write would fail, and the answer be lost to it.
async fn linger(stream: impl AsyncRead + Unpin) {
    let mut stream = stream.take(LINGER_BYTES_MAX);
    let mut unheard = [0; 4_096];
    let hear = async { while let Ok(Ok(1..)) = tokio::time::timeout(LINGER_IDLE, stream.read(&mut unheard)).await {} };
    // Who goes on beyond that does not listen.
    let _ = tokio::time::timeout(LINGER_MAX, hear).await;
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    config: &Config,
    stop: CancellationToken,
) -> Result<(), hyper::Error> {
    // It only helps: small answers would wait for the peer's acknowledgement of the last.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(Duration::from_millis(config.write_idle_ms_max)));
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        // Who asks is known to handlers by address.
        request.extensions_mut().insert(ConnectInfo(peer));
        Box::pin(router.clone().oneshot(request))
    });
    let mut serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(config.head_ms_max))
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    if let Some(served) = stop.run_until_cancelled(poll_fn(|cx| serving.poll_without_shutdown(cx))).await {
        served?;
    } else {
        Pin::new(&mut serving).graceful_shutdown();
        poll_fn(|cx| serving.poll_without_shutdown(cx)).await?;
    }
    let mut stream = serving.into_parts().io.into_inner();
    if stream.shutdown().await.is_ok() {
        stop.run_until_cancelled(linger(stream)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::{http::StatusCode, routing::put};

    use super::*;

    #[test]
    fn the_refusal_is_one_whole_answer() {
        let text = std::str::from_utf8(TOO_MANY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{} bytes", body.len());
        let error: millrace_proto::api::Error = serde_json::from_str(body).unwrap();
        assert_eq!(error.code, "too_many_connections");
    }

    #[tokio::test]
    async fn an_upload_that_is_refused_before_its_end_hears_why() {
        const BYTES: usize = 4 << 20;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // The handler does not read the body.
        let router = Router::new().route("/", put(async || (StatusCode::CONFLICT, "it has ended")));
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, router, Config::default(), Metrics::default(), stop.clone()));
        let mut peer = TcpStream::connect(address).await.unwrap();
        let head = format!("PUT / HTTP/1.1\r\nhost: here\r\ncontent-length: {BYTES}\r\n\r\n");
        peer.write_all(head.as_bytes()).await.unwrap();
        // In parts, so that the answer is there, and the server could close, long before the end.
        for part in vec![7; BYTES].chunks(BYTES / 16) {
            peer.write_all(part).await.expect("the server reads on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut answer = String::new();
        peer.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 409 ") && answer.ends_with("it has ended"), "{answer}");
        stop.cancel();
        serving.await.unwrap();
    }
}
