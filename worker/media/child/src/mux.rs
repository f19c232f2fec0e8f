//! The mux job: renditions and their sound, as CMAF segments, into MPEG transport streams. Copies what is coded.
//!
//! Each file stands alone: it begins with its tables and a keyframe's parameter sets. It can be put behind another one,
//! since its first packets say that their counters begin anew.

use std::{fs::File, io::Cursor, path::Path};

use ffmpeg_next::{
    Dictionary, Error, Packet, Rational, Rescale,
    codec::Parameters,
    format::{
        self,
        context::{Output, StreamIo},
    },
};
use millrace_media::{
    Failure,
    job::{Mux, Pair},
};

use crate::{
    av::{self, clip::read_file},
    trouble,
};

/// Ticks of transport streams (ISO/IEC 13818-1, 2.4.3.7).
const TICKS: Rational = Rational(1, 90_000);

/// Their times count in 33 bits.
const WRAP: i64 = 1 << 33;

/// How far decoders' clock runs behind the times of decoding, in microseconds: what FFmpeg's own tools leave.
const DELAY_US: i64 = 700_000;

/// Runs the job.
pub(crate) fn run(job: &Mux) -> Result<(), Failure> {
    let sound = read(&job.audio, job.audio_start)?;
    if job.videos.is_empty() {
        return write(&job.out.join(Mux::file(0)), &[sound]);
    }
    for (number, pairs) in job.videos.iter().enumerate() {
        let pictures = read(pairs, job.video_start)?;
        let tracks = [pictures, sound.clone()];
        let there = if job.audio.is_empty() { &tracks[..1] } else { &tracks[..] };
        write(&job.out.join(Mux::file(number)), there)?;
    }
    Ok(())
}

/// A run of segments that share a header.
#[derive(Clone)]
struct Part {
    parameters: Parameters,
    /// In decode order, times in [`TICKS`].
    packets: Vec<Packet>,
}

/// One track: usually one part.
type Track = Vec<Part>;

/// Reads one track's segments, moved so that the first presentation time is `start`.
fn read(pairs: &[Pair], start: Option<i64>) -> Result<Track, Failure> {
    let (mut track, mut header): (Track, Vec<u8>) = (Vec::new(), Vec::new());
    let (mut move_by, mut last) = (None, i64::MIN);
    for pair in pairs {
        let init = read_file(&pair.init)?;
        let bytes = [&init[..], &read_file(&pair.segment)?].concat();
        let mut input = av::input::open(Cursor::new(bytes), "mov", &[])?;
        let mut packets = Vec::new();
        while let Some(packet) = av::input::next_packet(&mut input)? {
            packets.push(packet);
        }
        let stream = input.stream(0).ok_or_else(|| trouble::bad_input("a segment has no track"))?;
        let first = packets.iter().filter_map(Packet::pts).min();
        let move_by = *move_by.get_or_insert_with(|| start.zip(first).map_or(0, |(start, first)| start - first));
        for packet in &mut packets {
            let ticks = |time: Option<i64>| time.map(|time| (time + move_by).rescale(stream.time_base(), TICKS));
            let pts = ticks(packet.pts()).ok_or_else(|| trouble::bad_input("a frame has no time"))?;
            // Finer ticks than ours may fall together.
            last = ticks(packet.dts()).unwrap_or(pts).max(last.saturating_add(1));
            packet.set_dts(Some(last));
            packet.set_pts(Some(pts.max(last)));
        }
        if header != init || track.is_empty() {
            header = init;
            track.push(Part { parameters: stream.parameters(), packets: Vec::new() });
        }
        if let Some(part) = track.last_mut() {
            part.packets.append(&mut packets);
        }
    }
    Ok(track)
}

/// Writes tracks into one file. Where one has further parts, transport streams of their own stand behind the first.
fn write(path: &Path, tracks: &[Track]) -> Result<(), Failure> {
    let file = File::create(path).map_err(|error| trouble::file("write", path, &error))?;
    let parts = tracks.iter().map(Vec::len).max().unwrap_or(0);
    for at in 0..parts {
        let there: Vec<&Part> = tracks.iter().filter_map(|track| track.get(at)).collect();
        let to = file.try_clone().map_err(|error| trouble::file("write", path, &error))?;
        stream(to, &there).map_err(|error| trouble::machine("write a transport stream", error))?;
    }
    Ok(())
}

fn stream(to: File, parts: &[&Part]) -> Result<(), Error> {
    let mut output = format::output_to_stream(StreamIo::from_write(to)?, None, Some("mpegts"))?;
    for part in parts {
        let mut stream = output.add_stream(ffmpeg_next::codec::Id::None)?;
        stream.set_parameters(part.parameters.clone());
        stream.set_time_base(TICKS);
    }
    begin(&mut output)?;
    let mut packets: Vec<(i64, usize, &Packet)> = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        packets.extend(part.packets.iter().filter_map(|packet| Some((packet.dts()?, at, packet))));
    }
    packets.sort_by_key(|(dts, at, _)| (*dts, *at));
    // Clocks before zero can't be written; a whole turn later they are the same.
    let first = packets.first().map_or(0, |(dts, ..)| *dts);
    let turn = if first < DELAY_US.rescale((1, 1_000_000), TICKS) { WRAP } else { 0 };
    for (dts, at, packet) in packets {
        let mut packet = packet.clone();
        packet.set_stream(at);
        packet.set_dts(Some(dts + turn));
        packet.set_pts(packet.pts().map(|pts| pts + turn));
        packet.set_position(-1);
        packet.write_interleaved(&mut output)?;
    }
    output.write_trailer()
}

fn begin(output: &mut Output) -> Result<(), Error> {
    let mut settings = Dictionary::new();
    settings.set("max_delay", &DELAY_US.to_string());
    settings.set("avoid_negative_ts", "disabled");
    settings.set("mpegts_copyts", "1");
    settings.set("mpegts_flags", "+resend_headers+initial_discontinuity");
    let unknown = output.write_header_with(settings)?;
    if unknown.iter().next().is_some() { Err(Error::OptionNotFound) } else { Ok(()) }
}
