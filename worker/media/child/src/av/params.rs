//! What FFmpeg knows of a stream or an encoder, read out of its structures.
#![allow(unsafe_code)]

use bytes::Bytes;
use ffmpeg_next::{ChannelLayout, codec::Parameters, color::TransferCharacteristic, ffi, format::Pixel, media};

/// Fields of `AVCodecParameters` that the safe API does not show.
#[derive(Debug, Clone)]
pub(crate) struct Params {
    /// Out-of-band configuration: `avcC`, `AudioSpecificConfig`, Annex B headers, or nothing.
    pub(crate) extradata: Bytes,
    /// Width in pixels; 0 for sound.
    pub(crate) width: u32,
    /// Height in pixels; 0 for sound.
    pub(crate) height: u32,
    /// Pixel aspect ratio; (0, 1) if unknown.
    pub(crate) pixel_aspect: (i32, i32),
    /// The container's name of the codec; zeros if it has none.
    pub(crate) tag: [u8; 4],
    /// The codec's own numbers; -99 if unknown.
    pub(crate) profile: i32,
    pub(crate) level: i32,
    /// The pictures' form, as far as the headers tell; none for sound.
    pub(crate) format: Pixel,
    /// The headers say that pictures are interlaced.
    pub(crate) is_interlaced: bool,
    /// ITU-T H.273 numbers.
    pub(crate) color_primaries: u8,
    pub(crate) color_transfer: u8,
    pub(crate) color_matrix: u8,
    pub(crate) full_range: bool,
    /// The same as `color_transfer`.
    pub(crate) transfer: TransferCharacteristic,
    /// Samples per second; 0 for pictures.
    pub(crate) sample_rate: u32,
    /// Channels; 0 for pictures.
    pub(crate) channels: u16,
}

/// Reads the fields.
pub(crate) fn read(parameters: &Parameters) -> Params {
    // SAFETY: `Parameters` keeps its AVCodecParameters, or the format context that owns it, alive while it
    // lives, and nothing writes to it meanwhile: this program drives one format context from one thread.
    let raw = unsafe { &*parameters.as_ptr() };
    let extradata = if raw.extradata.is_null() || raw.extradata_size <= 0 {
        Bytes::new()
    } else {
        // SAFETY: FFmpeg keeps `extradata_size` bytes there, and padding behind them.
        Bytes::copy_from_slice(unsafe { std::slice::from_raw_parts(raw.extradata, raw.extradata_size as usize) })
    };
    Params {
        extradata,
        width: u32::try_from(raw.width).unwrap_or(0),
        height: u32::try_from(raw.height).unwrap_or(0),
        pixel_aspect: (raw.sample_aspect_ratio.num, raw.sample_aspect_ratio.den),
        tag: raw.codec_tag.to_le_bytes(),
        profile: raw.profile,
        level: raw.level,
        format: pixel(parameters.medium(), raw.format),
        is_interlaced: !matches!(
            raw.field_order,
            ffi::AVFieldOrder::AV_FIELD_UNKNOWN | ffi::AVFieldOrder::AV_FIELD_PROGRESSIVE
        ),
        color_primaries: raw.color_primaries as u8,
        color_transfer: raw.color_trc as u8,
        color_matrix: raw.color_space as u8,
        full_range: raw.color_range == ffi::AVColorRange::AVCOL_RANGE_JPEG,
        transfer: raw.color_trc.into(),
        sample_rate: u32::try_from(raw.sample_rate).unwrap_or(0),
        channels: u16::try_from(raw.channels).unwrap_or(0),
    }
}

/// The form of pictures by FFmpeg's number.
fn pixel(medium: media::Type, format: i32) -> Pixel {
    if medium != media::Type::Video {
        return Pixel::None;
    }
    // SAFETY: for pictures FFmpeg gives numbers of its own list of formats alone, -1 among them, and this program is
    // built with the headers of the library that it runs with.
    unsafe { std::mem::transmute::<i32, ffi::AVPixelFormat>(format) }.into()
}

/// The channel layout, or the default one for the number of channels.
pub(crate) fn layout(told: ChannelLayout, channels: u16) -> ChannelLayout {
    if told.is_empty() { ChannelLayout::default(i32::from(channels)) } else { told }
}
