//! Pictures and sound buffers: allocation that tells when it fails, and cheap second references.
#![allow(unsafe_code)]

use ffmpeg_next::{
    ChannelLayout, Error, ffi,
    format::{Pixel, Sample},
    frame::{Audio, Video},
};

/// A picture with room for its planes, at FFmpeg's own alignment.
pub(crate) fn picture(format: Pixel, width: u32, height: u32) -> Result<Video, Error> {
    let mut frame = Video::empty();
    frame.set_format(format);
    frame.set_width(width);
    frame.set_height(height);
    // SAFETY: the frame is our own, its format and size are set and it has no buffers yet, as
    // av_frame_get_buffer asks; 0 lets it choose the alignment.
    match unsafe { ffi::av_frame_get_buffer(frame.as_mut_ptr(), 0) } {
        0 => Ok(frame),
        error => Err(Error::from(error)),
    }
}

/// Sound with room for `samples` per channel.
pub(crate) fn sound(format: Sample, samples: usize, layout: ChannelLayout) -> Result<Audio, Error> {
    let mut frame = Audio::empty();
    frame.set_format(format);
    frame.set_samples(samples);
    frame.set_channel_layout(layout);
    // SAFETY: as above, with format, number of samples and layout set.
    match unsafe { ffi::av_frame_get_buffer(frame.as_mut_ptr(), 0) } {
        0 => Ok(frame),
        error => Err(Error::from(error)),
    }
}

/// A second frame on the same planes, with times and type of its own.
pub(crate) fn share(frame: &Video) -> Result<Video, Error> {
    let mut second = Video::empty();
    // SAFETY: `second` is empty and our own; `frame` is only read, its buffers are reference-counted with
    // atomic counts, and nobody writes to the planes of a shared picture (`share` takes it immutably, and
    // mutable plane access needs an unshared `Video`).
    match unsafe { ffi::av_frame_ref(second.as_mut_ptr(), frame.as_ptr()) } {
        0 => Ok(second),
        error => Err(Error::from(error)),
    }
}
