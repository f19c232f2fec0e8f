//! The orchestrator's loops: what `loops.rs` does with timers and tasks, with ticks and steps. And the players, who
//! ask for playlists as often as they like.

use std::sync::Arc;

use millrace_orchestrator::{
    ingest::live,
    publish::{self, hls},
    store::Store,
    task::window::Pace,
    uploads,
};
use millrace_proto::{
    StreamId, TaskId,
    api::{Source, StreamState},
};
use rand::Rng;

use super::{Effect, Rooms};
use crate::{
    publishers,
    sabotage::{self, Sabotage},
    world::{Event, World},
};

/// Outcomes checked at once.
const CHECKS_MAX: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loop {
    Assign,
    Plan,
    Expire,
    Check,
    Publish,
    Sweep,
    Grace,
    Files,
    Retain,
    Uploads,
}

pub(super) const LOOPS: [Loop; 9] = [
    Loop::Assign,
    Loop::Plan,
    Loop::Expire,
    Loop::Check,
    Loop::Sweep,
    Loop::Grace,
    Loop::Files,
    Loop::Retain,
    Loop::Uploads,
];

impl World {
    pub(super) fn start_checks(&mut self) {
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

    /// A loop's timer rings.
    pub(crate) fn rings(&mut self, life: u64, which: Loop) {
        if life != self.lives || self.house.is_none() {
            return;
        }
        self.tick(which);
        let period_ms = match which {
            Loop::Sweep | Loop::Grace | Loop::Files => 2_000,
            Loop::Retain | Loop::Uploads => 5_000,
            _ => self.scenario.loop_ms,
        };
        self.after(period_ms, Event::Tick(life, which));
    }

    /// Runs a loop's body, unless it still runs.
    pub(super) fn tick(&mut self, which: Loop) {
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
            Loop::Plan => self.spawn("plan", None, async move {
                let _ = rooms.farm.plan_once(&Pace::default(), rooms.gate.now_ms()).await;
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
            Loop::Uploads => self.spawn("uploads", None, async move {
                // What it does not come to, the next one does.
                let _ = uploads::sweep(&rooms.store, &rooms.media).await;
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
    let text = |name: &String| (name.clone(), hls::media(&stream, name, &segments, span, None));
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
