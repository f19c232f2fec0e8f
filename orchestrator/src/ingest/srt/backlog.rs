//! Bytes that came and were not taken yet, up to a limit: UDP does not wait for who reads.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Where bytes go in. Dropped, no more come.
#[derive(Debug)]
pub(super) struct Inlet {
    bytes_max: u64,
    held: Arc<AtomicU64>,
    sender: mpsc::UnboundedSender<Bytes>,
}

/// Where they come out.
#[derive(Debug)]
pub(super) struct Outlet {
    held: Arc<AtomicU64>,
    receiver: mpsc::UnboundedReceiver<Bytes>,
}

/// A backlog of at most `bytes_max` bytes.
pub(super) fn backlog(bytes_max: u64) -> (Inlet, Outlet) {
    let held = Arc::<AtomicU64>::default();
    let (sender, receiver) = mpsc::unbounded_channel();
    (Inlet { bytes_max, held: held.clone(), sender }, Outlet { held, receiver })
}

impl Inlet {
    /// Takes the bytes in; not if they would be too many.
    #[must_use]
    pub(super) fn push(&self, bytes: Bytes) -> bool {
        let length = cost(&bytes);
        let held = self.held.fetch_add(length, SeqCst) + length;
        // Nobody at the other end needs them.
        held <= self.bytes_max && self.sender.send(bytes).map_or(true, |()| true)
    }
}

impl Outlet {
    /// The next bytes; nothing once all are out and no more come.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        let bytes = self.receiver.recv().await?;
        self.held.fetch_sub(cost(&bytes), SeqCst);
        Some(bytes)
    }
}

/// What a message takes in memory: itself, and what keeps it.
fn cost(bytes: &Bytes) -> u64 {
    const KEPT_BY: usize = 128;
    (bytes.len() + KEPT_BY) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_held_has_a_limit_and_what_was_taken_makes_room() {
        let (inlet, mut outlet) = backlog(3_000);
        let message = Bytes::from(vec![7; 1_316]);
        assert!(inlet.push(message.clone()) && inlet.push(message.clone()));
        assert_eq!(outlet.next().await, Some(message.clone()));
        assert!(inlet.push(message.clone()));
        assert!(!inlet.push(message.clone()));
        drop(inlet);
        // What came before the limit is all there.
        assert_eq!(outlet.next().await, Some(message.clone()));
        assert_eq!(outlet.next().await, Some(message));
        assert_eq!(outlet.next().await, None);
    }
}
