//! Records: what the store keeps, one struct a noun. Plain data; the rules are in the modules that change it.

use millrace_proto::{
    Address, ClipId, Sha256, StreamId,
    api::{ClipState, HoldState, Source, StreamState},
    offer::Offer,
    profile::{Profile, Rung},
    task::Blob,
};
use serde::{Deserialize, Serialize};

/// One live broadcast or one recorded asset.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// Its id.
    pub id: StreamId,
    /// For people.
    pub name: String,
    /// Where its video comes from.
    pub source: Source,
    /// What is fetched; streams with the source `url` alone have one. It may hold secrets.
    pub url: Option<String>,
    /// What the URL turned out to be; absent until its first bytes told.
    pub fetched: Option<Fetched>,
    /// What is wanted.
    pub profile: Profile,
    /// Shown on the page at `/`.
    pub listed: bool,
    /// When it was made, Unix time.
    pub created_ms: u64,
    /// Hash of the stream key's secret; live streams alone have one.
    pub key_sha256: Option<Sha256>,
    /// How far it is.
    pub state: StreamState,
    /// Since when.
    pub state_since_ms: u64,
    /// Why it failed.
    pub reason: Option<String>,
    /// When an interrupted stream is given up, Unix time; 0 when it is not interrupted.
    pub grace_ends_ms: u64,
    /// Segments committed: the next one's sequence number.
    pub next_seq: u64,
    /// Segments below are freed or about to be: no playlist names them.
    pub first_seq: u64,
    /// Segments settled from the first one on: all below are in the playlists, as media or as a gap.
    pub listed_seq: u64,
    /// Of these: gaps.
    pub failed_segments: u64,
    /// Of these: held back by moderation and not approved, which are gaps as well.
    pub withheld_segments: u64,
    /// What the timeline of the next discontinuity starts from; absent before the first segment.
    pub tail: Option<Tail>,
    /// The rungs that are made, largest first, fixed by the first segment with video.
    pub rungs: Vec<Rung>,
    /// `EXT-X-TARGETDURATION`, fixed when the first segment is listed unless a longer one comes; 0 before.
    pub target_duration_s: u32,
    /// What the multivariant playlist says of each rendition, over all listed segments.
    pub variants: Vec<Variant>,
    /// Bytes of the upload that are durable.
    pub source_bytes: u64,
    /// Bytes that the upload will have.
    pub source_bytes_total: Option<u64>,
}

impl Stream {
    /// A stream that nothing has come into yet, without a stream key and not on the page.
    pub fn new(id: StreamId, name: &str, source: Source, profile: Profile, now_ms: u64) -> Self {
        Self {
            id,
            name: name.to_owned(),
            source,
            url: None,
            fetched: None,
            profile,
            listed: false,
            created_ms: now_ms,
            key_sha256: None,
            state: StreamState::Waiting,
            state_since_ms: now_ms,
            reason: None,
            grace_ends_ms: 0,
            next_seq: 0,
            first_seq: 0,
            listed_seq: 0,
            failed_segments: 0,
            withheld_segments: 0,
            tail: None,
            rungs: Vec::new(),
            target_duration_s: 0,
            variants: Vec::new(),
            source_bytes: 0,
            source_bytes_total: None,
        }
    }

    /// Whether it is a broadcast: with a sliding window, on the wall clock, never to be had again. False for
    /// recordings, and as long as nobody knows.
    pub fn is_live(&self) -> bool {
        match self.source {
            Source::Live => true,
            Source::File => false,
            Source::Url => matches!(self.fetched, Some(Fetched::Hls { live: true, .. })),
        }
    }

    /// Whether it is read from one file that lies in the folder of uploads.
    pub fn is_file(&self) -> bool {
        match self.source {
            Source::File => true,
            Source::Live => false,
            Source::Url => matches!(self.fetched, Some(Fetched::File { .. })),
        }
    }
}

/// What a stream's URL turned out to be, and what fetching it goes on from after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fetched {
    /// One file.
    File {
        /// Which version of it, by `ETag` or `Last-Modified`; a transfer goes on only in the same one.
        version: Option<String>,
    },
    /// An HLS playlist.
    Hls {
        /// It still grew when it was first seen.
        live: bool,
        /// What is added to a media sequence number to give a segment's number; absent before the first segment.
        offset: Option<i64>,
    },
}

/// Where a stream's timeline ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    /// Number of the last segment's discontinuity.
    pub discontinuity: u32,
    /// End of the last segment on the timeline.
    pub end_ns: u64,
    /// End of the last segment on the wall clock, Unix time; 0 for recordings. A publisher that sent faster than it
    /// plays is ahead of the clock: who comes next starts no earlier than it ended.
    #[serde(default)]
    pub wall_end_ms: u64,
    /// Channels of the last segment's sound; 0 if it had none.
    #[serde(default)]
    pub channels: u16,
}

/// One rendition of a stream, in numbers, over all its listed segments.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// The rung's name, `source` or `audio`.
    pub name: String,
    /// RFC 6381 codec string of the newest segment.
    pub codec: String,
    /// Picture width of the newest segment; 0 for audio.
    pub width: u32,
    /// Picture height; 0 for audio.
    pub height: u32,
    /// Audio channels; 0 for video.
    pub channels: u16,
    /// Frames or audio packets.
    pub frames: u64,
    /// Bytes.
    pub bytes: u64,
    /// Duration.
    pub duration_ns: u64,
    /// The sum of its segments' `EXTINF`, which a segment of sound that begins before the pictures makes longer.
    #[serde(default)]
    pub listed_ns: u64,
    /// Highest bitrate of a segment, bits per second.
    pub bitrate_bps_peak: u64,
    /// Bytes of the parts that I-frame playlists name.
    #[serde(default)]
    pub key_bytes: u64,
    /// The same as `bitrate_bps_peak` of these parts.
    #[serde(default)]
    pub key_bps_peak: u64,
}

/// One keyframe-aligned run of source samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// Its stream.
    pub stream: StreamId,
    /// Its place in the stream, from 0.
    pub seq: u64,
    /// The run of segments with the same tracks that it belongs to.
    pub discontinuity: u32,
    /// Start on the stream's timeline.
    pub start_ns: u64,
    /// Duration on the stream's timeline.
    pub duration_ns: u64,
    /// Wall-clock time of its start, for live streams.
    pub wall_ms: Option<u64>,
    /// When its last sample arrived, Unix time.
    pub arrived_ms: u64,
    /// The source's video.
    pub video: Option<Media>,
    /// The audio, done once at ingest.
    pub audio: Option<Media>,
    /// How far it is.
    pub state: SegmentState,
    /// What was accepted for it.
    pub renditions: Vec<Media>,
    /// That moderation held it back, and what was decided then; it is listed as a gap meanwhile.
    pub hold: Option<Hold>,
}

/// That moderation held a segment back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// How far that is.
    pub state: HoldState,
    /// Why.
    pub reason: String,
    /// Since when it is in this state, Unix time.
    pub since_ms: u64,
}

impl Segment {
    /// Whether players must not get it.
    pub fn is_withheld(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.state != HoldState::Approved)
    }

    /// As players may see it: with nothing in it, if it is withheld.
    #[must_use]
    pub fn shown(self) -> Self {
        match &self.hold {
            Some(hold) if self.is_withheld() => {
                let state = SegmentState::Failed { reason: hold.reason.clone() };
                Self { state, video: None, audio: None, renditions: Vec::new(), ..self }
            }
            _ => self,
        }
    }
}

/// How far a segment is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SegmentState {
    /// Tasks are open.
    Pending,
    /// All is there.
    Ready,
    /// Given up; a gap.
    Failed {
        /// Why.
        reason: String,
    },
}

/// One track of one segment as stored: CMAF header and media segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// The rung's name, `source` or `audio`.
    pub name: String,
    /// CMAF header.
    pub init: Blob,
    /// CMAF media segment.
    pub segment: Blob,
    /// RFC 6381 codec string.
    pub codec: String,
    /// Frames or audio packets.
    pub frames: u32,
    /// Upright picture in square pixels; 0 for audio.
    pub width: u32,
    /// Upright picture in square pixels; 0 for audio.
    pub height: u32,
    /// Audio channels; 0 for video.
    pub channels: u16,
    /// Its own duration; the segment's differs where a track starts late or ends early.
    pub duration_ns: u64,
    /// How many segments before this one its decoder has to have seen; 0 for all but sources with keyframes far apart.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub preroll: u32,
    /// Bytes from the segment's start to the end of its first sample, if that is a key picture: what I-frame playlists
    /// name; 0 otherwise.
    #[serde(default)]
    pub key_bytes: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A segment that an app pushed over HTTP, by the app's own number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Its stream.
    pub stream: StreamId,
    /// The number that the app gave it.
    pub number: u64,
    /// Of its bytes.
    pub sha256: Sha256,
    /// How many bytes it has.
    pub bytes: u64,
    /// When it was whole, Unix time.
    pub received_ms: u64,
    /// The first segment that is made of it; absent until cutting begins.
    pub first_seq: Option<u64>,
    /// Where the stream's timeline ended when cutting began.
    pub tail: Option<Tail>,
    /// One above the last segment that was made of it; absent until all are durable.
    pub end_seq: Option<u64>,
    /// Why not all of it became segments.
    pub reason: Option<String>,
    /// Where what was made of it began in itself; once it is settled.
    pub starts: Starts,
}

/// First presentation times by a source's own clock, each in its track's timescale.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starts {
    /// Of the pictures.
    pub video: Option<i64>,
    /// Of the sound.
    pub audio: Option<i64>,
}

impl Pushed {
    /// One that came just now and waits to be cut.
    pub fn new(stream: StreamId, number: u64, blob: Blob, received_ms: u64) -> Self {
        let Blob { sha256, bytes } = blob;
        Self {
            stream,
            number,
            sha256,
            bytes,
            received_ms,
            first_seq: None,
            tail: None,
            end_seq: None,
            reason: None,
            starts: Starts::default(),
        }
    }
}

/// A piece of a stream that is cut out as one file, or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    /// Its id.
    pub id: ClipId,
    /// Its stream.
    pub stream: StreamId,
    /// The rendition that it is made of.
    pub rendition: String,
    /// Start on the stream's timeline: as asked for, and once it is ready, to the frame.
    pub start_ns: u64,
    /// End on the stream's timeline.
    pub end_ns: u64,
    /// The first segment that it is made of.
    pub from_seq: u64,
    /// One above the last segment that it is made of.
    pub to_seq: u64,
    /// When it was asked for, Unix time.
    pub created_ms: u64,
    /// How far it is.
    pub state: ClipState,
    /// Why it failed.
    pub reason: Option<String>,
    /// Its length, once it is ready.
    pub bytes: u64,
}

/// A worker that has been here.
#[derive(Debug, Clone, PartialEq)]
pub struct Worker {
    /// Its key's address.
    pub address: Address,
    /// What it last said it can do.
    pub offer: Offer,
    /// When it was last heard, Unix time.
    pub seen_ms: u64,
    /// Outcomes accepted.
    pub accepted: u64,
    /// Outcomes refused or failed, and leases run out.
    pub failed: u64,
}
