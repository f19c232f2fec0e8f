//! Audio that is no AAC: decoded, resampled to at most two channels, encoded in one continuous run.

use std::collections::VecDeque;

use ffmpeg_next::{
    ChannelLayout, Dictionary, Error, Packet, Rational, Rescale, Stream,
    codec::{self, Parameters},
    decoder, encoder, error,
    format::{Sample as Format, sample::Type},
    frame::Audio as Sound,
    software::resampling,
};
use millrace_cmaf::{Audio, Codec, Sample, Track, aac};
use millrace_media::Failure;

use super::clock::{Clock, Place};
use crate::{av, trouble};

/// Rates that are kept; others become 48 kHz. All are ones that AAC has and every player plays.
const RATES: [u32; 7] = [48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 11_025];
const RATE: u32 = 48_000;

/// FFmpeg's AAC encoder is transparent for most at this.
const BITS_PER_S_AND_CHANNEL: usize = 80_000;

/// Planar floats, what the encoder takes.
const FORMAT: Format = Format::F32(Type::Planar);

/// Gaps up to this are filled with silence; beyond it the run starts anew at the later time.
const SILENCE_S_MAX: i64 = 10;

/// A decoder that reports so many broken packets is stopped.
const ERRORS_MAX: u32 = 100_000;

/// Decodes, resamples, encodes.
pub(super) struct Converter {
    decoder: decoder::Audio,
    base: Rational,
    resampler: Option<resampling::Context>,
    encoder: encoder::audio::Encoder,
    layout: ChannelLayout,
    track: Track,
    clock: Clock,
    /// Sound that waits for a whole frame of the encoder, by channel.
    waiting: Vec<VecDeque<f32>>,
    /// When the first waiting sample is heard.
    waiting_pts: i64,
    errors: u32,
}

impl Converter {
    pub(super) fn open(stream: &Stream) -> Result<Self, Failure> {
        let params = av::params::read(&stream.parameters());
        let name = stream.parameters().id().name();
        let sample_rate = if RATES.contains(&params.sample_rate) { params.sample_rate } else { RATE };
        let audio = Audio { sample_rate, channels: if params.channels == 1 { 1 } else { 2 } };
        let layout = if audio.channels == 1 { ChannelLayout::MONO } else { ChannelLayout::STEREO };
        let decoder = open_decoder(stream).map_err(|error| trouble::input(&format!("decode {name} audio"), error))?;
        let encoder = open_encoder(audio, layout).map_err(|error| trouble::machine("open the AAC encoder", error))?;
        let config = av::params::read(&Parameters::from(&encoder)).extradata;
        aac::audio(&config).map_err(|error| trouble::cmaf(&error))?;
        Ok(Self {
            decoder,
            base: stream.time_base(),
            resampler: None,
            encoder,
            layout,
            track: Track { timescale: sample_rate, codec: Codec::Aac { audio, config } },
            clock: Clock::new(sample_rate),
            waiting: vec![VecDeque::new(); audio.channels.into()],
            waiting_pts: 0,
            errors: 0,
        })
    }

    pub(super) fn track(&self) -> &Track {
        &self.track
    }

    /// Takes a packet, or the end, and passes on what is ready.
    pub(super) fn feed(&mut self, packet: Option<&Packet>, mut each: impl FnMut(Sample)) -> Result<(), Failure> {
        let sent = match packet {
            Some(packet) => self.decoder.send_packet(packet),
            None => self.decoder.send_eof(),
        };
        if let Err(error) = sent {
            self.forgive(error)?;
        }
        loop {
            let mut sound = Sound::empty();
            match self.decoder.receive_frame(&mut sound) {
                Ok(()) => self.hear(&mut sound)?,
                Err(Error::Eof | Error::Other { errno: error::EAGAIN }) => break,
                Err(error) => self.forgive(error)?,
            }
        }
        let whole = self.encoder.frame_size() as usize;
        while self.waiting[0].len() >= whole {
            self.encode(whole, &mut each)?;
        }
        if packet.is_none() {
            if !self.waiting[0].is_empty() {
                self.encode(self.waiting[0].len(), &mut each)?;
            }
            self.encoder.send_eof().map_err(failed)?;
            self.receive(&mut each)?;
        }
        Ok(())
    }

    /// Resamples decoded sound and puts it where it belongs.
    fn hear(&mut self, sound: &mut Sound) -> Result<(), Failure> {
        let rate = self.track.timescale;
        let told = sound.timestamp().map(|ticks| ticks.rescale(self.base, (1, rate as i32)));
        let heard = self.resample(sound)?;
        let length = heard.first().map_or(0, Vec::len) as i64;
        let ends = self.waiting_pts.saturating_add(self.waiting[0].len() as i64);
        match self.clock.place(told, length) {
            Place::Overlap => return Ok(()),
            Place::At(at) if self.waiting[0].is_empty() => self.waiting_pts = at,
            Place::At(_) => {}
            Place::Jump(at) if (0..=SILENCE_S_MAX * i64::from(rate)).contains(&at.saturating_sub(ends)) => {
                for channel in &mut self.waiting {
                    channel.resize(channel.len() + (at - ends) as usize, 0.0);
                }
            }
            Place::Jump(at) => {
                self.waiting.iter_mut().for_each(VecDeque::clear);
                self.waiting_pts = at;
            }
        }
        for (channel, heard) in self.waiting.iter_mut().zip(heard) {
            channel.extend(heard);
        }
        Ok(())
    }

    /// The sound at our rate and in our channels. Sources may change theirs between any two frames.
    fn resample(&mut self, sound: &mut Sound) -> Result<Vec<Vec<f32>>, Failure> {
        let layout = av::params::layout(sound.channel_layout(), sound.channels());
        sound.set_channel_layout(layout);
        let source =
            resampling::context::Definition { format: sound.format(), channel_layout: layout, rate: sound.rate() };
        if self.resampler.as_ref().is_none_or(|resampler| *resampler.input() != source) {
            let resampler =
                resampling::Context::get(source.format, layout, source.rate, FORMAT, self.layout, self.track.timescale);
            self.resampler = Some(resampler.map_err(|error| trouble::input("resample its audio", error))?);
        }
        let resampler = self.resampler.as_mut().expect("just made");
        let delay = resampler.delay().map_or(0, |delay| delay.output.max(0)) as usize;
        let length = sound.samples() as u64 * u64::from(self.track.timescale) / u64::from(source.rate.max(1));
        let room = delay + length as usize + 64;
        let mut heard = av::frame::sound(FORMAT, room, self.layout).map_err(failed)?;
        resampler.run(sound, &mut heard).map_err(|error| trouble::input("resample its audio", error))?;
        Ok((0..self.waiting.len()).map(|channel| heard.plane::<f32>(channel).to_vec()).collect())
    }

    fn encode(&mut self, length: usize, each: &mut impl FnMut(Sample)) -> Result<(), Failure> {
        let mut sound = av::frame::sound(FORMAT, length, self.layout).map_err(failed)?;
        sound.set_rate(self.track.timescale);
        sound.set_pts(Some(self.waiting_pts));
        for (at, channel) in self.waiting.iter_mut().enumerate() {
            for (to, from) in sound.plane_mut::<f32>(at).iter_mut().zip(channel.drain(..length)) {
                *to = from;
            }
        }
        self.waiting_pts = self.waiting_pts.saturating_add(length as i64);
        self.encoder.send_frame(&sound).map_err(failed)?;
        self.receive(each)
    }

    fn receive(&mut self, each: &mut impl FnMut(Sample)) -> Result<(), Failure> {
        loop {
            let mut packet = Packet::empty();
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => {
                    if let (Some(pts), Some(bytes)) = (packet.pts(), packet.data()) {
                        let duration = self.encoder.frame_size();
                        let data = bytes::Bytes::copy_from_slice(bytes);
                        each(Sample { pts, dts: pts, duration, key: true, data });
                    }
                }
                Err(Error::Eof | Error::Other { errno: error::EAGAIN }) => return Ok(()),
                Err(error) => return Err(failed(error)),
            }
        }
    }

    fn forgive(&mut self, error: Error) -> Result<(), Failure> {
        self.errors += 1;
        let failure = trouble::input("decode its audio", error);
        let passed = failure.kind == millrace_media::FailureKind::Limit || self.errors > ERRORS_MAX;
        if passed { Err(failure) } else { Ok(()) }
    }
}

fn failed(error: Error) -> Failure {
    trouble::machine("encode audio", error)
}

fn open_decoder(stream: &Stream) -> Result<decoder::Audio, Error> {
    let context = codec::Context::from_parameters(stream.parameters())?;
    let codec = decoder::find(context.id()).ok_or(Error::DecoderNotFound)?;
    let mut decoder = context.decoder();
    decoder.set_packet_time_base(stream.time_base());
    decoder.open_as_with(codec, Dictionary::new())?.audio()
}

fn open_encoder(audio: Audio, layout: ChannelLayout) -> Result<encoder::audio::Encoder, Error> {
    let codec = encoder::find_by_name("aac").ok_or(Error::EncoderNotFound)?;
    let mut context = codec::Context::new_with_codec(codec);
    context.set_flags(codec::Flags::GLOBAL_HEADER);
    context.set_time_base(Rational::new(1, audio.sample_rate as i32));
    let mut encoder = context.encoder().audio()?;
    encoder.set_rate(audio.sample_rate as i32);
    encoder.set_format(FORMAT);
    encoder.set_channel_layout(layout);
    encoder.set_bit_rate(BITS_PER_S_AND_CHANNEL * usize::from(audio.channels));
    encoder.open_as(codec)
}
