//! The world: a clock, a queue of events, and everything that they happen to.
//!
//! One thread, one source of randomness, one order: the same scenario gives the same trace.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use millrace_orchestrator::{
    media::MediaStore,
    store::{Store, record::Stream, reports::Chain, sqlite::SqliteStore},
};
use millrace_proto::{
    LeaseId, Sha256,
    api::Source,
    profile::{Preset, Profile, Rung, VideoCodec},
};
use object_store::memory::InMemory;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    check::Watch,
    faults::{Faulty, FaultyObjects, Luck},
    house::{House, Loop},
    playlist::Player,
    publishers::Publisher,
    sabotage::{Sabotage, Sabotaged},
    scenario::{Scenario, StreamPlan},
    step::Gate,
    trace::Trace,
    wire::{Answer, Request, Who},
    workers::Worker,
};

/// Events of one world at most: more is a loop without a pause.
const EVENTS_MAX: u64 = 400_000;

/// What happens.
pub(crate) enum Event {
    /// The orchestrator starts.
    Boot,
    /// A loop's timer in one life of the orchestrator.
    Tick(u64, Loop),
    /// A step goes on.
    Turn(u64),
    /// A poll has waited long enough.
    PollEnds(u64),
    Arrives(Request),
    HungUp(Who, millrace_worker::agent::Call),
    Answer(Who, Answer),
    Wake(Who, u64),
    /// A worker's program starts; with another key, or the one before.
    Start(usize, bool),
    /// A worker is killed, or asked to leave.
    End(usize, bool),
    Publish(usize),
    /// A recording lies there, complete.
    Upload(usize),
    Fetch,
    /// Someone decides about what is held back.
    Decide,
}

pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) now_ms: u64,
    queue: BTreeMap<(u64, u64), Event>,
    events: u64,
    pub(crate) r: StdRng,
    pub(crate) gate: Gate,
    pub(crate) trace: Trace,
    pub(crate) watch: Watch,
    pub(crate) store: Arc<dyn Store>,
    /// The store itself, where nothing fails.
    pub(crate) truth: Arc<dyn Store>,
    pub(crate) media: MediaStore,
    /// The disk itself.
    pub(crate) objects: Arc<InMemory>,
    pub(crate) child: Luck,
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) house: Option<House>,
    /// Lives of the orchestrator so far.
    pub(crate) lives: u64,
    pub(crate) kills_turns: Vec<u64>,
    pub(crate) last_step: u64,
    pub(crate) workers: Vec<Worker>,
    pub(crate) publishers: Vec<Publisher>,
    pub(crate) player: Player,
    /// Leases that were seen on the wire lately.
    pub(crate) heard_of: BTreeSet<LeaseId>,
}

impl World {
    pub(crate) async fn new(scenario: Scenario, trace: Trace, sabotage: Option<Sabotage>) -> Self {
        let gate = Gate::default();
        let bytes = Arc::new(InMemory::new());
        let watch = Watch::new(MediaStore::over(bytes.clone()), trace.clone());
        let luck = |odds, salt: u64| Luck::new(odds, gate.clone(), scenario.seed ^ salt);
        let sqlite = SqliteStore::in_memory().await.expect("a store in memory opens");
        let truth: Arc<dyn Store> = Arc::new(sqlite.clone());
        let inner = Sabotaged::new(sqlite, sabotage);
        let store = Arc::new(Faulty { inner, luck: luck(scenario.store, 1), watch: watch.clone() });
        let media = MediaStore::over(Arc::new(FaultyObjects { inner: bytes.clone(), luck: luck(scenario.media, 2) }));
        let workers = scenario.workers.iter().cloned().enumerate().map(|(at, plan)| Worker::new(at, plan)).collect();
        let mut world = Self {
            now_ms: 0,
            queue: BTreeMap::new(),
            events: 0,
            r: StdRng::seed_from_u64(scenario.seed ^ 3),
            child: luck(scenario.child, 4),
            kills_turns: scenario.kills_turns.clone(),
            scenario,
            gate,
            trace,
            watch,
            store,
            truth,
            media,
            objects: bytes,
            sabotage,
            house: None,
            lives: 0,
            last_step: 0,
            workers,
            publishers: Vec::new(),
            player: Player::default(),
            heard_of: BTreeSet::new(),
        };
        world.people().await;
        world
    }

    /// Makes the streams and says when who comes and goes.
    async fn people(&mut self) {
        self.after(0, Event::Boot);
        self.after(1_500, Event::Fetch);
        if self.scenario.streams.iter().any(|plan| plan.moderation.is_some()) {
            self.after(3_000, Event::Decide);
        }
        for (at, plan) in self.scenario.streams.clone().into_iter().enumerate() {
            let stream = stream(at, &plan);
            self.truth.create_stream(&stream).await.expect("the store works");
            let window = (u64::from(plan.window_s) * 1_000).div_ceil(plan.segment_ms.into()).max(6);
            self.watch.open_stream(&stream.id, window, &plan);
            self.watch.open_chains(&Chain::of(&stream));
            let begin = if plan.live { Event::Publish(at) } else { Event::Upload(at) };
            self.after(plan.start_ms, begin);
            self.publishers.push(Publisher::new(stream.id, plan, format!("s{at}_secret")));
        }
        for (at, plan) in self.scenario.workers.clone().into_iter().enumerate() {
            self.after(plan.start_ms, Event::Start(at, false));
            for end in plan.ends {
                self.after(end.at_ms, Event::End(at, end.asked));
                if let Some(back_ms) = end.back_ms {
                    // One that was asked to leave takes its time; it is there already then, and stays.
                    let gone_ms = if end.asked { 36_000 } else { 0 };
                    self.after(end.at_ms + gone_ms + back_ms, Event::Start(at, end.new_key));
                }
            }
        }
        // Whatever was before: in the calm part the anchor is there.
        self.after(self.scenario.calm_ms + 40_000, Event::Start(0, false));
    }

    pub(crate) fn after(&mut self, delay_ms: u64, event: Event) {
        self.events += 1;
        self.queue.insert((self.now_ms + delay_ms, self.events), event);
    }

    /// Runs to the end, or to the first objection.
    pub(crate) async fn run(&mut self) {
        while self.trace.objection().is_none() {
            if self.is_over() {
                return self.finale().await;
            }
            let Some(((at_ms, _), event)) = self.queue.pop_first() else {
                return self.trace.object(format_args!("nothing will ever happen again"));
            };
            if at_ms > self.scenario.end_ms || self.events > EVENTS_MAX {
                let events = self.events;
                return self.trace.object(format_args!("not all is published; {events} events"));
            }
            self.now_ms = at_ms;
            self.gate.set_now_ms(at_ms);
            self.trace.set_now_ms(at_ms);
            self.watch.set_now_ms(at_ms);
            self.watch.anchor(self.anchored_since_ms());
            self.happen(event).await;
        }
    }

    async fn happen(&mut self, event: Event) {
        match event {
            Event::Boot => self.boot(),
            Event::Tick(life, which) => self.rings(life, which),
            Event::Turn(step) => self.turn(step).await,
            Event::PollEnds(place) => self.poll_ends(place),
            Event::Arrives(request) => self.arrives(request),
            Event::HungUp(who, call) => self.hung_up(who, call),
            Event::Answer(who, answer) => self.answered(who, answer),
            Event::Wake(who, wake_ms) => self.wake(who, wake_ms),
            Event::Start(worker, new_key) => self.start_worker(worker, new_key),
            Event::End(worker, true) => self.ask_to_leave(worker),
            Event::End(worker, false) => self.kill_worker(worker),
            Event::Publish(publisher) => self.publish(publisher),
            Event::Upload(publisher) => {
                let id = self.publishers[publisher].id.clone();
                self.truth.note_upload(&id, 1, Some(1)).await.expect("the store works");
            }
            Event::Fetch => {
                self.fetch_playlists();
                let pause_ms = self.r.random_range(500..6_000);
                self.after(pause_ms, Event::Fetch);
            }
            Event::Decide => self.decide(),
        }
    }

    /// Since when the honest anchor could do work, if it can now.
    fn anchored_since_ms(&self) -> Option<u64> {
        let anchor = &self.workers[0];
        let (body, house) = (anchor.body.as_ref()?, self.house.as_ref()?);
        if anchor.is_cut(self.now_ms) {
            return None;
        }
        let cut_ms = anchor.plan.cuts.iter().map(|(_, to_ms)| *to_ms).filter(|to_ms| *to_ms <= self.now_ms).max();
        Some(body.begun_ms.max(house.born_ms).max(cut_ms.unwrap_or(0)))
    }

    fn is_over(&self) -> bool {
        if self.now_ms < self.scenario.calm_ms || !self.publishers.iter().all(Publisher::is_done) {
            return false;
        }
        self.watch.all_ended() && self.watch.all_settled()
    }
}

fn stream(at: usize, plan: &StreamPlan) -> Stream {
    let rung = |name: &str, short_side_px| Rung {
        name: name.into(),
        short_side_px,
        codec: VideoCodec::H264,
        crf: Some(23),
        bitrate_bps_max: Some(1_000_000),
        bitrate_bps: None,
        preset: Preset::Veryfast,
        profile: None,
        fps_divisor: 1,
    };
    let id = format!("s{at}").parse().expect("it is plain");
    let source = if plan.live { Source::Live } else { Source::File };
    let profile = Profile {
        segment_ms: plan.segment_ms,
        window_s: plan.window_s,
        retention_s: plan.retention_s,
        encryption: None,
        passthrough: plan.passthrough,
        auto: false,
        policy: plan.policy,
        captions: plan.captions.clone(),
        moderation: plan.moderation.clone(),
        products: plan.products.clone(),
        ladder: vec![rung("240p", 240), rung("120p", 120)],
    };
    Stream { key_sha256: plan.live.then(|| Sha256::of(b"secret")), ..Stream::new(id, "", source, profile, 0) }
}
