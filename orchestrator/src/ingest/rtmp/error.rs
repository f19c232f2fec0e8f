//! Why a connection ended before its publisher said goodbye.

use crate::ingest::event::Refusal;

use super::flv::Unsupported;

/// Why a connection ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    /// The peer closed the connection without a goodbye.
    #[error("the peer closed the connection without saying goodbye")]
    Lost,
    /// It took longer than allowed.
    #[error("no {0} in time")]
    Timeout(&'static str),
    /// Broken bytes, or a passed limit.
    #[error("{0}")]
    Protocol(String),
    /// The orchestrator turned the publisher away.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// A command that isn't taken.
    #[error("refused: {0}")]
    Command(String),
    /// Media that isn't taken.
    #[error("refused: {0}")]
    Media(#[from] Unsupported),
    /// The receiver of the events is gone.
    #[error("the stream was closed by the server")]
    Closed,
}
