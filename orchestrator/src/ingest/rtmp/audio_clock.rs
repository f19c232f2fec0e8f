//! Places audio frames by counting their samples. Pure.
//!
//! RTMP tells time in milliseconds, and a frame of 1,024 samples at 44.1 kHz lasts 23.2: stamped with that,
//! frames would overlap and gape. So they are counted from an anchor, and the wire's time only corrects.

use millrace_cmaf::{Audio, Error, aac};

/// Beyond this much between count and wire the wire is right: a gap, or drift of the source's clock.
const OFF_MS_MAX: i64 = 50;

/// Counts the frames of one track; times are in its sample rate.
#[derive(Debug)]
pub(crate) struct Clock {
    sample_rate: i64,
    frame_samples: u32,
    next: Option<i64>,
    /// Frames are left out until the wire has caught up.
    ahead: bool,
}

impl Clock {
    /// A clock for the track with this configuration.
    pub(crate) fn new(config: &[u8]) -> Result<Self, Error> {
        let Audio { sample_rate, .. } = aac::audio(config)?;
        Ok(Self {
            sample_rate: sample_rate.into(),
            frame_samples: aac::frame_samples(config)?,
            next: None,
            ahead: false,
        })
    }

    /// Samples in each frame, at the track's rate.
    pub(crate) fn frame_samples(&self) -> u32 {
        self.frame_samples
    }

    /// Forgets the count: the next frame stands where the wire says.
    pub(crate) fn reset(&mut self) {
        self.next = None;
        self.ahead = false;
    }

    /// Where the frame with this wire time stands; `None` leaves it out, since the count ran ahead of the wire by
    /// more than a listener should wait.
    pub(crate) fn place(&mut self, wire_ms: i64) -> Option<i64> {
        let wire = (wire_ms * self.sample_rate + 500).div_euclid(1_000);
        let off_max = OFF_MS_MAX * self.sample_rate / 1_000;
        let counted = self.next.unwrap_or(wire);
        let at = match wire - counted {
            late if late > off_max => wire,
            late if late < -off_max || self.ahead && late < 0 => {
                self.ahead = true;
                return None;
            }
            _ => counted,
        };
        self.ahead = false;
        self.next = Some(at + i64::from(self.frame_samples));
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AAC-LC, 44.1 kHz, stereo.
    const LC: [u8; 2] = [0x12, 0x10];

    #[test]
    fn replicated_bands_make_long_frames() {
        // 5 | 22,050 | stereo | 44,100 | 2 | long frames: HE-AAC.
        let bits: u32 = 5 << 27 | 7 << 23 | 2 << 19 | 4 << 15 | 2 << 10;
        let mut clock = Clock::new(&bits.to_be_bytes()).unwrap();
        assert_eq!([clock.place(0), clock.place(46)], [Some(0), Some(2_048)]);
    }

    #[test]
    fn milliseconds_leave_no_trace() {
        let mut clock = Clock::new(&LC).unwrap();
        let first = clock.place(100).unwrap();
        assert_eq!(first, 4_410);
        // An hour, its times rounded down as FLV muxers do.
        for frame in 1..155_000_i64 {
            let wire_ms = 100 + frame * 1_024_000 / 44_100;
            assert_eq!(clock.place(wire_ms), Some(4_410 + 1_024 * frame));
        }
    }

    #[test]
    fn gaps_stay_gaps() {
        let mut clock = Clock::new(&LC).unwrap();
        clock.place(0).unwrap();
        assert_eq!(clock.place(60), Some(1_024), "37 ms late is jitter");
        assert_eq!(clock.place(97), Some(97 * 441 / 10 + 1), "51 ms is a gap");
    }

    #[test]
    fn a_slow_source_loses_a_frame_now_and_then_and_never_goes_back() {
        let mut clock = Clock::new(&LC).unwrap();
        let (mut left_out, mut last) = (0, -1_024);
        for frame in 0..100_000_i64 {
            // 1 % slow: each frame stands for 1,014 samples.
            let wire_ms = frame * 1_014_000 / 44_100;
            match clock.place(wire_ms) {
                Some(at) => {
                    assert!(at >= last + 1_024, "frame {frame}");
                    assert!((at * 10 / 441 - wire_ms).abs() <= OFF_MS_MAX + 1);
                    last = at;
                }
                None => left_out += 1,
            }
        }
        assert!((900..1_050).contains(&left_out), "{left_out}");
    }
}
