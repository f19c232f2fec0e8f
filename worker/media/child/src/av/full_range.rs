//! Pictures as JPEG wants them: full range, and the colour matrix of ITU-R BT.601 (JFIF 1.02), whatever they were.
#![allow(unsafe_code)]

use ffmpeg_next::{Error, color::Space, ffi, format::Pixel, frame::Video, software::scaling};

/// One in 16.16, for brightness, contrast and saturation.
const ONE: i32 = 1 << 16;

/// A picture in 8-bit 4:2:0 of `matrix` and range as JPEG wants it, of the same size.
pub(crate) fn convert(picture: &Video, matrix: Space, full: bool) -> Result<Video, Error> {
    let (width, height) = (picture.width(), picture.height());
    let flags = scaling::Flags::BICUBIC | scaling::Flags::ACCURATE_RND;
    let mut context = scaling::Context::get(picture.format(), width, height, Pixel::YUVJ420P, width, height, flags)?;
    // SAFETY: the context is our own and was just made; the tables that sws_getCoefficients returns are constants of
    // the library, for any number asked for, and are copied.
    let set = unsafe {
        let from = ffi::sws_getCoefficients(ffi::AVColorSpace::from(matrix) as i32);
        let to = ffi::sws_getCoefficients(ffi::AVColorSpace::AVCOL_SPC_SMPTE170M as i32);
        ffi::sws_setColorspaceDetails(context.as_mut_ptr(), from, i32::from(full), to, 1, 0, ONE, ONE)
    };
    if set < 0 {
        return Err(Error::InvalidData);
    }
    let mut converted = super::frame::picture(Pixel::YUVJ420P, width, height)?;
    context.run(picture, &mut converted)?;
    Ok(converted)
}
