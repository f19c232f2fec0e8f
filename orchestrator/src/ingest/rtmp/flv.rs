//! Media messages: the bodies of FLV tags (Adobe Flash Video File Format 10.1, annex E.4).
//!
//! Says what a body is and where its parts are; never looks into the coded media. Takes the bodies of Enhanced RTMP
//! too (Veovera, Enhanced RTMP v2, "Enhanced Video" and "Enhanced Audio"), which name codecs by four characters.

use bytes::Bytes;

/// Video codecs that are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    H264,
    Hevc,
    Av1,
}

impl Codec {
    /// The codecs by the names that Enhanced RTMP has for them.
    pub(crate) const NAMES: [(&'static str, Self); 3] =
        [("avc1", Self::H264), ("hvc1", Self::Hevc), ("av01", Self::Av1)];

    /// As people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::Hevc => "HEVC",
            Self::Av1 => "AV1",
        }
    }
}

/// What a video message holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Video {
    /// A decoder's configuration record, as MP4 keeps it.
    Config(Codec, Bytes),
    /// A coded picture, as MP4 keeps it.
    Picture {
        /// The tag calls it a key frame.
        key: bool,
        /// Presentation time less decode time.
        offset_ms: i32,
        /// NAL units behind lengths, or OBUs.
        data: Bytes,
    },
    /// Nothing for us: an end of sequence, a command frame, nothing at all.
    Nothing,
}

/// What an audio message holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Audio {
    /// An `AudioSpecificConfig`.
    Config(Bytes),
    /// One raw AAC frame.
    Frame(Bytes),
    /// Nothing for us.
    Nothing,
}

/// Media that isn't taken, in words for the publisher.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsupported {
    /// Another video codec.
    #[error("{0} video over RTMP is not supported: send H.264, HEVC or AV1")]
    Video(String),
    /// Another audio codec.
    #[error("{0} audio over RTMP is not supported: send AAC")]
    Audio(String),
    /// A codec header that can't be used.
    #[error("the {codec} header can't be used: {why}")]
    Config { codec: &'static str, why: String },
    /// Media without codec headers.
    #[error("media came without codec headers for {0} s: restart the publisher")]
    NoConfig(u32),
}

/// Parses a video message.
pub(crate) fn video(body: &Bytes) -> Result<Video, Unsupported> {
    let Some(&first) = body.first() else { return Ok(Video::Nothing) };
    // 5 is a command frame, in both forms.
    if first >> 4 & 7 == 5 {
        return Ok(Video::Nothing);
    }
    if first & 0x80 != 0 {
        return enhanced_video(body);
    }
    match first & 15 {
        7 => {}
        other => return Err(Unsupported::Video(video_name(other))),
    }
    let [_, kind, high, middle, low, ..] = body[..] else { return Ok(Video::Nothing) };
    let data = body.slice(5..);
    Ok(match kind {
        0 if !data.is_empty() => Video::Config(Codec::H264, data),
        1 if !data.is_empty() => {
            Video::Picture { key: first >> 4 == 1, offset_ms: offset_ms([high, middle, low]), data }
        }
        _ => Video::Nothing,
    })
}

/// 24 bits, signed.
fn offset_ms([high, middle, low]: [u8; 3]) -> i32 {
    i32::from_be_bytes([high, middle, low, 0]) >> 8
}

/// A body whose first byte says that it is one of Enhanced RTMP: frame type in bits 4 to 6, packet type in the low
/// four.
fn enhanced_video(body: &Bytes) -> Result<Video, Unsupported> {
    let Some((kind, rest)) = packet(body) else { return Ok(Video::Nothing) };
    if kind == METADATA || kind == SEQUENCE_END {
        return Ok(Video::Nothing);
    }
    let Some((name, data)) = rest.split_first_chunk::<4>() else { return Ok(Video::Nothing) };
    let codec = Codec::NAMES.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, codec)| *codec);
    let Some(codec) = codec.filter(|_| kind != MULTITRACK) else {
        return Err(Unsupported::Video(if kind == MULTITRACK {
            "multitrack".to_owned()
        } else {
            four_characters(name)
        }));
    };
    let key = body[0] >> 4 & 7 == 1;
    // AV1 is never shown in another order than it is sent in.
    let (offset_ms, data) = match (kind, codec, data.split_first_chunk()) {
        (CODED_FRAMES, Codec::H264 | Codec::Hevc, Some((offset, data))) => (offset_ms(*offset), data),
        (CODED_FRAMES, Codec::H264 | Codec::Hevc, None) => return Ok(Video::Nothing),
        _ => (0, data),
    };
    let data = body.slice_ref(data);
    Ok(match kind {
        _ if data.is_empty() => Video::Nothing,
        SEQUENCE_START => Video::Config(codec, data),
        CODED_FRAMES | CODED_FRAMES_X => Video::Picture { key, offset_ms, data },
        _ => Video::Nothing,
    })
}

/// Packet types of Enhanced RTMP. Those of audio have the same numbers, but for 3.
const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const SEQUENCE_END: u8 = 2;
/// With an offset of 0, which is left out.
const CODED_FRAMES_X: u8 = 3;
const METADATA: u8 = 4;
const MULTITRACK: u8 = 6;
const MODIFIED: u8 = 7;

/// The packet type, and what stands behind it and its modifiers.
fn packet(body: &Bytes) -> Option<(u8, &[u8])> {
    let (first, mut rest) = body.split_first()?;
    let mut kind = first & 15;
    while kind == MODIFIED {
        // A size less one in a byte, or in two behind one that is full; the modifier; the next packet type.
        let (size, behind) = rest.split_first()?;
        let (size, behind) = match *size {
            255 => behind.split_first_chunk().map(|(size, behind)| (u16::from_be_bytes(*size), behind))?,
            size => (size.into(), behind),
        };
        let (next, behind) = behind.get(usize::from(size) + 1..)?.split_first()?;
        (kind, rest) = (next & 15, behind);
    }
    Some((kind, rest))
}

/// Parses an audio message.
pub(crate) fn audio(body: &Bytes) -> Result<Audio, Unsupported> {
    let Some(&first) = body.first() else { return Ok(Audio::Nothing) };
    match first >> 4 {
        10 => {}
        9 => return enhanced_audio(body),
        other => return Err(Unsupported::Audio(audio_name(other))),
    }
    let Some(data) = body.get(2..).filter(|data| !data.is_empty()) else { return Ok(Audio::Nothing) };
    let data = body.slice_ref(data);
    Ok(match body[1] {
        0 => Audio::Config(data),
        1 => Audio::Frame(data),
        _ => Audio::Nothing,
    })
}

fn enhanced_audio(body: &Bytes) -> Result<Audio, Unsupported> {
    let Some((kind, rest)) = packet(body) else { return Ok(Audio::Nothing) };
    let Some((name, data)) = rest.split_first_chunk::<4>() else { return Ok(Audio::Nothing) };
    if kind == MULTITRACK || name != AAC {
        return Err(Unsupported::Audio(if kind == MULTITRACK {
            "multitrack".to_owned()
        } else {
            four_characters(name)
        }));
    }
    let data = body.slice_ref(data);
    Ok(match kind {
        _ if data.is_empty() => Audio::Nothing,
        SEQUENCE_START => Audio::Config(data),
        CODED_FRAMES => Audio::Frame(data),
        _ => Audio::Nothing,
    })
}

/// The name that Enhanced RTMP has for AAC.
const AAC: &[u8; 4] = b"mp4a";

fn four_characters(name: &[u8]) -> String {
    if name.iter().all(u8::is_ascii_graphic) {
        String::from_utf8_lossy(name).into_owned()
    } else {
        "an unknown codec's".to_owned()
    }
}

/// Names of codec ids (E.4.3.1; 12 and 13 are in use without a standard).
fn video_name(id: u8) -> String {
    let name = match id {
        2 => "Sorenson H.263",
        3 | 6 => "screen",
        4 | 5 => "VP6",
        12 => "HEVC",
        13 => "AV1",
        _ => return format!("codec {id}"),
    };
    name.to_owned()
}

/// Names of sound formats (E.4.2.1).
fn audio_name(id: u8) -> String {
    let name = match id {
        0 | 3 => "PCM",
        1 => "ADPCM",
        2 | 14 => "MP3",
        4..=6 => "Nellymoser",
        7 | 8 => "G.711",
        11 => "Speex",
        13 => "Opus",
        _ => return format!("format {id}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(slice: &'static [u8]) -> Bytes {
        Bytes::from_static(slice)
    }

    #[test]
    fn pictures_and_their_offsets() {
        let picture = |key, offset_ms| Ok(Video::Picture { key, offset_ms, data: bytes(&[9]) });
        assert_eq!(video(&bytes(&[0x17, 1, 0, 0, 80, 9])), picture(true, 80));
        assert_eq!(video(&bytes(&[0x27, 1, 0xff, 0xff, 0xff, 9])), picture(false, -1));
        assert_eq!(video(&bytes(&[0x27, 1, 0x80, 0, 0, 9])), picture(false, -8_388_608));
        assert_eq!(video(&bytes(&[0x17, 0, 0, 0, 0, 1, 2])), Ok(Video::Config(Codec::H264, bytes(&[1, 2]))));
    }

    #[test]
    fn enhanced_video_with_and_without_offsets() {
        let picture = |key, offset_ms| Ok(Video::Picture { key, offset_ms, data: bytes(b"..") });
        assert_eq!(video(&bytes(b"\x90hvc1..")), Ok(Video::Config(Codec::Hevc, bytes(b".."))));
        assert_eq!(video(&bytes(b"\x90av01..")), Ok(Video::Config(Codec::Av1, bytes(b".."))));
        assert_eq!(video(&bytes(b"\x91hvc1\x00\x00\x50..")), picture(true, 80));
        assert_eq!(video(&bytes(b"\xa1hvc1\xff\xff\xff..")), picture(false, -1));
        assert_eq!(video(&bytes(b"\xa3hvc1..")), picture(false, 0));
        assert_eq!(video(&bytes(b"\x91av01..")), picture(true, 0));
        // A modifier of three bytes, and one of 256, before the frame.
        assert_eq!(video(&bytes(b"\x97\x02abc\x03hvc1..")), picture(true, 0));
        let long = [&b"\x97\xff\x00\xff"[..], &[0; 256], b"\x03hvc1.."].concat();
        assert_eq!(video(&long.into()), picture(true, 0));
        for nothing in [&b"\x92hvc1"[..], b"\x94hvc1..", b"\x91hvc1\x00\x00", b"\x97\xff", b"\xd1hvc1", b"\x90"] {
            assert_eq!(video(&bytes(nothing)), Ok(Video::Nothing), "{nothing:?}");
        }
        assert!(video(&bytes(b"\x96\x00hvc1..")).unwrap_err().to_string().contains("multitrack"));
    }

    #[test]
    fn enhanced_sound() {
        assert_eq!(audio(&bytes(b"\x90mp4a\x12\x10")), Ok(Audio::Config(bytes(&[0x12, 0x10]))));
        assert_eq!(audio(&bytes(b"\x91mp4a..")), Ok(Audio::Frame(bytes(b".."))));
        assert_eq!(audio(&bytes(b"\x92mp4a")), Ok(Audio::Nothing));
    }

    #[test]
    fn what_is_no_picture_is_nothing() {
        for body in
            [&[][..], &[0x17], &[0x17, 1, 0, 0, 0], &[0x17, 2, 0, 0, 0, 1], &[0x17, 0, 0, 0, 0], &[0x57, 0], &[0xd7]]
        {
            assert_eq!(video(&bytes(body)), Ok(Video::Nothing), "{body:?}");
        }
        for body in [&[][..], &[0xaf], &[0xaf, 1], &[0xaf, 0], &[0xaf, 2, 3]] {
            assert_eq!(audio(&bytes(body)), Ok(Audio::Nothing), "{body:?}");
        }
    }

    #[test]
    fn sound() {
        assert_eq!(audio(&bytes(&[0xaf, 0, 0x12, 0x10])), Ok(Audio::Config(bytes(&[0x12, 0x10]))));
        assert_eq!(audio(&bytes(&[0xae, 1, 7])), Ok(Audio::Frame(bytes(&[7]))));
    }

    #[test]
    fn other_codecs_are_named() {
        let named = |name: &str| Err(Unsupported::Video(name.to_owned()));
        assert_eq!(video(&bytes(b"\x90vp09....")), named("vp09"));
        assert_eq!(video(&bytes(&[0x1c, 1, 0, 0, 0, 1])), named("HEVC"));
        assert_eq!(video(&bytes(&[0x90, 1, 2, 3, 4])), named("an unknown codec's"));
        let named = |name: &str| Err(Unsupported::Audio(name.to_owned()));
        assert_eq!(audio(&bytes(&[0x2f, 1])), named("MP3"));
        assert_eq!(audio(&bytes(b"\x90Opus.")), named("Opus"));
        assert!(audio(&bytes(&[0xb2])).unwrap_err().to_string().contains("Speex audio over RTMP"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let body = Bytes::from(body);
            if let Ok(Video::Picture { data, offset_ms, .. }) = video(&body) {
                prop_assert!(data.len() <= body.len() - 5);
                prop_assert!((-(1 << 23)..1 << 23).contains(&offset_ms));
            }
            if let Ok(Audio::Frame(data) | Audio::Config(data)) = audio(&body) {
                prop_assert!(data.len() <= body.len() - 2);
            }
        }
    }
}
