//! The agent: everything a worker decides. Pure: no I/O, no clock, no threads, no randomness but its seed.
//!
//! Owns the session, the polls, the leases in hand, their renewals, their cards, back-off and the drain. `run.rs` drives it
//! in the real program, and the seeded simulation drives it unchanged. The driver's loop:
//! [`Agent::handle`] an input, perform every [`Agent::poll_output`], sleep until [`Agent::wake_ms`] or the next
//! input. Every input is safe in every state; time is what the driver says, and never runs back.

mod attempt;
mod cards;
mod hold;
mod limits;
mod message;
mod models;
mod outbox;
mod poll;
mod session;
mod task;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use millrace_proto::{
    offer::Model,
    outcome::{Failure, FailureKind},
    worker::Polled,
};

pub use cards::Seats;
pub use limits::Limits;
pub use message::{Call, Ending, Exit, Fault, Input, Job, Output};
use outbox::Outbox;
use poll::{Heard, Polling, Room};
use session::Sessions;
use task::{Task, Then};

/// What the agent is told at its start.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Names this running program; a new one at every start.
    pub instance: String,
    /// Leases worked on at once, at most. At least 1. As many again may be on their way back.
    pub slots: u32,
    /// Leases of recordings that are held beyond the slots, their inputs fetched, so that no slot waits for them: asked
    /// for once work is known to take a small part of its time. At most as many as slots.
    pub ahead: u32,
    /// Randomness for the back-off.
    pub seed: u64,
    /// Waits and patience.
    pub timing: Timing,
    /// What a lease may ask.
    pub limits: Limits,
    /// Graphics cards that leases may use; without any, all is done in software.
    pub cards: Vec<Seats>,
    /// Models that are offered.
    pub models: Vec<Model>,
}

/// How long the agent waits for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// The orchestrator may hold a poll for this long.
    pub wait_ms: u64,
    /// A call without an answer is taken for lost after this.
    pub call_ms_max: u64,
    /// Two polls that bring nothing are at least this far apart.
    pub poll_gap_ms: u64,
    /// The first retry comes after about this.
    pub retry_ms_min: u64,
    /// Retries are never further apart than this.
    pub retry_ms_max: u64,
    /// Transfers that fail for this long, one after the other, fail the lease.
    pub transfer_patience_ms: u64,
    /// How long leases may go on after [`Input::Drain`].
    pub grace_ms: u64,
    /// How long handing back what is left may take then.
    pub farewell_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            wait_ms: 20_000,
            call_ms_max: 10_000,
            poll_gap_ms: 250,
            retry_ms_min: 250,
            retry_ms_max: 15_000,
            transfer_patience_ms: 20_000,
            grace_ms: 30_000,
            farewell_ms: 5_000,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Drain {
    release_ms: u64,
    released: bool,
    exit_ms: u64,
}

/// One worker's mind.
pub struct Agent {
    instance: String,
    slots: u32,
    ahead: u32,
    /// The last work that was done took so small a part of its time that another lease can wait for it.
    is_quick: bool,
    limits: Limits,
    out: Outbox,
    session: Sessions,
    polling: Polling,
    tasks: BTreeMap<Job, Task>,
    jobs: u64,
    drain: Option<Drain>,
    gone: bool,
}

impl Agent {
    /// An agent that has not begun; the first [`Input::Wake`] starts it.
    pub fn new(config: Config) -> Self {
        Self {
            instance: config.instance,
            slots: config.slots.max(1),
            ahead: config.ahead.min(config.slots.max(1)),
            is_quick: false,
            limits: config.limits,
            out: Outbox::new(config.timing, config.seed, &config.cards, &config.models),
            session: Sessions::new(),
            polling: Polling::new(),
            tasks: BTreeMap::new(),
            jobs: 0,
            drain: None,
            gone: false,
        }
    }

    /// The next thing to be done, in order; none when all was told.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop()
    }

    /// When to come back with [`Input::Wake`] if nothing else happens before; none: never.
    pub fn wake_ms(&self) -> Option<u64> {
        if self.gone {
            return None;
        }
        let session = self.session.open();
        let drain_ms = self.drain.map(|drain| if drain.released { drain.exit_ms } else { drain.release_ms });
        let tasks_ms = self.tasks.values().map(|task| task.wake_ms(session.is_some())).min();
        let polling_ms = self.polling.wake_ms(session, self.room());
        let models_ms = self.out.models.wake_ms();
        [self.session.wake_ms(), polling_ms, tasks_ms, drain_ms, models_ms].into_iter().flatten().min()
    }

    /// Leases in hand.
    pub fn leases_held(&self) -> usize {
        self.tasks.len()
    }

    /// Takes one input at `now_ms`, on any monotonic clock that starts where it likes.
    pub fn handle(&mut self, input: Input, now_ms: u64) {
        if self.gone {
            return;
        }
        self.out.now_ms = self.out.now_ms.max(now_ms);
        // What is overdue comes first: an answer that arrives after its call was given up is late.
        self.advance();
        self.take(input);
        self.advance();
    }

    fn take(&mut self, input: Input) {
        match input {
            _ if self.gone => {}
            Input::Wake => {}
            Input::Challenged(call, answer) => {
                if let Some(exit) = self.session.challenged(call, answer, &mut self.out) {
                    self.exit(exit);
                }
            }
            Input::Opened(call, answer) => match self.session.opened(call, answer, &mut self.out) {
                Ok(true) => self.polling.announce(),
                Ok(false) => {}
                Err(exit) => self.exit(exit),
            },
            Input::Polled(call, answer) => self.polled(call, answer),
            Input::Renewed(call, answer) => self.each(|task, out| task.renewed(call, answer.clone(), out)),
            Input::Finished(call, answer) => self.each(|task, out| task.finished(call, answer.clone(), out)),
            Input::Fetched(call, answer) => self.each(|task, out| task.fetched(call, answer.clone(), out)),
            Input::Worked(call, answer) => self.each(|task, out| task.worked(call, answer.clone(), out)),
            Input::CardRefused(call, refusal) => self.each(|task, out| task.card_refused(call, refusal, out)),
            Input::Uploaded(call, answer) => self.each(|task, out| task.uploaded(call, answer.clone(), out)),
            Input::Drain => self.start_drain(),
        }
    }

    fn room(&self) -> Room {
        if self.drain.is_some() {
            return Room::default();
        }
        // What is handed in takes no slot, but no more of it is let pile up than could be worked on.
        let handing_in = self.tasks.values().filter(|task| task.is_handing_in()).count() as u32;
        let busy = self.tasks.len() as u32 - handing_in.min(self.slots);
        let ahead = if self.is_quick { self.ahead } else { 0 };
        Room {
            slots: self.slots.saturating_sub(busy),
            ahead: (self.slots + ahead).saturating_sub(busy.max(self.slots)),
        }
    }

    /// Starts work on what is there, as far as there are slots: on what viewers wait for first, then in turn.
    fn start_work(&mut self) {
        let working = self.tasks.values().filter(|task| task.is_working()).count();
        let mut ready: Vec<&mut Task> = self.tasks.values_mut().filter(|task| task.is_ready()).collect();
        ready.sort_by_key(|task| task.lease().due_ms.is_none());
        for task in ready.into_iter().take((self.slots as usize).saturating_sub(working)) {
            task.start(&mut self.out);
        }
    }

    fn polled(&mut self, call: Call, answer: Result<Polled, Fault>) {
        match self.polling.polled(call, answer, &mut self.out) {
            Heard::Nothing => {}
            Heard::Failed => self.farewell_failed(),
            Heard::SessionLost(epoch) => self.session_lost(epoch),
            Heard::Answer { polled, room } => {
                self.session.proven();
                for lease in polled.revoked {
                    self.each(|task, _| if task.lease().id == lease { task.revoked() } else { Then::Nothing });
                }
                let mut wanted = room.all().min(self.room().all());
                for lease in polled.leases {
                    if wanted == 0 || self.tasks.values().any(|task| task.lease().id == lease.id) {
                        self.out.push(Output::Ignored { lease: lease.id });
                        continue;
                    }
                    wanted -= 1;
                    self.jobs += 1;
                    let job = Job(self.jobs);
                    let refusal = self.limits.check(&lease).err().or_else(|| self.out.lacks_model(&lease));
                    let task = Task::begin(job, lease, self.limits.work_ms_max, refusal, &mut self.out);
                    self.tasks.insert(job, task);
                }
            }
        }
    }

    /// Offers an event to every task; the one it is for acts on it.
    fn each(&mut self, mut act: impl FnMut(&mut Task, &mut Outbox) -> Then) {
        let mut lost = None;
        let mut ended = Vec::new();
        for (&job, task) in &mut self.tasks {
            match act(task, &mut self.out) {
                Then::Nothing => {}
                Then::Proven => self.session.proven(),
                Then::Worked { is_quick } => self.is_quick = is_quick,
                Then::SessionLost(epoch) => lost = Some(epoch),
                Then::End(ending) => ended.push((job, ending)),
            }
        }
        for (job, ending) in ended {
            if let Some(task) = self.tasks.remove(&job) {
                task.end(ending, &mut self.out);
            }
        }
        if let Some(epoch) = lost {
            self.session_lost(epoch);
        }
    }

    fn session_lost(&mut self, epoch: u64) {
        if self.session.lost(epoch, &mut self.out) {
            self.polling.abort(&mut self.out);
        }
    }

    /// Does what is due, until nothing is.
    fn advance(&mut self) {
        if self.gone {
            return;
        }
        self.session.advance(&mut self.out);
        self.advance_drain();
        if self.gone {
            return;
        }
        let session = self.session.open().cloned();
        self.each(|task, out| task.advance(session.as_ref(), out));
        self.start_work();
        self.out.cool();
        let room = self.room();
        let held = || self.tasks.values().map(|task| task.lease().id.clone()).collect();
        self.polling.advance(session.as_ref(), room, &self.instance, held, &mut self.out);
        self.leave_if_done();
    }

    fn start_drain(&mut self) {
        let now_ms = self.out.now_ms;
        match &mut self.drain {
            Some(drain) if !drain.released => drain.release_ms = now_ms,
            Some(_) => {}
            None => {
                let release_ms = self.out.after_ms(self.out.timing.grace_ms);
                self.drain = Some(Drain { release_ms, released: false, exit_ms: u64::MAX });
                // A lease may be on its way in the answer to the poll under way. Saying what is held tells
                // the orchestrator to give it to somebody else.
                self.polling.abort(&mut self.out);
                self.polling.announce();
                // Somebody else can begin sooner than this worker, which is to go.
                self.release(Task::is_ready);
            }
        }
    }

    fn advance_drain(&mut self) {
        let now_ms = self.out.now_ms;
        let Some(drain) = &mut self.drain else { return };
        if drain.released && drain.exit_ms <= now_ms {
            self.exit(Exit::Drained);
        } else if !drain.released && drain.release_ms <= now_ms {
            drain.released = true;
            drain.exit_ms = self.out.after_ms(self.out.timing.farewell_ms);
            self.release(|task| !task.is_finishing());
        }
    }

    fn release(&mut self, which: impl Fn(&Task) -> bool) {
        for task in self.tasks.values_mut().filter(|task| which(task)) {
            let message = "the worker is going away".into();
            task.give_up(Failure { kind: FailureKind::Released, message }, &mut self.out);
        }
    }

    /// With nothing in hand, one try to say goodbye is enough: the orchestrator may be away for long.
    fn farewell_failed(&mut self) {
        if self.drain.is_some() && self.tasks.is_empty() {
            self.exit(Exit::Drained);
        }
    }

    fn leave_if_done(&mut self) {
        let Some(drain) = &mut self.drain else { return };
        if self.gone || !self.tasks.is_empty() {
            return;
        }
        if !drain.released {
            drain.released = true;
            drain.exit_ms = self.out.after_ms(self.out.timing.farewell_ms);
        }
        let can_say_it = self.polling.has_news() && self.session.open().is_some();
        if !can_say_it {
            self.exit(Exit::Drained);
        }
    }

    fn exit(&mut self, exit: Exit) {
        self.polling.abort(&mut self.out);
        for (_, task) in std::mem::take(&mut self.tasks) {
            task.end(Ending::Left, &mut self.out);
        }
        self.gone = true;
        self.out.push(Output::Exit(exit));
    }
}
