//! Scores of single pictures become ranges of time, with hysteresis: a range begins above one score and lasts until scores
//! have been below another for a while, so that one that wavers is one range and not many.

use std::collections::BTreeMap;

use millrace_proto::{
    timeline::{By, Level},
    vision::Sight,
};
use serde::{Deserialize, Serialize};

/// When something counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// A range begins with a score of at least this, and is one to review.
    pub review: f32,
    /// A range with a score of at least this is flagged.
    pub flag: f32,
    /// A range lasts while scores are at least this; no more than `review`.
    pub release: f32,
    /// It ends when they have been below for so long.
    pub calm_ms: i64,
    /// For how long a picture stands: the interval that is looked at.
    pub every_ms: i64,
}

/// A stretch of the stream's timeline that shows something of a category.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Counts a track's ranges.
    pub number: u64,
    /// What it shows.
    pub category: String,
    /// By its highest score.
    pub level: Level,
    /// Where it begins.
    pub start_ms: i64,
    /// Where it ends.
    pub end_ms: i64,
    /// Its highest score.
    pub score: f32,
    /// When that is.
    pub at_ms: i64,
    /// Who said so.
    pub by: By,
    /// Pictures with scores that keep it going.
    pub pictures: u32,
}

/// Ranges that may go on, one for a category at most.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Flags {
    open: BTreeMap<String, Range>,
    next: u64,
}

impl Flags {
    /// Takes the next picture; returns the ranges that are over with it.
    pub fn push(&mut self, policy: &Policy, sight: &Sight, by: &By) -> Vec<Range> {
        let over = self.close(|range| range.end_ms.saturating_add(policy.calm_ms) <= sight.at_ms);
        for category in &sight.categories {
            let score = category.score;
            let level = if score >= policy.flag { Level::Flag } else { Level::Review };
            match self.open.get_mut(&category.name) {
                Some(range) if score >= policy.release => {
                    range.end_ms = sight.at_ms + policy.every_ms;
                    range.pictures += 1;
                    if score > range.score {
                        (range.score, range.at_ms, range.by, range.level) = (score, sight.at_ms, by.clone(), level);
                    }
                }
                None if score >= policy.review => {
                    let range = Range {
                        number: self.next,
                        category: category.name.clone(),
                        level,
                        start_ms: sight.at_ms,
                        end_ms: sight.at_ms + policy.every_ms,
                        score,
                        at_ms: sight.at_ms,
                        by: by.clone(),
                        pictures: 1,
                    };
                    self.next += 1;
                    self.open.insert(category.name.clone(), range);
                }
                _ => {}
            }
        }
        over
    }

    /// Those that are open now, as far as they have come.
    pub fn open(&self) -> impl Iterator<Item = &Range> {
        self.open.values()
    }

    /// Nothing comes any more: returns the ranges that were open, none of which goes on behind `end_ms`.
    pub fn end(&mut self, end_ms: i64) -> Vec<Range> {
        let mut over = self.close(|_| true);
        for range in &mut over {
            range.end_ms = range.end_ms.min(end_ms).max(range.start_ms);
        }
        over
    }

    fn close(&mut self, is_over: impl Fn(&Range) -> bool) -> Vec<Range> {
        let (over, open) = std::mem::take(&mut self.open).into_iter().partition(|(_, range)| is_over(range));
        self.open = open;
        let over: BTreeMap<String, Range> = over;
        over.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use millrace_proto::vision::Category;

    use super::*;
    use crate::sights::tests::by;

    const POLICY: Policy = Policy { review: 0.2, flag: 0.8, release: 0.15, calm_ms: 2_000, every_ms: 1_000 };

    /// A picture each second.
    fn ranges(scores: &[f32]) -> Vec<(Level, i64, i64, u32)> {
        let mut flags = Flags::default();
        let mut over = Vec::new();
        for (at, score) in scores.iter().enumerate() {
            let categories = vec![Category { name: "p".into(), score: *score }];
            over.extend(flags.push(
                &POLICY,
                &Sight { at_ms: at as i64 * 1_000, categories, things: Vec::new() },
                &by(),
            ));
        }
        over.extend(flags.end(scores.len() as i64 * 1_000 - 500));
        over.into_iter().map(|range| (range.level, range.start_ms, range.end_ms, range.pictures)).collect()
    }

    #[test]
    fn one_that_wavers_is_one_range() {
        assert_eq!(ranges(&[0.0, 0.3, 0.16, 0.1, 0.25, 0.0, 0.0, 0.0]), [(Level::Review, 1_000, 5_000, 3)]);
        // Below the score that begins one nothing begins.
        assert_eq!(ranges(&[0.19, 0.18, 0.19]), []);
    }

    #[test]
    fn calm_parts_ranges_and_the_highest_score_says_what_they_are() {
        let told = ranges(&[0.3, 0.9, 0.0, 0.0, 0.0, 0.5, 0.5]);
        assert_eq!(told, [(Level::Flag, 0, 2_000, 2), (Level::Review, 5_000, 6_500, 2)]);
    }

    #[test]
    fn categories_stand_apart() {
        let mut flags = Flags::default();
        let two = [("a", 0.9), ("b", 0.3)].map(|(name, score)| Category { name: name.into(), score });
        assert!(flags.push(&POLICY, &Sight { at_ms: 0, categories: two.into(), things: Vec::new() }, &by()).is_empty());
        let levels: Vec<_> = flags.open().map(|range| (range.category.as_str(), range.level)).collect();
        assert_eq!(levels, [("a", Level::Flag), ("b", Level::Review)]);
        let empty = Sight { at_ms: 9_000, ..Sight::default() };
        assert_eq!(flags.push(&POLICY, &empty, &by()).len(), 2);
    }
}
