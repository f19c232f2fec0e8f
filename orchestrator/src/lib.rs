//! The orchestrator: ingest, segment, task, verify, publish.

pub mod clock;
pub mod farm;
pub mod ingest;
pub mod media;
pub mod publish;
pub mod segment;
pub mod store;
pub mod task;
pub mod verify;
