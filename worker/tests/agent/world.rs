//! A small random world around one agent: a wire that delays, doubles, reorders and loses, and an
//! orchestrator that knows only what the protocol says.

use std::collections::{BTreeMap, BTreeSet};

use millrace_media::card::Refusal;
use millrace_proto::{
    LeaseId, api,
    outcome::{self, Done, Rendition},
    profile::{H264Profile, Preset, Rate, VideoCodec},
    task::{self, Blob, Lease, Target, Transcode, Work},
    worker::{Challenge, Finished, Polled, Renewed, Session},
};
use millrace_worker::agent::{Agent, Call, Config, Fault, Input, Output};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::watch::Watch;

pub(crate) const TASKS: u32 = 12;
const LEASE_MS: u64 = 15_000;

pub(crate) fn lease(id: u32) -> Lease {
    let input =
        |name: &str| task::Input { name: name.into(), url: format!("/in/{name}"), blob: Blob::of(name.as_bytes()) };
    let target = Target {
        name: "720p".into(),
        width: 1_280,
        height: 720,
        codec: VideoCodec::H264,
        rate: Rate::Capped { crf: 23, bitrate_bps_max: 3_000_000 },
        preset: Preset::Veryfast,
        profile: H264Profile::High,
        fps_divisor: 1,
    };
    Lease {
        id: format!("l-{id}").parse().unwrap(),
        token: "t".into(),
        task: format!("t-{id}").parse().unwrap(),
        lease_ms: LEASE_MS,
        work_ms_max: 120_000,
        media_ms: 2_000,
        due_ms: None,
        work: Work::Transcode(Transcode { renditions: vec![target] }),
        inputs: vec![input("init"), input("segment")],
        output_url: "/out/{output}".into(),
    }
}

pub(crate) fn done() -> Done {
    let blob = Blob::of(b"made");
    let rendition = Rendition { name: "720p".into(), init: blob, segment: blob, codec: "avc1".into(), frames: 60 };
    Done { renditions: vec![rendition], report: None, frames_concealed: 0, work_ms: 1 }
}

/// How bad the wire is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wire {
    /// Part of the messages, each way, that never arrive.
    pub(crate) loss: f64,
    /// Part of the answers that arrive twice.
    pub(crate) twice: f64,
    /// Longest way of one message.
    pub(crate) delay_ms_max: u64,
}

/// The orchestrator: tasks, each given to at most one lease at a time.
#[derive(Debug, Default)]
pub(crate) struct Server {
    pub(crate) forgets_sessions: bool,
    /// Leases that ran out.
    pub(crate) expired: u32,
    /// Leases given.
    pub(crate) given: u32,
    sessions: u32,
    waiting: BTreeSet<u32>,
    leases: BTreeMap<LeaseId, (u32, u64)>,
    done: BTreeSet<u32>,
    over: BTreeMap<LeaseId, bool>,
}

impl Server {
    pub(crate) fn all_done(&self) -> bool {
        self.done.len() == TASKS as usize
    }

    fn expire(&mut self, now_ms: u64) {
        let late: Vec<LeaseId> = self.leases.iter().filter(|(_, l)| l.1 <= now_ms).map(|(id, _)| id.clone()).collect();
        for id in late {
            self.expired += 1;
            self.give_up(&id);
        }
    }

    fn give_up(&mut self, id: &LeaseId) {
        if let Some((task, _)) = self.leases.remove(id) {
            self.waiting.insert(task);
        }
    }

    fn authorize(&mut self, token: &str, chance: bool) -> Result<(), Fault> {
        if self.forgets_sessions && chance {
            self.sessions += 1;
        }
        let known = token == format!("s-{}", self.sessions);
        known.then_some(()).ok_or_else(|| Fault::Unauthorized(error("session_unknown")))
    }

    fn poll(&mut self, slots: u32, held: &[LeaseId], now_ms: u64) -> Polled {
        let lost: Vec<LeaseId> = self.leases.keys().filter(|id| !held.contains(id)).cloned().collect();
        for id in lost {
            self.give_up(&id);
        }
        let revoked = held.iter().filter(|id| !self.leases.contains_key(id)).cloned().collect();
        let mut leases = Vec::new();
        while leases.len() < slots as usize
            && let Some(task) = self.waiting.pop_first()
        {
            self.given += 1;
            let lease = lease(1_000 + self.given);
            self.leases.insert(lease.id.clone(), (task, now_ms + lease.lease_ms));
            leases.push(lease);
        }
        Polled { leases, revoked }
    }

    fn renew(&mut self, id: &LeaseId, now_ms: u64) -> Result<Renewed, Fault> {
        let lease = self.leases.get_mut(id).ok_or_else(|| Fault::Gone(error("lease_gone")))?;
        lease.1 = now_ms + LEASE_MS;
        Ok(Renewed { lease_ms: LEASE_MS })
    }

    fn finish(&mut self, id: &LeaseId, result: &outcome::Result) -> Finished {
        if let Some(&taken) = self.over.get(id) {
            return Finished { taken };
        }
        let taken = match self.leases.remove(id) {
            None => false,
            Some((task, _)) => {
                match result {
                    outcome::Result::Done(_) => assert!(self.done.insert(task), "task {task} was done twice"),
                    outcome::Result::Failed(_) => drop(self.waiting.insert(task)),
                }
                true
            }
        };
        self.over.insert(id.clone(), taken);
        Finished { taken }
    }
}

fn error(code: &str) -> api::Error {
    api::Error { code: code.into(), message: "m".into(), hint: "h".into() }
}

enum Event {
    /// A request arrives at the orchestrator.
    There(Output),
    /// An answer arrives at the worker, or a step is done.
    Here(Input),
}

pub(crate) struct World {
    pub(crate) watch: Watch,
    pub(crate) server: Server,
    pub(crate) wire: Wire,
    pub(crate) now_ms: u64,
    queue: BTreeMap<(u64, u64), Event>,
    events: u64,
    randomness: StdRng,
    aborted: BTreeSet<Call>,
    /// The newest poll, and how many were taken back for another one.
    polled: Option<Call>,
    pub(crate) polls_aborted: u32,
}

impl World {
    pub(crate) fn new(config: Config, slots: u32, wire: Wire, seed: u64) -> Self {
        let server = Server { waiting: (0..TASKS).collect(), ..Server::default() };
        let mut world = Self {
            watch: Watch::new(Agent::new(config), slots),
            server,
            wire,
            now_ms: 0,
            queue: BTreeMap::new(),
            events: 0,
            randomness: StdRng::seed_from_u64(seed ^ 0x5eed),
            aborted: BTreeSet::new(),
            polled: None,
            polls_aborted: 0,
        };
        world.put(Input::Wake);
        world
    }

    pub(crate) fn drain(&mut self) {
        self.put(Input::Drain);
    }

    /// Runs until `enough`, or until `end_ms`.
    pub(crate) fn run_until(&mut self, end_ms: u64, enough: impl Fn(&Self) -> bool) {
        while !enough(self) {
            let event_ms = self.queue.first_key_value().map_or(u64::MAX, |(at, _)| at.0);
            let wake_ms = self.watch.agent.wake_ms().unwrap_or(u64::MAX);
            let next_ms = event_ms.min(wake_ms);
            if next_ms > end_ms {
                self.now_ms = end_ms;
                return;
            }
            self.now_ms = self.now_ms.max(next_ms);
            if event_ms <= wake_ms {
                let (_, event) = self.queue.pop_first().expect("its time was seen");
                match event {
                    Event::Here(input) => self.put(input),
                    Event::There(output) => self.serve(output),
                }
            } else {
                self.put(Input::Wake);
            }
        }
    }

    fn after(&mut self, delay_ms: u64, event: Event) {
        self.events += 1;
        self.queue.insert((self.now_ms + delay_ms, self.events), event);
    }

    fn put(&mut self, input: Input) {
        for output in self.watch.put(input, self.now_ms) {
            let work_ms = self.randomness.random_range(0..20_000);
            match output {
                Output::Begin { .. } | Output::End { .. } | Output::Ignored { .. } | Output::Exit(_) => {}
                Output::Abort { call } => {
                    self.polls_aborted += u32::from(self.polled == Some(call));
                    self.aborted.insert(call);
                }
                Output::Fetch { call, .. } => self.after(work_ms / 10, Event::Here(Input::Fetched(call, Ok(())))),
                Output::Upload { call, .. } => self.after(work_ms / 10, Event::Here(Input::Uploaded(call, Ok(())))),
                Output::Work { call, card: Some(_), .. } if self.randomness.random_bool(0.5) => {
                    let refusals = [Refusal::Missing, Refusal::Full, Refusal::Unsupported, Refusal::Lost];
                    let refusal = refusals[self.randomness.random_range(0..refusals.len())];
                    self.after(work_ms, Event::Here(Input::CardRefused(call, refusal)));
                }
                Output::Work { call, .. } => self.after(work_ms, Event::Here(Input::Worked(call, Ok(done())))),
                request => {
                    if let Output::Poll { call, .. } = request {
                        self.polled = Some(call);
                    }
                    if !self.randomness.random_bool(self.wire.loss) {
                        let delay_ms = self.delay_ms();
                        self.after(delay_ms, Event::There(request));
                    }
                }
            }
        }
    }

    fn delay_ms(&mut self) -> u64 {
        self.randomness.random_range(0..=self.wire.delay_ms_max)
    }

    fn serve(&mut self, request: Output) {
        let now_ms = self.now_ms;
        self.server.expire(now_ms);
        let forget = self.randomness.random_bool(0.01);
        let mut hold_ms = 0;
        let answer = match request {
            Output::Challenge { call } => Input::Challenged(call, Ok(Challenge { text: "t".into() })),
            Output::Open { call, .. } => {
                self.server.sessions += 1;
                Input::Opened(call, Ok(Session { token: format!("s-{}", self.server.sessions) }))
            }
            Output::Poll { call, session, poll } => {
                // The connection of an aborted poll is closed: nobody is there to give a lease to.
                if self.aborted.contains(&call) {
                    return;
                }
                let authorized = self.server.authorize(&session, forget);
                let answer =
                    authorized.map(|()| self.server.poll(poll.slots_free + poll.ahead_free, &poll.held, now_ms));
                if answer.as_ref().is_ok_and(|polled| polled.leases.is_empty() && polled.revoked.is_empty()) {
                    hold_ms = poll.wait_ms;
                }
                Input::Polled(call, answer)
            }
            Output::Renew { call, session, lease } => {
                let authorized = self.server.authorize(&session, forget);
                Input::Renewed(call, authorized.and_then(|()| self.server.renew(&lease.id, now_ms)))
            }
            Output::Finish { call, session, lease, result } => {
                let authorized = self.server.authorize(&session, forget);
                Input::Finished(call, authorized.map(|()| self.server.finish(&lease.id, &result)))
            }
            other => unreachable!("{other:?} is no request"),
        };
        let copies = 1 + u8::from(self.randomness.random_bool(self.wire.twice));
        for _ in 0..copies {
            if !self.randomness.random_bool(self.wire.loss) {
                let delay_ms = hold_ms + self.delay_ms();
                self.after(delay_ms, Event::Here(answer.clone()));
            }
        }
    }
}
