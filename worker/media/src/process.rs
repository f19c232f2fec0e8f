//! One running media child: the handshake, frames from it, and what its end means.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::ExitStatus,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    Failure, FailureKind, Limits,
    job::{Demuxed, Job},
    sandbox::Mode,
    spawn,
    wire::{self, Frame, Message, Request},
};

/// A child says hello at once; what takes longer is no media child, or a machine that is stuck.
const HELLO_WAIT: Duration = Duration::from_secs(30);
/// A child that closed its output ends at once.
const EXIT_WAIT: Duration = Duration::from_secs(5);
/// How much of the end of its log is kept.
const LOG_BYTES_MAX: usize = 600;

/// Signals that limits send (signal(7)).
const SIGXCPU: i32 = 24;
const SIGXFSZ: i32 = 25;
/// The kernel's own way to end a program that its filter stopped (seccomp(2)).
const SIGSYS: i32 = 31;

/// One running media child, killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    // Its closing tells the child that nobody waits for it.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    log: Arc<Mutex<Vec<u8>>>,
    log_reader: JoinHandle<()>,
}

impl Process {
    /// Starts a child, shakes hands and sends it the job.
    pub(crate) async fn start(binary: &Path, job: Job, sandbox: Mode, limits: &Limits) -> Result<Self, Failure> {
        let not_started =
            |why: String| Failure::new(FailureKind::NotStarted, format!("the media child {} {why}", binary.display()));
        let mut child =
            spawn::spawn(binary, &job).await.map_err(|error| not_started(format!("can't be started: {error}")))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else { unreachable!("all three are piped") };
        let mut stdout = BufReader::new(stdout);
        let log = Arc::<Mutex<Vec<u8>>>::default();
        let log_reader = tokio::spawn(keep_end(stderr, Arc::clone(&log)));
        match timeout(HELLO_WAIT, read_frame(&mut stdout)).await {
            Ok(Ok(Some(Frame::Message(Message::Hello { version, protocol })))) => {
                let (ours, ours_protocol) = (wire::PROGRAM_VERSION, wire::PROTOCOL_VERSION);
                if (version.as_str(), protocol) != (ours, ours_protocol) {
                    return Err(not_started(format!(
                        "is version {version}, protocol {protocol}; this program needs version {ours}, protocol \
                         {ours_protocol}: install both from one build"
                    )));
                }
            }
            Ok(Ok(None)) => {
                let _ = timeout(EXIT_WAIT, log_reader).await;
                return Err(not_started("ended before it said hello".into()).with_log(&text(&log)));
            }
            Ok(_) => return Err(not_started("said something else than hello: is it another program?".into())),
            Err(_) => return Err(not_started(format!("said nothing for {} s", HELLO_WAIT.as_secs()))),
        }
        let request = Request { parent: std::process::id(), limits: *limits, sandbox, job }.encode();
        // A child that died in between tells why by its end.
        let _ = stdin.write_all(&request).await;
        Ok(Self { child, stdin: Some(stdin), stdout, log, log_reader })
    }

    /// Where the child reads; once. Whoever has it tells the child by closing it that nothing more comes.
    pub(crate) fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.stdin.take()
    }

    /// The next frame. A child that ends, fails or talks nonsense is a failure.
    pub(crate) async fn receive(&mut self) -> Result<Frame, Failure> {
        match self.receive_any().await? {
            Frame::Message(Message::Failed(failure)) => {
                self.finish_log().await;
                let told = Failure::new(failure.kind, failure.message);
                Err(Failure { card: failure.card, ..told }.with_log(&text(&self.log)))
            }
            frame => Ok(frame),
        }
    }

    /// The same of a child that lives on when a request fails: that is an answer.
    pub(crate) async fn receive_any(&mut self) -> Result<Frame, Failure> {
        match read_frame(&mut self.stdout).await {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => Err(self.end().await),
            Err(error) => {
                self.kill().await;
                Err(Failure::new(FailureKind::Crashed, format!("the media child talks nonsense: {error}")))
            }
        }
    }

    /// What a child that demuxes says with this frame.
    pub(crate) async fn demuxed(&mut self, frame: Frame) -> Result<Demuxed, Failure> {
        match frame {
            Frame::Video(sample) => Ok(Demuxed::Video(sample)),
            Frame::Audio(sample) => Ok(Demuxed::Audio(sample)),
            Frame::Message(Message::Tracks { video, audio }) => Ok(Demuxed::Tracks { video, audio }),
            Frame::Message(Message::Ignored(tracks)) => Ok(Demuxed::Ignored(tracks)),
            Frame::Message(Message::End) => Ok(Demuxed::End),
            other @ Frame::Message(_) => Err(self.unexpected(&other).await),
        }
    }

    /// The failure for a child that passed its wall time; it is killed first.
    pub(crate) async fn timed_out(&mut self, limits: &Limits) -> Failure {
        self.kill().await;
        let message = format!("the media child took more than {} ms", limits.wall_ms_max);
        Failure::new(FailureKind::TimedOut, message).with_log(&text(&self.log))
    }

    /// The failure for a child that took more processor time than it may; it is killed first.
    pub(crate) async fn too_busy(&mut self, limits: &Limits) -> Failure {
        self.kill().await;
        let Limits { cpu_s_max, cpu_window_s, .. } = limits;
        let message = format!("the media child took more than {cpu_s_max} s of CPU time in {cpu_window_s} s");
        Failure::new(FailureKind::Limit, message).with_log(&text(&self.log))
    }

    /// The failure for an answer that does not fit the job.
    pub(crate) async fn unexpected(&mut self, frame: &Frame) -> Failure {
        self.kill().await;
        let what = match frame {
            Frame::Message(message) => format!("{message:?}").chars().take(80).collect(),
            Frame::Video(_) | Frame::Audio(_) => "a sample".to_owned(),
        };
        Failure::new(FailureKind::Crashed, format!("the media child answered another question: {what}"))
    }

    /// The child's process id, until it has ended.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// It has not ended, as far as the kernel knows.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    async fn kill(&mut self) {
        let _ = self.child.kill().await;
        self.finish_log().await;
    }

    async fn end(&mut self) -> Failure {
        let status = match timeout(EXIT_WAIT, self.child.wait()).await {
            Ok(status) => status,
            Err(_) => self.child.kill().await.and_then(|()| Err(io::ErrorKind::TimedOut.into())),
        };
        self.finish_log().await;
        verdict(status).with_log(&text(&self.log))
    }

    async fn finish_log(&mut self) {
        let _ = timeout(EXIT_WAIT, &mut self.log_reader).await;
    }
}

/// What it means that the child ended without an answer.
fn verdict(status: io::Result<ExitStatus>) -> Failure {
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            return Failure::new(FailureKind::Crashed, format!("the media child went silent: {error}"));
        }
    };
    let (kind, what) = match (status.signal(), status.code()) {
        (Some(SIGXCPU), _) => (FailureKind::Limit, "passed its limit of CPU time".to_owned()),
        (Some(SIGXFSZ), _) => (FailureKind::Limit, "passed its limit of file size".to_owned()),
        (Some(SIGSYS), _) | (None, Some(wire::EXIT_FORBIDDEN)) => {
            (FailureKind::Crashed, "made a system call that its sandbox forbids, and was ended".to_owned())
        }
        (Some(signal), _) => (FailureKind::Crashed, format!("was ended by signal {signal}")),
        (None, Some(wire::EXIT_OUT_OF_MEMORY)) => (FailureKind::Limit, "passed its limit of memory".to_owned()),
        (None, code) => (FailureKind::Crashed, format!("ended with code {} and no answer", code.unwrap_or(-1))),
    };
    Failure::new(kind, format!("the media child {what}"))
}

/// One frame, or nothing at the end of the stream.
async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let mut length = [0; 4];
    if from.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    // A child that is killed in the middle of a frame has ended; how is told by its status.
    let ended = |error: io::Error| (error.kind() == io::ErrorKind::UnexpectedEof).then_some(None).ok_or(error);
    if let Err(error) = from.read_exact(&mut length[1..]).await {
        return ended(error);
    }
    let mut body = vec![0; wire::frame_bytes(length)?];
    if let Err(error) = from.read_exact(&mut body).await {
        return ended(error);
    }
    Frame::decode(Bytes::from(body)).map(Some)
}

async fn keep_end(mut from: impl AsyncRead + Unpin, log: Arc<Mutex<Vec<u8>>>) {
    let mut piece = [0; 1_024];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        let mut log = log.lock().expect("no holder panics");
        log.extend_from_slice(&piece[..read]);
        let surplus = log.len().saturating_sub(LOG_BYTES_MAX);
        log.drain(..surplus);
    }
}

fn text(log: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&log.lock().expect("no holder panics")).trim().replace('\n', " | ")
}
