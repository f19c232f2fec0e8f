//! One connection: its key, its media child, its time limits and the event channel.
//!
//! The socket is always read, whatever the rest does: what is not taken waits in the backlog. A socket that is dropped
//! says goodbye to its peer. Dropped at any point a session leaves nothing behind: the child is killed, and the receiver
//! of the events sees a lost source.

use std::{future::pending, net::SocketAddrV4, time::Duration};

use millrace_cmaf::Track;
use millrace_media::{
    Feed, Following, Limits,
    job::{Demuxed, Follow},
};
use rsrt::SrtSocket;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tracing::{info, warn};

use crate::ingest::{
    breaks::{Breaks, LIVE_FORWARD_MS_MAX},
    event::{Event, Publish, Refusal},
    rtmp::counters::add,
};

use super::{
    backlog::{Inlet, Outlet, backlog},
    error::Error,
    server::Shared,
    stream_id,
};

/// Serves one connection to its end.
pub(super) async fn serve(socket: SrtSocket, peer: SocketAddrV4, shared: &Shared) {
    let counters = &shared.counters;
    let Err(error) = run(socket, peer, shared).await else {
        return info!(%peer, "srt publisher said goodbye");
    };
    match &error {
        Error::StreamId(_) | Error::Refused(_) | Error::Crowded => add(&counters.refused, 1),
        Error::Lost(_) | Error::Overflow(_) | Error::Timeout | Error::Child(_) | Error::Unreadable | Error::Closed => {}
    }
    warn!(%peer, "srt connection ended: {error}");
}

async fn run(socket: SrtSocket, peer: SocketAddrV4, shared: &Shared) -> Result<(), Error> {
    let stream_id = socket.streamid().unwrap_or_default();
    let key = stream_id::key(&stream_id)?.to_owned();
    let events = ask(key, peer, shared).await?;
    let job = Follow { look_ms_max: shared.config.tracks_wait_ms_max };
    let (feed, following) = shared.launcher.follow(&job, &Limits::live()).await?;
    info!(%peer, "srt publisher began");
    let (inlet, outlet) = backlog(shared.config.buffer_bytes_max);
    let mut left = None;
    let passed = {
        let arriving = async {
            tokio::join!(async { left = Some(read(socket, inlet, peer, shared).await) }, carry(outlet, feed));
            pending::<()>().await;
        };
        tokio::select! {
            passed = pass_on(following, peer, &events, shared) => passed,
            // What came is with the child; what it makes of it is still on its way.
            () = arriving => Ok(()),
        }
    };
    match (left, passed) {
        (Some(Err(error)), _) | (_, Err(error)) => Err(error),
        (Some(Ok(())), Ok(())) => events.send(Event::End).await.map_err(|_| Error::Closed),
        (None, Ok(())) => Err(Error::Unreadable),
    }
}

/// Asks the orchestrator whether `key` may publish.
async fn ask(key: String, peer: SocketAddrV4, shared: &Shared) -> Result<mpsc::Sender<Event>, Error> {
    let _permit = shared.answers.try_acquire().map_err(|_| Error::Crowded)?;
    let (reply, answer) = oneshot::channel();
    let ask = async {
        let publish = Publish { key, peer: peer.to_string(), reply };
        shared.publishers.send(publish).await.ok()?;
        answer.await.ok()
    };
    let limit = Duration::from_millis(shared.config.answer_ms_max.into());
    // No answer is one too: nobody is there to take the stream.
    let answer = timeout(limit, ask).await.ok().flatten().unwrap_or(Err(Refusal::Unavailable));
    answer.map_err(Error::Refused)
}

/// Reads the socket until its publisher says goodbye, then closes it.
async fn read(mut socket: SrtSocket, inlet: Inlet, peer: SocketAddrV4, shared: &Shared) -> Result<(), Error> {
    let mut lost = 0;
    loop {
        let received = socket.recv().await;
        let lost_now = socket.stats().pkts_recv_dropped;
        add(&shared.counters.packets_lost, lost_now - lost);
        lost = lost_now;
        let Some(bytes) = received.map_err(Error::Lost)? else { return Ok(()) };
        add(&shared.counters.bytes_in, bytes.len() as u64);
        if !inlet.push(bytes) {
            // Told at once: what came before may take its time.
            add(&shared.counters.overflows, 1);
            let error = Error::Overflow(shared.config.buffer_bytes_max);
            warn!(%peer, "srt publisher is cut off: {error}");
            return Err(error);
        }
    }
}

/// Hands the child what came; the end of the backlog is the stream's.
async fn carry(mut outlet: Outlet, mut feed: Feed) {
    while let Some(bytes) = outlet.next().await {
        // A child that is gone tells why by its other half.
        if feed.write(&bytes).await.is_err() {
            return;
        }
    }
}

/// Passes on what the child makes of it, to the stream's end.
async fn pass_on(
    mut following: Following,
    peer: SocketAddrV4,
    events: &mpsc::Sender<Event>,
    shared: &Shared,
) -> Result<(), Error> {
    let idle = Duration::from_millis(shared.config.idle_ms_max.into());
    let mut breaks = Breaks::new(LIVE_FORWARD_MS_MAX);
    loop {
        let next = timeout(idle, following.next()).await.map_err(|_| Error::Timeout)??;
        let Some(next) = next else { return Ok(()) };
        let event = match next {
            Demuxed::Tracks { video, audio } => {
                let (picture, sound) = (video.as_ref().and_then(Track::video), audio.as_ref().and_then(Track::audio));
                info!(%peer, video = ?picture, audio = ?sound, "srt tracks");
                Event::Tracks { video, audio }
            }
            Demuxed::Ignored(tracks) => {
                info!(%peer, ?tracks, "tracks of the stream are passed over");
                continue;
            }
            Demuxed::Video(sample) => Event::Video(sample),
            Demuxed::Audio(sample) => Event::Audio(sample),
            Demuxed::End => continue,
        };
        for event in breaks.place(event) {
            events.send(event).await.map_err(|_| Error::Closed)?;
        }
    }
}
