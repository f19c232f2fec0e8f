//! What is asked of a child's sandbox. The child builds it around itself before it reads any input; here is only what
//! it is told: how strict to be, and which files a job needs.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::job::{Demux, Gauge, Inspect, Job, Listen, Mux, Pair, Stills, Transcode};

/// What to do where the kernel lacks a part of the sandbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// No job runs.
    Required,
    /// Jobs run with the parts that there are.
    #[default]
    BestEffort,
}

impl Mode {
    /// The name, as configurations have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::BestEffort => "best_effort",
        }
    }
}

/// What a child may open for its job, beside its libraries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View<'a> {
    /// What it may read: files, and folders with all that is in them.
    pub read: Vec<&'a Path>,
    /// The folder that it may make and write files in.
    pub write: Option<&'a Path>,
}

impl Job {
    /// What the child may open for this job.
    pub fn view(&self) -> View<'_> {
        match self {
            Self::Transcode(Transcode { source, out, targets: _, threads: _ }) => {
                View { read: files([source]), write: Some(out) }
            }
            Self::Demux(Demux { input }) => View { read: vec![input], write: None },
            Self::Inspect(Inspect { segments, decode_all: _ }) => View { read: files(segments), write: None },
            Self::Gauge(Gauge { source, display: _, threads: _ }) => View { read: files([source]), write: None },
            Self::Probe(_) | Self::Follow(_) | Self::Sandbox => View::default(),
            Self::Listen(Listen { runtime, voice, whisper, .. }) => {
                View { read: vec![runtime, voice, whisper], write: None }
            }
            Self::Mux(Mux { videos, audio, out, video_start: _, audio_start: _ }) => {
                View { read: files(videos.iter().flatten().chain(audio)), write: Some(out) }
            }
            Self::Stills(Stills { candidates, thumbnails, out, poster: _, grid: _ }) => {
                View { read: files(candidates.iter().chain(thumbnails)), write: Some(out) }
            }
        }
    }
}

fn files<'a>(pairs: impl IntoIterator<Item = &'a Pair>) -> Vec<&'a Path> {
    let of = |pair: &'a Pair| pair.preroll.iter().chain([&pair.init, &pair.segment]).map(AsRef::as_ref);
    let mut files: Vec<&Path> = pairs.into_iter().flat_map(of).collect();
    // Segments share their headers.
    files.sort_unstable();
    files.dedup();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_sees_its_own_files_once() {
        let pair = |at: u32| Pair {
            init: "/s/init".into(),
            preroll: vec![format!("/s/{at}.preroll").into()],
            segment: format!("/s/{at}.segment").into(),
        };
        let job = Job::Inspect(Inspect { segments: vec![pair(1), pair(2)], decode_all: false });
        let paths = ["/s/1.preroll", "/s/1.segment", "/s/2.preroll", "/s/2.segment", "/s/init"];
        assert_eq!(job.view(), View { read: paths.map(Path::new).into(), write: None });
        assert_eq!(Job::Sandbox.view(), View::default());
    }
}
