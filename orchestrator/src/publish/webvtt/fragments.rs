//! The same cues as CMAF, for DASH: dash.js plays `WebVTT` in segments so alone.

use std::{ops::Range, sync::LazyLock};

use bytes::Bytes;
use millrace_cmaf::text;
use millrace_proto::Sha256;

use super::{Cue, payload};
use crate::publish::dash::{TIMESCALE, ticks};

/// The header of every track of captions, and its hash.
static INIT: LazyLock<(Bytes, Sha256)> = LazyLock::new(|| {
    let header = text::init(TIMESCALE).expect("it has ticks per second");
    (header.clone(), Sha256::of(&header))
});

/// The header of every track of captions, and its hash.
pub fn init() -> &'static (Bytes, Sha256) {
    &INIT
}

/// Segment `seq`, which has this place on the stream's timeline: what of the cues is in it, at its times in the files.
/// `None` if it takes no time, or days.
pub fn segment(cues: &[Cue], seq: u64, time_ns: Range<u64>) -> Option<Bytes> {
    let at = |ns: u64| i64::try_from(ticks(ns)).unwrap_or(i64::MAX);
    let of_ms = |ms: i64| at(u64::try_from(ms).unwrap_or(0).saturating_mul(1_000_000));
    let cue = |cue: &Cue| text::Cue { start: of_ms(cue.start_ms), end: of_ms(cue.end_ms), text: payload(cue) };
    let cues: Vec<text::Cue> = cues.iter().map(cue).collect();
    text::segment(seq as u32, &cues, at(time_ns.start)..at(time_ns.end)).ok()
}
