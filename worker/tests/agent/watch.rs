//! Watches one agent: hands inputs in, takes outputs out, and checks the rules that hold in every world.

use std::collections::BTreeMap;

use millrace_proto::{LeaseId, worker::LEASES_A_SLOT_MAX};
use millrace_worker::agent::{Agent, Call, Input, Job, Output};

pub(crate) struct Watch {
    pub(crate) agent: Agent,
    pub(crate) exited: bool,
    slots: u32,
    now_ms: u64,
    calls: BTreeMap<Call, (&'static str, Option<LeaseId>)>,
    last_call: u64,
    jobs: BTreeMap<Job, LeaseId>,
    last_job: u64,
}

impl Watch {
    pub(crate) fn new(agent: Agent, slots: u32) -> Self {
        let (calls, jobs) = (BTreeMap::new(), BTreeMap::new());
        Self { agent, exited: false, slots, now_ms: 0, calls, last_call: 0, jobs, last_job: 0 }
    }

    /// Some call of this kind that is under way.
    pub(crate) fn under_way(&self, kind: &str, at: usize) -> Option<Call> {
        let calls: Vec<Call> = self.calls.iter().filter(|(_, (k, _))| *k == kind).map(|(call, _)| *call).collect();
        calls.get(at % calls.len().max(1)).copied()
    }

    fn under_way_as(&self, call: Call, kind: &str) -> bool {
        self.calls.get(&call).is_some_and(|(asked, _)| *asked == kind)
    }

    pub(crate) fn put(&mut self, input: Input, now_ms: u64) -> Vec<Output> {
        self.now_ms = self.now_ms.max(now_ms);
        // Nobody answers what was not asked yet.
        let early = answered(&input).is_some_and(|(call, _)| call.0 > self.last_call);
        let input = if early { Input::Wake } else { input };
        let answered = answered(&input).filter(|(call, kind)| self.under_way_as(*call, kind)).map(|(call, _)| call);
        if let Some(call) = answered {
            self.calls.remove(&call);
        }
        self.agent.handle(input, now_ms);
        let outputs: Vec<Output> = std::iter::from_fn(|| self.agent.poll_output()).collect();
        for output in &outputs {
            assert!(!self.exited, "{output:?} after the exit");
            // The answer may come at the very moment at which its call is given up.
            if !matches!(output, Output::Abort { call } if Some(*call) == answered) {
                self.see(output);
            }
        }
        assert_eq!(self.agent.leases_held(), self.jobs.len());
        assert!(self.jobs.len() <= (self.slots * LEASES_A_SLOT_MAX) as usize, "more leases than slots allow");
        let working = self.calls.values().filter(|(kind, _)| *kind == "work").count();
        assert!(working <= self.slots as usize, "more at work than slots");
        match self.agent.wake_ms() {
            Some(wake_ms) => assert!(!self.exited && (wake_ms > self.now_ms || wake_ms == u64::MAX), "it would spin"),
            None => assert!(self.exited || !self.calls.is_empty(), "asleep for ever"),
        }
        if self.exited {
            assert!(self.jobs.is_empty(), "{:?} never ended", self.jobs);
        }
        outputs
    }

    fn see(&mut self, output: &Output) {
        match output {
            Output::Challenge { call } => self.asked(*call, "challenge", None),
            Output::Open { call, .. } => self.asked(*call, "open", None),
            Output::Poll { call, poll, .. } => {
                assert!(self.under_way("poll", 0).is_none(), "two polls at once");
                let mut held: Vec<LeaseId> = self.jobs.values().cloned().collect();
                let mut told = poll.held.clone();
                held.sort();
                told.sort();
                assert_eq!(held, told);
                let most = (poll.slots_free + poll.ahead_free) as usize + held.len();
                assert!(poll.slots_free <= self.slots, "asks for more than it works on at once");
                assert!(most <= (self.slots * LEASES_A_SLOT_MAX) as usize, "asks for too much");
                assert!(poll.slots_free + poll.ahead_free > 0 || poll.wait_ms == 0, "waits for nothing");
                self.asked(*call, "poll", None);
            }
            Output::Renew { call, lease, .. } => self.asked(*call, "renew", Some(&lease.id)),
            Output::Finish { call, lease, .. } => {
                assert!(!self.is_worked_on(&lease.id), "handed in while it is worked on");
                self.asked(*call, "finish", Some(&lease.id));
            }
            Output::Fetch { call, lease, .. } => self.asked(*call, "fetch", Some(&lease.id)),
            Output::Work { call, lease, .. } => self.asked(*call, "work", Some(&lease.id)),
            Output::Upload { call, lease, .. } => self.asked(*call, "upload", Some(&lease.id)),
            Output::Abort { call } => {
                assert!(self.calls.remove(call).is_some(), "{call:?} is not under way");
            }
            Output::Begin { job, lease } => {
                assert!(job.0 > self.last_job, "jobs have fresh numbers");
                self.last_job = job.0;
                assert!(!self.jobs.values().any(|held| *held == lease.id), "one lease twice");
                self.jobs.insert(*job, lease.id.clone());
            }
            Output::End { job, lease, .. } => {
                assert_eq!(self.jobs.remove(job).as_ref(), Some(lease), "ended once, after it began");
                assert!(!self.calls.values().any(|(_, of)| of.as_ref() == Some(lease)), "something of it still runs");
            }
            Output::Ignored { .. } | Output::Warm { .. } | Output::Cool { .. } => {}
            Output::Exit(_) => self.exited = true,
        }
    }

    fn asked(&mut self, call: Call, kind: &'static str, lease: Option<&LeaseId>) {
        assert!(call.0 > self.last_call, "calls have fresh numbers");
        self.last_call = call.0;
        if let Some(lease) = lease {
            assert!(self.jobs.values().any(|held| held == lease), "{kind} for a lease that is not held");
            let twice = self.calls.values().any(|(k, of)| *k == kind && of.as_ref() == Some(lease));
            assert!(!twice, "two at once: {kind} of {lease}");
        }
        self.calls.insert(call, (kind, lease.cloned()));
    }

    fn is_worked_on(&self, lease: &LeaseId) -> bool {
        let step = |kind: &str| matches!(kind, "fetch" | "work" | "upload");
        self.calls.values().any(|(kind, of)| step(kind) && of.as_ref() == Some(lease))
    }
}

fn answered(input: &Input) -> Option<(Call, &'static str)> {
    Some(match input {
        Input::Wake | Input::Drain => return None,
        Input::Challenged(call, _) => (*call, "challenge"),
        Input::Opened(call, _) => (*call, "open"),
        Input::Polled(call, _) => (*call, "poll"),
        Input::Renewed(call, _) => (*call, "renew"),
        Input::Finished(call, _) => (*call, "finish"),
        Input::Fetched(call, _) => (*call, "fetch"),
        Input::Worked(call, _) | Input::CardRefused(call, _) => (*call, "work"),
        Input::Uploaded(call, _) => (*call, "upload"),
    })
}
