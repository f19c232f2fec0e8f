//! The timeline: what reports say, as entries. Pure; `http/timeline.rs` reads and answers.

use std::collections::BTreeMap;

use millrace_proto::{
    captions::Heard,
    offer::Capability,
    timeline::{By, Entry},
};

use crate::{publish::webvtt, store::reports::Report};

/// Which entries are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Of this kind alone.
    pub kind: Option<Capability>,
    /// Of this track alone.
    pub track: Option<String>,
    /// With this label alone, or as the product with this SKU.
    pub label: Option<String>,
    /// Those that begin here or later, in milliseconds of the stream's timeline.
    pub from_ms: i64,
    /// And before here.
    pub to_ms: i64,
}

impl Filter {
    /// Whether entries of a track are wanted.
    pub fn takes_track(&self, kind: Capability, track: &str) -> bool {
        self.kind.is_none_or(|wanted| wanted == kind) && self.track.as_deref().is_none_or(|wanted| wanted == track)
    }

    /// Whether this entry is wanted.
    pub fn takes(&self, entry: &Entry) -> bool {
        self.takes_track(entry.kind, &entry.track)
            && (self.from_ms..self.to_ms).contains(&entry.start_ms)
            && self.label.as_deref().is_none_or(|wanted| is_called(entry, wanted))
    }
}

/// Whether it is called so by a model, or by the app whose product it is.
fn is_called(entry: &Entry, wanted: &str) -> bool {
    let sku = entry.product.as_ref().and_then(|product| product.sku.as_ref());
    [&entry.label, &entry.finer].into_iter().flatten().chain(sku).any(|name| name == wanted)
}

/// What a report has for the timeline: of captions an entry for each cue, of a piece without anything its reason. What is
/// seen over many windows is told by marks.
pub fn entries(report: &Report, heard: Option<&Heard>) -> Vec<Entry> {
    let blank = Entry::blank(report.kind, &report.track, report.start_ms, report.end_ms);
    let blank = Entry { reason: report.reason.clone(), ..blank };
    let (Some(found), Some(heard)) = (&report.found, heard) else {
        return if report.reason.is_some() { vec![blank] } else { Vec::new() };
    };
    let by = By { model: found.model.clone(), version: found.version.clone(), worker: found.worker };
    let entry = |cue: webvtt::Cue| Entry {
        start_ms: cue.start_ms,
        end_ms: cue.end_ms,
        label: heard.language.clone(),
        score: confidence(heard, &cue),
        text: Some(cue.lines.join(" ")),
        by: Some(by.clone()),
        ..blank.clone()
    };
    webvtt::cues(heard, report.end_ms).into_iter().map(entry).collect()
}

/// The mean of its words'.
fn confidence(heard: &Heard, cue: &webvtt::Cue) -> Option<f32> {
    let words = heard.words.iter().filter(|word| (cue.start_ms..cue.end_ms).contains(&word.start_ms));
    let (count, sum) = words.fold((0_u16, 0.0), |(count, sum), word| (count + 1, sum + word.confidence));
    (count > 0).then(|| sum / f32::from(count))
}

/// What is counted of a track that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// Up to where its reports were sent, in milliseconds.
    Time(Capability, &'a str),
    /// Up to which window its marks were sent.
    Window(Capability, &'a str),
}

/// Up to where each track was sent to who follows: the id of events, so that who comes back goes on there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent(BTreeMap<String, i64>);

impl Sent {
    /// Where a track goes on, if any of it was sent.
    pub fn of(&self, place: Place<'_>) -> Option<i64> {
        self.0.get(&name(place)).copied()
    }

    /// What is below `next` was sent.
    pub fn set(&mut self, place: Place<'_>, next: i64) {
        self.0.insert(name(place), next);
    }

    /// Reads what [`Self::text`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let pair = |pair: &str| pair.split_once('=').and_then(|(name, ms)| Some((name.to_owned(), ms.parse().ok()?)));
        if text.is_empty() { Some(Self::default()) } else { text.split(',').map(pair).collect::<Option<_>>().map(Self) }
    }

    /// As an event's id.
    pub fn text(&self) -> String {
        self.0.iter().map(|(name, ms)| format!("{name}={ms}")).collect::<Vec<_>>().join(",")
    }
}

fn name(place: Place<'_>) -> String {
    match place {
        Place::Time(kind, track) => format!("{}/{track}", kind.as_str()),
        Place::Window(kind, track) => format!("{}/{track}/windows", kind.as_str()),
    }
}

#[cfg(test)]
mod tests;
