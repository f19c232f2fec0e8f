//! The audio clock: times run by sample count, so that rounded times of a container make no jitter, and are
//! set anew only where the source really has a gap.

/// Differences up to this are rounding and jitter; more is a gap, or an overlap.
const TOLERANCE_MS: u64 = 50;

/// Overlaps up to this are dropped, sound by sound; beyond it the source's clock was set back.
const OVERLAP_MS_MAX: u64 = 1_000;

/// What to do with sound that the source places somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It belongs here, in samples.
    At(i64),
    /// It belongs here, which is not where the sound before it ended.
    Jump(i64),
    /// It lies on sound that was there before: drop it.
    Overlap,
}

/// Counts samples. Times are in samples.
#[derive(Debug)]
pub(super) struct Clock {
    rate: u64,
    next: Option<i64>,
}

impl Clock {
    pub(super) fn new(rate: u32) -> Self {
        Self { rate: rate.into(), next: None }
    }

    /// Places sound of `length` samples that the source says is at `told`, if it does.
    pub(super) fn place(&mut self, told: Option<i64>, length: i64) -> Place {
        let place = match (self.next, told) {
            (None, told) => Place::At(told.unwrap_or(0)),
            (Some(next), None) => Place::At(next),
            (Some(next), Some(told)) => match told.saturating_sub(next) {
                apart if apart.unsigned_abs() <= self.ticks(TOLERANCE_MS) => Place::At(next),
                apart if apart < 0 && apart.unsigned_abs() <= self.ticks(OVERLAP_MS_MAX) => Place::Overlap,
                _ => Place::Jump(told),
            },
        };
        if let Place::At(at) | Place::Jump(at) = place {
            self.next = Some(at.saturating_add(length));
        }
        place
    }

    fn ticks(&self, ms: u64) -> u64 {
        ms * self.rate / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_smoothed_gaps_are_kept_overlaps_dropped() {
        let mut clock = Clock::new(48_000);
        assert_eq!(clock.place(Some(-1_024), 1_024), Place::At(-1_024));
        // Milliseconds, rounded down: 21 ms are 1,008 samples.
        assert_eq!(clock.place(Some(-16), 1_024), Place::At(0));
        assert_eq!(clock.place(None, 1_024), Place::At(1_024));
        assert_eq!(clock.place(Some(2_048 + 2_400), 1_024), Place::At(2_048), "50 ms are no gap");
        assert_eq!(clock.place(Some(3_072 + 2_401), 1_024), Place::Jump(5_473));
        assert_eq!(clock.place(Some(3_072), 1_024), Place::Overlap);
        assert_eq!(clock.place(Some(6_497), 1_024), Place::At(6_497));
        assert_eq!(clock.place(Some(-90_000), 1_024), Place::Jump(-90_000), "the source began anew");
    }
}
