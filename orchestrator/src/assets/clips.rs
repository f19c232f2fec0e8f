//! Clips: a piece of a stream as a file of its own, exact to the frame.
//!
//! The store keeps a clip as pending, and with it the segments that it needs, until its file is written: whatever
//! happens in between, the loop makes it again. Live streams' windows are no different from recordings.

use std::{sync::Arc, time::Duration};

use millrace_proto::{StreamId, api::ClipState};

use super::movie;
use crate::{
    house::House,
    media,
    publish::hls::{AUDIO, find},
    store::{
        self, Store,
        record::{Clip, Segment, Stream},
    },
};

/// Clips that are looked at in one turn.
const STEP_CLIPS: u32 = 16;
/// Between two turns.
const PAUSE: Duration = Duration::from_millis(500);

/// A place in a stream, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the stream's timeline.
    Timeline {
        /// Nanoseconds from its start.
        ns: u64,
    },
    /// On the wall clock.
    Clock {
        /// Unix time.
        ms: u64,
    },
}

/// Why there is no such piece.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The start is not kept any more, or was never there.
    #[error("the stream is kept from {from_s:.3} s on")]
    Expired {
        /// Start of the first segment that is kept, on the timeline.
        from_s: f64,
    },
    /// The end is not published yet, or never will be.
    #[error("the stream is published up to {to_s:.3} s")]
    Beyond {
        /// End of the last segment that is listed, on the timeline.
        to_s: f64,
    },
    /// Nothing is listed.
    #[error("nothing of the stream is published yet")]
    Empty,
    /// A time of day, and a stream that has none.
    #[error("the stream has no times of day")]
    NoClock,
}

/// A piece of a stream's timeline, and the segments that it is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where it starts.
    pub start_ns: u64,
    /// Where it ends.
    pub end_ns: u64,
    /// The first segment that is needed.
    pub from_seq: u64,
    /// One above the last one.
    pub to_seq: u64,
}

/// Finds the listed segments from `start` to `end`. A time of day in a hole between two runs means the next picture
/// for a start, and the last one for an end.
pub async fn piece(
    store: &Arc<dyn Store>,
    stream: &Stream,
    rendition: &str,
    (start, end): (Place, Place),
) -> Result<Piece, Error> {
    let newest = stream.listed_seq.checked_sub(1).filter(|seq| *seq >= stream.first_seq).ok_or(Error::Empty)?;
    let first = segment(store, &stream.id, stream.first_seq).await?;
    let newest = segment(store, &stream.id, newest).await?;
    let (from_ns, to_ns) = (first.start_ns, newest.start_ns + newest.duration_ns);
    let expired = Error::Expired { from_s: from_ns as f64 / 1e9 };
    let Some(at) = last(store, stream, start).await? else { return Err(expired) };
    let (start_ns, at) = match start {
        Place::Timeline { ns } => (ns, at),
        Place::Clock { ms } => {
            let wall_ms = at.wall_ms.ok_or(Error::NoClock)?;
            let inside_ns = (ms - wall_ms).saturating_mul(1_000_000);
            if inside_ns < at.duration_ns || at.seq == newest.seq {
                (at.start_ns.saturating_add(inside_ns), at)
            } else {
                let next = segment(store, &stream.id, at.seq + 1).await?;
                (next.start_ns, next)
            }
        }
    };
    let beyond = Error::Beyond { to_s: to_ns as f64 / 1e9 };
    let Some(until) = last(store, stream, end).await? else { return Err(expired) };
    let end_ns = match end {
        Place::Timeline { ns } => ns,
        Place::Clock { ms } => {
            let inside_ns = (ms - until.wall_ms.ok_or(Error::NoClock)?).saturating_mul(1_000_000);
            let over = until.seq == newest.seq && inside_ns > until.duration_ns;
            if over { u64::MAX } else { until.start_ns + inside_ns.min(until.duration_ns) }
        }
    };
    if end_ns > to_ns {
        return Err(beyond);
    }
    let to_seq = if until.start_ns < end_ns { until.seq + 1 } else { until.seq };
    // The packet of sound before the start may reach into it, and a source may need pictures of before.
    let preroll = find(&at, rendition).map_or(0, |media| u64::from(media.preroll));
    let from_seq = at.seq.saturating_sub(preroll.max(1)).max(stream.first_seq);
    Ok(Piece { start_ns, end_ns, from_seq, to_seq })
}

/// The last listed segment that starts no later than `place`. Times of both kinds rise from segment to segment.
async fn last(store: &Arc<dyn Store>, stream: &Stream, place: Place) -> Result<Option<Segment>, Error> {
    let (mut low, mut high, mut found) = (stream.first_seq, stream.listed_seq, None);
    while low < high {
        let middle = low.midpoint(high);
        let segment = segment(store, &stream.id, middle).await?;
        let starts = match place {
            Place::Timeline { ns } => segment.start_ns <= ns,
            Place::Clock { ms } => segment.wall_ms.ok_or(Error::NoClock)? <= ms,
        };
        if starts {
            low = middle + 1;
            found = Some(segment);
        } else {
            high = middle;
        }
    }
    Ok(found)
}

async fn segment(store: &Arc<dyn Store>, stream: &StreamId, seq: u64) -> Result<Segment, Error> {
    // One that retention took just now.
    store.segment(stream, seq).await?.ok_or(Error::Expired { from_s: 0.0 })
}

/// What a clip's file is stored as, beside the segments.
pub fn file_name(clip: &Clip) -> String {
    format!("clip-{}.mp4", clip.id)
}

/// Pending clips are made, one after the other.
pub async fn run(house: Arc<House>) {
    loop {
        match house.store.clips_pending(STEP_CLIPS).await {
            Ok(clips) => {
                for clip in clips {
                    let (stream, id) = (clip.stream.clone(), clip.id.clone());
                    if let Err(error) = make(&house, clip).await {
                        tracing::warn!(%stream, clip = %id, %error, "a clip is made again");
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "looking for clips is tried again"),
        }
        let _ = tokio::time::timeout(PAUSE, house.clips.notified()).await;
    }
}

#[derive(Debug, thiserror::Error)]
enum Again {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Media(#[from] media::Error),
}

/// Makes one clip. An error leaves it pending; what can never be made is settled as failed.
async fn make(house: &House, clip: Clip) -> Result<(), Again> {
    let count = u32::try_from(clip.to_seq.saturating_sub(clip.from_seq)).unwrap_or(u32::MAX);
    let segments = house.store.segments(&clip.stream, clip.from_seq, count).await?;
    // What is held back now is not in it.
    let segments: Vec<_> = segments.into_iter().map(Segment::shown).collect();
    let span = (clip.start_ns, Some(clip.end_ns));
    let made = match movie::file(&house.media, &clip.stream, &clip.rendition, &segments, span).await {
        Ok(file) => {
            let (start_ns, end_ns) = (file.start_ns, file.start_ns + file.duration_ns);
            let bytes = file.bytes;
            let file = Arc::new(file).read(house.media.clone(), 0..bytes);
            match house.media.receive_asset(&clip.stream, &file_name(&clip), file).await {
                Ok(()) => Clip { state: ClipState::Ready, start_ns, end_ns, bytes, ..clip },
                Err(error) if error.kind == media::Kind::Missing => failed(clip, &error),
                Err(error) => return Err(error.into()),
            }
        }
        Err(movie::Error::Media(error)) if error.kind != media::Kind::Missing => return Err(error.into()),
        Err(error) => failed(clip, &error),
    };
    if !house.store.settle_clip(&made).await? {
        // Deleted meanwhile.
        house.media.delete_asset(&made.stream, &file_name(&made)).await?;
    }
    Ok(())
}

fn failed(clip: Clip, why: &dyn std::error::Error) -> Clip {
    Clip { state: ClipState::Failed, reason: Some(why.to_string()), ..clip }
}

/// The rendition that clips are made of if nobody says: the largest that every player knows, or else the largest, or
/// the sound if there are no pictures.
pub fn largest(stream: &Stream) -> Option<&str> {
    let videos = stream.variants.iter().filter(|variant| variant.name != AUDIO);
    let best = videos
        .max_by_key(|video| (video.codec.starts_with("avc1"), video.width * video.height, video.bitrate_bps_peak));
    best.or(stream.variants.first()).map(|variant| variant.name.as_str())
}
