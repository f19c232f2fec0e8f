//! Pictures, and how models want them: scaled, their colours in some order, their numbers shifted. Pure.

/// A picture in memory.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// Red, green and blue of each pixel, row by row.
    pub rgb: &'a [u8],
}

/// A place in a picture, in parts of its width and height.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Where it begins, from the left.
    pub x: f32,
    /// Where it begins, from the top.
    pub y: f32,
    /// How wide it is.
    pub width: f32,
    /// How high it is.
    pub height: f32,
}

/// How a model wants a picture: each number is 0 to 255, less `mean`, over `deviation`.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Its name among what goes in.
    pub name: String,
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// Blue stands first, not red.
    pub bgr: bool,
    /// Three planes, not pixel by pixel.
    pub planes: bool,
    /// In the order of the colours.
    pub mean: [f32; 3],
    /// In the order of the colours.
    pub deviation: [f32; 3],
}

impl Input {
    /// The numbers of a picture that has the right size.
    pub(crate) fn numbers(&self, rgb: &[u8]) -> Vec<f32> {
        let places = if self.bgr { [2, 1, 0] } else { [0, 1, 2] };
        let number = |pixel: &[u8], at: usize| (f32::from(pixel[places[at]]) - self.mean[at]) / self.deviation[at];
        let pixels = rgb.chunks_exact(3);
        if self.planes {
            (0..3).flat_map(|at| pixels.clone().map(move |pixel| number(pixel, at))).collect()
        } else {
            let mut numbers = Vec::with_capacity(rgb.len());
            for pixel in pixels {
                numbers.extend([number(pixel, 0), number(pixel, 1), number(pixel, 2)]);
            }
            numbers
        }
    }

    /// Of those numbers.
    pub(crate) fn shape(&self) -> [usize; 4] {
        if self.planes { [1, 3, self.height, self.width] } else { [1, self.height, self.width, 3] }
    }
}

impl Picture<'_> {
    /// It has as many numbers as its size says, and shows something.
    pub(crate) fn is_whole(&self) -> bool {
        let numbers = self.width.checked_mul(self.height).and_then(|pixels| pixels.checked_mul(3));
        self.width > 0 && self.height > 0 && numbers == Some(self.rgb.len())
    }

    /// What stands in a place, as a picture of its own; at least one pixel.
    pub(crate) fn cut(&self, place: &Place) -> (usize, usize, Vec<u8>) {
        let along = |start: f32, length: f32, all: usize| {
            let from = ((start * all as f32).round().max(0.0) as usize).min(all - 1);
            let to = (((start + length) * all as f32).round().max(0.0) as usize).clamp(from + 1, all);
            from..to
        };
        let (columns, rows) = (along(place.x, place.width, self.width), along(place.y, place.height, self.height));
        let row = |row: usize| &self.rgb[(row * self.width + columns.start) * 3..(row * self.width + columns.end) * 3];
        let mut cut = Vec::with_capacity(columns.len() * rows.len() * 3);
        for at in rows.clone() {
            cut.extend_from_slice(row(at));
        }
        (columns.len(), rows.len(), cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(bgr: bool, planes: bool) -> Input {
        let (mean, deviation) = ([1.0, 2.0, 3.0], [1.0, 1.0, 2.0]);
        Input { name: "x".into(), width: 2, height: 1, bgr, planes, mean, deviation }
    }

    #[test]
    fn numbers_stand_as_the_model_wants_them() {
        let rgb = [10, 20, 30, 40, 50, 60];
        assert_eq!(input(false, false).numbers(&rgb), [9.0, 18.0, 13.5, 39.0, 48.0, 28.5]);
        assert_eq!(input(true, false).numbers(&rgb), [29.0, 18.0, 3.5, 59.0, 48.0, 18.5]);
        assert_eq!(input(false, true).numbers(&rgb), [9.0, 39.0, 18.0, 48.0, 13.5, 28.5]);
        assert_eq!((input(false, false).shape(), input(false, true).shape()), ([1, 1, 2, 3], [1, 3, 1, 2]));
    }

    #[test]
    fn a_place_is_cut_out_and_never_empty() {
        let rgb: Vec<u8> = (0..4 * 2 * 3).collect();
        let picture = Picture { width: 4, height: 2, rgb: &rgb };
        let cut = |x, y, width, height| picture.cut(&Place { x, y, width, height });
        assert_eq!(cut(0.5, 0.0, 0.5, 1.0), (2, 2, [&rgb[6..12], &rgb[18..24]].concat()));
        assert_eq!(cut(1.0, 1.0, 0.0, 0.0), (1, 1, rgb[21..24].to_vec()));
        assert_eq!(cut(-3.0, -3.0, 9.0, 9.0).2, rgb);
    }
}
