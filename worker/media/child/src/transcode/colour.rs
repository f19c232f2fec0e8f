//! What a picture's numbers mean as colours: carried from the source to the renditions.

use ffmpeg_next::{
    color::{Primaries, Range, Space, TransferCharacteristic},
    format::Pixel,
    frame::Video,
};

/// Range, primaries, transfer and matrix (ITU-T H.273).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Colour {
    pub(crate) range: Range,
    pub(crate) primaries: Primaries,
    pub(crate) transfer: TransferCharacteristic,
    pub(crate) matrix: Space,
}

impl Default for Colour {
    fn default() -> Self {
        Self {
            range: Range::Unspecified,
            primaries: Primaries::Unspecified,
            transfer: TransferCharacteristic::Unspecified,
            matrix: Space::Unspecified,
        }
    }
}

impl Colour {
    /// Reads a decoded picture's colours. Formats that imply full range become their plain twins, so that
    /// scaling keeps the numbers as they are.
    pub(crate) fn take(frame: &mut Video) -> Self {
        let mut colour = Self {
            range: frame.color_range(),
            primaries: frame.color_primaries(),
            transfer: frame.color_transfer_characteristic(),
            matrix: frame.color_space(),
        };
        let plain = match frame.format() {
            Pixel::YUVJ420P => Some(Pixel::YUV420P),
            Pixel::YUVJ422P => Some(Pixel::YUV422P),
            Pixel::YUVJ440P => Some(Pixel::YUV440P),
            Pixel::YUVJ444P => Some(Pixel::YUV444P),
            _ => None,
        };
        if let Some(plain) = plain {
            frame.set_format(plain);
            colour.range = Range::JPEG;
        }
        if colour.matrix == Space::RGB {
            // What the scaler makes of red, green and blue.
            colour.matrix = Space::SMPTE170M;
            colour.range = Range::MPEG;
        }
        colour
    }
}
