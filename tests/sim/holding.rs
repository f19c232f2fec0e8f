//! Holding back, simulated: what honest eyes flag, who decides about it, and the book of what is held.

use std::{collections::BTreeMap, sync::Arc};

use millrace_orchestrator::store::{
    Store,
    holds::Decision,
    record::{Hold, Segment},
};
use millrace_proto::{StreamId, api::HoldState};
use rand::Rng;

use crate::{
    house::Effect,
    world::{Event, World},
};

/// Of every stream's timeline it is three seconds of twelve that not everyone is to see.
pub(crate) fn is_bare(at_ms: i64) -> bool {
    at_ms.div_euclid(3_000) % 4 == 2
}

/// What is known of a stream that holds back what is flagged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holding {
    /// One picture of so many milliseconds is looked at.
    every_ms: i64,
    /// Segments that were ever held, by number.
    states: BTreeMap<u64, HoldState>,
}

impl Holding {
    pub(crate) fn new(every_ms: u32) -> Self {
        Self { every_ms: every_ms.into(), states: BTreeMap::new() }
    }

    /// Those that were ever held, and what was decided about them.
    pub(crate) fn states(&self) -> &BTreeMap<u64, HoldState> {
        &self.states
    }

    /// A segment from `from_ms` to `to_ms` is listed, held or not; `settled_ms` is up to where all was looked at, but for
    /// what was `passed`. What is wrong with that.
    pub(crate) fn listed(
        &mut self,
        seq: u64,
        (from_ms, to_ms): (i64, i64),
        hold: Option<&Hold>,
        settled_ms: i64,
        passed: &[(i64, i64)],
    ) -> Option<String> {
        if let Some(hold) = hold {
            self.states.insert(seq, hold.state);
        }
        let is_passed = passed.iter().any(|(from, to)| *from < to_ms && *to > from_ms);
        let first = from_ms.div_euclid(self.every_ms) * self.every_ms;
        let points = (0..).map(|point| first + point * self.every_ms).take_while(|at| *at < to_ms);
        // A picture stands until the next one.
        let flagged: Vec<i64> = points.filter(|at| is_bare(*at)).collect();
        let must = is_passed || flagged.iter().any(|at| *at >= from_ms);
        match hold {
            _ if settled_ms < to_ms => Some(format!("it is listed, and looked at up to {settled_ms}")),
            None if must => Some("it is shown, and nobody may see it".into()),
            Some(_) if !must && flagged.is_empty() => Some("it is held, and nothing is wrong with it".into()),
            Some(hold) if hold.state != HoldState::Held => Some(format!("it is {:?} from the beginning", hold.state)),
            _ => None,
        }
    }

    /// Someone decided; what is wrong with what came of it.
    pub(crate) fn decided(&mut self, decision: Decision, found: &[Segment]) -> Option<String> {
        for segment in found {
            let is = segment.hold.as_ref().map(|hold| hold.state);
            let was = self.states.get(&segment.seq).copied();
            let should = if was == Some(HoldState::Held) { Some(decision.state) } else { was };
            if is != should || is.is_none() {
                return Some(format!("number {} was {was:?} and is {is:?} by {decision:?}", segment.seq));
            }
            self.states.insert(segment.seq, decision_of(was, decision.state));
        }
        None
    }
}

/// What was decided before stays.
fn decision_of(was: Option<HoldState>, now: HoldState) -> HoldState {
    was.filter(|was| *was != HoldState::Held).unwrap_or(now)
}

impl World {
    /// Someone looks at what is held, and decides about one segment, or about it and all behind it.
    pub(crate) fn decide(&mut self) {
        let at = self.r.random_range(0..self.publishers.len());
        let (pick, all, approved) = (self.r.random_range(0..1_000), self.r.random_bool(0.2), self.r.random_bool(0.6));
        let pause_ms = self.r.random_range(1_000..8_000);
        self.after(pause_ms, Event::Decide);
        let publisher = &self.publishers[at];
        let Some(house) = self.house.as_ref().filter(|_| publisher.plan.moderation.is_some()) else { return };
        let (rooms, id) = (house.rooms.clone(), publisher.id.clone());
        let state = if approved { HoldState::Approved } else { HoldState::Rejected };
        self.spawn("decide", None, async move {
            let now_ms = rooms.gate.now_ms();
            decide(&rooms.store, &id, pick, all, (state, now_ms)).await;
            Effect::Nothing
        });
    }
}

async fn decide(store: &Arc<dyn Store>, id: &StreamId, pick: usize, all: bool, (state, now_ms): (HoldState, u64)) {
    let held = store.held(id, 0, 1_000).await.unwrap_or_default();
    if held.is_empty() {
        return;
    }
    // What is decided already is decided once more now and then, and stays.
    let one = &held[pick % held.len()];
    let to_ns = if all { u64::MAX / 4 } else { one.start_ns + one.duration_ns };
    // Whoever decides and is told of a failure does it again, or does not.
    let _ = store.decide(id, Decision { from_ns: one.start_ns, to_ns, state, now_ms }).await;
}
