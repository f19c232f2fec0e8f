//! Runs jobs in media children, one process each.

use std::{path::PathBuf, time::Duration};

use millrace_proto::offer::Sandbox;
use tokio::{process::ChildStdin, time::timeout};

use crate::{
    Failure, Feed, Following, Limits, Listener, Looker, Portrayer,
    card::{Tried, TryCard},
    job::{
        Demux, Demuxed, Follow, Gauge, Gauged, Inspect, Inspection, Job, Listen, Look, Mux, Portray, Probe, Probed,
        Stilled, Stills, Transcode, Transcoded,
    },
    process::Process,
    sandbox::Mode,
    wire::{Frame, Message},
};

/// The media child that was built with its feature `cuda`; `deploy/up` puts it beside the other one.
const WITH_CUDA: &str = "millrace-media-cuda";

/// Runs jobs in media children, one process each. A call that is dropped kills its child.
#[derive(Debug, Clone)]
pub struct Launcher {
    binary: PathBuf,
    sandbox: Mode,
}

impl Launcher {
    /// Takes the path of `millrace-media`; it is first looked at when a job runs.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self { binary: binary.into(), sandbox: Mode::default() }
    }

    /// The same, with jobs that run in a whole sandbox or not at all, or in what there is of one.
    #[must_use]
    pub fn with_sandbox(self, sandbox: Mode) -> Self {
        Self { sandbox, ..self }
    }

    /// Tells what holds of the sandbox that every job runs in, whatever is asked of it.
    pub async fn sandbox(&self, limits: &Limits) -> Result<Sandbox, Failure> {
        let any = self.clone().with_sandbox(Mode::BestEffort);
        any.ask(Job::Sandbox, limits, |message| match message {
            Message::Confined(sandbox) => Some(sandbox),
            _ => None,
        })
        .await
    }

    /// Encodes every rendition of a segment.
    pub async fn transcode(&self, job: &Transcode, limits: &Limits) -> Result<Transcoded, Failure> {
        self.ask(Job::Transcode(job.clone()), limits, |message| match message {
            Message::Transcoded(done) => Some(done),
            _ => None,
        })
        .await
    }

    /// Looks at segments; one answer for each, in order.
    pub async fn inspect(&self, job: &Inspect, limits: &Limits) -> Result<Vec<Inspection>, Failure> {
        let asked = job.segments.len();
        self.ask(Job::Inspect(job.clone()), limits, |message| match message {
            Message::Inspected(seen) if seen.len() == asked => Some(seen),
            _ => None,
        })
        .await
    }

    /// Tells how hard a segment's pictures are.
    pub async fn gauge(&self, job: &Gauge, limits: &Limits) -> Result<Gauged, Failure> {
        self.ask(Job::Gauge(job.clone()), limits, |message| match message {
            Message::Gauged(gauged) => Some(gauged),
            _ => None,
        })
        .await
    }

    /// Runs an encoder and measures it.
    pub async fn probe(&self, job: &Probe, limits: &Limits) -> Result<Probed, Failure> {
        self.ask(Job::Probe(job.clone()), limits, |message| match message {
            Message::Probed(probed) => Some(probed),
            _ => None,
        })
        .await
    }

    /// Tries what a card does. One that does nothing at all fails, with the reason.
    pub async fn try_card(&self, job: &TryCard, limits: &Limits) -> Result<Tried, Failure> {
        self.ask(Job::TryCard(job.clone()), limits, |message| match message {
            Message::Tried(tried) => Some(tried),
            _ => None,
        })
        .await
    }

    /// Makes a poster and thumbnails.
    pub async fn stills(&self, job: &Stills, limits: &Limits) -> Result<Stilled, Failure> {
        self.ask(Job::Stills(job.clone()), limits, |message| match message {
            Message::Stilled(stilled) => Some(stilled),
            _ => None,
        })
        .await
    }

    /// Writes renditions as MPEG transport streams.
    pub async fn mux(&self, job: &Mux, limits: &Limits) -> Result<(), Failure> {
        self.ask(Job::Mux(job.clone()), limits, |message| match message {
            Message::Muxed => Some(()),
            _ => None,
        })
        .await
    }

    /// Starts to read a file. Nothing is read ahead: a caller that does not ask for the next sample holds the
    /// child back.
    pub async fn demux(&self, job: &Demux, limits: &Limits) -> Result<Demuxing, Failure> {
        let process = Process::start(&self.binary, Job::Demux(job.clone()), self.sandbox, limits).await?;
        Ok(Demuxing { process, limits: *limits, ended: false })
    }

    /// Starts to follow a stream: what is written into the feed comes out of the other half as samples. Dropping the
    /// feed ends the stream.
    pub async fn follow(&self, job: &Follow, limits: &Limits) -> Result<(Feed, Following), Failure> {
        let process = Process::start(&self.binary, Job::Follow(job.clone()), self.sandbox, limits).await?;
        Ok(Following::new(process, limits))
    }

    /// A child that listens, with these models. It is started when it is first needed; `limits` are for the child as a
    /// whole, and its wall time for each window.
    pub fn listen(&self, job: Listen, limits: &Limits) -> Listener {
        Listener::new(self.clone(), job, *limits)
    }

    /// A child that looks at pictures, with these models. It is started when it is first needed; `limits` are for the child
    /// as a whole, and its wall time for each call.
    pub fn look(&self, job: Look, limits: &Limits) -> Looker {
        Looker::new(self.clone(), job, *limits)
    }

    /// A child that looks at pictures of products, with this model. It is started when it is first needed; `limits` are for
    /// the child as a whole, and its wall time for each picture.
    pub fn portray(&self, job: Portray, limits: &Limits) -> Portrayer {
        Portrayer::new(self.clone(), job, *limits)
    }

    pub(crate) async fn start(&self, job: Job, limits: &Limits) -> Result<(Process, ChildStdin), Failure> {
        let mut process = Process::start(&self.program(&job), job, self.sandbox, limits).await?;
        let stdin = process.take_stdin().expect("a process that just started has its input");
        Ok((process, stdin))
    }

    /// The program for a job. Where Whisper is to use a card, the one beside that was built with CUDA, if there is one: it
    /// needs CUDA's libraries and the driver to start at all, so other jobs are left to the one that does not.
    fn program(&self, job: &Job) -> PathBuf {
        let with_cuda = self.binary.with_file_name(WITH_CUDA);
        let wanted = matches!(job, Job::Listen(Listen { card: Some(_), .. }));
        if wanted && with_cuda.is_file() { with_cuda } else { self.binary.clone() }
    }

    async fn ask<T>(&self, job: Job, limits: &Limits, expected: impl Fn(Message) -> Option<T>) -> Result<T, Failure> {
        let mut process = Process::start(&self.binary, job, self.sandbox, limits).await?;
        let Ok(frame) = timeout(wall(limits), process.receive()).await else {
            return Err(process.timed_out(limits).await);
        };
        let frame = frame?;
        let answer = match frame.clone() {
            Frame::Message(message) => expected(message),
            Frame::Video(_) | Frame::Audio(_) => None,
        };
        match answer {
            Some(answer) => Ok(answer),
            None => Err(process.unexpected(&frame).await),
        }
    }
}

/// A file being read by a child. Dropping it kills the child.
#[derive(Debug)]
pub struct Demuxing {
    process: Process,
    limits: Limits,
    ended: bool,
}

impl Demuxing {
    /// The next thing in the file, as [`Demuxed`] has them, up to [`Demuxed::End`] once, then nothing. Not to be called again after a failure.
    ///
    /// # Cancel safety
    /// A call that is dropped half-way loses part of a frame: drop the whole `Demuxing` then.
    pub async fn next(&mut self) -> Result<Option<Demuxed>, Failure> {
        if self.ended {
            return Ok(None);
        }
        let Ok(frame) = timeout(wall(&self.limits), self.process.receive()).await else {
            return Err(self.process.timed_out(&self.limits).await);
        };
        let next = self.process.demuxed(frame?).await?;
        self.ended = next == Demuxed::End;
        Ok(Some(next))
    }

    /// The child's process id, while it runs; for logs and tests.
    pub fn process_id(&self) -> Option<u32> {
        self.process.id()
    }
}

fn wall(limits: &Limits) -> Duration {
    Duration::from_millis(limits.wall_ms_max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::Card;

    #[test]
    fn whisper_alone_and_on_a_card_alone_takes_the_program_with_cuda() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, with_cuda) = (folder.path().join("millrace-media"), folder.path().join(WITH_CUDA));
        let launcher = Launcher::new(&plain);
        let card = Card { index: 0, minor: 0, uuid: None };
        let listen = Listen {
            runtime: "r".into(),
            voice: "v".into(),
            whisper: "w".into(),
            dtw: None,
            speech: 0.5,
            pause: 0.35,
            card: Some(card.clone()),
        };
        let on_card = Job::Listen(listen.clone());
        assert_eq!(launcher.program(&on_card), plain, "it refuses, and says what to do");
        std::fs::write(&with_cuda, "").unwrap();
        assert_eq!(launcher.program(&on_card), with_cuda);
        assert_eq!(launcher.program(&Job::Listen(Listen { card: None, ..listen })), plain);
        assert_eq!(launcher.program(&Job::TryCard(TryCard { card })), plain);
    }
}
