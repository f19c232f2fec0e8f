//! Polling: asking for as many leases as there are free slots, and saying what is held when that is news.

use millrace_proto::{
    LeaseId,
    worker::{Poll, Polled},
};

use super::{
    Call, Fault, Output,
    outbox::{Backoff, Outbox},
    session::Open,
};

/// How many leases may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Room {
    /// To be worked on at once.
    pub(super) slots: u32,
    /// To be fetched beside.
    pub(super) ahead: u32,
}

impl Room {
    pub(super) fn all(self) -> u32 {
        self.slots + self.ahead
    }
}

#[derive(Debug)]
enum State {
    Idle { next_ms: u64 },
    Asked { call: Call, epoch: u64, sent_ms: u64, until_ms: u64, room: Room },
}

#[derive(Debug)]
pub(super) struct Polling {
    state: State,
    backoff: Backoff,
    /// The orchestrator must hear what is held, even if no slot is free.
    news: bool,
}

/// What an answer means.
pub(super) enum Heard {
    /// It answers nothing that is waited for.
    Nothing,
    /// Leases to start, as many as were asked for, and leases taken away.
    Answer { polled: Polled, room: Room },
    /// The session of this epoch has ended.
    SessionLost(u64),
    /// It did not work; it is tried again by itself.
    Failed,
}

impl Polling {
    pub(super) fn new() -> Self {
        Self { state: State::Idle { next_ms: 0 }, backoff: Backoff::default(), news: false }
    }

    /// The orchestrator must hear what is held.
    pub(super) fn announce(&mut self) {
        self.news = true;
    }

    pub(super) fn has_news(&self) -> bool {
        self.news
    }

    /// Takes back a poll under way, because what it says is no longer so.
    pub(super) fn abort(&mut self, out: &mut Outbox) {
        if let State::Asked { call, .. } = self.state {
            out.abort(call);
            self.state = State::Idle { next_ms: out.now_ms };
        }
    }

    pub(super) fn wake_ms(&self, session: Option<&Open>, room: Room) -> Option<u64> {
        match self.state {
            State::Asked { until_ms, .. } => Some(until_ms),
            State::Idle { next_ms } if session.is_some() && (self.news || room.all() > 0) => Some(next_ms),
            State::Idle { .. } => None,
        }
    }

    /// Sends a poll if one is due. `held` is asked for only then.
    pub(super) fn advance(
        &mut self,
        session: Option<&Open>,
        room: Room,
        instance: &str,
        held: impl FnOnce() -> Vec<LeaseId>,
        out: &mut Outbox,
    ) {
        if let State::Asked { call, until_ms, .. } = self.state
            && until_ms <= out.now_ms
        {
            out.abort(call);
            self.state = State::Idle { next_ms: self.backoff.next_at_ms(out, None) };
        }
        // Whoever asks for what is not urgent alone is told of nothing else.
        if matches!(self.state, State::Asked { room: asked, .. } if asked.slots == 0 && asked.ahead > 0 && room.slots > 0)
        {
            self.abort(out);
        }
        let State::Idle { next_ms } = self.state else { return };
        let Some(session) = session else { return };
        if next_ms > out.now_ms || (room.all() == 0 && !self.news) {
            return;
        }
        let wait_ms = if room.all() == 0 { 0 } else { out.timing.wait_ms };
        let call = out.call();
        self.state = State::Asked {
            call,
            epoch: session.epoch,
            sent_ms: out.now_ms,
            until_ms: out.after_ms(wait_ms.saturating_add(out.timing.call_ms_max)),
            room,
        };
        let warm = out.models.warm();
        out.push(Output::Poll {
            call,
            session: session.token.clone(),
            poll: Poll {
                instance: instance.to_owned(),
                slots_free: room.slots,
                ahead_free: room.ahead,
                held: held(),
                warm,
                wait_ms,
            },
        });
    }

    pub(super) fn polled(&mut self, call: Call, answer: Result<Polled, Fault>, out: &mut Outbox) -> Heard {
        let State::Asked { call: asked, epoch, sent_ms, room, .. } = self.state else { return Heard::Nothing };
        if asked != call {
            return Heard::Nothing;
        }
        match answer {
            Ok(polled) => {
                self.backoff.reset();
                self.news = false;
                // An orchestrator that answers "nothing" at once must not be asked in a tight loop.
                let pause_ms = if polled.leases.is_empty() { out.timing.poll_gap_ms } else { 0 };
                self.state = State::Idle { next_ms: sent_ms.saturating_add(pause_ms) };
                Heard::Answer { polled, room }
            }
            Err(Fault::Unauthorized(_)) => {
                self.state = State::Idle { next_ms: out.now_ms };
                Heard::SessionLost(epoch)
            }
            Err(fault) => {
                self.state = State::Idle { next_ms: self.backoff.next_at_ms(out, fault.retry_after_ms()) };
                Heard::Failed
            }
        }
    }
}
