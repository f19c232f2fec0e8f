//! Recordings: read as steps, the way `ingest/file.rs` reads them.

use millrace_orchestrator::{
    house::Hold,
    ingest::{event::Event as Sent, intake::Intake},
    store::{Move, record::Stream},
};
use millrace_proto::{
    StreamId,
    api::{Source, StreamState},
};

use super::{samples, settle};
use crate::{
    house::{Effect, Rooms},
    world::World,
};

/// Open tasks of one file at most.
const FILE_TASKS_MAX: u64 = 6;

impl World {
    /// Reads a recording, as a step.
    pub(crate) fn read_file(&mut self, stream: Stream, hold: Hold) {
        let Some(house) = &self.house else { return };
        let rooms = house.rooms.clone();
        let plan = self.publishers.iter().find(|publisher| publisher.id == stream.id).expect("streams are ours");
        let events: Vec<Sent> = samples(&plan.plan, 0).into_iter().map(|(_, sent)| sent).collect();
        self.spawn("file", None, async move {
            if read(&rooms, stream, events).await.is_err() {
                rooms.gate.sleep(2_000).await;
            }
            drop(hold);
            Effect::Nothing
        });
    }
}

/// Recordings that are complete and not being read.
pub(crate) async fn complete_files(rooms: &Rooms) -> Vec<(Stream, Hold)> {
    let open = [StreamState::Waiting, StreamState::Live];
    let streams = rooms.store.streams_in(&open).await.unwrap_or_default();
    let complete = |stream: &Stream| {
        stream.source == Source::File
            && stream.source_bytes > 0
            && stream.source_bytes_total == Some(stream.source_bytes)
    };
    let begin = |stream: Stream| rooms.reading.begin(&stream.id).map(|hold| (stream, hold));
    streams.into_iter().filter(complete).filter_map(begin).collect()
}

async fn read(rooms: &Rooms, stream: Stream, events: Vec<Sent>) -> Result<(), ()> {
    let id = stream.id.clone();
    move_to(rooms, &id, StreamState::Live).await?;
    let stream = rooms.store.stream(&id).await.map_err(drop)?.ok_or(())?;
    let limits = rooms.ingest.limits(&stream.profile);
    let mut intake = Intake::file(rooms.store.clone(), rooms.media.clone(), stream, limits, 300);
    for event in events {
        intake.push(event, rooms.gate.now_ms()).map_err(drop)?;
        if settle(rooms, &mut intake).await.map_err(drop)? > 0 {
            while rooms.store.tasks_open(&id).await.map_err(drop)? >= FILE_TASKS_MAX {
                rooms.gate.sleep(250).await;
            }
        }
    }
    intake.close(rooms.gate.now_ms());
    settle(rooms, &mut intake).await.map_err(drop)?;
    move_to(rooms, &id, StreamState::Finishing).await?;
    rooms.committed(&id);
    Ok(())
}

async fn move_to(rooms: &Rooms, id: &StreamId, to: StreamState) -> Result<bool, ()> {
    let from = &[StreamState::Waiting, StreamState::Live];
    let step = Move { from, to, reason: None, grace_ends_ms: 0, now_ms: rooms.gate.now_ms() };
    rooms.store.move_stream(id, &step).await.map_err(drop)
}
