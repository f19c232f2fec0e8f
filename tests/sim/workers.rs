//! Workers: each the real agent with its calls on the wire and its work in simulated hands.

mod line;

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use millrace_proto::{
    identity::Secret,
    offer::{Encoder, Model, Offer, Part, Sandbox},
    outcome::FailureKind,
    profile::VideoCodec,
    task::{Blob, Lease, Work},
    worker::{LEASES_A_SLOT_MAX, SessionRequest},
};
use millrace_worker::{
    agent::{Agent, Call, Config, Exit, Input, Job, Limits, Output, Timing},
    sign,
};
use rand::Rng;

use crate::{
    check::Known,
    hearing,
    labour::{Source, Taint},
    lies::{self, Lie},
    scenario::{Nature, WorkerPlan},
    wire::{Answer, Ask, Claim, Who},
    world::{Event, World},
};

/// A transfer in which no byte comes for this long is taken for dead.
const STALL_MS: u64 = 20_000;
/// Keys that all worlds draw from: making one costs more than using it.
const KEYS: usize = 64;

fn key(number: usize) -> &'static Secret {
    static KEY: OnceLock<Vec<Secret>> = OnceLock::new();
    let make = |number: usize| Secret::from_hex(&format!("{:064x}", number + 1)).expect("a small number is a key");
    &KEY.get_or_init(|| (0..KEYS).map(make).collect())[number % KEYS]
}

pub(crate) struct Worker {
    pub(crate) plan: WorkerPlan,
    pub(crate) name: String,
    key: usize,
    pub(crate) run: u32,
    pub(crate) body: Option<Body>,
    /// The last source it worked on, by stream.
    before: BTreeMap<String, Source>,
}

/// A running program.
pub(crate) struct Body {
    agent: Agent,
    pub(crate) begun_ms: u64,
    wake_ms: Option<u64>,
    calls: BTreeMap<Call, &'static str>,
    jobs: BTreeMap<Job, Bench>,
    fetching: BTreeMap<Job, Call>,
    leaving: bool,
}

/// One lease's scratch folder.
#[derive(Default)]
struct Bench {
    source: Option<Source>,
    files: Vec<(String, Blob, Bytes)>,
    lie: Option<Lie>,
}

impl Worker {
    pub(crate) fn new(number: usize, plan: WorkerPlan) -> Self {
        let kind = match plan.nature {
            Nature::Honest => "honest".into(),
            Nature::Flaky(kind, part) => format!("{kind:?} {part:.2}"),
            Nature::Liar(lie, part) => format!("{lie:?} {part:.2}"),
        };
        let name = format!("worker {number} ({kind})");
        Self { plan, name, key: number, run: 0, body: None, before: BTreeMap::new() }
    }

    fn offer(&self) -> Offer {
        let encoder = Encoder { codec: VideoCodec::H264, name: "libx264".into(), pixels_per_s: 1e8 };
        let (version, absent) = ("1".into(), Vec::new());
        let mut sandbox = Sandbox::default();
        if self.plan.sandboxed {
            sandbox.holds = Part::ALL.into();
        }
        Offer {
            version,
            slots: self.plan.slots,
            cores: 4,
            encoders: vec![encoder],
            absent,
            sandbox,
            models: self.models(),
            cards: Vec::new(),
        }
    }

    fn models(&self) -> Vec<Model> {
        if self.plan.hears { hearing::models() } else { Vec::new() }
    }

    fn secret(&self) -> &'static Secret {
        key(self.key)
    }

    /// Nothing goes between it and the orchestrator.
    pub(crate) fn is_cut(&self, now_ms: u64) -> bool {
        self.plan.cuts.iter().any(|(from_ms, to_ms)| (*from_ms..*to_ms).contains(&now_ms))
    }
}

impl World {
    /// A worker's program starts.
    pub(crate) fn start_worker(&mut self, at: usize, new_key: bool) {
        let seed = self.r.random();
        let keys = self.workers.len();
        let worker = &mut self.workers[at];
        if worker.body.is_some() {
            return;
        }
        worker.run += 1;
        if new_key {
            worker.key += keys;
        }
        let (address, slots) = (worker.secret().address(), worker.plan.slots);
        let honest = worker.plan.nature == Nature::Honest;
        let sandboxed = worker.plan.sandboxed;
        self.watch.know(address, Known { name: worker.name.clone(), slots, honest, sandboxed });
        let agent = Agent::new(Config {
            instance: format!("i{}", worker.run),
            slots: worker.plan.slots,
            ahead: 1,
            seed,
            timing: Timing::default(),
            limits: Limits::default(),
            cards: Vec::new(),
            models: worker.models(),
        });
        worker.body = Some(Body {
            agent,
            begun_ms: self.now_ms,
            wake_ms: None,
            calls: BTreeMap::new(),
            jobs: BTreeMap::new(),
            fetching: BTreeMap::new(),
            leaving: false,
        });
        let who = Who { worker: at, run: worker.run };
        self.trace.say(format_args!("{} starts, run {}", worker.name, who.run));
        self.feed(who, Input::Wake);
    }

    /// A worker is killed: all that it knew is gone.
    pub(crate) fn kill_worker(&mut self, at: usize) {
        let worker = &mut self.workers[at];
        let Some(body) = worker.body.take() else { return };
        self.trace.say(format_args!("{} is killed with {} leases", worker.name, body.jobs.len()));
        let who = Who { worker: at, run: worker.run };
        for call in body.calls.into_keys() {
            self.hang_up(who, call);
        }
    }

    pub(crate) fn ask_to_leave(&mut self, at: usize) {
        let worker = &mut self.workers[at];
        let who = Who { worker: at, run: worker.run };
        let Some(body) = &mut worker.body else { return };
        body.leaving = true;
        self.trace.say(format_args!("{} is asked to leave", worker.name));
        self.feed(who, Input::Drain);
    }

    /// An answer, or the end of some work, reaches a worker.
    pub(crate) fn answered(&mut self, who: Who, answer: Answer) {
        let Some(body) = self.body(who) else { return };
        if let (Input::Fetched(call, Ok(())), false) = (&answer.input, answer.bytes.is_empty()) {
            // The job is the one whose fetch this is; a late answer finds none.
            let job = body.jobs.iter_mut().find(|(job, _)| body.fetching.get(job) == Some(call));
            if let Some((_, bench)) = job {
                bench.source = Source::read(&answer.bytes[0], &answer.bytes[1..]);
            }
        }
        self.feed(who, answer.input);
    }

    fn body(&mut self, who: Who) -> Option<&mut Body> {
        let worker = &mut self.workers[who.worker];
        if worker.run == who.run { worker.body.as_mut() } else { None }
    }

    /// Gives the agent an input and does what it says.
    pub(crate) fn feed(&mut self, who: Who, input: Input) {
        let now_ms = self.now_ms;
        let Some(body) = self.body(who) else { return };
        if let Some(call) = call_of(&input) {
            body.calls.remove(&call);
        }
        body.agent.handle(input, now_ms - body.begun_ms);
        while let Some(output) = self.body(who).and_then(|body| body.agent.poll_output()) {
            self.perform(who, output);
        }
        let Some(body) = self.body(who) else { return };
        let slots = body.agent.leases_held();
        let wake_ms = body.agent.wake_ms().map(|ms| body.begun_ms.saturating_add(ms));
        let is_news = wake_ms != body.wake_ms;
        body.wake_ms = wake_ms;
        if let (Some(wake_ms), true) = (wake_ms.filter(|ms| *ms < self.scenario.end_ms), is_news) {
            self.after(wake_ms.saturating_sub(now_ms), Event::Wake(who, wake_ms));
        }
        let worker = &self.workers[who.worker];
        if slots > (worker.plan.slots * LEASES_A_SLOT_MAX) as usize {
            self.trace.object(format_args!("{} holds {slots} leases", worker.name));
        }
    }

    pub(crate) fn wake(&mut self, who: Who, wake_ms: u64) {
        if self.body(who).is_some_and(|body| body.wake_ms == Some(wake_ms)) {
            self.feed(who, Input::Wake);
        }
    }

    fn perform(&mut self, who: Who, output: Output) {
        let worker = &self.workers[who.worker];
        let secret = worker.secret();
        let nature = worker.plan.nature;
        let says = |lie: Lie| matches!(nature, Nature::Liar(its, _) if its == lie);
        match output {
            Output::Challenge { call } => self.ask(who, call, Ask::Challenge(secret.address())),
            Output::Open { call, challenge } => {
                let offer = worker.offer();
                match sign::challenge(secret, &challenge.text) {
                    Ok(signature) => {
                        let (address, challenge) = (secret.address(), challenge.text);
                        self.ask(who, call, Ask::Open(SessionRequest { address, challenge, signature, offer }));
                    }
                    Err(fault) => self.later(0, who, Input::Opened(call, Err(fault))),
                }
            }
            Output::Poll { call, session, mut poll } => {
                if says(Lie::Greedy) {
                    poll.slots_free = 200;
                }
                self.ask(who, call, Ask::Poll { session: session.to_string(), poll });
            }
            Output::Renew { call, session, lease } => {
                if !says(Lie::Forget) {
                    self.ask(who, call, Ask::Renew { held: claim(&session, &lease) });
                }
            }
            Output::Finish { call, session, lease, result } => {
                if says(Lie::Hoard) || says(Lie::Forget) {
                    return;
                }
                let signer = if says(Lie::FalseSignature) { key(KEYS - 1) } else { secret };
                let outcome = sign::outcome(signer, &lease.id, result.clone());
                if says(Lie::Foreign) {
                    self.hand_in_for_others(who, &session, &lease, &result);
                }
                self.ask(who, call, Ask::Finish { held: claim(&session, &lease), outcome });
            }
            Output::Begin { job, .. } => {
                let lie = match nature {
                    Nature::Liar(lie, part) => self.r.random_bool(part).then_some(lie),
                    _ => None,
                };
                let Some(body) = self.body(who) else { return };
                body.jobs.insert(job, Bench { lie, ..Bench::default() });
            }
            Output::Fetch { call, job, session, lease } => {
                let Some(body) = self.body(who) else { return };
                body.fetching.insert(job, call);
                let inputs = lease.inputs.clone();
                self.ask(who, call, Ask::Fetch { held: claim(&session, &lease), inputs });
            }
            Output::Work { call, job, lease, time_ms_max, .. } => self.work(who, call, job, &lease, time_ms_max),
            Output::Upload { call, job, session, lease, .. } => {
                let Some(bench) = self.body(who).and_then(|body| body.jobs.get(&job)) else { return };
                let files: Vec<_> =
                    bench.files.iter().map(|(n, blob, b)| (n.clone(), blob.sha256, b.clone())).collect();
                if files.is_empty() {
                    self.later(1, who, Input::Uploaded(call, Ok(())));
                } else {
                    self.ask(who, call, Ask::Upload { held: claim(&session, &lease), files });
                }
            }
            Output::Abort { call } => {
                if self.body(who).is_some_and(|body| body.calls.remove(&call).is_some()) {
                    self.hang_up(who, call);
                }
            }
            Output::End { job, .. } => {
                if let Some(body) = self.body(who) {
                    body.jobs.remove(&job);
                    body.fetching.remove(&job);
                }
            }
            Output::Ignored { .. } | Output::Warm { .. } | Output::Cool { .. } => {}
            Output::Exit(exit) => self.exited(who, &exit),
        }
    }

    fn exited(&mut self, who: Who, exit: &Exit) {
        let worker = &mut self.workers[who.worker];
        self.trace.say(format_args!("{} exits", worker.name));
        let Some(body) = worker.body.take() else { return };
        if !body.leaving {
            self.trace.say(format_args!("it says {exit:?}"));
            self.after(1_000, Event::Start(who.worker, false));
        }
    }

    fn work(&mut self, who: Who, call: Call, job: Job, lease: &Lease, time_ms_max: u64) {
        let worker = &self.workers[who.worker];
        let (from_ms, to_ms) = worker.plan.work_ms;
        let nature = worker.plan.nature;
        let work_ms = self.r.random_range(from_ms..=to_ms);
        let fails = match nature {
            Nature::Flaky(kind, part) if self.r.random_bool(part) => Some(kind),
            _ => None,
        };
        let stream = lease.task.as_str().split('-').next().unwrap_or_default().to_owned();
        let worker = &mut self.workers[who.worker];
        let before = worker.before.get(&stream).cloned();
        let Some(bench) = worker.body.as_mut().and_then(|body| body.jobs.get_mut(&job)) else { return };
        let asked = match &lease.work {
            Work::Transcode(_) => None,
            Work::Captions(asked) => Some(hearing::hear(asked, bench.lie)),
            Work::Look(asked) => Some(hearing::look(asked, bench.lie)),
        };
        if let Some(made) = asked {
            if matches!(bench.lie, Some(Lie::Hoard | Lie::Forget)) {
                return;
            }
            let (result, files) = match fails {
                Some(kind) => lies::failure(kind),
                None if work_ms > time_ms_max => lies::failure(FailureKind::TimedOut),
                None => made,
            };
            bench.files = files;
            return self.later(work_ms.min(time_ms_max), who, Input::Worked(call, result));
        }
        let Some(source) = bench.source.clone() else { return };
        if matches!(bench.lie, Some(Lie::Hoard | Lie::Forget)) {
            return;
        }
        let Work::Transcode(asked) = &lease.work else { return };
        let dies = match source.taint() {
            Taint::Sound if source.has_key => None,
            Taint::Sound | Taint::Torn | Taint::Rubbish => Some(FailureKind::BadInput),
            Taint::Poison | Taint::Deadly => Some(FailureKind::Crashed),
        };
        let is_made_up = bench.lie.is_some_and(|lie| !matches!(lie, Lie::Failure(_)));
        let (result, files) = match fails.or(dies.filter(|_| !is_made_up)) {
            Some(kind) => lies::failure(kind),
            None if work_ms > time_ms_max => lies::failure(FailureKind::TimedOut),
            None => lies::work(asked, &source, before.as_ref(), bench.lie),
        };
        bench.files = files;
        worker.before.insert(stream, source);
        self.later(work_ms.min(time_ms_max), who, Input::Worked(call, result));
    }

    /// Something that happens inside the worker.
    fn later(&mut self, after_ms: u64, who: Who, input: Input) {
        self.after(after_ms, Event::Answer(who, input.into()));
    }
}

fn claim(session: &Arc<str>, lease: &Lease) -> Claim {
    Claim { session: session.to_string(), lease: lease.id.clone(), token: lease.token.clone() }
}

fn call_of(input: &Input) -> Option<Call> {
    Some(match input {
        Input::Wake | Input::Drain => return None,
        Input::Challenged(call, _)
        | Input::Opened(call, _)
        | Input::Polled(call, _)
        | Input::Renewed(call, _)
        | Input::Finished(call, _)
        | Input::Fetched(call, _)
        | Input::Worked(call, _)
        | Input::CardRefused(call, _)
        | Input::Uploaded(call, _) => *call,
    })
}
