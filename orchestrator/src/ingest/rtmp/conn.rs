//! One connection: its socket, its time limits and the event channel.
//!
//! Reads no further while the event channel is full. Dropped at any point it leaves nothing behind: the socket
//! closes, and the receiver sees a lost source.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use millrace_cmaf::Track;
use rtmp_rs::protocol::{Handshake, HandshakeRole, constants::RTMP_VERSION};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tracing::{info, warn};

use crate::ingest::event::{Event, Publish, Refusal};

use super::{
    ack::Account,
    assemble::{Assembler, Limits},
    chunk,
    counters::{Open, add},
    error::Error,
    server::Shared,
    session::{Session, Step},
    socket::Rest,
};

/// Limit of a message before its sender may publish; `connect` takes some hundred bytes.
const STRANGER_BYTES_MAX: usize = 16 << 10;
/// Read at once, before and after.
const STRANGER_READ_BYTES: usize = 4 << 10;
const READ_BYTES: usize = 64 << 10;
/// How long messages gather before they are read: each read wakes several tasks, whatever it brings, and a publisher
/// sends one for each frame and each packet of sound. All publishers' are read at once.
const GATHER_MS: u64 = 40;
/// A read that brings so much is followed by the next one at once: the publisher sends faster than it plays, or much.
const GATHER_BYTES_MIN: usize = 16 << 10;
/// How long a peer that was told goodbye may take to close, so that the answer isn't lost to a reset.
const LINGER_MS: u64 = 2_000;

/// Serves one connection to its end.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Rest + Unpin>(stream: S, peer: SocketAddr, shared: Arc<Shared>) {
    let mut conn = Conn::new(stream, peer, &shared);
    let ended = conn.run().await;
    conn.close(ended).await;
}

struct Conn<'a, S> {
    shared: &'a Shared,
    peer: SocketAddr,
    stream: S,
    buffer: BytesMut,
    read_bytes: usize,
    reader: chunk::Reader,
    session: Session,
    /// Bytes read since the handshake.
    received: u64,
    account: Account,
}

impl<'a, S: AsyncRead + AsyncWrite + Rest + Unpin> Conn<'a, S> {
    fn new(stream: S, peer: SocketAddr, shared: &'a Shared) -> Self {
        Self {
            shared,
            peer,
            stream,
            buffer: BytesMut::new(),
            read_bytes: STRANGER_READ_BYTES,
            reader: chunk::Reader::new(STRANGER_BYTES_MAX),
            session: Session::new(),
            received: 0,
            account: Account::default(),
        }
    }

    async fn run(&mut self) -> Result<(), Error> {
        let config = &self.shared.config;
        let limit = Duration::from_millis(config.handshake_ms_max.into());
        timeout(limit, self.handshake()).await.map_err(|_| Error::Timeout("handshake"))??;
        self.received = self.buffer.len() as u64;
        let limit = Duration::from_millis(config.publish_ms_max.into());
        let key = timeout(limit, self.negotiate()).await.map_err(|_| Error::Timeout("publish command"))??;
        let events = self.ask(key).await?;
        self.publish(&events).await
    }

    async fn handshake(&mut self) -> Result<(), Error> {
        let mut handshake = Handshake::new(HandshakeRole::Server);
        handshake.generate_initial();
        let mut greeted = false;
        while !handshake.is_done() {
            let bytes = handshake.bytes_needed();
            while self.buffer.len() < bytes {
                self.read().await?;
                // Told by its first byte: something else that talks to this port, or encrypted RTMPE (6).
                if !greeted && self.buffer.first() != Some(&RTMP_VERSION) {
                    return Err(Error::Protocol("the peer does not speak RTMP".to_owned()));
                }
                greeted = true;
            }
            let mut packet = self.buffer.split_to(bytes).freeze();
            let answer = handshake.process(&mut packet).map_err(|error| Error::Protocol(error.to_string()))?;
            if let Some(answer) = answer {
                self.write(&answer).await?;
            }
        }
        Ok(())
    }

    /// Speaks until the peer asks to publish.
    async fn negotiate(&mut self) -> Result<String, Error> {
        loop {
            if let Some(Step::Publish(key)) = self.next_step().await? {
                return Ok(key);
            }
            self.flush().await?;
        }
    }

    /// The next step the buffer holds; reads if it holds none, and then may give none.
    async fn next_step(&mut self) -> Result<Option<Step>, Error> {
        if let Some(message) = self.next_message()? {
            return self.session.take(message);
        }
        self.read().await?;
        Ok(None)
    }

    fn next_message(&mut self) -> Result<Option<chunk::Message>, Error> {
        self.reader.next(&mut self.buffer).map_err(|error| Error::Protocol(error.to_string()))
    }

    /// Asks the orchestrator whether `key` may publish.
    async fn ask(&mut self, key: String) -> Result<mpsc::Sender<Event>, Error> {
        let (reply, answer) = oneshot::channel();
        let ask = async {
            let publish = Publish { key, peer: self.peer.to_string(), reply };
            self.shared.publishers.send(publish).await.ok()?;
            answer.await.ok()
        };
        let limit = Duration::from_millis(self.shared.config.answer_ms_max.into());
        // No answer is one too: nobody is there to take the stream.
        let answer = timeout(limit, ask).await.ok().flatten().unwrap_or(Err(Refusal::Unavailable));
        answer.map_err(Error::Refused)
    }

    async fn publish(&mut self, events: &mpsc::Sender<Event>) -> Result<(), Error> {
        let config = &self.shared.config;
        let counters = &self.shared.counters;
        add(&counters.publishers, 1);
        let _open = Open::new(&counters.publishers_open);
        info!(peer = %self.peer, "rtmp publisher began");
        let message_bytes_max = config.message_bytes_max as usize;
        self.reader.set_message_bytes_max(message_bytes_max);
        self.read_bytes = READ_BYTES;
        self.session.accept();
        let mut assembler = Assembler::new(Limits {
            tracks_wait_ms_max: config.tracks_wait_ms_max.into(),
            held_bytes_max: message_bytes_max,
        });
        let idle = Duration::from_millis(config.idle_ms_max.into());
        let mut deadline = Instant::now() + idle;
        let mut gathers = false;
        loop {
            while let Some(message) = self.next_message()? {
                let goodbye = match self.session.take(message)? {
                    Some(Step::Video(time_ms, body)) => assembler.video(time_ms, &body).map(|()| false)?,
                    Some(Step::Audio(time_ms, body)) => assembler.audio(time_ms, &body).map(|()| false)?,
                    Some(Step::Metadata(fields)) => {
                        assembler.metadata(&fields);
                        false
                    }
                    Some(Step::Goodbye) => {
                        assembler.finish();
                        true
                    }
                    Some(Step::Publish(_)) | None => false,
                };
                self.pass_on(&mut assembler, events).await?;
                if goodbye {
                    return events.send(Event::End).await.map_err(|_| Error::Closed);
                }
                self.acknowledge(&assembler, events);
                deadline = Instant::now() + idle;
            }
            self.flush().await?;
            if gathers {
                self.stream.rest();
                sleep_until(self.gathered()).await;
            }
            let more = timeout_at(deadline, self.read()).await.map_err(|_| Error::Timeout("media"))??;
            gathers = !more;
        }
    }

    /// When what gathers from now on is read.
    fn gathered(&self) -> Instant {
        let begun = self.shared.begun;
        let times = begun.elapsed().as_millis() as u64 / GATHER_MS + 1;
        begun + Duration::from_millis(times * GATHER_MS)
    }

    async fn pass_on(&mut self, assembler: &mut Assembler, events: &mpsc::Sender<Event>) -> Result<(), Error> {
        let counters = &self.shared.counters;
        while let Some(event) = assembler.pop() {
            match &event {
                Event::Video(_) => add(&counters.video_samples, 1),
                Event::Audio(_) => add(&counters.audio_samples, 1),
                Event::Tracks { video, audio } => {
                    let (video, audio) = (video.as_ref().and_then(Track::video), audio.as_ref().and_then(Track::audio));
                    info!(peer = %self.peer, ?video, ?audio, "rtmp tracks");
                }
                Event::End => {}
            }
            events.send(event).await.map_err(|_| Error::Closed)?;
            self.account.sent();
        }
        add(&counters.samples_dropped, assembler.take_dropped());
        Ok(())
    }

    /// Acknowledges, when a window is full, the bytes of whole messages whose events are settled.
    fn acknowledge(&mut self, assembler: &Assembler, events: &mpsc::Sender<Event>) {
        if !assembler.holds() {
            self.account.mark(self.received - (self.buffer.len() + self.reader.unfinished_bytes()) as u64);
        }
        let waiting = events.max_capacity() - events.capacity();
        if let Some(bytes) = self.account.due(waiting, self.session.window_bytes()) {
            self.session.acknowledge(bytes);
        }
    }

    /// Reads what is there; true if there is probably more.
    async fn read(&mut self) -> Result<bool, Error> {
        // A fresh buffer only when the last is nearly used up: messages are slices of it.
        if self.buffer.capacity() - self.buffer.len() < STRANGER_READ_BYTES / 4 {
            self.buffer.reserve(self.read_bytes);
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let bytes = self.stream.read_buf(&mut self.buffer).await?;
        if bytes == 0 {
            return Err(Error::Lost);
        }
        self.received += bytes as u64;
        add(&self.shared.counters.bytes_in, bytes as u64);
        Ok(bytes >= room || bytes >= GATHER_BYTES_MIN)
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let out = self.session.take_out().freeze();
        if out.is_empty() { Ok(()) } else { self.write(&out).await }
    }

    async fn write(&mut self, bytes: &Bytes) -> Result<(), Error> {
        let limit = Duration::from_millis(self.shared.config.write_ms_max.into());
        let written = timeout(limit, self.stream.write_all(bytes)).await;
        Ok(written.map_err(|_| Error::Timeout("reader for our answers"))??)
    }

    /// Says what there is to say, logs and counts.
    async fn close(&mut self, ended: Result<(), Error>) {
        let peer = self.peer;
        let counters = &self.shared.counters;
        let Err(error) = ended else {
            info!(%peer, "rtmp publisher said goodbye");
            self.part(false).await;
            return;
        };
        match &error {
            Error::Timeout(_) => add(&counters.closed_timeout, 1),
            Error::Protocol(_) => add(&counters.closed_protocol, 1),
            Error::Refused(refusal) => add(counters.refused(*refusal), 1),
            Error::Command(_) | Error::Media(_) => add(&counters.refused_unsupported, 1),
            Error::Io(_) | Error::Lost | Error::Closed => {}
        }
        warn!(%peer, "rtmp connection ended: {error}");
        match &error {
            Error::Refused(_) => {
                // A guesser of keys waits, and only so many wait at once.
                let Ok(_permit) = self.shared.refusals.try_acquire() else { return };
                tokio::time::sleep(Duration::from_millis(self.shared.config.refusal_delay_ms.into())).await;
                self.session.refuse(&error);
                self.part(true).await;
            }
            Error::Media(_) | Error::Closed => {
                self.session.refuse(&error);
                self.part(true).await;
            }
            // It was answered already.
            Error::Command(_) => self.part(true).await,
            Error::Io(_) | Error::Lost | Error::Timeout(_) | Error::Protocol(_) => {}
        }
    }

    /// Writes what stands, then reads until the peer closes: closing with unread bytes would reset the connection
    /// and take our answer along. A publisher that said goodbye closes first: `GStreamer` takes anything else for a
    /// failure.
    async fn part(&mut self, ours_first: bool) {
        let parted = async {
            self.flush().await?;
            if ours_first {
                self.stream.shutdown().await?;
            }
            self.buffer = BytesMut::with_capacity(STRANGER_READ_BYTES);
            while self.stream.read_buf(&mut self.buffer).await? > 0 {
                self.buffer.clear();
            }
            Ok::<_, Error>(())
        };
        // A peer that is gone already, or stays, has nothing more to hear.
        let _ = timeout(Duration::from_millis(LINGER_MS), parted).await;
    }
}
