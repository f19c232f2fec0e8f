//! One segment: fetched, decrypted and laid down as a file, each part of it at most so large and as often tried as
//! configured.

use std::{
    collections::VecDeque,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{fs::File, io::AsyncWriteExt};

use super::{
    cipher::{Decipher, Undecipherable},
    playlist::{Key, Resource, Segment},
};
use crate::{
    clock::now_ms,
    ingest::fetch::{Failure, Fetcher, Kind, Part, Retry},
};

/// Headers and keys that are kept for the segments to come.
const KEPT_MAX: usize = 8;

/// Largest header in bytes.
const INIT_BYTES_MAX: u64 = 4 << 20;

/// Why a segment is not here.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Fetch(#[from] Failure),
    #[error("it can't be written: {0}")]
    Disk(#[from] std::io::Error),
    #[error(transparent)]
    Cipher(#[from] Undecipherable),
}

/// Fetches the segments of one playlist.
#[derive(Debug)]
pub(super) struct Parts {
    fetcher: Fetcher,
    inits: VecDeque<(Arc<Resource>, Option<Arc<Key>>, Bytes)>,
    keys: VecDeque<(Arc<Key>, [u8; 16])>,
}

impl Parts {
    pub(super) fn new(fetcher: Fetcher) -> Self {
        Self { fetcher, inits: VecDeque::new(), keys: VecDeque::new() }
    }

    /// Lays `segment` down at `path`, with its header before it. Tries for at most `limit`.
    pub(super) async fn fetch(&mut self, segment: &Segment, path: &Path, limit: Duration) -> Result<u64, Error> {
        let (began, mut retry) = (Instant::now(), Retry::default());
        loop {
            let failure = match self.pass(segment, path).await {
                Err(Error::Fetch(failure)) => failure,
                done => return done,
            };
            let asked = match failure.kind {
                Kind::Later(asked) => asked,
                // What was listed a moment ago may not be everywhere yet.
                Kind::Denied | Kind::Changed => None,
                Kind::Refused | Kind::TooLarge => return Err(failure.into()),
            };
            let pause = retry.failed(self.fetcher.config(), now_ms(), asked, rand::random());
            match pause.filter(|pause| began.elapsed() + *pause <= limit) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(failure.into()),
            }
        }
    }

    async fn pass(&mut self, segment: &Segment, path: &Path) -> Result<u64, Error> {
        let mut file = File::create(path).await?;
        let init = self.init(segment).await?;
        file.write_all(&init).await?;
        let mut bytes = init.len() as u64;
        let bytes_max = self.fetcher.config().segment_bytes_max;
        let mut decipher = match &segment.key {
            Some(key) => Some(Decipher::new(self.key(key).await?, iv(key, segment.sequence))),
            None => None,
        };
        let mut answer = self.fetcher.get(&segment.media.url, part(&segment.media)).await?;
        while let Some(chunk) = answer.chunk().await? {
            bytes += chunk.len() as u64;
            if bytes > bytes_max {
                return Err(Failure::new(Kind::TooLarge, format!("a segment has more than {bytes_max} bytes")).into());
            }
            match &mut decipher {
                Some(decipher) => file.write_all(&decipher.feed(&chunk)).await?,
                None => file.write_all(&chunk).await?,
            }
        }
        if let Some(decipher) = decipher {
            file.write_all(&decipher.finish()?).await?;
        }
        file.flush().await?;
        Ok(file.metadata().await?.len())
    }

    async fn init(&mut self, segment: &Segment) -> Result<Bytes, Error> {
        let Some(init) = &segment.init else { return Ok(Bytes::new()) };
        let kept = self.inits.iter().find(|(known, key, _)| known == init && *key == segment.key);
        if let Some((.., bytes)) = kept {
            return Ok(bytes.clone());
        }
        let mut bytes = self.fetcher.get(&init.url, part(init)).await?.read(INIT_BYTES_MAX).await?;
        // Whether the header comes before the key in the playlist, and so is not encrypted, shows in itself.
        if let Some(key) = segment.key.as_ref().filter(|_| !is_mp4(&bytes)) {
            let mut decipher = Decipher::new(self.key(key).await?, iv(key, segment.sequence));
            let mut plain = decipher.feed(&bytes);
            plain.extend(decipher.finish()?);
            bytes = plain.into();
        }
        keep(&mut self.inits, (init.clone(), segment.key.clone(), bytes.clone()));
        Ok(bytes)
    }

    async fn key(&mut self, key: &Arc<Key>) -> Result<[u8; 16], Error> {
        if let Some((_, bytes)) = self.keys.iter().find(|(known, _)| known.url == key.url) {
            return Ok(*bytes);
        }
        let bytes = self.fetcher.get(&key.url, Part::default()).await?.read(16).await?;
        let bytes: [u8; 16] = bytes.as_ref().try_into().map_err(|_| Undecipherable)?;
        keep(&mut self.keys, (key.clone(), bytes));
        Ok(bytes)
    }
}

fn keep<T>(kept: &mut VecDeque<T>, new: T) {
    if kept.len() >= KEPT_MAX {
        kept.pop_front();
    }
    kept.push_back(new);
}

fn part(resource: &Resource) -> Part<'static> {
    resource.span.map_or(Part::default(), |span| Part { first: span.first, bytes: Some(span.bytes), version: None })
}

/// The media sequence number as a big-endian number, unless the playlist says otherwise (RFC 8216, 5.2).
fn iv(key: &Key, sequence: u64) -> [u8; 16] {
    key.iv.unwrap_or_else(|| u128::from(sequence).to_be_bytes())
}

/// Whether a header begins with a box that headers begin with (ISO/IEC 14496-12).
fn is_mp4(bytes: &[u8]) -> bool {
    bytes.get(4..8).is_some_and(|kind| [b"ftyp", b"styp", b"moov"].iter().any(|known| kind == *known))
}
