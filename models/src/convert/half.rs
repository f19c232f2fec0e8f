//! Numbers of half precision.

/// A number of half precision (IEEE 754 binary16) in single precision, exactly.
pub(super) fn single_of(half: u16) -> f32 {
    let (sign, exponent, fraction) = (half >> 15, (half >> 10) & 0x1f, half & 0x3ff);
    let size = match exponent {
        0 => f32::from(fraction) * 2_f32.powi(-24),
        0x1f if fraction == 0 => f32::INFINITY,
        0x1f => f32::NAN,
        _ => (f32::from(fraction) + 1_024.0) * 2_f32.powi(i32::from(exponent) - 25),
    };
    if sign == 1 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_become_singles_exactly() {
        let pairs = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65_504.0),
            (0x0001, 5.960_464_5e-8),
            (0x3555, 0.333_251_95),
        ];
        for (half, single) in pairs {
            assert_eq!(single_of(half).to_bits(), f32::to_bits(single), "{half:04x}");
        }
        assert!(single_of(0x7c00).is_infinite() && single_of(0x7e00).is_nan());
    }
}
