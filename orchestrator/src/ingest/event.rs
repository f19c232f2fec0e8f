//! What every way in turns its bytes into.

use millrace_cmaf::{Sample, Track};
use tokio::sync::{mpsc, oneshot};

/// One step of a stream's ingest, in the order the source sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Tracks begin, or change: a new discontinuity. At least one is there.
    Tracks {
        /// The video track.
        video: Option<Track>,
        /// The audio track, AAC; its timescale is its sample rate.
        audio: Option<Track>,
    },
    /// One video sample, in decode order.
    Video(Sample),
    /// One audio sample, in order.
    Audio(Sample),
    /// The source said goodbye. A sender dropped without it means that the source was lost.
    End,
}

/// A publisher asks to push into a stream. Sent by a protocol server, answered by the orchestrator.
#[derive(Debug)]
pub struct Publish {
    /// The whole stream key as the publisher sent it.
    pub key: String,
    /// Who asks, for the log.
    pub peer: String,
    /// The answer: where to send events. The channel is bounded; a full one is back-pressure on the publisher.
    pub reply: oneshot::Sender<Result<mpsc::Sender<Event>, Refusal>>,
}

/// Why a publisher was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No stream has this key. Unknown streams and wrong keys get the same answer.
    #[error("no stream has this key: check the stream key")]
    WrongKey,
    /// Another publisher is live on it.
    #[error("another publisher is live on this key: stop it first")]
    Busy,
    /// The stream has ended.
    #[error("the stream has ended: create a new one")]
    Ended,
    /// The orchestrator can't take more now.
    #[error("the server can't take a stream now: try again in a minute")]
    Unavailable,
}
