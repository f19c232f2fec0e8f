//! Opening our own segments without a look at their streams: FFmpeg would decode the first pictures to learn what the header
//! says already, which takes longer than decoding the one that is wanted.
#![allow(unsafe_code)]

use std::{io::Cursor, ptr};

use ffmpeg_next::{
    Dictionary, Error, error, ffi,
    format::context::{Input, StreamIo},
};
use millrace_media::Failure;

use super::input::{READ_BYTES, settings};
use crate::trouble;

/// Opens a header and the segments behind it. Of the streams it is known what the header says: no picture format, and not
/// how many pictures come late; [`super::decode::Decoder::open_unprobed`] does without.
pub(crate) fn open(cmaf: Vec<u8>) -> Result<Input, Failure> {
    StreamIo::from_read_seek_with_capacity(Cursor::new(cmaf), READ_BYTES)
        .and_then(|io| wrap(io, settings("mov", &[])))
        .map_err(|error| trouble::input("open it as a video file", error))
}

fn wrap(mut io: StreamIo, settings: Dictionary<'_>) -> Result<Input, Error> {
    // SAFETY: the context is new and our own; it reads through `io`, which outlives it: it is dropped after it here where
    // opening fails, and else by the `Input`. avformat_open_input frees the context where it fails, and leaves in
    // `settings` a dictionary that is ours to free.
    unsafe {
        let mut context = ffi::avformat_alloc_context();
        if context.is_null() {
            return Err(Error::Other { errno: error::ENOMEM });
        }
        (*context).pb = io.as_mut_ptr();
        (*context).flags |= ffi::AVFMT_FLAG_CUSTOM_IO;
        let mut settings = settings.disown();
        let opened = ffi::avformat_open_input(&raw mut context, ptr::null(), ptr::null_mut(), &raw mut settings);
        drop(Dictionary::own(settings));
        if opened < 0 { Err(Error::from(opened)) } else { Ok(Input::wrap_with_custom_io(context, io)) }
    }
}
