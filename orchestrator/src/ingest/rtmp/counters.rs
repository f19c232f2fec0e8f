//! What the RTMP server counts, for `/metrics`. Only ever added to, but for `connections_open`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::ingest::event::Refusal;

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that are open now.
    pub connections_open: AtomicU64,
    /// Connections that were taken.
    pub connections: AtomicU64,
    /// Connections closed at once: `connections_max` were open.
    pub connections_over_limit: AtomicU64,
    /// Publishers that may publish now.
    pub publishers_open: AtomicU64,
    /// Publishers that were let in.
    pub publishers: AtomicU64,
    /// Refused: no stream has the key.
    pub refused_wrong_key: AtomicU64,
    /// Refused: another publisher is live.
    pub refused_busy: AtomicU64,
    /// Refused: the stream has ended.
    pub refused_ended: AtomicU64,
    /// Refused: no answer in time, or the orchestrator can't take more.
    pub refused_unavailable: AtomicU64,
    /// Refused: a codec, an application or a command that isn't taken.
    pub refused_unsupported: AtomicU64,
    /// Connections closed for a broken handshake, chunk or command, or a passed limit.
    pub closed_protocol: AtomicU64,
    /// Connections closed because their time was up.
    pub closed_timeout: AtomicU64,
    /// Bytes read from all sockets.
    pub bytes_in: AtomicU64,
    /// Video samples passed on.
    pub video_samples: AtomicU64,
    /// Audio samples passed on.
    pub audio_samples: AtomicU64,
    /// Samples that were left out: before the first key frame or header, broken, or out of place.
    pub samples_dropped: AtomicU64,
}

impl Counters {
    pub(crate) fn refused(&self, refusal: Refusal) -> &AtomicU64 {
        match refusal {
            Refusal::WrongKey => &self.refused_wrong_key,
            Refusal::Busy => &self.refused_busy,
            Refusal::Ended => &self.refused_ended,
            Refusal::Unavailable => &self.refused_unavailable,
        }
    }
}

/// Counts up.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}

/// Counts one as open for as long as it lives.
#[derive(Debug)]
pub(crate) struct Open<'a>(&'a AtomicU64);

impl<'a> Open<'a> {
    pub(crate) fn new(counter: &'a AtomicU64) -> Self {
        counter.fetch_add(1, Relaxed);
        Self(counter)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
