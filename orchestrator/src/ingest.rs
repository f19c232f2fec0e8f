//! Ways in: each turns what comes from outside into [`event::Event`]s.

pub mod event;
