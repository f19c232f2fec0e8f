//! Hands segments that were fetched on to where pushed ones go, by number: durable first, then cut.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use tokio::{fs::File, io::AsyncReadExt};
use tokio_util::io::ReaderStream;

use super::{OPEN, Stop};
use crate::{
    clock::now_ms,
    house::House,
    ingest::{event::Refusal, push},
    loops,
    store::{
        Noted,
        record::{Pushed, Stream},
    },
};

const CHUNK_BYTES: usize = 64 << 10;

/// Makes a segment durable and has it cut. What was handed on before under this number stands.
pub(super) async fn on(
    house: &Arc<House>,
    stream: &Stream,
    number: u64,
    files: Vec<(PathBuf, u64)>,
) -> Result<(), Stop> {
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
        let head = stream::iter([Ok(push::bundle::head(&lengths))]);
        let mut opened = Vec::new();
        for (path, bytes) in &files {
            let file = File::open(path).await.map_err(|error| later(&error))?;
            opened.push(ReaderStream::with_capacity(file.take(*bytes), CHUNK_BYTES));
        }
        let body = head.chain(stream::iter(opened).flatten());
        let kept = house.media.receive_push(&stream.id, number, u64::MAX, body).await;
        let blob = kept.map_err(|error| later(&error))?;
        let push = Pushed::new(stream.id.clone(), number, blob, now_ms());
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
pub(super) async fn finish(house: &Arc<House>, stream: &Stream, lost: Option<String>) -> Result<(), Stop> {
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
        let first = house.store.pushed(&stream.id, 0).await?;
        let why = first.and_then(|push| push.reason).or(lost).unwrap_or_else(|| "its playlist names none".into());
        return Err(Stop::Failed(format!("not one segment could be read: {why}")));
    }
    loops::finish(house, &stream.id, &OPEN).await?;
    Ok(())
}
