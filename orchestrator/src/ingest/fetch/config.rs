//! What may be set about fetching. Times are wall-clock milliseconds or seconds, as the names say.

use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Limits of fetching, each with a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Networks that are no part of the public internet and may be fetched from all the same, as in `10.2.0.0/16`.
    pub private_allowed: Vec<IpNet>,
    /// A PEM file of certificates that servers may be signed by besides those that the system trusts; empty: none.
    pub ca: PathBuf,
    /// Streams fetched at once; of these, recordings. The others wait for their turn.
    pub streams_max: usize,
    /// Recordings fetched at once.
    pub recordings_max: usize,
    /// Redirects followed from one address.
    pub redirects_max: u32,
    /// Looking a name up and connecting, and from there to the head of the answer.
    pub answer_ms_max: u64,
    /// A transfer that brings nothing for so long is broken off, and tried again.
    pub idle_ms_max: u64,
    /// The pause after a failed try; it doubles up to the longest.
    pub retry_ms: u64,
    /// Longest pause.
    pub retry_ms_max: u64,
    /// A source that brings nothing new for so long, however often it is tried, is given up.
    pub give_up_s: u64,
    /// Longest time that one file may take.
    pub file_s_max: u64,
    /// Largest playlist in bytes.
    pub playlist_bytes_max: u64,
    /// Most segments that a playlist may name.
    pub playlist_segments_max: usize,
    /// Largest segment in bytes.
    pub segment_bytes_max: u64,
    /// A broadcast that brings nothing new for so long, and for three target durations, has lost its publisher.
    pub live_silence_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            private_allowed: Vec::new(),
            ca: PathBuf::new(),
            streams_max: 64,
            recordings_max: 4,
            redirects_max: 5,
            answer_ms_max: 15_000,
            idle_ms_max: 20_000,
            retry_ms: 500,
            retry_ms_max: 15_000,
            give_up_s: 120,
            file_s_max: 86_400,
            playlist_bytes_max: 4 << 20,
            playlist_segments_max: 50_000,
            segment_bytes_max: 128 << 20,
            live_silence_s: 30,
        }
    }
}

impl Config {
    /// Says what is out of range, if anything is.
    pub fn check(&self) -> Result<(), String> {
        let positive = [
            ("streams_max", self.streams_max as u64),
            ("recordings_max", self.recordings_max as u64),
            ("answer_ms_max", self.answer_ms_max),
            ("idle_ms_max", self.idle_ms_max),
            ("retry_ms", self.retry_ms),
        ];
        match positive.iter().find(|(_, value)| *value == 0) {
            Some((key, _)) => Err(format!("{key} is 0: use at least 1")),
            None => Ok(()),
        }
    }
}
