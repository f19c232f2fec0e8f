//! A JPEG or PNG as red, green and blue, upright, on white where it is transparent, and no larger than is of use to a model.
//! Only FFmpeg's decoders of these two are opened, and nothing is taken that is not all there.

use ffmpeg_next::{
    Dictionary, Error, Packet,
    codec::{self, Id},
    decoder, error,
    format::Pixel,
    frame::{Video, side_data},
    software::scaling,
};
use millrace_media::{Failure, FailureKind, Kind, PIXELS_MAX};

use crate::{av, look::upright, trouble};

/// Its size and its pixels, row by row.
pub(super) fn pixels(bytes: &[u8]) -> Result<(usize, usize, Vec<u8>), Failure> {
    let kind = Kind::of(bytes).ok_or_else(|| trouble::bad_input("it is neither JPEG nor PNG"))?;
    if kind == Kind::Jpeg && !is_whole(bytes) {
        return Err(trouble::bad_input("it breaks off: a JPEG ends with a mark of its end"));
    }
    let mut frame = decode(bytes, if kind == Kind::Jpeg { Id::MJPEG } else { Id::PNG })?;
    if kind == Kind::Png {
        return on_white(&frame);
    }
    let matrix = frame.side_data(side_data::Type::DisplayMatrix).map(|data| data.data().to_vec());
    let rotation_deg = matrix.map_or(0, |matrix| av::input::matrix_deg(&matrix));
    upright::pixels(&mut frame, rotation_deg)
}

/// Whether a JPEG's last scan (`FF DA`) is followed by the mark of the end (`FF D9`); neither occurs in a scan's own bytes.
/// The decoder makes up what is missing. A preview in its header is before the scan and has an end of its own.
fn is_whole(bytes: &[u8]) -> bool {
    let last = |mark: u8| bytes.windows(2).rposition(|pair| pair == [0xff, mark]);
    match (last(0xda), last(0xd9)) {
        (Some(scan), Some(end)) => end > scan,
        _ => false,
    }
}

fn decode(bytes: &[u8], id: Id) -> Result<Video, Failure> {
    let (mut decoder, mut frame) = (open(id)?, Video::empty());
    let failed = |error: Error| {
        let failure = trouble::input("read it", error);
        // What is larger than `max_pixels` is an invalid argument to FFmpeg.
        if matches!(error, Error::Other { errno: error::EINVAL }) && failure.kind == FailureKind::BadInput {
            let mpx = PIXELS_MAX / 1_000_000;
            return trouble::bad_input(format!("it can't be read, or it has more than {mpx} million pixels"));
        }
        failure
    };
    decoder.send_packet(&Packet::copy(bytes)).map_err(failed)?;
    decoder.send_eof().map_err(failed)?;
    decoder.receive_frame(&mut frame).map_err(failed)?;
    Ok(frame)
}

fn open(id: Id) -> Result<decoder::Video, Failure> {
    let open = || {
        let codec = decoder::find(id).ok_or(Error::DecoderNotFound)?;
        let mut settings = Dictionary::new();
        settings.set("max_pixels", &PIXELS_MAX.to_string());
        // What is broken is refused, not mended.
        settings.set("err_detect", "explode");
        settings.set("threads", "1");
        codec::Context::new_with_codec(codec).decoder().open_as_with(codec, settings)?.video()
    };
    open().map_err(|error| trouble::input("open a decoder for it", error))
}

/// Of any of the PNG decoder's forms; grey and palettes too, with more bits or fewer.
fn on_white(frame: &Video) -> Result<(usize, usize, Vec<u8>), Failure> {
    let (width, height) = upright::bounded(frame.width(), frame.height());
    let flags = scaling::Flags::BILINEAR | scaling::Flags::ACCURATE_RND | scaling::Flags::BITEXACT;
    let convert = || {
        let (from, size) = (frame.format(), (frame.width(), frame.height()));
        let mut context = scaling::Context::get(from, size.0, size.1, Pixel::RGBA, width, height, flags)?;
        let mut converted = av::frame::picture(Pixel::RGBA, width, height)?;
        context.run(frame, &mut converted)?;
        Ok(converted)
    };
    let rgba = convert().map_err(|error: Error| trouble::input("show its colours", error))?;
    let row_bytes = width as usize * 4;
    let rows = rgba.data(0).chunks(rgba.stride(0)).take(height as usize);
    let blended = rows.flat_map(|row| row[..row_bytes].chunks_exact(4)).flat_map(|pixel| over_white(pixel, pixel[3]));
    Ok((width as usize, height as usize, blended.collect()))
}

fn over_white(rgb: &[u8], opacity: u8) -> [u8; 3] {
    let opacity = u16::from(opacity);
    let blend = |colour: u8| ((u16::from(colour) * opacity + 255 * (255 - opacity) + 127) / 255) as u8;
    [blend(rgb[0]), blend(rgb[1]), blend(rgb[2])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_transparent_stands_on_white() {
        assert_eq!(over_white(&[10, 20, 30], 255), [10, 20, 30]);
        assert_eq!(over_white(&[10, 20, 30], 0), [255; 3]);
        assert_eq!(over_white(&[0, 255, 100], 128), [127, 255, 177]);
    }

    #[test]
    fn a_jpeg_without_its_end_is_not_whole() {
        let preview = [0xff, 0xd8, 0xff, 0xda, 1, 0xff, 0xd9];
        let scan = [0xff, 0xda, 1, 2, 3];
        assert!(is_whole(&[&preview[..], &scan, &[0xff, 0xd9]].concat()));
        assert!(is_whole(&[&preview[..], &scan, &[0xff, 0xd9, 0, 0]].concat()));
        assert!(!is_whole(&[&preview[..], &scan].concat()) && !is_whole(b"\xff\xd8\xff"));
    }
}
