//! Why a job came to nothing. What is done next depends on the kind alone.

use millrace_proto::outcome;
use serde::{Deserialize, Serialize};

use crate::card::Refusal;

/// Why a job came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Failure {
    /// What to do about it.
    pub kind: FailureKind,
    /// For people; never matched on. At most [`outcome::MESSAGE_BYTES_MAX`] bytes.
    pub message: String,
    /// The card that the job was to use is the reason: without it the same job may go well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<Refusal>,
}

/// The kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The input can't be read or decoded.
    BadInput,
    /// A limit of memory, CPU time, file size, open files or disk space was passed.
    Limit,
    /// The wall-time limit was passed.
    TimedOut,
    /// The child died, or said what it should not.
    Crashed,
    /// The input is sound, but this program can't do that work.
    Unsupported,
    /// The child could not be started: it is missing, or of another version.
    NotStarted,
}

impl From<FailureKind> for outcome::FailureKind {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::BadInput => Self::BadInput,
            FailureKind::Limit => Self::Limit,
            FailureKind::TimedOut => Self::TimedOut,
            FailureKind::Crashed => Self::Crashed,
            // To the orchestrator it is one: this machine can't do the work.
            FailureKind::Unsupported | FailureKind::NotStarted => Self::Unsupported,
        }
    }
}

impl From<Failure> for outcome::Failure {
    fn from(failure: Failure) -> Self {
        Self { kind: failure.kind.into(), message: failure.message }
    }
}

impl Failure {
    /// Makes a failure; an over-long message is cut.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(outcome::MESSAGE_BYTES_MAX));
        Self { kind, message, card: None }
    }

    /// The same, with a card as its reason.
    #[must_use]
    pub fn of_card(self, refusal: Refusal) -> Self {
        Self { card: Some(refusal), ..self }
    }

    /// Adds the child's last words.
    pub(crate) fn with_log(self, log: &str) -> Self {
        let log = without_places(log.trim());
        let Self { kind, message, card } = self;
        let message = if log.is_empty() { message } else { format!("{message}; its log ends: {log}") };
        Self { card, ..Self::new(kind, without_hosts(&message)) }
    }
}

/// FFmpeg says where in memory it was, as in `[mov @ 0x55fd8cfd79c0]`: of no use to anyone, and another each time.
fn without_places(log: &str) -> String {
    let mut parts = log.split(" @ 0x");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |told, part| told + part.trim_start_matches(|digit: char| digit.is_ascii_hexdigit()))
}

/// ONNX Runtime says on which machine a card failed, as in `; hostname=studio-4 ;`: that is nobody's business elsewhere.
fn without_hosts(message: &str) -> String {
    let mut parts = message.split("hostname=");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |told, part| {
        told + "hostname=..." + part.trim_start_matches(|letter: char| !letter.is_whitespace())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_place_in_memory_is_told() {
        let failure = Failure::new(FailureKind::BadInput, "no").with_log("[mov @ 0x55fd8cfd79c0] a | [aac @ 0x1] b\n");
        assert_eq!(failure.message, "no; its log ends: [mov] a | [aac] b");
        assert_eq!(without_places("@ 0x is kept"), "@ 0x is kept");
    }

    #[test]
    fn no_machine_is_named() {
        let failure =
            Failure::new(FailureKind::Unsupported, "GPU=-1 ; hostname=studio-4 ; file=a").of_card(Refusal::Lost);
        let told = failure.clone().with_log("hostname=studio-4");
        assert_eq!(told.message, "GPU=-1 ; hostname=... ; file=a; its log ends: hostname=...");
        assert_eq!(told.card, failure.card);
        assert_eq!(failure.with_log("").message, "GPU=-1 ; hostname=... ; file=a");
    }

    #[test]
    fn messages_are_cut_between_characters() {
        let failure = Failure::new(FailureKind::Crashed, "é".repeat(2_000)).with_log("more");
        assert!(failure.message.len() <= outcome::MESSAGE_BYTES_MAX);
        assert!(failure.message.starts_with("éé"));
    }
}
