//! The encoders, libx264, libx265 and SVT-AV1, and those of cards: one closed group of pictures per segment.

mod nvenc;
mod settings;

use bytes::Bytes;
use ffmpeg_next::{
    Dictionary, Error, Packet, Rational,
    codec::{self, Parameters, threading},
    encoder, error,
    format::Pixel,
    frame::Video,
    picture,
};
use millrace_cmaf::{Codec, Sample, Track, Video as Picture, av1, h264, hevc, nal};
use millrace_media::{Failure, card::Tools};
use millrace_proto::{profile::VideoCodec, task::Target};

pub(crate) use nvenc::name as card_encoder_name;
pub(crate) use settings::name;

use super::Common;
use crate::{
    av::{self, device::Device},
    trouble::{self, Asked},
};

/// `user_data_unregistered`: where x264 writes its settings into every segment (ISO/IEC 14496-10, D.1).
const SEI: u8 = 6;
const SEI_USER_DATA: u8 = 5;

/// One rendition's track and samples, in decode order.
pub(crate) struct Encoded {
    pub(crate) track: Track,
    pub(crate) samples: Vec<Sample>,
}

/// Encodes one rendition.
pub(crate) struct Encoder {
    inner: encoder::video::Encoder,
    codec: VideoCodec,
    picture: Picture,
    timescale: u32,
    is_on_card: bool,
    samples: Vec<Sample>,
    pushed: usize,
}

impl Encoder {
    /// Opens the encoder for `target` with so many threads.
    pub(crate) fn open(target: &Target, common: &Common, threads: u32) -> Result<Self, Failure> {
        let name = name(target.codec);
        let codec = encoder::find_by_name(name)
            .ok_or_else(|| trouble::unsupported(format!("this FFmpeg is built without {name}")))?;
        let settings = settings::of(target, common, threads);
        let mut context = codec::Context::new_with_codec(codec);
        context.set_threading(threading::Config {
            count: threads as usize,
            ..threading::Config::kind(threading::Type::Frame)
        });
        let software = |video: &mut encoder::video::Video| {
            video.set_format(Pixel::YUV420P);
            Ok(())
        };
        let inner = open(context, codec, settings, target, common, software)
            .map_err(|error| trouble::machine(&format!("open {name}"), error))?;
        Ok(Self::new(inner, target, common, false))
    }

    /// Opens a card's encoder for `target`. It takes pictures of the card's memory.
    pub(crate) fn open_on(device: &Device, target: &Target, common: &Common, tools: Tools) -> Result<Self, Failure> {
        let name = nvenc::name(target.codec);
        let failed = |error| trouble::card(&format!("open {name}"), Asked::Encoder, error);
        let codec = encoder::find_by_name(name).ok_or(Error::EncoderNotFound).map_err(failed)?;
        let settings = nvenc::of(target, common, tools);
        let on_card = |video: &mut encoder::video::Video| {
            video.set_format(Pixel::CUDA);
            device.encode_with(video, (target.width, target.height))
        };
        let context = codec::Context::new_with_codec(codec);
        let inner = open(context, codec, settings, target, common, on_card).map_err(failed)?;
        Ok(Self::new(inner, target, common, true))
    }

    fn new(inner: encoder::video::Encoder, target: &Target, common: &Common, is_on_card: bool) -> Self {
        let picture = Picture { width: target.width, height: target.height, pixel_aspect: (1, 1), rotation_deg: 0 };
        let (codec, timescale) = (target.codec, common.timescale);
        Self { inner, codec, picture, timescale, is_on_card, samples: Vec::new(), pushed: 0 }
    }

    /// Whether it takes pictures of a card's memory.
    pub(crate) fn is_on_card(&self) -> bool {
        self.is_on_card
    }

    fn failed(&self, what: &str, error: Error) -> Failure {
        if self.is_on_card { trouble::card(what, Asked::Work, error) } else { trouble::machine(what, error) }
    }

    /// Takes the next picture in presentation order.
    pub(crate) fn push(&mut self, picture: &Video, pts: i64) -> Result<(), Failure> {
        let mut frame = av::frame::share(picture).map_err(|error| trouble::machine("share a picture", error))?;
        frame.set_pts(Some(pts));
        // The source's choice of picture types is not the encoder's.
        frame.set_kind(picture::Type::None);
        self.inner.send_frame(&frame).map_err(|error| self.failed("encode a picture", error))?;
        self.pushed += 1;
        self.receive()
    }

    /// Ends the segment. As many frames must have come out as went in.
    pub(crate) fn finish(mut self) -> Result<Encoded, Failure> {
        self.inner.send_eof().map_err(|error| self.failed("end the encoder", error))?;
        self.receive()?;
        if self.samples.len() != self.pushed {
            let message = format!("the encoder made {} frames of {}", self.samples.len(), self.pushed);
            return Err(Failure::new(millrace_media::FailureKind::Crashed, message));
        }
        let headers = av::params::read(&Parameters::from(&self.inner)).extradata;
        let first = self.samples.first().map(|sample| sample.data.clone()).unwrap_or_default();
        let (video, failed) = (self.picture, |error| trouble::cmaf(&error));
        let codec = match self.codec {
            VideoCodec::H264 => Codec::H264 { video, config: h264::config(nal::annex_b(&headers)).map_err(failed)? },
            VideoCodec::Hevc => Codec::Hevc { video, config: hevc::config(nal::annex_b(&headers)).map_err(failed)? },
            VideoCodec::Av1 => Codec::Av1 { video, config: av1::config(&first).map_err(failed)? },
        };
        Ok(Encoded { track: Track { timescale: self.timescale, codec }, samples: self.samples })
    }

    fn receive(&mut self) -> Result<(), Failure> {
        loop {
            let mut packet = Packet::empty();
            match self.inner.receive_packet(&mut packet) {
                Ok(()) => self.samples.push(sample(self.codec, &packet)?),
                Err(Error::Eof | Error::Other { errno: error::EAGAIN }) => return Ok(()),
                Err(error) => return Err(self.failed("encode", error)),
            }
        }
    }
}

/// Opens an encoder with what is the same for all; `prepare` says where its pictures are.
fn open(
    mut context: codec::Context,
    codec: ffmpeg_next::Codec,
    settings: Dictionary,
    target: &Target,
    common: &Common,
    prepare: impl FnOnce(&mut encoder::video::Video) -> Result<(), Error>,
) -> Result<encoder::video::Encoder, Error> {
    context.set_flags(codec::Flags::GLOBAL_HEADER);
    let mut video = context.encoder().video()?;
    video.set_width(target.width);
    video.set_height(target.height);
    video.set_time_base(Rational::new(1, common.timescale as i32));
    video.set_frame_rate(Some(Rational::new(common.frames_per_s as i32, target.fps_divisor.max(1).into())));
    video.set_aspect_ratio(Rational::new(1, 1));
    video.set_color_range(common.colour.range);
    video.set_color_primaries(common.colour.primaries);
    video.set_color_transfer_characteristic(common.colour.transfer);
    video.set_colorspace(common.colour.matrix);
    prepare(&mut video)?;
    video.open_as_with(codec, settings)
}

fn sample(codec: VideoCodec, packet: &Packet) -> Result<Sample, Failure> {
    let (Some(pts), Some(bytes)) = (packet.pts(), packet.data()) else {
        return Err(trouble::machine("encode", Error::Bug));
    };
    let (data, key): (Bytes, bool) = match codec {
        VideoCodec::H264 => {
            let is_settings = |unit: &&[u8]| matches!(unit, [header, SEI_USER_DATA, ..] if header & 0x1f == SEI);
            let data = nal::join(nal::annex_b(bytes).filter(|unit| !is_settings(unit)));
            let key = h264::is_idr(&data);
            (data, key)
        }
        VideoCodec::Hevc => {
            let data = nal::join(nal::annex_b(bytes));
            let key = hevc::is_idr(&data);
            (data, key)
        }
        VideoCodec::Av1 => (av1::sample(bytes), packet.is_key()),
    };
    Ok(Sample { pts, dts: packet.dts().unwrap_or(pts), duration: 0, key, data })
}
