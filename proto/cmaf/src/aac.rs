//! AAC configurations: an `AudioSpecificConfig` (ISO/IEC 14496-3, 1.6.2.1) made and read, and ADTS frames
//! (the same, 1.A.2) opened.

use bytes::Bytes;

use crate::{Audio, Error, bits::Bits};

/// Sampling frequencies by index (ISO/IEC 14496-3, table 1.18).
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
/// Index that says: the rate follows in 24 bits.
const RATE_ESCAPE: u32 = 15;
/// Audio object types (the same, table 1.17).
const AAC_MAIN: u32 = 1;
const AAC_LC: u32 = 2;
const SBR: u32 = 5;
const PS: u32 = 29;
const TYPE_ESCAPE: u32 = 31;
/// Syntactic elements of a frame (the same, table 4.85): one channel, two, low frequencies; and its end.
const SCE: u32 = 0;
const CPE: u32 = 1;
const LFE: u32 = 3;
const END: u32 = 7;

/// Makes the configuration of AAC-LC.
///
/// # Errors
/// [`Error::Format`] for a rate that has no index or for other than 1 to 7 channels.
pub fn config(audio: Audio) -> Result<Bytes, Error> {
    specific_config(AAC_LC, audio)
}

fn specific_config(object_type: u32, audio: Audio) -> Result<Bytes, Error> {
    let Audio { sample_rate, channels } = audio;
    let unknown = || Error::Format(format!("{channels} channels of AAC at {sample_rate} Hz"));
    let rate = RATES.iter().position(|known| *known == sample_rate).ok_or_else(unknown)?;
    // Configurations 1 to 6 count channels; 7 is 7.1 (the same, table 1.19).
    let layout = match channels {
        1..=6 => channels,
        8 => 7,
        _ => return Err(unknown()),
    };
    let bits = (object_type as u16) << 11 | (rate as u16) << 7 | layout << 3;
    Ok(Bytes::copy_from_slice(&bits.to_be_bytes()))
}

/// Samples per channel in one frame, counted at the rate that [`audio`] tells.
pub fn frame_samples(config: &[u8]) -> Result<u32, Error> {
    let mut bits = Bits::new(config);
    let short = || Error::config("AudioSpecificConfig", "it ends early");
    let first = object_type(&mut bits).ok_or_else(short)?;
    rate(&mut bits).ok_or_else(short)?;
    bits.skip(4);
    let replicated = matches!(first, SBR | PS);
    if replicated {
        rate(&mut bits).ok_or_else(short)?;
        object_type(&mut bits).ok_or_else(short)?;
    }
    // The first bit of GASpecificConfig (the same, table 4.1).
    let core = if bits.take(1).ok_or_else(short)? == 1 { 960 } else { 1_024 };
    Ok(if replicated { 2 * core } else { core })
}

/// What a configuration says of the sound. With spectral band replication told explicitly, the rate is the one
/// that comes out of it.
pub fn audio(config: &[u8]) -> Result<Audio, Error> {
    let mut bits = Bits::new(config);
    let short = || Error::config("AudioSpecificConfig", "it ends early");
    let object_type = object_type(&mut bits).ok_or_else(short)?;
    let mut sample_rate = rate(&mut bits).ok_or_else(short)?;
    let channels = match bits.take(4).ok_or_else(short)? {
        0 => return Err(Error::config("AudioSpecificConfig", "it leaves the channels to the stream")),
        7 => 8,
        channels @ 1..=6 => channels as u16,
        other => return Err(Error::config("AudioSpecificConfig", format!("{other} is no channel configuration"))),
    };
    if matches!(object_type, SBR | PS) {
        sample_rate = rate(&mut bits).ok_or_else(short)?;
    }
    if sample_rate == 0 {
        return Err(Error::config("AudioSpecificConfig", "its sampling frequency is 0"));
    }
    // Parametric stereo makes two channels of one (the same, 1.6.6.3).
    Ok(Audio { sample_rate, channels: if object_type == PS && channels == 1 { 2 } else { channels } })
}

/// A frame of silence that goes with a configuration: a `raw_data_block` (ISO/IEC 14496-3, table 4.3) whose
/// channels have no spectrum. `None` for configurations whose frames are written otherwise.
pub fn silence(config: &[u8]) -> Option<Bytes> {
    if !matches!(object_type_of(config).ok()?, AAC_MAIN | AAC_LC | SBR | PS) {
        return None;
    }
    // As table 1.19 has them.
    let elements: &[u32] = match channel_configuration(config)? {
        1 => &[SCE],
        2 => &[CPE],
        3 => &[SCE, CPE],
        4 => &[SCE, CPE, SCE],
        5 => &[SCE, CPE, CPE],
        6 => &[SCE, CPE, CPE, LFE],
        7 => &[SCE, CPE, CPE, CPE, LFE],
        _ => return None,
    };
    let mut bits = Vec::new();
    let mut put = |value: u32, count: u32| bits.extend((0..count).rev().map(|at| (value >> at & 1) as u8));
    for (at, &element) in elements.iter().enumerate() {
        put(element, 3);
        let tag = elements[..at].iter().filter(|before| **before == element).count();
        put(tag as u32, 4);
        if element == CPE {
            // Each of the two has a window of its own.
            put(0, 1);
        }
        let channels = if element == CPE { 2 } else { 1 };
        for _ in 0..channels {
            // global_gain, then ics_info: one long window of which no band is coded; no pulses, no noise shaping, no
            // gain control.
            put(0, 8);
            put(0, 11);
            put(0, 3);
        }
    }
    put(END, 3);
    Some(bits.chunks(8).map(|byte| byte.iter().enumerate().fold(0, |all, (at, bit)| all | bit << (7 - at))).collect())
}

fn channel_configuration(config: &[u8]) -> Option<u32> {
    let mut bits = Bits::new(config);
    object_type(&mut bits)?;
    rate(&mut bits)?;
    bits.take(4)
}

/// The audio object type, the last number of `mp4a.40.2`.
pub(crate) fn object_type_of(config: &[u8]) -> Result<u32, Error> {
    object_type(&mut Bits::new(config)).ok_or_else(|| Error::config("AudioSpecificConfig", "it ends early"))
}

/// One AAC frame in its ADTS wrapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adts<'a> {
    /// Two bits that name profile and rate, for comparing; see [`Adts::config`].
    header: [u8; 4],
    /// The raw frame.
    pub frame: &'a [u8],
}

impl<'a> Adts<'a> {
    /// Opens `bytes`, one whole ADTS frame with one raw data block; anything else gives nothing.
    pub fn open(bytes: &'a [u8]) -> Option<Self> {
        let &[0xff, second, third, fourth, fifth, sixth, seventh, ..] = bytes else { return None };
        let length = usize::from(fourth & 3) << 11 | usize::from(fifth) << 3 | usize::from(sixth) >> 5;
        let header_bytes = if second & 1 == 1 { 7 } else { 9 };
        // Sync word, layer 0, and one block per frame.
        if second & 0xf6 != 0xf0 || seventh & 3 != 0 || length != bytes.len() {
            return None;
        }
        Some(Self { header: [0xff, second, third, fourth], frame: bytes.get(header_bytes..)? })
    }

    /// The configuration that goes with the frame.
    pub fn config(&self) -> Result<Bytes, Error> {
        let [_, _, third, fourth] = self.header;
        let object_type = u32::from(third >> 6) + 1;
        let sample_rate = RATES.get(usize::from(third >> 2 & 15)).copied().unwrap_or(0);
        let channels = match u16::from(third & 1) << 2 | u16::from(fourth >> 6) {
            7 => 8,
            channels => channels,
        };
        specific_config(object_type, Audio { sample_rate, channels })
    }
}

fn object_type(bits: &mut Bits) -> Option<u32> {
    match bits.take(5)? {
        TYPE_ESCAPE => Some(32 + bits.take(6)?),
        object_type => Some(object_type),
    }
}

fn rate(bits: &mut Bits) -> Option<u32> {
    match bits.take(4)? {
        RATE_ESCAPE => bits.take(24),
        index => Some(RATES.get(index as usize).copied().unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_survives_its_bytes() {
        for sample_rate in RATES {
            for channels in [1, 2, 6, 8] {
                let audio = Audio { sample_rate, channels };
                assert_eq!(super::audio(&config(audio).unwrap()), Ok(audio));
            }
        }
        // 44.1 kHz stereo as every encoder writes it.
        assert_eq!(&config(Audio { sample_rate: 44_100, channels: 2 }).unwrap()[..], [0x12, 0x10]);
        assert!(config(Audio { sample_rate: 44_000, channels: 2 }).is_err());
        assert!(config(Audio { sample_rate: 44_100, channels: 7 }).is_err());
    }

    #[test]
    fn replicated_bands_count_in_the_rate() {
        // 5 | 22,050 | 1 channel | 44,100 | 2: HE-AAC told explicitly.
        let bits: u32 = 0b00_1010_1110_0010_1000_0010 << 10;
        assert_eq!(audio(&bits.to_be_bytes()), Ok(Audio { sample_rate: 44_100, channels: 1 }));
        assert_eq!(object_type_of(&bits.to_be_bytes()), Ok(5));
        assert_eq!(frame_samples(&bits.to_be_bytes()), Ok(2_048));
        assert_eq!(frame_samples(&[0x12, 0x10]), Ok(1_024));
        assert_eq!(frame_samples(&[0x12, 0x14]), Ok(960));
    }

    #[test]
    fn what_ends_early_or_says_nothing_is_refused() {
        assert!(audio(&[]).is_err());
        assert!(audio(&[0x12]).is_err());
        assert!(audio(&[0x12, 0x00]).is_err(), "no channels");
        assert!(audio(&[0x16, 0x90]).is_err(), "rate index 13");
    }

    #[test]
    fn silence_is_a_frame_of_every_layout() {
        let frame = |channels| silence(&config(Audio { sample_rate: 48_000, channels }).unwrap());
        // id 0, tag 0, 22 bits of an empty channel, id 7.
        assert_eq!(frame(1).unwrap()[..], [0, 0, 0, 0b0000_0111]);
        assert_eq!(frame(2).unwrap()[..], [0b0010_0000, 0, 0, 0, 0, 0, 0b0000_1110]);
        assert_eq!(frame(6).unwrap().len(), 21);
        assert!(frame(8).is_some());
        // Low delay (23) has frames of another kind.
        assert_eq!(silence(&[23 << 3 | 1, 0x90]), None);
    }

    #[test]
    fn adts_is_opened_and_told_apart_from_noise() {
        // AAC-LC, 48 kHz, stereo, no checksum, 10 bytes in all.
        let bytes = [0xff, 0xf1, 0x4c, 0x80, 0x01, 0x5f, 0xfc, 1, 2, 3];
        let adts = Adts::open(&bytes).unwrap();
        assert_eq!(adts.frame, [1, 2, 3]);
        assert_eq!(adts.config(), config(Audio { sample_rate: 48_000, channels: 2 }));
        assert!(Adts::open(&bytes[..9]).is_none(), "cut");
        assert!(Adts::open(&[0; 10]).is_none());
    }
}
