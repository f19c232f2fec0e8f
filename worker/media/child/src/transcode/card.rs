//! A segment's pictures in a card's memory: decoded there, scaled there, and taken out where the card can't encode them.

use std::sync::Arc;

use ffmpeg_next::{color::TransferCharacteristic, frame::Video};
use millrace_media::{
    Failure, FailureKind,
    card::{Able, Refusal},
};

use super::path;
use crate::{
    av::{
        self,
        device::{self, Device},
        filter::Chain,
    },
    trouble::{self, Asked},
};

/// A card that is open, and what it proved.
#[derive(Clone)]
pub(crate) struct Card {
    pub(crate) device: Device,
    pub(crate) able: Able,
}

/// Scales pictures within a card's memory, to one size.
pub(super) struct Scaler {
    size: (u32, u32),
    /// For pictures of one size; sources that change theirs go in software.
    open: Option<((u32, u32), Chain)>,
    /// Counts pictures; filters want rising times.
    pushed: i64,
}

impl Scaler {
    pub(super) fn new(width: u32, height: u32) -> Self {
        Self { size: (width, height), open: None, pushed: 0 }
    }

    /// The scaled picture. It is a copy even where the size stays: the decoder waits for its own pictures.
    pub(super) fn scale(&mut self, picture: &Video) -> Result<Arc<Video>, Failure> {
        let failed = |error| trouble::card("scale a picture", Asked::Work, error);
        let from = (picture.width(), picture.height());
        let mut frame = av::frame::share(picture).map_err(failed)?;
        if self.open.as_ref().is_none_or(|(size, _)| *size != from) {
            let chain = Chain::open(&filters(from, self.size), &frame, 1).map_err(failed)?;
            self.open = Some((from, chain));
        }
        let Some((_, chain)) = &mut self.open else { unreachable!("just opened") };
        frame.set_pts(Some(self.pushed));
        self.pushed += 1;
        chain.push(frame).map_err(failed)?;
        let scaled = chain.pull().map_err(failed)?;
        scaled.map(Arc::new).ok_or_else(|| refused(Refusal::Lost, "the card's scaler kept a picture"))
    }
}

/// FFmpeg's filters from one size to another. The kernel takes four by four pixels however much smaller the picture
/// becomes (`vf_scale_cuda.cu` of libavfilter), so it goes there by halves at most: otherwise it would skip pixels, and edges
/// would crawl.
fn filters(from: (u32, u32), to: (u32, u32)) -> String {
    let steps = steps(from, to);
    let scale =
        |(width, height): &(u32, u32)| format!("scale_cuda=w={width}:h={height}:interp_algo=bicubic:passthrough=0");
    steps.iter().map(scale).collect::<Vec<_>>().join(",")
}

/// The sizes on the way, `to` among them.
fn steps(from: (u32, u32), to: (u32, u32)) -> Vec<(u32, u32)> {
    let (mut at, mut steps) = (from, Vec::new());
    let half = |from: u32, to: u32| if from > 2 * to { (from / 2).next_multiple_of(2).max(to) } else { to };
    while at.0 > 2 * to.0 || at.1 > 2 * to.1 {
        at = (half(at.0, to.0), half(at.1, to.1));
        if at == to {
            break;
        }
        steps.push(at);
    }
    steps.push(to);
    steps
}

/// What a decoded picture must be to stay on the card; headers do not tell all of it.
pub(super) fn check(picture: &Video, size: (u32, u32), transfer: TransferCharacteristic) -> Result<(), Failure> {
    let why = if !device::is_on_card(picture) {
        "the card did not decode a picture"
    } else if picture.is_interlaced() {
        "the pictures are interlaced"
    } else if path::is_hdr(transfer) {
        "the pictures are of high dynamic range"
    } else if (picture.width(), picture.height()) != size {
        "the pictures change their size"
    } else {
        return Ok(());
    };
    Err(refused(Refusal::Unsupported, why))
}

/// A copy in the machine's memory.
pub(super) fn download(picture: &Video) -> Result<Video, Failure> {
    device::download(picture).map_err(|error| trouble::card("give a picture back", Asked::Work, error))
}

/// What fails with a card may go well without: its decoder gives up where software conceals, and the other way round.
pub(super) fn blame(failure: Failure) -> Failure {
    if failure.card.is_some() {
        return failure;
    }
    let refusal = match failure.kind {
        FailureKind::BadInput | FailureKind::Unsupported => Refusal::Unsupported,
        FailureKind::Limit => Refusal::Full,
        FailureKind::TimedOut | FailureKind::Crashed | FailureKind::NotStarted => Refusal::Lost,
    };
    failure.of_card(refusal)
}

fn refused(refusal: Refusal, why: &str) -> Failure {
    Failure::new(FailureKind::Unsupported, why).of_card(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_step_is_longer_than_to_the_half() {
        assert_eq!(steps((1_920, 1_080), (1_280, 720)), [(1_280, 720)]);
        assert_eq!(steps((3_840, 2_160), (1_920, 1_080)), [(1_920, 1_080)]);
        assert_eq!(steps((3_840, 2_160), (1_280, 720)), [(1_920, 1_080), (1_280, 720)]);
        assert_eq!(steps((640, 360), (640, 360)), [(640, 360)]);
        assert_eq!(steps((640, 360), (1_280, 720)), [(1_280, 720)]);
        for from in [(146, 146), (1_920, 1_080), (4_096, 2_304), (1_080, 1_920)] {
            for to in [(2, 2), (256, 144), (426, 240), (1_920, 1_080), (4_096, 4_096)] {
                let mut at = from;
                for step in steps(from, to) {
                    assert!(at.0 <= 2 * step.0 + 2 && at.1 <= 2 * step.1 + 2, "{from:?} {to:?} {at:?} {step:?}");
                    at = step;
                }
                assert_eq!(at, to);
            }
        }
    }

    #[test]
    fn whatever_fails_on_a_card_says_so() {
        let of = |kind| blame(Failure::new(kind, "why")).card;
        assert_eq!(of(FailureKind::BadInput), Some(Refusal::Unsupported));
        assert_eq!(of(FailureKind::Limit), Some(Refusal::Full));
        assert_eq!(of(FailureKind::Crashed), Some(Refusal::Lost));
        let full = Failure::new(FailureKind::Unsupported, "why").of_card(Refusal::Full);
        assert_eq!(blame(full.clone()), full);
    }
}
