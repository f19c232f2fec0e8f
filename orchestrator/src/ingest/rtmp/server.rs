//! Accepts connections, limits their number, and ends with all of them.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::ingest::event::Publish;

use super::{
    Config, Counters, Tls, conn,
    counters::{Open, add},
    socket::Socket,
};

/// Pause after a failed accept, which is a lack of file descriptors: trying at once would only burn CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all connections share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) counters: Arc<Counters>,
    pub(super) publishers: mpsc::Sender<Publish>,
    /// One permit for each refused publisher that waits.
    pub(super) refusals: Semaphore,
    /// All publishers' messages are read at multiples of a time from here: then one waking serves them all.
    pub(super) begun: Instant,
}

/// Serves RTMP on `listener` until `shutdown`, then closes all connections (their events stop without an `End`:
/// publishers may come back to a restarted server) and returns when the last is closed.
///
/// Every publisher is asked for on `publishers`; it is refused as `Unavailable` if nobody answers in
/// `config.answer_ms_max`.
pub async fn serve(
    listener: TcpListener,
    config: Config,
    counters: Arc<Counters>,
    publishers: mpsc::Sender<Publish>,
    shutdown: CancellationToken,
) {
    accept(listener, None, config, counters, publishers, shutdown).await;
}

/// Serves RTMPS as [`serve`] does RTMP; the limits on connections count for themselves.
pub async fn serve_tls(
    listener: TcpListener,
    tls: Tls,
    config: Config,
    counters: Arc<Counters>,
    publishers: mpsc::Sender<Publish>,
    shutdown: CancellationToken,
) {
    accept(listener, Some(Arc::new(tls)), config, counters, publishers, shutdown).await;
}

async fn accept(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    config: Config,
    counters: Arc<Counters>,
    publishers: mpsc::Sender<Publish>,
    shutdown: CancellationToken,
) {
    let connections = Arc::new(Semaphore::new(config.connections_max as usize));
    let refusals = Semaphore::new(config.refusals_waiting_max as usize);
    let shared = Arc::new(Shared { config, counters, publishers, refusals, begun: Instant::now() });
    let tasks = TaskTracker::new();
    let serve = async {
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!("rtmp can't accept: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
                add(&shared.counters.connections_over_limit, 1);
                warn!(%peer, "rtmp connection closed: {} are open", shared.config.connections_max);
                continue;
            };
            add(&shared.counters.connections, 1);
            let served = until(shutdown.clone(), one(stream, peer, tls.clone(), Arc::clone(&shared)));
            tasks.spawn(async move {
                served.await;
                drop(permit);
            });
        }
    };
    until(shutdown.clone(), serve).await;
    drop(listener);
    tasks.close();
    tasks.wait().await;
    info!("rtmp stopped");
}

async fn until(shutdown: CancellationToken, future: impl Future<Output = ()>) {
    shutdown.run_until_cancelled(future).await;
}

async fn one(stream: TcpStream, peer: SocketAddr, tls: Option<Arc<Tls>>, shared: Arc<Shared>) {
    let _open = Open::new(&shared.counters.connections_open);
    let idle = Duration::from_secs(shared.config.keepalive_s.into());
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval((idle / 5).max(Duration::from_secs(1)));
    let socket = SockRef::from(&stream);
    // Both only help: without them a dead peer is found by the time limits.
    if let Err(error) = socket.set_tcp_keepalive(&keepalive).and_then(|()| stream.set_nodelay(true)) {
        warn!(%peer, "rtmp socket options: {error}");
    }
    let stream = Socket::Watched(stream);
    let Some(tls) = tls else { return Box::pin(conn::serve(stream, peer, shared.clone())).await };
    let limit = Duration::from_millis(shared.config.handshake_ms_max.into());
    match timeout(limit, tls.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => Box::pin(conn::serve(stream, peer, shared.clone())).await,
        Ok(Err(error)) => {
            add(&shared.counters.closed_protocol, 1);
            warn!(%peer, "rtmps connection ended: {error}");
        }
        Err(_) => {
            add(&shared.counters.closed_timeout, 1);
            warn!(%peer, "rtmps connection ended: no TLS handshake came in time");
        }
    }
}
