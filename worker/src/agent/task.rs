//! One lease in this worker's hands: fetch, work, upload, finish.

use std::sync::Arc;

use millrace_media::card::Refusal;
use millrace_proto::{
    outcome::{self, Failure, FailureKind},
    task::{Lease, Work},
    worker::{Finished, Renewed},
};

use super::{
    Call, Ending, Fault, Job, Output,
    attempt::{Attempt, ask},
    cards::Place,
    hold::{Held, Hold},
    outbox::{Backoff, Outbox},
    session::Open,
};

#[derive(Debug)]
enum Step {
    Fetch(Attempt),
    /// Its inputs are here; it waits for a slot.
    Ready,
    Work(Call),
    Upload(Attempt, outcome::Done),
    Finish(Attempt, outcome::Result),
}

/// One lease in this worker's hands.
#[derive(Debug)]
pub(super) struct Task {
    job: Job,
    lease: Arc<Lease>,
    hold: Hold,
    step: Step,
    backoff: Backoff,
    /// When the transfers of this step began to fail.
    failing_since_ms: Option<u64>,
    /// The card that works on it.
    place: Option<Place>,
    /// The model that works on it.
    model: Option<String>,
    /// Work that is not done then is given up, early enough to say so while the lease lasts.
    cut_ms: u64,
}

/// What an answer means for the rest of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// It answers nothing that is waited for, or nothing more is to be done.
    Nothing,
    /// The orchestrator answered a call of the open session well.
    Proven,
    /// The session of this epoch has ended.
    SessionLost(u64),
    /// Work was done, and `is_quick` if it took a small part of its time.
    Worked { is_quick: bool },
    /// The lease is over.
    End(Ending),
}

/// Work that took this part of its time at most is quick: what waits for it, and for another one, is still done in time.
const QUICK_PART: u64 = 4;

impl Task {
    /// Starts on a lease. With a `refusal`, nothing is done but handing it in.
    pub(super) fn begin(job: Job, lease: Lease, work_ms_max: u64, refusal: Option<Failure>, out: &mut Outbox) -> Self {
        let lease = Arc::new(lease);
        out.push(Output::Begin { job, lease: Arc::clone(&lease) });
        let now = Attempt::At(out.now_ms);
        let step = match refusal {
            None => Step::Fetch(now),
            Some(failure) => Step::Finish(now, outcome::Result::Failed(failure)),
        };
        let model = out.models.choose(&lease.work).ok().flatten().filter(|_| matches!(step, Step::Fetch(_)));
        if let Some(output) = model.as_ref().and_then(|model| out.models.take(model)) {
            out.push(output);
        }
        let work_ms_max = lease.work_ms_max.min(work_ms_max);
        let margin_ms = (work_ms_max / 10).min(lease.lease_ms / 3);
        Self {
            job,
            hold: Hold::begin(lease.lease_ms, out),
            lease,
            step,
            backoff: Backoff::default(),
            failing_since_ms: None,
            place: None,
            model,
            cut_ms: out.after_ms(work_ms_max - margin_ms),
        }
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Its inputs are here, and no work on it has begun.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.step, Step::Ready)
    }

    /// It is worked on.
    pub(super) fn is_working(&self) -> bool {
        matches!(self.step, Step::Work(_))
    }

    /// The work on it is over.
    pub(super) fn is_handing_in(&self) -> bool {
        matches!(self.step, Step::Upload(..) | Step::Finish(..))
    }

    /// Only handing in is left.
    pub(super) fn is_finishing(&self) -> bool {
        matches!(self.step, Step::Finish(..))
    }

    pub(super) fn wake_ms(&self, session: bool) -> u64 {
        let attempt_ms = self.attempt().map_or(u64::MAX, |attempt| attempt.wake_ms(session));
        let cut_ms = if self.is_finishing() { u64::MAX } else { self.cut_ms };
        attempt_ms.min(cut_ms).min(self.hold.wake_ms(session))
    }

    /// Does what is due by now.
    pub(super) fn advance(&mut self, session: Option<&Open>, out: &mut Outbox) -> Then {
        if self.hold.has_ended(out) {
            return Then::End(Ending::Expired);
        }
        if self.cut_ms <= out.now_ms && !self.is_finishing() {
            let (kind, message) = match self.step {
                Step::Ready => (FailureKind::Released, "no slot was free while there was time"),
                _ => (FailureKind::TimedOut, "the work was not done when its time was over"),
            };
            self.give_up(Failure { kind, message: message.into() }, out);
        }
        self.hold.advance(&self.lease, session, out);
        if let Some(call) = self.attempt().and_then(|attempt| attempt.overdue(out)) {
            out.abort(call);
            self.again(None, out);
        }
        if let Some(session) = session
            && self.attempt().is_some_and(|attempt| attempt.is_due(out))
        {
            self.ask(session, out);
        }
        Then::Nothing
    }

    fn ask(&mut self, session: &Open, out: &mut Outbox) {
        // Transfers take as long as the driver sees bytes flow; the cut bounds them.
        let patience_ms = if self.is_finishing() { out.timing.call_ms_max } else { u64::MAX };
        let (call, asked) = ask(session, patience_ms, out);
        self.set_attempt(asked);
        let (job, session, lease) = (self.job, session.token.clone(), Arc::clone(&self.lease));
        out.push(match &self.step {
            Step::Fetch(_) => Output::Fetch { call, job, session, lease },
            Step::Upload(_, done) => Output::Upload { call, job, session, lease, done: done.clone() },
            Step::Finish(_, result) => Output::Finish { call, session, lease, result: result.clone() },
            Step::Ready | Step::Work(_) => unreachable!("neither is attempted twice"),
        });
    }

    fn attempt(&self) -> Option<Attempt> {
        match self.step {
            Step::Fetch(attempt) | Step::Upload(attempt, _) | Step::Finish(attempt, _) => Some(attempt),
            Step::Ready | Step::Work(_) => None,
        }
    }

    fn set_attempt(&mut self, next: Attempt) {
        match &mut self.step {
            Step::Fetch(attempt) | Step::Upload(attempt, _) | Step::Finish(attempt, _) => *attempt = next,
            Step::Ready | Step::Work(_) => {}
        }
    }

    /// Tries the step again after a while.
    fn again(&mut self, retry_after_ms: Option<u64>, out: &mut Outbox) {
        let next = Attempt::At(self.backoff.next_at_ms(out, retry_after_ms));
        self.set_attempt(next);
    }

    fn next(&mut self, step: Step) {
        self.step = step;
        self.backoff.reset();
        self.failing_since_ms = None;
    }

    /// Stops what runs and hands in `failure` instead.
    pub(super) fn give_up(&mut self, failure: Failure, out: &mut Outbox) {
        if let Some(call) = self.step_call() {
            out.abort(call);
        }
        self.leave_card(out);
        self.next(Step::Finish(Attempt::At(out.now_ms), outcome::Result::Failed(failure)));
    }

    /// The step's call under way.
    fn step_call(&self) -> Option<Call> {
        if let Step::Work(call) = self.step { Some(call) } else { self.attempt()?.call() }
    }

    /// Lets go of the lease.
    pub(super) fn end(mut self, ending: Ending, out: &mut Outbox) {
        self.leave_card(out);
        if let Some(model) = &self.model {
            out.models.give_back(model, out.now_ms);
        }
        for call in [self.step_call(), self.hold.call()].into_iter().flatten() {
            out.abort(call);
        }
        out.push(Output::End { job: self.job, lease: self.lease.id.clone(), ending });
    }

    /// Takes `call` for answered, if it is the step's under way; the epoch of its session.
    fn answered(&mut self, call: Call) -> Option<u64> {
        let mut attempt = self.attempt()?;
        let (epoch, _) = attempt.answered(call)?;
        self.set_attempt(attempt);
        Some(epoch)
    }

    pub(super) fn fetched(&mut self, call: Call, answer: Result<(), Fault>, out: &mut Outbox) -> Then {
        if !matches!(self.step, Step::Fetch(_)) {
            return Then::Nothing;
        }
        let Some(epoch) = self.answered(call) else { return Then::Nothing };
        if let Err(fault) = answer {
            return self.transfer_failed(epoch, &fault, out);
        }
        self.next(Step::Ready);
        Then::Nothing
    }

    /// A slot is free for it.
    pub(super) fn start(&mut self, out: &mut Outbox) {
        if let Work::Transcode(work) = &self.lease.work {
            self.place = out.cards.take(work.renditions.len(), out.now_ms);
        }
        self.work(out);
    }

    /// Starts to compute, on the card that there is for it or in software.
    fn work(&mut self, out: &mut Outbox) {
        let call = out.call();
        self.next(Step::Work(call));
        let left_ms = self.cut_ms.saturating_sub(out.now_ms);
        // A card that hangs must leave time for software.
        let time_ms_max = if self.place.is_some() { left_ms / 2 } else { left_ms };
        let card = self.place.map(|place| place.card);
        let (job, lease, model) = (self.job, Arc::clone(&self.lease), self.model.clone());
        out.push(Output::Work { call, job, lease, time_ms_max, card, model });
    }

    /// The card did not do it: software does, in the time that is left.
    pub(super) fn card_refused(&mut self, call: Call, refusal: Refusal, out: &mut Outbox) -> Then {
        if !matches!(self.step, Step::Work(asked) if asked == call) {
            return Then::Nothing;
        }
        let Some(place) = self.leave_card(out) else {
            // The call is answered all the same: waiting on would keep the slot until the time is over.
            let message = "a card refused work that was given to none".into();
            return self.worked(call, Err(Failure { kind: FailureKind::Unsupported, message }), out);
        };
        out.cards.refused(place, refusal, out.now_ms);
        self.work(out);
        Then::Nothing
    }

    fn leave_card(&mut self, out: &mut Outbox) -> Option<Place> {
        let place = self.place.take()?;
        out.cards.give_back(place);
        Some(place)
    }

    pub(super) fn worked(&mut self, call: Call, answer: Result<outcome::Done, Failure>, out: &mut Outbox) -> Then {
        if !matches!(self.step, Step::Work(asked) if asked == call) {
            return Then::Nothing;
        }
        if let Some(place) = self.leave_card(out)
            && answer.is_ok()
        {
            out.cards.did(place);
        }
        if let Some(model) = &self.model {
            out.models.worked(model, answer.is_ok());
        }
        let now = Attempt::At(out.now_ms);
        let (next, then) = match answer {
            Ok(done) => {
                let is_quick = done.work_ms.saturating_mul(QUICK_PART) <= self.lease.work_ms_max;
                (Step::Upload(now, done), Then::Worked { is_quick })
            }
            Err(failure) => (Step::Finish(now, outcome::Result::Failed(failure)), Then::Nothing),
        };
        self.next(next);
        then
    }

    pub(super) fn uploaded(&mut self, call: Call, answer: Result<(), Fault>, out: &mut Outbox) -> Then {
        let Step::Upload(_, done) = &self.step else { return Then::Nothing };
        let result = outcome::Result::Done(done.clone());
        let Some(epoch) = self.answered(call) else { return Then::Nothing };
        if let Err(fault) = answer {
            return self.transfer_failed(epoch, &fault, out);
        }
        self.next(Step::Finish(Attempt::At(out.now_ms), result));
        Then::Nothing
    }

    fn transfer_failed(&mut self, epoch: u64, fault: &Fault, out: &mut Outbox) -> Then {
        match fault {
            Fault::Unauthorized(_) => {
                self.set_attempt(Attempt::At(out.now_ms));
                return Then::SessionLost(epoch);
            }
            Fault::Gone(_) => return Then::End(Ending::Revoked),
            Fault::Away { .. } => {
                let since_ms = *self.failing_since_ms.get_or_insert(out.now_ms);
                if out.now_ms - since_ms < out.timing.transfer_patience_ms {
                    self.again(fault.retry_after_ms(), out);
                    return Then::Nothing;
                }
            }
            Fault::Strange(_) | Fault::Refused(_) | Fault::Spoiled(_) => {}
        }
        self.give_up(Failure { kind: FailureKind::Transfer, message: fault.to_string() }, out);
        Then::Nothing
    }

    pub(super) fn finished(&mut self, call: Call, answer: Result<Finished, Fault>, out: &mut Outbox) -> Then {
        if !self.is_finishing() {
            return Then::Nothing;
        }
        let Some(epoch) = self.answered(call) else { return Then::Nothing };
        match answer {
            Ok(Finished { taken: true }) => Then::End(Ending::Taken),
            Ok(Finished { taken: false }) | Err(Fault::Refused(_)) => Then::End(Ending::Refused),
            Err(Fault::Gone(_)) => Then::End(Ending::Revoked),
            Err(Fault::Unauthorized(_)) => {
                self.set_attempt(Attempt::At(out.now_ms));
                Then::SessionLost(epoch)
            }
            Err(fault @ (Fault::Away { .. } | Fault::Strange(_) | Fault::Spoiled(_))) => {
                self.again(fault.retry_after_ms(), out);
                Then::Nothing
            }
        }
    }

    pub(super) fn renewed(&mut self, call: Call, answer: Result<Renewed, Fault>, out: &mut Outbox) -> Then {
        match self.hold.renewed(call, answer, out) {
            Held::Nothing => Then::Nothing,
            Held::Renewed => Then::Proven,
            Held::SessionLost(epoch) => Then::SessionLost(epoch),
            Held::Gone => self.revoked(),
        }
    }

    /// The orchestrator no longer knows this lease. An outcome on its way may be the reason, so that one's
    /// answer is waited for.
    pub(super) fn revoked(&self) -> Then {
        if self.is_finishing() { Then::Nothing } else { Then::End(Ending::Revoked) }
    }
}
