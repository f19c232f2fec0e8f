//! Decoding video: packets in, whatever pictures come of them out. Broken packets lose pictures, never the job.

use ffmpeg_next::{
    Codec, Dictionary, Error, Packet, Stream,
    codec::{self, Id, threading},
    decoder, error,
    frame::Video,
};
use millrace_media::Failure;

use super::device::Device;
use crate::trouble;

/// Pixels of the largest picture that is decoded: 8K.
const PIXELS_MAX: &str = "35651584";

/// A decoder reports each broken picture once; one that reports without end is stopped.
const ERRORS_MAX: u32 = 10_000;

/// A video decoder.
pub(crate) struct Decoder {
    inner: decoder::Video,
    errors: u32,
}

impl Decoder {
    /// Opens FFmpeg's decoder for a stream.
    pub(crate) fn open(stream: &Stream, threads: u32) -> Result<Self, Failure> {
        let known = |id| decoder::find(id);
        Self::open_as(stream, threads, known, |_| ())
    }

    /// Opens FFmpeg's decoder for a stream that nobody has looked at. Where H.264 does not say how late pictures may come,
    /// they are waited for as long as its level allows: a decoder that learns it by the way drops some of the first ones.
    pub(crate) fn open_unprobed(stream: &Stream, threads: u32) -> Result<Self, Failure> {
        let known = |id| decoder::find(id);
        Self::open_as(stream, threads, known, |context| context.compliance(codec::Compliance::Strict))
    }

    /// Opens the decoder that hands the stream to a card. Pictures come out in the card's memory.
    pub(crate) fn open_on(device: &Device, stream: &Stream) -> Result<Self, Failure> {
        // FFmpeg's own decoders parse and the card decodes; the one that it finds first for AV1 is another.
        let own = |id| if id == Id::AV1 { decoder::find_by_name("av1") } else { decoder::find(id) };
        Self::open_as(stream, 1, own, |context| device.decode_with(context))
    }

    fn open_as(
        stream: &Stream,
        threads: u32,
        known: impl Fn(Id) -> Option<Codec>,
        prepare: impl Fn(&mut codec::Context),
    ) -> Result<Self, Failure> {
        let open = || {
            let mut context = codec::Context::from_parameters(stream.parameters())?;
            context.set_threading(threading::Config {
                count: threads as usize,
                ..threading::Config::kind(threading::Type::Frame)
            });
            let codec = known(context.id()).ok_or(Error::DecoderNotFound)?;
            prepare(&mut context);
            let mut settings = Dictionary::new();
            settings.set("max_pixels", PIXELS_MAX);
            let mut decoder = context.decoder();
            decoder.set_packet_time_base(stream.time_base());
            decoder.open_as_with(codec, settings)?.video()
        };
        let inner = open().map_err(|error: Error| trouble::input("open a decoder for it", error))?;
        Ok(Self { inner, errors: 0 })
    }

    /// Takes a packet, or the end, and passes on each picture that is ready.
    pub(crate) fn feed(
        &mut self,
        packet: Option<&Packet>,
        mut each: impl FnMut(Video) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let sent = match packet {
            Some(packet) => self.inner.send_packet(packet),
            None => self.inner.send_eof(),
        };
        if let Err(error) = sent {
            self.forgive(error)?;
        }
        loop {
            let mut frame = Video::empty();
            match self.inner.receive_frame(&mut frame) {
                Ok(()) => each(frame)?,
                Err(Error::Eof | Error::Other { errno: error::EAGAIN }) => return Ok(()),
                Err(error) => self.forgive(error)?,
            }
        }
    }

    fn forgive(&mut self, error: Error) -> Result<(), Failure> {
        self.errors += 1;
        let failure = trouble::input("decode it", error);
        let passed = failure.kind == millrace_media::FailureKind::Limit || self.errors > ERRORS_MAX;
        if passed { Err(failure) } else { Ok(()) }
    }
}
