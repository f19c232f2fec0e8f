//! Why a connection ended before its publisher said goodbye.

use crate::ingest::event::Refusal;

use super::stream_id;

/// Why a connection ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// No packet of it came for too long, or its numbers can't be followed any more.
    #[error("the publisher was lost: {0}")]
    Lost(rsrt::SrtError),
    /// Nothing of the stream became a frame for too long.
    #[error("no media in time")]
    Timeout,
    /// More waits than may.
    #[error("more than {0} bytes wait for the store or the media child")]
    Overflow(u64),
    /// Its stream id names no key to publish to.
    #[error("refused: {0}")]
    StreamId(#[from] stream_id::Error),
    /// The orchestrator turned the publisher away.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// Too many wait for an answer.
    #[error("refused: too many connections wait for an answer")]
    Crowded,
    /// The media child can't go on with what came.
    #[error("{0}")]
    Child(#[from] millrace_media::Failure),
    /// The child ended, and the publisher has not.
    #[error("the stream can't be read any further")]
    Unreadable,
    /// The receiver of the events is gone.
    #[error("the stream was closed by the server")]
    Closed,
}
