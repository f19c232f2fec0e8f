//! The H.264 encoder, libx264: one closed group of pictures per segment.

use ffmpeg_next::{
    Dictionary, Error, Packet, Rational,
    codec::{self, Parameters, threading},
    encoder, error,
    format::Pixel,
    frame::Video,
    picture,
};
use millrace_cmaf::{Codec, Sample, Track, Video as Picture, h264, nal};
use millrace_media::Failure;
use millrace_proto::{profile::VideoCodec, task::Target};

use super::Common;
use crate::{av, trouble};

/// One IDR, at the start: scene cuts become other I pictures. `stitchable` keeps the headers free of what
/// the content was, so that all segments of a rendition share one.
const X264: &str = "keyint=infinite:min-keyint=100000:stitchable=1";

/// `user_data_unregistered`: where x264 writes its settings into every segment (ISO/IEC 14496-10, D.1).
const SEI: u8 = 6;
const SEI_USER_DATA: u8 = 5;

/// FFmpeg's name of the encoder for a codec.
pub(crate) fn name(codec: VideoCodec) -> &'static str {
    match codec {
        VideoCodec::H264 => "libx264",
    }
}

/// One rendition's track and samples, in decode order.
pub(crate) struct Encoded {
    pub(crate) track: Track,
    pub(crate) samples: Vec<Sample>,
}

/// Encodes one rendition.
pub(crate) struct Encoder {
    inner: encoder::video::Encoder,
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
        let mut settings = Dictionary::new();
        settings.set("preset", target.preset.as_str());
        settings.set("crf", &target.crf.to_string());
        settings.set("maxrate", &target.bitrate_bps_max.to_string());
        settings.set("bufsize", &target.bitrate_bps_max.to_string());
        settings.set("profile", "high");
        // Captions in the pictures would come through on some rungs and not on others.
        settings.set("a53cc", "0");
        settings.set("x264-params", X264);
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
            video.set_frame_rate(Some(Rational::new(common.frames_per_s as i32, 1)));
            video.set_aspect_ratio(Rational::new(1, 1));
            video.set_color_range(common.colour.range);
            video.set_color_primaries(common.colour.primaries);
            video.set_color_transfer_characteristic(common.colour.transfer);
            video.set_colorspace(common.colour.matrix);
            video.open_as_with(codec, settings)
        };
        let inner = open().map_err(|error: Error| trouble::machine(&format!("open {name}"), error))?;
        let picture = Picture { width: target.width, height: target.height, pixel_aspect: (1, 1), rotation_deg: 0 };
        Ok(Self { inner, picture, timescale: common.timescale, samples: Vec::new(), pushed: 0 })
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
        let config = h264::config(nal::annex_b(&headers)).map_err(|error| trouble::cmaf(&error))?;
        let track = Track { timescale: self.timescale, codec: Codec::H264 { video: self.picture, config } };
        Ok(Encoded { track, samples: self.samples })
    }

    fn receive(&mut self) -> Result<(), Failure> {
        loop {
            let mut packet = Packet::empty();
            match self.inner.receive_packet(&mut packet) {
                Ok(()) => self.samples.push(sample(&packet)?),
                Err(Error::Eof | Error::Other { errno: error::EAGAIN }) => return Ok(()),
                Err(error) => return Err(trouble::machine("encode", error)),
            }
        }
    }
}

fn sample(packet: &Packet) -> Result<Sample, Failure> {
    let (Some(pts), Some(bytes)) = (packet.pts(), packet.data()) else {
        return Err(trouble::machine("encode", Error::Bug));
    };
    let data = nal::join(
        nal::annex_b(bytes).filter(|unit| !matches!(unit, [header, SEI_USER_DATA, ..] if header & 0x1f == SEI)),
    );
    Ok(Sample { pts, dts: packet.dts().unwrap_or(pts), duration: 0, key: h264::is_idr(&data), data })
}
