//! Recordings: a file that was uploaded, or fetched, is read by the media child and becomes segments.
//!
//! Reading is repeatable: after a crash the file is read again from its start, and what is durable already is
//! passed over. The upload is removed when all of it is in segments.

use std::{path::PathBuf, sync::Arc, time::Duration};

use millrace_media::{
    FailureKind, Limits,
    job::{Demux, Demuxed},
};
use millrace_proto::{StreamId, api::StreamState};

use super::{
    breaks::{Breaks, FILE_FORWARD_MS_MAX},
    event::Event,
    intake::Intake,
};
use crate::{
    clock::now_ms,
    house::House,
    store::{self, Move, record::Stream},
};

/// Reading a file again after the child died: hostile bytes may kill it every time.
const CRASHES_MAX: u32 = 3;

/// How far audio may trail behind video in a file.
const AUDIO_LAG_MS_MAX: u32 = 10_000;

/// Where a stream's upload lies.
pub fn upload_path(house: &House, stream: &StreamId) -> PathBuf {
    house.config.data.join("uploads").join(stream.as_str())
}

/// Starts reading the files that are complete, at most as many at once as configured. Safe to repeat.
pub async fn start_ready(house: &Arc<House>) -> store::Result<()> {
    for stream in house.store.streams_in(&[StreamState::Waiting, StreamState::Live]).await? {
        let complete = stream.source_bytes_total == Some(stream.source_bytes) && stream.source_bytes > 0;
        if !stream.is_file() || !complete {
            continue;
        }
        let Ok(slot) = house.files.clone().try_acquire_owned() else { return Ok(()) };
        let Some(reading) = house.reading.begin(&stream.id) else { continue };
        let house = house.clone();
        tokio::spawn(async move {
            let id = stream.id.clone();
            if let Err(error) = read(&house, stream).await {
                tracing::warn!(stream = %id, %error, "reading the file stops here and starts again");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            drop((reading, slot));
            // Another may have waited for the place, or this one starts again.
            house.file_complete.notify_one();
        });
    }
    Ok(())
}

async fn read(house: &House, stream: Stream) -> store::Result<()> {
    let id = stream.id.clone();
    move_to(house, &id, StreamState::Live, None).await?;
    let mut crashes = 0;
    loop {
        let Some(stream) = house.store.stream(&id).await? else { return Ok(()) };
        match pass(house, stream).await {
            Ok(()) => break,
            Err(Stop::Retry(why)) => {
                tracing::warn!(stream = %id, why, "reading the file is tried again");
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            Err(Stop::Crashed(why)) if crashes < CRASHES_MAX => {
                crashes += 1;
                tracing::warn!(stream = %id, why, crashes, "the media child died, reading the file again");
            }
            Err(Stop::Crashed(why) | Stop::Hopeless(why)) => {
                tracing::info!(stream = %id, why, "the file can't be processed");
                move_to(house, &id, StreamState::Failed, Some(why)).await?;
                remove_upload(house, &id).await;
                return Ok(());
            }
            Err(Stop::Gone) => {
                remove_upload(house, &id).await;
                return Ok(());
            }
        }
    }
    move_to(house, &id, StreamState::Finishing, None).await?;
    house.committed(&id);
    remove_upload(house, &id).await;
    Ok(())
}

enum Stop {
    /// Not the file's fault.
    Retry(String),
    /// Perhaps the file's fault.
    Crashed(String),
    /// The file's fault.
    Hopeless(String),
    /// The stream is gone.
    Gone,
}

async fn pass(house: &House, stream: Stream) -> Result<(), Stop> {
    let id = stream.id.clone();
    let child_stop = |failure: millrace_media::Failure| {
        let why = failure.to_string();
        match failure.kind {
            FailureKind::BadInput | FailureKind::Unsupported | FailureKind::Limit => Stop::Hopeless(why),
            FailureKind::Crashed | FailureKind::TimedOut => Stop::Crashed(why),
            FailureKind::NotStarted => Stop::Retry(why),
        }
    };
    let job = Demux { input: upload_path(house, &id) };
    let mut child = house.launcher.demux(&job, &Limits::whole_file()).await.map_err(child_stop)?;
    let mut limits = house.config.ingest.limits(&stream.profile);
    // Nobody waits: containers may keep a track far behind the other.
    limits.audio_lag_ms_max = limits.audio_lag_ms_max.max(AUDIO_LAG_MS_MAX);
    let retry_s_max = house.config.ingest.storage_retry_s_max;
    let mut intake = Intake::file(house.store.clone(), house.media.clone(), stream, limits, retry_s_max)
        .with_eyes(house.verifier.eyes.clone());
    let mut breaks = Breaks::new(FILE_FORWARD_MS_MAX);
    loop {
        let event = match child.next().await.map_err(child_stop)? {
            None | Some(Demuxed::End) => break,
            Some(Demuxed::Ignored(tracks)) => {
                tracing::info!(stream = %id, ?tracks, "tracks of the file are passed over");
                continue;
            }
            Some(Demuxed::Tracks { video, audio }) => Event::Tracks { video, audio },
            Some(Demuxed::Video(sample)) => Event::Video(sample),
            Some(Demuxed::Audio(sample)) => Event::Audio(sample),
        };
        let mut done = 0;
        for event in breaks.place(event) {
            done += intake.take(event).await.map_err(intake_stop)?;
        }
        if done > 0 {
            house.committed(&id);
            wait_for_room(house, &id).await?;
        }
    }
    intake.finish().await.map_err(intake_stop)?;
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands over the error")]
fn intake_stop(error: super::intake::Error) -> Stop {
    use super::intake::Error;
    match error {
        Error::Gone => Stop::Gone,
        Error::Storage(..) => Stop::Retry(error.to_string()),
        Error::Segment(_) | Error::Cmaf(_) => Stop::Hopeless(error.to_string()),
    }
}

/// Keeps a long file from filling the disk with segments that nobody can work on yet.
async fn wait_for_room(house: &House, id: &StreamId) -> Result<(), Stop> {
    loop {
        match house.store.tasks_open(id).await {
            Ok(open) if open < house.config.ingest.file_tasks_max => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(Stop::Retry(error.to_string())),
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

async fn move_to(house: &House, id: &StreamId, to: StreamState, reason: Option<String>) -> store::Result<bool> {
    let from = [StreamState::Waiting, StreamState::Live];
    house.store.move_stream(id, &Move { from: &from, to, reason, grace_ends_ms: 0, now_ms: now_ms() }).await
}

/// Removes a stream's upload; it may be gone already.
pub async fn remove_upload(house: &House, id: &StreamId) {
    match tokio::fs::remove_file(upload_path(house, id)).await {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(stream = %id, %error, "the upload can't be removed"),
    }
}
