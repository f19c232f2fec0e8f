//! The video stream: coded frames into the form that MP4 keeps, times into its timescale.

use bytes::Bytes;
use ffmpeg_next::{Packet, Stream, codec::Id, codec::packet::side_data};
use millrace_cmaf::{Codec, Sample, Track, h264, hevc, nal};
use millrace_media::Failure;

use crate::{av, trouble};

/// How a sequence header begins (ISO/IEC 13818-2, table 6-1).
const SEQUENCE_HEADER: [u8; 4] = [0, 0, 1, 0xb3];

/// The chosen video stream.
pub(super) struct Video {
    pub(super) stream: usize,
    track: Track,
    form: Form,
    /// What the container keeps for itself.
    headers: Bytes,
    /// Our ticks in one of the container's.
    scale: i64,
    /// Where the last frame with a time ended.
    next_pts: i64,
}

/// How frames come out of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As MP4 keeps them.
    Mp4,
    /// H.264 or HEVC with start codes.
    AnnexB,
    /// MPEG-2: decoding starts at a sequence header, which a container may keep for itself.
    Mpeg2,
}

impl Video {
    pub(super) fn open(stream: &Stream) -> Result<Self, Failure> {
        let mut track = av::track::video(stream)?;
        let (_, scale) = av::input::timescale(stream.time_base())
            .ok_or_else(|| trouble::bad_input("its video has no valid time base"))?;
        let form = form(&track.codec);
        let headers = av::params::read(&stream.parameters()).extradata;
        if form == Form::AnnexB {
            set_config(&mut track.codec, |codec, headers| from_annex_b(codec, nal::annex_b(headers)))?;
        }
        check(&track, stream.parameters().id())?;
        Ok(Self { stream: stream.index(), track, form, headers, scale, next_pts: 0 })
    }

    pub(super) fn track(&self) -> &Track {
        &self.track
    }

    /// Takes over a new configuration that comes with `packet`; whether there was one. What can't be understood
    /// is left to the decoder.
    pub(super) fn changes(&mut self, packet: &Packet) -> Result<bool, Failure> {
        let before = self.track.clone();
        match self.form {
            Form::Mp4 => {
                let news = packet.side_data().find(|data| data.kind() == side_data::Type::NewExtraData);
                let news = news.map(|data| Bytes::copy_from_slice(data.data()));
                if let Some(config) = news.filter(|config| config.first() == Some(&1)) {
                    set_config(&mut self.track.codec, |_, _| Ok(config))?;
                }
            }
            Form::AnnexB if packet.is_key() => {
                let units = nal::annex_b(packet.data().unwrap_or_default());
                let sets: Vec<_> = units.filter(|unit| is_parameter_set(&self.track.codec, unit)).collect();
                let known = |unit: &&[u8]| contains(config_of(&self.track.codec), unit);
                if !sets.iter().all(known) {
                    let anew = from_annex_b(&self.track.codec, sets.into_iter());
                    if let Ok(config) = anew {
                        set_config(&mut self.track.codec, |_, _| Ok(config))?;
                    }
                }
            }
            Form::AnnexB | Form::Mpeg2 => {}
        }
        if self.track == before {
            return Ok(false);
        }
        if let Codec::H264 { video, config } = &mut self.track.codec {
            // The new picture; the container's turn of it stays.
            match h264::picture(config) {
                Ok(picture) => *video = millrace_cmaf::Video { rotation_deg: video.rotation_deg, ..picture },
                Err(_) => self.track = before.clone(),
            }
        }
        if millrace_cmaf::init(&self.track).is_err() {
            self.track = before;
            return Ok(false);
        }
        Ok(self.track != before)
    }

    /// The packet as a sample; nothing if it holds no frame.
    pub(super) fn sample(&mut self, packet: &Packet) -> Option<Sample> {
        let bytes = packet.data().filter(|bytes| !bytes.is_empty())?;
        let data = match self.form {
            Form::Mpeg2 if packet.is_key() && !bytes.windows(4).any(|window| window == SEQUENCE_HEADER) => {
                [&self.headers[..], bytes].concat().into()
            }
            Form::Mp4 | Form::Mpeg2 => Bytes::copy_from_slice(bytes),
            Form::AnnexB => {
                let config = config_of(&self.track.codec);
                // The header has them already.
                let is_new = |unit: &&[u8]| !is_parameter_set(&self.track.codec, unit) || !contains(config, unit);
                nal::join(nal::annex_b(bytes).filter(is_new))
            }
        };
        let pts = packet.pts().or(packet.dts()).map_or(self.next_pts, |ticks| ticks.saturating_mul(self.scale));
        let dts = packet.dts().map_or(pts, |ticks| ticks.saturating_mul(self.scale));
        let duration = u32::try_from(packet.duration().saturating_mul(self.scale)).unwrap_or(0);
        self.next_pts = pts.saturating_add(i64::from(duration.max(1)));
        Some(Sample { pts, dts, duration, key: packet.is_key(), data }).filter(|sample| !sample.data.is_empty())
    }
}

fn form(codec: &Codec) -> Form {
    match codec {
        // Both records begin with their version, 1; start codes begin with 0.
        Codec::H264 { config, .. } | Codec::Hevc { config, .. } if config.first() != Some(&1) => Form::AnnexB,
        Codec::InBand { entry: [b'm', ..], .. } => Form::Mpeg2,
        _ => Form::Mp4,
    }
}

/// The track must be one that can be written and named, before anything is told of it.
fn check(track: &Track, id: Id) -> Result<(), Failure> {
    match millrace_cmaf::init(track).and_then(|_| track.codec_string()) {
        Ok(_) => Ok(()),
        Err(error) => Err(trouble::bad_input(format!("its {} video can't be used: {error}", id.name()))),
    }
}

fn set_config(codec: &mut Codec, make: impl FnOnce(&Codec, &[u8]) -> Result<Bytes, Failure>) -> Result<(), Failure> {
    let new = make(codec, config_of(codec))?;
    match codec {
        Codec::H264 { config, .. } | Codec::Hevc { config, .. } | Codec::Av1 { config, .. } => *config = new,
        Codec::Vp8 { .. } | Codec::Vp9 { .. } | Codec::InBand { .. } | Codec::Aac { .. } => {}
    }
    Ok(())
}

fn config_of(codec: &Codec) -> &[u8] {
    match codec {
        Codec::H264 { config, .. }
        | Codec::Hevc { config, .. }
        | Codec::Av1 { config, .. }
        | Codec::Vp9 { config, .. }
        | Codec::Aac { config, .. } => config,
        Codec::Vp8 { .. } | Codec::InBand { .. } => &[],
    }
}

fn from_annex_b<'a>(codec: &Codec, units: impl Iterator<Item = &'a [u8]>) -> Result<Bytes, Failure> {
    let config = match codec {
        Codec::Hevc { .. } => hevc::config(units),
        _ => h264::config(units),
    };
    config.map_err(|error| trouble::cmaf(&error))
}

fn is_parameter_set(codec: &Codec, unit: &[u8]) -> bool {
    match codec {
        Codec::Hevc { .. } => hevc::is_parameter_set(unit),
        _ => h264::is_parameter_set(unit),
    }
}

fn contains(config: &[u8], unit: &[u8]) -> bool {
    config.windows(unit.len().max(1)).any(|window| window == unit)
}
