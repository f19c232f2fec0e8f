//! Accepts connections, limits their number, and ends with all of them.

use std::{
    net::{SocketAddr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use millrace_media::Launcher;
use rsrt::{SrtError, SrtListener, SrtOptions, SrtSocket};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::ingest::{
    event::Publish,
    rtmp::counters::{Open, add},
};

use super::{Config, Counters, session};

/// What the kernel may hold for all connections, in bytes, as far as it allows: a burst of a key frame in 4K.
const KERNEL_BYTES: usize = 4 << 20;

/// A listening socket.
pub struct Listener(SrtListener);

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Listener").field(&self.0.local_addr()).finish()
    }
}

impl Listener {
    /// Listens at `at`, of IPv4. With a passphrase, of 10 to 80 bytes, publishers have to encrypt with it, and without
    /// one they may not.
    pub async fn bind(at: SocketAddrV4, passphrase: Option<String>, config: &Config) -> Result<Self, SrtError> {
        let mut options = SrtOptions::default().latency(Duration::from_millis(config.latency_ms.into()));
        options.recv_buffer_pkts = config.packets_max as usize;
        options.flow_window = config.packets_max;
        options.udp_recv_buffer = Some(KERNEL_BYTES);
        options.passphrase = passphrase.map(Into::into);
        SrtListener::bind(at, options).await.map(Self)
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local_addr().into()
    }
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) counters: Arc<Counters>,
    pub(super) launcher: Launcher,
    pub(super) publishers: mpsc::Sender<Publish>,
    /// One permit for each connection that waits for an answer.
    pub(super) answers: Semaphore,
}

/// Serves SRT on `listener` until `shutdown`, then closes all connections (their events stop without an `End`:
/// publishers may come back to a restarted server) and returns when the last is closed.
///
/// Every publisher is asked for on `publishers`; it is refused as `Unavailable` if nobody answers in
/// `config.answer_ms_max`.
pub async fn serve(
    mut listener: Listener,
    config: Config,
    counters: Arc<Counters>,
    launcher: Launcher,
    publishers: mpsc::Sender<Publish>,
    shutdown: CancellationToken,
) {
    let connections = Arc::new(Semaphore::new(config.connections_max as usize));
    let answers = Semaphore::new(config.answers_waiting_max as usize);
    let shared = Arc::new(Shared { config, counters, launcher, publishers, answers });
    let tasks = TaskTracker::new();
    let accept = async {
        loop {
            let (socket, peer) = match listener.0.accept().await {
                Ok(accepted) => accepted,
                Err(error) => return warn!("srt takes no connections any more: {error}"),
            };
            let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
                add(&shared.counters.connections_over_limit, 1);
                warn!(%peer, "srt connection closed: {} are open", shared.config.connections_max);
                continue;
            };
            let (shared, shutdown) = (Arc::clone(&shared), shutdown.clone());
            tasks.spawn(async move {
                shutdown.run_until_cancelled(one(socket, peer, &shared)).await;
                drop(permit);
            });
        }
    };
    shutdown.run_until_cancelled(accept).await;
    drop(listener);
    tasks.close();
    tasks.wait().await;
    info!("srt stopped");
}

async fn one(socket: SrtSocket, peer: SocketAddrV4, shared: &Shared) {
    let _open = Open::new(&shared.counters.connections_open);
    Box::pin(session::serve(socket, peer, shared)).await;
}
