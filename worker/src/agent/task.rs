//! One lease in this worker's hands: fetch, work, upload, finish, and the renewals beside them.

use std::sync::Arc;

use millrace_proto::{
    outcome::{self, Failure, FailureKind},
    task::Lease,
    worker::{Finished, Renewed},
};

use super::{
    Call, Ending, Fault, Job, Output,
    outbox::{Backoff, Outbox},
    session::Open,
};

/// A lease is renewed when this part of it has passed: two more tries fit into the rest.
const RENEWAL_PART: u64 = 3;
/// No renewal is asked for sooner after the last one, whatever the orchestrator says.
const RENEWAL_GAP_MS_MIN: u64 = 50;

/// A request to the orchestrator, or a transfer, that is made until it works.
#[derive(Debug, Clone, Copy)]
enum Try {
    /// Due at this time, if a session is open.
    At(u64),
    /// Under way. It is taken for lost at `until_ms`.
    Asked { call: Call, epoch: u64, sent_ms: u64, until_ms: u64 },
    /// No more.
    Never,
}

#[derive(Debug)]
enum Step {
    Fetch(Try),
    Work(Call),
    Upload(Try, outcome::Done),
    Finish(Try, outcome::Result),
}

/// One lease in this worker's hands.
#[derive(Debug)]
pub(super) struct Task {
    job: Job,
    lease: Arc<Lease>,
    step: Step,
    renewal: Try,
    renewals: Backoff,
    backoff: Backoff,
    /// When the transfers of this step began to fail.
    failing_since_ms: Option<u64>,
    /// The lease has surely ended then: the last word of the orchestrator arrived at most its length before.
    ends_ms: u64,
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
    /// The lease is over.
    End(Ending),
}

impl Task {
    /// Starts on a lease. With a `refusal`, nothing is done but handing it in.
    pub(super) fn begin(job: Job, lease: Lease, work_ms_max: u64, refusal: Option<Failure>, out: &mut Outbox) -> Self {
        let lease = Arc::new(lease);
        out.push(Output::Begin { job, lease: lease.clone() });
        let work_ms_max = lease.work_ms_max.min(work_ms_max);
        let margin_ms = (work_ms_max / 10).min(lease.lease_ms / 3);
        let step = match refusal {
            None => Step::Fetch(Try::At(out.now_ms)),
            Some(failure) => Step::Finish(Try::At(out.now_ms), outcome::Result::Failed(failure)),
        };
        Self {
            job,
            step,
            renewal: Try::At(out.after_ms(renewal_delay_ms(lease.lease_ms))),
            renewals: Backoff::default(),
            backoff: Backoff::default(),
            failing_since_ms: None,
            ends_ms: out.after_ms(lease.lease_ms),
            cut_ms: out.after_ms(work_ms_max - margin_ms),
            lease,
        }
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Only handing in is left.
    pub(super) fn is_finishing(&self) -> bool {
        matches!(self.step, Step::Finish(..))
    }

    pub(super) fn wake_ms(&self, session: bool) -> u64 {
        let due = |attempt: Try| match attempt {
            Try::At(at_ms) if session => at_ms,
            Try::Asked { until_ms, .. } => until_ms,
            Try::At(_) | Try::Never => u64::MAX,
        };
        let step_ms = match self.step {
            Step::Fetch(attempt) | Step::Upload(attempt, _) => due(attempt).min(self.cut_ms),
            Step::Work(_) => self.cut_ms,
            Step::Finish(attempt, _) => due(attempt),
        };
        step_ms.min(due(self.renewal)).min(self.ends_ms)
    }

    /// Does what is due by now.
    pub(super) fn advance(&mut self, session: Option<&Open>, out: &mut Outbox) -> Then {
        if self.ends_ms <= out.now_ms {
            return Then::End(Ending::Expired);
        }
        if self.cut_ms <= out.now_ms && !self.is_finishing() {
            let message = "the work was not done when its time was over".into();
            self.give_up(Failure { kind: FailureKind::TimedOut, message }, out);
        }
        self.expire_calls(out);
        if let Some(session) = session {
            self.renew(session, out);
            self.step(session, out);
        }
        Then::Nothing
    }

    fn expire_calls(&mut self, out: &mut Outbox) {
        if let Try::Asked { call, until_ms, .. } = self.renewal
            && until_ms <= out.now_ms
        {
            out.abort(call);
            self.renewal = self.renew_again(out, None);
        }
        if let Step::Finish(Try::Asked { call, until_ms, .. }, _) = self.step
            && until_ms <= out.now_ms
        {
            out.abort(call);
            let again = Try::At(self.backoff.next_at_ms(out, None));
            self.retry(again);
        }
    }

    fn renew(&mut self, session: &Open, out: &mut Outbox) {
        if !matches!(self.renewal, Try::At(at_ms) if at_ms <= out.now_ms) {
            return;
        }
        // A lost answer must leave time for another try before the lease ends.
        let patience_ms = ((self.ends_ms - out.now_ms) / 3).clamp(RENEWAL_GAP_MS_MIN, out.timing.call_ms_max);
        let (call, asked) = ask(session, patience_ms, out);
        self.renewal = asked;
        out.push(Output::Renew { call, session: session.token.clone(), lease: self.lease.clone() });
    }

    fn step(&mut self, session: &Open, out: &mut Outbox) {
        let (Step::Fetch(Try::At(at_ms)) | Step::Upload(Try::At(at_ms), _) | Step::Finish(Try::At(at_ms), _)) =
            self.step
        else {
            return;
        };
        if at_ms > out.now_ms {
            return;
        }
        // Transfers take as long as the driver sees bytes flow; the cut bounds them.
        let patience_ms = if self.is_finishing() { out.timing.call_ms_max } else { u64::MAX };
        let (call, asked) = ask(session, patience_ms, out);
        self.retry(asked);
        let (job, session, lease) = (self.job, session.token.clone(), self.lease.clone());
        out.push(match &self.step {
            Step::Fetch(_) => Output::Fetch { call, job, session, lease },
            Step::Upload(_, done) => Output::Upload { call, job, session, lease, done: done.clone() },
            Step::Finish(_, result) => Output::Finish { call, session, lease, result: result.clone() },
            Step::Work(_) => unreachable!("work is not a try"),
        });
    }

    /// Sets the try of the step that is under way.
    fn retry(&mut self, again: Try) {
        match &mut self.step {
            Step::Fetch(attempt) | Step::Upload(attempt, _) | Step::Finish(attempt, _) => *attempt = again,
            Step::Work(_) => {}
        }
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
        self.next(Step::Finish(Try::At(out.now_ms), outcome::Result::Failed(failure)));
    }

    fn step_call(&self) -> Option<Call> {
        match self.step {
            Step::Fetch(Try::Asked { call, .. })
            | Step::Upload(Try::Asked { call, .. }, _)
            | Step::Finish(Try::Asked { call, .. }, _)
            | Step::Work(call) => Some(call),
            _ => None,
        }
    }

    /// Lets go of the lease.
    pub(super) fn end(self, ending: Ending, out: &mut Outbox) {
        if let Some(call) = self.step_call() {
            out.abort(call);
        }
        if let Try::Asked { call, .. } = self.renewal {
            out.abort(call);
        }
        out.push(Output::End { job: self.job, lease: self.lease.id.clone(), ending });
    }

    /// Takes `call` for answered, if it is the step's try under way; the epoch of its session.
    fn answered(&mut self, call: Call) -> Option<u64> {
        match &mut self.step {
            Step::Fetch(attempt) | Step::Upload(attempt, _) | Step::Finish(attempt, _) => match *attempt {
                Try::Asked { call: asked, epoch, .. } if asked == call => {
                    *attempt = Try::Never;
                    Some(epoch)
                }
                _ => None,
            },
            Step::Work(_) => None,
        }
    }

    pub(super) fn fetched(&mut self, call: Call, answer: Result<(), Fault>, out: &mut Outbox) -> Then {
        if !matches!(self.step, Step::Fetch(_)) {
            return Then::Nothing;
        }
        let Some(epoch) = self.answered(call) else { return Then::Nothing };
        if let Err(fault) = answer {
            return self.transfer_failed(epoch, &fault, out);
        }
        let call = out.call();
        self.next(Step::Work(call));
        let time_ms_max = self.cut_ms.saturating_sub(out.now_ms);
        out.push(Output::Work { call, job: self.job, lease: self.lease.clone(), time_ms_max });
        Then::Nothing
    }

    pub(super) fn worked(&mut self, call: Call, answer: Result<outcome::Done, Failure>, out: &mut Outbox) -> Then {
        if !matches!(self.step, Step::Work(asked) if asked == call) {
            return Then::Nothing;
        }
        let now = Try::At(out.now_ms);
        self.next(match answer {
            Ok(done) => Step::Upload(now, done),
            Err(failure) => Step::Finish(now, outcome::Result::Failed(failure)),
        });
        Then::Nothing
    }

    pub(super) fn uploaded(&mut self, call: Call, answer: Result<(), Fault>, out: &mut Outbox) -> Then {
        let Step::Upload(_, done) = &self.step else { return Then::Nothing };
        let result = outcome::Result::Done(done.clone());
        let Some(epoch) = self.answered(call) else { return Then::Nothing };
        match answer {
            Ok(()) => {
                self.next(Step::Finish(Try::At(out.now_ms), result));
                Then::Nothing
            }
            Err(fault) => self.transfer_failed(epoch, &fault, out),
        }
    }

    fn transfer_failed(&mut self, epoch: u64, fault: &Fault, out: &mut Outbox) -> Then {
        let message = fault.to_string();
        match fault {
            Fault::Unauthorized(_) => {
                self.retry(Try::At(out.now_ms));
                return Then::SessionLost(epoch);
            }
            Fault::Gone(_) => return Then::End(Ending::Revoked),
            Fault::Away { retry_after_ms, .. } => {
                let since_ms = *self.failing_since_ms.get_or_insert(out.now_ms);
                if out.now_ms - since_ms < out.timing.transfer_patience_ms {
                    let again = Try::At(self.backoff.next_at_ms(out, *retry_after_ms));
                    self.retry(again);
                    return Then::Nothing;
                }
            }
            Fault::Strange(_) | Fault::Refused(_) | Fault::Spoiled(_) => {}
        }
        self.give_up(Failure { kind: FailureKind::Transfer, message }, out);
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
                self.retry(Try::At(out.now_ms));
                Then::SessionLost(epoch)
            }
            Err(fault @ (Fault::Away { .. } | Fault::Strange(_) | Fault::Spoiled(_))) => {
                let again = Try::At(self.backoff.next_at_ms(out, retry_after_ms(&fault)));
                self.retry(again);
                Then::Nothing
            }
        }
    }

    pub(super) fn renewed(&mut self, call: Call, answer: Result<Renewed, Fault>, out: &mut Outbox) -> Then {
        let Try::Asked { call: asked, epoch, sent_ms, .. } = self.renewal else { return Then::Nothing };
        if asked != call {
            return Then::Nothing;
        }
        self.renewal = Try::Never;
        match answer {
            Ok(Renewed { lease_ms }) => {
                self.renewals.reset();
                self.ends_ms = out.after_ms(lease_ms);
                // Counted from the sending: the orchestrator counts from some time after it.
                let next_ms = sent_ms.saturating_add(renewal_delay_ms(lease_ms));
                self.renewal = Try::At(next_ms.max(out.after_ms(RENEWAL_GAP_MS_MIN)));
                Then::Proven
            }
            Err(Fault::Unauthorized(_)) => {
                self.renewal = Try::At(out.now_ms);
                Then::SessionLost(epoch)
            }
            Err(Fault::Gone(_)) => self.revoked(),
            Err(fault) => {
                self.renewal = self.renew_again(out, retry_after_ms(&fault));
                Then::Nothing
            }
        }
    }

    /// The orchestrator no longer knows this lease. An outcome on its way may be the reason, so that one's
    /// answer is waited for.
    pub(super) fn revoked(&mut self) -> Then {
        if self.is_finishing() { Then::Nothing } else { Then::End(Ending::Revoked) }
    }

    fn renew_again(&mut self, out: &mut Outbox, retry_after_ms: Option<u64>) -> Try {
        let patient_ms = self.renewals.next_at_ms(out, retry_after_ms);
        let left_ms = self.ends_ms.saturating_sub(out.now_ms);
        Try::At(patient_ms.min(out.after_ms((left_ms / 4).max(RENEWAL_GAP_MS_MIN))))
    }
}

fn ask(session: &Open, patience_ms: u64, out: &mut Outbox) -> (Call, Try) {
    let call = out.call();
    let until_ms = out.after_ms(patience_ms);
    (call, Try::Asked { call, epoch: session.epoch, sent_ms: out.now_ms, until_ms })
}

fn renewal_delay_ms(lease_ms: u64) -> u64 {
    (lease_ms / RENEWAL_PART).max(RENEWAL_GAP_MS_MIN)
}

fn retry_after_ms(fault: &Fault) -> Option<u64> {
    if let Fault::Away { retry_after_ms, .. } = fault { *retry_after_ms } else { None }
}
