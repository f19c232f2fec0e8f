//! Scales pictures as models were trained on: each new pixel is the mean of the old ones below it, weighed by a triangle
//! that is as wide as the scale wants it. Pillow's `BILINEAR` is the same to the last bit, rounding of weights included.
//! Pure.

/// Weights are whole numbers of so many bits behind the point.
const BITS: u32 = 22;

/// The old pixels of a new one along one side, and their weights.
struct Weights {
    first: usize,
    weights: Vec<i32>,
}

/// A picture of another size.
pub(crate) fn resize(rgb: &[u8], (width, height): (usize, usize), (to_width, to_height): (usize, usize)) -> Vec<u8> {
    let wide = if width == to_width { rgb.to_vec() } else { across(rgb, width, height, to_width) };
    if height == to_height { wide } else { down(&wide, to_width, height, to_height) }
}

fn across(rgb: &[u8], width: usize, height: usize, to: usize) -> Vec<u8> {
    let weights = weights(width, to);
    let mut scaled = Vec::with_capacity(to * height * 3);
    for row in rgb.chunks_exact(width * 3) {
        for Weights { first, weights } in &weights {
            let mut sums = [1 << (BITS - 1); 3];
            for (pixel, weight) in row[first * 3..].chunks_exact(3).zip(weights) {
                for (sum, number) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(*number) * weight;
                }
            }
            scaled.extend(sums.map(rounded));
        }
    }
    scaled
}

fn down(rgb: &[u8], width: usize, height: usize, to: usize) -> Vec<u8> {
    let mut scaled = Vec::with_capacity(width * to * 3);
    let mut sums = vec![0; width * 3];
    for Weights { first, weights } in weights(height, to) {
        sums.fill(1 << (BITS - 1));
        for (row, weight) in rgb.chunks_exact(width * 3).skip(first).zip(&weights) {
            for (sum, number) in sums.iter_mut().zip(row) {
                *sum += i32::from(*number) * weight;
            }
        }
        scaled.extend(sums.iter().copied().map(rounded));
    }
    scaled
}

fn rounded(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

fn weights(from: usize, to: usize) -> Vec<Weights> {
    let scale = from as f64 / to as f64;
    let reach = scale.max(1.0);
    let along = |at: usize| {
        let middle = (at as f64 + 0.5) * scale;
        let first = (middle - reach + 0.5).max(0.0) as usize;
        let last = ((middle + reach + 0.5) as usize).min(from);
        let weigh = |pixel: usize| (1.0 - ((pixel as f64 + 0.5 - middle) / reach).abs()).max(0.0);
        let raw: Vec<f64> = (first..last).map(weigh).collect();
        let sum: f64 = raw.iter().sum();
        let weights = raw.iter().map(|weight| (weight / sum * f64::from(1 << BITS)).round() as i32).collect();
        Weights { first, weights }
    };
    (0..to).map(along).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_colour_stays_and_the_same_size_is_the_same() {
        let grey = vec![77; 9 * 5 * 3];
        assert_eq!(resize(&grey, (9, 5), (4, 8)), vec![77; 4 * 8 * 3]);
        let picture: Vec<u8> = (0..9 * 5 * 3).map(|number| (number * 7 % 256) as u8).collect();
        assert_eq!(resize(&picture, (9, 5), (9, 5)), picture);
    }

    /// `Image.fromarray(a).resize((3, 2), Image.BILINEAR)` of Pillow 13, `a` as here.
    #[test]
    fn numbers_are_pillows() {
        let picture: Vec<u8> = (0..7 * 5 * 3).map(|number| (number * number * 31 % 251) as u8).collect();
        let known = [68, 121, 122, 69, 150, 155, 112, 133, 131, 128, 120, 113, 80, 103, 122, 120, 107, 159];
        assert_eq!(resize(&picture, (7, 5), (3, 2)), known);
    }
}
