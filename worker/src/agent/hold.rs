//! Holding a lease: when it has surely ended, and the renewals that keep it from that.

use std::sync::Arc;

use millrace_proto::{task::Lease, worker::Renewed};

use super::{
    Call, Fault, Output,
    attempt::{Attempt, ask},
    outbox::{Backoff, Outbox},
    session::Open,
};

/// A lease is renewed when this part of it has passed: two more tries fit into the rest.
const RENEWAL_PART: u64 = 3;
/// No renewal is asked for sooner after the last one, whatever the orchestrator says.
const RENEWAL_GAP_MS_MIN: u64 = 50;

#[derive(Debug)]
pub(super) struct Hold {
    renewal: Attempt,
    backoff: Backoff,
    /// The lease has surely ended then: the last word of the orchestrator arrived at most its length before.
    ends_ms: u64,
}

/// What an answer to a renewal means.
pub(super) enum Held {
    /// It answers nothing that is waited for, or it did not work and is tried again by itself.
    Nothing,
    /// The lease goes on.
    Renewed,
    /// The session of this epoch has ended.
    SessionLost(u64),
    /// The lease has ended.
    Gone,
}

impl Hold {
    /// A lease that has just arrived.
    pub(super) fn begin(lease_ms: u64, out: &Outbox) -> Self {
        let renewal = Attempt::At(out.after_ms(renewal_delay_ms(lease_ms)));
        Self { renewal, backoff: Backoff::default(), ends_ms: out.after_ms(lease_ms) }
    }

    pub(super) fn has_ended(&self, out: &Outbox) -> bool {
        self.ends_ms <= out.now_ms
    }

    pub(super) fn wake_ms(&self, session: bool) -> u64 {
        self.renewal.wake_ms(session).min(self.ends_ms)
    }

    /// The renewal under way.
    pub(super) fn call(&self) -> Option<Call> {
        self.renewal.call()
    }

    /// Asks for a renewal if one is due. The lease has not ended.
    pub(super) fn advance(&mut self, lease: &Arc<Lease>, session: Option<&Open>, out: &mut Outbox) {
        if let Some(call) = self.renewal.overdue(out) {
            out.abort(call);
            self.again(None, out);
        }
        let Some(session) = session.filter(|_| self.renewal.is_due(out)) else { return };
        // A lost answer must leave time for another try before the lease ends.
        let patience_ms = ((self.ends_ms - out.now_ms) / 3).clamp(RENEWAL_GAP_MS_MIN, out.timing.call_ms_max);
        let (call, asked) = ask(session, patience_ms, out);
        self.renewal = asked;
        out.push(Output::Renew { call, session: session.token.clone(), lease: Arc::clone(lease) });
    }

    pub(super) fn renewed(&mut self, call: Call, answer: Result<Renewed, Fault>, out: &mut Outbox) -> Held {
        let Some((epoch, sent_ms)) = self.renewal.answered(call) else { return Held::Nothing };
        match answer {
            Ok(Renewed { lease_ms }) => {
                self.backoff.reset();
                self.ends_ms = out.after_ms(lease_ms);
                // Counted from the sending: the orchestrator counts from some time after it.
                let next_ms = sent_ms.saturating_add(renewal_delay_ms(lease_ms));
                self.renewal = Attempt::At(next_ms.max(out.after_ms(RENEWAL_GAP_MS_MIN)));
                Held::Renewed
            }
            Err(Fault::Unauthorized(_)) => {
                self.renewal = Attempt::At(out.now_ms);
                Held::SessionLost(epoch)
            }
            Err(Fault::Gone(_)) => Held::Gone,
            Err(fault) => {
                self.again(fault.retry_after_ms(), out);
                Held::Nothing
            }
        }
    }

    fn again(&mut self, retry_after_ms: Option<u64>, out: &mut Outbox) {
        let patient_ms = self.backoff.next_at_ms(out, retry_after_ms);
        let left_ms = self.ends_ms.saturating_sub(out.now_ms);
        self.renewal = Attempt::At(patient_ms.min(out.after_ms((left_ms / 4).max(RENEWAL_GAP_MS_MIN))));
    }
}

fn renewal_delay_ms(lease_ms: u64) -> u64 {
    (lease_ms / RENEWAL_PART).max(RENEWAL_GAP_MS_MIN)
}
