//! JPEG, by FFmpeg's encoder: one picture, one file.

use ffmpeg_next::{Dictionary, Error, Packet, Rational, codec, color::Range, encoder, format::Pixel, frame::Video};
use millrace_media::Failure;

use crate::trouble;

/// The quantiser, 2 (best) to 31: a 720p poster of about 100 kB.
const QUANTISER: &str = "4";

/// A picture in full-range 4:2:0 as a JPEG file.
pub(super) fn encode(picture: &Video) -> Result<Vec<u8>, Failure> {
    let made = || {
        let codec = encoder::find(codec::Id::MJPEG).ok_or(Error::EncoderNotFound)?;
        let mut video = codec::Context::new_with_codec(codec).encoder().video()?;
        video.set_width(picture.width());
        video.set_height(picture.height());
        video.set_format(Pixel::YUVJ420P);
        video.set_color_range(Range::JPEG);
        video.set_time_base(Rational::new(1, 25));
        let mut settings = Dictionary::new();
        settings.set("qmin", QUANTISER);
        settings.set("qmax", QUANTISER);
        let mut encoder = video.open_as_with(codec, settings)?;
        let mut frame = crate::av::frame::share(picture)?;
        frame.set_pts(Some(0));
        encoder.send_frame(&frame)?;
        encoder.send_eof()?;
        let mut packet = Packet::empty();
        encoder.receive_packet(&mut packet)?;
        Ok(packet.data().unwrap_or_default().to_vec())
    };
    made().map_err(|error: Error| trouble::machine("write a JPEG", error))
}
