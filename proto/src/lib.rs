//! Wire types: what apps, the orchestrator and workers say to each other.
//!
//! Owns the words of the protocol and their JSON form. Never does I/O, never reads a clock.
//! Every message has a golden file in `proto/golden`, so that a change of the wire is seen in review.

pub mod api;
pub mod captions;
pub mod events;
pub mod id;
pub mod identity;
pub mod offer;
pub mod outcome;
pub mod profile;
pub mod task;
pub mod timeline;
pub mod vision;
pub mod worker;

pub use id::{CatalogId, ClipId, LeaseId, Sha256, StreamId, TaskId};
pub use identity::Address;

/// The version of the worker protocol; both sides refuse another one with a clear error.
pub const PROTOCOL_VERSION: u32 = 2;
