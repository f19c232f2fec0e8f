//! Ways in: each turns what comes from outside into [`event::Event`]s.

mod breaks;
pub mod event;
pub mod fetch;
pub mod file;
pub mod intake;
pub mod live;
pub mod pull;
pub mod push;
pub mod rtmp;
pub mod srt;
