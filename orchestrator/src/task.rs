//! Tasks: planned from segments, leased to workers, judged. Pure; `farm.rs` and `verify.rs` drive it.

pub mod assign;
pub mod auto;
pub mod machine;
pub mod plan;
pub mod source;
pub mod window;

use millrace_proto::{
    Address, LeaseId, Sha256, StreamId, TaskId, offer::Capability, outcome::FailureKind, outcome::Outcome, task::Work,
};
use serde::{Deserialize, Serialize};

/// One unit of work on a segment, or on a window of segments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Made from stream, segment and kind.
    pub id: TaskId,
    /// Its stream; every commit names it.
    pub stream: StreamId,
    /// Its segment, or the first one of its window.
    pub seq: u64,
    /// A viewer waits for it.
    pub live: bool,
    /// Playing time of the segment or of the window; time limits follow from it.
    pub duration_ms: u64,
    /// Counts changes; a change is written only over the version it was made from.
    pub version: u64,
    /// What to compute.
    pub work: Work,
    /// The place in a chain of windows that it is for; absent for the work on a segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
    /// Only workers whose offers say that their whole sandbox holds may get it.
    #[serde(default)]
    pub sandboxed: bool,
    /// When it was planned, Unix time.
    pub created_ms: u64,
    /// How far it is.
    pub state: State,
    /// What went wrong before, oldest first.
    pub attempts: Vec<Attempt>,
}

/// A place in a chain of windows, see [`crate::store::reports::Chain`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What is looked for.
    pub kind: Capability,
    /// Which track.
    pub track: String,
    /// Which of its windows.
    pub number: u64,
}

/// How far a task is.
#[expect(clippy::large_enum_variant, reason = "one at a time, and written at once")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Ready to be leased, from `not_before_ms` on.
    Waiting {
        /// Unix time.
        not_before_ms: u64,
    },
    /// In workers' hands: one lease, or two when it is hedged.
    Leased {
        /// The open leases.
        leases: Vec<Held>,
    },
    /// An outcome is being checked.
    Checking {
        /// The lease that brought it.
        lease: Held,
        /// What was handed in.
        outcome: Outcome,
        /// Unix time.
        since_ms: u64,
    },
    /// Done; its renditions are in the segment, or its report is in the store.
    Accepted {
        /// Who did it.
        worker: Address,
        /// The lease, so that handing in twice gets the same answer.
        lease: LeaseId,
    },
    /// Given up.
    Failed {
        /// Why.
        reason: String,
    },
}

/// An open lease, as the orchestrator keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its name.
    pub id: LeaseId,
    /// Hash of its token.
    pub token_sha256: Sha256,
    /// Who holds it.
    pub worker: Address,
    /// Which run of the worker's program.
    pub instance: String,
    /// When it was given, Unix time.
    pub given_ms: u64,
    /// When it ends unless renewed, Unix time.
    pub expires_ms: u64,
    /// When renewals end, Unix time.
    pub work_ends_ms: u64,
}

/// One try that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Who tried.
    pub worker: Address,
    /// What went wrong.
    pub fault: Fault,
    /// In words.
    pub message: String,
    /// Unix time.
    pub at_ms: u64,
}

/// What went wrong with a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The worker said so.
    Reported(FailureKind),
    /// The worker was not heard in time.
    Expired,
    /// The worker was heard until the time for the work was over, and handed nothing in.
    Overdue,
    /// The outcome did not pass the check.
    Refused,
}

impl Fault {
    /// Whether the try speaks against the worker or the input, rather than against the network between.
    pub fn is_strike(self) -> bool {
        !matches!(self, Self::Expired | Self::Reported(FailureKind::Released | FailureKind::Transfer))
    }
}

/// So many tries that failed by the network's fault weigh as much as one that speaks against the worker.
const TRIES_A_STRIKE: u32 = 3;

impl Task {
    /// How many tries of this worker failed, by anyone's fault.
    pub fn tries_of(&self, worker: Address) -> u32 {
        let count = self.attempts.iter().filter(|attempt| attempt.worker == worker).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// How many tries speak against the worker or the input; of one worker, or of all.
    pub fn strikes(&self, worker: Option<Address>) -> u32 {
        let counts = |attempt: &&Attempt| attempt.fault.is_strike() && worker.is_none_or(|who| who == attempt.worker);
        u32::try_from(self.attempts.iter().filter(counts).count()).unwrap_or(u32::MAX)
    }

    /// How little this worker is to be trusted with this task: 0 for one that has not failed on it.
    pub fn rank_of(&self, worker: Address) -> u32 {
        let strikes = self.strikes(Some(worker));
        strikes + (self.tries_of(worker) - strikes) / TRIES_A_STRIKE
    }

    /// The open leases.
    pub fn leases(&self) -> &[Held] {
        match &self.state {
            State::Leased { leases } => leases,
            _ => &[],
        }
    }

    /// Whether a lease is open, or what came of it is being checked.
    pub fn needs(&self, lease: &LeaseId) -> bool {
        match &self.state {
            State::Leased { leases } => leases.iter().any(|held| held.id == *lease),
            State::Checking { lease: held, .. } => held.id == *lease,
            State::Waiting { .. } | State::Accepted { .. } | State::Failed { .. } => false,
        }
    }

    /// When the task wants attention by itself: a lease runs out. Unix time.
    pub fn due_ms(&self) -> Option<u64> {
        self.leases().iter().map(|lease| lease.expires_ms).min()
    }
}
