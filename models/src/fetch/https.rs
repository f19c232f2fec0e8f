//! A file by https, which goes on where it was cut: in the same call a few times, and in the next one.

use std::{fs, io::Write, path::Path, time::Duration};

use futures_util::StreamExt;
use reqwest::{
    Client, Response, StatusCode,
    header::{CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, RANGE},
};

use super::{Arrived, Step};
use crate::{Error, ErrorKind};

/// Tries that bring nothing new, one after the other.
const FRUITLESS_TRIES_MAX: u32 = 4;
/// Before another try, times the number of fruitless ones.
const PAUSE: Duration = Duration::from_millis(500);
/// A server that says nothing for so long says nothing more.
const SILENCE: Duration = Duration::from_mins(1);

/// Fetches into `cut`, from where the last call ended.
pub(super) async fn get(url: &str, cut: &Path, tell: &(dyn Fn(Step) + Sync)) -> Result<Arrived, Error> {
    let client = Client::builder().read_timeout(SILENCE).connect_timeout(SILENCE).build();
    let client = client.map_err(|error| unreachable(url, &told(&error)))?;
    let mut fruitless = 0;
    loop {
        let before = length(cut);
        let why = match piece(&client, url, cut, tell).await {
            Ok(()) => return Ok(Arrived { file: cut.to_owned(), folder: None }),
            Err(Cut::Lost(why)) => why,
            Err(Cut::Failed(error)) => return Err(error),
        };
        fruitless = if length(cut) > before { 0 } else { fruitless + 1 };
        if fruitless == FRUITLESS_TRIES_MAX {
            return Err(unreachable(url, &why));
        }
        tokio::time::sleep(PAUSE * fruitless).await;
    }
}

enum Cut {
    /// What came is kept; it may go on.
    Lost(String),
    Failed(Error),
}

/// One request for all that is missing.
async fn piece(client: &Client, url: &str, cut: &Path, tell: &(dyn Fn(Step) + Sync)) -> Result<(), Cut> {
    let cache = |error| Cut::Failed(Error::cache("write", cut, &error));
    let mark = cut.with_extension("mark");
    let mut have = length(cut);
    let mut request = client.get(url);
    // Only of the same version; without a mark of it nobody knows.
    let version = fs::read_to_string(&mark).ok().filter(|version| have > 0 && !version.is_empty());
    if let Some(version) = version {
        request = request.header(RANGE, format!("bytes={have}-")).header(IF_RANGE, version);
    }
    let response = request.send().await.map_err(|error| Cut::Lost(told(&error)))?;
    match response.status() {
        StatusCode::OK => have = 0,
        StatusCode::PARTIAL_CONTENT if starts_at(&response, have) => {}
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            fs::remove_file(cut).map_err(cache)?;
            return Err(Cut::Lost("the server sent another part than was asked for".into()));
        }
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            return Err(Cut::Lost(format!("the server answers {status}")));
        }
        status => return Err(Cut::Failed(unreachable(url, &format!("the server answers {status}")))),
    }
    let total = response.content_length().map(|rest| have + rest);
    fs::write(&mark, version_of(response.headers())).map_err(cache)?;
    let mut options = fs::File::options();
    let mut file = options.create(true).write(true).truncate(have == 0).append(have > 0).open(cut).map_err(cache)?;
    let mut body = response.bytes_stream();
    while let Some(bytes) = body.next().await {
        let bytes = bytes.map_err(|error| Cut::Lost(told(&error)))?;
        file.write_all(&bytes).map_err(cache)?;
        have += bytes.len() as u64;
        tell(Step::Bytes(have, total));
    }
    match total {
        Some(total) if have < total => Err(Cut::Lost(format!("it ended after {have} of {total} bytes"))),
        _ => Ok(()),
    }
}

fn starts_at(response: &Response, at: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {at}-")))
}

/// What `If-Range` takes: a strong tag, or a date.
fn version_of(headers: &HeaderMap) -> String {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    text(ETAG).filter(|tag| !tag.starts_with("W/")).or_else(|| text(LAST_MODIFIED)).unwrap_or_default().to_owned()
}

fn length(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |found| found.len())
}

/// An error with all its reasons: the outermost says nothing.
fn told(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        told = format!("{told}: {error}");
        source = error.source();
    }
    told
}

fn unreachable(url: &str, why: &str) -> Error {
    Error::new(ErrorKind::Unreachable, format!("{url} did not come: {why}; what came is kept, try again"))
}
