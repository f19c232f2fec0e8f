//! Reads messages out of chunks (RTMP 1.0, section 5.3) within fixed bounds. No I/O.
//!
//! Obeys `Set Chunk Size` and `Abort Message` itself. A message that came in one chunk is a slice of the read
//! buffer; one that came in several is copied once, into memory that grows with what came, never with what was
//! declared.

use bytes::{Buf, Bytes, BytesMut};
use rtmp_rs::protocol::constants::{
    DEFAULT_CHUNK_SIZE, EXTENDED_TIMESTAMP_THRESHOLD as EXTENDED, MSG_ABORT, MSG_SET_CHUNK_SIZE,
};

/// Chunk streams of one connection; publishers use 3 to 6.
const STREAMS_MAX: usize = 32;
/// A message of one chunk up to this size waits in the read buffer until it is whole, and is not copied.
const WHOLE_BYTES_MAX: usize = 64 << 10;
/// First reservation for a message of several chunks.
const RESERVED_BYTES: usize = 16 << 10;

/// Broken chunks, or a passed limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// A chunk refers to a header that never came.
    #[error("chunk stream {0} continues without a header")]
    NoHeader(u32),
    /// A header came where the rest of a message was due.
    #[error("chunk stream {0} begins a message before the last one ended")]
    Interrupted(u32),
    /// More chunk streams than a publisher needs.
    #[error("more than {STREAMS_MAX} chunk streams")]
    TooManyStreams,
    /// A message above the limit.
    #[error("a message of {bytes} bytes; {bytes_max} are allowed")]
    TooLarge { bytes: usize, bytes_max: usize },
    /// Unfinished messages that hold too much together.
    #[error("unfinished messages of more than {0} bytes")]
    TooMuchUnfinished(usize),
    /// A control message that is cut short or says nothing sensible.
    #[error("a control message is broken")]
    Control,
}

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Message type id.
    pub(crate) kind: u8,
    /// Milliseconds, modulo 2^32.
    pub(crate) timestamp_ms: u32,
    /// Message stream id.
    pub(crate) stream: u32,
    /// Its bytes.
    pub(crate) payload: Bytes,
}

#[derive(Debug, Default)]
struct Stream {
    id: u32,
    timestamp_ms: u32,
    /// What a header-less chunk that begins a message adds: the last delta, or after a full header its timestamp.
    delta_ms: u32,
    bytes: usize,
    kind: u8,
    /// Message stream id.
    of: u32,
    /// The extended timestamp of the last header, if it had one.
    extended: Option<u32>,
    /// A message has begun and not ended.
    begun: bool,
    part: BytesMut,
}

/// Chunks in, messages out.
#[derive(Debug)]
pub(crate) struct Reader {
    streams: Vec<Stream>,
    chunk_bytes: usize,
    message_bytes_max: usize,
    /// The chunk whose header was read: index of its stream, and bytes of it to come.
    open: Option<(usize, usize)>,
}

impl Reader {
    pub(crate) fn new(message_bytes_max: usize) -> Self {
        Self { streams: Vec::new(), chunk_bytes: DEFAULT_CHUNK_SIZE as usize, message_bytes_max, open: None }
    }

    /// Changes the limit for messages that begin from now on.
    pub(crate) fn set_message_bytes_max(&mut self, bytes: usize) {
        self.message_bytes_max = bytes;
    }

    /// Bytes of messages that have begun and not ended, outside the read buffer.
    pub(crate) fn unfinished_bytes(&self) -> usize {
        self.streams.iter().map(|stream| stream.part.len()).sum()
    }

    /// Takes the next message out of `buffer`; `None` if it isn't whole yet. Leaves less than 64 KiB and a
    /// header behind when it gives `None`.
    pub(crate) fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Message>, Error> {
        loop {
            let (index, rest) = match self.open {
                Some(open) => open,
                None => match self.header(buffer)? {
                    Some(open) => *self.open.insert(open),
                    None => return Ok(None),
                },
            };
            let stream = &mut self.streams[index];
            let whole = stream.part.is_empty() && rest == stream.bytes && rest <= WHOLE_BYTES_MAX;
            if buffer.len() < rest && (whole || buffer.is_empty()) {
                return Ok(None);
            }
            let payload = if whole {
                buffer.split_to(rest).freeze()
            } else {
                let taken = rest.min(buffer.len());
                if stream.part.is_empty() {
                    stream.part.reserve(stream.bytes.min(RESERVED_BYTES));
                }
                stream.part.extend_from_slice(&buffer[..taken]);
                buffer.advance(taken);
                if taken < rest {
                    self.open = Some((index, rest - taken));
                    continue;
                }
                if stream.part.len() < stream.bytes {
                    self.open = None;
                    continue;
                }
                std::mem::take(&mut stream.part).freeze()
            };
            self.open = None;
            stream.begun = false;
            let message = Message { kind: stream.kind, timestamp_ms: stream.timestamp_ms, stream: stream.of, payload };
            match message.kind {
                MSG_SET_CHUNK_SIZE => self.set_chunk_bytes(&message.payload)?,
                MSG_ABORT => self.abort(&message.payload)?,
                _ => return Ok(Some(message)),
            }
        }
    }

    /// Reads one chunk header: index of its stream, and bytes in the chunk.
    fn header(&mut self, buffer: &mut BytesMut) -> Result<Option<(usize, usize)>, Error> {
        let mut bytes = &buffer[..];
        let Some((format, id)) = basic_header(&mut bytes) else { return Ok(None) };
        let fields_bytes = [11, 7, 3, 0][usize::from(format)];
        if bytes.len() < fields_bytes {
            return Ok(None);
        }
        let (mut fields, mut bytes) = bytes.split_at(fields_bytes);
        let known = self.streams.iter().position(|stream| stream.id == id);
        if format > 0 && known.is_none() {
            return Err(Error::NoHeader(id));
        }
        if known.is_none() && self.streams.len() >= STREAMS_MAX {
            return Err(Error::TooManyStreams);
        }
        let continues = known.is_some_and(|index| self.streams[index].begun);
        if continues && format < 3 {
            return Err(Error::Interrupted(id));
        }

        // Nothing may change before the whole header is there: it will be read again from its start.
        let time = (format < 3).then(|| fields.get_uint(3) as u32);
        let extended = match time {
            Some(EXTENDED..) => {
                let Some(value) = take_u32(&mut bytes) else { return Ok(None) };
                Some(value)
            }
            Some(_) => None,
            None => match known.and_then(|index| self.streams[index].extended) {
                None => None,
                // A header-less chunk repeats it, but old librtmp leaves it out within a message: media that
                // begins with just these 4 bytes does not occur.
                Some(last) => {
                    let Some(value) = bytes.first_chunk().map(|value| u32::from_be_bytes(*value)) else {
                        return Ok(None);
                    };
                    if !continues || value == last {
                        bytes = &bytes[4..];
                        Some(value)
                    } else {
                        Some(last)
                    }
                }
            },
        };
        let header_bytes = buffer.len() - bytes.len();

        let index = known.unwrap_or_else(|| {
            self.streams.push(Stream { id, ..Stream::default() });
            self.streams.len() - 1
        });
        let stream = &mut self.streams[index];
        stream.extended = extended;
        if let Some(value) = extended.filter(|_| !continues).or(time) {
            stream.delta_ms = value;
        }
        if format < 2 {
            stream.bytes = fields.get_uint(3) as usize;
            stream.kind = fields.get_u8();
        }
        if format == 0 {
            stream.of = fields.get_u32_le();
        }
        if !continues {
            stream.timestamp_ms =
                if format == 0 { stream.delta_ms } else { stream.timestamp_ms.wrapping_add(stream.delta_ms) };
            stream.begun = true;
            self.check(index)?;
        }
        let stream = &self.streams[index];
        buffer.advance(header_bytes);
        Ok(Some((index, self.chunk_bytes.min(stream.bytes - stream.part.len()))))
    }

    /// Whether the message that just began is within the limits.
    fn check(&self, index: usize) -> Result<(), Error> {
        let bytes_max = self.message_bytes_max;
        let bytes = self.streams[index].bytes;
        if bytes > bytes_max {
            return Err(Error::TooLarge { bytes, bytes_max });
        }
        let declared: usize = self.streams.iter().filter(|stream| stream.begun).map(|stream| stream.bytes).sum();
        if declared > 2 * bytes_max { Err(Error::TooMuchUnfinished(2 * bytes_max)) } else { Ok(()) }
    }

    fn set_chunk_bytes(&mut self, mut payload: &[u8]) -> Result<(), Error> {
        // The top bit is reserved.
        let bytes = take_u32(&mut payload).ok_or(Error::Control)? & 0x7fff_ffff;
        if bytes == 0 {
            return Err(Error::Control);
        }
        self.chunk_bytes = bytes as usize;
        Ok(())
    }

    fn abort(&mut self, mut payload: &[u8]) -> Result<(), Error> {
        let id = take_u32(&mut payload).ok_or(Error::Control)?;
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id) {
            stream.begun = false;
            stream.part = BytesMut::new();
        }
        Ok(())
    }
}

/// Format and chunk stream id (section 5.3.1.1).
fn basic_header(bytes: &mut &[u8]) -> Option<(u8, u32)> {
    let (first, rest) = bytes.split_first()?;
    let (id, rest) = match (first & 0x3f, rest) {
        (0, [low, rest @ ..]) => (64 + u32::from(*low), rest),
        (1, [low, high, rest @ ..]) => (64 + u32::from(*low) + 256 * u32::from(*high), rest),
        (0 | 1, _) => return None,
        (id, rest) => (u32::from(id), rest),
    };
    *bytes = rest;
    Some((first >> 6, id))
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    let (value, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u32::from_be_bytes(*value))
}

#[cfg(test)]
mod tests;
