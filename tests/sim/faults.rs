//! Faults of the stores: calls that fail before or after they did their work, by the world's seed.
//!
//! [`Faulty`] stands before the real store: it parks every call at the gate, lets some fail, and tells the
//! [`Watch`] what was written. [`FaultyObjects`] does the same for media.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::{StreamExt, stream::BoxStream};
use millrace_orchestrator::{
    store::{
        Commit, Error, Kind, Listing, Move, Noted, Result, Settlement, Store,
        clips::{Clips, Created},
        events::Events,
        holds::{Decision, Holds},
        marks::{Mark, Marks},
        record::{Clip, Fetched, Pushed, Segment, Stream, Tail, Worker},
        reports::{Chain, Of, Report, Reports},
    },
    task::Task,
};
use millrace_proto::{Address, ClipId, StreamId, TaskId, api::StreamState, events::Event, offer::Offer, profile::Rung};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, memory::InMemory, path::Path,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{catalogs::pass_catalogs, check::Watch, step::Gate};

/// How often what fails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Odds {
    /// Part of the calls that do nothing and fail.
    pub(crate) before: f64,
    /// Part of the writes that are done and fail all the same.
    pub(crate) after: f64,
    /// Between these times every call fails.
    pub(crate) outage_ms: (u64, u64),
    /// Nothing fails from this time on.
    pub(crate) calm_ms: u64,
}

/// Decides which calls fail.
#[derive(Debug, Clone)]
pub(crate) struct Luck {
    odds: Odds,
    gate: Gate,
    randomness: Arc<Mutex<StdRng>>,
}

impl Luck {
    pub(crate) fn new(odds: Odds, gate: Gate, seed: u64) -> Self {
        Self { odds, gate, randomness: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))) }
    }

    /// Whether a call that is still to do its work fails now.
    pub(crate) fn fails_before(&self) -> bool {
        let (from_ms, to_ms) = self.odds.outage_ms;
        (from_ms..to_ms).contains(&self.gate.now_ms()) || self.draw(self.odds.before)
    }

    fn fails_after(&self) -> bool {
        self.draw(self.odds.after)
    }

    fn draw(&self, part: f64) -> bool {
        self.gate.now_ms() < self.odds.calm_ms && part > 0.0 && self.randomness.lock().unwrap().random_bool(part)
    }
}

/// A store that parks and sometimes fails.
#[derive(Debug)]
pub(crate) struct Faulty<S> {
    pub(crate) inner: S,
    pub(crate) luck: Luck,
    pub(crate) watch: Watch,
}

fn unavailable() -> Error {
    Error::new(Kind::Unavailable, "the simulation says so")
}

impl<S: Store> Faulty<S> {
    async fn before(&self) -> Result<()> {
        self.luck.gate.turn().await;
        if self.luck.fails_before() { Err(unavailable()) } else { Ok(()) }
    }

    async fn after<T>(&self, value: T) -> Result<T> {
        self.luck.gate.turn().await;
        if self.luck.fails_after() { Err(unavailable()) } else { Ok(value) }
    }
}

#[async_trait]
impl<S: Store> Holds for Faulty<S> {
    async fn held(&self, stream: &StreamId, from: u64, limit: u32) -> Result<Vec<Segment>> {
        self.before().await?;
        self.inner.held(stream, from, limit).await
    }
    async fn decide(&self, stream: &StreamId, decision: Decision) -> Result<Vec<Segment>> {
        self.before().await?;
        let found = self.inner.decide(stream, decision).await?;
        self.watch.decided(stream, decision, &found);
        self.after(found).await
    }
}

// Nobody reads events here.
#[async_trait]
impl<S: Store> Events for Faulty<S> {
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
impl<S: Store> Reports for Faulty<S> {
    async fn chains(&self, stream: &StreamId) -> Result<Vec<Chain>> {
        self.before().await?;
        self.inner.chains(stream).await
    }
    async fn chains_open(&self) -> Result<Vec<Chain>> {
        self.before().await?;
        self.inner.chains_open().await
    }
    async fn plan_window(&self, chain: &Chain, task: &Task) -> Result<bool> {
        self.before().await?;
        let done = self.inner.plan_window(chain, task).await?;
        if done {
            self.watch.planned(chain, task);
        }
        self.after(done).await
    }
    async fn step_chain(&self, number: u64, next: &Chain, report: Option<&Report>, marks: &[Mark]) -> Result<bool> {
        self.before().await?;
        let done = self.inner.step_chain(number, next, report, marks).await?;
        if done {
            self.watch.stepped(number, next, report);
        }
        self.after(done).await
    }
    async fn reports(&self, of: Of<'_>, from_ms: i64, to_ms: i64, limit: u32) -> Result<Vec<Report>> {
        self.before().await?;
        self.inner.reports(of, from_ms, to_ms, limit).await
    }
    async fn reports_over(&self, stream: &StreamId, below_ms: i64, limit: u32) -> Result<Vec<Report>> {
        self.before().await?;
        self.inner.reports_over(stream, below_ms, limit).await
    }
    async fn forget_report(&self, report: &Report) -> Result<()> {
        self.before().await?;
        self.inner.forget_report(report).await
    }
}

// Nobody makes clips here.
#[async_trait]
impl<S: Store> Marks for Faulty<S> {
    async fn marks(&self, of: Of<'_>, from_ms: i64, to_ms: i64, limit: u32) -> Result<Vec<Mark>> {
        self.before().await?;
        self.inner.marks(of, from_ms, to_ms, limit).await
    }
    async fn marks_changed(&self, of: Of<'_>, from: u64, limit: u32) -> Result<Vec<Mark>> {
        self.before().await?;
        self.inner.marks_changed(of, from, limit).await
    }
    async fn forget_marks(&self, stream: &StreamId, below_ms: i64) -> Result<()> {
        self.before().await?;
        self.inner.forget_marks(stream, below_ms).await
    }
}

#[async_trait]
impl<S: Store> Clips for Faulty<S> {
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

pass_catalogs!(Faulty);

#[async_trait]
impl<S: Store> Store for Faulty<S> {
    async fn create_stream(&self, stream: &Stream) -> Result<bool> {
        self.inner.create_stream(stream).await
    }
    async fn stream(&self, id: &StreamId) -> Result<Option<Stream>> {
        self.before().await?;
        let stream = self.inner.stream(id).await?;
        self.watch.read(stream.as_ref());
        Ok(stream)
    }
    async fn streams(&self, after: Option<&StreamId>, limit: u32) -> Result<Vec<Stream>> {
        self.before().await?;
        self.inner.streams(after, limit).await
    }
    async fn streams_in(&self, states: &[StreamState]) -> Result<Vec<Stream>> {
        self.before().await?;
        self.inner.streams_in(states).await
    }
    async fn move_stream(&self, id: &StreamId, step: &Move<'_>) -> Result<bool> {
        self.before().await?;
        let moved = self.inner.move_stream(id, step).await?;
        if moved {
            self.watch.moved(id, step);
        }
        self.after(moved).await
    }
    async fn note_upload(&self, id: &StreamId, bytes: u64, total: Option<u64>) -> Result<bool> {
        self.before().await?;
        let noted = self.inner.note_upload(id, bytes, total).await?;
        self.after(noted).await
    }
    async fn note_fetched(&self, id: &StreamId, fetched: &Fetched) -> Result<bool> {
        self.before().await?;
        let noted = self.inner.note_fetched(id, fetched).await?;
        self.after(noted).await
    }
    async fn fix_rungs(&self, id: &StreamId, rungs: &[Rung]) -> Result<Vec<Rung>> {
        self.before().await?;
        let fixed = self.inner.fix_rungs(id, rungs).await?;
        self.after(fixed).await
    }
    async fn delete_stream(&self, id: &StreamId) -> Result<bool> {
        self.before().await?;
        self.inner.delete_stream(id).await
    }
    async fn commit_segment(&self, segment: &Segment, tasks: &[Task]) -> Result<Commit> {
        self.before().await?;
        let commit = self.inner.commit_segment(segment, tasks).await?;
        if commit == Commit::Done {
            self.watch.committed(segment, tasks).await;
        }
        self.after(commit).await
    }
    async fn segments(&self, stream: &StreamId, from: u64, limit: u32) -> Result<Vec<Segment>> {
        self.before().await?;
        self.inner.segments(stream, from, limit).await
    }
    async fn segment(&self, stream: &StreamId, seq: u64) -> Result<Option<Segment>> {
        self.before().await?;
        self.inner.segment(stream, seq).await
    }
    async fn list_segments(&self, stream: &StreamId, from: u64, to: u64, listing: &Listing) -> Result<bool> {
        self.before().await?;
        let listed = self.inner.list_segments(stream, from, to, listing).await?;
        if listed {
            self.watch.listed(stream, from, to, listing);
        }
        self.after(listed).await
    }
    async fn expire_segments(&self, stream: &StreamId, to: u64) -> Result<u64> {
        self.before().await?;
        let kept = self.inner.expire_segments(stream, to).await?;
        self.watch.expired(stream, to);
        self.after(kept).await
    }
    async fn forget_segments(&self, stream: &StreamId, below: u64) -> Result<()> {
        self.before().await?;
        self.inner.forget_segments(stream, below).await?;
        self.watch.forgotten(stream, below);
        self.after(()).await
    }
    async fn note_push(&self, push: &Pushed, open_max: u64) -> Result<Noted> {
        self.before().await?;
        self.inner.note_push(push, open_max).await
    }
    async fn pushed(&self, stream: &StreamId, number: u64) -> Result<Option<Pushed>> {
        self.before().await?;
        self.inner.pushed(stream, number).await
    }
    async fn pushes_open(&self, stream: &StreamId) -> Result<(u64, Vec<Pushed>)> {
        self.before().await?;
        self.inner.pushes_open(stream).await
    }
    async fn streams_pushed(&self) -> Result<Vec<StreamId>> {
        self.before().await?;
        self.inner.streams_pushed().await
    }
    async fn begin_push(&self, stream: &StreamId, number: u64, first_seq: u64, tail: Option<Tail>) -> Result<bool> {
        self.before().await?;
        self.inner.begin_push(stream, number, first_seq, tail).await
    }
    async fn settle_push(&self, settled: &Pushed) -> Result<()> {
        self.before().await?;
        self.inner.settle_push(settled).await
    }
    async fn task(&self, id: &TaskId) -> Result<Option<Task>> {
        self.before().await?;
        self.inner.task(id).await
    }
    async fn tasks_ready(&self, now_ms: u64, limit: u32) -> Result<Vec<Task>> {
        self.before().await?;
        self.inner.tasks_ready(now_ms, limit).await
    }
    async fn tasks_due(&self, now_ms: u64, limit: u32) -> Result<Vec<Task>> {
        self.before().await?;
        self.inner.tasks_due(now_ms, limit).await
    }
    async fn tasks_checking(&self, limit: u32) -> Result<Vec<Task>> {
        self.before().await?;
        self.inner.tasks_checking(limit).await
    }
    async fn tasks_held(&self, worker: Address) -> Result<Vec<Task>> {
        self.before().await?;
        self.inner.tasks_held(worker).await
    }
    async fn tasks_open(&self, stream: &StreamId) -> Result<u64> {
        self.before().await?;
        self.inner.tasks_open(stream).await
    }
    async fn swap_task(&self, task: &Task, settlement: &Settlement) -> Result<bool> {
        self.before().await?;
        let swapped = self.inner.swap_task(task, settlement).await?;
        if swapped {
            self.watch.swapped(task, settlement).await;
        }
        self.after(swapped).await
    }
    async fn greet_worker(&self, address: Address, offer: &Offer, now_ms: u64) -> Result<()> {
        self.before().await?;
        self.inner.greet_worker(address, offer, now_ms).await?;
        self.after(()).await
    }
    async fn hear_workers(&self, heard: &[(Address, u64)]) -> Result<()> {
        self.before().await?;
        self.inner.hear_workers(heard).await
    }
    async fn workers(&self, limit: u32) -> Result<Vec<Worker>> {
        self.before().await?;
        self.inner.workers(limit).await
    }
    async fn ready(&self) -> Result<()> {
        self.before().await?;
        self.inner.ready().await
    }
}

/// An object store in memory that parks and sometimes fails. What it has taken it keeps: a killed orchestrator's
/// disk is still there.
#[derive(Debug)]
pub(crate) struct FaultyObjects {
    pub(crate) inner: Arc<InMemory>,
    pub(crate) luck: Luck,
}

impl std::fmt::Display for FaultyObjects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FaultyObjects")
    }
}

impl FaultyObjects {
    async fn before(&self) -> object_store::Result<()> {
        self.luck.gate.turn().await;
        if !self.luck.fails_before() {
            return Ok(());
        }
        Err(full())
    }
}

fn full() -> object_store::Error {
    let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
    object_store::Error::Generic { store: "simulation", source: source.into() }
}

#[async_trait]
impl ObjectStore for FaultyObjects {
    async fn put_opts(&self, at: &Path, bytes: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        self.before().await?;
        self.inner.put_opts(at, bytes, options).await
    }
    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.before().await?;
        self.inner.put_multipart_opts(at, options).await
    }
    async fn get_opts(&self, at: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.before().await?;
        self.inner.get_opts(at, options).await
    }
    fn delete_stream(
        &self,
        at: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let fails = self.luck.fails_before();
        let inner = self.inner.clone();
        let some = at.map(move |at| if fails { Err(full()) } else { at });
        inner.delete_stream(some.boxed())
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.before().await?;
        self.inner.copy_opts(from, to, options).await
    }
}
