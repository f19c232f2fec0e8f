//! What the SRT server counts, for `/metrics`. Only ever added to, but for `connections_open`.

use std::sync::atomic::AtomicU64;

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that are open now.
    pub connections_open: AtomicU64,
    /// Connections closed at once: `connections_max` were open, or `answers_waiting_max` waited.
    pub connections_over_limit: AtomicU64,
    /// Publishers that were turned away: by their stream id, or by the orchestrator.
    pub refused: AtomicU64,
    /// Publishers that were cut off because more than `buffer_bytes_max` waited.
    pub overflows: AtomicU64,
    /// Bytes of media that came.
    pub bytes_in: AtomicU64,
    /// Packets that never came, also not when they were asked for again.
    pub packets_lost: AtomicU64,
}
