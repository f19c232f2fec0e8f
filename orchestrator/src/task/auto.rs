//! The ladder that `auto` makes of a source: sizes from its picture, rate caps from how hard its pictures are, kept
//! within what is usual. Pure: the same source gets the same ladder.
//!
//! A cap is what the first segment's pictures took at a constant quality, scaled to the rung's size and with room for
//! harder ones to come:
//!
//! > cap = 1.5 x gauged bitrate x (rung's pixels / gauged pixels) ^ 0.75
//!
//! The exponent is Ben Waggoner's "power of 0.75" rule: larger pictures take fewer bits a pixel. No cap is above what
//! the source has, by the same rule, nor above or far below Apple's table.

use millrace_media::job::Gauged;
use millrace_proto::profile::{Preset, Rung, VideoCodec};

/// Shorter sides that rungs have, largest first.
const SIDES_PX: [u32; 7] = [2_160, 1_440, 1_080, 720, 480, 360, 240];

/// For each: what is usual and what is plenty, bits per second of H.264 (HLS Authoring Specification for Apple Devices,
/// table of average bit rates for 16:9, at the nearest size; above 1080 lines by the 0.75 rule).
const USUAL_BPS: [(u64, u64); 7] = [
    (17_000_000, 22_000_000),
    (9_200_000, 12_000_000),
    (6_000_000, 7_800_000),
    (3_000_000, 4_500_000),
    (1_600_000, 2_000_000),
    (730_000, 1_100_000),
    (365_000, 550_000),
];

/// The least of what is usual that any source gets: a quarter.
const USUAL_SHARE_MIN: u64 = 4;
/// Rungs of one ladder.
const RUNGS_MAX: usize = 5;
/// A rung must take at most this share of the one above, in percent: one that saves less is no choice.
const STEP_PERCENT_MAX: u64 = 75;
/// More frames per second than this are many: they get half as many bits again ...
const FRAMES_PER_S_MANY: f64 = 40.0;
/// ... and only every second one of them on rungs with fewer lines than this.
const HALVED_BELOW_PX: u32 = 480;
/// Bitrates are told in steps of this.
const STEP_BPS: u64 = 10_000;
/// What every rung may take, bits per second; the profile's own bounds.
const BPS_MIN: u64 = 50_000;
/// Smallest rung of a source that is smaller than all sizes.
const SIDE_PX_MIN: u32 = 64;

/// What is known of a source from its first segment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Source {
    /// The upright picture in square pixels.
    pub display: (u32, u32),
    /// Frames per second.
    pub frames_per_s: f64,
    /// Bits per second of its video.
    pub bitrate_bps: u64,
}

/// The ladder, largest first. Without a gauge, caps are what is usual.
pub fn ladder(source: &Source, gauged: Option<&Gauged>) -> Vec<Rung> {
    let short = source.display.0.min(source.display.1);
    let mut fitting: Vec<usize> = (0..SIDES_PX.len()).filter(|at| SIDES_PX[*at] <= short).collect();
    if fitting.len() > RUNGS_MAX && fitting[0] == 0 {
        // Between 2160 and 1080 lines there is one step enough.
        fitting.remove(1);
    }
    fitting.truncate(RUNGS_MAX);
    if fitting.is_empty() {
        let side = short.max(SIDE_PX_MIN);
        return vec![rung(source, side, cap_bps(source, gauged, side, SIDES_PX.len() - 1))];
    }
    let mut rungs: Vec<Rung> = Vec::new();
    let mut above_bps = u64::MAX;
    for at in fitting {
        let cap_bps = cap_bps(source, gauged, SIDES_PX[at], at);
        if above_bps == u64::MAX || cap_bps * 100 <= above_bps * STEP_PERCENT_MAX {
            rungs.push(rung(source, SIDES_PX[at], cap_bps));
            above_bps = cap_bps;
        }
    }
    rungs
}

fn rung(source: &Source, side: u32, cap_bps: u64) -> Rung {
    let is_halved = source.frames_per_s > FRAMES_PER_S_MANY && side < HALVED_BELOW_PX;
    Rung {
        name: format!("{side}p"),
        short_side_px: side,
        codec: VideoCodec::H264,
        crf: Some(VideoCodec::H264.crf()),
        bitrate_bps_max: Some(cap_bps),
        bitrate_bps: None,
        preset: Preset::default(),
        profile: None,
        fps_divisor: if is_halved { 2 } else { 1 },
    }
}

fn cap_bps(source: &Source, gauged: Option<&Gauged>, side: u32, usual: usize) -> u64 {
    let (width, height) = (f64::from(source.display.0), f64::from(source.display.1));
    let shrunk = f64::from(side) / width.min(height).max(1.0);
    let pixels = width * height * shrunk * shrunk;
    let many = source.frames_per_s > FRAMES_PER_S_MANY;
    // Half of many frames are few again.
    let busier = if many && side >= HALVED_BELOW_PX { 1.5 } else { 1.0 };
    let share = if many && side < HALVED_BELOW_PX { 0.75 } else { 1.0 };
    let (usual, plenty) = USUAL_BPS[usual];
    let (usual, plenty) = (usual as f64 * busier, plenty as f64 * busier);
    let Some(gauged) = gauged else { return stepped(usual) };
    let scaled = |bps: u64, of: f64| 1.5 * bps as f64 * (pixels / of.max(1.0)).powf(0.75) * share;
    let wanted = scaled(gauged.bitrate_bps, gauged.pixels.into());
    let there = scaled(source.bitrate_bps, width * height);
    // A source that says nothing of its bitrate does not bound anything.
    let wanted = if source.bitrate_bps == 0 { wanted } else { wanted.min(there) };
    stepped(wanted.clamp(usual / USUAL_SHARE_MIN as f64, plenty))
}

fn stepped(bps: f64) -> u64 {
    ((bps as u64).div_ceil(STEP_BPS) * STEP_BPS).max(BPS_MIN)
}

#[cfg(test)]
mod tests {
    use millrace_proto::profile::{Choice, Profile};
    use proptest::prelude::*;

    use super::*;

    fn source(width: u32, height: u32, frames_per_s: f64, bitrate_bps: u64) -> Source {
        Source { display: (width, height), frames_per_s, bitrate_bps }
    }

    fn told(ladder: &[Rung]) -> Vec<(u32, u64, u8)> {
        ladder
            .iter()
            .map(|rung| (rung.short_side_px, rung.bitrate_bps_max.unwrap() / 1_000, rung.fps_divisor))
            .collect()
    }

    fn gauged(bitrate_bps: u64) -> Gauged {
        Gauged { pixels: 640 * 360, bitrate_bps, frames_per_s: 30.0 }
    }

    #[test]
    fn without_a_gauge_the_table_is_taken() {
        let hd = source(1_920, 1_080, 30.0, 8_000_000);
        let usual = [(1_080, 6_000, 1), (720, 3_000, 1), (480, 1_600, 1), (360, 730, 1), (240, 370, 1)];
        assert_eq!(told(&ladder(&hd, None)), usual);
        assert_eq!(
            told(&ladder(&source(406, 720, 30.0, 0), None)),
            [(360, 730, 1), (240, 370, 1)],
            "by the short side"
        );
        assert_eq!(told(&ladder(&source(3_840, 2_160, 30.0, 0), None)).len(), RUNGS_MAX);
        assert_eq!(told(&ladder(&source(160, 120, 30.0, 0), None)), [(120, 370, 1)], "smaller than all sizes");
        let sports = told(&ladder(&source(1_280, 720, 59.94, 0), None));
        assert_eq!(sports, [(720, 4_500, 1), (480, 2_400, 1), (360, 730, 2), (240, 370, 2)]);
    }

    #[test]
    fn easy_pictures_get_less_and_hard_ones_more() {
        let hd = source(1_920, 1_080, 30.0, 20_000_000);
        let caps = |bps| told(&ladder(&hd, Some(&gauged(bps))));
        // 1.5 x 400 kbit/s, and 9 ^ 0.75 = 5.2 times that for nine times the pixels.
        assert_eq!(caps(400_000), [(1_080, 3_120, 1), (720, 1_700, 1), (480, 930, 1), (360, 600, 1), (240, 330, 1)]);
        assert_eq!(caps(10_000)[0], (1_080, 1_500, 1), "a quarter of what is usual at least");
        assert_eq!(caps(9_000_000)[0], (1_080, 7_800, 1), "no more than plenty");
        let poor = source(1_920, 1_080, 30.0, 1_500_000);
        let capped = told(&ladder(&poor, Some(&gauged(9_000_000))));
        assert_eq!(capped[0], (1_080, 2_250, 1), "not more than the source has");
    }

    proptest! {
        #[test]
        fn every_source_gets_a_ladder_that_passes_the_profiles_check(
            width in 1u32..9_000, height in 1u32..9_000, frames_per_s in 0.1f64..300.0, bitrate_bps in 0u64..1 << 32,
            gauge in proptest::option::of((1u32..300_000, 0u64..1 << 32)),
        ) {
            let source = source(width, height, frames_per_s, bitrate_bps);
            let gauged = gauge.map(|(pixels, bitrate_bps)| Gauged { pixels, bitrate_bps, frames_per_s });
            let ladder = ladder(&source, gauged.as_ref());
            prop_assert!((1..=RUNGS_MAX).contains(&ladder.len()));
            let falls = |pair: &[Rung]| {
                pair[0].short_side_px > pair[1].short_side_px && pair[0].bitrate_bps_max > pair[1].bitrate_bps_max
            };
            prop_assert!(ladder.windows(2).all(falls), "{:?}", ladder);
            let profile = Choice::default().resolve().unwrap();
            let checked = Profile { ladder, ..profile }.check();
            prop_assert!(checked.is_ok(), "{:?}", checked);
        }
    }
}
