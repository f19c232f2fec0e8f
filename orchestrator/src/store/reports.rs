//! The store's contract for what workers find in windows of streams: chains of windows, and reports.

use async_trait::async_trait;
use millrace_proto::{Address, Sha256, StreamId, TaskId, offer::Capability, task::Blob};
use serde::{Deserialize, Serialize};

use super::{Result, marks::Mark, record::Stream};
use crate::task::Task;

/// The track of what is spoken, in its language; its name in URLs and in tasks' ids.
pub const CAPTIONS: &str = "captions";
/// The track of what is spoken, in English.
pub const ENGLISH: &str = "english";
/// The track of what not everyone is to see.
pub const MODERATION: &str = "moderation";
/// The track of things that are to be seen.
pub const PRODUCTS: &str = "products";

/// One track's windows: each begins where the one before is settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its stream.
    pub stream: StreamId,
    /// What is looked for.
    pub kind: Capability,
    /// Its name among those of its kind.
    pub track: String,
    /// The next window's number, from 0.
    pub number: u64,
    /// No segment before this one is in the next window.
    pub seq: u64,
    /// Where the next window begins, in milliseconds of the stream's timeline.
    pub position_ms: i64,
    /// Up to where the last window went, of which what is behind the position was left to the next one.
    pub seen_ms: i64,
    /// The end of the text before, up to where the next window is heard from.
    pub context: String,
    /// What the next window goes on with, as JSON; where it is absent, what was written before stays.
    pub carry: Option<String>,
    /// The language that was heard, once one was.
    pub label: Option<String>,
    /// More windows may come.
    pub open: bool,
}

/// What a chain of captions carries of speech that goes on, for its next window to be compared with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Carry {
    /// The next window is heard from so long before the chain's position on.
    pub again_ms: u32,
    /// What was said in that time, and is settled.
    pub settled: Vec<Said>,
    /// What was heard behind it, and is not.
    pub draft: Vec<Said>,
    /// Pauses in that time: in one of them a later window may begin.
    pub pauses_ms: Vec<i64>,
    /// The language that was heard in it.
    #[serde(default)]
    pub language: Option<String>,
}

/// A word that was heard, as it is compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Letters and digits alone, none of them capital.
    pub text: String,
    /// When it begins, in milliseconds of the stream's timeline.
    pub start_ms: i64,
    /// When it ends.
    pub end_ms: i64,
}

impl Carry {
    /// What a chain carries; nothing if that can't be read.
    pub fn of(chain: &Chain) -> Self {
        chain.carry.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// As a chain has it.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("words and numbers are JSON")
    }
}

impl Chain {
    /// Those that a new stream's profile asks for.
    pub fn of(stream: &Stream) -> Vec<Self> {
        let chain = |kind, track: &str| Self {
            stream: stream.id.clone(),
            kind,
            track: track.to_owned(),
            number: 0,
            seq: 0,
            position_ms: 0,
            seen_ms: 0,
            context: String::new(),
            carry: None,
            label: None,
            open: true,
        };
        let profile = &stream.profile;
        let spoken = profile.captions.iter().map(|_| chain(Capability::Captions, CAPTIONS));
        let english =
            profile.captions.iter().filter(|wish| wish.translate).map(|_| chain(Capability::Captions, ENGLISH));
        let moderation = profile.moderation.iter().map(|_| chain(Capability::Moderation, MODERATION));
        let products = profile.products.iter().map(|_| chain(Capability::Products, PRODUCTS));
        spoken.chain(english).chain(moderation).chain(products).collect()
    }

    /// The id of its next window's task.
    pub fn task_id(&self) -> TaskId {
        let text = format!("{}-{}-{}", self.stream, self.number, self.track);
        TaskId::try_from(text).expect("a stream id, a number and a word fit a task id")
    }
}

/// What came of a window, or of a piece of a stream that there is nothing to find in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its stream.
    pub stream: StreamId,
    /// What was looked for.
    pub kind: Capability,
    /// Its chain's.
    pub track: String,
    /// Its place in its chain.
    pub number: u64,
    /// Where it begins, in milliseconds of the stream's timeline.
    pub start_ms: i64,
    /// Up to where it is settled.
    pub end_ms: i64,
    /// When it was settled, Unix time.
    pub created_ms: u64,
    /// What was found; absent with a reason.
    pub found: Option<Found>,
    /// Why there is nothing.
    pub reason: Option<String>,
}

/// What was found in a window, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// With the stream in the media store, as JSON.
    pub blob: Blob,
    /// The model's name in the worker's catalogue.
    pub model: String,
    /// Of its weights.
    pub version: String,
    /// Who found it.
    pub worker: Address,
    /// Which of the words are this window's, from and up to, where others are there too: its drafts with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<(u32, u32)>,
}

impl Found {
    /// The bytes' name.
    pub fn sha256(&self) -> Sha256 {
        self.blob.sha256
    }
}

/// Chains and reports. Part of the [`super::Store`].
#[async_trait]
pub trait Reports {
    /// A stream's chains.
    async fn chains(&self, stream: &StreamId) -> Result<Vec<Chain>>;
    /// Chains that more windows may come to, of all streams.
    async fn chains_open(&self) -> Result<Vec<Chain>>;
    /// Writes a chain's next window. False if the chain is not as it is said to be, or the task is there.
    async fn plan_window(&self, chain: &Chain, task: &Task) -> Result<bool>;
    /// Writes a chain over the one with `number`, with a report that needs no task, and what is to be seen with it. False
    /// if another change came first.
    async fn step_chain(&self, number: u64, next: &Chain, report: Option<&Report>, marks: &[Mark]) -> Result<bool>;
    /// The reports of a track that reach into the time from `from_ms` to `to_ms`, in order, at most `limit`.
    async fn reports(&self, of: Of<'_>, from_ms: i64, to_ms: i64, limit: u32) -> Result<Vec<Report>>;
    /// Reports of a stream, of whatever kind, that are over by `below_ms`, at most `limit`.
    async fn reports_over(&self, stream: &StreamId, below_ms: i64, limit: u32) -> Result<Vec<Report>>;
    /// Removes one.
    async fn forget_report(&self, report: &Report) -> Result<()>;
}

/// One track of one stream.
#[derive(Debug, Clone, Copy)]
pub struct Of<'a> {
    /// The stream.
    pub stream: &'a StreamId,
    /// What was looked for.
    pub kind: Capability,
    /// Which chain.
    pub track: &'a str,
}
