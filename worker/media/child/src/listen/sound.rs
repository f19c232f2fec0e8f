//! CMAF sound becomes samples at 16 kHz, one channel, each at its time, passed on as they are decoded.

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

/// A header and the segments behind it.
pub(super) struct Cmaf<'a> {
    /// When the first sample is heard, on the stream's timeline.
    pub(super) start_ms: i64,
    /// The first packet's time.
    start: i64,
    parts: &'a [Vec<u8>],
}

/// Looks at the header and at when its sound begins.
pub(super) fn open(parts: &[Vec<u8>]) -> Result<Cmaf<'_>, Failure> {
    let [init, segments @ ..] = parts else { return Err(trouble::bad_input("a window without sound")) };
    let header = read::header(init).map_err(|error| trouble::cmaf(&error))?;
    if header.video || segments.is_empty() {
        return Err(trouble::bad_input("there is no sound to hear"));
    }
    let first = read::fragment(&segments[0]).map_err(|error| trouble::cmaf(&error))?;
    let scale = i64::from(header.timescale.max(1));
    let start = i64::try_from(first.decode_start).map_err(|_| trouble::bad_input("its times are too late"))?;
    let start_ms = (start - ORIGIN_S * scale).rescale((1, scale as i32), (1, 1_000));
    Ok(Cmaf { start_ms, start, parts })
}

impl Cmaf<'_> {
    /// Decodes all of it, and passes on the samples as they come.
    pub(super) fn read(&self, out: impl FnMut(Vec<f32>) -> Result<(), Failure>) -> Result<(), Failure> {
        let input = av::input::open(Cursor::new(self.parts.concat()), "mov", &[])?;
        let mut reading = Reading::open(input, self.start, out)?;
        reading.run()?;
        if reading.length == 0 {
            return Err(trouble::bad_input("none of its sound can be decoded"));
        }
        Ok(())
    }
}

struct Reading<F> {
    input: ffmpeg_next::format::context::Input,
    stream: usize,
    base: Rational,
    decoder: decoder::Audio,
    resampler: Option<resampling::Context>,
    /// The first packet's time.
    start: i64,
    /// Samples so far.
    length: usize,
    out: F,
    errors: u32,
}

impl<F: FnMut(Vec<f32>) -> Result<(), Failure>> Reading<F> {
    fn open(input: ffmpeg_next::format::context::Input, start: i64, out: F) -> Result<Self, Failure> {
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
        Ok(Self { input, stream, base, decoder, resampler: None, start, length: 0, out, errors: 0 })
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
            let hole = place - self.length as i64;
            if hole > HOLE_SAMPLES_MIN {
                self.pass_on(hole as usize, |hole| vec![0.0; hole])?;
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
        // Whatever a file says, what goes on is a number between -1 and 1.
        let tame = |sample: &f32| if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 };
        self.pass_on(heard.samples(), |_| heard.plane::<f32>(0).iter().map(tame).collect())
    }

    fn pass_on(&mut self, more: usize, samples: impl FnOnce(usize) -> Vec<f32>) -> Result<(), Failure> {
        if self.length.saturating_add(more) > LENGTH_S_MAX * RATE {
            return Err(trouble::bad_input(format!("a window has at most {LENGTH_S_MAX} s of sound")));
        }
        self.length += more;
        (self.out)(samples(more))
    }

    fn forgive(&mut self, error: Error) -> Result<(), Failure> {
        self.errors += 1;
        let failure = trouble::input("decode its audio", error);
        let passed = failure.kind == millrace_media::FailureKind::Limit || self.errors > ERRORS_MAX;
        if passed { Err(failure) } else { Ok(()) }
    }
}
