//! Why nothing was heard or seen.

/// Why nothing was heard or seen.
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
    /// The graphics card, or what it takes, can't be had; the same may go well on the processor.
    Card,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// ONNX Runtime could not run a model.
    pub(crate) fn broken(task: &str, error: &ort::Error) -> Self {
        Self::new(ErrorKind::Broken, format!("the model for {task} fails: {error}"))
    }

    /// A model answers something else than its layout says.
    pub(crate) fn form(task: &str, wanted: &str) -> Self {
        Self::new(ErrorKind::Model, format!("the model for {task} answers something else than {wanted}"))
    }
}
