//! Reads one pushed segment: hostile bytes, through the media child, into events.

use std::time::Duration;

use millrace_media::{
    FailureKind, Limits,
    job::{Demux, Demuxed},
};

use super::bundle;
use crate::{house::House, ingest::event::Event, media, store::record::Pushed};

/// Reading again after the child died: hostile bytes may kill it every time.
const CRASHES_MAX: u32 = 2;

/// Pauses between tries when the child could not be started.
const RETRY: Duration = Duration::from_secs(1);
const STARTS_MAX: u32 = 30;

/// Why a segment can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It never will be.
    #[error("{0}")]
    Hopeless(String),
    /// Not the segment's fault.
    #[error("{0}")]
    Later(String),
}

/// What is in a segment, in each file's order, tracks first.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) video: Vec<Event>,
    /// Sound that came in files of its own.
    pub(super) sounds: Vec<Vec<Event>>,
}

/// All that is in a segment, which is a bundle if we `pulled` it ourselves,.
pub(super) async fn read(house: &House, push: &Pushed, pulled: bool) -> Result<Files, Error> {
    let later = |error: &dyn std::error::Error| Error::Later(error.to_string());
    let folder = tempfile::tempdir_in(house.scratch()).map_err(|error| later(&error))?;
    let file = folder.path().join("push");
    match house.media.copy_push(&push.stream, push.number, &file).await {
        Ok(()) => {}
        Err(error) if error.kind == media::Kind::Missing => return Err(Error::Hopeless("its bytes are gone".into())),
        Err(error) => return Err(later(&error)),
    }
    if !pulled {
        return Ok(Files { video: whole(house, push, &file).await?, sounds: Vec::new() });
    }
    let files = bundle::open(&file).await.map_err(|error| later(&error))?;
    let Some((video, sounds)) = files.split_first() else {
        return Err(Error::Hopeless("its bundle is empty".into()));
    };
    let mut read = Files { video: whole(house, push, video).await?, sounds: Vec::new() };
    for sound in sounds {
        let events = whole(house, push, sound).await.map_err(|error| match error {
            Error::Hopeless(why) => Error::Hopeless(format!("its sound: {why}")),
            later @ Error::Later(_) => later,
        });
        read.sounds.push(events?);
    }
    Ok(read)
}

/// All that is in a file.
async fn whole(house: &House, push: &Pushed, file: &std::path::Path) -> Result<Vec<Event>, Error> {
    let later = |error: &dyn std::error::Error| Error::Later(error.to_string());
    let bytes_max = house.config.ingest.segment_bytes_max;
    let (mut crashes, mut starts) = (0, 0);
    loop {
        let failure = match pass(house, file, bytes_max).await {
            Ok(events) => return events,
            Err(failure) => failure,
        };
        match failure.kind {
            FailureKind::Crashed | FailureKind::TimedOut if crashes < CRASHES_MAX => crashes += 1,
            FailureKind::NotStarted if starts < STARTS_MAX => {
                starts += 1;
                tokio::time::sleep(RETRY).await;
            }
            FailureKind::NotStarted => return Err(later(&failure)),
            _ => return Err(Error::Hopeless(failure.to_string())),
        }
        tracing::warn!(stream = %push.stream, number = push.number, %failure, "reading a pushed segment again");
    }
}

async fn pass(
    house: &House,
    file: &std::path::Path,
    bytes_max: u64,
) -> Result<Result<Vec<Event>, Error>, millrace_media::Failure> {
    let mut child = house.launcher.demux(&Demux { input: file.to_owned() }, &Limits::default()).await?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    loop {
        let event = match child.next().await? {
            None | Some(Demuxed::End) => return Ok(Ok(events)),
            Some(Demuxed::Ignored(tracks)) => {
                tracing::debug!(?tracks, "tracks of a segment are passed over");
                continue;
            }
            Some(Demuxed::Tracks { video, audio }) => Event::Tracks { video, audio },
            Some(Demuxed::Video(sample)) => {
                bytes += sample.data.len() as u64;
                Event::Video(sample)
            }
            Some(Demuxed::Audio(sample)) => {
                bytes += sample.data.len() as u64;
                Event::Audio(sample)
            }
        };
        // A segment is kept in memory: sound that grows when it is encoded anew is bounded too.
        if bytes > bytes_max {
            return Ok(Err(Error::Hopeless(format!("more than {bytes_max} bytes of media"))));
        }
        events.push(event);
    }
}
