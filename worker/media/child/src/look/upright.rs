//! A decoded picture as models want it: red, green and blue, upright, and no larger than is of use to them.

use ffmpeg_next::{
    color::{Range, Space},
    frame::Video,
};
use millrace_media::Failure;

use crate::{av, transcode::Colour, trouble};

/// The longer side of what is looked at, in pixels: models see far less of it.
const SIDE_MAX: u32 = 1_920;
/// Where the matrix is not told, pictures above this are taken for high definition, as players do.
const SD_HEIGHT_MAX: u32 = 576;

/// Its size and its pixels, row by row.
pub(crate) fn pixels(frame: &mut Video, rotation_deg: u16) -> Result<(usize, usize, Vec<u8>), Failure> {
    let colour = Colour::take(frame);
    let matrix = match colour.matrix {
        Space::Unspecified if frame.height() > SD_HEIGHT_MAX => Space::BT709,
        other => other,
    };
    let (width, height) = bounded(frame.width(), frame.height());
    let rgb = av::rgb::convert(frame, (width, height), matrix, colour.range == Range::JPEG)
        .map_err(|error| trouble::input("show a picture's colours", error))?;
    let row_bytes = width as usize * 3;
    let rows = rgb.data(0).chunks(rgb.stride(0)).take(height as usize);
    let mut packed = Vec::with_capacity(row_bytes * height as usize);
    for row in rows {
        packed.extend_from_slice(&row[..row_bytes]);
    }
    Ok(turned(packed, width as usize, height as usize, rotation_deg))
}

/// A size of the same shape within [`SIDE_MAX`].
pub(crate) fn bounded(width: u32, height: u32) -> (u32, u32) {
    let longer = width.max(height);
    if longer <= SIDE_MAX {
        return (width, height);
    }
    let side = |length: u32| (u64::from(length) * u64::from(SIDE_MAX) / u64::from(longer)).max(1) as u32;
    (side(width), side(height))
}

/// Turned clockwise.
fn turned(rgb: Vec<u8>, width: usize, height: usize, rotation_deg: u16) -> (usize, usize, Vec<u8>) {
    let from = |row: usize, column: usize| (row * width + column) * 3;
    let (to_width, to_height) = if rotation_deg % 180 == 90 { (height, width) } else { (width, height) };
    let place: &dyn Fn(usize, usize) -> usize = match rotation_deg {
        90 => &|row, column| from(height - 1 - column, row),
        180 => &|row, column| from(height - 1 - row, width - 1 - column),
        270 => &|row, column| from(column, width - 1 - row),
        _ => return (width, height, rgb),
    };
    let mut turned = Vec::with_capacity(rgb.len());
    for row in 0..to_height {
        for column in 0..to_width {
            turned.extend_from_slice(&rgb[place(row, column)..][..3]);
        }
    }
    (to_width, to_height, turned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_their_shape() {
        assert_eq!(bounded(1_920, 1_080), (1_920, 1_080));
        assert_eq!(bounded(7_680, 4_320), (1_920, 1_080));
        assert_eq!(bounded(30, 35_000_000), (1, 1_920));
    }

    #[test]
    fn pictures_are_turned() {
        // 1 2 3 above 4 5 6.
        let rgb: Vec<u8> = (1..=6).flat_map(|pixel| [pixel; 3]).collect();
        let turn = |rotation_deg| {
            let (width, height, rgb) = turned(rgb.clone(), 3, 2, rotation_deg);
            (width, height, rgb.chunks(3).map(|pixel| pixel[0]).collect::<Vec<_>>())
        };
        assert_eq!(turn(0), (3, 2, vec![1, 2, 3, 4, 5, 6]));
        assert_eq!(turn(90), (2, 3, vec![4, 1, 5, 2, 6, 3]));
        assert_eq!(turn(180), (3, 2, vec![6, 5, 4, 3, 2, 1]));
        assert_eq!(turn(270), (2, 3, vec![3, 6, 2, 5, 1, 4]));
    }
}
