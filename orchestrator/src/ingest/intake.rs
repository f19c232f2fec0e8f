//! Intake: one stream's events become durable segments with tasks.
//!
//! Drives the segmenter, writes CMAF, stores it by hash and commits segment and tasks in one transaction, before
//! it takes the next event: that is the back-pressure on whoever sends. Called by `live.rs` and `file.rs`. The
//! waits between tries are in [`Intake::take`] and [`Intake::finish`] alone; the rest is handed the time.

mod shelf;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use millrace_proto::{StreamId, profile::Rung};

use super::event::Event;
use crate::{
    clock::now_ms,
    media::{self, MediaStore},
    publish::hls::AUDIO,
    segment::{self, Cut, Segmenter},
    store::{
        self, Commit, Store,
        record::{Media, Pushed, Segment, SegmentState, Starts, Stream, Tail},
    },
    task::{
        auto,
        plan::{self, Subject},
        source::Decodable,
    },
    verify::Look,
};
use shelf::Shelf;

/// Name of the source's own video as a rendition.
pub const SOURCE: &str = "source";

/// Pauses between tries to write when there is no space or no answer, in milliseconds.
const RETRY_MS: [u64; 5] = [100, 250, 500, 1_000, 2_000];

/// Why intake can't go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The media can't be cut.
    #[error(transparent)]
    Segment(#[from] segment::Error),
    /// The media can't be written as CMAF.
    #[error("its media can't be stored: {0}")]
    Cmaf(#[from] millrace_cmaf::Error),
    /// Writing failed for too long.
    #[error("writing failed for {0} s: {1}")]
    Storage(u64, String),
    /// The stream was deleted or is written by someone else.
    #[error("the stream is gone")]
    Gone,
}

/// What one try to commit did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried {
    /// Nothing waits to be committed.
    Nothing,
    /// The oldest waiting segment had been durable before.
    Passed,
    /// The oldest waiting segment is durable now.
    Done,
    /// It can't be written now: try again. In words, why.
    Again(String),
}

/// A segment that waits to be committed.
#[derive(Debug)]
struct Waiting {
    cut: Cut,
    wall_ms: Option<u64>,
    arrived_ms: u64,
}

/// One stream on its way in.
#[derive(Debug)]
pub struct Intake {
    store: Arc<dyn Store>,
    shelf: Shelf,
    stream: Stream,
    segmenter: Segmenter,
    /// Cut and not yet durable, oldest first.
    waiting: VecDeque<Waiting>,
    rungs: Option<Vec<Rung>>,
    /// Number of the oldest waiting segment, or of the next one.
    next_seq: u64,
    /// Segments below are durable already: a file that is read again passes over them.
    durable_seq: u64,
    /// Wall-clock time of the start of this run of segments; absent for files.
    wall_ms: Option<u64>,
    /// Where the wall-clock time of what was cut ends: it may not go back when a source sends faster than it plays.
    wall_end_ms: u64,
    retry_s_max: u64,
    /// Looks at the first segment, where a ladder is made for it.
    eyes: Option<Arc<dyn Look>>,
    /// Where what was cut began by the source's clock, since this was asked for last.
    starts: Starts,
}

impl Intake {
    /// Goes on with `stream` after its last segment.
    pub fn live(
        store: Arc<dyn Store>,
        media: MediaStore,
        stream: Stream,
        limits: segment::Limits,
        retry_s_max: u64,
    ) -> Self {
        let segmenter = Segmenter::new(limits, stream.tail);
        let next_seq = stream.next_seq;
        Self::new(store, media, stream, segmenter, next_seq, retry_s_max)
    }

    /// Reads a recording from its start; what is durable already is passed over.
    pub fn file(
        store: Arc<dyn Store>,
        media: MediaStore,
        stream: Stream,
        limits: segment::Limits,
        retry_s_max: u64,
    ) -> Self {
        Self::new(store, media, stream, Segmenter::new(limits, None), 0, retry_s_max)
    }

    /// Goes on with `stream` at a pushed segment that was begun; what of it is durable already is passed over.
    pub fn pushed(
        store: Arc<dyn Store>,
        media: MediaStore,
        stream: Stream,
        begun: &Pushed,
        limits: segment::Limits,
        retry_s_max: u64,
    ) -> Self {
        let next_seq = begun.first_seq.unwrap_or(stream.next_seq);
        Self::new(store, media, stream, Segmenter::new(limits, begun.tail), next_seq, retry_s_max)
    }

    fn new(
        store: Arc<dyn Store>,
        media: MediaStore,
        stream: Stream,
        segmenter: Segmenter,
        next_seq: u64,
        retry_s_max: u64,
    ) -> Self {
        let (waiting, durable_seq) = (VecDeque::new(), stream.next_seq);
        let wall_end_ms = stream.tail.map_or(0, |tail| tail.wall_end_ms);
        Self {
            store,
            shelf: Shelf::new(media),
            stream,
            segmenter,
            waiting,
            rungs: None,
            next_seq,
            durable_seq,
            wall_ms: None,
            wall_end_ms,
            retry_s_max,
            eyes: None,
            starts: Starts::default(),
        }
    }

    /// Ladders are made by what these see; without, by the source's size alone.
    #[must_use]
    pub fn with_eyes(mut self, eyes: Arc<dyn Look>) -> Self {
        self.eyes = Some(eyes);
        self
    }

    /// The stream's id.
    pub fn id(&self) -> &StreamId {
        &self.stream.id
    }

    /// The number of the next segment.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Where the timeline ends that the next segment goes on from.
    pub fn tail(&self) -> Option<Tail> {
        self.segmenter.tail()
    }

    /// Where what was cut began by the source's own clock, since the last call.
    pub fn take_starts(&mut self) -> Starts {
        std::mem::take(&mut self.starts)
    }

    /// Takes the next event. Returns how many segments became durable.
    pub async fn take(&mut self, event: Event) -> Result<usize, Error> {
        self.push(event, now_ms())?;
        self.settle().await
    }

    /// Whatever came becomes a segment, and the source goes on with a keyframe. Returns as [`Intake::take`] does.
    pub async fn pause(&mut self) -> Result<usize, Error> {
        let cuts = self.segmenter.pause();
        self.queue(cuts, now_ms());
        self.settle().await
    }

    /// The source has no more: what is left becomes the last segment.
    pub async fn finish(&mut self) -> Result<usize, Error> {
        self.close(now_ms());
        self.settle().await
    }

    /// Takes the next event in; what it completes waits for [`Intake::commit_next`].
    pub fn push(&mut self, event: Event, now_ms: u64) -> Result<(), Error> {
        if matches!(event, Event::Tracks { .. }) {
            self.close(now_ms);
            self.wall_ms = self.stream.is_live().then_some(now_ms.max(self.wall_end_ms));
        }
        let cuts = self.segmenter.push(event)?;
        self.queue(cuts, now_ms);
        Ok(())
    }

    /// Whatever came becomes the last segment; it waits for [`Intake::commit_next`].
    pub fn close(&mut self, now_ms: u64) {
        let cuts = self.segmenter.finish();
        self.queue(cuts, now_ms);
    }

    fn queue(&mut self, cuts: Vec<Cut>, now_ms: u64) {
        for cut in cuts {
            self.starts.video = self.starts.video.or(cut.video.as_ref().map(|part| part.source_start));
            self.starts.audio = self.starts.audio.or(cut.audio.as_ref().map(|part| part.source_start));
            // Within a run the clock and the timeline differ by the same number of whole milliseconds: what is dated by
            // one segment has the same date by another.
            let run_ms = cut.start_ns / 1_000_000 - (cut.start_ns - cut.run_ns) / 1_000_000;
            let wall_ms = self.wall_ms.map(|start_ms| start_ms + run_ms);
            self.wall_end_ms = wall_ms.map_or(0, |start_ms| start_ms + cut.duration_ns / 1_000_000);
            self.waiting.push_back(Waiting { cut, wall_ms, arrived_ms: now_ms });
        }
    }

    /// Tries once to make the oldest waiting segment durable. What can't be written now goes on waiting.
    pub async fn commit_next(&mut self) -> Result<Tried, Error> {
        let tried = match self.waiting.front() {
            None => return Ok(Tried::Nothing),
            Some(_) if self.next_seq < self.durable_seq => Tried::Passed,
            Some(_) => match self.try_commit().await {
                Ok(Commit::Done | Commit::Repeated) => Tried::Done,
                Ok(Commit::Stale) => return Err(Error::Gone),
                Err(Failed::Cmaf(error)) => return Err(Error::Cmaf(error)),
                Err(Failed::Media(error)) => return Ok(Tried::Again(error.to_string())),
                Err(Failed::Store(error)) => return Ok(Tried::Again(error.to_string())),
            },
        };
        self.waiting.pop_front();
        self.next_seq += 1;
        Ok(tried)
    }

    /// Commits all that waits, with pauses between tries.
    async fn settle(&mut self) -> Result<usize, Error> {
        let mut done = 0;
        let mut started = tokio::time::Instant::now();
        let mut tries = 0;
        loop {
            match self.commit_next().await? {
                Tried::Nothing => return Ok(done),
                Tried::Passed => {}
                Tried::Done => {
                    done += 1;
                    (started, tries) = (tokio::time::Instant::now(), 0);
                }
                Tried::Again(why) => {
                    let waited_s = started.elapsed().as_secs();
                    if waited_s >= self.retry_s_max {
                        return Err(Error::Storage(waited_s, why));
                    }
                    let (stream, seq) = (&self.stream.id, self.next_seq);
                    tracing::warn!(%stream, seq, why, "a segment can't be written, trying again");
                    tokio::time::sleep(Duration::from_millis(RETRY_MS[tries.min(RETRY_MS.len() - 1)])).await;
                    tries += 1;
                }
            }
        }
    }

    async fn try_commit(&mut self) -> Result<Commit, Failed> {
        let Some(Waiting { cut, .. }) = self.waiting.front() else { return Ok(Commit::Repeated) };
        let seq = self.next_seq;
        let mut tracks = [None, None];
        for ((name, part), track) in [(SOURCE, &cut.video), (AUDIO, &cut.audio)].into_iter().zip(&mut tracks) {
            if let Some(part) = part {
                *track = Some(self.shelf.put(&self.stream.id, name, part, seq).await?);
            }
        }
        let [video, audio] = tracks;
        let rungs = self.rungs(video.as_ref()).await?;
        let Some(Waiting { cut, wall_ms, arrived_ms }) = self.waiting.front() else { return Ok(Commit::Repeated) };
        let arrived_ms = *arrived_ms;
        let subject = Subject {
            stream: &self.stream.id,
            seq,
            live: self.stream.is_live(),
            duration_ms: cut.duration_ns / 1_000_000,
            display: video.as_ref().map(|video| (video.width, video.height)),
            policy: self.stream.profile.policy,
        };
        let tasks = plan::tasks(&rungs, &subject, arrived_ms);
        let segment = Segment {
            hold: None,
            stream: self.stream.id.clone(),
            seq,
            discontinuity: cut.discontinuity,
            start_ns: cut.start_ns,
            duration_ns: cut.duration_ns,
            wall_ms: *wall_ms,
            arrived_ms,
            video,
            audio,
            state: if tasks.is_empty() { SegmentState::Ready } else { SegmentState::Pending },
            renditions: Vec::new(),
        };
        Ok(self.store.commit_segment(&segment, &tasks).await?)
    }

    /// The stream's rungs: chosen by its first segment with video and kept, so that every segment has the same ones.
    async fn rungs(&mut self, video: Option<&Media>) -> Result<Vec<Rung>, Failed> {
        let Some(video) = video else { return Ok(Vec::new()) };
        if let Some(rungs) = &self.rungs {
            return Ok(rungs.clone());
        }
        let profile = &self.stream.profile;
        if self.stream.rungs.is_empty() && (profile.auto || !profile.ladder.is_empty()) {
            let chosen = if profile.auto {
                self.auto_ladder(video).await
            } else {
                plan::rungs(profile, (video.width, video.height))
            };
            // Those that were fixed before, if a try at it was lost.
            self.stream.rungs = self.store.fix_rungs(&self.stream.id, &chosen).await?;
        }
        self.rungs = Some(self.stream.rungs.clone());
        Ok(self.stream.rungs.clone())
    }

    /// The ladder that the first segment's pictures call for.
    async fn auto_ladder(&self, video: &Media) -> Vec<Rung> {
        let (stream, display) = (&self.stream.id, (video.width, video.height));
        let segment = Decodable { init: video.init, preroll: Vec::new(), segment: video.segment };
        let gauged = match &self.eyes {
            Some(eyes) => eyes.gauge(stream, &segment, display).await.map_err(|error| error.to_string()),
            None => Err("there is no media child".into()),
        };
        let seconds = video.duration_ns.max(1) as f64 / 1e9;
        let source = auto::Source {
            display,
            frames_per_s: f64::from(video.frames) / seconds,
            bitrate_bps: (video.segment.bytes as f64 * 8.0 / seconds) as u64,
        };
        match &gauged {
            Ok(gauged) => tracing::info!(%stream, ?source, ?gauged, "the ladder is made for these pictures"),
            Err(why) => tracing::warn!(%stream, why, "the pictures can't be gauged: the ladder is what is usual"),
        }
        auto::ladder(&source, gauged.as_ref().ok())
    }
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Cmaf(#[from] millrace_cmaf::Error),
    #[error(transparent)]
    Media(#[from] media::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}
