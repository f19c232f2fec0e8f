//! Broken on purpose: variants of the house that the checks must object to.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use millrace_orchestrator::{
    store::{
        Commit, Listing, Move, Noted, Result, Settlement, Store,
        clips::{Clips, Created},
        events::Events,
        holds::{Decision, Holds},
        marks::{Mark, Marks},
        record::{Clip, Fetched, Media, Pushed, Segment, Stream, Tail, Worker},
        reports::{Chain, Of, Report, Reports},
    },
    task::{
        State, Task,
        machine::{self, Policy, Verdict},
    },
    verify::settle,
};
use millrace_proto::{
    Address, ClipId, StreamId, TaskId,
    api::StreamState,
    events::Event,
    offer::Offer,
    outcome::{Outcome, Rendition, Result as Handed},
    profile::Rung,
};

use crate::catalogs::pass_catalogs;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// Now and then a commit is not written.
    LoseCommits,
    /// Now and then a stream's last listed segment is forgotten by those who read.
    ForgetListings,
    /// Changes of tasks are written over whatever version is there.
    OverwriteTasks,
    /// What is held back is listed like all else.
    ForgetHolds,
    /// Every outcome that says so is taken for done.
    BelieveWorkers,
}

/// Takes an outcome for what its worker says it is.
pub(crate) async fn believe(store: &Arc<dyn Store>, task: Task, now_ms: u64) {
    let State::Checking { lease, outcome: Outcome { result: Handed::Done(done), .. }, .. } = &task.state else {
        return;
    };
    let (lease, tries) = (lease.id.clone(), task.attempts.len());
    let media = |rendition: &Rendition| Media {
        name: rendition.name.clone(),
        init: rendition.init,
        segment: rendition.segment,
        codec: rendition.codec.clone(),
        frames: rendition.frames,
        width: 2,
        height: 2,
        channels: 0,
        duration_ns: 1,
        preroll: 0,
        key_bytes: 1,
    };
    let renditions = done.renditions.iter().map(media).collect();
    if let Some(task) = machine::decide(task, &lease, Verdict::Accept, &Policy::default(), now_ms) {
        // The checks find what follows; a store that fails is tried again.
        let _ = store.swap_task(&task, &settle(&task, tries, renditions)).await;
    }
}

/// A store that may be broken.
#[derive(Debug)]
pub(crate) struct Sabotaged<S> {
    inner: S,
    how: Option<Sabotage>,
    calls: AtomicU64,
}

impl<S> Sabotaged<S> {
    pub(crate) fn new(inner: S, how: Option<Sabotage>) -> Self {
        Self { inner, how, calls: AtomicU64::new(0) }
    }

    /// True at every `every`-th call, if it is broken this way.
    fn strikes(&self, how: Sabotage, every: u64) -> bool {
        self.how == Some(how) && self.calls.fetch_add(1, Ordering::Relaxed) % every == every - 1
    }
}

#[async_trait]
impl<S: Store> Holds for Sabotaged<S> {
    async fn held(&self, stream: &StreamId, from: u64, limit: u32) -> Result<Vec<Segment>> {
        self.inner.held(stream, from, limit).await
    }
    async fn decide(&self, stream: &StreamId, decision: Decision) -> Result<Vec<Segment>> {
        self.inner.decide(stream, decision).await
    }
}

// Nobody reads events here.
#[async_trait]
impl<S: Store> Events for Sabotaged<S> {
    async fn events(&self, after: u64, stream: Option<&StreamId>, limit: u32) -> Result<Vec<Event>> {
        self.inner.events(after, stream, limit).await
    }
    async fn oldest_event(&self) -> Result<Option<u64>> {
        self.inner.oldest_event().await
    }
    async fn forget_events(&self, before_ms: u64, count_max: u64) -> Result<u64> {
        self.inner.forget_events(before_ms, count_max).await
    }
}

#[async_trait]
impl<S: Store> Reports for Sabotaged<S> {
    async fn chains(&self, stream: &StreamId) -> Result<Vec<Chain>> {
        self.inner.chains(stream).await
    }
    async fn chains_open(&self) -> Result<Vec<Chain>> {
        self.inner.chains_open().await
    }
    async fn plan_window(&self, chain: &Chain, task: &Task) -> Result<bool> {
        self.inner.plan_window(chain, task).await
    }
    async fn step_chain(&self, number: u64, next: &Chain, report: Option<&Report>, marks: &[Mark]) -> Result<bool> {
        self.inner.step_chain(number, next, report, marks).await
    }
    async fn reports(&self, of: Of<'_>, from_ms: i64, to_ms: i64, limit: u32) -> Result<Vec<Report>> {
        self.inner.reports(of, from_ms, to_ms, limit).await
    }
    async fn reports_over(&self, stream: &StreamId, below_ms: i64, limit: u32) -> Result<Vec<Report>> {
        self.inner.reports_over(stream, below_ms, limit).await
    }
    async fn forget_report(&self, report: &Report) -> Result<()> {
        self.inner.forget_report(report).await
    }
}

// Nobody makes clips here.
#[async_trait]
impl<S: Store> Marks for Sabotaged<S> {
    async fn marks(&self, of: Of<'_>, from_ms: i64, to_ms: i64, limit: u32) -> Result<Vec<Mark>> {
        self.inner.marks(of, from_ms, to_ms, limit).await
    }
    async fn marks_changed(&self, of: Of<'_>, from: u64, limit: u32) -> Result<Vec<Mark>> {
        self.inner.marks_changed(of, from, limit).await
    }
    async fn forget_marks(&self, stream: &StreamId, below_ms: i64) -> Result<()> {
        self.inner.forget_marks(stream, below_ms).await
    }
}

#[async_trait]
impl<S: Store> Clips for Sabotaged<S> {
    async fn create_clip(&self, clip: &Clip, clips_max: u64) -> Result<Created> {
        self.inner.create_clip(clip, clips_max).await
    }
    async fn clip(&self, stream: &StreamId, id: &ClipId) -> Result<Option<Clip>> {
        self.inner.clip(stream, id).await
    }
    async fn clips(&self, stream: &StreamId) -> Result<Vec<Clip>> {
        self.inner.clips(stream).await
    }
    async fn clips_pending(&self, limit: u32) -> Result<Vec<Clip>> {
        self.inner.clips_pending(limit).await
    }
    async fn settle_clip(&self, clip: &Clip) -> Result<bool> {
        self.inner.settle_clip(clip).await
    }
    async fn delete_clip(&self, stream: &StreamId, id: &ClipId) -> Result<bool> {
        self.inner.delete_clip(stream, id).await
    }
}

pass_catalogs!(Sabotaged);

#[async_trait]
impl<S: Store> Store for Sabotaged<S> {
    async fn create_stream(&self, stream: &Stream) -> Result<bool> {
        self.inner.create_stream(stream).await
    }
    async fn stream(&self, id: &StreamId) -> Result<Option<Stream>> {
        let mut stream = self.inner.stream(id).await?;
        if self.strikes(Sabotage::ForgetListings, 5)
            && let Some(stream) = &mut stream
        {
            stream.listed_seq = stream.listed_seq.saturating_sub(1);
        }
        Ok(stream)
    }
    async fn streams(&self, after: Option<&StreamId>, limit: u32) -> Result<Vec<Stream>> {
        self.inner.streams(after, limit).await
    }
    async fn streams_in(&self, states: &[StreamState]) -> Result<Vec<Stream>> {
        self.inner.streams_in(states).await
    }
    async fn move_stream(&self, id: &StreamId, step: &Move<'_>) -> Result<bool> {
        self.inner.move_stream(id, step).await
    }
    async fn note_upload(&self, id: &StreamId, bytes: u64, total: Option<u64>) -> Result<bool> {
        self.inner.note_upload(id, bytes, total).await
    }
    async fn note_fetched(&self, id: &StreamId, fetched: &Fetched) -> Result<bool> {
        self.inner.note_fetched(id, fetched).await
    }
    async fn fix_rungs(&self, id: &StreamId, rungs: &[Rung]) -> Result<Vec<Rung>> {
        self.inner.fix_rungs(id, rungs).await
    }
    async fn delete_stream(&self, id: &StreamId) -> Result<bool> {
        self.inner.delete_stream(id).await
    }
    async fn commit_segment(&self, segment: &Segment, tasks: &[Task]) -> Result<Commit> {
        if self.strikes(Sabotage::LoseCommits, 4) {
            return Ok(Commit::Done);
        }
        self.inner.commit_segment(segment, tasks).await
    }
    async fn segments(&self, stream: &StreamId, from: u64, limit: u32) -> Result<Vec<Segment>> {
        self.inner.segments(stream, from, limit).await
    }
    async fn segment(&self, stream: &StreamId, seq: u64) -> Result<Option<Segment>> {
        self.inner.segment(stream, seq).await
    }
    async fn list_segments(&self, stream: &StreamId, from: u64, to: u64, listing: &Listing) -> Result<bool> {
        if self.how == Some(Sabotage::ForgetHolds) {
            let listing = Listing { held: Vec::new(), ..listing.clone() };
            return self.inner.list_segments(stream, from, to, &listing).await;
        }
        self.inner.list_segments(stream, from, to, listing).await
    }
    async fn expire_segments(&self, stream: &StreamId, to: u64) -> Result<u64> {
        self.inner.expire_segments(stream, to).await
    }
    async fn forget_segments(&self, stream: &StreamId, below: u64) -> Result<()> {
        self.inner.forget_segments(stream, below).await
    }
    async fn note_push(&self, push: &Pushed, open_max: u64) -> Result<Noted> {
        self.inner.note_push(push, open_max).await
    }
    async fn pushed(&self, stream: &StreamId, number: u64) -> Result<Option<Pushed>> {
        self.inner.pushed(stream, number).await
    }
    async fn pushes_open(&self, stream: &StreamId) -> Result<(u64, Vec<Pushed>)> {
        self.inner.pushes_open(stream).await
    }
    async fn streams_pushed(&self) -> Result<Vec<StreamId>> {
        self.inner.streams_pushed().await
    }
    async fn begin_push(&self, stream: &StreamId, number: u64, first_seq: u64, tail: Option<Tail>) -> Result<bool> {
        self.inner.begin_push(stream, number, first_seq, tail).await
    }
    async fn settle_push(&self, settled: &Pushed) -> Result<()> {
        self.inner.settle_push(settled).await
    }
    async fn task(&self, id: &TaskId) -> Result<Option<Task>> {
        self.inner.task(id).await
    }
    async fn tasks_ready(&self, now_ms: u64, limit: u32) -> Result<Vec<Task>> {
        self.inner.tasks_ready(now_ms, limit).await
    }
    async fn tasks_due(&self, now_ms: u64, limit: u32) -> Result<Vec<Task>> {
        self.inner.tasks_due(now_ms, limit).await
    }
    async fn tasks_checking(&self, limit: u32) -> Result<Vec<Task>> {
        self.inner.tasks_checking(limit).await
    }
    async fn tasks_held(&self, worker: Address) -> Result<Vec<Task>> {
        self.inner.tasks_held(worker).await
    }
    async fn tasks_open(&self, stream: &StreamId) -> Result<u64> {
        self.inner.tasks_open(stream).await
    }
    async fn swap_task(&self, task: &Task, settlement: &Settlement) -> Result<bool> {
        if self.how == Some(Sabotage::OverwriteTasks)
            && let Some(stored) = self.inner.task(&task.id).await?
        {
            return self.inner.swap_task(&Task { version: stored.version + 1, ..task.clone() }, settlement).await;
        }
        self.inner.swap_task(task, settlement).await
    }
    async fn greet_worker(&self, address: Address, offer: &Offer, now_ms: u64) -> Result<()> {
        self.inner.greet_worker(address, offer, now_ms).await
    }
    async fn hear_workers(&self, heard: &[(Address, u64)]) -> Result<()> {
        self.inner.hear_workers(heard).await
    }
    async fn workers(&self, limit: u32) -> Result<Vec<Worker>> {
        self.inner.workers(limit).await
    }
    async fn ready(&self) -> Result<()> {
        self.inner.ready().await
    }
}
