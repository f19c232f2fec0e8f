//! The session with the orchestrator: challenge, signature, token, and making a new one when it is lost.

use std::sync::Arc;

use millrace_proto::worker::{Challenge, Session};

use super::{
    Call, Exit, Fault, Output,
    outbox::{Backoff, Outbox},
};

/// Refusals of a signed challenge before the worker gives up: it may have grown old on the way, or the
/// orchestrator may have restarted in between.
const REFUSALS_MAX: u32 = 3;

/// An open session. Its epoch tells an answer to an older session's call from one to this session's.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) token: Arc<str>,
    pub(super) epoch: u64,
}

#[derive(Debug)]
enum State {
    Closed { try_at_ms: u64 },
    Challenging { call: Call, until_ms: u64 },
    Opening { call: Call, until_ms: u64 },
    Open(Open),
}

#[derive(Debug)]
pub(super) struct Sessions {
    state: State,
    backoff: Backoff,
    epoch: u64,
    refusals: u32,
}

impl Sessions {
    pub(super) fn new() -> Self {
        Self { state: State::Closed { try_at_ms: 0 }, backoff: Backoff::default(), epoch: 0, refusals: 0 }
    }

    pub(super) fn open(&self) -> Option<&Open> {
        if let State::Open(open) = &self.state { Some(open) } else { None }
    }

    pub(super) fn wake_ms(&self) -> Option<u64> {
        match self.state {
            State::Closed { try_at_ms } => Some(try_at_ms),
            State::Challenging { until_ms, .. } | State::Opening { until_ms, .. } => Some(until_ms),
            State::Open(_) => None,
        }
    }

    pub(super) fn advance(&mut self, out: &mut Outbox) {
        if let State::Challenging { call, until_ms } | State::Opening { call, until_ms } = self.state
            && until_ms <= out.now_ms
        {
            out.abort(call);
            self.close(out, None);
        }
        if let State::Closed { try_at_ms } = self.state
            && try_at_ms <= out.now_ms
        {
            let call = out.call();
            out.push(Output::Challenge { call });
            self.state = State::Challenging { call, until_ms: out.after_ms(out.timing.call_ms_max) };
        }
    }

    pub(super) fn challenged(
        &mut self,
        call: Call,
        answer: Result<Challenge, Fault>,
        out: &mut Outbox,
    ) -> Option<Exit> {
        if !matches!(self.state, State::Challenging { call: asked, .. } if asked == call) {
            return None;
        }
        match answer {
            Ok(challenge) => {
                let call = out.call();
                out.push(Output::Open { call, challenge });
                self.state = State::Opening { call, until_ms: out.after_ms(out.timing.call_ms_max) };
                None
            }
            Err(fault) => self.failed(fault, 1, out),
        }
    }

    /// Takes the answer; true when a session is open now.
    pub(super) fn opened(
        &mut self,
        call: Call,
        answer: Result<Session, Fault>,
        out: &mut Outbox,
    ) -> Result<bool, Exit> {
        if !matches!(self.state, State::Opening { call: asked, .. } if asked == call) {
            return Ok(false);
        }
        match answer {
            Ok(session) => {
                self.epoch += 1;
                self.refusals = 0;
                self.state = State::Open(Open { token: session.token.into(), epoch: self.epoch });
                Ok(true)
            }
            Err(fault) => self.failed(fault, REFUSALS_MAX, out).map_or(Ok(false), Err),
        }
    }

    fn failed(&mut self, fault: Fault, refusals_max: u32, out: &mut Outbox) -> Option<Exit> {
        let Fault::Away { retry_after_ms, .. } = fault else {
            self.close(out, None);
            self.refusals += 1;
            // A person who has just typed a wrong address wants to read it. Once a session was open, the same
            // answer is more likely an orchestrator that is being replaced.
            return (self.epoch == 0 && self.refusals >= refusals_max).then_some(Exit::Refused(fault));
        };
        self.close(out, retry_after_ms);
        None
    }

    fn close(&mut self, out: &mut Outbox, retry_after_ms: Option<u64>) {
        self.state = State::Closed { try_at_ms: self.backoff.next_at_ms(out, retry_after_ms) };
    }

    /// A call of session `epoch` was answered with 401; true if that was the open session.
    pub(super) fn lost(&mut self, epoch: u64, out: &mut Outbox) -> bool {
        let ours = self.open().is_some_and(|open| open.epoch == epoch);
        if ours {
            self.close(out, None);
        }
        ours
    }

    /// A call of this session was answered well: the next loss is a new one.
    pub(super) fn proven(&mut self) {
        self.backoff.reset();
    }
}
