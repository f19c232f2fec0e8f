//! The encoders, libx264, libx265 and SVT-AV1: one closed group of pictures per segment.

mod settings;

use bytes::Bytes;
use ffmpeg_next::{
    Error, Packet, Rational,
    codec::{self, Parameters, threading},
    encoder, error,
    format::Pixel,
    frame::Video,
    picture,
};
use millrace_cmaf::{Codec, Sample, Track, Video as Picture, av1, h264, hevc, nal};
use millrace_media::Failure;
use millrace_proto::{profile::VideoCodec, task::Target};

pub(crate) use settings::name;

use super::Common;
use crate::{av, trouble};

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
        let open = || {
            let mut context = codec::Context::new_with_codec(codec);
            context.set_flags(codec::Flags::GLOBAL_HEADER);
            context.set_threading(threading::Config {
                count: threads as usize,
                ..threading::Config::kind(threading::Type::Frame)
            });
            let mut video = context.encoder().video()?;
            video.set_width(target.width);
            video.set_height(target.height);
            video.set_format(Pixel::YUV420P);
            video.set_time_base(Rational::new(1, common.timescale as i32));
            video.set_frame_rate(Some(Rational::new(common.frames_per_s as i32, target.fps_divisor.max(1).into())));
            video.set_aspect_ratio(Rational::new(1, 1));
            video.set_color_range(common.colour.range);
            video.set_color_primaries(common.colour.primaries);
            video.set_color_transfer_characteristic(common.colour.transfer);
            video.set_colorspace(common.colour.matrix);
            video.open_as_with(codec, settings)
        };
        let inner = open().map_err(|error: Error| trouble::machine(&format!("open {name}"), error))?;
        let picture = Picture { width: target.width, height: target.height, pixel_aspect: (1, 1), rotation_deg: 0 };
        Ok(Self { inner, codec: target.codec, picture, timescale: common.timescale, samples: Vec::new(), pushed: 0 })
    }

    /// Takes the next picture in presentation order.
    pub(crate) fn push(&mut self, picture: &Video, pts: i64) -> Result<(), Failure> {
        let mut frame = av::frame::share(picture).map_err(|error| trouble::machine("share a picture", error))?;
        frame.set_pts(Some(pts));
        // The source's choice of picture types is not the encoder's.
        frame.set_kind(picture::Type::None);
        self.inner.send_frame(&frame).map_err(|error| trouble::machine("encode a picture", error))?;
        self.pushed += 1;
        self.receive()
    }

    /// Ends the segment. As many frames must have come out as went in.
    pub(crate) fn finish(mut self) -> Result<Encoded, Failure> {
        self.inner.send_eof().map_err(|error| trouble::machine("end the encoder", error))?;
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
                Err(error) => return Err(trouble::machine("encode", error)),
            }
        }
    }
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
