//! All rungs of a segment: each scales what the next larger one made, and encodes it.
//!
//! With one thread everything happens in the caller; with more, each rung has a thread of its own and
//! pictures flow down the ladder through short queues.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use ffmpeg_next::frame::Video;
use millrace_media::{Failure, FailureKind};
use millrace_proto::task::Target;

use super::{
    Common,
    encode::{Encoded, Encoder},
    scale::Scaler,
};

/// Pictures that wait before each rung; they are whole and large.
const QUEUE_PICTURES: usize = 4;

/// A picture and when it is shown.
#[derive(Clone)]
pub(super) struct Picture {
    pub(super) pts: i64,
    pub(super) frame: Arc<Video>,
}

type Running = JoinHandle<Result<Encoded, Failure>>;

/// All rungs of a segment.
pub(super) enum Ladder {
    /// In the caller's thread.
    Inline(Vec<Rung>),
    /// One thread each.
    Threads { first: SyncSender<Picture>, rungs: Vec<Running> },
}

impl Ladder {
    /// Opens every encoder.
    pub(super) fn start(targets: &[Target], common: &Common) -> Result<Self, Failure> {
        if common.threads == 1 {
            let rungs = targets.iter().enumerate().map(|(at, target)| Rung::open(at, target, common));
            return rungs.collect::<Result<_, _>>().map(Self::Inline);
        }
        let mut rungs = Vec::new();
        let mut below: Option<SyncSender<Picture>> = None;
        // From the smallest up, so that each knows where its pictures go on to.
        for (at, target) in targets.iter().enumerate().rev() {
            let (inlet, inbox) = sync_channel(QUEUE_PICTURES);
            let outlet = below.replace(inlet);
            let (target, common) = (target.clone(), *common);
            let run = move || Rung::open(at, &target, &common)?.run(inbox, outlet);
            let rung = thread::Builder::new().name(format!("rung-{at}")).spawn(run);
            rungs.push(
                rung.map_err(|error| Failure::new(FailureKind::Limit, format!("can't start a thread: {error}")))?,
            );
        }
        rungs.reverse();
        let first = below.ok_or_else(|| crate::trouble::unsupported("no rendition is asked for"))?;
        Ok(Self::Threads { first, rungs })
    }

    /// Takes the next picture in presentation order.
    pub(super) fn push(&mut self, picture: Picture) -> Result<(), Failure> {
        match self {
            Self::Inline(rungs) => {
                let mut picture = picture;
                for rung in rungs {
                    picture = rung.scale(&picture)?;
                    rung.encode(&picture)?;
                }
                Ok(())
            }
            Self::Threads { first, rungs } => match first.send(picture) {
                Ok(()) => Ok(()),
                Err(_) => Err(first_failure(std::mem::take(rungs))),
            },
        }
    }

    /// Ends every rendition.
    pub(super) fn finish(self) -> Result<Vec<Encoded>, Failure> {
        match self {
            Self::Inline(rungs) => rungs.into_iter().map(|rung| rung.encoder.finish()).collect(),
            Self::Threads { first, rungs } => {
                drop(first);
                rungs.into_iter().map(join).collect()
            }
        }
    }
}

fn join(rung: Running) -> Result<Encoded, Failure> {
    rung.join().unwrap_or_else(|_| Err(Failure::new(FailureKind::Crashed, "a rung's thread panicked")))
}

/// Why the first rung took no more: its own failure. The others end when it has.
fn first_failure(rungs: Vec<Running>) -> Failure {
    let failures = rungs.into_iter().filter_map(|rung| join(rung).err());
    failures.reduce(|first, _| first).unwrap_or_else(|| Failure::new(FailureKind::Crashed, "a rung ended early"))
}

/// One rung: scales and encodes.
pub(super) struct Rung {
    scaler: Scaler,
    encoder: Encoder,
}

impl Rung {
    /// The largest rung turns the picture upright and gets all threads; those below are a fraction of its
    /// work.
    fn open(at: usize, target: &Target, common: &Common) -> Result<Self, Failure> {
        let (rotation_deg, threads) =
            if at == 0 { (common.rotation_deg, common.threads) } else { (0, common.threads.div_ceil(2)) };
        Ok(Self {
            scaler: Scaler::new(target.width, target.height, rotation_deg),
            encoder: Encoder::open(target, common, threads)?,
        })
    }

    fn run(mut self, inbox: Receiver<Picture>, below: Option<SyncSender<Picture>>) -> Result<Encoded, Failure> {
        for picture in inbox {
            let picture = self.scale(&picture)?;
            if let Some(below) = &below {
                // A rung below that died says why when it is joined.
                let _ = below.send(picture.clone());
            }
            self.encode(&picture)?;
        }
        // The rung below ends meanwhile.
        drop(below);
        self.encoder.finish()
    }

    fn scale(&mut self, picture: &Picture) -> Result<Picture, Failure> {
        Ok(Picture { pts: picture.pts, frame: self.scaler.scale(&picture.frame)? })
    }

    fn encode(&mut self, picture: &Picture) -> Result<(), Failure> {
        self.encoder.push(&picture.frame, picture.pts)
    }
}
