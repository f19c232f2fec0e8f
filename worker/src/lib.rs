//! The worker: a pure agent, its driver, its HTTP client.
//!
//! The tree follows a lease: `agent` decides, `run` performs, `client` talks to the orchestrator, `scratch`
//! keeps the files, and the media child (`millrace-media`, behind its launcher) computes. Never links a codec.

pub mod agent;
pub mod cards;
pub mod cli;
pub mod client;
mod device;
pub mod key;
pub mod listen;
pub mod look;
pub mod models;
pub mod probe;
pub mod run;
pub mod scratch;
pub mod senses;
pub mod share;
pub mod sign;
