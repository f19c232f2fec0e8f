//! Turns 8-bit 4:2:0 pictures upright.

use ffmpeg_next::{format::Pixel, frame::Video};
use millrace_media::Failure;

use crate::{av, trouble};

/// Turns `picture` (YUV 4:2:0, 8-bit, even sides) clockwise by 90, 180 or 270 degrees.
pub(super) fn rotate(picture: &Video, clockwise_deg: u16) -> Result<Video, Failure> {
    let (width, height) = (picture.width(), picture.height());
    let (width, height) = if clockwise_deg == 180 { (width, height) } else { (height, width) };
    let mut turned =
        av::frame::picture(Pixel::YUV420P, width, height).map_err(|error| trouble::machine("turn a picture", error))?;
    for plane in 0..3 {
        let from = Plane {
            stride: picture.stride(plane),
            width: picture.plane_width(plane) as usize,
            height: picture.plane_height(plane) as usize,
        };
        let stride = turned.stride(plane);
        turn(picture.data(plane), from, turned.data_mut(plane), stride, clockwise_deg);
    }
    Ok(turned)
}

/// Where a plane's bytes are.
#[derive(Clone, Copy)]
struct Plane {
    stride: usize,
    width: usize,
    height: usize,
}

fn turn(from: &[u8], plane: Plane, to: &mut [u8], to_stride: usize, clockwise_deg: u16) {
    let Plane { stride, width, height } = plane;
    for y in 0..height {
        let row = &from[y * stride..][..width];
        match clockwise_deg {
            90 => row.iter().enumerate().for_each(|(x, byte)| to[x * to_stride + height - 1 - y] = *byte),
            270 => row.iter().enumerate().for_each(|(x, byte)| to[(width - 1 - x) * to_stride + y] = *byte),
            _ => {
                let turned = &mut to[(height - 1 - y) * to_stride..][..width];
                turned.iter_mut().rev().zip(row).for_each(|(to, from)| *to = *from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_go_where_a_clock_hand_takes_them() {
        // 1 2 3
        // 4 5 6, with a byte of padding behind each row.
        let from = [1, 2, 3, 0, 4, 5, 6, 0];
        let plane = Plane { stride: 4, width: 3, height: 2 };
        let turned = |deg, stride, bytes| {
            let mut to = vec![0; bytes];
            turn(&from, plane, &mut to, stride, deg);
            to
        };
        assert_eq!(turned(90, 2, 6), [4, 1, 5, 2, 6, 3]);
        assert_eq!(turned(180, 3, 6), [6, 5, 4, 3, 2, 1]);
        assert_eq!(turned(270, 2, 6), [3, 6, 2, 5, 1, 4]);
    }
}
