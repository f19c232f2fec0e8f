//! Lies: what a worker that wants to be paid for nothing, or to do harm, hands in.

use bytes::Bytes;
use millrace_proto::{
    outcome::{Done, Failure, FailureKind, Rendition},
    task::{Blob, Part, Transcode, output_name},
};

use crate::labour::{Made, Source, header};

/// A way of lying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// A frame is left out.
    FewerFrames,
    /// As many frames as asked for are claimed, fewer are there.
    FalseCount,
    /// Every frame is a little late.
    Shifted,
    /// The smallest rendition is left out.
    Missing,
    /// Every rendition is the smallest one.
    Small,
    /// The first frame needs others.
    NoKey,
    /// Bytes without meaning.
    Garbage,
    /// What was made of another segment.
    Stale,
    /// Said to be done, never uploaded.
    NotUploaded,
    /// Uploaded under a hash that is not theirs.
    FalseHash,
    /// More renditions than asked for.
    TooMany,
    /// Bytes that nobody asked for are uploaded beside the honest work.
    Litter,
    /// A failure that did not happen.
    Failure(FailureKind),
    /// The outcome is signed by another key.
    FalseSignature,
    /// Leases are taken and kept.
    Hoard,
    /// Leases are taken and forgotten.
    Forget,
    /// Asks for more than it offers.
    Greedy,
    /// Hands in under the leases of others, too.
    Foreign,
}

impl Lie {
    pub(crate) const ALL: [Self; 24] = [
        Self::FewerFrames,
        Self::FalseCount,
        Self::Shifted,
        Self::Missing,
        Self::Small,
        Self::NoKey,
        Self::Garbage,
        Self::Stale,
        Self::NotUploaded,
        Self::FalseHash,
        Self::TooMany,
        Self::Litter,
        Self::Failure(FailureKind::BadInput),
        Self::Failure(FailureKind::Limit),
        Self::Failure(FailureKind::TimedOut),
        Self::Failure(FailureKind::Crashed),
        Self::Failure(FailureKind::Unsupported),
        Self::Failure(FailureKind::Transfer),
        Self::Failure(FailureKind::Released),
        Self::FalseSignature,
        Self::Hoard,
        Self::Forget,
        Self::Greedy,
        Self::Foreign,
    ];
}

/// What came of work: an outcome's result, and the files to upload.
pub(crate) type Product = (Result<Done, Failure>, Vec<(String, Blob, Bytes)>);

/// A failure of this kind.
pub(crate) fn failure(kind: FailureKind) -> Product {
    (Err(Failure { kind, message: "so it says".into() }), Vec::new())
}

/// Honest work, or a lie.
pub(crate) fn work(work: &Transcode, source: &Source, before: Option<&Source>, lie: Option<Lie>) -> Product {
    if let Some(Lie::Failure(kind)) = lie {
        return failure(kind);
    }
    let mut targets = work.renditions.clone();
    if lie == Some(Lie::Missing) {
        targets.pop();
    }
    let (mut renditions, mut files) = (Vec::new(), Vec::new());
    for target in &targets {
        let mut made = Made::honest(source, target);
        made.lie = lie.is_some_and(|lie| bend(lie, &mut made, work, before));
        let segment = if lie == Some(Lie::Garbage) { Bytes::from_static(b"garbage") } else { made.bytes() };
        let init = header(&target.name);
        let frames = match lie {
            Some(Lie::FalseCount) => source.frames.len(),
            _ => made.seen.pts.len(),
        };
        let rendition = Rendition {
            name: target.name.clone(),
            init: Blob::of(&init),
            segment: Blob::of(&segment),
            codec: made.seen.codec_string,
            frames: u32::try_from(frames).unwrap(),
        };
        for (part, blob, bytes) in [(Part::Init, rendition.init, init), (Part::Segment, rendition.segment, segment)] {
            let bytes = if lie == Some(Lie::FalseHash) { Bytes::from_static(b"other bytes") } else { bytes };
            files.push((output_name(&target.name, part), blob, bytes));
        }
        renditions.push(rendition);
    }
    match lie {
        Some(Lie::NotUploaded) => files.clear(),
        Some(Lie::TooMany) => renditions.extend(renditions.clone()),
        Some(Lie::Litter) => files.extend(litter(&files)),
        _ => {}
    }
    (Ok(Done { renditions, report: None, frames_concealed: 0, work_ms: 1 }), files)
}

/// What looks like more work of the same kind.
fn litter(files: &[(String, Blob, Bytes)]) -> Vec<(String, Blob, Bytes)> {
    let spoilt = files.iter().filter_map(|(name, _, bytes)| {
        let mut made = Made::read(bytes)?;
        made.lie = true;
        let bytes = made.bytes();
        Some((name.clone(), Blob::of(&bytes), bytes))
    });
    spoilt.collect()
}

/// Bends one rendition; true if something came of it.
fn bend(lie: Lie, made: &mut Made, work: &Transcode, before: Option<&Source>) -> bool {
    match lie {
        Lie::FewerFrames | Lie::FalseCount => made.seen.pts.pop().is_some(),
        Lie::Shifted => {
            made.seen.pts.iter_mut().for_each(|pts| *pts += 1);
            true
        }
        Lie::Small => {
            let smallest = work.renditions.last().expect("a task asks for something");
            let all_alike = (made.seen.width, made.seen.height) == (smallest.width, smallest.height);
            (made.seen.width, made.seen.height) = (smallest.width, smallest.height);
            !all_alike
        }
        Lie::NoKey => {
            made.seen.key_first = false;
            true
        }
        Lie::Garbage => true,
        Lie::Stale => match before {
            Some(before) if before.sha256 != made.of => {
                made.of = before.sha256;
                made.seen.pts = before.pts();
                true
            }
            _ => false,
        },
        Lie::Missing
        | Lie::NotUploaded
        | Lie::FalseHash
        | Lie::TooMany
        | Lie::Litter
        | Lie::Failure(_)
        | Lie::FalseSignature
        | Lie::Hoard
        | Lie::Forget
        | Lie::Greedy
        | Lie::Foreign => false,
    }
}
