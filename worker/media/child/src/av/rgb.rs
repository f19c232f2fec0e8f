//! Pictures as red, green and blue, full range, whatever they were.
#![allow(unsafe_code)]

use ffmpeg_next::{Error, color::Space, ffi, format::Pixel, frame::Video, software::scaling};

/// One in 16.16, for brightness, contrast and saturation.
const ONE: i32 = 1 << 16;

/// A picture of `matrix` and range in packed 8-bit RGB, of that size.
pub(crate) fn convert(picture: &Video, (width, height): (u32, u32), matrix: Space, full: bool) -> Result<Video, Error> {
    let flags = scaling::Flags::BILINEAR
        | scaling::Flags::ACCURATE_RND
        | scaling::Flags::FULL_CHR_H_INT
        | scaling::Flags::BITEXACT;
    let (from_width, from_height) = (picture.width(), picture.height());
    let mut context =
        scaling::Context::get(picture.format(), from_width, from_height, Pixel::RGB24, width, height, flags)?;
    // SAFETY: the context is our own and was just made; the tables that sws_getCoefficients returns are constants of
    // the library, for any number asked for, and are copied.
    let set = unsafe {
        let from = ffi::sws_getCoefficients(ffi::AVColorSpace::from(matrix) as i32);
        let to = ffi::sws_getCoefficients(ffi::AVColorSpace::AVCOL_SPC_SMPTE170M as i32);
        ffi::sws_setColorspaceDetails(context.as_mut_ptr(), from, i32::from(full), to, 1, 0, ONE, ONE)
    };
    // What is RGB already has no matrix to set.
    if set < 0 && !matches!(picture.format(), Pixel::RGB24 | Pixel::GBRP) {
        return Err(Error::InvalidData);
    }
    let mut converted = super::frame::picture(Pixel::RGB24, width, height)?;
    context.run(picture, &mut converted)?;
    Ok(converted)
}
