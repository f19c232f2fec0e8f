//! A child whose models stay loaded: it is asked again and again.
//!
//! Owns the child's life: it is started when it is first needed, each question has its own limit of time, and one that
//! died is started anew for the next question. Media comes through the pipe, so that the child opens nothing but models.

use std::time::Duration;

use bytes::Bytes;
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
    wire::{Ask, FRAME_BYTES_MAX, Frame, Message},
};

/// Segments of the longest question.
const SEGMENTS_MAX: usize = 256;

/// What a child says when its models are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// It took so long.
    pub load_ms: u64,
    /// The most address space that it has taken so far; with a card, the most memory.
    pub memory_bytes: u64,
}

/// A child that is kept warm. Dropping it kills the child.
#[derive(Debug)]
pub(crate) struct Warm {
    launcher: Launcher,
    job: Job,
    limits: Limits,
    child: Option<(Process, ChildStdin, Loaded)>,
}

impl Warm {
    pub(crate) fn new(launcher: Launcher, job: Job, limits: Limits) -> Self {
        Self { launcher, job, limits, child: None }
    }

    pub(crate) fn is_warm(&self) -> bool {
        self.child.is_some()
    }

    /// Lets the child go, with what it has loaded; the next call starts another one. False if there was none.
    pub(crate) fn cool(&mut self) -> bool {
        self.child.take().is_some()
    }

    pub(crate) fn process_id(&self) -> Option<u32> {
        self.child.as_ref()?.0.id()
    }

    /// Starts the child and loads its models, unless they are.
    pub(crate) async fn warm(&mut self) -> Result<Loaded, Failure> {
        if let Some((process, _, loaded)) = &mut self.child {
            if process.is_running() {
                return Ok(*loaded);
            }
            self.child = None;
        }
        let (mut process, stdin) = self.launcher.start(self.job.clone(), &self.limits).await?;
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

    /// Asks about the header and the segments of CMAF media, in order. What can't be answered fails alone; a child that
    /// died with it is gone, and the next call starts another one.
    ///
    /// # Cancel safety
    /// A call that is dropped half-way has its child killed: the answer to it would be taken for the next one's.
    pub(crate) async fn ask<T: Serialize, A>(
        &mut self,
        asked: T,
        init: &Bytes,
        segments: &[Bytes],
        expected: impl Fn(Message) -> Option<A>,
    ) -> Result<A, Failure> {
        let lengths: Vec<u32> = [init].into_iter().chain(segments).map(|part| part.len() as u32).collect();
        let total: u64 = lengths.iter().map(|length| u64::from(*length)).sum();
        if segments.is_empty() || segments.len() > SEGMENTS_MAX || total > FRAME_BYTES_MAX as u64 {
            let message = format!("{} segments and {total} bytes at once are refused", segments.len());
            return Err(Failure::new(FailureKind::BadInput, message));
        }
        self.warm().await?;
        let (mut process, mut stdin, loaded) = self.child.take().expect("it is warm");
        let ask = Ask { asked, lengths }.encode();
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
        let answer = match frame.clone() {
            Frame::Message(Message::Failed(Failure { kind, message, card })) => {
                Some(Err(Failure { card, ..Failure::new(kind, message) }))
            }
            Frame::Message(message) => expected(message).map(Ok),
            Frame::Video(_) | Frame::Audio(_) => None,
        };
        let Some(answer) = answer else { return Err(process.unexpected(&frame).await) };
        self.child = Some((process, stdin, loaded));
        answer
    }
}
