//! What parent and child say to each other over the child's standard input and output: frames of a
//! big-endian length, a kind and a body.
//!
//! The child says [`Message::Hello`], the parent sends one [`Request`] and keeps its end open (its closing
//! tells the child that the parent is gone), the child answers and ends. Behind a request to follow come the bytes of
//! the stream, and the closing is its end. Behind a request to listen, to look or to portray come questions ([`Ask`]), one after each answer, until
//! the closing.

use std::io;

use bytes::{Buf, BufMut, Bytes};
use millrace_cmaf::{Sample, Track};
use millrace_proto::{captions::Heard, offer::Sandbox, vision::Sights};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Failure, Limits, Portrait,
    card::Tried,
    job::{Gauged, Inspection, Job, Probed, Stilled, Transcoded},
    sandbox::Mode,
    warm::Loaded,
};

/// The version of these messages; both sides refuse another one.
pub const PROTOCOL_VERSION: u32 = 8;
/// The program's version, told in the handshake.
pub const PROGRAM_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Largest frame either side takes: one coded picture of 4K at its worst has room.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// The child's exit code when an allocation fails: it can't say more then.
pub const EXIT_OUT_OF_MEMORY: i32 = 12;
/// The child's exit code after a system call that its sandbox forbids; its log names the call.
pub const EXIT_FORBIDDEN: i32 = 31;

const JSON: u8 = b'j';
const VIDEO: u8 = b'v';
const AUDIO: u8 = b'a';

/// Bytes of a sample's times, duration and key flag.
const SAMPLE_HEADER_BYTES: usize = 8 + 8 + 4 + 1;

/// What the parent asks, once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// The parent's process id: a child whose parent is another by then ends.
    pub parent: u32,
    /// What the child may use.
    pub limits: Limits,
    /// Whether the job waits for a whole sandbox.
    pub sandbox: Mode,
    /// What to do.
    pub job: Job,
}

/// What the child says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// Always first.
    Hello {
        /// [`PROGRAM_VERSION`] of the child.
        version: String,
        /// [`PROTOCOL_VERSION`] of the child.
        protocol: u32,
    },
    /// What holds of the sandbox.
    Confined(Sandbox),
    /// A transcode is done.
    Transcoded(Transcoded),
    /// An inspection is done, one answer for each segment.
    Inspected(Vec<Inspection>),
    /// A segment was gauged.
    Gauged(Gauged),
    /// A probe is done.
    Probed(Probed),
    /// A card was tried.
    Tried(Tried),
    /// Stills are made.
    Stilled(Stilled),
    /// The transport streams are written.
    Muxed,
    /// A child has loaded its models; questions may come.
    Loaded(Loaded),
    /// A window was heard; the next one may come.
    Heard(Heard),
    /// Segments were looked at; the next ones may come.
    Sighted(Sights),
    /// A picture of a product was looked at; the next one may come.
    Portrayed(Portrait),
    /// A demux found these tracks; samples follow, then `End`.
    Tracks {
        /// The video track.
        video: Option<Track>,
        /// The audio track.
        audio: Option<Track>,
    },
    /// A demux passes over these tracks, told in words.
    Ignored(Vec<String>),
    /// A demux has passed on everything.
    End,
    /// The job came to nothing.
    Failed(Failure),
}

/// One frame from the child.
#[derive(Debug, Clone)]
pub enum Frame {
    /// A message.
    Message(Message),
    /// A video sample.
    Video(Sample),
    /// An audio sample.
    Audio(Sample),
}

impl Frame {
    /// The frame's bytes, length first.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Message(message) => json(message),
            Self::Video(sample) => encode_sample(VIDEO, sample),
            Self::Audio(sample) => encode_sample(AUDIO, sample),
        }
    }

    /// Reads a frame's body: kind and what follows, without the length.
    pub fn decode(mut body: Bytes) -> io::Result<Self> {
        if body.is_empty() {
            return Err(invalid("an empty frame"));
        }
        match body.get_u8() {
            JSON => Ok(Self::Message(parse(&body)?)),
            VIDEO => decode_sample(body).map(Self::Video),
            AUDIO => decode_sample(body).map(Self::Audio),
            kind => Err(invalid(format!("a frame of unknown kind {kind}"))),
        }
    }
}

impl Request {
    /// The frame's bytes, length first.
    pub fn encode(&self) -> Vec<u8> {
        json(self)
    }

    /// Reads one request; what stands behind it is left alone.
    pub fn read(from: &mut impl io::Read) -> io::Result<Self> {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let mut body = vec![0; frame_bytes(length)?];
        from.read_exact(&mut body)?;
        match body.split_first() {
            Some((&JSON, text)) => parse(text),
            _ => Err(invalid("no request")),
        }
    }
}

/// A question for a child whose models are loaded: one frame of JSON, and behind it the bytes that it counts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ask<T> {
    /// What to hear or to look at.
    pub asked: T,
    /// Bytes of the header, then of each segment.
    pub lengths: Vec<u32>,
}

impl<T: Serialize> Ask<T> {
    /// The frame's bytes, length first, without the media.
    pub fn encode(&self) -> Vec<u8> {
        json(self)
    }
}

impl<T: DeserializeOwned> Ask<T> {
    /// Reads one with its media; nothing at the end.
    pub fn read(from: &mut impl io::Read) -> io::Result<Option<(T, Vec<Vec<u8>>)>> {
        let mut length = [0; 4];
        if from.read(&mut length[..1])? == 0 {
            return Ok(None);
        }
        from.read_exact(&mut length[1..])?;
        let mut body = vec![0; frame_bytes(length)?];
        from.read_exact(&mut body)?;
        let Some((&JSON, text)) = body.split_first() else { return Err(invalid("no question")) };
        let ask: Self = parse(text)?;
        let total: u64 = ask.lengths.iter().map(|length| u64::from(*length)).sum();
        if total > FRAME_BYTES_MAX as u64 {
            return Err(invalid(format!("a question of {total} bytes")));
        }
        let mut media = Vec::with_capacity(ask.lengths.len());
        for length in &ask.lengths {
            let mut bytes = vec![0; *length as usize];
            from.read_exact(&mut bytes)?;
            media.push(bytes);
        }
        Ok(Some((ask.asked, media)))
    }
}

/// A frame's length, checked.
pub(crate) fn frame_bytes(length: [u8; 4]) -> io::Result<usize> {
    match u32::from_be_bytes(length) as usize {
        length @ 1..=FRAME_BYTES_MAX => Ok(length),
        length => Err(invalid(format!("a frame of {length} bytes"))),
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    let mut frame = vec![0, 0, 0, 0, JSON];
    serde_json::to_writer(&mut frame, value).expect("messages have no maps with other keys than text");
    with_length(frame)
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> io::Result<T> {
    serde_json::from_slice(text).map_err(invalid)
}

fn encode_sample(kind: u8, sample: &Sample) -> Vec<u8> {
    let mut frame = Vec::with_capacity(5 + SAMPLE_HEADER_BYTES + sample.data.len());
    frame.put_u32(0);
    frame.put_u8(kind);
    frame.put_i64(sample.pts);
    frame.put_i64(sample.dts);
    frame.put_u32(sample.duration);
    frame.put_u8(sample.key.into());
    frame.put_slice(&sample.data);
    with_length(frame)
}

fn decode_sample(mut body: Bytes) -> io::Result<Sample> {
    if body.len() < SAMPLE_HEADER_BYTES {
        return Err(invalid("a sample without its times"));
    }
    Ok(Sample {
        pts: body.get_i64(),
        dts: body.get_i64(),
        duration: body.get_u32(),
        key: body.get_u8() != 0,
        data: body,
    })
}

fn with_length(mut frame: Vec<u8>) -> Vec<u8> {
    let length = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn samples_survive_the_pipe(
            pts: i64, dts: i64, duration: u32, key: bool, data in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let sample = Sample { pts, dts, duration, key, data: data.into() };
            let bytes = Frame::Video(sample.clone()).encode();
            let length = frame_bytes(bytes[..4].try_into().unwrap()).unwrap();
            prop_assert_eq!(length, bytes.len() - 4);
            match Frame::decode(Bytes::from(bytes).slice(4..)).unwrap() {
                Frame::Video(back) => prop_assert_eq!(back, sample),
                other => prop_assert!(false, "{:?}", other),
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Frame::decode(bytes.clone().into());
            let _ = Request::read(&mut &bytes[..]);
        }
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_before_it_is_read() {
        assert!(frame_bytes(*b"HTTP").is_err());
        assert!(frame_bytes([0; 4]).is_err());
    }
}
