//! Holding back: which segments of a stream whose profile says so may be shown. Pure; [`super::advance`] reads what is known
//! and writes what follows.
//!
//! A segment is judged once, when it is listed: not before everything that looks at its pictures, or hears the words that
//! the app does not want, is settled past its end. What nobody could look at is held like what is flagged: nothing is
//! shown because a worker failed.

use millrace_proto::{
    api::HoldState,
    events::HeldBack,
    offer::Capability,
    profile::{Action, Profile},
    timeline::Level,
};

use crate::{
    store::{
        events::Happened,
        marks::Mark,
        record::{Hold, Segment},
        reports::{CAPTIONS, Chain, ENGLISH, MODERATION, Report},
    },
    task::window::ms,
    words,
};

/// What is known of a segment's time.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The stream's chains, read before the rest.
    pub chains: Vec<Chain>,
    /// Marks of moderation that reach into it, of all tracks.
    pub marks: Vec<Mark>,
    /// What chains have passed in its time, of all tracks.
    pub reports: Vec<Report>,
}

/// What becomes of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It waits for what looks at it.
    Wait,
    /// It is shown.
    Show,
    /// It is not, and why.
    Hold(String),
}

/// Whether segments are held back at all.
pub fn holds(profile: &Profile) -> bool {
    profile.moderation.as_ref().is_some_and(|wish| wish.action == Action::Hold)
}

/// The tracks that have to be settled past a segment's end before it is shown.
pub fn needed(profile: &Profile, segment: &Segment) -> Vec<(Capability, &'static str)> {
    let Some(wish) = profile.moderation.as_ref().filter(|_| holds(profile)) else { return Vec::new() };
    let pictures = segment.video.is_some().then_some((Capability::Moderation, MODERATION));
    // What is spoken is of matter only to who has something against some of it.
    let spoken = profile.captions.as_ref().filter(|_| segment.audio.is_some() && !wish.words.is_empty());
    let english = spoken.filter(|captions| captions.translate).map(|_| (Capability::Captions, ENGLISH));
    pictures.into_iter().chain(spoken.map(|_| (Capability::Captions, CAPTIONS))).chain(english).collect()
}

/// What becomes of a segment that is ready to be listed.
pub fn judge(profile: &Profile, segment: &Segment, known: &Known) -> Verdict {
    let (start_ms, end_ms) = (ms(segment.start_ns), ms(segment.start_ns + segment.duration_ns));
    let within = |from_ms: i64, to_ms: i64| from_ms < end_ms && to_ms > start_ms;
    let mut why = Vec::new();
    for (kind, track) in needed(profile, segment) {
        let chain = known.chains.iter().find(|chain| (chain.kind, chain.track.as_str()) == (kind, track));
        match chain {
            Some(chain) if chain.position_ms >= end_ms => {}
            Some(chain) if chain.open => return Verdict::Wait,
            _ => why.push(format!("{} did not come so far", kind.as_str())),
        }
        let is_its = |report: &&Report| (report.kind, report.track.as_str()) == (kind, track);
        let passed = known.reports.iter().filter(is_its).filter(|report| within(report.start_ms, report.end_ms));
        why.extend(passed.filter_map(|report| report.reason.as_ref()).map(|reason| {
            let what = if kind == Capability::Captions { "heard" } else { "looked at" };
            format!("it could not be {what}: {reason}")
        }));
    }
    if holds(profile) {
        let entries = known.marks.iter().map(|mark| &mark.entry);
        let flagged = entries.filter(|entry| entry.kind == Capability::Moderation && entry.level == Some(Level::Flag));
        let told = flagged.filter(|entry| within(entry.start_ms, entry.end_ms)).map(|entry| {
            let what = if words::TRACKS.contains(&entry.track.as_str()) { "the word " } else { "" };
            format!("{what}{} ({:.2})", entry.label.as_deref().unwrap_or("flagged"), entry.score.unwrap_or(1.0))
        });
        why.extend(told);
    }
    why.dedup();
    if why.is_empty() { Verdict::Show } else { Verdict::Hold(why.join("; ")) }
}

/// A segment that is held from now on.
pub fn held(reason: String, now_ms: u64) -> Hold {
    Hold { state: HoldState::Held, reason, since_ms: now_ms }
}

/// What apps are told of those of `segments` that are held: once for those that follow each other for the same reason.
pub fn told(segments: &[Segment]) -> Vec<Happened> {
    let mut runs: Vec<(&Segment, u64, HeldBack)> = Vec::new();
    for segment in segments {
        let Some(hold) = &segment.hold else { continue };
        let (seq, end_ms) = (segment.seq, ms(segment.start_ns + segment.duration_ns));
        match runs.last_mut() {
            Some((_, _, run)) if run.last + 1 == seq && run.reason == hold.reason => {
                (run.last, run.end_ms) = (seq, end_ms);
            }
            _ => {
                let (start_ms, reason) = (ms(segment.start_ns), hold.reason.clone());
                runs.push((segment, hold.since_ms, HeldBack { first: seq, last: seq, start_ms, end_ms, reason }));
            }
        }
    }
    let event = |(segment, at_ms, run): &(&Segment, u64, HeldBack)| {
        Happened::new("moderation.held", &segment.stream, *at_ms, run)
    };
    runs.iter().map(event).collect()
}

#[cfg(test)]
#[path = "hold/tests.rs"]
mod tests;
