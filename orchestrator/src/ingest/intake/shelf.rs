//! Where a stream's tracks go: CMAF by hash into the media store. Knows no segments; `intake.rs` calls it.

use std::collections::VecDeque;

use bytes::Bytes;
use millrace_proto::{StreamId, task::Blob};

use super::Failed;
use crate::{media::MediaStore, segment::Part, store::record::Media};

/// Headers that are remembered: those of the tracks, and of the tracks before them.
const HEADERS_MAX: usize = 4;

/// Stores one stream's tracks.
#[derive(Debug)]
pub(super) struct Shelf {
    media: MediaStore,
    /// Headers that are stored: segments have the same ones again and again. None is freed as long as more comes in.
    headers: VecDeque<(Bytes, Blob)>,
}

impl Shelf {
    pub(super) fn new(media: MediaStore) -> Self {
        Self { media, headers: VecDeque::new() }
    }

    /// A track of segment `seq` as rendition `name`; durable when this returns.
    pub(super) async fn put(&mut self, stream: &StreamId, name: &str, part: &Part, seq: u64) -> Result<Media, Failed> {
        let track = &*part.track;
        let sequence = u32::try_from(seq % u64::from(u32::MAX)).unwrap_or(0) + 1;
        let segment = millrace_cmaf::segment(track, sequence, &part.samples, part.end)?;
        let key_bytes = if part.preroll == 0 { millrace_cmaf::read::fragment(&segment)?.key_bytes } else { 0 };
        let (width, height) = track.video().map_or((0, 0), |video| video.display_size());
        Ok(Media {
            name: name.to_owned(),
            init: self.header(stream, millrace_cmaf::init(track)?).await?,
            segment: self.media.put(stream, segment).await?,
            codec: track.codec_string()?,
            frames: u32::try_from(part.samples.len()).unwrap_or(u32::MAX),
            width,
            height,
            channels: track.audio().map_or(0, |audio| audio.channels),
            duration_ns: part.duration_ns(),
            preroll: part.preroll,
            key_bytes,
        })
    }

    async fn header(&mut self, stream: &StreamId, header: Bytes) -> Result<Blob, Failed> {
        if let Some((_, blob)) = self.headers.iter().find(|(known, _)| *known == header) {
            return Ok(*blob);
        }
        let blob = self.media.put(stream, header.clone()).await?;
        self.headers.push_front((header, blob));
        self.headers.truncate(HEADERS_MAX);
        Ok(blob)
    }
}
