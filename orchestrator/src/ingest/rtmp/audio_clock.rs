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
        let frame_samples = frame_samples(config).unwrap_or(aac::FRAME_SAMPLES);
        Ok(Self { sample_rate: sample_rate.into(), frame_samples, next: None, ahead: false })
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

/// Samples per frame at the rate that [`aac::audio`] tells, from an `AudioSpecificConfig` (ISO/IEC 14496-3,
/// 1.6.2.1 and 4.4.1): 1,024 or 960, times what replicated bands add. `None` if it can't be told.
fn frame_samples(config: &[u8]) -> Option<u32> {
    let mut bits = Bits { bytes: config, at: 0 };
    let mut object_type = bits.object_type()?;
    let rate = bits.rate()?;
    bits.take(4)?;
    let mut factor = 1;
    // Bands replicated (5), with parametric stereo (29): the rate that comes out and the core's type follow.
    if matches!(object_type, 5 | 29) {
        factor = if bits.rate()? == rate { 1 } else { 2 };
        object_type = bits.object_type()?;
    }
    // The types whose specific configuration begins with the frame length (table 1.15).
    let short = matches!(object_type, 1..=4 | 6 | 7 | 17 | 19..=23) && bits.take(1)? == 1;
    Some(factor * if short { 960 } else { 1_024 })
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        (0..count).try_fold(0, |value, _| {
            let byte = *self.bytes.get(self.at / 8)?;
            let bit = byte >> (7 - self.at % 8) & 1;
            self.at += 1;
            Some(value << 1 | u32::from(bit))
        })
    }

    fn object_type(&mut self) -> Option<u32> {
        match self.take(5)? {
            31 => Some(32 + self.take(6)?),
            object_type => Some(object_type),
        }
    }

    /// The rate, as an index or in hertz: only ever compared.
    fn rate(&mut self) -> Option<u32> {
        match self.take(4)? {
            15 => self.take(24),
            index => Some(index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AAC-LC, 44.1 kHz, stereo.
    const LC: [u8; 2] = [0x12, 0x10];

    #[test]
    fn frame_lengths() {
        assert_eq!(frame_samples(&LC), Some(1_024));
        assert_eq!(frame_samples(&[0x12, 0x14]), Some(960));
        // HE-AAC: 5 | 22,050 | stereo | 44,100 | 2 | long frames; and version 2 from mono.
        assert_eq!(frame_samples(&(0b00101_0111_0010_0100_00010_0_u32 << 9).to_be_bytes()), Some(2_048));
        assert_eq!(frame_samples(&(0b11101_0111_0001_0100_00010_1_u32 << 9).to_be_bytes()), Some(1_920));
        // Bands replicated at the rate that is there already.
        assert_eq!(frame_samples(&(0b00101_0100_0010_0100_00010_0_u32 << 9).to_be_bytes()), Some(1_024));
        assert_eq!(frame_samples(&[]), None);
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
        let (mut lost, mut last) = (0, -1_024);
        for frame in 0..100_000_i64 {
            // 1 % slow: each frame stands for 1,014 samples.
            let wire_ms = frame * 1_014_000 / 44_100;
            match clock.place(wire_ms) {
                Some(at) => {
                    assert!(at >= last + 1_024, "frame {frame}");
                    assert!((at * 10 / 441 - wire_ms).abs() <= OFF_MS_MAX + 1);
                    last = at;
                }
                None => lost += 1,
            }
        }
        assert!((900..1_050).contains(&lost), "{lost}");
    }
}
