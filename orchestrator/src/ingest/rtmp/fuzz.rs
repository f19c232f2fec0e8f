//! RTMP without its sockets, for [`crate::fuzz`]: any bytes from the handshake's end on become events and segments.

use bytes::{Bytes, BytesMut};

use super::{
    amf,
    assemble::{Assembler, Limits},
    chunk::Reader,
    session::{Session, Step},
};
use crate::fuzz::{Events, take_part};

const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// One connection. The first byte says how much comes at once.
pub(crate) fn connection(bytes: &[u8]) {
    let Some((step, bytes)) = bytes.split_first() else { return };
    let mut peer = Peer::new();
    let mut reader = Reader::new(MESSAGE_BYTES_MAX);
    let mut session = Session::new();
    let mut buffer = BytesMut::new();
    for part in bytes.chunks(1 + 16 * usize::from(*step)) {
        buffer.extend_from_slice(part);
        loop {
            let message = match reader.next(&mut buffer) {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(_) => return,
            };
            assert!(message.payload.len() <= MESSAGE_BYTES_MAX);
            let Ok(step) = session.take(message) else { return };
            if !peer.step(step, &mut session) {
                return;
            }
        }
        assert!(reader.unfinished_bytes() <= 2 * MESSAGE_BYTES_MAX, "more is held than is allowed");
        // Answers are as many as questions: each ping is answered, and nothing multiplies.
        assert!(session.take_out().len() <= 64 * 1024 + 64 * part.len(), "answers outgrow what was asked");
    }
    peer.events.finish();
}

/// Media messages without chunks around them: kind, milliseconds since the last, and the body behind its length.
pub(crate) fn media_messages(mut bytes: &[u8]) {
    let mut peer = Peer::new();
    let mut time_ms = 0_u32;
    while let Some((&[kind, high, low], rest)) = bytes.split_first_chunk() {
        bytes = rest;
        let Some(body) = take_part(&mut bytes) else { break };
        // Far steps, too, and back.
        let step = u32::from(u16::from_be_bytes([high, low]));
        time_ms = time_ms.wrapping_add(if kind & 0x80 == 0 { step } else { step << 16 });
        let body = Bytes::copy_from_slice(body);
        let taken =
            if kind & 1 == 0 { peer.assembler.video(time_ms, &body) } else { peer.assembler.audio(time_ms, &body) };
        if taken.is_err() || !peer.pass_on() {
            return;
        }
    }
    peer.assembler.finish();
    if peer.pass_on() {
        peer.events.finish();
    }
}

/// AMF0 values.
pub(crate) fn amf(bytes: &[u8]) {
    let (values, _) = amf::read(bytes);
    assert!(values.len() <= bytes.len());
}

struct Peer {
    assembler: Assembler,
    events: Events,
}

impl Peer {
    fn new() -> Self {
        let limits = Limits { tracks_wait_ms_max: 1_500, held_bytes_max: MESSAGE_BYTES_MAX };
        Self { assembler: Assembler::new(limits), events: Events::new() }
    }

    /// Does what `conn.rs` does; false if the connection ends.
    fn step(&mut self, step: Option<Step>, session: &mut Session) -> bool {
        let taken = match step {
            Some(Step::Publish(_)) => {
                session.accept();
                Ok(())
            }
            Some(Step::Metadata(fields)) => {
                self.assembler.metadata(&fields);
                Ok(())
            }
            Some(Step::Video(time_ms, body)) => self.assembler.video(time_ms, &body),
            Some(Step::Audio(time_ms, body)) => self.assembler.audio(time_ms, &body),
            Some(Step::Goodbye) => {
                self.assembler.finish();
                self.pass_on();
                return false;
            }
            None => Ok(()),
        };
        taken.is_ok() && self.pass_on()
    }

    fn pass_on(&mut self) -> bool {
        while let Some(event) = self.assembler.pop() {
            if !self.events.take(event) {
                return false;
            }
        }
        self.assembler.take_dropped();
        true
    }
}
