//! Transfers: inputs into files, outputs out of files, hashed on the way, never whole in memory.

use std::{io, path::Path, time::Duration};

use futures_util::TryStreamExt;
use millrace_proto::{
    Sha256,
    task::{Blob, Input, Lease, REPORT},
    worker::{LEASE_HEADER, SHA256_HEADER},
};
use reqwest::{
    Body, RequestBuilder, Response, Url,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use sha2::Digest;
use tokio::{
    fs::{self, File},
    io::AsyncWriteExt,
    time::timeout,
};
use tokio_util::io::ReaderStream;

use super::{Client, fault};
use crate::agent::Fault;

/// An upload slower than this, after [`UPLOAD_WAIT`], is taken for dead.
const UPLOAD_BYTES_PER_S_MIN: u64 = 16 << 10;
const UPLOAD_WAIT: Duration = Duration::from_secs(30);

impl Client {
    /// Fetches an input into the file `to`, and checks it while it comes. A file that is there already is an
    /// earlier try's, checked then.
    pub async fn download(&self, session: &str, lease: &Lease, input: &Input, to: &Path) -> Result<(), Fault> {
        if fs::try_exists(to).await.is_ok_and(|there| there) {
            return Ok(());
        }
        let url = self.url(&input.url)?;
        let response = self.send(self.transfers.get(url.clone()), &url, session, lease).await?;
        let part = to.with_extension("part");
        receive(response, input.blob, &part).await?;
        fs::rename(&part, to).await.map_err(|error| spoiled("keep", to, &error))
    }

    /// Uploads the file `from` as the lease's output of that name.
    pub async fn upload(
        &self,
        session: &str,
        lease: &Lease,
        output: &str,
        blob: Blob,
        from: &Path,
    ) -> Result<(), Fault> {
        let url = self.url(&lease.output_url.replace("{output}", output))?;
        let file = File::open(from).await.map_err(|error| spoiled("read", from, &error))?;
        let request = self
            .transfers
            .put(url.clone())
            .header(SHA256_HEADER, blob.sha256.to_string())
            .header(CONTENT_TYPE, if output == REPORT { "application/json" } else { "video/mp4" })
            // Storage behind signed URLs takes no body of unknown length.
            .header(CONTENT_LENGTH, blob.bytes)
            .body(Body::wrap_stream(ReaderStream::new(file)));
        let patience = UPLOAD_WAIT + Duration::from_secs(blob.bytes / UPLOAD_BYTES_PER_S_MIN);
        let sent = timeout(patience, self.send(request, &url, session, lease)).await;
        sent.map_err(|_| Fault::Away { message: "the upload stalled".into(), retry_after_ms: None })?.map(drop)
    }

    async fn send(
        &self,
        mut request: RequestBuilder,
        url: &Url,
        session: &str,
        lease: &Lease,
    ) -> Result<Response, Fault> {
        let home = self.is_home(url);
        if home {
            request = request.bearer_auth(session).header(LEASE_HEADER, &lease.token);
        }
        let response = request.send().await.map_err(|error| fault::of_error(&error))?;
        match response.status().is_success() {
            true => Ok(response),
            false if home => Err(fault::of_response(response).await),
            false => Err(fault::of_storage(&response)),
        }
    }
}

async fn receive(response: Response, blob: Blob, to: &Path) -> Result<(), Fault> {
    let host = response.url().host_str().unwrap_or_default().to_owned();
    let too_long = || Fault::Spoiled(format!("{host} sent more than the {} bytes that the lease says", blob.bytes));
    if response.content_length().is_some_and(|bytes| bytes > blob.bytes) {
        return Err(too_long());
    }
    let mut file = File::create(to).await.map_err(|error| spoiled("write", to, &error))?;
    let (mut hash, mut bytes) = (sha2::Sha256::new(), 0);
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.try_next().await.map_err(|error| fault::of_error(&error))? {
        bytes += chunk.len() as u64;
        if bytes > blob.bytes {
            return Err(too_long());
        }
        hash.update(&chunk);
        file.write_all(&chunk).await.map_err(|error| spoiled("write", to, &error))?;
    }
    file.flush().await.map_err(|error| spoiled("write", to, &error))?;
    if bytes < blob.bytes {
        let message = format!("{host} sent {bytes} of {} bytes", blob.bytes);
        return Err(Fault::Away { message, retry_after_ms: None });
    }
    if Sha256::from_digest(hash.finalize().into()) != blob.sha256 {
        return Err(Fault::Spoiled(format!("what {host} sent has another hash than the lease says")));
    }
    Ok(())
}

fn spoiled(verb: &str, path: &Path, error: &io::Error) -> Fault {
    // The path is this machine's own business; the file's name is enough.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Fault::Spoiled(format!("the worker can't {verb} its file {name}: {error}"))
}
