//! Why nothing was heard.

/// Why nothing was heard.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What to do about it.
    pub kind: ErrorKind,
    /// For people.
    pub message: String,
}

/// The kinds of error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A model or the library can't be loaded.
    Model,
    /// A model was loaded and fails at its work.
    Broken,
    /// It was asked for what the model does not do.
    Unsupported,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}
