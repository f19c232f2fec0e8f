//! Clips, what ffprobe says is in them, and programs that publish.

use std::{path::PathBuf, process::ExitStatus, process::Stdio};

use millrace_cmaf::Sample;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    time::timeout,
};

use crate::desk::PATIENCE;

/// A packet as ffprobe tells it, or a sample told alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) pts: i64,
    pub(crate) key: bool,
    pub(crate) hash: String,
}

impl Packet {
    pub(crate) fn of(sample: &Sample) -> Self {
        Self { pts: sample.pts, key: sample.key, hash: hex::encode(Sha256::digest(&sample.data)) }
    }
}

/// An FLV file and what is in it.
pub(crate) struct Clip {
    _folder: TempDir,
    path: PathBuf,
    pub(crate) video: Vec<Packet>,
    pub(crate) audio: Vec<Packet>,
}

impl Clip {
    /// A place for a file.
    pub(crate) fn empty(name: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(name).with_extension("flv");
        Self { _folder: folder, path, video: Vec::new(), audio: Vec::new() }
    }

    /// Four seconds of 25 frames with B-frames and a key frame each second, and a tone.
    pub(crate) async fn encode(name: &str) -> Self {
        let clip = Self::empty(name);
        let video = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "25", "-pix_fmt", "yuv420p"];
        let sources = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=4", "-f", "lavfi", "-i", "sine=r=44100:d=4"];
        let arguments = [&["-loglevel", "error"][..], &sources, &video, &["-c:a", "aac", clip.path()]].concat();
        let (status, said) = Publisher::start("ffmpeg", &arguments).end().await;
        assert!(status.success(), "{said}");
        clip.probe().await
    }

    pub(crate) fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// The same, as if all of it were later.
    pub(crate) fn later(mut self, ms: i64) -> Self {
        for packet in self.video.iter_mut().chain(&mut self.audio) {
            packet.pts += ms;
        }
        self
    }

    /// Reads what is in the file.
    pub(crate) async fn probe(mut self) -> Self {
        #[derive(Deserialize)]
        struct Probed {
            packets: Vec<ProbedPacket>,
        }
        #[derive(Deserialize)]
        struct ProbedPacket {
            codec_type: String,
            pts: i64,
            flags: String,
            data_hash: String,
        }
        let arguments =
            ["-loglevel", "error", "-show_packets", "-show_data_hash", "sha256", "-of", "json", self.path()];
        let probe = Command::new("ffprobe").args(arguments).kill_on_drop(true).output();
        let output = timeout(PATIENCE, probe).await.unwrap().unwrap();
        let probed: Probed = serde_json::from_slice(&output.stdout).unwrap();
        for packet in probed.packets {
            let hash = packet.data_hash.trim_start_matches("SHA256:").to_owned();
            let into = match packet.codec_type.as_str() {
                "video" => &mut self.video,
                "audio" => &mut self.audio,
                // GStreamer repeats its metadata.
                _ => continue,
            };
            into.push(Packet { pts: packet.pts, key: packet.flags.contains('K'), hash });
        }
        self
    }
}

/// Arguments for a source that runs in real time until it is stopped.
pub(crate) fn endless(video: &'static str, audio: &'static str) -> Vec<&'static str> {
    let sources = ["-re", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25", "-f", "lavfi", "-i", "sine=r=44100"];
    let codecs = ["-pix_fmt", "yuv420p", "-g", "10", "-c:v", video, "-c:a", audio];
    [&sources[..], &codecs].concat()
}

/// A program that publishes; killed when dropped.
pub(crate) struct Publisher(Child);

impl Publisher {
    pub(crate) fn start(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        Self(command.spawn().unwrap_or_else(|error| panic!("{program} can't be started: {error}")))
    }

    pub(crate) fn ffmpeg(arguments: &[&str], url: &str) -> Self {
        Self::start("ffmpeg", &[&["-hide_banner", "-nostats"][..], arguments, &["-f", "flv", url]].concat())
    }

    pub(crate) fn gst(pipeline: &str) -> Self {
        let arguments: Vec<_> = ["-q"].into_iter().chain(pipeline.split_whitespace()).collect();
        Self::start("gst-launch-1.0", &arguments)
    }

    /// Waits for its end; gives what it said.
    pub(crate) async fn end(&mut self) -> (ExitStatus, String) {
        let mut said = Vec::new();
        let end = async {
            self.0.stderr.take().unwrap().read_to_end(&mut said).await.unwrap();
            self.0.wait().await.unwrap()
        };
        let status = timeout(PATIENCE, end).await.expect("the publisher goes on");
        (status, String::from_utf8_lossy(&said).into_owned())
    }

    pub(crate) async fn kill(&mut self) {
        self.0.kill().await.unwrap();
    }
}
