//! Scores of single pictures become ranges of time, with hysteresis: a range begins above one score and lasts until scores
//! have been below another for a while, so that one that wavers is one range and not many.

use std::collections::BTreeMap;

use millrace_proto::vision::Sight;

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

/// How sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Someone is to look at it.
    Review,
    /// It is what it seems to be.
    Flag,
}

/// A stretch of the stream's timeline that shows something of a category.
#[derive(Debug, Clone, PartialEq)]
pub struct Range {
    /// What it shows.
    pub category: String,
    /// By its highest score.
    pub level: Level,
    /// Where it begins.
    pub start_ms: i64,
    /// Where it ends.
    pub end_ms: i64,
    /// Its highest score, and when.
    pub peak: (f32, i64),
    /// Pictures with scores that keep it going.
    pub pictures: u32,
}

/// Ranges that may go on, one for a category at most.
#[derive(Debug, Clone)]
pub struct Flags {
    policy: Policy,
    open: BTreeMap<String, Range>,
}

impl Flags {
    /// With no range open.
    pub fn new(policy: Policy) -> Self {
        Self { policy, open: BTreeMap::new() }
    }

    /// Takes the next picture; returns the ranges that are over with it.
    pub fn push(&mut self, sight: &Sight) -> Vec<Range> {
        let calm_ms = self.policy.calm_ms;
        let over = self.close(|range| range.end_ms.saturating_add(calm_ms) <= sight.at_ms);
        for category in &sight.categories {
            let score = category.score;
            match self.open.get_mut(&category.name) {
                Some(range) if score >= self.policy.release => {
                    range.end_ms = sight.at_ms + self.policy.every_ms;
                    range.pictures += 1;
                    if score > range.peak.0 {
                        range.peak = (score, sight.at_ms);
                        range.level = level(&self.policy, score);
                    }
                }
                None if score >= self.policy.review => {
                    let range = Range {
                        category: category.name.clone(),
                        level: level(&self.policy, score),
                        start_ms: sight.at_ms,
                        end_ms: sight.at_ms + self.policy.every_ms,
                        peak: (score, sight.at_ms),
                        pictures: 1,
                    };
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

fn level(policy: &Policy, score: f32) -> Level {
    if score >= policy.flag { Level::Flag } else { Level::Review }
}

#[cfg(test)]
mod tests {
    use millrace_proto::vision::Category;

    use super::*;

    const POLICY: Policy = Policy { review: 0.2, flag: 0.8, release: 0.15, calm_ms: 2_000, every_ms: 1_000 };

    /// A picture each second.
    fn ranges(scores: &[f32]) -> Vec<(Level, i64, i64, u32)> {
        let mut flags = Flags::new(POLICY);
        let mut over = Vec::new();
        for (at, score) in scores.iter().enumerate() {
            let categories = vec![Category { name: "p".into(), score: *score }];
            over.extend(flags.push(&Sight { at_ms: at as i64 * 1_000, categories, things: Vec::new() }));
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
        let mut flags = Flags::new(POLICY);
        let two = [("a", 0.9), ("b", 0.3)].map(|(name, score)| Category { name: name.into(), score });
        assert!(flags.push(&Sight { at_ms: 0, categories: two.into(), things: Vec::new() }).is_empty());
        let levels: Vec<_> = flags.open().map(|range| (range.category.as_str(), range.level)).collect();
        assert_eq!(levels, [("a", Level::Flag), ("b", Level::Review)]);
        let empty = Sight { at_ms: 9_000, ..Sight::default() };
        assert_eq!(flags.push(&empty).len(), 2);
    }
}
