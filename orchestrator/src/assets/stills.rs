//! Stills: a recording's poster and its sheets of thumbnails with their `WebVTT`, and the poster of a live stream.
//!
//! Made by the media child from key pictures alone, when the stream ends or when someone asks first, and stored
//! beside the segments. The `WebVTT` is written last: where it is, all is.

pub mod plan;

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use millrace_media::{
    Failure, Limits,
    job::{Pair, Stills},
};
use object_store::{GetOptions, GetRange};
use tokio::task::JoinHandle;

use crate::{
    house::House,
    media,
    publish::{
        self,
        hls::{Span, iframes},
    },
    store::{
        self, Store,
        record::{Segment, Stream},
    },
};
use plan::Plan;

/// The poster's name, in URLs and beside the segments.
pub const POSTER: &str = Stills::POSTER;
/// The name of the poster of a stream that lives, beside its segments.
pub const LIVE_POSTER: &str = "live-poster.jpg";
/// Segments of one recording that are looked at: far more than there are pictures.
const SEGMENTS_MAX: u64 = 5_000;
/// The name of the list of thumbnails.
pub const THUMBNAILS: &str = "thumbnails.vtt";

/// Why there are no stills.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The media store failed.
    #[error(transparent)]
    Media(#[from] media::Error),
    /// No scratch folder could be made, or what is in it can't be read.
    #[error("scratch folder: {0}")]
    Scratch(#[from] std::io::Error),
    /// The media child failed.
    #[error("the media child: {0}")]
    Child(#[from] Failure),
    /// Nothing that is listed has a picture.
    #[error("nothing that is published has a picture")]
    NoPicture,
}

/// Begins to make a recording's stills, or a live stream's poster, unless someone is at it. Goes on if nobody waits.
pub fn begin(house: &Arc<House>, stream: Stream, live: bool) -> Option<JoinHandle<Result<(), Error>>> {
    let hold = house.picturing.begin(&stream.id)?;
    let house = house.clone();
    Some(tokio::spawn(async move {
        let _place = house.asset_places.acquire().await;
        let made = if live { self::live(&house, &stream).await } else { recording(&house, &stream).await };
        if let Err(error) = &made {
            tracing::warn!(stream = %stream.id, %error, "no pictures of it");
        }
        // A stream that was deleted meanwhile leaves nothing behind.
        if house.store.stream(&stream.id).await?.is_none() {
            house.media.delete_stream(&stream.id).await?;
        }
        drop(hold);
        made
    }))
}

/// Makes a recording's poster and thumbnails. Safe to repeat.
pub async fn recording(house: &House, stream: &Stream) -> Result<(), Error> {
    let segments = looked_at(&house.store, stream).await?;
    let plan = Plan::recording(stream, &segments).ok_or(Error::NoPicture)?;
    let made = make(house, stream, &segments, &plan).await?;
    house.media.put_asset(&stream.id, THUMBNAILS, plan.vtt(&segments, made).into()).await?;
    Ok(())
}

/// A recording's segments, or as many of a long one's, evenly spread, with its first and its last.
async fn looked_at(store: &Arc<dyn Store>, stream: &Stream) -> Result<Vec<Segment>, Error> {
    let step = (stream.listed_seq - stream.first_seq).div_ceil(SEGMENTS_MAX).max(1);
    if step == 1 {
        return Ok(publish::covered(store, stream, Span::Vod).await?);
    }
    let mut segments = Vec::new();
    let last = stream.listed_seq - 1;
    for seq in (stream.first_seq..last).step_by(usize::try_from(step).unwrap_or(usize::MAX)).chain([last]) {
        segments.extend(store.segment(&stream.id, seq).await?.map(Segment::shown));
    }
    Ok(segments)
}

/// Makes a poster of what was listed last.
pub async fn live(house: &House, stream: &Stream) -> Result<(), Error> {
    let from = stream.listed_seq.saturating_sub(plan::LIVE_CANDIDATES).max(stream.first_seq);
    let segments = publish::listed_from(&house.store, stream, from).await?;
    let plan = Plan::live(stream, &segments).ok_or(Error::NoPicture)?;
    make(house, stream, &segments, &plan).await?;
    Ok(())
}

/// Runs the media child and stores what it made. Returns the number of sheets.
async fn make(house: &House, stream: &Stream, segments: &[Segment], plan: &Plan) -> Result<u32, Error> {
    let folder = tempfile::tempdir_in(house.scratch())?;
    let mut job = Stills {
        candidates: Vec::new(),
        poster: Some(plan.poster.size),
        thumbnails: Vec::new(),
        grid: plan.grid,
        out: folder.path().to_owned(),
    };
    for &at in &plan.candidates {
        job.candidates.push(copy(house, stream, &segments[at], &plan.poster.name, folder.path().to_owned()).await?);
    }
    for &at in &plan.thumbnails {
        job.thumbnails.push(copy(house, stream, &segments[at], &plan.small.name, folder.path().to_owned()).await?);
    }
    let stilled = house.launcher.stills(&job, &Limits::default()).await?;
    if !stilled.poster {
        return Err(Error::NoPicture);
    }
    for number in 0..stilled.sheets {
        let name = Stills::sheet(number);
        let bytes = tokio::fs::read(folder.path().join(&name)).await?;
        house.media.put_asset(&stream.id, &name, bytes.into()).await?;
    }
    let bytes = tokio::fs::read(folder.path().join(POSTER)).await?;
    house.media.put_asset(&stream.id, plan.poster_as, Bytes::from(bytes)).await?;
    Ok(stilled.sheets)
}

/// Copies a segment's first picture out for the media child.
async fn copy(house: &House, stream: &Stream, segment: &Segment, name: &str, folder: PathBuf) -> Result<Pair, Error> {
    let media = iframes::key(segment, name).ok_or(Error::NoPicture)?;
    let pair = Pair {
        init: folder.join(format!("{}.init", media.init.sha256)),
        preroll: Vec::new(),
        segment: folder.join(format!("{name}-{}.key", segment.seq)),
    };
    if !pair.init.exists() {
        house.media.copy_out(&stream.id, media.init.sha256, &pair.init).await?;
    }
    let range = Some(GetRange::Bounded(0..media.key_bytes));
    let found =
        house.media.get(&stream.id, media.segment.sha256, GetOptions { range, ..GetOptions::default() }).await?;
    let bytes = found.bytes().await.map_err(media::Error::from)?;
    tokio::fs::write(&pair.segment, bytes).await?;
    Ok(pair)
}
