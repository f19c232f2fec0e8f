//! The media child, simulated: what would be seen in some bytes, and what honest hands would make of them.
//!
//! Sources are real CMAF, written by the orchestrator; their frames say whether they can be decoded. Renditions
//! are a text that says what a real child would see in them, and, unseen by it, whether they are honest.

use bytes::Bytes;
use millrace_media::job::{Inspection, Seen};
use millrace_proto::{Sha256, task::Target};
use mp4_atom::{Any, DecodeMaybe, Moof, Moov};
use serde::{Deserialize, Serialize};

/// What is wrong with an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Taint {
    /// Nothing.
    Sound,
    /// Every transcode of it dies, though it decodes.
    Poison,
    /// Few of its frames decode.
    Torn,
    /// Nothing of it decodes.
    Rubbish,
    /// Whoever looks at it dies.
    Deadly,
}

const TAINTS: [Taint; 5] = [Taint::Sound, Taint::Poison, Taint::Torn, Taint::Rubbish, Taint::Deadly];

/// One source frame's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) taint: Taint,
    /// Which connection of the publisher sent it.
    pub(crate) connection: u16,
    /// Its number there.
    pub(crate) number: u32,
}

impl Frame {
    pub(crate) fn bytes(self) -> Bytes {
        let mut bytes = vec![b'F', self.taint as u8];
        bytes.extend(self.connection.to_be_bytes());
        bytes.extend(self.number.to_be_bytes());
        bytes.into()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let &[b'F', taint, c0, c1, n0, n1, n2, n3] = bytes else { return None };
        let (connection, number) = (u16::from_be_bytes([c0, c1]), u32::from_be_bytes([n0, n1, n2, n3]));
        Some(Self { taint: *TAINTS.get(usize::from(taint))?, connection, number })
    }
}

/// A source segment, as its bytes say.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) sha256: Sha256,
    pub(crate) timescale: u32,
    /// Presentation times and frames, in decode order.
    pub(crate) frames: Vec<(i64, Frame)>,
}

impl Source {
    pub(crate) fn read(init: &[u8], segment: &[u8]) -> Option<Self> {
        let moov: Moov = boxes(init)?.into_iter().find_map(|found| match found {
            Any::Moov(moov) => Some(moov),
            _ => None,
        })?;
        let mut parts: (Option<Moof>, Option<Vec<u8>>) = (None, None);
        for found in boxes(segment)? {
            match found {
                Any::Moof(moof) => parts.0 = Some(moof),
                Any::Mdat(mdat) => parts.1 = Some(mdat.data),
                _ => {}
            }
        }
        let (moof, data) = (parts.0?, parts.1?);
        let traf = moof.traf.first()?;
        let mut at = i64::try_from(traf.tfdt.as_ref()?.base_media_decode_time).ok()?;
        let mut rest = &data[..];
        let mut frames = Vec::new();
        for entry in &traf.trun.first()?.samples {
            let (own, behind) = rest.split_at_checked(usize::try_from(entry.size?).ok()?)?;
            rest = behind;
            frames.push((at + entry.cts.unwrap_or(0), Frame::read(own)?));
            at += i64::from(entry.duration?);
        }
        Some(Self { sha256: Sha256::of(segment), timescale: moov.trak.first()?.mdia.mdhd.timescale, frames })
    }

    pub(crate) fn taint(&self) -> Taint {
        self.frames.iter().map(|(_, frame)| frame.taint).max().unwrap_or(Taint::Sound)
    }

    /// Presentation times, ascending.
    pub(crate) fn pts(&self) -> Vec<i64> {
        let mut pts: Vec<i64> = self.frames.iter().map(|(pts, _)| *pts).collect();
        pts.sort_unstable();
        pts
    }
}

fn boxes(bytes: &[u8]) -> Option<Vec<Any>> {
    let mut rest = bytes;
    let mut found = Vec::new();
    while !rest.is_empty() {
        found.push(Any::decode_maybe(&mut rest).ok()??);
    }
    Some(found)
}

/// A rendition segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    /// The source segment that it was made from.
    pub(crate) of: Sha256,
    pub(crate) rung: String,
    /// It is not what its maker says.
    pub(crate) lie: bool,
    /// What a child sees in it.
    pub(crate) seen: Seen,
}

impl Made {
    pub(crate) fn honest(source: &Source, target: &Target) -> Self {
        let pts = source.pts();
        let seen = Seen {
            codec: "h264".into(),
            codec_string: "avc1.64001f".into(),
            timescale: source.timescale,
            frames_decoded: 1,
            pts,
            key_first: true,
            width: target.width,
            height: target.height,
        };
        Self { of: source.sha256, rung: target.name.clone(), lie: false, seen }
    }

    pub(crate) fn bytes(&self) -> Bytes {
        serde_json::to_vec(self).unwrap().into()
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// The header of every rendition of this name.
pub(crate) fn header(rung: &str) -> Bytes {
    format!("header of {rung}").into()
}

/// What the child sees in a segment; nothing if it dies of it.
pub(crate) fn inspect(init: &[u8], segment: &[u8], decode_all: bool) -> Option<Inspection> {
    if let Some(made) = Made::read(segment) {
        return Some(Inspection::Readable(made.seen));
    }
    let Some(source) = Source::read(init, segment) else {
        return Some(Inspection::Unreadable { message: "it is no fragmented MP4".into() });
    };
    let frames = u32::try_from(source.frames.len()).unwrap();
    let frames_decoded = match source.taint() {
        Taint::Deadly => return None,
        Taint::Rubbish => return Some(Inspection::Unreadable { message: "nothing of it decodes".into() }),
        Taint::Torn if decode_all => frames / 3,
        _ if decode_all => frames,
        _ => 1,
    };
    Some(Inspection::Readable(Seen {
        codec: "vp8".into(),
        codec_string: "vp08.00.41.08".into(),
        timescale: source.timescale,
        pts: source.pts(),
        key_first: true,
        width: 320,
        height: 240,
        frames_decoded,
    }))
}
