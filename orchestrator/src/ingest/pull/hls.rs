//! HLS: playlists are loaded again as they grow, and their segments handed on by number to where pushed ones go
//! (`push.rs`), which takes each durably and once. Which are next is `cursor.rs`'s business.
//!
//! A recording is read as fast as its segments are worked off and never leaves the state of being read. A broadcast is
//! followed until it ends, or brings nothing for too long: then it has lost its publisher.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use millrace_proto::api::StreamState;
use reqwest::Url;
use tokio::{fs::File, io::AsyncReadExt};
use tokio_util::io::ReaderStream;

use super::{
    OPEN, Stop, again,
    cursor::Cursor,
    part::{self, Parts},
    playlist::{self, Media, Playlist, Segment},
};
use crate::{
    clock::now_ms,
    house::House,
    ingest::{
        event::Refusal,
        fetch::{Failure, Kind, Part, Retry},
        push::{self, Receiving},
    },
    loops,
    store::{
        Noted,
        record::{Fetched, Pushed, Stream},
    },
};

/// Segments of a recording that are fetched ahead of cutting.
const AHEAD_MAX: usize = 3;

/// Segments of a recording one after another that can't be had: the rest is not tried.
const MISSING_MAX: u32 = 5;

/// Longest pause between two looks at a playlist, whatever it says.
const RELOAD_MAX: Duration = Duration::from_mins(1);
const RELOAD_MIN: Duration = Duration::from_millis(250);

/// The number under which a stream is said to be in contact with its server.
const CONTACT: u64 = u64::MAX;

/// Where the playlist of a stream's segments is.
pub(super) struct Place {
    list: Url,
    /// It was loaded once.
    pub(super) live: bool,
}

/// Looks what is at `url`, until an answer comes: which version of it is fetched, and whether it has ended.
pub(super) async fn open(house: &House, stream: &Stream, url: &Url) -> Result<Place, Stop> {
    let mut retry = Retry::default();
    loop {
        match choose(house, url).await {
            Ok(place) => return Ok(place),
            Err(failure) => again(house, &stream.id, &mut retry, &failure).await?,
        }
    }
}

async fn choose(house: &House, url: &Url) -> Result<Place, Failure> {
    let list = match load(house, url).await? {
        Playlist::Media(list) => return Ok(Place { list: url.clone(), live: !list.ended }),
        Playlist::Master(master) => {
            let unreadable = || Failure::new(Kind::Denied, "none of its versions has video that can be read");
            let best = master.best().ok_or_else(unreadable)?;
            if master.sound(best).is_some() {
                return Err(Failure::new(Kind::Denied, "its sound comes apart from its video, which is not supported"));
            }
            best.url.clone()
        }
    };
    let media = load_media(house, &list).await?;
    Ok(Place { list, live: !media.ended })
}

async fn load(house: &House, url: &Url) -> Result<Playlist, Failure> {
    let config = house.pulls.fetcher.config();
    let answer = house.pulls.fetcher.get(url, Part::default()).await?;
    let base = answer.url.clone();
    let text = answer.read(config.playlist_bytes_max).await?;
    playlist::parse(&text, &base, config.playlist_segments_max)
        .map_err(|error| Failure::new(Kind::Denied, error.to_string()))
}

async fn load_media(house: &House, url: &Url) -> Result<Media, Failure> {
    match load(house, url).await? {
        Playlist::Media(media) => Ok(media),
        Playlist::Master(_) => Err(Failure::new(Kind::Denied, "a version of the playlist is no list of segments")),
    }
}

/// Fetches all segments that there are and will be.
pub(super) async fn fetch(house: &Arc<House>, stream: &Stream, url: &Url) -> Result<(), Stop> {
    let Some(Fetched::Hls { live, offset }) = stream.fetched else { return Err(Stop::Gone) };
    let place = open(house, stream, url).await?;
    let (begun, open) = house.store.pushes_open(&stream.id).await?;
    let next = open.last().map_or(begun, |last| begun.max(last.number + 1));
    let mut pull = Pull {
        house,
        stream,
        live,
        cursor: Cursor::new(offset, next),
        parts: Parts::new(house.pulls.fetcher.clone()),
        contact: None,
        heard: Instant::now(),
        missing: 0,
    };
    pull.keep_contact();
    pull.follow(&place.list).await?;
    finish(house, stream).await
}

/// One stream being followed.
struct Pull<'a> {
    house: &'a Arc<House>,
    stream: &'a Stream,
    live: bool,
    cursor: Cursor,
    parts: Parts,
    /// As long as it is held, the stream has not lost its publisher.
    contact: Option<Receiving>,
    /// When something new was last there.
    heard: Instant,
    /// Segments one after another that could not be had.
    missing: u32,
}

impl Pull<'_> {
    fn keep_contact(&mut self) {
        self.heard = Instant::now();
        if self.contact.is_none() {
            self.contact = self.house.pushes.receive(&self.stream.id, CONTACT, u64::MAX);
        }
    }

    /// Follows the playlist to its end.
    async fn follow(&mut self, url: &Url) -> Result<(), Stop> {
        let mut retry = Retry::default();
        loop {
            let asked = Instant::now();
            let state = self.state().await?;
            match load_media(self.house, url).await {
                Ok(list) => {
                    retry.progressed();
                    let target = Duration::from_millis(list.target_ms);
                    let took = self.take_all(&list).await?;
                    if took > 0 {
                        self.keep_contact();
                    }
                    let next = list.segments.last().map(|last| self.cursor.number(last.sequence) + 1);
                    if list.ended && next.is_none_or(|next| self.cursor.is_through(next)) {
                        return Ok(());
                    }
                    self.note_silence(target, state)?;
                    // RFC 8216, 6.3.4: a whole target duration, or half of it where nothing was new.
                    let pause = if took > 0 { target } else { target / 2 };
                    tokio::time::sleep_until((asked + pause.clamp(RELOAD_MIN, RELOAD_MAX)).into()).await;
                }
                // A broadcast is over when it is silent for too long, whatever its server says meanwhile.
                Err(failure) if self.live && state != StreamState::Waiting => {
                    tracing::debug!(stream = %self.stream.id, why = failure.why, "a playlist is loaded again");
                    self.note_silence(Duration::ZERO, state)?;
                    let config = self.house.pulls.fetcher.config();
                    let pause = retry.failed(config, now_ms(), None, rand::random());
                    tokio::time::sleep(pause.unwrap_or(Duration::from_millis(config.retry_ms_max))).await;
                }
                Err(failure) => again(self.house, &self.stream.id, &mut retry, &failure).await?,
            }
        }
    }

    async fn state(&self) -> Result<StreamState, Stop> {
        let now = self.house.store.stream(&self.stream.id).await?;
        now.map(|stream| stream.state).filter(|state| OPEN.contains(state)).ok_or(Stop::Gone)
    }

    /// After a long silence the stream has lost its publisher; one that never had any is given up.
    fn note_silence(&mut self, target: Duration, state: StreamState) -> Result<(), Stop> {
        let config = self.house.pulls.fetcher.config();
        let silent = self.heard.elapsed();
        if state == StreamState::Waiting && silent > Duration::from_secs(config.give_up_s) {
            return Err(Stop::Failed(format!("its playlist names no segment, for {} s", config.give_up_s)));
        }
        if self.live && silent > Duration::from_secs(config.live_silence_s).max(target * 3) && self.contact.is_some() {
            tracing::info!(stream = %self.stream.id, silent_s = silent.as_secs(), "its server brings nothing new");
            self.contact = None;
        }
        Ok(())
    }

    /// Takes what is new in `list`; returns how many segments that were.
    async fn take_all(&mut self, list: &Media) -> Result<usize, Stop> {
        let look = self.cursor.look(list);
        if look.moved {
            let fetched = Fetched::Hls { live: self.live, offset: Some(self.cursor.offset()) };
            if !self.house.store.note_fetched(&self.stream.id, &fetched).await? {
                return Err(Stop::Gone);
            }
        }
        if look.missed > 0 {
            tracing::warn!(stream = %self.stream.id, missed = look.missed, "segments were gone before they were fetched");
        }
        let (began, mut took) = (Instant::now(), 0);
        for segment in &list.segments[look.from..] {
            // Where fetching is slower than the broadcast, the list is out of date soon.
            if self.live && took > 0 && began.elapsed() > Duration::from_millis(list.target_ms) {
                break;
            }
            self.wait_for_room().await?;
            let number = self.cursor.number(segment.sequence);
            if !segment.gap {
                self.take(segment, number, list.target_ms).await?;
            }
            self.cursor.took(number);
            took += 1;
        }
        Ok(took)
    }

    /// Keeps a long recording from filling the disk with what nobody can work on yet.
    async fn wait_for_room(&self) -> Result<(), Stop> {
        if self.live {
            return Ok(());
        }
        loop {
            self.state().await?;
            let ahead = self.house.store.pushes_open(&self.stream.id).await?.1.len();
            let tasks = self.house.store.tasks_open(&self.stream.id).await?;
            if ahead < AHEAD_MAX && tasks < self.house.config.ingest.file_tasks_max {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Fetches one segment and hands it on. One that can't be had is a hole.
    async fn take(&mut self, segment: &Segment, number: u64, target_ms: u64) -> Result<(), Stop> {
        let config = self.house.pulls.fetcher.config();
        let mut limit = Duration::from_secs(config.give_up_s);
        if self.live {
            limit = limit.min(Duration::from_millis(2 * target_ms));
        }
        let folder = tempfile::tempdir_in(self.house.scratch()).map_err(|error| Stop::Later(error.to_string()))?;
        let path = folder.path().join("video");
        match self.parts.fetch(segment, &path, limit).await {
            Ok(bytes) => {
                self.missing = 0;
                hand_on(self.house, self.stream, number, vec![(path, bytes)]).await
            }
            Err(part::Error::Disk(error)) => Err(Stop::Later(error.to_string())),
            Err(error) => {
                self.missing += 1;
                tracing::warn!(stream = %self.stream.id, number, why = %error, "a segment can't be had");
                let away = matches!(&error, part::Error::Fetch(failure) if matches!(failure.kind, Kind::Later(_)));
                // The same will be said of the rest.
                if !self.live && (away || self.missing >= MISSING_MAX) {
                    return Err(Stop::Failed(format!("its segments can't be had: {error}")));
                }
                Ok(())
            }
        }
    }
}

/// Makes a segment durable and has it cut. What was handed on before under this number stands.
async fn hand_on(house: &Arc<House>, stream: &Stream, number: u64, files: Vec<(PathBuf, u64)>) -> Result<(), Stop> {
    loop {
        match push::open(house, &stream.id).await {
            Ok(()) => break,
            Err(Refusal::Busy | Refusal::Unavailable) => tokio::time::sleep(Duration::from_millis(250)).await,
            Err(Refusal::Ended | Refusal::WrongKey) => return Err(Stop::Gone),
        }
    }
    let later = |error: &dyn std::error::Error| Stop::Later(error.to_string());
    if house.store.pushed(&stream.id, number).await?.is_none() {
        let lengths: Vec<u64> = files.iter().map(|(_, bytes)| *bytes).collect();
        let head = stream::iter([Ok(push::bundle_head(&lengths))]);
        let mut opened = Vec::new();
        for (path, bytes) in &files {
            let file = File::open(path).await.map_err(|error| later(&error))?;
            opened.push(ReaderStream::new(file.take(*bytes)));
        }
        let body = head.chain(stream::iter(opened).flatten());
        let kept = house.media.receive_push(&stream.id, number, u64::MAX, body).await;
        let blob = kept.map_err(|error| later(&error))?;
        let push = Pushed {
            stream: stream.id.clone(),
            number,
            sha256: blob.sha256,
            bytes: blob.bytes,
            received_ms: now_ms(),
            first_seq: None,
            tail: None,
            end_seq: None,
            reason: None,
        };
        loop {
            match house.store.note_push(&push, house.config.ingest.push_open_max).await? {
                Noted::Done | Noted::Known(_) => break,
                Noted::Passed => {
                    house.media.delete_push(&stream.id, number).await.map_err(|error| later(&error))?;
                    return Ok(());
                }
                Noted::Full => tokio::time::sleep(Duration::from_millis(250)).await,
                Noted::Gone => return Err(Stop::Gone),
            }
        }
    }
    // It is durable: if it can't be taken just now, the loop that looks for such takes it.
    let _ = push::open(house, &stream.id).await;
    Ok(())
}

/// All is handed on: once it is cut, no more video will come.
async fn finish(house: &Arc<House>, stream: &Stream) -> Result<(), Stop> {
    loop {
        push::close(house, &stream.id).await?;
        if house.store.pushes_open(&stream.id).await?.1.is_empty() {
            break;
        }
        // Something is in the way of cutting, as a full disk is.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let now = house.store.stream(&stream.id).await?.ok_or(Stop::Gone)?;
    if now.next_seq == 0 {
        let first = house.store.pushed(&stream.id, now.fetched.as_ref().map_or(0, |_| 0)).await?;
        let why = first.and_then(|push| push.reason).unwrap_or_else(|| "its playlist names none".into());
        return Err(Stop::Failed(format!("not one segment could be read: {why}")));
    }
    loops::finish(house, &stream.id, &OPEN).await?;
    Ok(())
}
