//! HTTP push: segments that an app cut itself come in by number, in any order, and are taken in theirs.
//!
//! `http/push.rs` makes each durable and calls [`open`]; one session a stream takes them in order from the store,
//! reads each with the media child and drives the [`Intake`]. Every pushed segment becomes whole segments of its own,
//! so that one that was begun before a crash is cut again the same way and what was durable is passed over. The store
//! holds what came and how far it is; what is here are hints.

mod blend;
pub(super) mod bundle;
mod join;
mod order;
mod read;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use millrace_proto::{StreamId, api::Source};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    event::Refusal,
    intake::{self, Intake},
    live::{self, Ending},
};
use crate::{
    clock::now_ms,
    house::{Hold, House},
    store::{self, record::Pushed},
};

use blend::Blender;
use join::Joiner;

/// Pauses and tries to get hold of a stream that the grace loop looks at just now.
const HOLD_TRY: Duration = Duration::from_millis(50);
const HOLD_TRIES: u32 = 4;

/// Which streams are pushed into. Memory only.
#[derive(Debug, Default)]
pub struct Pushes {
    sessions: Mutex<HashMap<StreamId, Arc<Session>>>,
    receiving: Arc<Mutex<HashSet<(StreamId, u64)>>>,
}

/// One segment's bytes coming in; ends when dropped.
#[derive(Debug)]
pub struct Receiving(Arc<Mutex<HashSet<(StreamId, u64)>>>, (StreamId, u64));

impl Drop for Receiving {
    fn drop(&mut self) {
        self.0.lock().expect("no panic while held").remove(&self.1);
    }
}

/// One stream being pushed into.
#[derive(Debug, Default)]
struct Session {
    wake: Notify,
    /// No more will come: what is here is taken, over holes too.
    closing: AtomicBool,
    /// The program ends: what is here is taken by the next one.
    stopping: AtomicBool,
    /// Its segments are fetched by ourselves, in order: one that is missing will not come.
    pulled: bool,
    over: CancellationToken,
}

impl Pushes {
    fn session(&self, stream: &StreamId) -> Option<Arc<Session>> {
        self.sessions.lock().expect("no panic while held").get(stream).cloned()
    }

    fn receives(&self, stream: &StreamId) -> bool {
        self.receiving.lock().expect("no panic while held").iter().any(|(of, _)| of == stream)
    }

    /// Begins to receive a segment, unless the same one comes already or `most` of the stream do.
    pub fn receive(&self, stream: &StreamId, number: u64, most: u64) -> Option<Receiving> {
        let name = (stream.clone(), number);
        let mut receiving = self.receiving.lock().expect("no panic while held");
        let coming = receiving.iter().filter(|(of, _)| of == stream).count() as u64;
        (coming < most && receiving.insert(name.clone())).then(|| Receiving(self.receiving.clone(), name))
    }

    /// Whether the stream is pushed into.
    pub fn has(&self, stream: &StreamId) -> bool {
        self.session(stream).is_some()
    }

    /// How many streams are pushed into.
    pub fn count(&self) -> usize {
        self.sessions.lock().expect("no panic while held").len()
    }

    /// Ends all sessions after what they are at.
    pub fn stop(&self) {
        for session in self.sessions.lock().expect("no panic while held").values() {
            session.stopping.store(true, Ordering::Relaxed);
            session.wake.notify_one();
        }
    }
}

/// A segment is about to come, or has come: the stream is live and is pushed into.
pub async fn open(house: &Arc<House>, stream: &StreamId) -> Result<(), Refusal> {
    for _ in 0..HOLD_TRIES {
        if let Some(session) = house.pushes.session(stream) {
            session.wake.notify_one();
            return if session.closing.load(Ordering::Relaxed) { Err(Refusal::Ended) } else { Ok(()) };
        }
        if let Some(hold) = house.publishing.begin(stream) {
            let opened = live::open(&house.store, stream, now_ms()).await?;
            let session = Arc::new(Session { pulled: opened.source == Source::Url, ..Session::default() });
            house.pushes.sessions.lock().expect("no panic while held").insert(stream.clone(), session.clone());
            let live = opened.is_live();
            tokio::spawn(run(Opened { house: house.clone(), stream: stream.clone(), session, live }, hold));
            return Ok(());
        }
        tokio::time::sleep(HOLD_TRY).await;
    }
    Err(Refusal::Busy)
}

/// No more segments will come: waits until all that came are taken.
pub async fn close(house: &Arc<House>, stream: &StreamId) -> store::Result<()> {
    if !house.pushes.has(stream) && !house.store.pushes_open(stream).await?.1.is_empty() {
        // What an earlier run left. If the stream can't be opened, nothing of it will ever be taken.
        let _ = open(house, stream).await;
    }
    if let Some(session) = house.pushes.session(stream) {
        session.closing.store(true, Ordering::Relaxed);
        session.wake.notify_one();
        session.over.cancelled().await;
    }
    Ok(())
}

/// Streams with segments that nobody takes are opened: the last run ended, or a session was cut off.
pub async fn resume(house: &Arc<House>) -> store::Result<()> {
    for stream in house.store.streams_pushed().await? {
        if !house.pushes.has(&stream)
            && let Err(refusal) = open(house, &stream).await
        {
            tracing::debug!(%stream, %refusal, "pushed segments wait");
        }
    }
    Ok(())
}

/// A session that others find; they no longer do when it is dropped.
struct Opened {
    house: Arc<House>,
    stream: StreamId,
    session: Arc<Session>,
    live: bool,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.house.pushes.sessions.lock().expect("no panic while held").remove(&self.stream);
        self.session.over.cancel();
    }
}

async fn run(opened: Opened, hold: Hold) {
    let Opened { house, stream, session, live } = &opened;
    tracing::info!(%stream, "pushed into");
    let ending = drain(house, stream, session).await;
    // Recordings have no publisher that could be lost.
    if *live {
        live::leave(house, stream, ending).await;
    } else if let Ending::Lost(Some(why)) = ending {
        tracing::warn!(%stream, why, "cutting stops here and starts again");
    }
    drop(hold);
}

/// What a session does next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Takes the first of those that are open; `hole` if one before it never came.
    Take { hole: bool },
    /// Waits for one with a lower number, so long.
    Wait(u64),
    /// Nothing is open.
    Nothing,
}

fn next(number: u64, open: &[Pushed], wait_ms: u64, now_ms: u64) -> Next {
    let Some(first) = open.first() else { return Next::Nothing };
    if first.number == number || first.first_seq.is_some() {
        return Next::Take { hole: false };
    }
    let since_ms = open.iter().map(|push| push.received_ms).min().unwrap_or(now_ms);
    match (since_ms + wait_ms).saturating_sub(now_ms) {
        0 => Next::Take { hole: true },
        // A clock that was set back makes nothing wait longer.
        left_ms => Next::Wait(left_ms.min(wait_ms)),
    }
}

/// One stream's segments on their way in.
#[derive(Debug, Default)]
struct Flow {
    blender: Blender,
    joiner: Joiner,
    intake: Option<Intake>,
}

impl Flow {
    /// What comes next goes on from nothing.
    fn part(&mut self) {
        self.blender.part();
        self.joiner.part();
    }
}

async fn drain(house: &House, stream: &StreamId, session: &Session) -> Ending {
    let limits = &house.config.ingest;
    let idle = Duration::from_secs(limits.push_idle_s);
    let mut flow = Flow::default();
    let mut quiet = Instant::now();
    loop {
        if session.stopping.load(Ordering::Relaxed) {
            return Ending::Lost(None);
        }
        let closing = session.closing.load(Ordering::Relaxed);
        let wait_ms = if closing || session.pulled { 0 } else { limits.push_wait_ms };
        let (number, open) = match house.store.pushes_open(stream).await {
            Ok(found) => found,
            Err(error) => return Ending::Lost(Some(error.to_string())),
        };
        match next(number, &open, wait_ms, now_ms()) {
            Next::Take { hole } => {
                if hole {
                    flow.part();
                }
                if let Err(why) = take(house, &mut flow, &open[0], session.pulled).await {
                    tracing::warn!(%stream, number = open[0].number, why, "pushed segments wait");
                    return Ending::Lost(Some(why));
                }
                quiet = Instant::now();
            }
            Next::Wait(ms) => {
                let _ = tokio::time::timeout(Duration::from_millis(ms), session.wake.notified()).await;
            }
            Next::Nothing if closing => return Ending::Goodbye,
            Next::Nothing => {
                let woken = tokio::time::timeout_at(quiet + idle, session.wake.notified()).await;
                if woken.is_err() && !house.pushes.receives(stream) {
                    return Ending::Lost(None);
                }
                // A segment is on its way.
                quiet = Instant::now();
            }
        }
    }
}

/// Makes segments of a pushed one. An error, in words: it can't be done now.
async fn take(house: &House, flow: &mut Flow, push: &Pushed, pulled: bool) -> Result<(), String> {
    let id = &push.stream;
    let events = match read::read(house, push, pulled).await {
        Ok(events) => Ok(events),
        Err(read::Error::Later(why)) => return Err(why),
        Err(read::Error::Hopeless(why)) => Err(why),
    };
    let in_words = |error: store::Error| error.to_string();
    let mut intake = if let Some(intake) = flow.intake.take() {
        intake
    } else {
        flow.part();
        let stream = house.store.stream(id).await.map_err(in_words)?.ok_or("the stream is gone")?;
        let limits = house.config.ingest.limits(&stream.profile);
        let retry_s_max = house.config.ingest.storage_retry_s_max;
        let begun = if push.first_seq.is_some() { push.clone() } else { Pushed { tail: stream.tail, ..push.clone() } };
        Intake::pushed(house.store.clone(), house.media.clone(), stream, &begun, limits, retry_s_max)
            .with_eyes(house.verifier.eyes.clone())
    };
    if push.first_seq.is_none()
        && !house.store.begin_push(id, push.number, intake.next_seq(), intake.tail()).await.map_err(in_words)?
    {
        // One with a lower number came meanwhile.
        flow.intake = Some(intake);
        return Ok(());
    }
    let cut = match events {
        Ok(files) => {
            let events = flow.blender.blend(files.video, files.sounds);
            cut(house, &mut intake, flow.joiner.join(order::by_time(events))).await
        }
        Err(why) => Err(Stop::Hopeless(why)),
    };
    let reason = match cut {
        Ok(()) => None,
        Err(Stop::Later(why)) => return Err(why),
        Err(Stop::Hopeless(why)) => Some(why),
    };
    if let Some(why) = &reason {
        tracing::warn!(stream = %id, number = push.number, why, "a pushed segment can't be used");
        flow.part();
    }
    let starts = flow.joiner.own(intake.take_starts());
    let end_seq = Some(intake.next_seq());
    let settled = Pushed { end_seq, starts, reason: reason.clone(), ..push.clone() };
    house.store.settle_push(&settled).await.map_err(in_words)?;
    if reason.is_none() {
        flow.intake = Some(intake);
    }
    if let Err(error) = house.media.delete_push(id, push.number).await {
        tracing::warn!(stream = %id, number = push.number, %error, "a pushed segment's bytes are left behind");
    }
    Ok(())
}

enum Stop {
    Later(String),
    Hopeless(String),
}

impl From<intake::Error> for Stop {
    fn from(error: intake::Error) -> Self {
        match error {
            intake::Error::Gone | intake::Error::Storage(..) => Self::Later(error.to_string()),
            intake::Error::Segment(_) | intake::Error::Cmaf(_) => Self::Hopeless(error.to_string()),
        }
    }
}

async fn cut(house: &House, intake: &mut Intake, events: Vec<super::event::Event>) -> Result<(), Stop> {
    let first_seq = intake.next_seq();
    for event in events {
        if intake.take(event).await? > 0 {
            house.committed(intake.id());
        }
    }
    if intake.pause().await? > 0 {
        house.committed(intake.id());
    }
    if intake.next_seq() == first_seq {
        return Err(Stop::Hopeless("it has no keyframe: start every segment with one".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use millrace_proto::{Sha256, task::Blob};

    use super::*;

    fn push(number: u64, received_ms: u64) -> Pushed {
        Pushed::new("a".parse().unwrap(), number, Blob { sha256: Sha256::of(b""), bytes: 1 }, received_ms)
    }

    #[test]
    fn numbers_are_taken_in_order_and_waited_for_so_long() {
        assert_eq!(next(3, &[], 500, 9), Next::Nothing);
        assert_eq!(next(3, &[push(3, 9), push(4, 1)], 500, 9), Next::Take { hole: false });
        assert_eq!(next(3, &[push(4, 20), push(5, 10)], 500, 110), Next::Wait(400));
        assert_eq!(next(3, &[push(4, 20), push(5, 10)], 500, 510), Next::Take { hole: true });
        assert_eq!(next(3, &[push(4, 9_000)], 500, 10), Next::Wait(500), "the clock was set back");
        assert_eq!(next(3, &[push(4, 20)], 0, 20), Next::Take { hole: true }, "no more will come");
        // Begun before a crash: its number is below the next one.
        let begun = Pushed { first_seq: Some(7), ..push(2, 1) };
        assert_eq!(next(3, &[begun, push(3, 1)], 500, 9), Next::Take { hole: false });
    }
}
