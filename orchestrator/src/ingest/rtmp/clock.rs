//! Wire timestamps to time without wraps, and where that time runs on and where it breaks. Pure.

/// Backward beyond this, within a track, is a break.
const BACKWARD_MS_MAX: i64 = 1_000;

/// Undoes the wrap of 32-bit milliseconds, which comes every 49.7 days.
#[derive(Debug, Default)]
pub(crate) struct Unwrap {
    last_ms: Option<i64>,
}

impl Unwrap {
    /// The time nearest to the last one that is `wire_ms` modulo 2^32.
    pub(crate) fn time_ms(&mut self, wire_ms: u32) -> i64 {
        let time_ms = match self.last_ms {
            None => wire_ms.into(),
            Some(last_ms) => last_ms + i64::from(wire_ms.wrapping_sub(last_ms as u32) as i32),
        };
        self.last_ms = Some(time_ms);
        time_ms
    }
}

/// The two tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Video,
    Audio,
}

/// Where a time stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On the timeline as it runs.
    On,
    /// At the first sample behind a break.
    Break,
    /// Before a break that the other track has passed already.
    Late,
}

/// Tells breaks of a timeline that two interleaved tracks share.
///
/// The track that breaks first takes the timeline along; what the other track still sends of the time before is
/// late.
#[derive(Debug)]
pub(crate) struct Timeline {
    /// Forward beyond this, against both tracks, is a break.
    forward_ms_max: i64,
    last_ms: [Option<i64>; 2],
    /// The same before the last break, for tracks that have not sent since.
    before_ms: [Option<i64>; 2],
}

impl Timeline {
    pub(crate) fn new(forward_ms_max: i64) -> Self {
        Self { forward_ms_max, last_ms: [None; 2], before_ms: [None; 2] }
    }

    /// Places a decode time, and remembers it unless it is late.
    pub(crate) fn place(&mut self, kind: Kind, time_ms: i64) -> Place {
        let (own, other) = match kind {
            Kind::Video => (0, 1),
            Kind::Audio => (1, 0),
        };
        let far = |last_ms: i64| time_ms.abs_diff(last_ms) > self.forward_ms_max.unsigned_abs();
        let breaks = match (self.last_ms[own], self.last_ms[other]) {
            (Some(last_ms), _) if time_ms < last_ms - BACKWARD_MS_MAX => true,
            (Some(last_ms), other_ms) => time_ms > last_ms + self.forward_ms_max && other_ms.is_none_or(far),
            (None, Some(other_ms)) => {
                let nearer = |before_ms: i64| time_ms.abs_diff(before_ms) < time_ms.abs_diff(other_ms);
                if self.before_ms[own].is_some_and(nearer) {
                    return Place::Late;
                }
                far(other_ms)
            }
            (None, None) => false,
        };
        if breaks {
            for (before, last) in self.before_ms.iter_mut().zip(&mut self.last_ms) {
                *before = last.take().or(*before);
            }
            self.before_ms[own] = None;
        }
        self.last_ms[own] = Some(time_ms);
        if breaks { Place::Break } else { Place::On }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind::*, *};

    #[test]
    fn wraps_are_undone_in_both_directions() {
        let mut unwrap = Unwrap::default();
        let times: Vec<_> = [0xffff_ff00, 0xffff_fff0, 0x10, 0xffff_fff8, 0x20].map(|wire| unwrap.time_ms(wire)).into();
        let wrap = 1_i64 << 32;
        assert_eq!(times, [wrap - 0x100, wrap - 0x10, wrap + 0x10, wrap - 8, wrap + 0x20]);
        // Ten wraps in steps of a day.
        let mut unwrap = Unwrap::default();
        for day in 0..500_i64 {
            assert_eq!(unwrap.time_ms((day * 86_400_000) as u32), day * 86_400_000);
        }
    }

    #[test]
    fn gaps_within_reason_and_late_tracks_are_no_breaks() {
        let mut timeline = Timeline::new(10_000);
        for (kind, time_ms) in
            [(Video, 0), (Audio, 40), (Video, 9_000), (Video, 8_100), (Video, 18_000), (Audio, 18_010), (Video, 27_000)]
        {
            assert_eq!(timeline.place(kind, time_ms), Place::On, "{kind:?} at {time_ms}");
        }
    }

    #[test]
    fn a_track_that_begins_late_or_pauses_joins_the_other() {
        let mut timeline = Timeline::new(10_000);
        assert_eq!(timeline.place(Video, 0), Place::On);
        for time_ms in (0..60_000).step_by(1_000) {
            assert_eq!(timeline.place(Video, time_ms), Place::On);
        }
        assert_eq!(timeline.place(Audio, 59_500), Place::On);
    }

    #[test]
    fn both_tracks_break_once() {
        for jump_ms in [3_600_000, -3_000, -60_000] {
            let mut timeline = Timeline::new(10_000);
            for step in 0..50 {
                assert_eq!(timeline.place(Video, 100_000 + 40 * step), Place::On);
                assert_eq!(timeline.place(Audio, 100_020 + 40 * step), Place::On);
            }
            let end_ms = 100_000 + 50 * 40;
            assert_eq!(timeline.place(Video, end_ms + jump_ms), Place::Break);
            assert_eq!(timeline.place(Audio, end_ms), Place::Late, "{jump_ms}");
            assert_eq!(timeline.place(Video, end_ms + jump_ms + 40), Place::On);
            assert_eq!(timeline.place(Audio, end_ms + 40), Place::Late);
            for step in 2..500 {
                assert_eq!(timeline.place(Audio, end_ms + jump_ms + 40 * step), Place::On, "{jump_ms}");
                assert_eq!(timeline.place(Video, end_ms + jump_ms + 40 * step), Place::On);
            }
        }
    }

    #[test]
    fn a_lone_track_breaks_too() {
        let mut timeline = Timeline::new(10_000);
        assert_eq!(timeline.place(Audio, 5), Place::On);
        assert_eq!(timeline.place(Audio, 10_006), Place::Break);
        assert_eq!(timeline.place(Audio, 9_005), Place::Break);
        assert_eq!(timeline.place(Audio, 9_005), Place::On);
    }
}
