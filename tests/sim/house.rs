//! The orchestrator in the world: its parts, its steps under way, its loops, its death and its return.
//!
//! What `house.rs`, `serve.rs` and `loops.rs` do with timers and tasks is done here with steps and events; the
//! decisions are all the library's.

mod loops;
mod queue;

use loops::LOOPS;
pub(crate) use loops::{Loop, playlists};

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use futures_util::FutureExt;
use millrace_orchestrator::{
    config::Ingest,
    farm::{Farm, Ticket, sessions::Sessions},
    house::{Busy, Hold},
    media::MediaStore,
    store::{Store, record::Stream},
    task::{Task, machine::Policy},
    uploads::Uploads,
    verify::Verifier,
};
use millrace_proto::{StreamId, TaskId};
use millrace_worker::agent::Call;
use rand::Rng;

use crate::{
    check::Book,
    desk::Said,
    eyes::Eyes,
    publishers::Taken,
    sabotage::Sabotage,
    step::{Gate, Park, Progress, Step},
    wire::Who,
    world::{Event, World},
};

/// What the parts of one running orchestrator share.
#[derive(Debug)]
pub(crate) struct Rooms {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) media: MediaStore,
    pub(crate) farm: Farm,
    pub(crate) sessions: Sessions,
    pub(crate) verifier: Verifier,
    pub(crate) uploads: Uploads,
    pub(crate) publishing: Busy,
    pub(crate) reading: Busy,
    pub(crate) ingest: Ingest,
    pub(crate) gate: Gate,
    sabotage: Option<Sabotage>,
    nudged: Mutex<BTreeSet<StreamId>>,
}

impl Rooms {
    /// Segments of `stream` became durable or settled.
    pub(crate) fn committed(&self, stream: &StreamId) {
        self.farm.assign.notify_one();
        self.farm.plan.notify_one();
        self.nudged.lock().unwrap().insert(stream.clone());
    }
}

/// What a step leaves behind.
pub(crate) enum Effect {
    Said(Who, Call, Said),
    Turned(Loop),
    ToCheck(Vec<Task>),
    ToSweep(Vec<StreamId>),
    ToRead(Vec<(Stream, Hold)>),
    Judged(TaskId),
    Publisher(usize, Box<Taken>),
    Shown(StreamId, Vec<(String, String)>),
    Nothing,
}

/// A worker's place in the queue for work.
struct Place {
    who: Who,
    call: Call,
    ticket: Ticket,
}

struct Under {
    step: Step<Effect>,
    /// Whose request it answers: dropped when that connection ends.
    of: Option<(Who, Call)>,
    name: &'static str,
}

/// One life of the orchestrator.
pub(crate) struct House {
    pub(crate) rooms: Arc<Rooms>,
    pub(crate) born_ms: u64,
    steps: BTreeMap<u64, Under>,
    places: BTreeMap<u64, Place>,
    looping: BTreeSet<Loop>,
    to_check: Vec<TaskId>,
    checking: BTreeSet<TaskId>,
    to_publish: BTreeSet<StreamId>,
    turns: u64,
    dies_at_turn: Option<u64>,
}

impl World {
    /// Starts the orchestrator on what the last one left behind.
    pub(crate) fn boot(&mut self) {
        let policy = Policy::default();
        let eyes = Arc::new(Eyes { media: self.media.clone(), luck: self.child.clone(), gate: self.gate.clone() });
        let rooms = Arc::new(Rooms {
            store: self.store.clone(),
            media: self.media.clone(),
            farm: Farm::new(self.store.clone(), policy),
            sessions: Sessions::default(),
            verifier: Verifier { store: self.store.clone(), media: self.media.clone(), eyes, policy },
            uploads: Uploads::default(),
            publishing: Busy::default(),
            reading: Busy::default(),
            ingest: Ingest::default(),
            gate: self.gate.clone(),
            sabotage: self.sabotage,
            nudged: Mutex::default(),
        });
        self.lives += 1;
        let kills = &mut self.kills_turns;
        let dies_at_turn =
            if self.now_ms < self.scenario.calm_ms && !kills.is_empty() { Some(kills.remove(0)) } else { None };
        self.trace.say(format_args!("the orchestrator is up"));
        self.house = Some(House {
            rooms,
            born_ms: self.now_ms,
            steps: BTreeMap::new(),
            places: BTreeMap::new(),
            looping: BTreeSet::new(),
            to_check: Vec::new(),
            checking: BTreeSet::new(),
            to_publish: BTreeSet::new(),
            turns: 0,
            dies_at_turn,
        });
        for which in LOOPS {
            self.after(0, Event::Tick(self.lives, which));
        }
    }

    /// Kills the orchestrator: everything in its memory is gone, connections break.
    fn die(&mut self) {
        let Some(house) = self.house.take() else { return };
        let names: Vec<&str> = house.steps.values().map(|under| under.name).collect();
        self.trace.say(format_args!("the orchestrator is killed amid {names:?}"));
        let places = house.places.into_values().map(|place| (place.who, place.call));
        let steps = house.steps.into_values().filter_map(|under| under.of);
        for (who, call) in places.chain(steps).collect::<Vec<_>>() {
            self.connection_broke(who, call);
        }
        self.publishers_lost();
        let (from_ms, to_ms) = self.scenario.down_ms;
        let down_ms = self.r.random_range(from_ms..=to_ms);
        self.after(down_ms, Event::Boot);
    }

    pub(crate) fn spawn(
        &mut self,
        name: &'static str,
        of: Option<(Who, Call)>,
        future: impl Future<Output = Effect> + Send + 'static,
    ) {
        self.last_step += 1;
        let number = self.last_step;
        let Some(house) = &mut self.house else { return };
        house.steps.insert(number, Under { step: Step::new(future), of, name });
        let wait_ms = self.r.random_range(0..=self.scenario.turn_ms_max);
        self.after(wait_ms, Event::Turn(number));
    }

    /// Moves a step on to its next await.
    pub(crate) async fn turn(&mut self, number: u64) {
        let Some(house) = &mut self.house else { return };
        if !house.steps.contains_key(&number) {
            return;
        }
        house.turns += 1;
        if house.dies_at_turn.is_some_and(|turn| house.turns >= turn) {
            return self.die();
        }
        let mut under = house.steps.remove(&number).expect("it was seen above");
        let wait_ms = match under.step.advance(&self.gate).await {
            Progress::Done(effect) => {
                self.effect(effect);
                return self.look_around();
            }
            Progress::Parked(Park::Turn) => self.r.random_range(0..=self.scenario.turn_ms_max),
            Progress::Parked(Park::Until(at_ms)) => at_ms.saturating_sub(self.now_ms),
        };
        if let Some(house) = &mut self.house {
            house.steps.insert(number, under);
        }
        self.after(wait_ms, Event::Turn(number));
        self.look_around();
    }

    fn effect(&mut self, effect: Effect) {
        let Some(house) = &mut self.house else { return };
        match effect {
            Effect::Nothing => {}
            Effect::Said(who, call, Said::Now(answer)) => self.answer(who, call, answer),
            Effect::Said(who, call, Said::Later(ticket, wait_ms)) => {
                self.last_step += 1;
                let number = self.last_step;
                house.places.insert(number, Place { who, call, ticket });
                self.after(wait_ms, Event::PollEnds(number));
            }
            Effect::Turned(which) => drop(house.looping.remove(&which)),
            Effect::ToCheck(tasks) => {
                house.looping.remove(&Loop::Check);
                for task in tasks {
                    if !house.checking.contains(&task.id) && !house.to_check.contains(&task.id) {
                        house.to_check.push(task.id);
                    }
                }
            }
            Effect::ToSweep(streams) => {
                house.looping.remove(&Loop::Sweep);
                house.to_publish.extend(streams);
            }
            Effect::ToRead(streams) => {
                house.looping.remove(&Loop::Files);
                for (stream, hold) in streams {
                    self.read_file(stream, hold);
                }
            }
            Effect::Judged(task) => drop(house.checking.remove(&task)),
            Effect::Publisher(publisher, taken) => self.publisher_taken(publisher, *taken),
            Effect::Shown(stream, texts) => {
                let holds = self.watch.book(&stream, Book::holds);
                self.player.fetched(&stream, &texts, &holds, &self.trace);
            }
        }
    }

    /// Acts on what steps left in memory: nudges, leases given, outcomes to check.
    fn look_around(&mut self) {
        let Some(house) = &mut self.house else { return };
        let rooms = house.rooms.clone();
        house.to_publish.append(&mut rooms.nudged.lock().unwrap());
        if rooms.farm.assign.notified().now_or_never().is_some() {
            self.tick(Loop::Assign);
        }
        if rooms.farm.plan.notified().now_or_never().is_some() {
            self.tick(Loop::Plan);
        }
        if rooms.farm.check.notified().now_or_never().is_some() {
            self.tick(Loop::Check);
        }
        self.tick(Loop::Publish);
        self.start_checks();
        self.look_at_places();
    }
}
