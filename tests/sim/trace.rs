//! The trace: what happened in one world, in order, and what was found wrong.
//!
//! Names that the orchestrator draws at random (leases, tokens, sessions) are kept out of it: the same seed gives
//! the same trace, line by line.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
};

/// Lines of a trace that are shown with a failure; the whole of it goes into a file.
const SHOWN_LINES: usize = 120;

#[derive(Debug, Clone, Default)]
pub(crate) struct Trace(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    now_ms: u64,
    lines: Vec<String>,
    objection: Option<String>,
}

impl Trace {
    pub(crate) fn set_now_ms(&self, now_ms: u64) {
        self.0.lock().unwrap().now_ms = now_ms;
    }

    pub(crate) fn say(&self, text: std::fmt::Arguments<'_>) {
        let mut inner = self.0.lock().unwrap();
        let now_ms = inner.now_ms;
        let mut line = String::with_capacity(64);
        let _ = write!(line, "{now_ms:>7} {text}");
        inner.lines.push(line);
    }

    /// Something is wrong. The first objection is the one that counts.
    pub(crate) fn object(&self, text: std::fmt::Arguments<'_>) {
        self.say(format_args!("!!! {text}"));
        self.0.lock().unwrap().objection.get_or_insert_with(|| text.to_string());
    }

    pub(crate) fn objection(&self) -> Option<String> {
        self.0.lock().unwrap().objection.clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        // A panic of the machines under test must not hide what led to it.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).lines.clone()
    }

    /// The end of the trace, for the failure's message.
    pub(crate) fn tail(&self) -> String {
        let lines = self.lines();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}
