//! Movies: a rendition and the sound as one MP4 with its index at the front.
//!
//! A movie is not stored. Its index is made from the segments' own heads, and its data are the segments' samples as
//! they lie in the media store: so it costs no space, there is nothing to wait for, and nothing to make again after
//! a crash. Clips are the same, cut shorter, and written down.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future::try_join_all, stream};
use millrace_cmaf::{
    movie::{Kind, Movie},
    read::{self, Head},
};
use millrace_proto::{Sha256, StreamId};
use object_store::{GetOptions, GetRange};
use sha2::Digest;

use crate::{
    media::{self, MediaStore},
    publish::hls::{AUDIO, find},
    store::record::{Media, Segment},
};

/// The head of a segment of some seconds fits this; longer ones are read twice.
const HEAD_BYTES: u64 = 8 << 10;
/// Heads read at once.
const READS_MAX: usize = 8;

/// Why there is no movie.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The media store failed.
    #[error(transparent)]
    Media(#[from] media::Error),
    /// The segments can't be put together.
    #[error(transparent)]
    Cmaf(#[from] millrace_cmaf::Error),
}

/// Some bytes of a stored segment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    /// Where it lies in the file.
    at: u64,
    segment: Sha256,
    bytes: Range<u64>,
}

/// A whole MP4 file: its head, and where the rest of its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    stream: StreamId,
    head: Bytes,
    parts: Vec<Part>,
    /// Its length in bytes.
    pub bytes: u64,
    /// Names these very bytes.
    pub hash: Sha256,
    /// How many headers its pictures have: a source whose encoder was set anew has a further one, which not every
    /// player takes.
    pub headers: usize,
    /// Where it starts on the stream's timeline.
    pub start_ns: u64,
    /// How long it plays.
    pub duration_ns: u64,
}

/// Puts rendition `name` of `segments` and their sound together, from `start_ns` on the stream's timeline on, up to
/// `end_ns` if given. The segments are in order and cover that time; where one has no pictures, the last one before
/// stays.
pub async fn file(
    media: &MediaStore,
    stream: &StreamId,
    name: &str,
    segments: &[Segment],
    (start_ns, end_ns): (u64, Option<u64>),
) -> Result<File, Error> {
    let mut inits = HashMap::new();
    let first = segments.iter().find(|segment| segment.start_ns + segment.duration_ns > start_ns);
    let preroll = |segment: &Segment| find(segment, name).map_or(0, |media| u64::from(media.preroll));
    let needed = first.map_or(0..0, |first| first.seq.saturating_sub(preroll(first))..first.seq);
    let tracks = segments.iter().flat_map(|segment| {
        // Of a segment that ends before the start only the sound reaches over it, unless pictures refer to it.
        let early = segment.start_ns + segment.duration_ns <= start_ns && !needed.contains(&segment.seq);
        let video = find(segment, name).filter(|_| name != AUDIO && !early).map(|media| (Kind::Video, media));
        video.into_iter().chain(segment.audio.as_ref().map(|media| (Kind::Audio, media)))
    });
    let tracks = tracks.collect::<Vec<_>>();
    let (mut movie, mut parts, mut digest) = (Movie::new(start_ns, end_ns), Vec::new(), sha2::Sha256::new());
    for tracks in tracks.chunks(READS_MAX) {
        let heads = tracks.iter().map(|(_, track)| head(media, stream, track));
        let heads = try_join_all(heads.collect::<Vec<_>>()).await?;
        for ((kind, track), head) in tracks.iter().zip(heads) {
            let init = track.init.sha256;
            if let Entry::Vacant(entry) = inits.entry(init) {
                let found = media.get(stream, init, GetOptions::default()).await?;
                entry.insert(found.bytes().await.map_err(media::Error::from)?);
            }
            let at = movie.data_bytes();
            let bytes = movie.add(*kind, &inits[&init], &head)?;
            if !bytes.is_empty() {
                digest.update(track.segment.sha256.to_string());
                parts.push(Part { at, segment: track.segment.sha256, bytes });
            }
        }
    }
    let pictures = tracks.iter().filter(|(kind, _)| *kind == Kind::Video);
    let headers = pictures.map(|(_, track)| track.init.sha256).collect::<HashSet<_>>().len();
    let data_bytes = movie.data_bytes();
    let made = movie.finish()?;
    digest.update(&made.head);
    let head_bytes = made.head.len() as u64;
    for part in &mut parts {
        part.at += head_bytes;
    }
    Ok(File {
        stream: stream.clone(),
        parts,
        bytes: head_bytes + data_bytes,
        hash: Sha256::from_digest(digest.finalize().into()),
        headers,
        start_ns: made.start_ns,
        duration_ns: made.duration_ns,
        head: made.head,
    })
}

/// What stands before a segment's samples.
async fn head(media: &MediaStore, stream: &StreamId, track: &Media) -> Result<Head, Error> {
    let mut wanted = HEAD_BYTES;
    loop {
        let bytes = wanted.min(track.segment.bytes);
        let options = GetOptions { range: Some(GetRange::Bounded(0..bytes)), ..GetOptions::default() };
        let found = media.get(stream, track.segment.sha256, options).await?;
        let found = found.bytes().await.map_err(media::Error::from)?;
        match read::head(&found)? {
            Some(head) => return Ok(head),
            None if bytes == track.segment.bytes => {
                return Err(millrace_cmaf::Error::Config { record: "segment", message: "it ends early".into() }.into());
            }
            None => wanted *= 8,
        }
    }
}

impl File {
    /// Its bytes from `range.start` to below `range.end`, read as they are asked for.
    pub fn read(
        self: Arc<Self>,
        media: MediaStore,
        range: Range<u64>,
    ) -> impl futures_util::Stream<Item = Result<Bytes, media::Error>> + Send {
        let head = self.head.slice(clip(&range, 0..self.head.len() as u64));
        let first = self.parts.partition_point(|part| part.at + (part.bytes.end - part.bytes.start) <= range.start);
        let last = self.parts.partition_point(|part| part.at < range.end);
        let parts = stream::iter(first..last.max(first)).then(move |at| {
            let (file, media, range) = (self.clone(), media.clone(), range.clone());
            async move {
                let part = &file.parts[at];
                let length = part.bytes.end - part.bytes.start;
                let from = range.start.saturating_sub(part.at).min(length);
                let to = range.end.saturating_sub(part.at).min(length);
                let bytes = GetRange::Bounded(part.bytes.start + from..part.bytes.start + to);
                let options = GetOptions { range: Some(bytes), ..GetOptions::default() };
                let found = media.get(&file.stream, part.segment, options).await?;
                Ok::<_, media::Error>(media::pieces(found).map_err(media::Error::from))
            }
        });
        stream::iter((!head.is_empty()).then_some(Ok(head))).chain(parts.try_flatten())
    }
}

/// What of `range` lies in `within`, as places of memory.
fn clip(range: &Range<u64>, within: Range<u64>) -> Range<usize> {
    let end = range.end.min(within.end) as usize;
    (range.start.min(within.end) as usize).min(end)..end
}

#[cfg(test)]
mod tests {
    use millrace_cmaf::{Codec, ORIGIN_S, Sample, Track, Video};
    use object_store::memory::InMemory;

    use super::*;
    use crate::{ingest::intake::SOURCE, publish::hls::tests::segment, store::record::SegmentState};

    #[tokio::test]
    async fn a_source_that_was_set_anew_has_a_further_header() {
        let media = MediaStore::over(Arc::new(InMemory::new()));
        let mut segments = Vec::new();
        for (seq, width, headers) in [(0, 320, 1), (1, 320, 1), (2, 640, 2), (3, 320, 2)] {
            let mut one = segment(seq, 0, SegmentState::Ready);
            let video = Video { width, height: 180, pixel_aspect: (1, 1), rotation_deg: 0 };
            let track = Track { timescale: 1_000, codec: Codec::Vp8 { video } };
            let pts = ORIGIN_S * 1_000 + seq as i64 * 2_000;
            let sample = Sample { pts, dts: pts, duration: 2_000, key: true, data: Bytes::from_static(b"picture") };
            let bytes = millrace_cmaf::segment(&track, 1, &[sample], pts + 2_000).unwrap();
            let source = one.video.as_mut().unwrap();
            source.init = media.put(&one.stream, millrace_cmaf::init(&track).unwrap()).await.unwrap();
            source.segment = media.put(&one.stream, bytes).await.unwrap();
            one.audio = None;
            let stream = one.stream.clone();
            segments.push(one);
            let made = file(&media, &stream, SOURCE, &segments, (0, None)).await.unwrap();
            assert_eq!(made.headers, headers, "with segment {seq}");
        }
    }
}
