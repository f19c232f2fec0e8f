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
    Colour, Common,
    card::{self, Card},
    encode::{Encoded, Encoder},
    path,
    scale::Scaler,
};
use crate::av::device;

/// Pictures that wait before each rung; they are whole and large.
const QUEUE_PICTURES: usize = 4;

/// A picture, when it is shown, and what its colours mean.
#[derive(Clone)]
pub(super) struct Picture {
    pub(super) pts: i64,
    pub(super) frame: Arc<Video>,
    pub(super) colour: Colour,
}

type Running = JoinHandle<Result<Encoded, Failure>>;

/// All rungs of a segment.
pub(super) struct Ladder {
    rungs: Rungs,
    /// Pictures taken.
    taken: usize,
}

enum Rungs {
    /// In the caller's thread.
    Inline(Vec<Rung>),
    /// One thread each; pictures go by their number in the segment, from 0.
    Threads { first: SyncSender<(usize, Picture)>, rungs: Vec<Running> },
}

impl Ladder {
    /// Opens every encoder, where there is a card those that it has. Its pictures are in the card's memory then.
    pub(super) fn start(targets: &[Target], common: &Common, card: Option<&Card>) -> Result<Self, Failure> {
        if common.threads == 1 {
            let rungs = (0..targets.len()).map(|at| Rung::open(at, targets, common, card));
            let rungs = Rungs::Inline(rungs.collect::<Result<_, _>>()?);
            return Ok(Self { rungs, taken: 0 });
        }
        let mut rungs = Vec::new();
        let mut below: Option<SyncSender<(usize, Picture)>> = None;
        // From the smallest up, so that each knows where its pictures go on to.
        for at in (0..targets.len()).rev() {
            let (inlet, inbox) = sync_channel(QUEUE_PICTURES);
            let outlet = below.replace(inlet);
            let (targets, common, card) = (targets.to_vec(), *common, card.cloned());
            let run = move || Rung::open(at, &targets, &common, card.as_ref())?.run(inbox, outlet);
            let rung = thread::Builder::new().name(format!("rung-{at}")).spawn(run);
            rungs.push(
                rung.map_err(|error| Failure::new(FailureKind::Limit, format!("can't start a thread: {error}")))?,
            );
        }
        rungs.reverse();
        let first = below.ok_or_else(|| crate::trouble::unsupported("no rendition is asked for"))?;
        Ok(Self { rungs: Rungs::Threads { first, rungs }, taken: 0 })
    }

    /// Takes the next picture in presentation order.
    pub(super) fn push(&mut self, picture: Picture) -> Result<(), Failure> {
        let number = self.taken;
        self.taken += 1;
        match &mut self.rungs {
            Rungs::Inline(rungs) => {
                let mut picture = picture;
                for rung in rungs.iter_mut().take_while(|rung| rung.wants(number)) {
                    picture = rung.scale(&picture)?;
                    rung.encode(number, &picture)?;
                }
                Ok(())
            }
            Rungs::Threads { first, rungs } => match first.send((number, picture)) {
                Ok(()) => Ok(()),
                Err(_) => Err(first_failure(std::mem::take(rungs))),
            },
        }
    }

    /// Ends every rendition.
    pub(super) fn finish(self) -> Result<Vec<Encoded>, Failure> {
        match self.rungs {
            Rungs::Inline(rungs) => rungs.into_iter().map(|rung| rung.encoder.finish()).collect(),
            Rungs::Threads { first, rungs } => {
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
    /// Scales what is in a card's memory; the other one only brings it into form then, for an encoder in software.
    on_card: Option<card::Scaler>,
    encoder: Encoder,
    /// It keeps the first of so many frames.
    divisor: usize,
    /// So do this one and those below it; they want what any of them keeps.
    divisors: Vec<usize>,
}

impl Rung {
    /// The largest rung turns the picture upright and gets all threads; those below are a fraction of its
    /// work.
    fn open(at: usize, targets: &[Target], common: &Common, card: Option<&Card>) -> Result<Self, Failure> {
        let target = &targets[at];
        let divisors: Vec<usize> = targets[at..].iter().map(|target| target.fps_divisor.max(1).into()).collect();
        let (rotation_deg, threads) =
            if at == 0 { (common.rotation_deg, common.threads) } else { (0, common.threads.div_ceil(2)) };
        let tools = |card: &Card| card.able.encodes(target.codec).filter(|_| path::encodes(target, &card.able));
        let encoder = match card.and_then(|card| Some((card, tools(card)?))) {
            Some((card, tools)) => Encoder::open_on(&card.device, target, common, tools)?,
            None => Encoder::open(target, common, threads)?,
        };
        Ok(Self {
            scaler: Scaler::new(target.width, target.height, rotation_deg),
            on_card: card.map(|_| card::Scaler::new(target.width, target.height)),
            encoder,
            divisor: divisors[0],
            divisors,
        })
    }

    fn run(
        mut self,
        inbox: Receiver<(usize, Picture)>,
        below: Option<SyncSender<(usize, Picture)>>,
    ) -> Result<Encoded, Failure> {
        for (number, picture) in inbox {
            if !self.wants(number) {
                continue;
            }
            let picture = self.scale(&picture)?;
            if let Some(below) = &below {
                // A rung below that died says why when it is joined.
                let _ = below.send((number, picture.clone()));
            }
            self.encode(number, &picture)?;
        }
        // The rung below ends meanwhile.
        drop(below);
        self.encoder.finish()
    }

    /// Whether this rung, or one below it, keeps a frame.
    fn wants(&self, number: usize) -> bool {
        self.divisors.iter().any(|divisor| number.is_multiple_of(*divisor))
    }

    fn scale(&mut self, picture: &Picture) -> Result<Picture, Failure> {
        let frame = match &mut self.on_card {
            Some(scaler) => scaler.scale(&picture.frame)?,
            None => self.scaler.scale(&picture.frame)?,
        };
        Ok(Picture { frame, ..*picture })
    }

    fn encode(&mut self, number: usize, picture: &Picture) -> Result<(), Failure> {
        if !number.is_multiple_of(self.divisor) {
            return Ok(());
        }
        if device::is_on_card(&picture.frame) && !self.encoder.is_on_card() {
            let downloaded = Arc::new(card::download(&picture.frame)?);
            return self.encoder.push(&*self.scaler.scale(&downloaded)?, picture.pts);
        }
        self.encoder.push(&picture.frame, picture.pts)
    }
}
