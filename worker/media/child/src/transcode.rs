//! The transcode job: one segment in, decoded once, every rendition out, every frame at its source's time.

mod card;
mod colour;
mod condition;
mod encode;
mod ladder;
mod path;
mod rotate;
mod scale;
mod timeline;

use std::{fs, io::Cursor, path::Path, sync::Arc};

use ffmpeg_next::{Packet, format::context::Input, frame::Video, media};
use millrace_cmaf::{Track, read};
use millrace_media::{
    Failure,
    job::{Made, Transcode, Transcoded},
};
use millrace_proto::task::{Part, Target, output_name};

pub(crate) use card::Card;
pub(crate) use colour::Colour;
pub(crate) use encode::{Encoded, Encoder, card_encoder_name, name as encoder_name};
pub(crate) use scale::Scaler;

use crate::{
    av::{self, clip::Clip, device::Device},
    trouble,
};
use condition::Conditioner;
use ladder::{Ladder, Picture};
use timeline::Timeline;

/// Largest side of a rendition, in pixels.
const SIDE_PX_MAX: u32 = 8_192;

/// What is the same for all renditions of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Common {
    /// Ticks per second, of the source and so of all renditions.
    pub(crate) timescale: u32,
    /// Frames per second, roughly; chooses the codec's level.
    pub(crate) frames_per_s: u32,
    /// How many times more that is than there really are: encoders that count time in frames are to be given so
    /// many times more bits per second.
    pub(crate) rate_scale: f64,
    /// Frames of the segment.
    pub(crate) frames: usize,
    /// Clockwise turn that shows the source upright.
    pub(crate) rotation_deg: u16,
    /// What the source's colours mean.
    pub(crate) colour: colour::Colour,
    /// Threads to use at most.
    pub(crate) threads: u32,
}

/// Runs the job, with the card that was opened for it.
pub(crate) fn run(job: &Transcode, device: Option<Device>) -> Result<Transcoded, Failure> {
    check(&job.targets)?;
    let clip = Clip::read(&job.source)?;
    let (header, fragment) = (clip.header, clip.fragment);
    let end = fragment.end(header);
    let mut source = Source::open(clip)?;
    let card = device.zip(job.card.as_ref()).map(|(device, used)| Card { device, able: used.able.clone() });
    let (card, card_unused) = match card.map(|card| source.way(&job.targets, card)) {
        None => (None, None),
        Some(Ok(card)) => (Some(card), None),
        Some(Err(why)) => (None, Some(why)),
    };
    let done = encode_all(&mut source, header, end, &job.targets, job.threads, card.as_ref());
    let (encoded, frames_concealed) = if card.is_some() { done.map_err(card::blame)? } else { done? };
    let renditions = job
        .targets
        .iter()
        .zip(encoded)
        .map(|(target, Encoded { track, samples })| {
            let media = millrace_cmaf::segment(&track, fragment.sequence, &samples, end)
                .map_err(|error| trouble::cmaf(&error))?;
            write_file(&job.out.join(output_name(&target.name, Part::Init)), &init_of(&track)?)?;
            write_file(&job.out.join(output_name(&target.name, Part::Segment)), &media)?;
            let codec = track.codec_string().map_err(|error| trouble::cmaf(&error))?;
            Ok(Made { name: target.name.clone(), codec, frames: samples.len() as u32 })
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    Ok(Transcoded { renditions, frames_concealed, card_unused })
}

/// What the first frames of a segment came to.
pub(crate) struct Taken {
    pub(crate) frames: usize,
    /// Of all renditions.
    pub(crate) bytes: u64,
    /// How long the frames are shown.
    pub(crate) seconds: f64,
}

/// Encodes the first frames of a segment, so many at most.
pub(crate) fn first_frames(clip: Clip, frames_max: usize, targets: &[Target], threads: u32) -> Result<Taken, Failure> {
    let header = clip.header;
    let mut source = Source::open(clip)?;
    let end = source.keep(frames_max)?;
    let (frames, seconds) = (source.timeline.frames(), source.timeline.ticks(end) as f64 / f64::from(header.timescale));
    let (encoded, _) = encode_all(&mut source, header, end, targets, threads, None)?;
    let bytes = encoded.iter().flat_map(|one| &one.samples).map(|sample| sample.data.len() as u64).sum();
    Ok(Taken { frames, bytes, seconds })
}

fn check(targets: &[Target]) -> Result<(), Failure> {
    let wrong = |why: &str, target: &Target| trouble::unsupported(format!("the rendition {:?} {why}", target.name));
    for target in targets {
        let name = target.name.as_bytes();
        if name.is_empty() || !name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-') {
            return Err(wrong("can't name a file", target));
        }
        for side in [target.width, target.height] {
            if side == 0 || side % 2 != 0 || side > SIDE_PX_MAX {
                return Err(wrong("has a side that is not even, or not 2 to 8192 pixels", target));
            }
        }
    }
    if targets.is_empty() { Err(trouble::unsupported("no rendition is asked for")) } else { Ok(()) }
}

/// A CMAF segment that FFmpeg has opened, all of its packets read, with those before that it refers to.
struct Source {
    input: Input,
    stream: usize,
    packets: Vec<Packet>,
    /// Packets that stand before the segment's own.
    preroll: usize,
    timeline: Timeline,
}

impl Source {
    fn open(mut clip: Clip) -> Result<Self, Failure> {
        let mut input = av::input::open(Cursor::new(std::mem::take(&mut clip.bytes)), "mov", &[])?;
        let best = input.streams().best(media::Type::Video);
        let stream = best.ok_or_else(|| trouble::bad_input("the segment has no video track"))?.index();
        let mut packets = Vec::new();
        while let Some(packet) = av::input::next_packet(&mut input)? {
            if packet.stream() == stream {
                packets.push(packet);
            }
        }
        let preroll = clip.trim(&mut packets)?;
        let times = packets[preroll..].iter().map(Packet::pts).collect::<Option<Vec<_>>>();
        let times = times.ok_or_else(|| trouble::bad_input("a frame of the segment has no time"))?;
        Ok(Self { timeline: Timeline::new(times)?, input, stream, packets, preroll })
    }

    /// The card, if it is the way for this source; otherwise why not.
    fn way(&self, targets: &[Target], card: Card) -> Result<Card, String> {
        let stream = self.input.stream(self.stream).ok_or("the track is gone")?;
        let params = av::params::read(&stream.parameters());
        let facts = path::Facts {
            codec: stream.parameters().id(),
            width: params.width,
            height: params.height,
            format: params.format,
            is_interlaced: params.is_interlaced,
            transfer: params.transfer,
            rotation_deg: av::input::rotation_deg(&stream),
        };
        path::choose(&facts, targets, &card.able).map(|()| card)
    }

    /// Forgets all but the segment's first frames in decode order. Returns when the last of them ends, as far as
    /// frames of one length do.
    fn keep(&mut self, frames_max: usize) -> Result<i64, Failure> {
        self.packets.truncate(self.preroll + frames_max.max(1));
        let times: Vec<i64> = self.packets[self.preroll..].iter().filter_map(Packet::pts).collect();
        let (first, last) = (times.iter().min().copied(), times.iter().max().copied());
        let steps = times.len() as i64 - 1;
        self.timeline = Timeline::new(times)?;
        let (first, last) = (first.unwrap_or(0), last.unwrap_or(0));
        Ok(last + if steps > 0 { (last - first) / steps } else { 0 })
    }
}

/// Decodes the source and encodes it into every target; also the number of frames that were concealed.
fn encode_all(
    source: &mut Source,
    header: read::Header,
    end: i64,
    targets: &[Target],
    threads: u32,
    card: Option<&Card>,
) -> Result<(Vec<Encoded>, u32), Failure> {
    let stream = source.input.stream(source.stream).ok_or_else(|| trouble::bad_input("the track is gone"))?;
    let mut decoder = match card {
        Some(card) => av::decode::Decoder::open_on(&card.device, &stream)?,
        None => av::decode::Decoder::open(&stream, threads)?,
    };
    let params = av::params::read(&stream.parameters());
    let (frames_per_s, rate_scale) = source.timeline.frames_per_s(header.timescale, end);
    let common = Common {
        timescale: header.timescale,
        frames_per_s,
        rate_scale,
        frames: source.timeline.frames(),
        rotation_deg: av::input::rotation_deg(&stream),
        colour: colour::Colour::default(),
        threads: threads.max(1),
    };
    let timeline = &mut source.timeline;
    let mut line = Line::new(targets, common, card);
    let mut last: Option<Picture> = None;
    let mut take = |mut frame: Video| {
        let Some(pts) = frame.timestamp() else { return Ok(()) };
        let Some(missing) = timeline.lost_before(pts) else { return Ok(()) };
        let colour = colour::Colour::take(&mut frame);
        if card.is_some() {
            card::check(&frame, (params.width, params.height), colour.transfer)?;
        }
        let picture = Picture { pts, frame: Arc::new(frame), colour };
        for pts in missing {
            line.push(Picture { pts, ..last.as_ref().unwrap_or(&picture).clone() })?;
        }
        last = Some(picture.clone());
        line.push(picture)
    };
    for packet in source.packets.iter().map(Some).chain([None]) {
        decoder.feed(packet, &mut take)?;
    }
    let Some(last) = last else {
        return Err(trouble::bad_input("not one frame of the segment can be decoded"));
    };
    for pts in timeline.lost_at_end() {
        line.push(Picture { pts, ..last.clone() })?;
    }
    let (frames, concealed) = (timeline.frames(), timeline.concealed());
    if concealed * 2 > frames {
        return Err(trouble::bad_input(format!("{concealed} of {frames} frames of the segment can't be decoded")));
    }
    Ok((line.finish()?, concealed as u32))
}

/// From the decoder to the encoders: conditions pictures, and starts the ladder with the first one.
struct Line<'a> {
    targets: &'a [Target],
    common: Common,
    conditioner: Conditioner,
    ladder: Option<Ladder>,
    card: Option<&'a Card>,
}

impl<'a> Line<'a> {
    fn new(targets: &'a [Target], common: Common, card: Option<&'a Card>) -> Self {
        let size = targets.first().map_or((2, 2), |target| (target.width, target.height));
        let size = if common.rotation_deg % 180 == 90 { (size.1, size.0) } else { size };
        Self { targets, common, conditioner: Conditioner::new(size, common.threads), ladder: None, card }
    }

    fn push(&mut self, picture: Picture) -> Result<(), Failure> {
        let Self { targets, common, conditioner, ladder, card } = self;
        conditioner.push(picture, |picture| pass(ladder, targets, common, *card, picture))
    }

    fn finish(self) -> Result<Vec<Encoded>, Failure> {
        let Self { targets, common, mut conditioner, mut ladder, card } = self;
        conditioner.finish(|picture| pass(&mut ladder, targets, &common, card, picture))?;
        ladder.ok_or_else(|| trouble::bad_input("not one frame of the segment can be decoded"))?.finish()
    }
}

fn pass(
    ladder: &mut Option<Ladder>,
    targets: &[Target],
    common: &Common,
    card: Option<&Card>,
    picture: Picture,
) -> Result<(), Failure> {
    let ladder = match ladder {
        Some(ladder) => ladder,
        // Segments whose colours change in the middle keep those that they begin with.
        none => none.insert(Ladder::start(targets, &Common { colour: picture.colour, ..*common }, card)?),
    };
    ladder.push(picture)
}

fn init_of(track: &Track) -> Result<bytes::Bytes, Failure> {
    millrace_cmaf::init(track).map_err(|error| trouble::cmaf(&error))
}

pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(path, bytes).map_err(|error| trouble::file("write", path, &error))
}
