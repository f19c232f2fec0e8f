//! A server on a free port, and a desk that answers its publishers as a test says.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use millrace_orchestrator::ingest::{
    event::{Event, Publish, Refusal},
    rtmp::{self, Config, Counters},
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

/// Longest wait for anything; a passing test waits for none of it.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Desk {
    pub(crate) address: SocketAddr,
    pub(crate) counters: Arc<Counters>,
    publishers: mpsc::Receiver<Publish>,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
}

impl Desk {
    pub(crate) async fn open(config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counters = Arc::new(Counters::default());
        let (sender, publishers) = mpsc::channel(4);
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(rtmp::serve(listener, config, counters.clone(), sender, shutdown.clone()));
        Self { address, counters, publishers, shutdown, server }
    }

    /// Where to publish with `key`.
    pub(crate) fn url(&self, key: &str) -> String {
        format!("rtmp://{}/live/{key}", self.address)
    }

    async fn next(&mut self) -> Publish {
        timeout(PATIENCE, self.publishers.recv()).await.expect("no publisher came").expect("the server is gone")
    }

    /// Lets the next publisher in; gives its key and its events.
    pub(crate) async fn admit(&mut self, capacity: usize) -> (String, mpsc::Receiver<Event>) {
        let publish = self.next().await;
        let (sender, events) = mpsc::channel(capacity);
        publish.reply.send(Ok(sender)).expect("the publisher is gone");
        (publish.key, events)
    }

    /// Turns the next publisher away.
    pub(crate) async fn refuse(&mut self, refusal: Refusal) {
        self.next().await.reply.send(Err(refusal)).expect("the publisher is gone");
    }

    /// Shuts the server down and waits for its end.
    pub(crate) async fn close(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.server).await.expect("the server goes on").unwrap();
    }
}

/// All events until the sender is gone.
pub(crate) async fn collect(mut events: mpsc::Receiver<Event>) -> Vec<Event> {
    let mut collected = Vec::new();
    while let Some(event) = timeout(PATIENCE, events.recv()).await.expect("the events stopped") {
        collected.push(event);
    }
    collected
}
