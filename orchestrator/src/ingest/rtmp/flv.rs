//! Media messages: the bodies of FLV tags (Adobe Flash Video File Format 10.1, annex E.4).
//!
//! Says what a body is and where its parts are; never looks into the coded media. Enhanced RTMP (other codecs
//! by four characters) is recognised and refused here: this is where it will be taken in.

use bytes::Bytes;

/// What a video message holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Video {
    /// An `AVCDecoderConfigurationRecord`.
    Config(Bytes),
    /// NAL units behind lengths.
    Picture {
        /// The tag calls it a key frame.
        key: bool,
        /// Presentation time less decode time.
        offset_ms: i32,
        /// The NAL units.
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
    #[error("{0} video over RTMP is not supported: send H.264")]
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
        return Err(Unsupported::Video(four_characters(body)));
    }
    match first & 15 {
        7 => {}
        other => return Err(Unsupported::Video(video_name(other))),
    }
    let [_, kind, high, middle, low, ..] = body[..] else { return Ok(Video::Nothing) };
    let data = body.slice(5..);
    Ok(match kind {
        0 if !data.is_empty() => Video::Config(data),
        1 if !data.is_empty() => {
            // 24 bits, signed.
            let offset_ms = i32::from_be_bytes([high, middle, low, 0]) >> 8;
            Video::Picture { key: first >> 4 == 1, offset_ms, data }
        }
        _ => Video::Nothing,
    })
}

/// Parses an audio message.
pub(crate) fn audio(body: &Bytes) -> Result<Audio, Unsupported> {
    let Some(&first) = body.first() else { return Ok(Audio::Nothing) };
    match first >> 4 {
        10 => {}
        9 => return Err(Unsupported::Audio(four_characters(body))),
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

fn four_characters(body: &Bytes) -> String {
    match body.get(1..5) {
        Some(code) if code.iter().all(u8::is_ascii_graphic) => String::from_utf8_lossy(code).into_owned(),
        _ => "an unknown codec's".to_owned(),
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
        assert_eq!(video(&bytes(&[0x17, 0, 0, 0, 0, 1, 2])), Ok(Video::Config(bytes(&[1, 2]))));
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
        assert_eq!(video(&bytes(b"\x90hvc1....")), named("hvc1"));
        assert_eq!(video(&bytes(&[0x1c, 1, 0, 0, 0, 1])), named("HEVC"));
        assert_eq!(video(&bytes(&[0x90, 1])), named("an unknown codec's"));
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
                prop_assert_eq!(data.len(), body.len() - 5);
                prop_assert!((-(1 << 23)..1 << 23).contains(&offset_ms));
            }
            if let Ok(Audio::Frame(data) | Audio::Config(data)) = audio(&body) {
                prop_assert_eq!(data.len(), body.len() - 2);
            }
        }
    }
}
