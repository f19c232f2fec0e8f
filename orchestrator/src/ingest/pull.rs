//! Pull: streams that the orchestrator fetches itself, from the URL that the app gave.
//!
//! One task a stream. The first bytes tell what the URL is, which is noted in the store. A file is laid where uploads
//! lie, from where `file.rs` reads it; a playlist's segments are handed to `push.rs`. What is known here is in the store: a task that was cut off begins anew where
//! the last one was.

mod cipher;
mod cursor;
mod file;
mod hand;
mod hls;
mod part;
mod playlist;
mod sound;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use millrace_proto::{
    StreamId,
    api::{Source, StreamState},
};
use reqwest::Url;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::fetch::{Answer, Failure, Fetcher, Kind, Part, Retry, address};
use crate::{
    clock::now_ms,
    house::House,
    store::{
        self, Move,
        record::{Fetched, Stream},
    },
};

/// The states of a stream that may have more to fetch.
const OPEN: [StreamState; 3] = [StreamState::Waiting, StreamState::Live, StreamState::Interrupted];

/// What every playlist begins with (RFC 8216, 4.3.1.1), behind a mark that some put before any text.
const PLAYLIST: &[u8] = b"#EXTM3U";
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Which streams are being fetched. Memory only.
#[derive(Debug)]
pub struct Pulls {
    running: Mutex<HashMap<StreamId, Arc<Pull>>>,
    /// The program ends.
    stopping: AtomicBool,
    /// Places for streams that are live, or may be.
    streams: Arc<Semaphore>,
    /// Places for recordings.
    recordings: Arc<Semaphore>,
    /// What fetches.
    pub fetcher: Fetcher,
}

/// One stream being fetched.
#[derive(Debug, Default)]
struct Pull {
    stop: CancellationToken,
    over: CancellationToken,
}

impl Pulls {
    /// None yet.
    pub fn new(fetcher: Fetcher) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self {
            running: Mutex::default(),
            stopping: AtomicBool::new(false),
            streams: places(fetcher.config().streams_max),
            recordings: places(fetcher.config().recordings_max),
            fetcher,
        }
    }

    /// How many streams are being fetched.
    pub fn count(&self) -> usize {
        self.running.lock().expect("no panic while held").len()
    }

    fn begin(&self, stream: &StreamId) -> Option<Arc<Pull>> {
        let mut running = self.running.lock().expect("no panic while held");
        if self.stopping.load(Ordering::Relaxed) || running.contains_key(stream) {
            return None;
        }
        let pull = Arc::new(Pull::default());
        running.insert(stream.clone(), pull.clone());
        Some(pull)
    }

    /// Ends all fetching, for good.
    pub fn stop_all(&self) {
        let running = self.running.lock().expect("no panic while held");
        self.stopping.store(true, Ordering::Relaxed);
        running.values().for_each(|pull| pull.stop.cancel());
    }

    /// Ends the fetching of a stream, at whatever it is; it may begin again.
    pub async fn stop(&self, stream: &StreamId) {
        let pull = self.running.lock().expect("no panic while held").get(stream).cloned();
        if let Some(pull) = pull {
            pull.stop.cancel();
            pull.over.cancelled().await;
        }
    }
}

/// Removes a stream from those being fetched when dropped.
struct Running {
    house: Arc<House>,
    stream: StreamId,
    pull: Arc<Pull>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.house.pulls.running.lock().expect("no panic while held").remove(&self.stream);
        self.pull.over.cancel();
    }
}

/// Why the fetching of a stream ends before all is here.
#[derive(Debug)]
enum Stop {
    /// The stream is gone, or takes no more.
    Gone,
    /// It can't be done now: the next task goes on.
    Later(String),
    /// It can't be done.
    Failed(String),
}

impl From<store::Error> for Stop {
    fn from(error: store::Error) -> Self {
        Self::Later(error.to_string())
    }
}

/// Starts to fetch the streams that need it, as many at once as configured. Safe to repeat.
pub async fn start_ready(house: &Arc<House>) -> store::Result<()> {
    for stream in house.store.streams_in(&OPEN).await? {
        if !needs(&stream) {
            continue;
        }
        let Ok(place) = places(house, &stream).clone().try_acquire_owned() else { continue };
        let Some(pull) = house.pulls.begin(&stream.id) else { continue };
        let running = Running { house: house.clone(), stream: stream.id.clone(), pull };
        tokio::spawn(async move {
            let Running { house, pull, .. } = &running;
            tokio::select! {
                () = pull.stop.cancelled() => {}
                () = run(house, stream, place) => {}
            }
        });
    }
    Ok(())
}

fn needs(stream: &Stream) -> bool {
    let complete = stream.source_bytes > 0 && stream.source_bytes_total == Some(stream.source_bytes);
    match stream.fetched {
        _ if stream.source != Source::Url => false,
        Some(Fetched::File { .. }) => stream.state == StreamState::Waiting && !complete,
        None | Some(Fetched::Hls { .. }) => true,
    }
}

/// Where a stream waits for its turn. One that nobody knows yet may be live.
fn places<'a>(house: &'a House, stream: &Stream) -> &'a Arc<Semaphore> {
    let recording = stream.fetched.is_some() && !stream.is_live();
    if recording { &house.pulls.recordings } else { &house.pulls.streams }
}

async fn run(house: &Arc<House>, stream: Stream, place: OwnedSemaphorePermit) {
    let id = stream.id.clone();
    let done = match stream.url.as_deref().map(address::parse) {
        Some(Ok(url)) => fetch(house, stream, &url, place).await,
        Some(Err(refused)) => Err(Stop::Failed(refused.to_string())),
        None => Err(Stop::Failed("it has no url".into())),
    };
    match done {
        Ok(()) | Err(Stop::Gone) => {}
        Err(Stop::Later(why)) => {
            tracing::warn!(stream = %id, why, "fetching stops here and starts again");
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        Err(Stop::Failed(why)) => {
            tracing::info!(stream = %id, why, "the url can't be fetched");
            let step =
                Move { from: &OPEN, to: StreamState::Failed, reason: Some(why), grace_ends_ms: 0, now_ms: now_ms() };
            if let Err(error) = house.store.move_stream(&id, &step).await {
                tracing::warn!(stream = %id, %error, "the stream's failure is noted later");
            }
            super::file::remove_upload(house, &id).await;
        }
    }
}

async fn fetch(house: &Arc<House>, mut stream: Stream, url: &Url, place: OwnedSemaphorePermit) -> Result<(), Stop> {
    match stream.fetched {
        Some(Fetched::File { .. }) => return file::fetch(house, &stream, url, None).await,
        Some(Fetched::Hls { .. }) => return hls::fetch(house, &stream, url).await,
        None => {}
    }
    let begun = first(house, &stream, url).await?;
    let playlist = begun.head.strip_prefix(MARK).unwrap_or(&begun.head).starts_with(PLAYLIST);
    let fetched = if playlist {
        Fetched::Hls { live: hls::open(house, &stream, url).await?.live, offset: None }
    } else {
        Fetched::File { version: begun.answer.version.clone() }
    };
    tracing::info!(stream = %stream.id, host = address::host(url), ?fetched, "it is known what the url is");
    if !house.store.note_fetched(&stream.id, &fetched).await? {
        return Err(Stop::Gone);
    }
    stream.fetched = Some(fetched);
    if stream.is_live() {
        return hls::fetch(house, &stream, url).await;
    }
    // If other recordings are before it, it is asked for anew when its turn comes.
    let Ok(_place) = places(house, &stream).clone().try_acquire_owned() else { return Ok(()) };
    drop(place);
    if playlist { hls::fetch(house, &stream, url).await } else { file::fetch(house, &stream, url, Some(begun)).await }
}

/// A transfer whose first bytes were looked at.
struct Begun {
    answer: Answer,
    head: Vec<u8>,
}

/// Asks for what is at `url`, until it begins to come.
async fn first(house: &House, stream: &Stream, url: &Url) -> Result<Begun, Stop> {
    let mut retry = Retry::default();
    loop {
        match begin(house, url).await {
            Ok(begun) => return Ok(begun),
            Err(failure) => again(house, &stream.id, &mut retry, &failure).await?,
        }
    }
}

async fn begin(house: &House, url: &Url) -> Result<Begun, Failure> {
    let mut answer = house.pulls.fetcher.get(url, Part::default()).await?;
    let mut head = Vec::new();
    while head.len() < MARK.len() + PLAYLIST.len() {
        match answer.chunk().await? {
            Some(chunk) => head.extend_from_slice(&chunk),
            None => break,
        }
    }
    Ok(Begun { answer, head })
}

/// Waits until a try that failed is to be repeated, if it is.
async fn again(house: &House, stream: &StreamId, retry: &mut Retry, failure: &Failure) -> Result<(), Stop> {
    let asked = match failure.kind {
        Kind::Refused | Kind::Denied | Kind::TooLarge => return Err(Stop::Failed(failure.why.clone())),
        Kind::Changed => None,
        Kind::Later(asked) => asked,
    };
    let config = house.pulls.fetcher.config();
    let Some(pause) = retry.failed(config, now_ms(), asked, rand::random()) else {
        return Err(Stop::Failed(format!("{}, for {} s", failure.why, config.give_up_s)));
    };
    tracing::debug!(%stream, why = failure.why, pause_ms = pause.as_millis(), "fetching is tried again");
    tokio::time::sleep(pause).await;
    Ok(())
}

/// A playlist of anyone, for [`crate::fuzz`].
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fuzz_playlist(bytes: &[u8]) {
    const SEGMENTS_MAX: usize = 100;
    let base = Url::parse("https://example.com/live/index.m3u8?token=1").expect("it is one");
    let Ok(playlist::Playlist::Media(media)) = playlist::parse(bytes, &base, SEGMENTS_MAX) else { return };
    assert!(media.segments.len() <= SEGMENTS_MAX);
    let in_order = media.segments.windows(2).all(|pair| pair[0].sequence < pair[1].sequence);
    assert!(in_order, "segments are numbered in their order");
    // Ranges end where numbers do.
    let ends = media
        .segments
        .iter()
        .filter_map(|segment| segment.media.span)
        .all(|span| span.first.checked_add(span.bytes).is_some());
    assert!(ends, "a range has no end");
}
