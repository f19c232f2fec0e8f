//! What a picture is like after it was a JPEG: the loss alone, without the file. Models that were trained on JPEGs score
//! pictures that never were one differently. Pure.
//!
//! As most programs write JPEGs (ITU-T T.81; JFIF 1.02 for the colours): quality 75 of the Independent JPEG Group's scale,
//! colours at half of the size, smoothed when they are read. To the last bit what their library makes, since a score may
//! hang on it: one picture came to 0.44, and to 0.49 where some numbers were rounded otherwise.

/// Sides of a block, and of one in the halved colours.
const SIDE: usize = 8;
const BLOCK: usize = SIDE * SIDE;

/// T.81, tables K.1 and K.2, at quality 75: halved, rounded up.
const LUMA: [u8; BLOCK] = [
    8, 6, 5, 8, 12, 20, 26, 31, 6, 6, 7, 10, 13, 29, 30, 28, 7, 7, 8, 12, 20, 29, 35, 28, 7, 9, 11, 15, 26, 44, 40, 31,
    9, 11, 19, 28, 34, 55, 52, 39, 12, 18, 28, 32, 41, 52, 57, 46, 25, 32, 39, 44, 52, 61, 60, 51, 36, 46, 48, 49, 56,
    50, 52, 50,
];
const CHROMA: [u8; BLOCK] = [
    9, 9, 12, 24, 50, 50, 50, 50, 9, 11, 13, 33, 50, 50, 50, 50, 12, 13, 28, 50, 50, 50, 50, 50, 24, 33, 50, 50, 50,
    50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50,
    50, 50, 50, 50, 50, 50,
];

/// Parts of a colour in 16.16.
const fn part(value: f64) -> i32 {
    (value * 65_536.0 + 0.5) as i32
}

const HALF: i32 = 1 << 15;

/// The picture after it was a JPEG; both sides are multiples of 16.
pub(crate) fn round_trip(rgb: &[u8], width: usize, height: usize) -> Vec<u8> {
    let mut planes: [Vec<u8>; 3] = std::array::from_fn(|_| Vec::with_capacity(width * height));
    for pixel in rgb.chunks_exact(3) {
        let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(i32::from);
        let luma = part(0.299) * r + part(0.587) * g + part(0.114) * b + HALF;
        let centre = (128 << 16) + HALF - 1;
        let blue = part(0.5) * b - part(0.168_735_892) * r - part(0.331_264_108) * g + centre;
        let red = part(0.5) * r - part(0.418_687_589) * g - part(0.081_312_411) * b + centre;
        for (plane, number) in planes.iter_mut().zip([luma, blue, red]) {
            plane.push((number >> 16) as u8);
        }
    }
    let [mut luma, blue, red] = planes;
    quantise(&mut luma, width, &LUMA);
    let [blue, red] = [blue, red].map(|plane| {
        let mut half = halve(&plane, width);
        quantise(&mut half, width / 2, &CHROMA);
        double(&half, width / 2)
    });
    let mut back = Vec::with_capacity(rgb.len());
    for ((luma, blue), red) in luma.iter().zip(&blue).zip(&red) {
        let (luma, blue, red) = (i32::from(*luma), i32::from(*blue) - 128, i32::from(*red) - 128);
        let green = HALF - part(0.344_136_286) * blue - part(0.714_136_286) * red;
        let shades = [(part(1.402) * red + HALF) >> 16, green >> 16, (part(1.772) * blue + HALF) >> 16];
        back.extend(shades.map(|shade| (luma + shade).clamp(0, 255) as u8));
    }
    back
}

/// Each number is the mean of four; ties go up and down in turns.
fn halve(plane: &[u8], width: usize) -> Vec<u8> {
    let mut half = Vec::with_capacity(plane.len() / 4);
    for rows in plane.chunks_exact(width * 2) {
        let (upper, lower) = rows.split_at(width);
        for (at, (above, below)) in upper.chunks_exact(2).zip(lower.chunks_exact(2)).enumerate() {
            let sum: u16 = above.iter().chain(below).map(|number| u16::from(*number)).sum();
            half.push(((sum + 1 + (at as u16 & 1)) >> 2) as u8);
        }
    }
    half
}

/// Twice the size: each number leans to its nearest neighbours, three parts to one.
fn double(plane: &[u8], width: usize) -> Vec<u8> {
    let height = plane.len() / width;
    let row = |at: usize| &plane[at * width..][..width];
    let mut doubled = Vec::with_capacity(plane.len() * 4);
    for at in 0..height {
        for other in [at.saturating_sub(1), (at + 1).min(height - 1)] {
            let sums: Vec<u16> =
                row(at).iter().zip(row(other)).map(|(near, far)| u16::from(*near) * 3 + u16::from(*far)).collect();
            for (column, sum) in sums.iter().enumerate() {
                let left = sums[column.saturating_sub(1)];
                let right = sums[(column + 1).min(width - 1)];
                doubled.push(((sum * 3 + left + 8) >> 4) as u8);
                doubled.push(((sum * 3 + right + 7) >> 4) as u8);
            }
        }
    }
    doubled
}

/// The waves of the cosine transform, one a row, in 13 bits behind the point. The last digits are those of the transform
/// with the fewest multiplications (Loeffler, Ligtenberg and Moschytz, 1989), written out: with these, sums are the same.
const WAVES: [i32; BLOCK] = [
    8192, 8192, 8192, 8192, 8192, 8192, 8192, 8192, 11363, 9633, 6437, 2260, -2260, -6437, -9633, -11363, 10703, 4433,
    -4433, -10703, -10703, -4433, 4433, 10703, 9633, -2259, -11362, -6436, 6436, 11362, 2259, -9633, 8192, -8192,
    -8192, 8192, 8192, -8192, -8192, 8192, 6437, -11362, 2261, 9633, -9633, -2261, 11362, -6437, 4433, -10704, 10704,
    -4433, -4433, 10704, -10704, 4433, 2260, -6436, 9633, -11363, 11363, -9633, 6436, -2260,
];

/// Bits behind the point that go: after the first pass two are kept, after the second none, and backwards what the
/// transform has grown by too.
const FIRST: u32 = 13 - 2;
const SECOND: u32 = 13 + 2;
const BACK: u32 = 13 + 2 + 3;

/// Takes each block apart into waves, rounds each wave to a multiple of its step, and puts it together again.
fn quantise(plane: &mut [u8], width: usize, steps: &[u8; BLOCK]) {
    let back = transposed(&WAVES);
    for top in (0..plane.len() / width).step_by(SIDE) {
        for left in (0..width).step_by(SIDE) {
            let place = |at: usize| (top + at / SIDE) * width + left + at % SIDE;
            let block: [i32; BLOCK] = std::array::from_fn(|at| i32::from(plane[place(at)]) - 128);
            let rows = product(&WAVES, &transposed(&block), FIRST);
            let mut waves = product(&WAVES, &transposed(&rows), SECOND);
            for (wave, step) in waves.iter_mut().zip(steps) {
                // Waves are eight times as large as their steps say.
                let (step, whole) = (i32::from(*step), i32::from(*step) * 8);
                *wave = (wave.abs() + whole / 2) / whole * step * wave.signum();
            }
            let columns = product(&back, &waves, FIRST);
            let pixels = transposed(&product(&back, &transposed(&columns), BACK));
            for (at, number) in pixels.iter().enumerate() {
                plane[place(at)] = (number + 128).clamp(0, 255) as u8;
            }
        }
    }
}

/// The product of both, rounded, without its last `bits`.
fn product(a: &[i32; BLOCK], b: &[i32; BLOCK], bits: u32) -> [i32; BLOCK] {
    let mut product = [1 << (bits - 1); BLOCK];
    for (to, from) in product.chunks_exact_mut(SIDE).zip(a.chunks_exact(SIDE)) {
        for (factor, row) in from.iter().zip(b.chunks_exact(SIDE)) {
            for (sum, number) in to.iter_mut().zip(row) {
                *sum += factor * number;
            }
        }
    }
    product.map(|sum| sum >> bits)
}

fn transposed(block: &[i32; BLOCK]) -> [i32; BLOCK] {
    std::array::from_fn(|at| block[at % SIDE * SIDE + at / SIDE])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_colour_stays_and_noise_does_not() {
        let grey = vec![128; 16 * 16 * 3];
        assert_eq!(round_trip(&grey, 16, 16), grey);
        let noise: Vec<u8> = (0_u32..32 * 16 * 3).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let back = round_trip(&noise, 32, 16);
        assert_eq!(back.len(), noise.len());
        assert_ne!(back, noise);
    }

    #[test]
    fn waves_are_cosines() {
        for (at, wave) in WAVES.iter().enumerate() {
            let (row, place) = ((at / SIDE) as f64, (at % SIDE) as f64);
            let size = if at < SIDE { 1.0 } else { 2_f64.sqrt() };
            let cosine = size * ((2.0 * place + 1.0) * row * std::f64::consts::PI / 16.0).cos() * 8_192.0;
            assert!((cosine - f64::from(*wave)).abs() < 2.5, "{at}: {wave} and not {cosine}");
        }
    }

    /// The sum of what Pillow 13 (libjpeg-turbo 3) makes of the picture, each byte times its place modulo 251.
    #[test]
    fn numbers_are_those_of_the_library() {
        let picture: Vec<u8> = (0_u32..32 * 16 * 3).map(|at| ((at * at / 7 + at * 13) % 253) as u8).collect();
        let back = round_trip(&picture, 32, 16);
        let sum: u64 = back.iter().enumerate().map(|(at, byte)| (at as u64 % 251) * u64::from(*byte)).sum();
        assert_eq!(sum, 24_062_542);
    }
}
