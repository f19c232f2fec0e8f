//! What must hold, checked at every write: the watch keeps its own book of streams, segments and tasks.
//!
//! The store tells it of each write that was done; whatever does not follow from the one before is an objection.
//! `finale.rs` compares book and store at the end.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

use millrace_orchestrator::{
    media::MediaStore,
    publish::hls::AUDIO,
    store::{
        Listing, Move, Settlement,
        holds::Decision,
        record::{Media, Segment, SegmentState, Stream},
        reports::{Chain, Report},
    },
    task::{Fault, State, Task},
    verify,
};
use millrace_proto::{
    Address, LeaseId, StreamId, TaskId,
    api::{HoldState, StreamState},
    captions::Heard,
    task::{Blob, Work},
    worker::LEASES_A_SLOT_MAX,
};
use object_store::GetOptions;

use crate::{
    hearing::{self, Chains},
    holding::Holding,
    labour::{Made, Source, Taint},
    scenario::StreamPlan,
    trace::Trace,
};

/// With an honest worker here for so long, no sound segment may be given up.
const ANCHORED_MS: u64 = 60_000;

/// A segment that was committed.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) video: Blob,
    pub(crate) source: Arc<Source>,
    end_ns: u64,
    discontinuity: u32,
    pub(crate) state: SegmentState,
}

#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) segments: Vec<Kept>,
    pub(crate) listed: u64,
    /// Segments below have expired.
    pub(crate) first: u64,
    /// Segments below are forgotten.
    pub(crate) forgotten: u64,
    /// The most segments that a playlist may show.
    window: u64,
    /// Only sandboxed workers may get its segments.
    sandboxed: bool,
    /// What is held back of it, if anything ever is.
    holding: Option<Holding>,
    state: Option<StreamState>,
}

#[derive(Debug)]
struct TaskKept {
    version: u64,
    settled: bool,
    /// The first segment of its window, if it has one.
    window_seq: Option<u64>,
    leases: Vec<(Address, String, LeaseId)>,
}

/// A worker's key.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) slots: u32,
    pub(crate) honest: bool,
    /// Its offer says that its whole sandbox holds.
    pub(crate) sandboxed: bool,
}

#[derive(Debug, Default)]
struct Books {
    now_ms: u64,
    streams: BTreeMap<StreamId, Book>,
    tasks: BTreeMap<TaskId, TaskKept>,
    chains: Chains,
    workers: HashMap<Address, Known>,
    /// Since when an honest worker that never fails can reach the orchestrator.
    anchored_since_ms: Option<u64>,
}

/// The watch, shared by the world and the stores.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    books: Arc<Mutex<Books>>,
    media: MediaStore,
    trace: Trace,
}

impl Watch {
    pub(crate) fn new(media: MediaStore, trace: Trace) -> Self {
        Self { books: Arc::default(), media, trace }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    pub(crate) fn set_now_ms(&self, now_ms: u64) {
        self.books().now_ms = now_ms;
    }

    pub(crate) fn know(&self, worker: Address, known: Known) {
        self.books().workers.insert(worker, known);
    }

    /// The name of a worker in the trace.
    pub(crate) fn name(&self, worker: Address) -> String {
        self.books().workers.get(&worker).map_or_else(|| "?".into(), |known| known.name.clone())
    }

    pub(crate) fn anchor(&self, since_ms: Option<u64>) {
        self.books().anchored_since_ms = since_ms;
    }

    /// A stream is there, whose playlists show so many segments.
    pub(crate) fn open_stream(&self, id: &StreamId, window: u64, plan: &StreamPlan) {
        let holding = plan.moderation.as_ref().map(|wish| Holding::new(wish.every_ms));
        let book = Book { window, sandboxed: plan.policy.sandboxed, holding, ..Book::default() };
        self.books().streams.insert(id.clone(), book);
    }

    /// Looks into one stream's book.
    pub(crate) fn book<T>(&self, id: &StreamId, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.books().streams[id])
    }

    /// Whether nothing is left to do on any segment.
    pub(crate) fn all_settled(&self) -> bool {
        let books = self.books();
        books.tasks.values().all(|task| task.settled) && books.chains.all_closed()
    }

    /// A stream has these chains of windows.
    pub(crate) fn open_chains(&self, chains: &[Chain]) {
        self.books().chains.begin(chains);
    }

    /// Where a stream's chains have come.
    pub(crate) fn positions(&self, stream: &StreamId) -> Vec<i64> {
        self.books().chains.positions(stream)
    }

    pub(crate) fn planned(&self, chain: &Chain, task: &Task) {
        self.trace.say(format_args!("{}: planned", task.id));
        let mut books = self.books();
        if let Some(wrong) = books.chains.planned(chain, task) {
            self.trace.object(format_args!("{wrong}"));
        }
        let kept = TaskKept { version: task.version, settled: false, window_seq: Some(task.seq), leases: vec![] };
        if books.tasks.insert(task.id.clone(), kept).is_some() {
            self.trace.object(format_args!("{}: planned twice", task.id));
        }
    }

    pub(crate) fn stepped(&self, number: u64, next: &Chain, report: Option<&Report>) {
        let (stream, track, to_ms) = (&next.stream, &next.track, next.position_ms);
        self.trace.say(format_args!("{stream}: {track} goes on to {to_ms}, open {}", next.open));
        if let Some(wrong) = self.books().chains.stepped(number, next, report) {
            self.trace.object(format_args!("{wrong}"));
        }
    }

    /// Whether every stream has come to its end.
    pub(crate) fn all_ended(&self) -> bool {
        let ended = |book: &Book| matches!(book.state, Some(StreamState::Ended | StreamState::Failed));
        self.books().streams.values().all(ended)
    }

    /// A stream was read: it says what was written.
    pub(crate) fn read(&self, stream: Option<&Stream>) {
        let Some(stream) = stream else { return };
        let books = self.books();
        let book = &books.streams[&stream.id];
        let written = (book.first, book.listed, book.segments.len() as u64);
        let (read, id) = ((stream.first_seq, stream.listed_seq, stream.next_seq), &stream.id);
        if read != written {
            self.trace.object(format_args!("{id}: (first, listed, next) are {read:?}, written were {written:?}"));
        }
    }

    pub(crate) fn moved(&self, id: &StreamId, step: &Move<'_>) {
        let mut books = self.books();
        let book = books.streams.get_mut(id).unwrap();
        self.trace.say(format_args!("{id}: is {:?}", step.to));
        if matches!(book.state, Some(StreamState::Ended | StreamState::Failed)) {
            self.trace.object(format_args!("{id}: moved to {:?} after its end", step.to));
        }
        if step.to == StreamState::Ended && book.listed != book.segments.len() as u64 {
            self.trace.object(format_args!("{id}: ends with segments that are not listed"));
        }
        book.state = Some(step.to);
    }

    pub(crate) async fn committed(&self, segment: &Segment, tasks: &[Task]) {
        let (id, seq) = (&segment.stream, segment.seq);
        let Some(video) = &segment.video else {
            return self.trace.object(format_args!("{id} {seq}: committed without video"));
        };
        let Some(source) = self.source(id, video).await else {
            return self.trace.object(format_args!("{id} {seq}: committed, and its bytes are not there"));
        };
        if let Some(audio) = &segment.audio
            && (audio.name != AUDIO || self.bytes(id, audio.segment).await.is_none())
        {
            self.trace.object(format_args!("{id} {seq}: committed, and its audio is not there"));
        }
        let first = source.frames.first().map(|(_, frame)| *frame);
        self.trace.say(format_args!("{id} {seq}: committed, {} frames from {first:?}", source.frames.len()));
        let mut books = self.books();
        let book = books.streams.get_mut(id).unwrap();
        if seq != book.segments.len() as u64 {
            self.trace.object(format_args!("{id} {seq}: committed where {} is next", book.segments.len()));
        }
        if matches!(book.state, Some(StreamState::Ended | StreamState::Failed)) {
            self.trace.object(format_args!("{id} {seq}: committed after the stream's end"));
        }
        let last = book.segments.last().map(|last| (last.end_ns, last.discontinuity));
        let joins = match last {
            None => segment.start_ns == 0 && segment.discontinuity == 0,
            Some((end_ns, number)) => {
                segment.start_ns == end_ns && (number..=number + 1).contains(&segment.discontinuity)
            }
        };
        if !joins {
            let at = (segment.start_ns, segment.discontinuity);
            self.trace.object(format_args!("{id} {seq}: starts at {at:?}, the one before ended at {last:?}"));
        }
        book.segments.push(Kept {
            video: video.segment,
            source: Arc::new(source),
            end_ns: segment.start_ns + segment.duration_ns,
            discontinuity: segment.discontinuity,
            state: segment.state.clone(),
        });
        for task in tasks {
            books.tasks.insert(
                task.id.clone(),
                TaskKept { version: task.version, settled: false, window_seq: None, leases: vec![] },
            );
        }
    }

    pub(crate) fn listed(&self, id: &StreamId, from: u64, to: u64, listing: &Listing) {
        let mut books = self.books();
        let Books { streams, chains, .. } = &mut *books;
        let book = streams.get_mut(id).unwrap();
        self.trace.say(format_args!("{id}: {from} to {to} are listed"));
        let settled = book.segments.iter().take_while(|kept| kept.state != SegmentState::Pending).count() as u64;
        if from != book.listed || to < from || to > settled {
            let listed = book.listed;
            self.trace.object(format_args!("{id}: {from} to {to} are listed, but {listed} to {settled} are ready"));
        }
        book.listed = to;
        let (settled_ms, passed) = chains.looked_at(id);
        for seq in from..to {
            let hold = listing.held.iter().find(|(held, _)| *held == seq).map(|(_, hold)| hold);
            let times_ms = book.times_ms(seq);
            let wrong = match &mut book.holding {
                Some(holding) => holding.listed(seq, times_ms, hold, settled_ms, passed),
                None => hold.map(|hold| format!("it is held, where nothing is: {}", hold.reason)),
            };
            if let Some(wrong) = wrong {
                self.trace.object(format_args!("{id} {seq} of {times_ms:?}: {wrong}"));
            }
        }
    }

    pub(crate) fn decided(&self, id: &StreamId, decision: Decision, found: &[Segment]) {
        let numbers: Vec<u64> = found.iter().map(|segment| segment.seq).collect();
        self.trace.say(format_args!("{id}: {numbers:?} are {:?}", decision.state));
        let mut books = self.books();
        let holding = books.streams.get_mut(id).and_then(|book| book.holding.as_mut());
        if let Some(wrong) = holding.and_then(|holding| holding.decided(decision, found)) {
            self.trace.object(format_args!("{id}: {wrong}"));
        }
    }

    pub(crate) fn expired(&self, id: &StreamId, to: u64) {
        let mut books = self.books();
        let book = books.streams.get_mut(id).unwrap();
        self.trace.say(format_args!("{id}: below {to} all has expired"));
        if to > book.listed.saturating_sub(book.window) {
            self.trace.object(format_args!("{id}: below {to} all has expired, and players still see it"));
        }
        book.first = book.first.max(to);
    }

    pub(crate) fn forgotten(&self, id: &StreamId, below: u64) {
        let mut books = self.books();
        let book = books.streams.get_mut(id).unwrap();
        if below > book.first {
            self.trace.object(format_args!("{id}: below {below} all is forgotten, and has not expired"));
        }
        book.forgotten = book.forgotten.max(below);
        // Windows that nobody heard in time are forgotten with their sound, and planned anew behind it.
        let gone = |task: &TaskId, kept: &TaskKept| {
            stream_of(task) == id.as_str() && kept.window_seq.is_some_and(|seq| seq < below)
        };
        books.tasks.retain(|task, kept| !gone(task, kept));
    }

    pub(crate) async fn swapped(&self, task: &Task, settlement: &Settlement) {
        self.trace.say(format_args!("{}: {}", task.id, self.told(task)));
        if matches!(task.state, State::Accepted { .. }) {
            self.accepted(task, settlement).await;
        }
        let mut books = self.books();
        let Books { now_ms, streams, tasks, workers, anchored_since_ms, chains } = &mut *books;
        let kept = tasks.get_mut(&task.id).unwrap();
        if kept.settled {
            self.trace.object(format_args!("{}: changed after it was settled", task.id));
        }
        if task.version != kept.version + 1 {
            self.trace.object(format_args!("{}: version {} over {}", task.id, task.version, kept.version));
        }
        kept.version = task.version;
        kept.settled = matches!(task.state, State::Accepted { .. } | State::Failed { .. });
        let kept_settled = kept.settled;
        let lease = |held: &millrace_orchestrator::task::Held| (held.worker, held.instance.clone(), held.id.clone());
        kept.leases = task.leases().iter().map(lease).collect();
        if let Some(last) = task.attempts.last().filter(|last| last.fault == Fault::Refused)
            && workers[&last.worker].honest
        {
            let name = &workers[&last.worker].name;
            self.trace.object(format_args!("{}: {name} is blamed for {}", task.id, last.message));
        }
        if let Some((chain, report)) = &settlement.report
            && let Some(wrong) = chains.stepped(report.number, chain, Some(report))
        {
            self.trace.object(format_args!("{wrong}"));
        }
        if task.link.is_some() && kept_settled != settlement.report.is_some() {
            self.trace.object(format_args!("{}: settled without a report, or reported and not settled", task.id));
        }
        if let (State::Failed { reason }, None) = (&task.state, &task.link) {
            let segment = &streams[&task.stream].segments[task.seq as usize];
            let anchored = anchored_since_ms.is_some_and(|since_ms| *now_ms - since_ms >= ANCHORED_MS);
            let sound = segment.source.taint() == Taint::Sound;
            if reason.is_empty() || sound && (anchored || reason.starts_with("bad input")) {
                self.trace.object(format_args!("{}: sound, and failed: {reason}", task.id));
            }
        }
        if let Some((state, _)) = &settlement.segment {
            let book = streams.get_mut(&task.stream).unwrap();
            if task.seq < book.listed {
                self.trace.object(format_args!("{}: settled after it was listed", task.id));
            }
            book.segments[task.seq as usize].state = state.clone();
        }
        for (worker, instance, _) in &tasks[&task.id].leases {
            let Known { name, slots, sandboxed, .. } = &workers[worker];
            if streams[&task.stream].sandboxed && !sandboxed {
                self.trace.object(format_args!("{}: leased to {name}, who has no sandbox", task.id));
            }
            let of = |kept: &TaskKept| kept.leases.iter().filter(|(w, i, _)| w == worker && i == instance).count();
            let held: usize = tasks.values().map(of).sum();
            if held > (*slots * LEASES_A_SLOT_MAX) as usize {
                self.trace.object(format_args!("{name} has {held} leases for {slots} slots"));
            }
        }
    }

    fn told(&self, task: &Task) -> String {
        match &task.state {
            State::Waiting { not_before_ms } => match task.attempts.last() {
                Some(last) => {
                    let (who, fault) = (self.name(last.worker), last.fault);
                    format!("waits from {not_before_ms} after {} tries; {who} {fault:?}", task.attempts.len())
                }
                None => "waits".into(),
            },
            State::Leased { leases } => {
                let held = |held: &millrace_orchestrator::task::Held| {
                    format!("{} until {}", self.name(held.worker), held.expires_ms)
                };
                format!("leased to {}", leases.iter().map(held).collect::<Vec<_>>().join(", "))
            }
            State::Checking { lease, .. } => format!("checked, from {}", self.name(lease.worker)),
            State::Accepted { worker, .. } => format!("accepted from {}", self.name(*worker)),
            // The lease's name may stand in a message; the kind is enough.
            State::Failed { reason } => format!("failed: {}", reason.split(':').next().unwrap_or_default()),
        }
    }

    /// What is accepted is what honest hands would have made of this very segment.
    async fn accepted(&self, task: &Task, settlement: &Settlement) {
        let work = match &task.work {
            Work::Transcode(work) => work,
            Work::Captions(_) | Work::Look(_) => return self.found(task, settlement).await,
        };
        let Some((SegmentState::Ready, renditions)) = &settlement.segment else {
            return self.trace.object(format_args!("{}: accepted, and its segment is not ready", task.id));
        };
        let source = self.book(&task.stream, |book| book.segments[task.seq as usize].source.clone());
        if renditions.len() != work.renditions.len() {
            self.trace.object(format_args!("{}: accepted with {} renditions", task.id, renditions.len()));
        }
        for (target, media) in work.renditions.iter().zip(renditions) {
            let bytes = self.bytes(&task.stream, media.segment).await;
            let made = bytes.and_then(|bytes| Made::read(&bytes));
            if media.name != target.name || made != Some(Made::honest(&source, target)) {
                self.trace.object(format_args!("{}: accepted as {} was {made:?}", task.id, target.name));
            }
            if self.bytes(&task.stream, media.init).await.is_none() {
                self.trace.object(format_args!("{}: accepted, and a header is not there", task.id));
            }
        }
    }

    /// What was heard or seen, and accepted, lies with its stream; what was heard has each word of its time once.
    async fn found(&self, task: &Task, settlement: &Settlement) {
        let report = settlement.report.as_ref().map(|(_, report)| report);
        let Some((report, found)) = report.and_then(|report| Some((report, report.found.as_ref()?))) else {
            return self.trace.object(format_args!("{}: accepted without a report", task.id));
        };
        let bytes = self.bytes(&task.stream, found.blob).await;
        let Some(bytes) = bytes.filter(|_| settlement.segment.is_none()) else {
            return self.trace.object(format_args!("{}: accepted, and its report {found:?} is not there", task.id));
        };
        let heard = match &task.work {
            Work::Captions(_) => serde_json::from_slice::<Heard>(&bytes),
            Work::Look(_) | Work::Transcode(_) => return,
        };
        let Ok(heard) = heard else {
            return self.trace.object(format_args!("{}: accepted, and its report can't be read", task.id));
        };
        let told: Vec<String> = verify::heard::own(heard, report).words.into_iter().map(|word| word.text).collect();
        let said = hearing::said(report.start_ms, report.end_ms).map(|at| format!("w{at}"));
        if told != said.collect::<Vec<_>>() {
            self.trace.object(format_args!("{}: {told:?} is told of {report:?}", task.id));
        }
    }

    async fn source(&self, id: &StreamId, video: &Media) -> Option<Source> {
        Source::read(&self.bytes(id, video.init).await?, &[self.bytes(id, video.segment).await?])
    }

    /// Bytes from the media store itself, where nothing fails.
    pub(crate) async fn bytes(&self, id: &StreamId, blob: Blob) -> Option<bytes::Bytes> {
        let found = self.media.get(id, blob.sha256, GetOptions::default()).await.ok()?;
        found.bytes().await.ok().filter(|bytes| bytes.len() as u64 == blob.bytes)
    }
}

/// A task's name begins with its stream's.
fn stream_of(task: &TaskId) -> &str {
    task.as_str().split('-').next().unwrap_or_default()
}

impl Book {
    /// What was ever held back, and what was decided about it.
    pub(crate) fn holds(&self) -> BTreeMap<u64, HoldState> {
        self.holding.as_ref().map(|holding| holding.states().clone()).unwrap_or_default()
    }

    /// From when to when a segment is, in milliseconds of the stream's timeline.
    fn times_ms(&self, seq: u64) -> (i64, i64) {
        let end_ms = |seq: u64| (self.segments[seq as usize].end_ns / 1_000_000) as i64;
        (seq.checked_sub(1).map_or(0, end_ms), end_ms(seq))
    }

    /// How many frames of a connection are committed.
    pub(crate) fn frames_of(&self, connection: u16) -> u32 {
        let frames = self.segments.iter().flat_map(|kept| &kept.source.frames);
        frames.filter(|(_, frame)| frame.connection == connection).count() as u32
    }
}
