//! Publishers: live ones that come, send, break off and come back, and recordings that are read.
//!
//! What `ingest/live.rs` and `ingest/file.rs` do around an intake is done here with steps; cutting, writing and
//! committing is the library's.

mod recording;

pub(crate) use recording::complete_files;

use std::{collections::BTreeMap, sync::Arc};

use millrace_cmaf::{Audio, Codec, Sample, Track, Video, aac};
use millrace_orchestrator::{
    house::Hold,
    ingest::{
        event::{Event as Sent, Refusal},
        intake::{Error, Intake, Tried},
        live::{self, Ending},
    },
    store::record::Stream,
};
use millrace_proto::StreamId;
use rand::Rng;

use crate::{
    house::{Effect, Rooms},
    labour::{Frame, Taint},
    scenario::StreamPlan,
    world::{Event, World},
};

/// A publisher's samples come in batches of so long.
const BATCH_MS: u64 = 400;
/// Pause between tries to write.
const RETRY_MS: u64 = 500;
/// A publisher is cut off when writing failed so often, one try after the other.
const TRIES_MAX: u32 = 40;

/// A stream's source.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) id: StreamId,
    pub(crate) plan: StreamPlan,
    pub(crate) key: String,
    /// Which connection is next or under way.
    connection: usize,
    phase: Phase,
    /// Frames sent, by connection.
    pub(crate) sent: BTreeMap<u16, u32>,
    /// Frames that were acknowledged as durable, by connection.
    pub(crate) acknowledged: BTreeMap<u16, u32>,
}

#[derive(Debug)]
enum Phase {
    /// Connects when its time comes.
    Away,
    Asking,
    Live(Box<Line>),
    /// No more will come.
    Done,
}

#[derive(Debug)]
struct Line {
    /// With its intake, when no step has it.
    intake: Option<Box<Intake>>,
    hold: Option<Hold>,
    since_ms: u64,
    /// What is still to be sent, with the time since the connection's start.
    ahead: std::collections::VecDeque<(u64, Sent)>,
    frames: u32,
}

/// What a publisher's step leaves behind.
#[derive(Debug)]
pub(crate) enum Taken {
    Admitted(Result<Box<(Stream, Hold)>, Refusal>),
    /// A batch was taken: so many segments became durable.
    Batch(Box<Intake>, Result<usize, String>),
    Left {
        clean: bool,
    },
}

impl Publisher {
    pub(crate) fn new(id: StreamId, plan: StreamPlan, key: String) -> Self {
        // A file needs no publisher once it lies there.
        let phase = if plan.live { Phase::Away } else { Phase::Done };
        let (sent, acknowledged) = (BTreeMap::new(), BTreeMap::new());
        Self { id, plan, key, connection: 0, phase, sent, acknowledged }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }
}

/// Everything that one connection sends, with the time since its start in milliseconds.
fn samples(plan: &StreamPlan, connection: usize) -> Vec<(u64, Sent)> {
    let of = &plan.connections[connection];
    let video = Video { width: 320, height: 240, pixel_aspect: (1, 1), rotation_deg: 0 };
    let audio = Audio { sample_rate: 8_000, channels: 1 };
    let config = aac::config(audio).expect("8 kHz mono is one of its rates");
    let tracks = Sent::Tracks {
        video: Some(Track { timescale: 90_000, codec: Codec::Vp8 { video } }),
        audio: plan.audio.then(|| Track { timescale: 8_000, codec: Codec::Aac { audio, config } }),
    };
    let mut timed = vec![(0, tracks)];
    // Publishers' clocks start where they like.
    let offset_ms = 1_000 * connection as u64 + 7_000;
    for number in 0..of.frames {
        let at_ms = u64::from(number * plan.frame_ms);
        let group = number / plan.gop_frames;
        let taint = of.taints.iter().find(|(at, _)| *at == group).map_or(Taint::Sound, |(_, taint)| *taint);
        let frame = Frame { taint, connection: connection as u16, number };
        let pts = ((offset_ms + at_ms) * 90) as i64;
        let key = number % plan.gop_frames == 0;
        timed.push((at_ms, Sent::Video(Sample { pts, dts: pts, duration: 0, key, data: frame.bytes() })));
    }
    if plan.audio {
        for packet in 0..u64::from(of.frames * plan.frame_ms) * 8 / 1_024 {
            let at = packet * 1_024;
            let pts = (offset_ms * 8 + at) as i64;
            let data = bytes::Bytes::from_static(b"sound");
            timed.push((at / 8, Sent::Audio(Sample { pts, dts: pts, duration: 1_024, key: true, data })));
        }
        timed.sort_by_key(|(at_ms, _)| *at_ms);
    }
    timed
}

impl World {
    /// A publisher's moment: connect, or send what is due.
    pub(crate) fn publish(&mut self, at: usize) {
        let now_ms = self.now_ms;
        let publisher = &mut self.publishers[at];
        match &mut publisher.phase {
            Phase::Done | Phase::Asking => {}
            Phase::Away => {
                let Some(house) = &self.house else { return self.after(1_000, Event::Publish(at)) };
                publisher.phase = Phase::Asking;
                let (rooms, key) = (house.rooms.clone(), publisher.key.clone());
                self.spawn("admit", None, async move {
                    let admitted = live::admit(&rooms.store, &rooms.publishing, &key, rooms.gate.now_ms()).await;
                    Effect::Publisher(at, Box::new(Taken::Admitted(admitted.map(Box::new))))
                });
            }
            Phase::Live(line) => {
                let Some(intake) = line.intake.take() else { return };
                let due = line.ahead.iter().take_while(|(at_ms, _)| line.since_ms + at_ms <= now_ms).count();
                let batch: Vec<Sent> = line.ahead.drain(..due).map(|(_, sent)| sent).collect();
                line.frames += batch.iter().filter(|sent| matches!(sent, Sent::Video(_))).count() as u32;
                publisher.sent.insert(publisher.connection as u16, line.frames);
                let Some(house) = &self.house else { return };
                let rooms = house.rooms.clone();
                if batch.is_empty() && line.ahead.is_empty() {
                    let hold = line.hold.take();
                    let goodbye = publisher.plan.connections[publisher.connection].goodbye;
                    let ending = if goodbye { Ending::Goodbye } else { Ending::Lost(None) };
                    self.spawn("leave", None, async move { leave(rooms, at, intake, hold, ending).await });
                } else {
                    self.spawn("intake", None, async move { take(rooms, at, intake, batch).await });
                }
            }
        }
    }

    pub(crate) fn publisher_taken(&mut self, at: usize, taken: Taken) {
        let now_ms = self.now_ms;
        let publisher = &mut self.publishers[at];
        let id = publisher.id.clone();
        let number = publisher.connection as u16;
        match taken {
            Taken::Admitted(Ok(admitted)) => {
                let (stream, hold) = *admitted;
                self.trace.say(format_args!("{id}: connection {number} is live from {}", stream.next_seq));
                let Some(house) = &self.house else { return };
                let limits = house.rooms.ingest.limits(&stream.profile);
                let intake = Intake::live(house.rooms.store.clone(), house.rooms.media.clone(), stream, limits, 300);
                let ahead = samples(&publisher.plan, publisher.connection).into();
                let line =
                    Line { intake: Some(Box::new(intake)), hold: Some(hold), since_ms: now_ms, ahead, frames: 0 };
                publisher.phase = Phase::Live(Box::new(line));
                self.after(0, Event::Publish(at));
            }
            Taken::Admitted(Err(Refusal::Ended)) => {
                self.trace.say(format_args!("{id}: connection {number} comes too late"));
                publisher.phase = Phase::Done;
            }
            Taken::Admitted(Err(refusal)) => {
                self.trace.say(format_args!("{id}: connection {number} is refused, {refusal:?}"));
                publisher.phase = Phase::Away;
                self.after(1_000, Event::Publish(at));
            }
            Taken::Batch(intake, result) => {
                let Phase::Live(line) = &mut publisher.phase else { return };
                if let Ok(done) = &result
                    && *done > 0
                {
                    let durable = self.watch.book(&id, |book| book.frames_of(number));
                    publisher.acknowledged.insert(number, durable);
                }
                if let Err(why) = result {
                    self.trace.say(format_args!("{id}: connection {number} is cut off, {why}"));
                    let hold = line.hold.take();
                    let Some(house) = &self.house else { return };
                    let rooms = house.rooms.clone();
                    let ending = Ending::Lost(Some(why));
                    return self.spawn("leave", None, async move { leave(rooms, at, intake, hold, ending).await });
                }
                line.intake = Some(intake);
                let next_ms = line.ahead.front().map_or(0, |(at_ms, _)| line.since_ms + at_ms).max(now_ms + 1);
                let pause_ms = if line.ahead.is_empty() { 0 } else { BATCH_MS };
                self.after((next_ms - now_ms).max(pause_ms), Event::Publish(at));
            }
            Taken::Left { clean } => {
                self.trace.say(format_args!("{id}: connection {number} left, clean {clean}"));
                if clean && let Some(&sent) = publisher.sent.get(&number) {
                    publisher.acknowledged.insert(number, sent);
                }
                self.next_connection(at);
            }
        }
    }

    fn next_connection(&mut self, at: usize) {
        let publisher = &mut self.publishers[at];
        let pause_ms = publisher.plan.connections[publisher.connection].pause_ms;
        publisher.connection += 1;
        if publisher.connection < publisher.plan.connections.len() {
            publisher.phase = Phase::Away;
            self.after(pause_ms, Event::Publish(at));
        } else {
            publisher.phase = Phase::Done;
        }
    }

    /// The orchestrator died: every publisher's connection broke.
    pub(crate) fn publishers_lost(&mut self) {
        for at in 0..self.publishers.len() {
            let pause_ms = self.r.random_range(300..3_000);
            let publisher = &mut self.publishers[at];
            match std::mem::replace(&mut publisher.phase, Phase::Done) {
                Phase::Done => {}
                Phase::Away => publisher.phase = Phase::Away,
                Phase::Asking => {
                    publisher.phase = Phase::Away;
                    self.after(pause_ms, Event::Publish(at));
                }
                Phase::Live(line) => {
                    // It comes back with what it had still to say.
                    let (number, sent) = (publisher.connection, line.frames);
                    let mut rest = publisher.plan.connections[number].clone();
                    rest.frames = (rest.frames - sent).max(3);
                    publisher.plan.connections.insert(number + 1, rest);
                    publisher.plan.connections[number].pause_ms = pause_ms;
                    self.next_connection(at);
                }
            }
        }
    }
}

/// Commits all that waits in an intake, and says how many segments became durable.
async fn settle(rooms: &Rooms, intake: &mut Intake) -> Result<usize, Error> {
    let (mut done, mut tries) = (0, 0);
    loop {
        match intake.commit_next().await? {
            Tried::Nothing => return Ok(done),
            Tried::Passed => {}
            Tried::Done => {
                done += 1;
                tries = 0;
                rooms.committed(intake.id());
            }
            Tried::Again(why) if tries >= TRIES_MAX => return Err(Error::Storage(0, why)),
            Tried::Again(_) => {
                tries += 1;
                rooms.gate.sleep(RETRY_MS).await;
            }
        }
    }
}

async fn take(rooms: Arc<Rooms>, at: usize, mut intake: Box<Intake>, batch: Vec<Sent>) -> Effect {
    let mut done = 0;
    for sent in batch {
        let taken = match intake.push(sent, rooms.gate.now_ms()) {
            Ok(()) => settle(&rooms, &mut intake).await,
            Err(error) => Err(error),
        };
        match taken {
            Ok(count) => done += count,
            Err(error) => return Effect::Publisher(at, Box::new(Taken::Batch(intake, Err(error.to_string())))),
        }
    }
    Effect::Publisher(at, Box::new(Taken::Batch(intake, Ok(done))))
}

async fn leave(rooms: Arc<Rooms>, at: usize, mut intake: Box<Intake>, hold: Option<Hold>, ending: Ending) -> Effect {
    intake.close(rooms.gate.now_ms());
    let clean = settle(&rooms, &mut intake).await.is_ok();
    // Where this fails, the grace loop finds it.
    let _ = live::interrupt(&rooms.store, &rooms.ingest, intake.id(), ending, rooms.gate.now_ms()).await;
    drop(hold);
    Effect::Publisher(at, Box::new(Taken::Left { clean }))
}
