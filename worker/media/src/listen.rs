//! A child that listens: its models stay loaded, and it is asked window after window.
//!
//! Owns the child's life: it is started when it is first needed, each window has its own limit of time, and one that
//! died is started anew for the next window. Sound comes through the pipe, so that the child opens nothing but models.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use millrace_proto::captions::Heard;
use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncWriteExt,
    process::ChildStdin,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    Failure, FailureKind, Launcher, Limits,
    job::Job,
    process::Process,
    wire::{Ask, Frame, Message},
};

/// Segments of the longest window.
const SEGMENTS_MAX: usize = 256;

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
}

/// What a child that listens says when its models are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// It took so long.
    pub load_ms: u64,
    /// The most address space that it has taken so far.
    pub memory_bytes: u64,
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
    /// Threads at most.
    pub threads: u32,
}

/// A child that listens, kept warm. Dropping it kills the child.
#[derive(Debug)]
pub struct Listener {
    launcher: Launcher,
    job: Listen,
    limits: Limits,
    child: Option<(Process, ChildStdin, Loaded)>,
}

impl Listener {
    pub(crate) fn new(launcher: Launcher, job: Listen, limits: Limits) -> Self {
        Self { launcher, job, limits, child: None }
    }

    /// The child runs and has its models.
    pub fn is_warm(&self) -> bool {
        self.child.is_some()
    }

    /// Lets the child go, with what it has loaded; the next call starts another one. False if there was none.
    pub fn cool(&mut self) -> bool {
        self.child.take().is_some()
    }

    /// The child's process id, while it runs; for logs and tests.
    pub fn process_id(&self) -> Option<u32> {
        self.child.as_ref()?.0.id()
    }

    /// Starts the child and loads its models, unless they are.
    pub async fn warm(&mut self) -> Result<Loaded, Failure> {
        if let Some((process, _, loaded)) = &mut self.child {
            if process.is_running() {
                return Ok(*loaded);
            }
            self.child = None;
        }
        let (mut process, stdin) = self.launcher.start(Job::Listen(self.job.clone()), &self.limits).await?;
        let Ok(frame) = timeout(Duration::from_millis(self.limits.wall_ms_max), process.receive()).await else {
            return Err(process.timed_out(&self.limits).await);
        };
        match frame? {
            Frame::Message(Message::Loaded(loaded)) => {
                self.child = Some((process, stdin, loaded));
                Ok(loaded)
            }
            other => Err(process.unexpected(&other).await),
        }
    }

    /// Hears one window: the header and the segments of CMAF sound, in order. A window that can't be heard fails alone;
    /// a child that died with it is gone, and the next call starts another one.
    ///
    /// # Cancel safety
    /// A call that is dropped half-way has its child killed: the answer to it would be taken for the next one's.
    pub async fn hear(&mut self, window: &Window, init: &Bytes, segments: &[Bytes]) -> Result<Heard, Failure> {
        let lengths: Vec<u32> = [init].into_iter().chain(segments).map(|part| part.len() as u32).collect();
        let total: u64 = lengths.iter().map(|length| u64::from(*length)).sum();
        if segments.is_empty() || segments.len() > SEGMENTS_MAX || total > crate::wire::FRAME_BYTES_MAX as u64 {
            let message = format!("a window of {} segments and {total} bytes is not heard", segments.len());
            return Err(Failure::new(FailureKind::BadInput, message));
        }
        self.warm().await?;
        let (mut process, mut stdin, loaded) = self.child.take().expect("it is warm");
        let ask = Ask { window: window.clone(), lengths }.encode();
        let deadline = Instant::now() + Duration::from_millis(self.limits.wall_ms_max);
        let exchange = async {
            // A child that died in between tells why by its end.
            for part in [&ask[..], init].into_iter().chain(segments.iter().map(AsRef::as_ref)) {
                if stdin.write_all(part).await.is_err() {
                    break;
                }
            }
            process.receive_any().await
        };
        let frame = match timeout_at(deadline, exchange).await {
            Ok(frame) => frame?,
            Err(_) => return Err(process.timed_out(&self.limits).await),
        };
        let answer = match frame {
            Frame::Message(Message::Heard(heard)) => Ok(heard),
            Frame::Message(Message::Failed(failure)) => Err(Failure::new(failure.kind, failure.message)),
            other => return Err(process.unexpected(&other).await),
        };
        self.child = Some((process, stdin, loaded));
        answer
    }
}
