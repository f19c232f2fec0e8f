//! Windows of a chain give the same marks as one long window would.

use millrace_proto::{
    StreamId,
    profile::Choice,
    vision::{Category, Place, Thing},
};

use super::*;
use crate::store::reports::{MODERATION, PRODUCTS};

pub(crate) fn by() -> By {
    By { model: "m".into(), version: "1".into(), worker: "0x0707070707070707070707070707070707070707".parse().unwrap() }
}

fn chain(kind: Capability, track: &str) -> Chain {
    let stream: StreamId = "s".parse().unwrap();
    Chain {
        stream,
        kind,
        track: track.into(),
        number: 0,
        seq: 0,
        position_ms: 0,
        seen_ms: 0,
        context: String::new(),
        carry: None,
        label: None,
        open: true,
    }
}

fn profile() -> Profile {
    let mut profile = Choice::default().resolve().unwrap();
    profile.moderation = Some(Moderation::default());
    profile.products = Some(Products::default());
    profile
}

/// The marks in the end, by number, of windows of so many pictures, one a second.
fn marks(mut chain: Chain, sights: &[Sight], window: usize) -> Vec<Mark> {
    let mut all = std::collections::BTreeMap::new();
    for part in sights.chunks(window) {
        let change = go_on(&chain, &profile(), part, &by());
        all.extend(change.marks.into_iter().map(|mark| (mark.number, mark)));
        chain.number += 1;
        chain.position_ms = part.last().map_or(0, |sight| sight.at_ms + 1_000);
        chain.carry = change.carry;
    }
    all.extend(end(&chain, &profile()).marks.into_iter().map(|mark| (mark.number, mark)));
    all.into_values().map(|mark| Mark { changed: 0, ..mark }).collect()
}

#[test]
fn ranges_go_on_over_windows() {
    let scores = [0.0, 0.9, 0.95, 0.1, 0.9, 0.0, 0.0, 0.0, 0.6, 0.0];
    let sight = |(at, score): (usize, &f32)| Sight {
        at_ms: at as i64 * 1_000,
        categories: vec![Category { name: "pornography".into(), score: *score }],
        things: Vec::new(),
    };
    let sights: Vec<_> = scores.iter().enumerate().map(sight).collect();
    let whole = marks(chain(Capability::Moderation, MODERATION), &sights, 100);
    let told: Vec<_> =
        whole.iter().map(|mark| (mark.entry.start_ms, mark.entry.end_ms, mark.entry.open, mark.entry.score)).collect();
    assert_eq!(told, [(1_000, 5_000, false, Some(0.95)), (8_000, 9_000, false, Some(0.6))]);
    for window in 1..5 {
        assert_eq!(marks(chain(Capability::Moderation, MODERATION), &sights, window), whole, "{window}");
    }
}

#[test]
fn things_go_on_over_windows() {
    let place = Place { x: 0.1, y: 0.2, width: 0.3, height: 0.3 };
    let thing = Thing { label: "cup".into(), score: 0.4, place, finer: None, looks: vec![3, -127], embedder: None };
    let sight = |at: i64| Sight {
        at_ms: at * 1_000,
        categories: Vec::new(),
        things: if (2..5).contains(&at) { vec![thing.clone()] } else { Vec::new() },
    };
    let sights: Vec<_> = (0..9).map(sight).collect();
    let whole = marks(chain(Capability::Products, PRODUCTS), &sights, 100);
    assert_eq!(whole.len(), 1);
    let cup = &whole[0];
    assert_eq!((cup.entry.start_ms, cup.entry.end_ms, cup.entry.pictures), (2_000, 5_000, Some(3)));
    assert_eq!((cup.entry.label.as_deref(), &cup.looks), (Some("cup"), &vec![3, -127]));
    for window in 1..5 {
        assert_eq!(marks(chain(Capability::Products, PRODUCTS), &sights, window), whole, "{window}");
    }
}

#[test]
fn what_was_carried_by_another_version_is_begun_anew() {
    let strange = Chain { carry: Some("[1]".into()), ..chain(Capability::Moderation, MODERATION) };
    assert!(go_on(&strange, &profile(), &[], &by()).marks.is_empty());
}
