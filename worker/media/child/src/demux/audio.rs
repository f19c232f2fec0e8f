//! The audio stream: AAC frames as they are, or whatever else through decoder and encoder.

use bytes::Bytes;
use ffmpeg_next::{Packet, Rational, Rescale, Stream, codec::Id};
use millrace_cmaf::{Codec, Sample, Track, aac, aac::Adts};
use millrace_media::Failure;

use super::{
    clock::{Clock, Place},
    convert::Converter,
};
use crate::av;

/// Frames of another kind in a row that may be damage, or the end of something else.
const MISFITS_MAX: u32 = 20;

/// The chosen audio stream.
pub(super) struct Audio {
    pub(super) stream: usize,
    base: Rational,
    way: Way,
}

enum Way {
    /// AAC in ADTS frames, before the first one came.
    Waiting,
    Copy(Copied),
    Convert(Box<Converter>),
}

/// AAC that is passed on as it is.
struct Copied {
    track: Track,
    frame_samples: u32,
    clock: Clock,
    /// The frames stand in ADTS.
    wrapped: bool,
    /// Frames of another kind that came in a row.
    misfits: u32,
}

impl Copied {
    fn new(config: Bytes, wrapped: bool) -> Option<Self> {
        let audio = aac::audio(&config).ok()?;
        let frame_samples = aac::frame_samples(&config).ok()?;
        let track = Track { timescale: audio.sample_rate, codec: Codec::Aac { audio, config } };
        Some(Self { clock: Clock::new(track.timescale), track, frame_samples, wrapped, misfits: 0 })
    }
}

impl Audio {
    pub(super) fn open(stream: &Stream) -> Result<Self, Failure> {
        let config = av::params::read(&stream.parameters()).extradata;
        let way = match stream.parameters().id() {
            Id::AAC if config.is_empty() => Way::Waiting,
            Id::AAC => match Copied::new(config, false) {
                Some(copied) => Way::Copy(copied),
                None => Way::Convert(Box::new(Converter::open(stream)?)),
            },
            _ => Way::Convert(Box::new(Converter::open(stream)?)),
        };
        Ok(Self { stream: stream.index(), base: stream.time_base(), way })
    }

    /// The track, once it is known.
    pub(super) fn track(&self) -> Option<&Track> {
        match &self.way {
            Way::Waiting => None,
            Way::Copy(copied) => Some(&copied.track),
            Way::Convert(converter) => Some(converter.track()),
        }
    }

    /// Learns what the track is, from a packet that is passed on later.
    pub(super) fn look_at(&mut self, packet: &Packet) {
        if let Way::Waiting = self.way {
            let adts = packet.data().and_then(Adts::open);
            let copied = adts.and_then(|adts| adts.config().ok()).and_then(|config| Copied::new(config, true));
            if let Some(copied) = copied {
                self.way = Way::Copy(copied);
            }
        }
    }

    /// Gives up waiting for a frame that tells what the track is: the decoder may know better.
    pub(super) fn give_up_waiting(&mut self, stream: &Stream) -> Result<(), Failure> {
        if let Way::Waiting = self.way {
            self.way = Way::Convert(Box::new(Converter::open(stream)?));
        }
        Ok(())
    }

    /// So many frames in a row were of another kind than the track that it is no damage.
    pub(super) fn is_another(&self) -> bool {
        matches!(&self.way, Way::Copy(copied) if copied.misfits > MISFITS_MAX)
    }

    /// Takes a packet, or the end, and passes on what is ready.
    pub(super) fn samples(&mut self, packet: Option<&Packet>, mut each: impl FnMut(Sample)) -> Result<(), Failure> {
        let base = self.base;
        match &mut self.way {
            Way::Waiting => Ok(()),
            Way::Copy(copied) => {
                if let Some(sample) = packet.and_then(|packet| copied.sample(packet, base)) {
                    each(sample);
                }
                Ok(())
            }
            Way::Convert(converter) => converter.feed(packet, each),
        }
    }
}

impl Copied {
    fn sample(&mut self, packet: &Packet, base: Rational) -> Option<Sample> {
        let bytes = packet.data().filter(|bytes| !bytes.is_empty())?;
        let data = if self.wrapped {
            let adts = Adts::open(bytes)?;
            let Codec::Aac { config, .. } = &self.track.codec else { return None };
            // Frames of another kind can't be played with this track's configuration.
            if adts.config().ok().as_ref() != Some(config) {
                self.misfits += 1;
                return None;
            }
            self.misfits = 0;
            Bytes::copy_from_slice(adts.frame)
        } else {
            Bytes::copy_from_slice(bytes)
        };
        let told = packet.pts().map(|ticks| ticks.rescale(base, (1, self.track.timescale as i32)));
        match self.clock.place(told, self.frame_samples.into()) {
            Place::At(pts) | Place::Jump(pts) => {
                Some(Sample { pts, dts: pts, duration: self.frame_samples, key: true, data })
            }
            Place::Overlap => None,
        }
    }
}
