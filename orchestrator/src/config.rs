//! Configuration: file < environment < flags; every key has its default here and stands in
//! `deploy/orchestrator.toml` with it.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4},
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use millrace_media::Mode;
use millrace_proto::profile::Profile;
use serde::{Deserialize, Serialize};

use crate::{
    http,
    ingest::{fetch, rtmp, srt},
    publish, segment,
    task::{machine, window},
};

/// Everything that can be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of everything that is kept.
    pub data: PathBuf,
    /// Where HTTP listens; port 0 takes a free one.
    pub http: SocketAddr,
    /// Where RTMP listens; port 0 takes a free one.
    pub rtmp: SocketAddr,
    /// The media child; `millrace-media` beside this program if empty.
    pub media: PathBuf,
    /// What to do where the kernel lacks a part of the sandbox that media is decoded in.
    pub sandbox: Mode,
    /// Folder of the page at `/`; none if empty.
    pub web: PathBuf,
    /// Folder of models, for pictures of products; `~/.cache/millrace/models` if empty, as of workers.
    pub models: PathBuf,
    /// Addresses told to apps, for when this program stands behind a proxy, e.g. `https://video.example.org`.
    /// Empty: as a trusted proxy says, or as the request names this server.
    pub public_http_url: String,
    /// The same for RTMP, e.g. `rtmp://video.example.org/live`.
    pub public_rtmp_url: String,
    /// The same for SRT, e.g. `srt://video.example.org:8890`.
    pub public_srt_url: String,
    /// What comes in.
    pub ingest: Ingest,
    /// RTMP within TLS.
    pub rtmps: Rtmps,
    /// Limits of the RTMP server.
    pub rtmp_server: rtmp::Config,
    /// SRT.
    pub srt: Srt,
    /// Limits of the SRT server.
    pub srt_server: srt::Config,
    /// Leases, tries and time limits of tasks.
    pub tasks: machine::Policy,
    /// How sound is cut into windows for captions.
    pub captions: window::Pace,
    /// How long events are kept.
    pub events: Events,
    /// Limits of the HTTP server.
    pub api: Api,
    /// Pictures and clips.
    pub assets: Assets,
    /// Apps' own products.
    pub catalogs: Catalogs,
}

/// Apps' own products.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Catalogs {
    /// Products of one catalogue at most.
    pub products_max: u64,
    /// Pictures of all of them at most: each thing that is seen is compared with all.
    pub pictures_max: u64,
    /// Pictures of one product at most.
    pub product_pictures_max: u64,
    /// Largest picture in bytes.
    pub picture_bytes_max: u64,
}

/// Pictures and clips that are made of streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Assets {
    /// Media children that make pictures at once; checking the workers' outcomes is not held up by them.
    pub jobs_max: usize,
    /// Who asks for a picture that is not there yet waits for it so long.
    pub wait_ms_max: u64,
    /// Longest clip, in seconds.
    pub clip_s_max: u64,
    /// Clips of one stream at most.
    pub clips_max: u64,
}

/// How long events are kept, for apps to ask for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Events {
    /// So many days.
    pub keep_days: u64,
    /// So many of all streams together at most.
    pub count_max: u64,
}

/// RTMP within TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rtmps {
    /// Where it listens, as ADDRESS:PORT; port 0 takes a free one. Not at all if empty.
    pub listen: String,
    /// The certificate's chain, its own first, as PEM. It and the key are read again when they change.
    pub cert: PathBuf,
    /// The certificate's key, as PEM.
    pub key: PathBuf,
}

impl Rtmps {
    /// Where it listens, if it does.
    pub fn address(&self) -> Result<Option<SocketAddr>, Error> {
        if self.listen.is_empty() {
            return Ok(None);
        }
        let wrong = |_| Error::Value(format!("rtmps.listen is {:?}: use ADDRESS:PORT, or nothing", self.listen));
        self.listen.parse().map(Some).map_err(wrong)
    }
}

/// SRT.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Srt {
    /// Where it listens, as ADDRESS:PORT of IPv4; port 0 takes a free one. Not at all if empty.
    pub listen: String,
    /// A file with the passphrase that publishers encrypt with, of 10 to 79 bytes; empty: none, and nothing is
    /// encrypted.
    pub passphrase_file: PathBuf,
}

impl Srt {
    /// Where it listens, if it does.
    pub fn address(&self) -> Result<Option<SocketAddrV4>, Error> {
        if self.listen.is_empty() {
            return Ok(None);
        }
        let wrong = |_| Error::Value(format!("srt.listen is {:?}: use ADDRESS:PORT of IPv4, or nothing", self.listen));
        self.listen.parse().map(Some).map_err(wrong)
    }

    /// The passphrase, if there is one.
    pub fn passphrase(&self) -> Result<Option<String>, Error> {
        if self.passphrase_file.as_os_str().is_empty() {
            return Ok(None);
        }
        let path = self.passphrase_file.clone();
        let text = std::fs::read_to_string(&path).map_err(|source| Error::Read { path, source })?;
        let passphrase = text.trim_end_matches(['\r', '\n']);
        // What libsrt takes.
        if !(10..=79).contains(&passphrase.len()) {
            let length = passphrase.len();
            return Err(Error::Value(format!(
                "the passphrase in srt.passphrase_file has {length} bytes: use 10 to 79"
            )));
        }
        Ok(Some(passphrase.to_owned()))
    }
}

/// What comes in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ingest {
    /// A publisher that was lost may come back for so long.
    pub lost_grace_s: u64,
    /// A publisher that said goodbye may come back for so long.
    pub goodbye_grace_s: u64,
    /// Longest time without a keyframe.
    pub keyframe_ms_max: u32,
    /// Most bytes of one segment.
    pub segment_bytes_max: u64,
    /// How far audio may trail behind video.
    pub audio_lag_ms_max: u32,
    /// A publisher waits so long for space to write before it is cut off.
    pub storage_retry_s_max: u64,
    /// Files read at once.
    pub files_max: usize,
    /// Open tasks of one file at most; its reading waits meanwhile.
    pub file_tasks_max: u64,
    /// Largest upload in bytes.
    pub upload_bytes_max: u64,
    /// Largest segment in bytes that is pushed over HTTP.
    pub push_bytes_max: u64,
    /// Pushed segments of one stream that wait to be cut.
    pub push_open_max: u64,
    /// A pushed segment waits so long for one with a lower number; then it goes on with a discontinuity.
    pub push_wait_ms: u64,
    /// A stream that nothing was pushed into for so long has lost its publisher.
    pub push_idle_s: u64,
    /// Who asked for the renditions of a pushed segment waits for them so long.
    pub push_answer_ms_max: u64,
    /// Media children at once that put such renditions into transport streams.
    pub push_mux_max: usize,
    /// What is fetched from URLs.
    pub fetch: fetch::Config,
}

/// Limits of the HTTP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Api {
    /// Largest JSON body in bytes.
    pub json_bytes_max: usize,
    /// Longest wait of a worker's poll.
    pub poll_ms_max: u64,
    /// An upload that brings nothing for so long is cut off.
    pub upload_idle_s_max: u64,
    /// Outcomes checked at once; 0: as many as cores.
    pub checks_max: usize,
    /// Segments of `cbcs` streams that are read into memory at once, to see what of them is to be encrypted.
    pub seals_max: usize,
    /// Bytes of them that stay there until players have them; more are read a second time as they go out.
    pub seal_bytes_max: u64,
    /// Networks of proxies before this server, whose `Forwarded` and `X-Forwarded-*` are believed.
    pub proxies_trusted: Vec<IpNet>,
    /// Connections.
    pub connections: http::server::Config,
    /// What is kept in memory for players.
    pub kept: http::kept::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("data"),
            http: SocketAddr::from(([127, 0, 0, 1], 8080)),
            rtmp: SocketAddr::from(([127, 0, 0, 1], 1935)),
            media: PathBuf::new(),
            sandbox: Mode::BestEffort,
            web: PathBuf::new(),
            models: PathBuf::new(),
            public_http_url: String::new(),
            public_rtmp_url: String::new(),
            public_srt_url: String::new(),
            ingest: Ingest::default(),
            rtmps: Rtmps::default(),
            rtmp_server: rtmp::Config::default(),
            srt: Srt::default(),
            srt_server: srt::Config::default(),
            tasks: machine::Policy::default(),
            captions: window::Pace::default(),
            events: Events::default(),
            api: Api::default(),
            assets: Assets::default(),
            catalogs: Catalogs::default(),
        }
    }
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            lost_grace_s: 30,
            goodbye_grace_s: 5,
            keyframe_ms_max: 30_000,
            segment_bytes_max: 256 << 20,
            audio_lag_ms_max: 1_000,
            storage_retry_s_max: 300,
            files_max: 2,
            file_tasks_max: 256,
            upload_bytes_max: 64 << 30,
            push_bytes_max: 64 << 20,
            push_open_max: 32,
            push_wait_ms: 5_000,
            push_idle_s: 15,
            push_answer_ms_max: 60_000,
            push_mux_max: 2,
            fetch: fetch::Config::default(),
        }
    }
}

impl Default for Assets {
    fn default() -> Self {
        Self { jobs_max: 1, wait_ms_max: 20_000, clip_s_max: 3_600, clips_max: 100 }
    }
}

impl Default for Events {
    fn default() -> Self {
        Self { keep_days: 30, count_max: 1_000_000 }
    }
}

impl Default for Catalogs {
    fn default() -> Self {
        Self { products_max: 10_000, pictures_max: 20_000, product_pictures_max: 20, picture_bytes_max: 16 << 20 }
    }
}

impl Default for Api {
    fn default() -> Self {
        Self {
            json_bytes_max: 1 << 20,
            poll_ms_max: 30_000,
            upload_idle_s_max: 60,
            checks_max: 0,
            seals_max: 16,
            seal_bytes_max: 64 << 20,
            proxies_trusted: vec![
                IpNet::new_assert(Ipv4Addr::new(127, 0, 0, 0).into(), 8),
                IpNet::new_assert(Ipv6Addr::LOCALHOST.into(), 128),
            ],
            connections: http::server::Config::default(),
            kept: http::kept::Config::default(),
        }
    }
}

impl Ingest {
    /// The segmenter's limits for a stream of this profile.
    pub fn limits(&self, profile: &Profile) -> segment::Limits {
        segment::Limits {
            segment_ms: profile.segment_ms,
            // The source's own video is published as it is, so each of its segments has to start with a keyframe.
            segment_ms_max: (!profile.passthrough).then(|| publish::segment_ms_max(profile)),
            keyframe_ms_max: self.keyframe_ms_max,
            segment_bytes_max: self.segment_bytes_max,
            audio_lag_ms_max: self.audio_lag_ms_max,
        }
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no TOML, or has a key or value that is not known.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A value makes no sense.
    #[error("{0}")]
    Value(String),
}

impl Config {
    /// Reads a file; keys that it leaves out have their defaults.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|source| Error::Parse { path: path.to_owned(), source: Box::new(source) })
    }

    /// Checks what the types do not.
    pub fn check(&self) -> Result<(), Error> {
        let positive = [
            ("tasks.lease_ms", self.tasks.lease_ms),
            ("tasks.work_ms_min", self.tasks.work_ms_min),
            ("api.seals_max", self.api.seals_max as u64),
            ("events.keep_days", self.events.keep_days),
            ("events.count_max", self.events.count_max),
            ("assets.jobs_max", self.assets.jobs_max as u64),
            ("ingest.files_max", self.ingest.files_max as u64),
            ("ingest.file_tasks_max", self.ingest.file_tasks_max),
            ("ingest.push_bytes_max", self.ingest.push_bytes_max),
            ("ingest.push_open_max", self.ingest.push_open_max),
            ("ingest.push_mux_max", self.ingest.push_mux_max as u64),
            ("ingest.segment_bytes_max", self.ingest.segment_bytes_max),
            ("ingest.keyframe_ms_max", u64::from(self.ingest.keyframe_ms_max)),
        ];
        self.rtmps.address()?;
        self.rtmp_server.check().map_err(|why| Error::Value(format!("rtmp_server.{why}")))?;
        self.api.connections.check().map_err(|why| Error::Value(format!("api.connections.{why}")))?;
        self.api.kept.check().map_err(|why| Error::Value(format!("api.kept.{why}")))?;
        self.captions.check().map_err(|why| Error::Value(format!("captions.{why}")))?;
        self.srt.address()?;
        self.srt_server.check().map_err(|why| Error::Value(format!("srt_server.{why}")))?;
        self.ingest.fetch.check().map_err(|why| Error::Value(format!("ingest.fetch.{why}")))?;
        match positive.iter().find(|(_, value)| *value == 0) {
            Some((key, _)) => Err(Error::Value(format!("{key} is 0: use at least 1"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_defaults_are_the_defaults() {
        let documented = include_str!("../../deploy/orchestrator.toml");
        let table = |text: &str| text.parse::<toml::Table>().unwrap();
        assert_eq!(table(documented), table(&toml::to_string(&Config::default()).unwrap()));
    }

    #[test]
    fn unknown_keys_and_senseless_values_are_refused() {
        assert!(toml::from_str::<Config>("[ingest]\nlost_grace = 3").unwrap_err().to_string().contains("lost_grace"));
        let mut config = Config::default();
        config.tasks.lease_ms = 0;
        assert!(config.check().unwrap_err().to_string().contains("tasks.lease_ms is 0"));
        let config = Config { srt: Srt { listen: "[::1]:0".into(), ..Srt::default() }, ..Config::default() };
        assert!(config.check().unwrap_err().to_string().contains("of IPv4"));
    }

    #[test]
    fn a_passphrase_comes_from_its_file_and_is_never_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passphrase");
        let srt = Srt { passphrase_file: file.clone(), ..Srt::default() };
        assert_eq!(Srt::default().passphrase().unwrap(), None);
        assert!(matches!(srt.passphrase(), Err(Error::Read { .. })));
        std::fs::write(&file, "too short\n").unwrap();
        let told = srt.passphrase().unwrap_err().to_string();
        assert!(told.contains("9 bytes") && !told.contains("short"), "{told}");
        std::fs::write(&file, "of sufficient length\n").unwrap();
        assert_eq!(srt.passphrase().unwrap().as_deref(), Some("of sufficient length"));
    }
}
