//! The wire between workers and the orchestrator: what is on it, and what becomes of it.

use bytes::Bytes;
use millrace_proto::{
    Address, LeaseId, Sha256,
    outcome::Outcome,
    task,
    worker::{Poll, SessionRequest},
};
use millrace_worker::agent::{Call, Input};
use rand::{Rng, rngs::StdRng};

use crate::scenario::WirePlan;

/// One run of one worker's program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Who {
    pub(crate) worker: usize,
    pub(crate) run: u32,
}

/// A request, as the worker protocol has it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) who: Who,
    pub(crate) call: Call,
    pub(crate) ask: Ask,
}

#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Challenge(Address),
    Open(SessionRequest),
    Poll { session: String, poll: Poll },
    Renew { held: Claim },
    Finish { held: Claim, outcome: Outcome },
    Fetch { held: Claim, inputs: Vec<task::Input> },
    Upload { held: Claim, files: Vec<(String, Sha256, Bytes)> },
}

impl Ask {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Challenge(_) => "challenge",
            Self::Open(_) => "open",
            Self::Poll { .. } => "poll",
            Self::Renew { .. } => "renew",
            Self::Finish { .. } => "finish",
            Self::Fetch { .. } => "fetch",
            Self::Upload { .. } => "upload",
        }
    }

    /// The agent waits for it without a limit of its own: its driver gives up when no byte comes.
    pub(crate) fn is_transfer(&self) -> bool {
        matches!(self, Self::Fetch { .. } | Self::Upload { .. })
    }
}

/// Who says to hold which lease.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) session: String,
    pub(crate) lease: LeaseId,
    pub(crate) token: String,
}

/// An answer on its way to a worker. Fetched bytes come beside what the agent is told.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) input: Input,
    pub(crate) bytes: Vec<Bytes>,
}

impl From<Input> for Answer {
    fn from(input: Input) -> Self {
        Self { input, bytes: Vec::new() }
    }
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives {
        after_ms: u64,
    },
    /// Nobody hears of it.
    Lost,
    /// The sender's connection breaks.
    Breaks {
        after_ms: u64,
    },
}

/// What becomes of a message that is sent at `now_ms`.
pub(crate) fn fate(plan: &WirePlan, cuts: &[(u64, u64)], calm: bool, now_ms: u64, r: &mut StdRng) -> Fate {
    if calm {
        return Fate::Arrives { after_ms: r.random_range(0..=plan.delay_ms_max) };
    }
    let late = r.random_bool(plan.late);
    let after_ms = r.random_range(0..=if late { plan.late_ms_max } else { plan.delay_ms_max });
    let cut = |&(from_ms, to_ms): &(u64, u64)| now_ms < to_ms && from_ms <= now_ms + after_ms;
    if cuts.iter().any(cut) || r.random_bool(plan.loss) {
        return if r.random_bool(0.5) { Fate::Lost } else { Fate::Breaks { after_ms } };
    }
    Fate::Arrives { after_ms }
}
