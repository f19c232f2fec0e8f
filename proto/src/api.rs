//! The apps' API: streams, workers, and the one form of every error.

mod catalog;
mod clip;
mod moderation;
mod transcript;

use std::collections::BTreeMap;

pub use catalog::{Catalog, NewProduct, Product, ProductPicture, PutProduct, Rematched, SKU_LENGTH_MAX, is_sku};
pub use clip::{Clip, ClipState, CreateClip, Place};
pub use moderation::{Decide, HeldSegment, HoldState};
use serde::{Deserialize, Serialize};
pub use transcript::{Transcript, TranscriptWindow};

use crate::{
    Address, Sha256, StreamId,
    offer::Offer,
    profile::{Choice, Profile},
};

/// The body of every answer that is not 2xx.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// For programs: stable, `snake_case`.
    pub code: String,
    /// For people: what is wrong.
    pub message: String,
    /// For people: what to do.
    pub hint: String,
}

/// Where a stream's video comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A publisher pushes it over RTMP.
    Live,
    /// An app uploads it with `PUT /v1/streams/{id}/source`.
    File,
    /// The orchestrator fetches it from `url`: a file, or an HLS playlist.
    Url,
}

/// `POST /v1/streams`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateStream {
    /// For people; 1 to 200 characters.
    pub name: String,
    /// Where the video comes from.
    pub source: Source,
    /// What is fetched, with the source `url` alone: `http` or `https`, at most 4,096 characters. A name and a
    /// password in it are sent to that server alone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub url: Option<String>,
    /// What is wanted.
    #[serde(default)]
    pub profile: Choice,
    /// Show it on the page at `/`.
    #[serde(default)]
    pub listed: bool,
}

/// A stream, as the API tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    /// Its id.
    pub id: StreamId,
    /// Its name.
    pub name: String,
    /// Where the video comes from.
    pub source: Source,
    /// What is fetched, without name and password; for the source `url`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub url: Option<String>,
    /// How far it is.
    pub state: StreamState,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// Why nobody works on its segments, while that is so: no worker that is online can.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stuck: Option<String>,
    /// Why nobody writes down what is said in it, while that is so: no worker that is online can.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub captions_stuck: Option<String>,
    /// Why nobody looks whether everyone is to see it, while that is so: no worker that is online can.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub moderation_stuck: Option<String>,
    /// Why nobody looks for things in it, while that is so: no worker that is online can.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub products_stuck: Option<String>,
    /// What is wanted.
    pub profile: Profile,
    /// Shown on the page at `/`.
    pub listed: bool,
    /// When it was made, Unix time.
    pub created_ms: u64,
    /// Where to push; absent for the source `url`. The key is told once, when the stream is made.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ingest: Option<Ingest>,
    /// Where to play.
    pub playback: Playback,
    /// How far the upload and its segments are.
    pub progress: Progress,
}

/// Where to push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ingest {
    /// Server address without the key, as OBS asks for it. For a file: where to PUT it.
    pub url: String,
    /// The same for SRT, where the server takes it: the key goes into the address as `?streamid=KEY`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub srt: Option<String>,
    /// The stream key; a secret.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stream_key: Option<String>,
}

/// Where to play.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Playback {
    /// Multivariant HLS playlist.
    pub hls: String,
    /// The whole recording, once a live stream has ended; for a file the same as `hls`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vod: Option<String>,
    /// DASH manifest; for a file only once it is through.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dash: Option<String>,
    /// An ended stream as one MP4 file, by rendition. `source` asks for the administrator's key unless the profile
    /// publishes the source.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub mp4: BTreeMap<String, String>,
    /// Its captions as one file each, by form: `vtt`, `srt` and `json`. Other tracks are at `captions.LANGUAGE.FORM`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub captions: BTreeMap<String, String>,
    /// What is to be seen in it, as a `WebVTT` track of metadata.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub metadata: Option<String>,
    /// A picture of it, JPEG; while it lives, a picture of now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub poster: Option<String>,
    /// `WebVTT` that names a thumbnail for every time of an ended stream.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub thumbnails: Option<String>,
}

/// How far a stream is, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Bytes of the upload, or of the file that is fetched, that are durable.
    pub source_bytes: u64,
    /// Bytes that it will have, once known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source_bytes_total: Option<u64>,
    /// Segments cut and durable.
    pub segments: u64,
    /// Segments published or given up.
    pub segments_settled: u64,
    /// Of these: given up, with a gap in the playlist.
    pub segments_failed: u64,
    /// Of these: held back by moderation and not approved, with a gap in the playlist.
    #[serde(default, skip_serializing_if = "is_none")]
    pub segments_withheld: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks like this")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// How far a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamState {
    /// Nothing has come in yet.
    Waiting,
    /// Video is coming in.
    Live,
    /// The publisher is away, and may come back within the grace time.
    Interrupted,
    /// All video is in, segments are still being worked on.
    Finishing,
    /// Everything is published.
    Ended,
    /// It was kept as long as its profile says. Its media is freed, but for its clips; its playlists answer with 410.
    Expired,
    /// It can't be processed; `reason` says why.
    Failed,
}

/// `PUT /v1/streams/{id}/segments/{number}`: a pushed segment that is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// Its stream.
    pub stream: StreamId,
    /// The number that the app gave it.
    pub number: u64,
    /// Of the bytes that came.
    pub sha256: Sha256,
    /// How many bytes came.
    pub bytes: u64,
}

/// `POST /v1/streams/{id}/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// For how long the token opens the stream.
    pub ttl_s: u64,
}

/// A playback token of an encrypted stream; a secret of the viewer's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// As `?token=` or as `Authorization: Bearer`.
    pub token: String,
    /// When it is over, Unix time.
    pub expires_ms: u64,
    /// The stream's HLS playlist, with the token: all that a player needs.
    pub hls: String,
    /// The same of the recording, once there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vod: Option<String>,
    /// The stream's DASH manifest, with the token, where its encryption is one that DASH has.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dash: Option<String>,
}

/// A worker, as the API tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// Its key's address.
    pub address: Address,
    /// What it can do.
    pub offer: Offer,
    /// When it was last heard, Unix time.
    pub seen_ms: u64,
    /// Heard lately.
    pub online: bool,
    /// Leases it holds now.
    pub leases: u32,
    /// Outcomes of it that were accepted, since it first came.
    pub accepted: u64,
    /// Outcomes of it that were refused or failed, and leases it let run out.
    pub failed: u64,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows, newest first.
    pub items: Vec<T>,
    /// Pass as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<String>,
}
