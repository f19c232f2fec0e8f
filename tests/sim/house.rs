//! The orchestrator in the world: its parts, its steps under way, its loops, its death and its return.
//!
//! What `house.rs`, `serve.rs` and `loops.rs` do with timers and tasks is done here with steps and events; the
//! decisions are all the library's.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use futures_util::FutureExt;
use millrace_orchestrator::{
    config::Ingest,
    farm::{Farm, Ticket, sessions::Sessions},
    house::{Busy, Hold},
    ingest::live,
    media::MediaStore,
    publish::{self, hls},
    store::{Store, record::Stream},
    task::{Task, machine::Policy},
    verify::Verifier,
};
use millrace_proto::{
    StreamId, TaskId,
    api::{Source, StreamState},
    worker::Polled,
};
use millrace_worker::agent::{Call, Input};
use rand::Rng;

use crate::{
    desk::{self, Said},
    eyes::Eyes,
    publishers::{self, Taken},
    sabotage::{self, Sabotage},
    step::{Gate, Park, Progress, Step},
    wire::{Answer, Request, Who},
    world::{Event, World},
};

/// Outcomes checked at once.
const CHECKS_MAX: usize = 2;

/// What the parts of one running orchestrator share.
#[derive(Debug)]
pub(crate) struct Rooms {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) media: MediaStore,
    pub(crate) farm: Farm,
    pub(crate) sessions: Sessions,
    pub(crate) verifier: Verifier,
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
        self.nudged.lock().unwrap().insert(stream.clone());
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loop {
    Assign,
    Expire,
    Check,
    Publish,
    Sweep,
    Grace,
    Files,
    Retain,
}

const LOOPS: [Loop; 7] = [Loop::Assign, Loop::Expire, Loop::Check, Loop::Sweep, Loop::Grace, Loop::Files, Loop::Retain];

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
            verifier: Verifier { store: self.store.clone(), eyes, policy },
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
            Effect::Shown(stream, texts) => self.player.fetched(&stream, &texts, &self.trace),
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
        if rooms.farm.check.notified().now_or_never().is_some() {
            self.tick(Loop::Check);
        }
        self.tick(Loop::Publish);
        self.start_checks();
        self.look_at_places();
    }

    fn start_checks(&mut self) {
        loop {
            let Some(house) = &mut self.house else { return };
            if house.to_check.is_empty() || house.checking.len() >= CHECKS_MAX {
                return;
            }
            let id = house.to_check.remove(0);
            house.checking.insert(id.clone());
            let rooms = house.rooms.clone();
            self.spawn("check", None, async move {
                judge(&rooms, &id).await;
                Effect::Judged(id)
            });
        }
    }

    /// Answers the polls that leases were given to, or whose place was taken by a newer one.
    fn look_at_places(&mut self) {
        use tokio::sync::oneshot::error::TryRecvError;
        let Some(house) = &mut self.house else { return };
        let mut told = Vec::new();
        for (&number, place) in &mut house.places {
            match place.ticket.leases.try_recv() {
                Ok(leases) => told.push((number, leases)),
                Err(TryRecvError::Closed) => told.push((number, Vec::new())),
                Err(TryRecvError::Empty) => {}
            }
        }
        for (number, leases) in told {
            let place = self.house.as_mut().and_then(|house| house.places.remove(&number)).expect("it was seen above");
            let revoked = place.ticket.revoked.clone();
            let input = Input::Polled(place.call, Ok(Polled { leases, revoked }));
            self.answer(place.who, place.call, input.into());
        }
    }

    /// A poll has waited long enough.
    pub(crate) fn poll_ends(&mut self, number: u64) {
        let Some(house) = &mut self.house else { return };
        let Some(place) = house.places.remove(&number) else { return };
        let revoked = place.ticket.revoked.clone();
        let leases = house.rooms.farm.leave(place.ticket);
        let input = Input::Polled(place.call, Ok(Polled { leases, revoked }));
        self.answer(place.who, place.call, input.into());
    }

    /// A request arrives.
    pub(crate) fn arrives(&mut self, request: Request) {
        let (who, call) = (request.who, request.call);
        let Some(house) = &self.house else { return self.connection_broke(who, call) };
        let (rooms, name) = (house.rooms.clone(), request.ask.name());
        self.spawn(name, Some((who, call)), async move {
            let (who, call, said) = desk::serve(rooms, request).await;
            Effect::Said(who, call, said)
        });
    }

    /// The worker hung up: its request is dropped wherever it is.
    pub(crate) fn hung_up(&mut self, who: Who, call: Call) {
        let Some(house) = &mut self.house else { return };
        house.steps.retain(|_, under| under.of != Some((who, call)));
        let gone: Vec<u64> =
            house.places.iter().filter(|(_, place)| (place.who, place.call) == (who, call)).map(|(&n, _)| n).collect();
        for number in gone {
            let Some(house) = &mut self.house else { return };
            let place = house.places.remove(&number).expect("it was seen above");
            let rooms = house.rooms.clone();
            let leases = rooms.farm.leave(place.ticket);
            if !leases.is_empty() {
                self.spawn("undeliver", None, async move {
                    // Where this fails, the leases run out by themselves.
                    let _ = rooms.farm.undeliver(&leases, rooms.gate.now_ms()).await;
                    Effect::Nothing
                });
            }
        }
    }

    /// A loop's timer rings.
    pub(crate) fn rings(&mut self, life: u64, which: Loop) {
        if life != self.lives || self.house.is_none() {
            return;
        }
        self.tick(which);
        let period_ms = match which {
            Loop::Sweep | Loop::Grace | Loop::Files => 2_000,
            Loop::Retain => 5_000,
            _ => self.scenario.loop_ms,
        };
        self.after(period_ms, Event::Tick(life, which));
    }

    /// Runs a loop's body, unless it still runs.
    fn tick(&mut self, which: Loop) {
        let Some(house) = &mut self.house else { return };
        let next = house.to_publish.first().cloned();
        if which == Loop::Publish && next.is_none() || !house.looping.insert(which) {
            return;
        }
        let rooms = house.rooms.clone();
        match which {
            Loop::Assign => self.spawn("assign", None, async move {
                let _ = rooms.farm.assign_once(rooms.gate.now_ms()).await;
                Effect::Turned(which)
            }),
            Loop::Expire => self.spawn("expire", None, async move {
                for task in rooms.farm.expire_once(rooms.gate.now_ms()).await.unwrap_or_default() {
                    rooms.committed(&task.stream);
                }
                Effect::Turned(which)
            }),
            Loop::Check => self.spawn("checks", None, async move {
                Effect::ToCheck(rooms.store.tasks_checking(256).await.unwrap_or_default())
            }),
            Loop::Publish => {
                let stream = next.expect("it was seen above");
                house.to_publish.remove(&stream);
                self.spawn("publish", None, async move {
                    let _ = publish::advance(&rooms.store, &stream, rooms.gate.now_ms()).await;
                    Effect::Turned(which)
                });
            }
            Loop::Sweep => self.spawn("sweep", None, async move {
                let open = [StreamState::Live, StreamState::Interrupted, StreamState::Finishing];
                let streams = rooms.store.streams_in(&open).await.unwrap_or_default();
                Effect::ToSweep(streams.into_iter().map(|stream| stream.id).collect())
            }),
            Loop::Grace => self.spawn("grace", None, async move {
                let now_ms = rooms.gate.now_ms();
                let _ = live::recover(&rooms.store, &rooms.publishing, &rooms.ingest, now_ms).await;
                let ended = live::end_overdue(&rooms.store, &rooms.publishing, rooms.gate.now_ms()).await;
                ended.unwrap_or_default().iter().for_each(|stream| rooms.committed(stream));
                Effect::Turned(which)
            }),
            Loop::Retain => self.spawn("retain", None, async move {
                let open = [StreamState::Live, StreamState::Interrupted, StreamState::Finishing, StreamState::Ended];
                for stream in rooms.store.streams_in(&open).await.unwrap_or_default() {
                    if stream.profile.retention_s.is_some() {
                        // What it does not come to, the next one does.
                        let now_ms = rooms.gate.now_ms();
                        let _ = publish::retention::sweep(&rooms.store, &rooms.media, &stream, now_ms).await;
                    }
                }
                Effect::Turned(which)
            }),
            Loop::Files => self.spawn("files", None, async move {
                let files = publishers::complete_files(&rooms).await;
                Effect::ToRead(files)
            }),
        }
    }

    /// A player fetches the playlists of a stream.
    pub(crate) fn fetch_playlists(&mut self) {
        let at = self.r.random_range(0..self.publishers.len());
        let id = self.publishers[at].id.clone();
        let Some(house) = &self.house else { return };
        let rooms = house.rooms.clone();
        self.spawn("player", None, async move { playlists(&rooms.store, &id).await.unwrap_or(Effect::Nothing) });
    }
}

/// The playlists of all renditions of a stream, as `http/hls.rs` makes them.
pub(crate) async fn playlists(store: &Arc<dyn Store>, id: &StreamId) -> Option<Effect> {
    let stream = store.stream(id).await.ok()??;
    let span = if stream.source == Source::Live { hls::Span::Window } else { hls::Span::Event };
    let segments = publish::covered(store, &stream, span).await.ok()?;
    if segments.is_empty() {
        return None;
    }
    let text = |name: &String| (name.clone(), hls::media(&stream, name, &segments, span));
    let names = stream.variants.iter().map(|variant| &variant.name);
    Some(Effect::Shown(id.clone(), names.map(text).collect()))
}

async fn judge(rooms: &Rooms, id: &TaskId) {
    let Ok(Some(task)) = rooms.store.task(id).await else { return };
    if rooms.sabotage == Some(Sabotage::BelieveWorkers) {
        return sabotage::believe(&rooms.store, task, rooms.gate.now_ms()).await;
    }
    match rooms.verifier.check(task, rooms.gate.now_ms()).await {
        Ok(None) => {}
        Ok(Some(task)) => rooms.committed(&task.stream),
        Err(_) => rooms.gate.sleep(500).await,
    }
}

/// Says an answer that is no agent's business to whoever asked.
pub(crate) fn broken(call: Call, ask: &str) -> Option<Answer> {
    let fault = desk::away("the connection broke");
    Some(Answer::from(match ask {
        "challenge" => Input::Challenged(call, Err(fault)),
        "open" => Input::Opened(call, Err(fault)),
        "poll" => Input::Polled(call, Err(fault)),
        "renew" => Input::Renewed(call, Err(fault)),
        "finish" => Input::Finished(call, Err(fault)),
        "fetch" => Input::Fetched(call, Err(fault)),
        "upload" => Input::Uploaded(call, Err(fault)),
        _ => return None,
    }))
}
