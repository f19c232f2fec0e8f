//! Why a model can't be had. Messages say what to do.

use std::{io, path::Path};

/// Why a model can't be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What to do about it.
    pub kind: ErrorKind,
    /// For people; never matched on.
    pub message: String,
}

/// The kinds of error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A catalogue can't be read or says what can't be.
    Catalog,
    /// No catalogue has a model of that name.
    Unknown,
    /// It was not fetched.
    Missing,
    /// What is kept, or what came, is not what the catalogue says.
    Damaged,
    /// It did not come: no network, no such package, no tool to fetch it with.
    Unreachable,
    /// The cache can't be read or written.
    Cache,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn cache(what: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(ErrorKind::Cache, format!("can't {what} {}: {error}", path.display()))
    }
}
