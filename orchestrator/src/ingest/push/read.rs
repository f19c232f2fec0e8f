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

/// All that is in a segment, which is a bundle if we `pulled` it ourselves, in its order, tracks first.
pub(super) async fn read(house: &House, push: &Pushed, pulled: bool) -> Result<Vec<Event>, Error> {
    let later = |error: &dyn std::error::Error| Error::Later(error.to_string());
    let folder = tempfile::tempdir_in(house.scratch()).map_err(|error| later(&error))?;
    let file = folder.path().join("push");
    match house.media.copy_push(&push.stream, push.number, &file).await {
        Ok(()) => {}
        Err(error) if error.kind == media::Kind::Missing => return Err(Error::Hopeless("its bytes are gone".into())),
        Err(error) => return Err(later(&error)),
    }
    let file = if pulled {
        match bundle::open(&file).await.map(|files| files.into_iter().next()) {
            Ok(Some(video)) => video,
            Ok(None) => return Err(Error::Hopeless("its bundle is empty".into())),
            Err(error) => return Err(later(&error)),
        }
    } else {
        file
    };
    let bytes_max = house.config.ingest.segment_bytes_max;
    let (mut crashes, mut starts) = (0, 0);
    loop {
        let failure = match pass(house, &file, bytes_max).await {
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
