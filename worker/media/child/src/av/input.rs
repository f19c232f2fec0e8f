//! Opening what strangers sent. An input can never make FFmpeg open something else: it is read from memory or
//! from one open file, and only plain containers are tried, no playlists.

use std::io::{Read, Seek};

use ffmpeg_next::{
    Dictionary, Error, Packet, Rational, Stream,
    codec::packet::side_data,
    format::{self, context::Input, context::StreamIo},
};
use millrace_media::{Failure, FailureKind};

use crate::trouble;

/// Bytes read at once.
pub(super) const READ_BYTES: usize = 256 << 10;

/// Broken packets in a row that are skipped; FFmpeg finds its way again or it does not.
const BROKEN_PACKETS_MAX: u32 = 1_000;

/// Opens `from` as one of `formats` (FFmpeg's names, separated by commas) and looks at its streams.
pub(crate) fn open(
    from: impl Read + Seek + Send + 'static,
    formats: &str,
    options: &[(&str, &str)],
) -> Result<Input, Failure> {
    StreamIo::from_read_seek_with_capacity(from, READ_BYTES)
        .and_then(|io| format::input_from_stream(io, None, Some(settings(formats, options))))
        .map_err(|error| trouble::input("open it as a video file", error))
}

/// Opens a transport stream that can't be read twice, and looks at its streams.
pub(crate) fn open_stream(from: impl Read + Send + 'static, options: &[(&str, &str)]) -> Result<Input, Failure> {
    StreamIo::from_read_with_capacity(from, READ_BYTES)
        .and_then(|io| format::input_from_stream(io, None, Some(settings("mpegts", options))))
        .map_err(|error| trouble::input("open it as a transport stream", error))
}

/// For an input that is one of `formats` and opens nothing else.
pub(super) fn settings(formats: &str, options: &[(&str, &str)]) -> Dictionary<'static> {
    let mut settings = Dictionary::new();
    settings.set("format_whitelist", formats);
    settings.set("protocol_whitelist", "file");
    for (name, value) in options {
        settings.set(name, value);
    }
    settings
}

/// The next packet; nothing at the end. Broken packets are skipped, and where nothing more can be read is the
/// end: what came before it stands.
pub(crate) fn next_packet(input: &mut Input) -> Result<Option<Packet>, Failure> {
    let mut broken = 0;
    loop {
        let mut packet = Packet::empty();
        match packet.read(input) {
            Ok(()) => return Ok(Some(packet)),
            Err(Error::Eof) => return Ok(None),
            Err(Error::InvalidData) if broken < BROKEN_PACKETS_MAX => broken += 1,
            Err(error) => {
                let failure = trouble::input("read it to its end", error);
                if failure.kind == FailureKind::Limit {
                    return Err(failure);
                }
                eprintln!("{failure}");
                return Ok(None);
            }
        }
    }
}

/// Clockwise turn that shows the stream upright: 0, 90, 180 or 270 degrees; other angles count as the next of
/// these, since nothing here turns by less.
pub(crate) fn rotation_deg(stream: &Stream) -> u16 {
    let matrix = stream.side_data().find(|data| data.kind() == side_data::Type::DisplayMatrix);
    matrix.map_or(0, |matrix| matrix_deg(matrix.data()))
}

/// The same of a matrix as FFmpeg has it (libavutil/display.h).
pub(crate) fn matrix_deg(matrix: &[u8]) -> u16 {
    let words = matrix.chunks_exact(4).map(|word| i32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    let numbers: Vec<i32> = words.collect();
    // The first two numbers are where the x axis goes: cosine and sine of a clockwise turn, in 16.16.
    match numbers[..] {
        [a, b, ..] if a != 0 || b != 0 => {
            let quarters = (f64::from(b).atan2(f64::from(a)) / std::f64::consts::FRAC_PI_2).round();
            (quarters.rem_euclid(4.0) as u16 % 4) * 90
        }
        _ => 0,
    }
}

/// Ticks per second, and by how many each of FFmpeg's ticks counts: a time base of k/N becomes N ticks per
/// second and times multiplied by k, so that no time is rounded.
pub(crate) fn timescale(base: Rational) -> Option<(u32, i64)> {
    let (ticks, per_tick) = (base.denominator(), base.numerator());
    Some((u32::try_from(ticks).ok().filter(|ticks| *ticks > 0)?, i64::from(per_tick)))
        .filter(|(_, per_tick)| *per_tick > 0)
}
