//! Windows: a chain of pieces of sound, each planned when there is enough of it, and of pictures in `window/pictures.rs`.
//! Pure: `farm/windows.rs` reads and writes.
//!
//! A window is sound without a hole: segments one after the other, of one discontinuity and with one header. The next one
//! begins where it is settled, which its outcome says. What can't be heard is skipped, so that a chain always comes to
//! its stream's end.

pub mod pictures;

use millrace_proto::{
    api::StreamState,
    offer::Capability,
    profile,
    task::{Captions, SEGMENTS_MAX, Work},
};
use serde::{Deserialize, Serialize};

use super::{Link, State, Task};
use crate::store::{
    record::{Segment, Stream},
    reports::{Carry, Chain, ENGLISH, Report},
};

/// Sound of one window at most, in milliseconds: what Whisper hears at once, nearly.
pub const WINDOW_MS_MAX: i64 = 28_000;

/// How windows are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pace {
    /// A live stream's window is heard when so much new sound has come: less shows words sooner and takes more work.
    pub live_ms: u32,
    /// Live sound without a pause is settled after this all the same, whether two windows hear it alike or not.
    pub live_patience_ms: u32,
    /// A recording's window is heard when so much new sound is there.
    pub recorded_ms: u32,
    /// A recording's sound without a pause is settled after this all the same.
    pub recorded_patience_ms: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { live_ms: 1_500, live_patience_ms: 12_000, recorded_ms: 25_000, recorded_patience_ms: 12_000 }
    }
}

impl Pace {
    /// Checks what the types do not; the error names the key.
    pub fn check(&self) -> Result<(), String> {
        for (key, value) in [
            ("live_ms", self.live_ms),
            ("live_patience_ms", self.live_patience_ms),
            ("recorded_ms", self.recorded_ms),
            ("recorded_patience_ms", self.recorded_patience_ms),
        ] {
            if !(1_000..=25_000).contains(&value) {
                return Err(format!("{key} is {value}: use 1000 to 25000"));
            }
        }
        Ok(())
    }
}

/// What is to be done on a chain.
#[expect(clippy::large_enum_variant, reason = "one at a time, and written at once")]
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing, until more sound has come.
    Wait,
    /// Its next window.
    Plan(Box<Task>),
    /// There is nothing to hear up to where the new chain begins; the report says why.
    Skip(Chain, Report),
    /// Nothing more comes: the chain is closed.
    Close(Chain),
}

/// A place on the stream's timeline in milliseconds.
pub fn ms(ns: u64) -> i64 {
    i64::try_from(ns / 1_000_000).unwrap_or(i64::MAX)
}

fn end_ms(segment: &Segment) -> i64 {
    ms(segment.start_ns + segment.duration_ns)
}

/// What is next on a chain that has no window open. `segments` are the stream's from `chain.seq` on, or from the first
/// one that is kept: at least [`SEGMENTS_MAX`] and one, or all; the stream was read before them.
pub fn next(
    chain: &Chain,
    stream: &Stream,
    wish: &profile::Captions,
    segments: &[Segment],
    pace: &Pace,
    now_ms: u64,
) -> Step {
    let again_ms = i64::from(Carry::of(chain).again_ms);
    let mut ahead = segments.iter().filter(|segment| end_ms(segment) > chain.position_ms - again_ms).peekable();
    let (first, ended) = match begin(chain, stream, ahead.peek().copied(), "heard", now_ms) {
        Ok(begun) => begun,
        Err(step) => return step,
    };
    let Some(audio) = &first.audio else {
        let mute = ahead.take_while(|segment| segment.audio.is_none()).last().unwrap_or(first);
        return skip(chain, end_ms(mute), mute.seq, "there is no sound", now_ms);
    };
    let goes_on = |segment: &&Segment| {
        let same = |other: &crate::store::record::Media| other.init == audio.init;
        segment.discontinuity == first.discontinuity && segment.audio.as_ref().is_some_and(same)
    };
    let run: Vec<&Segment> = ahead.clone().take_while(goes_on).collect();
    // What was freed since can't be heard again.
    let start_ms = ms(first.start_ns).max(chain.position_ms - again_ms);
    let fits = |segment: &&&Segment| end_ms(segment) - start_ms <= WINDOW_MS_MAX;
    let count = run.iter().take(SEGMENTS_MAX).take_while(fits).count().max(1);
    let (is_whole, to) = (count == run.len(), run[count - 1]);
    // Who comes back begins a new run.
    let is_left = ended || stream.state == StreamState::Interrupted;
    let is_over = is_whole && (is_left && to.seq + 1 >= stream.next_seq || ahead.any(|segment| segment.seq > to.seq));
    let end_ms = end_ms(to);
    let (wanted_ms, patience_ms) = if stream.is_live() {
        (pace.live_ms, pace.live_patience_ms)
    } else {
        (pace.recorded_ms, pace.recorded_patience_ms)
    };
    let new_ms = end_ms - chain.position_ms.max(chain.seen_ms);
    if is_whole && !is_over && new_ms < i64::from(wanted_ms) {
        return Step::Wait;
    }
    // What short windows are heard in is what a longer one was found to be spoken in; a recording's are all long.
    let found = chain.label.clone().filter(|_| stream.is_live());
    let work = Captions {
        model: wish.model.clone(),
        language: wish.language.clone().or(found),
        translate: chain.track == ENGLISH,
        start_ms,
        again_ms: u32::try_from(chain.position_ms - start_ms).unwrap_or(0),
        end_ms,
        context: chain.context.clone(),
        last: is_over,
        patience_ms,
        draft: stream.is_live(),
    };
    planned(chain, stream, first.seq, Work::Captions(work), now_ms)
}

/// The first segment of a window, and whether its stream comes to an end; or what is to be done if there is no window.
#[expect(clippy::result_large_err, reason = "taken apart at once")]
fn begin<'a>(
    chain: &Chain,
    stream: &Stream,
    first: Option<&'a Segment>,
    sensed: &str,
    now_ms: u64,
) -> Result<(&'a Segment, bool), Step> {
    let ended = match stream.state {
        StreamState::Finishing | StreamState::Ended | StreamState::Failed => true,
        StreamState::Expired => return Err(close(chain)),
        StreamState::Waiting | StreamState::Live | StreamState::Interrupted => false,
    };
    let first = first.ok_or_else(|| if ended { close(chain) } else { Step::Wait })?;
    if ms(first.start_ns) > chain.position_ms {
        let reason = format!("it was freed before it could be {sensed}");
        return Err(skip(chain, ms(first.start_ns), first.seq, &reason, now_ms));
    }
    Ok((first, ended))
}

/// The task of a chain's next window.
fn planned(chain: &Chain, stream: &Stream, seq: u64, work: Work, now_ms: u64) -> Step {
    let (start_ms, end_ms) = times(&work).unwrap_or_default();
    Step::Plan(Box::new(Task {
        id: chain.task_id(),
        stream: chain.stream.clone(),
        seq,
        live: stream.is_live(),
        duration_ms: u64::try_from(end_ms - start_ms).unwrap_or(0),
        version: 0,
        work,
        link: Some(Link { kind: chain.kind, track: chain.track.clone(), number: chain.number }),
        sandboxed: stream.profile.policy.sandboxed,
        created_ms: now_ms,
        state: State::Waiting { not_before_ms: now_ms },
        attempts: Vec::new(),
    }))
}

/// Where a window begins and ends, in milliseconds of the stream's timeline.
fn times(work: &Work) -> Option<(i64, i64)> {
    match work {
        Work::Captions(work) => Some((work.start_ms, work.end_ms)),
        Work::Look(work) => Some((work.start_ms, work.end_ms)),
        Work::Transcode(_) => None,
    }
}

fn close(chain: &Chain) -> Step {
    // Who follows what is seen reads on from a window's number.
    Step::Close(Chain { number: chain.number + 1, open: false, context: String::new(), ..chain.clone() })
}

fn skip(chain: &Chain, to_ms: i64, seq: u64, reason: &str, now_ms: u64) -> Step {
    let report = Report {
        stream: chain.stream.clone(),
        kind: chain.kind,
        track: chain.track.clone(),
        number: chain.number,
        start_ms: chain.position_ms,
        end_ms: to_ms,
        created_ms: now_ms,
        found: None,
        reason: Some(reason.to_owned()),
    };
    let (position_ms, seen_ms, number) = (to_ms, to_ms, chain.number + 1);
    // What is heard behind it goes on from nothing; what is seen stays.
    let is_heard = chain.kind == Capability::Captions;
    let carry = if is_heard { Some(Carry::default().text()) } else { chain.carry.clone() };
    let context = String::new();
    Step::Skip(Chain { number, seq, position_ms, seen_ms, context, carry, ..chain.clone() }, report)
}

/// What a chain's window leaves of it, and the report without anything found, if nothing came of the window's task.
pub fn given_up(task: &Task, reason: &str, now_ms: u64) -> Option<(Chain, Report)> {
    let (Some(Link { kind, track, number }), Some((start_ms, end_ms))) = (&task.link, times(&task.work)) else {
        return None;
    };
    let settled_ms = match &task.work {
        Work::Captions(work) => work.settled_ms(),
        Work::Look(_) | Work::Transcode(_) => start_ms,
    };
    let chain = Chain {
        stream: task.stream.clone(),
        kind: *kind,
        track: track.clone(),
        number: *number,
        seq: task.seq,
        position_ms: settled_ms,
        seen_ms: settled_ms,
        context: String::new(),
        carry: None,
        label: None,
        open: true,
    };
    match skip(&chain, end_ms, task.seq, reason, now_ms) {
        Step::Skip(next, report) => Some((next, report)),
        Step::Wait | Step::Plan(_) | Step::Close(_) => None,
    }
}

#[cfg(test)]
mod tests;
