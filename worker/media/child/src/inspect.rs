//! The inspect job: what segments hold, frame by frame. Trusts nothing, and tells what is wrong rather than
//! failing: only passed limits and a broken program are failures.

use std::io::Cursor;

use ffmpeg_next::{Packet, Stream, format::context::Input, frame::Video, media};
use millrace_cmaf::{Codec, Track, h264, nal};
use millrace_media::{
    Failure, FailureKind,
    job::{Inspect, Inspection, Pair, Seen},
};

use crate::{
    av::{self, clip::Clip},
    trouble,
};

/// Two inspections side by side would only slow each other down; one uses what a small machine has.
const THREADS: u32 = 2;

/// Runs the job.
pub(crate) fn run(job: &Inspect) -> Result<Vec<Inspection>, Failure> {
    job.segments.iter().map(|pair| inspect(pair, job.decode_all)).collect()
}

fn inspect(pair: &Pair, decode_all: bool) -> Result<Inspection, Failure> {
    match look(pair, decode_all) {
        Ok(seen) => Ok(Inspection::Readable(seen)),
        Err(failure) if matches!(failure.kind, FailureKind::BadInput | FailureKind::Unsupported) => {
            Ok(Inspection::Unreadable { message: failure.message })
        }
        Err(failure) => Err(failure),
    }
}

fn look(pair: &Pair, decode_all: bool) -> Result<Seen, Failure> {
    let mut clip = Clip::read(pair)?;
    if !clip.header.video {
        return Err(trouble::bad_input("its track is no video"));
    }
    let mut input = av::input::open(Cursor::new(std::mem::take(&mut clip.bytes)), "mov", &[])?;
    let mut packets = packets(&mut input)?;
    let stream = video(&input)?;
    let track = av::track::video(&stream)?;
    let preroll = clip.trim(&mut packets)?;
    let own = &packets[preroll..];
    let pts = own.iter().map(Packet::pts).collect::<Option<Vec<_>>>();
    let mut pts = pts.ok_or_else(|| trouble::bad_input("a frame has no time"))?;
    pts.sort_unstable();
    // The first packet alone, and the end: the decoder gives out its picture at once.
    let needed = if decode_all || preroll > 0 { &packets[..] } else { &packets[..1] };
    let pictures = decode(&stream, needed, &pts, decode_all)?;
    let Some(first) = pictures.first else {
        return Err(trouble::bad_input("not one frame can be decoded"));
    };
    let picture = track.video().map(|video| millrace_cmaf::Video { width: first.width, height: first.height, ..video });
    let (width, height) = picture.map_or((0, 0), |picture| picture.display_size());
    Ok(Seen {
        codec: stream.parameters().id().name().to_owned(),
        codec_string: track.codec_string().map_err(|error| trouble::cmaf(&error))?,
        timescale: clip.header.timescale,
        key_first: first.key && first.pts == pts.first().copied() && starts_with_key(&track, own),
        pts,
        width,
        height,
        frames_decoded: pictures.frames,
        key_bytes: clip.fragment.key_bytes,
    })
}

fn packets(input: &mut Input) -> Result<Vec<Packet>, Failure> {
    let mut packets = Vec::new();
    while let Some(packet) = av::input::next_packet(input)? {
        packets.push(packet);
    }
    Ok(packets)
}

fn video(input: &Input) -> Result<Stream<'_>, Failure> {
    let mut streams = input.streams();
    match (streams.next(), streams.next()) {
        (Some(stream), None) if stream.parameters().medium() == media::Type::Video => Ok(stream),
        _ => Err(trouble::bad_input("it does not hold one video track alone")),
    }
}

/// Whether the first frame in decode order is one that decoding can start at. The container's word for it is
/// checked against the frame's own bytes where they tell.
fn starts_with_key(track: &Track, packets: &[Packet]) -> bool {
    let Some(first) = packets.first().filter(|packet| packet.is_key()) else { return false };
    let bytes = first.data().unwrap_or_default();
    match &track.codec {
        Codec::H264 { config, .. } => {
            let length_bytes = h264::length_bytes(config).unwrap_or(4);
            nal::prefixed(bytes, length_bytes).any(|unit| unit.first().is_some_and(|header| header & 0x1f == 5))
        }
        // IRAP pictures (ISO/IEC 23008-2, table 7-1); hvcC says the same of lengths as avcC in nearly all files.
        Codec::Hevc { .. } => nal::prefixed(bytes, 4)
            .any(|unit| unit.first().is_some_and(|header| (16..=21).contains(&(header >> 1 & 0x3f)))),
        // The decoder's word is enough.
        Codec::Av1 { .. } | Codec::Vp8 { .. } | Codec::Vp9 { .. } | Codec::InBand { .. } | Codec::Aac { .. } => true,
    }
}

/// The first picture that came out.
struct First {
    pts: Option<i64>,
    key: bool,
    width: u32,
    height: u32,
}

struct Pictures {
    first: Option<First>,
    frames: u32,
}

/// Decodes `packets` and looks at the pictures that are shown at one of `pts`: at all of them, or at the first that
/// comes out.
fn decode(stream: &Stream, packets: &[Packet], pts: &[i64], all: bool) -> Result<Pictures, Failure> {
    let threads = if packets.len() > 1 { THREADS } else { 1 };
    let mut decoder = av::decode::Decoder::open(stream, threads)?;
    let mut pictures = Pictures { first: None, frames: 0 };
    let take = |pictures: &mut Pictures, frame: Video| {
        let own = frame.timestamp().is_some_and(|at| pts.binary_search(&at).is_ok());
        if !own || !all && pictures.first.is_some() {
            return Ok(());
        }
        pictures.frames += 1;
        pictures.first.get_or_insert_with(|| First {
            pts: frame.timestamp(),
            key: frame.is_key(),
            width: frame.width(),
            height: frame.height(),
        });
        Ok(())
    };
    for packet in packets.iter().map(Some).chain([None]) {
        decoder.feed(packet, |frame| take(&mut pictures, frame))?;
        if !all && pictures.first.is_some() {
            break;
        }
    }
    Ok(pictures)
}
