//! HLS: playlists are loaded again as they grow, and their segments handed on by number to where pushed ones go
//! (`push.rs`), which takes each durably and once. Which are next is `cursor.rs`'s business.
//!
//! A recording is read as fast as its segments are worked off and never leaves the state of being read. A broadcast is
//! followed until it ends, or brings nothing for too long: then it has lost its publisher.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use millrace_proto::api::StreamState;
use reqwest::Url;

use super::{
    OPEN, Stop, again,
    cursor::Cursor,
    hand,
    part::{self, Parts},
    playlist::{self, Media, Playlist},
    sound::Sounds,
};
use crate::{
    clock::now_ms,
    house::House,
    ingest::{
        fetch::{Failure, Kind, Part, Retry},
        push::Receiving,
    },
    store::record::{Fetched, Stream},
};

/// Segments of a recording that are fetched ahead of cutting.
const AHEAD_MAX: usize = 3;

/// Segments of a recording one after another that can't be had: the rest is not tried.
const MISSING_MAX: u32 = 5;

/// Longest pause between two looks at a playlist, whatever it says.
const RELOAD_MAX: Duration = Duration::from_mins(1);
const RELOAD_MIN: Duration = Duration::from_millis(250);

/// The pause when there is no space, or no answer from the store.
const FULL_PAUSE: Duration = Duration::from_secs(2);

/// The number under which a stream is said to be in contact with its server.
const CONTACT: u64 = u64::MAX;

/// Where the playlist of a stream's segments is.
pub(super) struct Place {
    list: Url,
    /// Where that of its sound is, if that comes apart.
    sound: Option<Url>,
    /// More segments will come.
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

/// The same for a stream that is known: one that has begun to be broadcast is not given up because of its server.
async fn reopen(house: &House, stream: &Stream, url: &Url) -> Result<Place, Stop> {
    if !stream.is_live() || stream.state == StreamState::Waiting {
        return open(house, stream, url).await;
    }
    let pause = Duration::from_millis(house.pulls.fetcher.config().retry_ms_max.min(2_000));
    loop {
        match choose(house, url).await {
            Ok(place) => return Ok(place),
            Err(failure) => tracing::debug!(stream = %stream.id, why = failure.why, "its server is asked again"),
        }
        state(house, stream).await?;
        tokio::time::sleep(pause).await;
    }
}

/// The stream's state, if there may be more to fetch for it.
async fn state(house: &House, stream: &Stream) -> Result<StreamState, Stop> {
    let now = house.store.stream(&stream.id).await?;
    now.map(|stream| stream.state).filter(|state| OPEN.contains(state)).ok_or(Stop::Gone)
}

async fn choose(house: &House, url: &Url) -> Result<Place, Failure> {
    let (list, sound) = match load(house, url).await? {
        Playlist::Media(list) => return Ok(Place { list: url.clone(), sound: None, live: !list.ended }),
        Playlist::Master(master) => {
            let unreadable = || Failure::new(Kind::Denied, "none of its versions has video that can be read");
            let best = master.best().ok_or_else(unreadable)?;
            (best.url.clone(), master.sound(best).cloned())
        }
    };
    let media = load_media(house, &list).await?;
    Ok(Place { list, sound, live: !media.ended })
}

async fn load(house: &House, url: &Url) -> Result<Playlist, Failure> {
    let config = house.pulls.fetcher.config();
    let answer = house.pulls.fetcher.get(url, Part::default()).await?;
    let base = answer.url.clone();
    let text = answer.read(config.playlist_bytes_max).await?;
    playlist::parse(&text, &base, config.playlist_segments_max)
        .map_err(|error| Failure::new(Kind::Denied, error.to_string()))
}

pub(super) async fn load_media(house: &House, url: &Url) -> Result<Media, Failure> {
    match load(house, url).await? {
        Playlist::Media(media) => Ok(media),
        Playlist::Master(_) => Err(Failure::new(Kind::Denied, "a version of the playlist is no list of segments")),
    }
}

/// Fetches all segments that there are and will be.
pub(super) async fn fetch(house: &Arc<House>, stream: &Stream, url: &Url) -> Result<(), Stop> {
    let Some(Fetched::Hls { live, offset }) = stream.fetched else { return Err(Stop::Gone) };
    let place = reopen(house, stream, url).await?;
    let (begun, open) = house.store.pushes_open(&stream.id).await?;
    let next = open.last().map_or(begun, |last| begun.max(last.number + 1));
    let mut pull = Pull {
        house,
        stream,
        live,
        cursor: Cursor::new(offset, next),
        parts: Parts::new(house.pulls.fetcher.clone()),
        sounds: place.sound.map(|url| Sounds::new(url, live, Parts::new(house.pulls.fetcher.clone()))),
        contact: None,
        heard: Instant::now(),
        missing: 0,
        lost: None,
    };
    pull.keep_contact();
    pull.follow(&place.list).await?;
    hand::finish(house, stream, pull.lost).await
}

/// One stream being followed.
struct Pull<'a> {
    house: &'a Arc<House>,
    stream: &'a Stream,
    live: bool,
    cursor: Cursor,
    parts: Parts,
    sounds: Option<Sounds>,
    /// As long as it is held, the stream has not lost its publisher.
    contact: Option<Receiving>,
    /// When something new was last there.
    heard: Instant,
    /// Segments one after another that could not be had.
    missing: u32,
    /// Why the last one of them could not be had.
    lost: Option<String>,
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
            let state = state(self.house, self.stream).await?;
            match load_media(self.house, url).await {
                Ok(list) => {
                    retry.progressed();
                    let target = Duration::from_millis(list.target_ms);
                    let took = self.take_all(&list).await?;
                    if took > 0 {
                        self.keep_contact();
                    }
                    let next = list.segments.last().map(|last| self.cursor.number(last.sequence) + 1);
                    let through = next.is_none_or(|next| self.cursor.is_through(next));
                    if through && (list.ended || !self.live) {
                        return Ok(());
                    }
                    self.note_silence(target, state)?;
                    // RFC 8216, 6.3.4: a whole target duration, or half of it where nothing was new.
                    let pause = match took {
                        _ if !through => Duration::ZERO,
                        0 => target / 2,
                        _ => target,
                    };
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
        for (at, segment) in list.segments.iter().enumerate().skip(look.from) {
            // Where fetching is slower than the broadcast, the list is out of date soon.
            if self.live && took > 0 && began.elapsed() > Duration::from_millis(list.target_ms) {
                break;
            }
            self.wait_for_room().await?;
            let number = self.cursor.number(segment.sequence);
            if !segment.gap {
                self.take_surely(list, at, number).await?;
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
            state(self.house, self.stream).await?;
            let ahead = self.house.store.pushes_open(&self.stream.id).await?.1.len();
            let tasks = self.house.store.tasks_open(&self.stream.id).await?;
            if ahead < AHEAD_MAX && tasks < self.house.config.ingest.file_tasks_max {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Takes one segment, with pauses as long as it can't be kept: a full disk passes. The stream does not lose its
    /// publisher meanwhile, which is us.
    async fn take_surely(&mut self, list: &Media, at: usize, number: u64) -> Result<(), Stop> {
        loop {
            match self.take(list, at, number).await {
                Err(Stop::Later(why)) => {
                    tracing::warn!(stream = %self.stream.id, number, why, "a segment can't be kept, trying again");
                    self.keep_contact();
                    tokio::time::sleep(FULL_PAUSE).await;
                    state(self.house, self.stream).await?;
                }
                done => return done,
            }
        }
    }

    /// Fetches one segment and hands it on. One that can't be had is a hole.
    async fn take(&mut self, list: &Media, at: usize, number: u64) -> Result<(), Stop> {
        let segment = &list.segments[at];
        let config = self.house.pulls.fetcher.config();
        let mut limit = Duration::from_secs(config.give_up_s);
        if self.live {
            limit = limit.min(Duration::from_millis(2 * list.target_ms.max(2_000)));
        }
        let folder = tempfile::tempdir_in(self.house.scratch()).map_err(|error| Stop::Later(error.to_string()))?;
        let path = folder.path().join("video");
        match self.parts.fetch(segment, &path, limit).await {
            Ok(bytes) => {
                self.missing = 0;
                let mut files = vec![(path, bytes)];
                if let Some(sounds) = &mut self.sounds {
                    files.extend(sounds.beside(self.house, list, at, limit).await?);
                }
                hand::on(self.house, self.stream, number, files).await
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
                self.lost = Some(error.to_string());
                Ok(())
            }
        }
    }
}
