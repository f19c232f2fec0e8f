//! The orchestrator: ingest, segment, task, verify, publish.

pub mod ingest;
