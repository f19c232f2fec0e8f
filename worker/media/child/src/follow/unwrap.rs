//! Times of 33 bits, which begin anew every 26.5 hours, as times that count on. Pure.

/// Ticks after which a transport stream's times begin anew (ISO/IEC 13818-1, 2.4.3.7).
const WRAP: i64 = 1 << 33;

/// Undoes the wraps of all tracks of a stream.
#[derive(Debug, Default)]
pub(super) struct Unwrap {
    last: Option<i64>,
}

impl Unwrap {
    /// A packet's decode and presentation time, which stand for each other where one is not told. The decode time is
    /// the one nearest to the last, the presentation time the one nearest to the decode time.
    pub(super) fn times(&mut self, dts: Option<i64>, pts: Option<i64>) -> Option<(i64, i64)> {
        let dts_wire = dts.or(pts)?;
        let dts = self.near(dts_wire);
        self.last = Some(dts);
        Some((dts, nearest(dts, pts.unwrap_or(dts_wire))))
    }

    /// The time nearest to the last one that is `wire` modulo 2^33.
    pub(super) fn near(&self, wire: i64) -> i64 {
        self.last.map_or(wire, |last| nearest(last, wire))
    }
}

fn nearest(to: i64, wire: i64) -> i64 {
    let apart = wire.wrapping_sub(to).rem_euclid(WRAP);
    to.saturating_add(if apart >= WRAP / 2 { apart - WRAP } else { apart })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_on_over_every_wrap() {
        let mut unwrap = Unwrap::default();
        // Ten wraps in steps of an hour, shown a tenth of a second after decoding, sound half a second before.
        for hour in 0..265_i64 {
            let at = 1_000_000 + hour * 3_600 * 90_000;
            let wire = |ticks: i64| Some(ticks.rem_euclid(WRAP));
            assert_eq!(unwrap.times(wire(at), wire(at + 9_000)), Some((at, at + 9_000)));
            assert_eq!(unwrap.times(wire(at - 45_000), None), Some((at - 45_000, at - 45_000)));
        }
    }

    #[test]
    fn a_jump_stays_one_and_no_time_is_none() {
        let mut unwrap = Unwrap::default();
        assert_eq!(unwrap.times(None, Some(90_000)), Some((90_000, 90_000)));
        assert_eq!(unwrap.times(Some(90_000 * 3_601), None), Some((90_000 * 3_601, 90_000 * 3_601)));
        assert_eq!(unwrap.times(Some(0), Some(0)), Some((0, 0)));
        assert_eq!(unwrap.times(None, None), None);
    }
}
