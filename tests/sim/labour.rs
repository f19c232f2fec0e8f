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
    /// It starts with a keyframe, or there is one in what comes before it.
    pub(crate) has_key: bool,
}

impl Source {
    /// Reads a header and media segments: the last one is the source's own, the others are decoded before it.
    pub(crate) fn read<T: AsRef<[u8]>>(init: &[u8], media: &[T]) -> Option<Self> {
        let (segment, preroll) = media.split_last()?;
        let (mut source, keys) = Self::read_one(init, segment.as_ref())?;
        source.has_key = *keys.first()?;
        for before in preroll {
            let (_, keys) = Self::read_one(init, before.as_ref())?;
            source.has_key |= keys.contains(&true);
        }
        Some(source)
    }

    /// Also which of its frames are keyframes.
    fn read_one(init: &[u8], segment: &[u8]) -> Option<(Self, Vec<bool>)> {
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
        // `sample_is_non_sync_sample` (ISO/IEC 14496-12, 8.8.3.1).
        let is_sync = |flags: u32| flags & 0x0001_0000 == 0;
        let keys = traf.trun.first()?.samples.iter().map(|entry| entry.flags.is_some_and(is_sync)).collect();
        let timescale = moov.trak.first()?.mdia.mdhd.timescale;
        Some((Self { sha256: Sha256::of(segment), timescale, frames, has_key: false }, keys))
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
            key_bytes: 1,
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
pub(crate) fn inspect(init: &[u8], media: &[Bytes], decode_all: bool) -> Option<Inspection> {
    if let Some(made) = media.last().and_then(|segment| Made::read(segment)) {
        return Some(Inspection::Readable(made.seen));
    }
    let Some(source) = Source::read(init, media) else {
        return Some(Inspection::Unreadable { message: "it is no fragmented MP4".into() });
    };
    if !source.has_key {
        return Some(Inspection::Unreadable { message: "nothing to decode it from".into() });
    }
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
        key_bytes: 1,
    }))
}
