//! A publisher of single RTMP messages, for what no encoder at hand sends: times that jump or wrap, pauses, codecs
//! that Debian's ffmpeg can't push. Takes FLV tags; says nothing that a test did not ask for.

use std::{
    collections::HashMap,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    thread,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use millrace_cmaf::{Codec, Sample};
use millrace_media::{
    Launcher, Limits,
    job::{Demux, Demuxed},
};
use millrace_proto::api::Stream;
use rtmp_rs::{
    amf::AmfValue,
    protocol::{Handshake, HandshakeRole, RtmpMessage, constants as rtmp, message::Command},
};

use crate::{house::built, push::address, wait::s};

/// Longest that anything here may take.
const PATIENCE: Duration = s(60);
/// Bytes of a chunk.
const CHUNK_BYTES: usize = 4_096;
/// From this time on chunks carry it in a field of its own (RTMP 1.0, 5.3.1.3).
const EXTENDED_MS: u32 = 0xff_ffff;

/// An FLV tag, which is an RTMP message: sound (8), picture (9) or data (18).
#[derive(Debug, Clone)]
pub(crate) struct Tag {
    pub(crate) kind: u8,
    pub(crate) time_ms: u32,
    pub(crate) body: Bytes,
    /// How long the publisher says nothing before it.
    pub(crate) pause: Duration,
}

impl Tag {
    pub(crate) fn new(kind: u8, time_ms: u32, body: impl Into<Bytes>) -> Self {
        Self { kind, time_ms, body: body.into(), pause: Duration::ZERO }
    }

    /// A codec's header, or what stands before it: it belongs to no time.
    pub(crate) fn is_header(&self) -> bool {
        self.kind == rtmp::MSG_DATA_AMF0 || self.body.get(1) == Some(&0)
    }
}

/// All tags of an FLV file (Adobe Flash Video File Format 10.1, annex E).
#[track_caller]
pub(crate) fn tags(file: &Path) -> Vec<Tag> {
    let bytes = Bytes::from(fs::read(file).expect("the file can be read"));
    // The file's header, and the size of no tag.
    let mut at = 9 + 4;
    let mut tags = Vec::new();
    while let Some(head) = bytes.get(at..at + 11) {
        let size = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
        let time_ms = u32::from_be_bytes([head[7], head[4], head[5], head[6]]);
        tags.push(Tag::new(head[0], time_ms, bytes.slice(at + 11..at + 11 + size)));
        at += 11 + size + 4;
    }
    assert!(tags.len() > 3, "{} holds no media", file.display());
    tags
}

/// What is in a file as tags of Enhanced RTMP, sound as ever: HEVC or AV1 video, and AAC.
#[track_caller]
pub(crate) fn enhanced(file: &Path) -> Vec<Tag> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let events = runtime.block_on(demux(file));
    let first_ms = |sample: &Sample, scale: u32| sample.dts * 1_000 / i64::from(scale);
    let (mut video_scale, mut audio_scale, mut name) = (1, 1, *b"none");
    let mut tags = Vec::new();
    let mut start_ms = None;
    for event in events {
        match event {
            Demuxed::Tracks { video, audio } => {
                let (Some(video), Some(audio)) = (video, audio) else { panic!("it has no picture or no sound") };
                (video_scale, audio_scale) = (video.timescale, audio.timescale);
                let config = match &video.codec {
                    Codec::Hevc { config, .. } => (*b"hvc1", config),
                    Codec::Av1 { config, .. } => (*b"av01", config),
                    other => panic!("{other:?} is not for this"),
                };
                name = config.0;
                tags.push(Tag::new(9, 0, [&[0x90], &name[..], config.1].concat()));
                let Codec::Aac { config, .. } = &audio.codec else { panic!("sound is AAC") };
                tags.push(Tag::new(8, 0, [&[0xaf, 0], &config[..]].concat()));
            }
            Demuxed::Video(sample) => {
                let at_ms = first_ms(&sample, video_scale);
                let time_ms = at_ms - *start_ms.get_or_insert(at_ms);
                let offset_ms = (sample.pts * 1_000 / i64::from(video_scale) - at_ms) as i32;
                let frame = if sample.key { 0x90 } else { 0xa0 };
                // Coded frames with an offset, or without one; AV1 has none.
                let head = match (&name, offset_ms) {
                    (b"av01", _) => [&[frame | 1], &name[..]].concat(),
                    (_, 0) => [&[frame | 3], &name[..]].concat(),
                    _ => [&[frame | 1], &name[..], &offset_ms.to_be_bytes()[1..]].concat(),
                };
                tags.push(Tag::new(9, time_ms as u32, [&head[..], &sample.data].concat()));
            }
            Demuxed::Audio(sample) => {
                let time_ms = first_ms(&sample, audio_scale) - start_ms.unwrap_or(0);
                // What comes before the first picture's decode time has no place in unsigned milliseconds.
                if let Ok(time_ms) = u32::try_from(time_ms) {
                    tags.push(Tag::new(8, time_ms, [&[0xaf, 1], &sample.data[..]].concat()));
                }
            }
            Demuxed::Ignored(_) | Demuxed::End => {}
        }
    }
    tags
}

async fn demux(file: &Path) -> Vec<Demuxed> {
    let launcher = Launcher::new(built("millrace-media"));
    let job = Demux { input: file.to_owned() };
    let mut child = launcher.demux(&job, &Limits::whole_file()).await.expect("the media child starts");
    let mut events = Vec::new();
    while let Some(event) = child.next().await.expect("the file can be read") {
        events.push(event);
    }
    events
}

/// Publishes `tags` into `stream` as fast as they are taken, but for their pauses, and says goodbye.
#[track_caller]
pub(crate) fn publish(stream: &Stream, tags: &[Tag]) {
    let address = address(stream);
    let (server, key) = address.rsplit_once('/').expect("an address and a key");
    let host = server.strip_prefix("rtmp://").and_then(|rest| rest.split('/').next()).expect("an RTMP address");
    let mut peer = Peer::greet(TcpStream::connect(host).expect("the server listens"));
    peer.ask(key);
    for tag in tags {
        thread::sleep(tag.pause);
        peer.send(tag.kind, tag.time_ms, &tag.body);
    }
    peer.goodbye();
}

/// One connection to a server.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: TcpStream,
}

impl Peer {
    /// Shakes hands.
    #[track_caller]
    pub(crate) fn greet(mut stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket has a read timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket has a write timeout");
        let mut handshake = Handshake::new(HandshakeRole::Client);
        let hello = handshake.generate_initial().expect("a client speaks first");
        stream.write_all(&hello).expect("the server reads");
        let mut answer = vec![0; 1 + 2 * 1_536];
        stream.read_exact(&mut answer).expect("the server answers");
        let last = handshake.process(&mut Bytes::from(answer)).expect("the answer is right");
        stream.write_all(&last.expect("there is an answer to it")).expect("the server reads");
        let mut peer = Self { stream };
        peer.send(rtmp::MSG_SET_CHUNK_SIZE, 0, &(CHUNK_BYTES as u32).to_be_bytes());
        peer
    }

    /// Asks to publish with `key`. The answer is not waited for: a server that refuses closes.
    #[track_caller]
    pub(crate) fn ask(&mut self, key: &str) {
        let app = HashMap::from([("app".to_owned(), AmfValue::String("live".to_owned()))]);
        self.command("connect", AmfValue::Object(app), vec![]);
        self.command("createStream", AmfValue::Null, vec![]);
        let arguments = [key, "live"].map(|text| AmfValue::String(text.to_owned()));
        self.command("publish", AmfValue::Null, arguments.into());
    }

    #[track_caller]
    fn command(&mut self, name: &str, command_object: AmfValue, arguments: Vec<AmfValue>) {
        let command = Command { name: name.to_owned(), transaction_id: 1.0, command_object, arguments, stream_id: 0 };
        let (kind, payload) = RtmpMessage::Command(command).encode();
        self.send(kind, 0, &payload);
    }

    /// Sends one message in chunks (RTMP 1.0, 5.3.1).
    #[track_caller]
    pub(crate) fn send(&mut self, kind: u8, time_ms: u32, body: &[u8]) {
        let mut out = BytesMut::new();
        let extended = (time_ms >= EXTENDED_MS).then(|| time_ms.to_be_bytes());
        // Chunk stream 2 is for the protocol itself; the first header is whole.
        let chunk_stream = if kind < 8 { 2 } else { 5 };
        out.extend_from_slice(&[chunk_stream]);
        out.extend_from_slice(&time_ms.min(EXTENDED_MS).to_be_bytes()[1..]);
        out.extend_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
        out.extend_from_slice(&[kind]);
        out.extend_from_slice(&u32::from(kind >= 8).to_le_bytes());
        out.extend_from_slice(extended.as_ref().map_or(&[], |time| &time[..]));
        for (at, chunk) in body.chunks(CHUNK_BYTES).enumerate() {
            if at > 0 {
                out.extend_from_slice(&[0xc0 | chunk_stream]);
                out.extend_from_slice(extended.as_ref().map_or(&[], |time| &time[..]));
            }
            out.extend_from_slice(chunk);
        }
        self.stream.write_all(&out).expect("the server takes what is published");
    }

    /// Says goodbye, and waits until the server has taken all that was sent.
    #[track_caller]
    pub(crate) fn goodbye(mut self) {
        self.command("deleteStream", AmfValue::Null, vec![AmfValue::Number(1.0)]);
        let mut rest = Vec::new();
        // Its answers are of no interest here; after the last one it waits for us to close.
        let unpublished = b"NetStream.Unpublish.Success";
        let mut piece = [0; 4_096];
        while !rest.windows(unpublished.len()).any(|window| window == unpublished) {
            let count = self.stream.read(&mut piece).expect("the server answers");
            assert!(count > 0, "the server closed: {}", String::from_utf8_lossy(&rest));
            rest.extend_from_slice(&piece[..count]);
        }
    }
}
