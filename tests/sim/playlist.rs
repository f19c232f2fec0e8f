//! Playlists as players see them: fetched now and then, each compared with the one before.

use std::collections::BTreeMap;

use millrace_proto::{StreamId, api::HoldState};

use crate::trace::Trace;

/// One segment of a playlist, with everything that holds for it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// Its discontinuity sequence number.
    discontinuity: u64,
    map: Option<String>,
    date: Option<String>,
    gap: bool,
    duration: String,
    uri: String,
}

#[derive(Debug, Clone, Default)]
struct Playlist {
    target_s: u64,
    sequence: u64,
    discontinuity: u64,
    entries: Vec<Entry>,
    ended: bool,
}

fn parse(text: &str) -> Playlist {
    let mut list = Playlist::default();
    let (mut discontinuity, mut map, mut date, mut gap, mut duration) = (None, None, None, false, String::new());
    for line in text.lines() {
        let (tag, value) = line.split_once(':').unwrap_or((line, ""));
        match tag {
            "#EXT-X-TARGETDURATION" => list.target_s = value.parse().unwrap(),
            "#EXT-X-MEDIA-SEQUENCE" => list.sequence = value.parse().unwrap(),
            "#EXT-X-DISCONTINUITY-SEQUENCE" => list.discontinuity = value.parse().unwrap(),
            "#EXT-X-DISCONTINUITY" => discontinuity = Some(discontinuity.unwrap_or(list.discontinuity) + 1),
            "#EXT-X-MAP" => map = Some(value.to_owned()),
            "#EXT-X-PROGRAM-DATE-TIME" => date = Some(value.to_owned()),
            "#EXT-X-GAP" => gap = true,
            "#EXTINF" => value.clone_into(&mut duration),
            "#EXT-X-ENDLIST" => list.ended = true,
            _ if line.starts_with('#') => {}
            _ => list.entries.push(Entry {
                discontinuity: discontinuity.unwrap_or(list.discontinuity),
                // A gap has no bytes that a header could belong to.
                map: map.clone().filter(|_| !gap),
                date: date.take(),
                gap: std::mem::take(&mut gap),
                duration: std::mem::take(&mut duration),
                uri: line.to_owned(),
            }),
        }
    }
    list
}

/// Segments that were ever held back, by number, and what was decided about them.
type Holds = BTreeMap<u64, HoldState>;

/// A player that fetches playlists and remembers the last one of each.
#[derive(Debug, Default)]
pub(crate) struct Player {
    last: BTreeMap<(StreamId, String), Playlist>,
}

impl Player {
    /// Takes the playlists of all renditions of a stream, fetched together; `holds` says what was ever held back of it.
    pub(crate) fn fetched(&mut self, id: &StreamId, texts: &[(String, String)], holds: &Holds, trace: &Trace) {
        let lists: Vec<(&String, Playlist)> = texts.iter().map(|(name, text)| (name, parse(text))).collect();
        if let Some((_, first)) = lists.first() {
            let (from, to) = (first.sequence, first.sequence + first.entries.len() as u64);
            trace.say(format_args!("{id}: a player sees {from} to {to}, ended {}", first.ended));
            let span = |list: &Playlist| {
                let spans = list.entries.iter().map(|entry| (entry.discontinuity, entry.duration.clone()));
                (list.sequence, list.discontinuity, list.target_s, list.ended, spans.collect::<Vec<_>>())
            };
            for (name, list) in &lists {
                if span(list) != span(first) {
                    trace.object(format_args!("{id}: {name} and {} are not aligned", lists[0].0));
                }
            }
        }
        for (name, list) in lists {
            let key = (id.clone(), name.clone());
            if let Some(before) = self.last.get(&key)
                && let Err(what) = follows(before, &list, holds)
            {
                trace.object(format_args!("{id} {name}: {what}"));
            }
            if let Err(what) = sane(&list).and_then(|()| withheld(&list, holds)) {
                trace.object(format_args!("{id} {name}: {what}"));
            }
            self.last.insert(key, list);
        }
    }

    /// How many segments of a rendition the last fetch showed, from the first on.
    pub(crate) fn seen(&self, id: &StreamId, name: &str) -> Option<(u64, usize, usize, bool)> {
        let list = self.last.get(&(id.clone(), name.to_owned()))?;
        let gaps = list.entries.iter().filter(|entry| entry.gap).count();
        Some((list.sequence, list.entries.len(), gaps, list.ended))
    }
}

fn sane(list: &Playlist) -> Result<(), String> {
    for (at, entry) in list.entries.iter().enumerate() {
        let number = list.sequence + at as u64;
        if entry.uri != format!("{number}.m4s") {
            return Err(format!("number {number} is {}", entry.uri));
        }
        if !entry.gap && entry.map.is_none() {
            return Err(format!("number {number} has no header"));
        }
        let duration_s: f64 = entry.duration.trim_end_matches(',').parse().map_err(|_| "no duration".to_owned())?;
        if duration_s.round() > list.target_s as f64 {
            return Err(format!("number {number} lasts {duration_s} s, the target is {}", list.target_s));
        }
    }
    Ok(())
}

/// What is held back and not approved is nothing but a gap.
fn withheld(list: &Playlist, holds: &Holds) -> Result<(), String> {
    let numbered = (list.sequence..).zip(&list.entries);
    let mut shown = numbered.filter(|(_, entry)| !entry.gap);
    let wrong =
        shown.find_map(|(number, _)| Some((number, holds.get(&number).filter(|is| **is != HoldState::Approved)?)));
    wrong.map_or(Ok(()), |(number, state)| Err(format!("number {number} is shown, and it is {state:?}")))
}

fn follows(before: &Playlist, now: &Playlist, holds: &Holds) -> Result<(), String> {
    if now.sequence < before.sequence {
        return Err(format!("the media sequence went back from {} to {}", before.sequence, now.sequence));
    }
    if now.discontinuity < before.discontinuity {
        let (was, is) = (before.discontinuity, now.discontinuity);
        return Err(format!("the discontinuity sequence went back from {was} to {is}"));
    }
    if now.target_s < before.target_s {
        return Err("the target duration went back".into());
    }
    let end = |list: &Playlist| list.sequence + list.entries.len() as u64;
    if end(now) < end(before) {
        return Err(format!("the end went back from {} to {}", end(before), end(now)));
    }
    if before.ended && (!now.ended || end(now) != end(before)) {
        return Err("it went on after its end".into());
    }
    for (at, entry) in now.entries.iter().enumerate() {
        let number = now.sequence + at as u64;
        let then = number.checked_sub(before.sequence).and_then(|at| before.entries.get(at as usize));
        // What was held back comes into its place when it is approved.
        let is_approved = holds.get(&number) == Some(&HoldState::Approved);
        let same = |then: &Entry| Entry { gap: entry.gap, map: entry.map.clone(), ..then.clone() } == *entry;
        let comes = |then: &Entry| is_approved && then.gap && !entry.gap && same(then);
        if let Some(then) = then.filter(|then| *then != entry && !comes(then)) {
            return Err(format!("number {number} changed from {then:?} to {entry:?}"));
        }
    }
    Ok(())
}
