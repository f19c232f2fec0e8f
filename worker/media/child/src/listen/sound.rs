//! CMAF sound becomes samples at 16 kHz, one channel, each at its time.

use std::io::Cursor;

use ffmpeg_next::{
    ChannelLayout, Dictionary, Error, Packet, Rational, Rescale, codec, decoder, error,
    format::{Sample as Format, sample::Type},
    frame::Audio,
    media,
    software::resampling,
};
use millrace_cmaf::{ORIGIN_S, read};
use millrace_inference::RATE;
use millrace_media::Failure;

use crate::{av, trouble};

/// The longest window, in seconds.
const LENGTH_S_MAX: usize = 600;
/// A decoder that reports so many broken packets is stopped.
const ERRORS_MAX: u32 = 10_000;
/// Holes up to here are a decoder's delay and rounding.
const HOLE_SAMPLES_MIN: i64 = RATE as i64 / 20;

const FORMAT: Format = Format::F32(Type::Planar);

/// What was read.
pub(super) struct Sound {
    /// When the first sample is heard, on the stream's timeline.
    pub(super) start_ms: i64,
    pub(super) samples: Vec<f32>,
}

/// Reads a header and the segments behind it.
pub(super) fn read(parts: &[Vec<u8>]) -> Result<Sound, Failure> {
    let [init, segments @ ..] = parts else { return Err(trouble::bad_input("a window without sound")) };
    let header = read::header(init).map_err(|error| trouble::cmaf(&error))?;
    if header.video || segments.is_empty() {
        return Err(trouble::bad_input("there is no sound to hear"));
    }
    let first = read::fragment(&segments[0]).map_err(|error| trouble::cmaf(&error))?;
    let scale = i64::from(header.timescale.max(1));
    let start = i64::try_from(first.decode_start).map_err(|_| trouble::bad_input("its times are too late"))?;
    let start_ms = (start - ORIGIN_S * scale).rescale((1, scale as i32), (1, 1_000));
    let input = av::input::open(Cursor::new(parts.concat()), "mov", &[])?;
    let mut reading = Reading::open(input, start)?;
    reading.run()?;
    if reading.samples.is_empty() {
        return Err(trouble::bad_input("none of its sound can be decoded"));
    }
    Ok(Sound { start_ms, samples: reading.samples })
}

struct Reading {
    input: ffmpeg_next::format::context::Input,
    stream: usize,
    base: Rational,
    decoder: decoder::Audio,
    resampler: Option<resampling::Context>,
    /// The first packet's time.
    start: i64,
    samples: Vec<f32>,
    errors: u32,
}

impl Reading {
    fn open(input: ffmpeg_next::format::context::Input, start: i64) -> Result<Self, Failure> {
        let found = input.streams().find(|stream| stream.parameters().medium() == media::Type::Audio);
        let stream = found.ok_or_else(|| trouble::bad_input("there is no sound to hear"))?;
        let open = || {
            let context = codec::Context::from_parameters(stream.parameters())?;
            let codec = decoder::find(context.id()).ok_or(Error::DecoderNotFound)?;
            let mut decoder = context.decoder();
            decoder.set_packet_time_base(stream.time_base());
            decoder.open_as_with(codec, Dictionary::new())?.audio()
        };
        let decoder = open().map_err(|error| trouble::input("decode its audio", error))?;
        let (stream, base) = (stream.index(), stream.time_base());
        Ok(Self { input, stream, base, decoder, resampler: None, start, samples: Vec::new(), errors: 0 })
    }

    fn run(&mut self) -> Result<(), Failure> {
        while let Some(packet) = av::input::next_packet(&mut self.input)? {
            if packet.stream() == self.stream {
                self.feed(Some(&packet))?;
            }
        }
        self.feed(None)
    }

    fn feed(&mut self, packet: Option<&Packet>) -> Result<(), Failure> {
        let sent = match packet {
            Some(packet) => self.decoder.send_packet(packet),
            None => self.decoder.send_eof(),
        };
        if let Err(error) = sent {
            self.forgive(error)?;
        }
        loop {
            let mut sound = Audio::empty();
            match self.decoder.receive_frame(&mut sound) {
                Ok(()) => self.hear(&mut sound)?,
                Err(Error::Eof | Error::Other { errno: error::EAGAIN }) => return Ok(()),
                Err(error) => self.forgive(error)?,
            }
        }
    }

    /// Puts decoded sound where it belongs.
    fn hear(&mut self, sound: &mut Audio) -> Result<(), Failure> {
        if let Some(pts) = sound.timestamp() {
            let place = (pts - self.start).rescale(self.base, (1, RATE as i32));
            let hole = place - self.samples.len() as i64;
            if hole > HOLE_SAMPLES_MIN {
                self.fits(hole as usize)?;
                self.samples.resize(self.samples.len() + hole as usize, 0.0);
            }
        }
        let layout = av::params::layout(sound.channel_layout(), sound.channels());
        sound.set_channel_layout(layout);
        let source =
            resampling::context::Definition { format: sound.format(), channel_layout: layout, rate: sound.rate() };
        if self.resampler.as_ref().is_none_or(|resampler| *resampler.input() != source) {
            let made =
                resampling::Context::get(source.format, layout, source.rate, FORMAT, ChannelLayout::MONO, RATE as u32);
            self.resampler = Some(made.map_err(|error| trouble::input("resample its audio", error))?);
        }
        let resampler = self.resampler.as_mut().expect("just made");
        let delay = resampler.delay().map_or(0, |delay| delay.output.max(0)) as usize;
        let room = delay + sound.samples() * RATE / (source.rate.max(1) as usize) + 64;
        let mut heard = av::frame::sound(FORMAT, room, ChannelLayout::MONO)
            .map_err(|error| trouble::machine("make room for sound", error))?;
        resampler.run(sound, &mut heard).map_err(|error| trouble::input("resample its audio", error))?;
        self.fits(heard.samples())?;
        // Whatever a file says, what goes on is a number between -1 and 1.
        let tame = |sample: &f32| if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 };
        self.samples.extend(heard.plane::<f32>(0).iter().map(tame));
        Ok(())
    }

    fn fits(&self, more: usize) -> Result<(), Failure> {
        if self.samples.len().saturating_add(more) > LENGTH_S_MAX * RATE {
            return Err(trouble::bad_input(format!("a window has at most {LENGTH_S_MAX} s of sound")));
        }
        Ok(())
    }

    fn forgive(&mut self, error: Error) -> Result<(), Failure> {
        self.errors += 1;
        let failure = trouble::input("decode its audio", error);
        let passed = failure.kind == millrace_media::FailureKind::Limit || self.errors > ERRORS_MAX;
        if passed { Err(failure) } else { Ok(()) }
    }
}
