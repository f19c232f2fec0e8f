//! From what single pictures show to what happens when: ranges of what not everyone is to see, and appearances of things,
//! as marks of the timeline. Pure; `verify.rs` and `farm/windows.rs` bring the windows of a chain in order.

pub mod appearances;
pub mod flags;
pub mod products;

use millrace_proto::{
    offer::Capability,
    profile::{Moderation, Products, Profile},
    timeline::{Best, By, Entry, Level, Namer},
    vision::Sight,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::store::{events::Happened, marks::Mark, reports::Chain};
use appearances::{Appearance, Appearances};
use flags::{Flags, Range};

/// A range lasts while scores are at least this part of what begins one.
const RELEASE: f32 = 0.75;
/// Ranges and appearances that are so many pictures apart are one.
const PICTURES_APART: i64 = 2;

/// What a window changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// What the chain's next window goes on with.
    pub carry: Option<String>,
    /// What is to be seen, new or longer than before.
    pub marks: Vec<Mark>,
}

/// What pictures of a chain's next window change; `seen` is empty where nothing could be seen.
pub fn go_on(chain: &Chain, profile: &Profile, seen: &[Sight], by: &By) -> Change {
    let since_ms = seen.first().map_or(i64::MAX, |sight| sight.at_ms);
    match (chain.kind, &profile.moderation, &profile.products) {
        (Capability::Moderation, Some(wish), _) => {
            let (policy, mut flags): (_, Flags) = (flag_policy(wish), carried(chain));
            let told: Vec<_> = seen.iter().flat_map(|sight| flags.push(&policy, sight, by)).collect();
            let closed = told.iter().map(|range| flagged(chain, range, false));
            let open = flags.open().filter(|range| range.end_ms > since_ms).map(|range| flagged(chain, range, true));
            Change { marks: closed.chain(open).collect(), carry: carry(&flags) }
        }
        (Capability::Products, _, Some(wish)) => {
            let (policy, mut things): (_, Appearances) = (appearance_policy(wish), carried(chain));
            let told: Vec<_> = seen.iter().flat_map(|sight| things.push(&policy, sight, by)).collect();
            let closed = told.iter().map(|told| appeared(chain, told, false));
            let open = things.open(&policy).filter(|told| told.end_ms > since_ms);
            let open = open.map(|told| appeared(chain, told, true));
            Change { marks: closed.chain(open).collect(), carry: carry(&things) }
        }
        _ => Change::default(),
    }
}

/// What the end of a chain changes: nothing is open any more.
pub fn end(chain: &Chain, profile: &Profile) -> Change {
    match (chain.kind, &profile.moderation, &profile.products) {
        (Capability::Moderation, Some(_), _) => {
            let mut flags: Flags = carried(chain);
            let marks = flags.end(chain.position_ms).iter().map(|range| flagged(chain, range, false)).collect();
            Change { marks, carry: carry(&flags) }
        }
        (Capability::Products, _, Some(wish)) => {
            let mut things: Appearances = carried(chain);
            let over = things.end(&appearance_policy(wish), chain.position_ms);
            Change { marks: over.iter().map(|told| appeared(chain, told, false)).collect(), carry: carry(&things) }
        }
        _ => Change::default(),
    }
}

/// What apps are told of at once: ranges among `marks` that were no flagged ones before, by the chain that they are of.
pub fn news(before: &Chain, marks: &[Mark], now_ms: u64) -> Vec<Happened> {
    let flags: Flags = carried(before);
    let is_flag = |mark: &&Mark| mark.entry.kind == Capability::Moderation && mark.entry.level == Some(Level::Flag);
    let was = |mark: &Mark| flags.open().any(|range| range.number == mark.number && range.level == Level::Flag);
    marks.iter().filter(is_flag).filter(|mark| !was(mark)).map(|mark| flag_event(mark, now_ms)).collect()
}

/// That something is flagged, with its entry of the timeline as it is then.
pub fn flag_event(mark: &Mark, now_ms: u64) -> Happened {
    Happened::new("moderation.flagged", &mark.stream, now_ms, &mark.entry)
}

fn flag_policy(wish: &Moderation) -> flags::Policy {
    let every_ms = i64::from(wish.every_ms);
    let (review, flag) = (wish.review, wish.flag);
    flags::Policy { review, flag, release: review * RELEASE, calm_ms: PICTURES_APART * every_ms, every_ms }
}

fn appearance_policy(wish: &Products) -> appearances::Policy {
    let every_ms = i64::from(wish.every_ms);
    appearances::Policy {
        overlap: 0.3,
        alike: 0.8,
        gone_ms: PICTURES_APART * every_ms,
        every_ms,
        pictures_min: 2,
        sure: 0.5,
    }
}

/// What was in sight. What another version wrote is forgotten: then what was open begins anew.
fn carried<T: DeserializeOwned + Default>(chain: &Chain) -> T {
    chain.carry.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn carry(state: &impl Serialize) -> Option<String> {
    serde_json::to_string(state).ok()
}

fn mark(chain: &Chain, number: u64, entry: Entry, looks: Vec<i8>) -> Mark {
    Mark { stream: chain.stream.clone(), number, changed: chain.number, entry, looks }
}

fn flagged(chain: &Chain, range: &Range, open: bool) -> Mark {
    let entry = Entry {
        number: Some(range.number),
        open,
        label: Some(range.category.clone()),
        level: Some(range.level),
        best: Some(Best { at_ms: range.at_ms, place: None }),
        pictures: Some(range.pictures),
        score: Some(range.score),
        by: Some(range.by.clone()),
        ..Entry::blank(chain.kind, &chain.track, range.start_ms, range.end_ms)
    };
    mark(chain, range.number, entry, Vec::new())
}

fn appeared(chain: &Chain, told: &Appearance, open: bool) -> Mark {
    let best = &told.best;
    let entry = Entry {
        number: Some(told.number),
        open,
        label: Some(told.label.clone()),
        finer: told.finer.as_ref().map(|named| named.label.clone()),
        finer_by: told.finer.as_ref().map(|named| Namer {
            model: named.model.clone(),
            version: named.version.clone(),
            score: named.score,
        }),
        embedder: best.embedder.clone(),
        best: Some(Best { at_ms: best.at_ms, place: Some(best.place) }),
        pictures: Some(told.pictures),
        score: Some(best.score),
        by: Some(best.by.clone()),
        ..Entry::blank(chain.kind, &chain.track, told.start_ms, told.end_ms)
    };
    mark(chain, told.number, entry, best.looks.clone())
}

#[cfg(test)]
pub(crate) mod tests;
