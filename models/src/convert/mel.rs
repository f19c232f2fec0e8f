//! The filters that turn a spectrum into Whisper's 80 bands: triangles on Slaney's mel scale, each of the same area
//! (as librosa's `filters.mel` makes them, which Whisper was trained with).

const RATE_HZ: f64 = 16_000.0;
/// Of the transform.
const LENGTH: usize = 400;

pub(super) const BANDS: usize = 80;
pub(super) const BINS: usize = LENGTH / 2 + 1;

/// Slaney's scale: linear up to 1 kHz, which is 15 mel, then a step of ln(6.4) / 27 each.
const LINEAR_HZ: f64 = 1_000.0;
const LINEAR_MEL: f64 = 15.0;

fn step() -> f64 {
    6.4_f64.ln() / 27.0
}

fn to_mel(hz: f64) -> f64 {
    if hz < LINEAR_HZ { hz * 3.0 / 200.0 } else { LINEAR_MEL + (hz / LINEAR_HZ).ln() / step() }
}

fn to_hz(mel: f64) -> f64 {
    if mel < LINEAR_MEL { mel * 200.0 / 3.0 } else { LINEAR_HZ * (step() * (mel - LINEAR_MEL)).exp() }
}

/// Row by row, a band each.
pub(super) fn filters() -> Vec<f32> {
    let (low, high) = (to_mel(0.0), to_mel(RATE_HZ / 2.0));
    let width = (high - low) / (BANDS + 1) as f64;
    let corner = |number: usize| to_hz(if number == BANDS + 1 { high } else { low + number as f64 * width });
    let mut filters = Vec::with_capacity(BANDS * BINS);
    for band in 0..BANDS {
        let [from, top, to] = [band, band + 1, band + 2].map(corner);
        let area = 2.0 / (to - from);
        for bin in 0..BINS {
            let hz = bin as f64 / (LENGTH as f64 / RATE_HZ);
            let height = f64::min((hz - from) / (top - from), (to - hz) / (to - top));
            // Never minus zero, which would be other bytes.
            filters.push(if height > 0.0 { (height * area) as f32 } else { 0.0 });
        }
    }
    filters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_band_is_a_triangle_of_area_one() {
        let filters = filters();
        // Low bands are narrower than a bin; beyond them the sum times a bin's width is the area.
        for band in filters.chunks(BINS).skip(40) {
            let area: f64 = band.iter().map(|height| f64::from(*height)).sum::<f64>() * RATE_HZ / LENGTH as f64;
            assert!((area - 1.0).abs() < 0.08, "{area}");
        }
        assert!((to_hz(to_mel(440.0)) - 440.0).abs() < 1e-9 && (to_hz(to_mel(4_000.0)) - 4_000.0).abs() < 1e-9);
    }
}
