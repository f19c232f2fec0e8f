//! What goes into the agent and what comes out: the whole of its contact with the world.
//!
//! Whoever drives the agent performs every [`Output`] and feeds back the [`Input`] with the same [`Call`]. An
//! answer may come late, twice, never, or to a call that was aborted: the agent takes the first answer to a
//! call that it still waits for, and ignores the rest.

use std::sync::Arc;

use millrace_media::card::Refusal;
use millrace_proto::{
    LeaseId, api, outcome,
    task::Lease,
    worker::{Challenge, Finished, Poll, Polled, Renewed, Session},
};

/// Numbers one request or one step of work. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call(pub u64);

/// Numbers one lease in this worker's hands, from [`Output::Begin`] to [`Output::End`]. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Job(pub u64);

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The time asked for by [`super::Agent::wake_ms`] has come, or the agent is started.
    Wake,
    /// Answers [`Output::Challenge`].
    Challenged(Call, Result<Challenge, Fault>),
    /// Answers [`Output::Open`].
    Opened(Call, Result<Session, Fault>),
    /// Answers [`Output::Poll`].
    Polled(Call, Result<Polled, Fault>),
    /// Answers [`Output::Renew`].
    Renewed(Call, Result<Renewed, Fault>),
    /// Answers [`Output::Finish`].
    Finished(Call, Result<Finished, Fault>),
    /// Answers [`Output::Fetch`]: every input lies in the job's scratch folder, checked.
    Fetched(Call, Result<(), Fault>),
    /// Answers [`Output::Work`]: what was made lies in the job's scratch folder.
    Worked(Call, Result<outcome::Done, outcome::Failure>),
    /// Answers [`Output::Work`] with a card: the card did not do it. Software may.
    CardRefused(Call, Refusal),
    /// Answers [`Output::Upload`].
    Uploaded(Call, Result<(), Fault>),
    /// Take no more leases, finish what runs, then exit. The second time: hand back at once what still runs.
    Drain,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Ask for a text to sign.
    Challenge {
        /// Comes back in [`Input::Challenged`].
        call: Call,
    },
    /// Sign the text and open a session with the offer.
    Open {
        /// Comes back in [`Input::Opened`].
        call: Call,
        /// What to sign.
        challenge: Challenge,
    },
    /// Ask for leases, or say what is held.
    Poll {
        /// Comes back in [`Input::Polled`].
        call: Call,
        /// The bearer token.
        session: Arc<str>,
        /// The body.
        poll: Poll,
    },
    /// Keep a lease.
    Renew {
        /// Comes back in [`Input::Renewed`].
        call: Call,
        /// The bearer token.
        session: Arc<str>,
        /// The lease.
        lease: Arc<Lease>,
    },
    /// Sign the result and hand it in.
    Finish {
        /// Comes back in [`Input::Finished`].
        call: Call,
        /// The bearer token.
        session: Arc<str>,
        /// The lease.
        lease: Arc<Lease>,
        /// What came of it.
        result: outcome::Result,
    },
    /// A lease is in this worker's hands from now on.
    Begin {
        /// Its number.
        job: Job,
        /// The lease.
        lease: Arc<Lease>,
    },
    /// Fetch the lease's inputs into the job's scratch folder; those that are there already are kept.
    Fetch {
        /// Comes back in [`Input::Fetched`].
        call: Call,
        /// Whose scratch folder.
        job: Job,
        /// The bearer token, for the orchestrator alone.
        session: Arc<str>,
        /// The lease.
        lease: Arc<Lease>,
    },
    /// Compute.
    Work {
        /// Comes back in [`Input::Worked`].
        call: Call,
        /// Whose scratch folder.
        job: Job,
        /// The lease.
        lease: Arc<Lease>,
        /// Nothing is computed for longer than this.
        time_ms_max: u64,
        /// The card to use, by its number in [`super::Config::cards`]; in software without one.
        card: Option<usize>,
        /// The model to use, by its name; for work that takes one.
        model: Option<String>,
    },
    /// Load a model, unless it is loaded: work with it is about to begin.
    Warm {
        /// Its name.
        model: String,
    },
    /// Let a model go.
    Cool {
        /// Its name.
        model: String,
    },
    /// Upload what was made; what went up already may be left out.
    Upload {
        /// Comes back in [`Input::Uploaded`].
        call: Call,
        /// Whose scratch folder.
        job: Job,
        /// The bearer token, for the orchestrator alone.
        session: Arc<str>,
        /// The lease.
        lease: Arc<Lease>,
        /// What was made.
        done: outcome::Done,
    },
    /// Stop this call's request or step, if it still runs; its answer is not wanted.
    Abort {
        /// Which.
        call: Call,
    },
    /// A lease is out of this worker's hands: remove its scratch folder. Once for each [`Output::Begin`].
    End {
        /// Its number.
        job: Job,
        /// The lease's name.
        lease: LeaseId,
        /// How it ended.
        ending: Ending,
    },
    /// The orchestrator sent a lease that was not asked for, or one that is held already: nothing is done.
    Ignored {
        /// The lease's name.
        lease: LeaseId,
    },
    /// The last output: the program ends.
    Exit(Exit),
}

/// Why a request or a transfer came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nobody answered, or the answer was 5xx, 408 or 429: trying again may help.
    #[error("{message}")]
    Away {
        /// For people.
        message: String,
        /// `Retry-After`: not before this long from now.
        retry_after_ms: Option<u64>,
    },
    /// Something answered that does not speak the protocol.
    #[error("{0}")]
    Strange(String),
    /// 401: the session has ended.
    #[error("{} ({})", .0.message, .0.code)]
    Unauthorized(api::Error),
    /// `lease_gone`: the lease has ended.
    #[error("{} ({})", .0.message, .0.code)]
    Gone(api::Error),
    /// Any other refusal; trying the same again does not help.
    #[error("{} ({})", .0.message, .0.code)]
    Refused(api::Error),
    /// What arrived is not what the lease says, or this machine can't store it.
    #[error("{0}")]
    Spoiled(String),
}

impl Fault {
    /// How long the other side asks to be left alone.
    pub(super) fn retry_after_ms(&self) -> Option<u64> {
        if let Self::Away { retry_after_ms, .. } = self { *retry_after_ms } else { None }
    }
}

/// How a lease left this worker's hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ending {
    /// The outcome was handed in, and used.
    Taken,
    /// The outcome was handed in too late, or was refused.
    Refused,
    /// The orchestrator took the lease away, or knows it no longer.
    Revoked,
    /// It ran out, for the orchestrator could not be reached.
    Expired,
    /// The program ended before the orchestrator heard of it.
    Left,
}

/// Why the program ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It was asked to, and has let go of everything.
    Drained,
    /// The orchestrator does not want this worker; for people.
    Refused(Fault),
}
