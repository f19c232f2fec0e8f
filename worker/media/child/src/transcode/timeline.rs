//! Which frames a segment must have, and which of them the decoder lost. The packets' times are the truth.

use millrace_media::Failure;

use crate::trouble;

/// The times of all frames, ascending, and how far they are filled.
#[derive(Debug)]
pub(super) struct Timeline {
    times: Vec<i64>,
    /// Slots before this one are filled.
    filled: usize,
    concealed: usize,
}

impl Timeline {
    /// Takes the packets' presentation times in any order; there must be one, and no two equal ones.
    pub(super) fn new(mut times: Vec<i64>) -> Result<Self, Failure> {
        times.sort_unstable();
        if times.is_empty() {
            return Err(trouble::bad_input("the segment has no frames"));
        }
        if times.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(trouble::bad_input("two frames of the segment are shown at one time"));
        }
        Ok(Self { times, filled: 0, concealed: 0 })
    }

    /// Takes note of a decoded picture. Returns the times of the frames that were lost before it, or nothing
    /// if it fills no slot and is to be dropped: it came out of order, or at a time that no packet has.
    pub(super) fn lost_before(&mut self, pts: i64) -> Option<Vec<i64>> {
        let slot = self.times.binary_search(&pts).ok().filter(|slot| *slot >= self.filled)?;
        let lost = self.times[self.filled..slot].to_vec();
        self.concealed += lost.len();
        self.filled = slot + 1;
        Some(lost)
    }

    /// The times of the frames that were lost after the last picture.
    pub(super) fn lost_at_end(&mut self) -> Vec<i64> {
        let lost = self.times[self.filled..].to_vec();
        self.concealed += lost.len();
        self.filled = self.times.len();
        lost
    }

    pub(super) fn frames(&self) -> usize {
        self.times.len()
    }

    /// From the first frame to `end`.
    pub(super) fn ticks(&self, end: i64) -> i64 {
        end.saturating_sub(self.times[0])
    }

    pub(super) fn concealed(&self) -> usize {
        self.concealed
    }

    /// Roughly how many frames a second has in a segment that lasts until `end`: 30, 60, 120 or 240. Coarse, so
    /// that all segments of a stream get the same, and with it the same header. And how many times more that is than
    /// it has.
    pub(super) fn frames_per_s(&self, timescale: u32, end: i64) -> (u32, f64) {
        let ticks = end.saturating_sub(self.times[0]).max(1);
        let rate = self.times.len() as f64 * f64::from(timescale) / ticks as f64;
        // A tenth more than the nominal rate is jitter.
        let class = [30, 60, 120].into_iter().find(|class| rate <= f64::from(*class) * 1.1).unwrap_or(240);
        // A slide show is no reason for frames without bound.
        (class, (f64::from(class) / rate).clamp(0.5, 8.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_filled_once_whatever_the_decoder_loses() {
        let mut timeline = Timeline::new(vec![30, 10, 20, 50, 40]).unwrap();
        assert_eq!(timeline.lost_before(20), Some(vec![10]));
        assert_eq!(timeline.lost_before(20), None, "twice");
        assert_eq!(timeline.lost_before(10), None, "too late");
        assert_eq!(timeline.lost_before(35), None, "no such time");
        assert_eq!(timeline.lost_before(40), Some(vec![30]));
        assert_eq!(timeline.lost_at_end(), [50]);
        assert_eq!((timeline.frames(), timeline.concealed()), (5, 3));
        assert!(timeline.lost_at_end().is_empty());
    }

    #[test]
    fn no_frames_and_equal_times_are_refused() {
        assert!(Timeline::new(vec![]).is_err());
        assert!(Timeline::new(vec![1, 2, 1]).is_err());
    }

    #[test]
    fn the_frame_rate_is_told_coarsely() {
        let rate = |step: i64, timescale| {
            Timeline::new((0..50).map(|at| at * step).collect()).unwrap().frames_per_s(timescale, 50 * step)
        };
        assert_eq!(rate(1, 24), (30, 1.25));
        assert_eq!(rate(1_001, 30_000).0, 30);
        assert_eq!(rate(1, 50), (60, 1.2));
        assert_eq!(rate(1_001, 60_000).0, 60);
        assert_eq!(Timeline::new(vec![7]).unwrap().frames_per_s(90_000, 1_507), (60, 1.0));
    }
}
