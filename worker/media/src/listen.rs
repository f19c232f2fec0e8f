//! A child that listens: its models stay loaded, and it is asked window after window what is said.

use std::path::PathBuf;

use bytes::Bytes;
use millrace_proto::captions::Heard;
use serde::{Deserialize, Serialize};

use crate::{Failure, Launcher, Limits, Loaded, card::Card, job::Job, warm::Warm, wire::Message};

/// Loads models and hears windows of sound, until the parent closes the pipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listen {
    /// ONNX Runtime's library.
    pub runtime: PathBuf,
    /// Silero's detector of voice.
    pub voice: PathBuf,
    /// Whisper, a ggml file.
    pub whisper: PathBuf,
    /// whisper.cpp's preset of the heads that tell words' times.
    pub dtw: Option<String>,
    /// Probability from which speech begins.
    pub speech: f32,
    /// Probability below which it ends.
    pub pause: f32,
    /// A card that Whisper is to run on. One that refuses fails the job, see [`Failure::card`]; nothing runs on the
    /// processor in its place.
    #[serde(default)]
    pub card: Option<Card>,
}

/// What to hear, apart from the sound itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Hear from here on, in milliseconds of the stream's timeline: where the window before was settled.
    pub start_ms: Option<i64>,
    /// Two-letter code; without it the model finds out.
    pub language: Option<String>,
    /// Write it in English, whatever is spoken.
    pub translate: bool,
    /// The text before, as much of it as there is.
    pub context: String,
    /// Nothing comes after this window.
    pub last: bool,
    /// A window of so many milliseconds without a pause is settled all the same.
    pub patience_ms: u32,
    /// Also tell what is said in speech that goes on.
    pub draft: bool,
    /// Threads at most.
    pub threads: u32,
}

/// A child that listens, kept warm. Dropping it kills the child.
#[derive(Debug)]
pub struct Listener(Warm);

impl Listener {
    pub(crate) fn new(launcher: Launcher, job: Listen, limits: Limits) -> Self {
        Self(Warm::new(launcher, Job::Listen(job), limits))
    }

    /// The child runs and has its models.
    pub fn is_warm(&self) -> bool {
        self.0.is_warm()
    }

    /// Lets the child go, with what it has loaded; the next call starts another one. False if there was none.
    pub fn cool(&mut self) -> bool {
        self.0.cool()
    }

    /// The child's process id, while it runs; for logs and tests.
    pub fn process_id(&self) -> Option<u32> {
        self.0.process_id()
    }

    /// Starts the child and loads its models, unless they are.
    pub async fn warm(&mut self) -> Result<Loaded, Failure> {
        self.0.warm().await
    }

    /// Hears one window: the header and the segments of CMAF sound, in order. A window that can't be heard fails alone;
    /// a child that died with it is gone, and the next call starts another one.
    ///
    /// # Cancel safety
    /// A call that is dropped half-way has its child killed: the answer to it would be taken for the next one's.
    pub async fn hear(&mut self, window: &Window, init: &Bytes, segments: &[Bytes]) -> Result<Heard, Failure> {
        let expected = |message| match message {
            Message::Heard(heard) => Some(heard),
            _ => None,
        };
        self.0.ask(window, init, segments, expected).await
    }
}
