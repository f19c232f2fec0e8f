//! A file that is fetched: it comes to where uploads lie, in pieces if it must, and goes on where it broke off as long
//! as it is the same one (RFC 9110, 13.1.5). Durable as it comes: also over a restart.

use std::{
    io::SeekFrom,
    time::{Duration, Instant},
};

use bytes::Bytes;
use reqwest::Url;
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncSeekExt, AsyncWriteExt},
    time::timeout,
};

use super::{Begun, Stop, again};
use crate::{
    house::House,
    ingest::{
        fetch::{Answer, Failure, Kind, Part, Retry},
        file::upload_path,
    },
    store::{
        self,
        record::{Fetched, Stream},
    },
};

/// Progress is made durable at least every so many bytes, or so often.
const CHECKPOINT_BYTES: u64 = 16 << 20;
const CHECKPOINT: Duration = Duration::from_secs(2);

/// The pause when there is no space, or no answer from the store.
const FULL_PAUSE: Duration = Duration::from_secs(5);

/// Why a pass ended before the file's end.
enum Break {
    Fetch(Failure),
    /// It can't be written now.
    Full(String),
    Gone,
}

impl From<Failure> for Break {
    fn from(failure: Failure) -> Self {
        Self::Fetch(failure)
    }
}

impl From<std::io::Error> for Break {
    fn from(error: std::io::Error) -> Self {
        Self::Full(error.to_string())
    }
}

impl From<store::Error> for Break {
    fn from(error: store::Error) -> Self {
        Self::Full(error.to_string())
    }
}

/// Fetches all of it; `begun` is a transfer from its start that is under way.
pub(super) async fn fetch(house: &House, stream: &Stream, url: &Url, begun: Option<Begun>) -> Result<(), Stop> {
    let limit_s = house.pulls.fetcher.config().file_s_max;
    let done = timeout(Duration::from_secs(limit_s), passes(house, stream, url, begun)).await;
    done.unwrap_or_else(|_| Err(Stop::Failed(format!("it was not here after {limit_s} s"))))
}

async fn passes(house: &House, stream: &Stream, url: &Url, mut begun: Option<Begun>) -> Result<(), Stop> {
    let (mut retry, mut furthest) = (Retry::default(), stream.source_bytes);
    loop {
        let ended = match pass(house, stream, url, begun.take()).await {
            Ok(()) => return Ok(()),
            Err(ended) => ended,
        };
        let Some(now) = house.store.stream(&stream.id).await? else { return Err(Stop::Gone) };
        if now.source_bytes > furthest {
            furthest = now.source_bytes;
            retry.progressed();
        }
        match ended {
            Break::Gone => return Err(Stop::Gone),
            Break::Full(why) => {
                tracing::warn!(stream = %stream.id, why, "what is fetched can't be written, trying again");
                tokio::time::sleep(FULL_PAUSE).await;
            }
            Break::Fetch(failure) => {
                if failure.kind == Kind::Changed {
                    house.store.note_upload(&stream.id, 0, None).await?;
                }
                again(house, &stream.id, &mut retry, &failure).await?;
            }
        }
    }
}

/// From where it is, as far as it goes.
async fn pass(house: &House, stream: &Stream, url: &Url, begun: Option<Begun>) -> Result<(), Break> {
    let stream = house.store.stream(&stream.id).await?.ok_or(Break::Gone)?;
    let Some(Fetched::File { version }) = &stream.fetched else { return Err(Break::Gone) };
    // Without a name for the version, nobody can tell whether the rest would be the rest of it.
    let have = if version.is_some() { stream.source_bytes } else { 0 };
    let Begun { mut answer, head } = if let Some(begun) = begun {
        begun
    } else {
        let part = Part { first: have, bytes: None, version: version.as_deref().filter(|_| have > 0) };
        Begun { answer: house.pulls.fetcher.get(url, part).await?, head: Vec::new() }
    };
    let total = answer.total;
    if have > 0 && stream.source_bytes_total.is_some() && total != stream.source_bytes_total {
        return Err(Failure::new(Kind::Changed, "its length has changed").into());
    }
    let bytes_max = house.config.ingest.upload_bytes_max;
    let too_large = || Failure::new(Kind::TooLarge, format!("it is larger than {bytes_max} bytes"));
    if total.is_some_and(|total| total > bytes_max) {
        return Err(too_large().into());
    }
    let path = upload_path(house, &stream.id);
    let mut file = OpenOptions::new().create(true).write(true).truncate(false).open(&path).await?;
    if have == 0 {
        // Nothing counts of what was here of an earlier version.
        checkpoint(house, &stream, &mut file, 0, total).await?;
        if answer.version != *version {
            let fetched = Fetched::File { version: answer.version.clone() };
            house.store.note_fetched(&stream.id, &fetched).await?;
        }
    }
    file.set_len(have).await?;
    file.seek(SeekFrom::Start(have)).await?;
    let mut sink = Sink { house, stream: &stream, file, bytes: have, durable: have, since: Instant::now(), total };
    let ended = drain(&mut answer, head.into(), &mut sink, bytes_max, too_large).await;
    match &ended {
        // Which of the last bytes were written nobody knows: the next pass goes on from what is durable.
        Err(Break::Full(_) | Break::Gone) => return ended,
        // What came before a break is kept: the next pass goes on there.
        Err(Break::Fetch(_)) => {}
        Ok(()) => sink.total = Some(sink.bytes),
    }
    sink.note().await?;
    ended
}

async fn drain(
    answer: &mut Answer,
    head: Bytes,
    sink: &mut Sink<'_>,
    bytes_max: u64,
    too_large: impl Fn() -> Failure,
) -> Result<(), Break> {
    let mut next = Some(head);
    while let Some(chunk) = next {
        if sink.bytes + chunk.len() as u64 > bytes_max {
            return Err(too_large().into());
        }
        sink.write(&chunk).await?;
        next = answer.chunk().await?;
    }
    match answer.total {
        _ if sink.bytes == 0 => Err(Failure::new(Kind::Denied, "the file is empty").into()),
        Some(total) if sink.bytes != total => {
            Err(Failure::new(Kind::Changed, format!("{} bytes came of {total}", sink.bytes)).into())
        }
        _ => Ok(()),
    }
}

/// The file as it grows.
struct Sink<'a> {
    house: &'a House,
    stream: &'a Stream,
    file: File,
    bytes: u64,
    durable: u64,
    since: Instant,
    total: Option<u64>,
}

impl Sink<'_> {
    async fn write(&mut self, chunk: &[u8]) -> Result<(), Break> {
        self.file.write_all(chunk).await?;
        self.bytes += chunk.len() as u64;
        if self.bytes - self.durable >= CHECKPOINT_BYTES || self.since.elapsed() >= CHECKPOINT {
            self.note().await?;
        }
        Ok(())
    }

    async fn note(&mut self) -> Result<(), Break> {
        checkpoint(self.house, self.stream, &mut self.file, self.bytes, self.total).await?;
        (self.durable, self.since) = (self.bytes, Instant::now());
        Ok(())
    }
}

async fn checkpoint(
    house: &House,
    stream: &Stream,
    file: &mut File,
    bytes: u64,
    total: Option<u64>,
) -> Result<(), Break> {
    file.flush().await?;
    file.sync_data().await?;
    if house.store.note_upload(&stream.id, bytes, total).await? { Ok(()) } else { Err(Break::Gone) }
}
