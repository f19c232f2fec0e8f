//! Outcomes: what a worker hands in under a lease, signed with its key.

use serde::{Deserialize, Serialize};

use crate::{LeaseId, task::Blob};

/// What a worker hands in under a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What came of the work.
    pub result: Result,
    /// The worker's signature over [`Outcome::message`], so that it can't deny what it delivered.
    pub signature: String,
}

/// What came of the work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Result {
    /// All that was asked for was made and uploaded.
    Done(Done),
    /// Nothing usable came out.
    Failed(Failure),
}

/// All that was asked for was made and uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// One for each target of a transcode, in its order.
    #[serde(default)]
    pub renditions: Vec<Rendition>,
    /// What came of a task that makes no renditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// Frames that the decoder lost and that repeat their predecessor, so that the count stays right.
    #[serde(default)]
    pub frames_concealed: u32,
    /// Wall time of the media child.
    pub work_ms: u64,
}

/// What was found in a window, as JSON, and what found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The output [`crate::task::REPORT`].
    pub blob: Blob,
    /// The model's name in the catalogue.
    pub model: String,
    /// Of its weights.
    pub version: String,
}

/// One rendition of one segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendition {
    /// The rung's name.
    pub name: String,
    /// CMAF header.
    pub init: Blob,
    /// CMAF media segment.
    pub segment: Blob,
    /// RFC 6381 codec string, for `CODECS` in playlists.
    pub codec: String,
    /// Frames in the segment.
    pub frames: u32,
}

/// Why nothing usable came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What to do about it.
    pub kind: FailureKind,
    /// For people; never matched on. At most [`MESSAGE_BYTES_MAX`] are kept.
    pub message: String,
}

/// Longest failure message kept, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 2_000;

/// The kinds of failure; what is done next depends on the kind alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The input can't be decoded. Checked before it is believed.
    BadInput,
    /// A limit of memory, CPU time, file size or descriptors was passed.
    Limit,
    /// The wall-time limit was passed.
    TimedOut,
    /// The media child died.
    Crashed,
    /// This machine can't do this work.
    Unsupported,
    /// The input or output could not be moved.
    Transfer,
    /// The worker is going away and gives the task back undone.
    Released,
}

impl Outcome {
    /// The text that the worker signs: the lease and every hash, one a line.
    pub fn message(lease: &LeaseId, result: &Result) -> String {
        use std::fmt::Write;
        let mut text = format!("millrace outcome 1\n{lease}");
        match result {
            Result::Done(done) => {
                for rendition in &done.renditions {
                    let (init, segment) = (rendition.init.sha256, rendition.segment.sha256);
                    let _ = write!(text, "\n{} {init} {segment}", rendition.name);
                }
                if let Some(Report { blob, model, version }) = &done.report {
                    let _ = write!(text, "\nreport {} {model} {version}", blob.sha256);
                }
            }
            Result::Failed(failure) => {
                let _ = write!(text, "\nfailed {:?}", failure.kind);
            }
        }
        text
    }
}
