//! Jobs with a card: opens it, and tries what it does.
//!
//! What it does is never taken from a table of models: decoders and encoders run, sessions are opened until one is
//! refused, memory is read before and after.

use std::{io::Cursor, mem};

use ffmpeg_next::{Error, format::Pixel, frame::Video, media, software::scaling};
use millrace_media::{
    Failure,
    card::{Able, Tools, Tried},
    job::Job,
};
use millrace_proto::profile::VideoCodec;

use crate::{
    av::{
        self, cuda,
        decode::Decoder,
        device::{Context, Device, Pool, is_on_card},
    },
    probe::{self, HD, PICTURES, SMALL, Scene},
    transcode::{Encoded, Encoder, card_encoder_name},
    trouble::{self, Asked},
};

const CODECS: [VideoCodec; 3] = [VideoCodec::H264, VideoCodec::Hevc, VideoCodec::Av1];

/// Opens the job's card, if it has one.
pub(crate) fn open(job: &Job) -> Result<Option<Device>, Failure> {
    if job.card().is_none() {
        return Ok(None);
    }
    av::start()?;
    let context = match job {
        Job::Listen(_) | Job::Look(_) => Context::Shared,
        _ => Context::Own,
    };
    let device = Device::open(context).map_err(|error| trouble::card("be opened", Asked::Open, error))?;
    // This process ends after its one job, and what its driver does to close a card can only delay the answer, or hit
    // the sandbox before it.
    mem::forget(device.clone());
    Ok(Some(device))
}

/// Tries the card.
pub(crate) fn run(device: Option<Device>) -> Result<Tried, Failure> {
    let device = device.ok_or_else(|| trouble::card("be opened", Asked::Open, Error::Bug))?;
    let told = cuda::told(&device).ok_or_else(|| trouble::card("tell its memory", Asked::Open, Error::External))?;
    let (mut able, mut pixels_per_s, mut absent) = (Able::default(), Vec::new(), Vec::new());
    for codec in CODECS {
        match encode(&device, codec) {
            Ok((tools, speed)) => {
                able.encodes.push((codec, tools));
                pixels_per_s.push(speed);
            }
            Err(failure) => absent.push((card_encoder_name(codec).to_owned(), failure.message)),
        }
        match decode(&device, codec) {
            Ok(()) => able.decodes.push(codec),
            Err(failure) => absent.push((format!("{} on the card", codec.as_str()), failure.message)),
        }
    }
    let (sessions, session_bytes) = match able.encodes.first() {
        Some(&(codec, tools)) => sessions(&device, codec, tools, told.memory.free)?,
        None => (0, 0),
    };
    Ok(Tried {
        name: told.name,
        memory_bytes: told.memory.all,
        memory_free_bytes: told.memory.free,
        able,
        pixels_per_s,
        sessions,
        session_bytes,
        absent,
    })
}

/// Encodes the scene on the card, with the best tools that it takes.
fn encode(device: &Device, codec: VideoCodec) -> Result<(Tools, f64), Failure> {
    let pool =
        Pool::new(device, (HD.width, HD.height)).map_err(|error| trouble::card("hold pictures", Asked::Work, error))?;
    let pictures = (0..PICTURES).map(|at| upload(&pool, &probe::picture(HD, at)?)).collect::<Result<Vec<_>, _>>()?;
    let (target, common) = (probe::target(codec, HD), probe::common(HD, 1));
    let run = |tools| {
        let encoder = Encoder::open_on(device, &target, &common, tools)?;
        probe::encode(encoder, &pictures, HD).map(|(_, speed)| (tools, speed))
    };
    run(Tools::Full).or_else(|_| run(Tools::Plain))
}

fn upload(pool: &Pool, picture: &Video) -> Result<Video, Failure> {
    let upload = || {
        let (width, height) = (picture.width(), picture.height());
        let flags = scaling::Flags::BILINEAR;
        let mut context = scaling::Context::get(picture.format(), width, height, Pixel::NV12, width, height, flags)?;
        let mut converted = av::frame::picture(Pixel::NV12, width, height)?;
        context.run(picture, &mut converted)?;
        pool.upload(&converted)
    };
    upload().map_err(|error: Error| trouble::card("take a picture", Asked::Work, error))
}

/// Decodes on the card what software encoded; every picture must come out.
fn decode(device: &Device, codec: VideoCodec) -> Result<(), Failure> {
    let pictures = (0..PICTURES).map(|at| probe::picture(SMALL, at)).collect::<Result<Vec<_>, _>>()?;
    let encoder = Encoder::open(&probe::target(codec, SMALL), &probe::common(SMALL, 1), 1)?;
    let (made, _) = probe::encode(encoder, &pictures, SMALL)?;
    let file = file(&made, SMALL)?;
    let decoded = decode_file(device, file)?;
    if decoded == SMALL.frames {
        return Ok(());
    }
    let message = format!("{decoded} of {} pictures came out of the card's decoder", SMALL.frames);
    Err(trouble::unsupported(message))
}

fn file(encoded: &Encoded, scene: Scene) -> Result<Vec<u8>, Failure> {
    let failed = |error| trouble::cmaf(&error);
    let mut file = millrace_cmaf::init(&encoded.track).map_err(failed)?.to_vec();
    file.extend(millrace_cmaf::segment(&encoded.track, 1, &encoded.samples, scene.frames as i64).map_err(failed)?);
    Ok(file)
}

fn decode_file(device: &Device, file: Vec<u8>) -> Result<usize, Failure> {
    let mut input = av::input::open(Cursor::new(file), "mov", &[])?;
    let mut packets = Vec::new();
    while let Some(packet) = av::input::next_packet(&mut input)? {
        packets.push(packet);
    }
    let stream = input.streams().best(media::Type::Video).ok_or_else(|| trouble::bad_input("no video"))?;
    let mut decoder = Decoder::open_on(device, &stream)?;
    let mut count = 0;
    for packet in packets.iter().map(Some).chain([None]) {
        decoder.feed(packet, |picture| {
            count += usize::from(is_on_card(&picture));
            Ok(())
        })?;
    }
    Ok(count)
}

/// Opens sessions until one is refused, and keeps them all meanwhile. How many there were, and the memory of each.
fn sessions(device: &Device, codec: VideoCodec, tools: Tools, free: u64) -> Result<(u32, u64), Failure> {
    let (target, common) = (probe::target(codec, HD), probe::common(HD, 1));
    let mut open = Vec::new();
    while open.len() < Tried::SESSIONS_MAX as usize {
        match Encoder::open_on(device, &target, &common, tools) {
            Ok(encoder) => open.push(encoder),
            Err(_) => break,
        }
    }
    let left = cuda::memory(device).ok_or_else(|| trouble::card("tell its memory", Asked::Open, Error::External))?.free;
    let count = open.len() as u64;
    Ok((count as u32, free.saturating_sub(left).checked_div(count).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use millrace_media::card::{Card, Refusal, TryCard};

    use super::*;

    /// What a machine without a card really answers; on one with a card there is nothing to be seen here.
    #[test]
    fn without_a_driver_the_refusal_is_typed() {
        let job = Job::TryCard(TryCard { card: Card { index: 0, minor: 0, uuid: None } });
        match open(&job) {
            Err(failure) => assert_eq!(failure.card, Some(Refusal::Missing), "{failure}"),
            Ok(device) => assert!(device.is_some()),
        }
        assert!(open(&Job::Sandbox).is_ok_and(|device| device.is_none()), "no card is asked for");
    }

    #[test]
    fn what_the_card_is_to_decode_decodes_in_software() {
        ffmpeg_next::init().unwrap();
        for codec in CODECS {
            let pictures: Vec<_> = (0..PICTURES).map(|at| probe::picture(SMALL, at).unwrap()).collect();
            let encoder = Encoder::open(&probe::target(codec, SMALL), &probe::common(SMALL, 1), 1).unwrap();
            let (made, _) = probe::encode(encoder, &pictures, SMALL).unwrap();
            let mut input = av::input::open(Cursor::new(file(&made, SMALL).unwrap()), "mov", &[]).unwrap();
            let mut packets = Vec::new();
            while let Some(packet) = av::input::next_packet(&mut input).unwrap() {
                packets.push(packet);
            }
            let stream = input.streams().best(media::Type::Video).unwrap();
            let mut decoder = Decoder::open(&stream, 1).unwrap();
            let mut count = 0;
            for packet in packets.iter().map(Some).chain([None]) {
                decoder
                    .feed(packet, |_| {
                        count += 1;
                        Ok(())
                    })
                    .unwrap();
            }
            assert_eq!(count, SMALL.frames, "{codec:?}");
        }
    }
}
