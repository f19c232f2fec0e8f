//! One connection's protocol after the handshake (RTMP 1.0, sections 5.4 and 7). No I/O, no clock.
//!
//! Messages go in; answers pile up as bytes to write, and what concerns others comes out as [`Step`]s. Whether a
//! publisher may publish is asked with [`Step::Publish`] and answered with [`Session::accept`] or
//! [`Session::refuse`].

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use rtmp_rs::{
    amf::AmfValue as Value,
    protocol::{
        ChunkEncoder, ConnectResponseBuilder, RtmpMessage,
        chunk::RtmpChunk,
        constants as rtmp,
        message::{Command, UserControlEvent},
    },
};

use crate::ingest::event::Refusal;

use super::{amf, chunk::Message, error::Error, flv};

/// The one application.
const APP: &str = "live";
/// Longest stream key in bytes.
const KEY_BYTES_MAX: usize = 256;
/// Chunks that we send.
const CHUNK_BYTES: u32 = 4_096;
/// The id of the one message stream.
const STREAM: u32 = 1;

/// What a message means for others.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// The peer asks to publish with this key.
    Publish(String),
    /// The fields of `onMetaData`.
    Metadata(Value),
    /// The body of a video message, and its time.
    Video(u32, Bytes),
    /// The body of an audio message, and its time.
    Audio(u32, Bytes),
    /// The publisher is done.
    Goodbye,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Connected,
    Asked,
    Publishing,
    Done,
}

/// The protocol's state and the answers to write.
pub(crate) struct Session {
    state: State,
    window_bytes: u32,
    encoder: ChunkEncoder,
    out: BytesMut,
}

impl Session {
    pub(crate) fn new() -> Self {
        Self {
            state: State::New,
            window_bytes: rtmp::DEFAULT_WINDOW_ACK_SIZE,
            encoder: ChunkEncoder::new(),
            out: BytesMut::new(),
        }
    }

    /// What is to be written to the peer; empty if nothing is.
    pub(crate) fn take_out(&mut self) -> BytesMut {
        self.out.split()
    }

    /// After how many bytes the peer wants an acknowledgement.
    pub(crate) fn window_bytes(&self) -> u32 {
        self.window_bytes
    }

    /// Takes a message. An error ends the connection, once the answers that stand are written.
    pub(crate) fn take(&mut self, message: Message) -> Result<Option<Step>, Error> {
        let Message { kind, timestamp_ms, stream: _, payload } = message;
        let publishing = self.state == State::Publishing;
        match kind {
            rtmp::MSG_VIDEO if publishing => return Ok(Some(Step::Video(timestamp_ms, payload))),
            rtmp::MSG_AUDIO if publishing => return Ok(Some(Step::Audio(timestamp_ms, payload))),
            rtmp::MSG_DATA_AMF0 | rtmp::MSG_DATA_AMF3 if publishing => return Ok(metadata(&payload)),
            rtmp::MSG_COMMAND_AMF0 => return self.command(&payload),
            // AMF3 commands are AMF0 values behind a byte that says so.
            rtmp::MSG_COMMAND_AMF3 => return self.command(payload.strip_prefix(&[0]).unwrap_or(&payload)),
            rtmp::MSG_WINDOW_ACK_SIZE => {
                if let Some(bytes) = payload.first_chunk() {
                    self.window_bytes = u32::from_be_bytes(*bytes).max(1);
                }
            }
            rtmp::MSG_USER_CONTROL => {
                if let Some(&[0, 6, a, b, c, d]) = payload.first_chunk() {
                    let event = UserControlEvent::PingResponse(u32::from_be_bytes([a, b, c, d]));
                    self.control(&RtmpMessage::UserControl(event));
                }
            }
            _ => {}
        }
        Ok(None)
    }

    /// Tells the peer that it may publish.
    pub(crate) fn accept(&mut self) {
        self.state = State::Publishing;
        self.control(&RtmpMessage::UserControl(UserControlEvent::StreamBegin(STREAM)));
        self.status("status", "NetStream.Publish.Start", "publishing");
    }

    /// Tells the peer why it may not publish, or not go on.
    pub(crate) fn refuse(&mut self, error: &Error) {
        let code = match error {
            Error::Refused(Refusal::WrongKey) => "NetStream.Publish.Unauthorized",
            Error::Refused(Refusal::Busy | Refusal::Ended) => "NetStream.Publish.BadName",
            Error::Media(_) => "NetStream.Publish.Rejected",
            _ => "NetStream.Failed",
        };
        self.state = State::Done;
        self.status("error", code, &error.to_string());
    }

    /// Acknowledges all bytes up to this count, modulo 2^32.
    pub(crate) fn acknowledge(&mut self, bytes: u64) {
        self.control(&RtmpMessage::Acknowledgement { sequence: bytes as u32 });
    }

    fn command(&mut self, payload: &[u8]) -> Result<Option<Step>, Error> {
        let (values, read) = amf::read(payload);
        let (Some(name), Some(transaction)) =
            (values.first().and_then(Value::as_str), values.get(1).and_then(Value::as_number))
        else {
            let why = read.err().map_or_else(|| "it has no name or transaction".to_owned(), |error| error.to_string());
            return Err(Error::Protocol(format!("a command is broken: {why}")));
        };
        match name {
            "connect" => self.connect(transaction, values.get(2)).map(|()| None),
            "createStream" => {
                self.expect_connected(name)?;
                self.answer(transaction, Value::Number(STREAM.into()));
                Ok(None)
            }
            "releaseStream" => {
                self.answer(transaction, Value::Undefined);
                Ok(None)
            }
            "FCPublish" => {
                self.command_out(0, "onFCPublish", Value::Null, &[("code", "NetStream.Publish.Start")]);
                Ok(None)
            }
            "publish" => {
                self.expect_connected(name)?;
                self.state = State::Asked;
                let name = values.get(3).and_then(Value::as_str).unwrap_or_default();
                let key = name.split('?').next().unwrap_or_default();
                if key.is_empty() || key.len() > KEY_BYTES_MAX {
                    return Err(Error::Refused(Refusal::WrongKey));
                }
                Ok(Some(Step::Publish(key.to_owned())))
            }
            "FCUnpublish" | "deleteStream" | "closeStream" if self.state == State::Publishing => {
                self.state = State::Done;
                self.status("status", "NetStream.Unpublish.Success", "unpublished");
                Ok(Some(Step::Goodbye))
            }
            "play" | "play2" => {
                let text = "this address takes publishers only: play the stream's HLS address";
                self.status("error", "NetStream.Play.Failed", text);
                Err(Error::Command(text.to_owned()))
            }
            _ => Ok(None),
        }
    }

    fn connect(&mut self, transaction: f64, object: Option<&Value>) -> Result<(), Error> {
        if self.state != State::New {
            return Err(Error::Protocol("a second connect command".to_owned()));
        }
        let app = object.and_then(|object| object.get_string("app")).unwrap_or_default();
        let app = app.split('?').next().unwrap_or_default().trim_matches('/');
        if app != APP {
            // `app` is the peer's own word, and may be half a stream key: it stays out of logs and answers.
            let text = format!("no such application: publish to rtmp://HOST:PORT/{APP}/STREAM_KEY");
            let info = info(&[("level", "error"), ("code", "NetConnection.Connect.Rejected"), ("description", &text)]);
            self.send(0, &RtmpMessage::Command(Command::error(transaction, Value::Null, info)));
            return Err(Error::Command(text));
        }
        self.state = State::Connected;
        self.control(&RtmpMessage::WindowAckSize(rtmp::DEFAULT_WINDOW_ACK_SIZE));
        let (size, limit_type) = (rtmp::DEFAULT_PEER_BANDWIDTH, rtmp::BANDWIDTH_LIMIT_DYNAMIC);
        self.control(&RtmpMessage::SetPeerBandwidth { size, limit_type });
        self.control(&RtmpMessage::SetChunkSize(CHUNK_BYTES));
        self.encoder.set_chunk_size(CHUNK_BYTES);
        let mut answer = ConnectResponseBuilder::new().build(transaction);
        if let Value::Object(properties) = &mut answer.command_object {
            properties.extend(enhanced());
        }
        self.send(0, &RtmpMessage::Command(answer));
        Ok(())
    }

    fn expect_connected(&self, name: &str) -> Result<(), Error> {
        match self.state {
            State::Connected => Ok(()),
            State::New => Err(Error::Protocol(format!("{name} before connect"))),
            State::Asked | State::Publishing | State::Done => {
                Err(Error::Protocol("one stream per connection: open another".to_owned()))
            }
        }
    }

    fn answer(&mut self, transaction: f64, value: Value) {
        self.send(0, &RtmpMessage::Command(Command::result(transaction, Value::Null, value)));
    }

    fn status(&mut self, level: &str, code: &str, text: &str) {
        let fields = [("level", level), ("code", code), ("description", text)];
        self.command_out(STREAM, rtmp::CMD_ON_STATUS, Value::Null, &fields);
    }

    fn command_out(&mut self, stream_id: u32, name: &str, command_object: Value, fields: &[(&str, &str)]) {
        let arguments = vec![info(fields)];
        let command = Command { name: name.to_owned(), transaction_id: 0.0, command_object, arguments, stream_id };
        self.send(stream_id, &RtmpMessage::Command(command));
    }

    fn control(&mut self, message: &RtmpMessage) {
        self.send(0, message);
    }

    fn send(&mut self, stream_id: u32, message: &RtmpMessage) {
        let csid =
            if matches!(message, RtmpMessage::Command(_)) { rtmp::CSID_COMMAND } else { rtmp::CSID_PROTOCOL_CONTROL };
        let (message_type, payload) = message.encode();
        // Full headers only: some publishers read nothing else, and we send a handful.
        self.encoder.reset();
        self.encoder.encode(&RtmpChunk { csid, timestamp: 0, message_type, stream_id, payload }, &mut self.out);
    }
}

/// What is taken of Enhanced RTMP: version 1 publishers look for `fourCcList`, those of version 2 for the maps. Said
/// to all: who does not know it passes over it.
fn enhanced() -> [(String, Value); 4] {
    // `FourCcInfoMask.CanForward`: it is passed on, not decoded here.
    const CAN_FORWARD: f64 = 4.0;
    let map = |names: &[&str]| {
        Value::Object(names.iter().map(|name| ((*name).to_owned(), Value::Number(CAN_FORWARD))).collect())
    };
    let video = flv::Codec::NAMES.map(|(name, _)| name);
    let list = video.map(|name| Value::String(name.to_owned()));
    [
        ("fourCcList".to_owned(), Value::Array(list.into())),
        ("videoFourCcInfoMap".to_owned(), map(&video)),
        ("audioFourCcInfoMap".to_owned(), map(&["mp4a"])),
        ("capsEx".to_owned(), Value::Number(0.0)),
    ]
}

fn info(fields: &[(&str, &str)]) -> Value {
    let fields = fields.iter().map(|(name, text)| ((*name).to_owned(), Value::String((*text).to_owned())));
    Value::Object(fields.collect::<HashMap<_, _>>())
}

/// The fields of `onMetaData`, by itself or within `@setDataFrame`. Broken or other data says nothing.
fn metadata(payload: &[u8]) -> Option<Step> {
    let (values, _) = amf::read(payload.strip_prefix(&[0]).unwrap_or(payload));
    let at = values.iter().take(2).position(|value| value.as_str() == Some("onMetaData"))?;
    let fields = values.into_iter().nth(at + 1)?;
    fields.as_object().is_some().then_some(Step::Metadata(fields))
}

#[cfg(test)]
mod tests;
