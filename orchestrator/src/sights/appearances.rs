//! Things of single pictures become appearances: one entry for each thing and stretch of time, not one for each picture.
//!
//! A thing is taken for one of before if it has its name and stands about where that stood, or looks like it: at a picture
//! a second things move far. Each is matched once in a picture, the likest first.

use std::collections::BTreeMap;

use millrace_proto::{
    timeline::By,
    vision::{Embedder, Named, Place, Sight, Thing, looks},
};
use serde::{Deserialize, Serialize};

/// When two things are one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// What both places share, over what they cover, is at least this; or
    pub overlap: f32,
    /// the cosine between their looks is at least this.
    pub alike: f32,
    /// A thing that is not seen for so long is gone.
    pub gone_ms: i64,
    /// For how long a picture stands: the interval that is looked at.
    pub every_ms: i64,
    /// What is seen in fewer pictures than this is taken for a mistake;
    pub pictures_min: u32,
    /// but for what the detector is as sure of as this.
    pub sure: f32,
}

/// A thing, from when to when it is to be seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Appearance {
    /// Counts a track's things; some of them are mistakes.
    pub number: u64,
    /// What the detector calls it.
    pub label: String,
    /// What the classifier calls it, if it ever was sure: the name with the highest sum of scores, where it was surest.
    pub finer: Option<Named>,
    /// When it is first seen.
    pub start_ms: i64,
    /// When it is last seen, with the time that a picture stands.
    pub end_ms: i64,
    /// The picture that shows it best.
    pub best: Best,
    /// Pictures that show it.
    pub pictures: u32,
}

/// A thing where it was surest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// When.
    pub at_ms: i64,
    /// How sure the detector was, 0 to 1.
    pub score: f32,
    /// Where it was.
    pub place: Place,
    /// What it looked like, if anyone looked closely.
    #[serde(with = "looks")]
    pub looks: Vec<i8>,
    /// What told what it looked like.
    #[serde(default)]
    pub embedder: Option<Embedder>,
    /// Who said so.
    pub by: By,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Track {
    told: Appearance,
    place: Place,
    #[serde(with = "looks")]
    looks: Vec<i8>,
    #[serde(default)]
    embedder: Option<Embedder>,
    /// Each name that it was given, with the sum of the scores.
    names: BTreeMap<String, (f32, Named)>,
}

/// Things that are followed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Appearances {
    tracks: Vec<Track>,
    next: u64,
}

impl Appearances {
    /// Takes the next picture; returns the appearances that are over with it.
    pub fn push(&mut self, policy: &Policy, sight: &Sight, by: &By) -> Vec<Appearance> {
        let over = self.close(policy, sight.at_ms);
        let mut pairs: Vec<(f32, usize, usize)> = Vec::new();
        for (number, thing) in sight.things.iter().enumerate() {
            for (at, track) in self.tracks.iter().enumerate() {
                pairs.extend(track.likeness(thing, policy).map(|likeness| (likeness, at, number)));
            }
        }
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut taken = vec![None; sight.things.len()];
        for (_, at, number) in pairs {
            if taken[number].is_none() && !taken.contains(&Some(at)) {
                taken[number] = Some(at);
            }
        }
        for (thing, track) in sight.things.iter().zip(taken) {
            if let Some(at) = track {
                self.tracks[at].go_on(thing, sight.at_ms, policy.every_ms, by);
            } else {
                self.tracks.push(Track::new(self.next, thing, sight.at_ms, policy.every_ms, by));
                self.next += 1;
            }
        }
        over
    }

    /// What is in sight and no mistake, as far as it has come.
    pub fn open(&self, policy: &Policy) -> impl Iterator<Item = &Appearance> {
        self.tracks.iter().map(|track| &track.told).filter(|told| told.counts(policy))
    }

    /// Nothing comes any more: returns what was in sight, none of which is behind `end_ms`.
    pub fn end(&mut self, policy: &Policy, end_ms: i64) -> Vec<Appearance> {
        let mut over = self.close(policy, i64::MAX);
        for told in &mut over {
            told.end_ms = told.end_ms.min(end_ms).max(told.start_ms);
        }
        over
    }

    fn close(&mut self, policy: &Policy, now_ms: i64) -> Vec<Appearance> {
        let gone_ms = policy.gone_ms;
        let (over, open) = std::mem::take(&mut self.tracks)
            .into_iter()
            .partition::<Vec<_>, _>(|track| track.told.end_ms.saturating_add(gone_ms) <= now_ms);
        self.tracks = open;
        over.into_iter().map(|track| track.told).filter(|told| told.counts(policy)).collect()
    }
}

impl Appearance {
    fn counts(&self, policy: &Policy) -> bool {
        self.pictures >= policy.pictures_min || self.best.score >= policy.sure
    }
}

impl Track {
    fn new(number: u64, thing: &Thing, at_ms: i64, every_ms: i64, by: &By) -> Self {
        let told = Appearance {
            number,
            label: thing.label.clone(),
            finer: None,
            start_ms: at_ms,
            end_ms: at_ms,
            best: best(thing, at_ms, by),
            pictures: 0,
        };
        let mut track = Self { told, place: thing.place, looks: Vec::new(), embedder: None, names: BTreeMap::new() };
        track.go_on(thing, at_ms, every_ms, by);
        track
    }

    /// How alike they are, if they are at all.
    fn likeness(&self, thing: &Thing, policy: &Policy) -> Option<f32> {
        if thing.label != self.told.label {
            return None;
        }
        // Two windows may have been looked at by two models.
        let alike = if self.embedder == thing.embedder { cosine(&self.looks, &thing.looks) } else { 0.0 };
        let overlap = overlap(&self.place, &thing.place);
        (overlap >= policy.overlap || alike >= policy.alike).then_some(overlap + alike)
    }

    fn go_on(&mut self, thing: &Thing, at_ms: i64, every_ms: i64, by: &By) {
        self.told.end_ms = at_ms + every_ms;
        self.told.pictures += 1;
        self.place = thing.place;
        if !thing.looks.is_empty() {
            self.looks.clone_from(&thing.looks);
            self.embedder.clone_from(&thing.embedder);
        }
        if let Some(finer) = &thing.finer {
            let (sum, surest) = self.names.entry(finer.label.clone()).or_insert_with(|| (0.0, finer.clone()));
            *sum += finer.score;
            if finer.score > surest.score {
                surest.clone_from(finer);
            }
            let likeliest = self.names.values().max_by(|(a, _), (b, _)| a.total_cmp(b));
            self.told.finer = likeliest.map(|(_, named)| named.clone());
        }
        // A picture that nobody looked at closely is no better one.
        let before = &self.told.best;
        let closer = before.looks.is_empty() && !thing.looks.is_empty();
        if closer || thing.score > before.score && thing.looks.is_empty() == before.looks.is_empty() {
            self.told.best = best(thing, at_ms, by);
        }
    }
}

fn best(thing: &Thing, at_ms: i64, by: &By) -> Best {
    let (looks, embedder) = (thing.looks.clone(), thing.embedder.clone());
    Best { at_ms, score: thing.score, place: thing.place, looks, embedder, by: by.clone() }
}

/// What both share over what they cover together.
fn overlap(a: &Place, b: &Place) -> f32 {
    let along = |a: f32, a_length: f32, b: f32, b_length: f32| ((a + a_length).min(b + b_length) - a.max(b)).max(0.0);
    let shared = along(a.x, a.width, b.x, b.width) * along(a.y, a.height, b.y, b.height);
    let all = a.width * a.height + b.width * b.height - shared;
    if all > 0.0 { shared / all } else { 0.0 }
}

/// 1 for the same direction; 0 where nobody looked.
fn cosine(a: &[i8], b: &[i8]) -> f32 {
    if a.len() != b.len() {
        return 0.0;
    }
    let product = |a: &[i8], b: &[i8]| a.iter().zip(b).map(|(a, b)| f32::from(*a) * f32::from(*b)).sum::<f32>();
    let lengths = (product(a, a) * product(b, b)).sqrt();
    if lengths > 0.0 { product(a, b) / lengths } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sights::tests::by;

    const POLICY: Policy =
        Policy { overlap: 0.3, alike: 0.8, gone_ms: 2_000, every_ms: 1_000, pictures_min: 2, sure: 0.95 };

    fn thing(label: &str, score: f32, x: f32, looks: &[i8]) -> Thing {
        let place = Place { x, y: 0.2, width: 0.2, height: 0.2 };
        Thing { label: label.into(), score, place, finer: None, looks: looks.to_vec(), embedder: None }
    }

    /// A picture each second.
    fn told(pictures: Vec<Vec<Thing>>) -> Vec<Appearance> {
        let mut appearances = Appearances::default();
        let (mut over, end_ms) = (Vec::new(), pictures.len() as i64 * 1_000);
        for (at, things) in pictures.into_iter().enumerate() {
            over.extend(appearances.push(
                &POLICY,
                &Sight { at_ms: at as i64 * 1_000, categories: Vec::new(), things },
                &by(),
            ));
        }
        over.extend(appearances.end(&POLICY, end_ms));
        over
    }

    #[test]
    fn a_thing_that_moves_slowly_or_is_hidden_for_a_moment_is_one() {
        let at = |x, score| vec![thing("cup", score, x, &[])];
        let told = told(vec![at(0.1, 0.5), at(0.15, 0.9), vec![], at(0.2, 0.6), vec![], vec![], vec![], vec![]]);
        assert_eq!(told.len(), 1);
        let cup = &told[0];
        assert_eq!((cup.start_ms, cup.end_ms, cup.pictures, cup.best.at_ms), (0, 4_000, 3, 1_000));
    }

    #[test]
    fn looks_hold_together_what_jumps_and_names_keep_apart() {
        let jump = vec![vec![thing("cup", 0.5, 0.0, &[9, 1])], vec![thing("cup", 0.5, 0.7, &[8, 1])]];
        assert_eq!(told(jump).len(), 1);
        let other = vec![vec![thing("cup", 0.5, 0.0, &[9, 1])], vec![thing("cup", 0.5, 0.7, &[1, 9])]];
        assert_eq!(told(other), []);
        let both = vec![vec![thing("cup", 0.5, 0.0, &[]), thing("bowl", 0.4, 0.0, &[])]; 3];
        assert_eq!(told(both).iter().map(|told| told.label.as_str()).collect::<Vec<_>>(), ["cup", "bowl"]);
    }

    #[test]
    fn two_of_a_kind_stay_two() {
        let pictures = (0..4).map(|at| {
            let step = at as f32 * 0.02;
            vec![thing("car", 0.5, 0.1 + step, &[]), thing("car", 0.6, 0.25 - step, &[])]
        });
        let told = told(pictures.collect());
        assert_eq!(told.iter().map(|told| told.pictures).collect::<Vec<_>>(), [4, 4]);
    }

    #[test]
    fn the_name_is_what_was_said_most() {
        let named = |label: &str, score| {
            let finer = Some(Named { label: label.into(), score, model: "m".into(), version: "1".into() });
            vec![Thing { finer, ..thing("cup", 0.5, 0.1, &[]) }]
        };
        let told = told(vec![named("espresso", 0.4), named("bucket", 0.5), named("espresso", 0.3)]);
        let finer = told[0].finer.as_ref().unwrap();
        assert_eq!((finer.label.as_str(), finer.score), ("espresso", 0.4));
        // What is seen once is a mistake, and of two things there is no more than one match each.
        assert!(super::tests::told(vec![named("cup", 0.9)]).is_empty());
    }
}
