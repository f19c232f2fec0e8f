//! Chains go on: plans the windows that are due. What is planned is `task/window.rs`'s business.

use std::collections::{BTreeMap, BTreeSet};

use millrace_proto::{StreamId, offer::Capability, task::SEGMENTS_MAX};

use super::Farm;
use crate::{
    matching,
    sights::{self, Change},
    store::{self, record::Stream, reports::Chain},
    task::window::{self, Pace, Step, pictures},
};

/// What a look at all chains did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Planned {
    /// Windows that wait for a worker now.
    pub windows: usize,
    /// Streams with chains that went on without one, or came to their end.
    pub stepped: BTreeSet<StreamId>,
}

impl Farm {
    /// Plans the windows that are due on all open chains. Safe to repeat, and to run twice at once.
    pub async fn plan_once(&self, pace: &Pace, now_ms: u64) -> store::Result<Planned> {
        let mut planned = Planned::default();
        let mut streams: BTreeMap<StreamId, Stream> = BTreeMap::new();
        for chain in self.store.chains_open().await? {
            let stream = match streams.get(&chain.stream) {
                Some(stream) => stream.clone(),
                None => match self.store.stream(&chain.stream).await? {
                    Some(stream) => stream,
                    None => continue,
                },
            };
            streams.entry(chain.stream.clone()).or_insert_with(|| stream.clone());
            match self.step(&chain, &stream, pace, now_ms).await? {
                Step::Wait => {}
                Step::Plan(task) => planned.windows += usize::from(self.store.plan_window(&chain, &task).await?),
                Step::Skip(next, report) => {
                    if self.store.step_chain(chain.number, &next, Some(&report), &[]).await? {
                        planned.stepped.insert(stream.id);
                    }
                }
                Step::Close(next) => {
                    let Change { carry, mut marks } = sights::end(&chain, &stream.profile);
                    matching::name(&*self.store, &stream.profile, &mut marks).await?;
                    let next = Chain { carry, ..next };
                    if self.store.step_chain(chain.number, &next, None, &marks).await? {
                        planned.stepped.insert(stream.id);
                    }
                }
            }
        }
        if planned.windows > 0 {
            self.assign.notify_one();
        }
        Ok(planned)
    }

    async fn step(&self, chain: &Chain, stream: &Stream, pace: &Pace, now_ms: u64) -> store::Result<Step> {
        // Its report is written with the end of its task: a task that is there is open.
        if self.store.task(&chain.task_id()).await?.is_some() {
            return Ok(Step::Wait);
        }
        let from = chain.seq.max(stream.first_seq);
        let limit = u32::try_from(SEGMENTS_MAX).unwrap_or(u32::MAX) + 2;
        let segments = self.store.segments(&chain.stream, from, limit).await?;
        Ok(match (chain.kind, &stream.profile.captions) {
            (Capability::Captions, Some(wish)) => window::next(chain, stream, wish, &segments, pace, now_ms),
            (Capability::Captions, None) => Step::Wait,
            (Capability::Moderation | Capability::Products, _) => pictures::next(chain, stream, &segments, now_ms),
        })
    }
}
