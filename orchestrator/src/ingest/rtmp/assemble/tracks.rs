//! One track each: its codec header, and samples made of what comes for it. No I/O.

use bytes::{Bytes, BytesMut};
use millrace_cmaf::{Codec, Error, Sample, Track, aac, av1, h264, hevc, nal};

use crate::ingest::rtmp::{
    audio_clock::Clock,
    flv::{self, Unsupported},
};

/// RTMP counts in milliseconds.
const TIMESCALE: u32 = 1_000;

/// Video and its configuration.
#[derive(Debug)]
pub(super) struct VideoTrack {
    pub(super) track: Track,
    /// As it came.
    config: Bytes,
    codec: flv::Codec,
    /// Bytes of the lengths before NAL units.
    length_bytes: usize,
    last: Option<Last>,
}

/// The times of the last picture.
#[derive(Debug, Clone, Copy)]
struct Last {
    dts: i64,
    pts: i64,
    offset_ms: i32,
}

impl VideoTrack {
    pub(super) fn new(codec: flv::Codec, config: Bytes) -> Result<Self, Unsupported> {
        let broken = |error: Error| Unsupported::Config { codec: codec.name(), why: error.to_string() };
        // Samples leave with lengths of 4 bytes; a record says so in the low bits of this byte.
        let with_long_lengths = |at: usize| {
            let mut record = BytesMut::from(&config[..]);
            record[at] |= 3;
            record.freeze()
        };
        let (length_bytes, track_codec) = match codec {
            flv::Codec::H264 => {
                let video = h264::picture(&config).map_err(broken)?;
                let length_bytes = h264::length_bytes(&config).map_err(broken)?;
                (length_bytes, Codec::H264 { video, config: with_long_lengths(4) })
            }
            flv::Codec::Hevc => {
                let video = hevc::picture(&config).map_err(broken)?;
                let length_bytes = hevc::length_bytes(&config).map_err(broken)?;
                (length_bytes, Codec::Hevc { video, config: with_long_lengths(21) })
            }
            flv::Codec::Av1 => {
                (0, Codec::Av1 { video: av1::picture(&config).map_err(broken)?, config: config.clone() })
            }
        };
        let track = Track { timescale: TIMESCALE, codec: track_codec };
        // What can't be written would end the stream later.
        millrace_cmaf::init(&track).map_err(broken)?;
        Ok(Self { track, config, codec, length_bytes, last: None })
    }

    /// Whether this is the configuration already.
    pub(super) fn is(&self, config: &Bytes) -> bool {
        self.config == config
    }

    /// Time broke: the next sample need not follow the last.
    pub(super) fn reset(&mut self) {
        self.last = None;
    }

    /// A sample, if there is a coded picture in `data`. Only a picture that the tag calls a key frame and that decoding
    /// can start at by its own bytes is one: a mere recovery point is not.
    pub(super) fn sample(&mut self, time_ms: i64, tag_key: bool, offset_ms: i32, data: &Bytes) -> Option<Sample> {
        let (starts, data) = match self.codec {
            flv::Codec::H264 => self.units(data, |unit| {
                let kind = unit.first().map_or(0, |header| header & 0x1f);
                matches!(kind, 1..=5).then_some(kind == 5)
            })?,
            flv::Codec::Hevc => self.units(data, hevc::slice)?,
            flv::Codec::Av1 => (true, data.clone()),
        };
        // Decode times that repeat or go back a little are moved on (GStreamer's muxer cuts those below 0 off);
        // presentation times stay, but for pictures whose order of decoding is their order of presentation.
        let (mut dts, mut pts) = (time_ms, time_ms + i64::from(offset_ms));
        if let Some(last) = self.last {
            dts = dts.max(last.dts + 1);
            if offset_ms == last.offset_ms {
                pts = pts.max(last.pts + 1);
            }
        }
        self.last = Some(Last { dts, pts, offset_ms });
        Some(Sample { pts, dts, duration: 0, key: tag_key && starts, data })
    }

    /// NAL units behind lengths of 4 bytes, and whether decoding can start at one of them; `slice` tells that of a
    /// slice. Nothing if there is no slice.
    fn units(&self, data: &Bytes, slice: impl Fn(&[u8]) -> Option<bool>) -> Option<(bool, Bytes)> {
        let (mut coded, mut starts, mut bytes) = (false, false, 0);
        for unit in nal::prefixed(data, self.length_bytes) {
            bytes += self.length_bytes + unit.len();
            if let Some(starts_here) = slice(unit) {
                (coded, starts) = (true, starts || starts_here);
            }
        }
        if !coded {
            return None;
        }
        // What follows a length that points beyond the message is not part of it.
        let data = match self.length_bytes {
            4 => data.slice(..bytes),
            other => nal::join(nal::prefixed(data, other)),
        };
        Some((starts, data))
    }
}

/// Audio, its configuration and its clock.
#[derive(Debug)]
pub(super) struct AudioTrack {
    pub(super) track: Track,
    config: Bytes,
    clock: Clock,
}

impl AudioTrack {
    pub(super) fn new(config: Bytes) -> Result<Self, Unsupported> {
        let broken = |error: Error| Unsupported::Config { codec: "AAC", why: error.to_string() };
        let audio = aac::audio(&config).map_err(broken)?;
        let clock = Clock::new(&config).map_err(broken)?;
        let track = Track { timescale: audio.sample_rate, codec: Codec::Aac { audio, config: config.clone() } };
        Ok(Self { track, config, clock })
    }

    pub(super) fn is(&self, config: &Bytes) -> bool {
        self.config == config
    }

    pub(super) fn reset(&mut self) {
        self.clock.reset();
    }

    /// A sample, unless the clock leaves it out.
    pub(super) fn sample(&mut self, time_ms: i64, data: Bytes) -> Option<Sample> {
        let at = self.clock.place(time_ms)?;
        Some(Sample { pts: at, dts: at, duration: self.clock.frame_samples(), key: true, data })
    }
}
