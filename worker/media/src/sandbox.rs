//! What is asked of a child's sandbox. The child builds it around itself before it reads any input; here is only what
//! it is told: how strict to be, and which files a job needs.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    job::{Demux, Gauge, Inspect, Job, Listen, Look, Mux, Pair, Portray, Stills, Transcode},
    spawn::LIBRARY_FOLDERS,
};

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
    /// What a card takes beside; nothing for jobs without one.
    pub card: Option<CardView>,
}

/// What a job with a card may open beside: the card's own device files, and what its driver reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardView {
    /// Device files: to read, to write and to control.
    pub devices: Vec<PathBuf>,
    /// What it may read.
    pub read: Vec<PathBuf>,
}

/// What NVIDIA's user-space driver reads beside its libraries: its own settings, what the machine is, where the card
/// sits, and its own memory map.
const DRIVER_READS: [&str; 11] = [
    "/proc/driver/nvidia",
    "/proc/devices",
    "/proc/meminfo",
    "/proc/modules",
    "/proc/self/maps",
    "/proc/sys/vm/mmap_min_addr",
    "/sys/bus/pci/devices",
    "/sys/devices/system/memory",
    "/sys/module/nvidia",
    "/etc/nvidia",
    "/usr/share/nvidia",
];

impl CardView {
    /// The card with this number, and no other; libraries of the system's, and those that the job brings.
    fn of(minor: u32, libraries: Option<&Path>) -> Self {
        let devices = [format!("/dev/nvidia{minor}"), "/dev/nvidiactl".into(), "/dev/nvidia-uvm".into()];
        let read = DRIVER_READS.into_iter().chain(LIBRARY_FOLDERS).map(Path::new).chain(libraries);
        let read = read.map(Path::to_owned).collect();
        Self { devices: devices.map(PathBuf::from).into(), read }
    }
}

impl Job {
    /// What the child may open for this job.
    pub fn view(&self) -> View<'_> {
        View { card: self.card().map(|card| CardView::of(card.minor, self.libraries())), ..self.files() }
    }

    fn files(&self) -> View<'_> {
        match self {
            Self::Transcode(Transcode { source, out, targets: _, threads: _, card: _ }) => {
                View { read: files([source]), write: Some(out), card: None }
            }
            Self::Demux(Demux { input }) => View { read: vec![input], write: None, card: None },
            Self::Inspect(Inspect { segments, decode_all: _ }) => {
                View { read: files(segments), write: None, card: None }
            }
            Self::Gauge(Gauge { source, display: _, threads: _ }) => {
                View { read: files([source]), write: None, card: None }
            }
            Self::Probe(_) | Self::Follow(_) | Self::TryCard(_) | Self::Sandbox => View::default(),
            Self::Listen(Listen { runtime, voice, whisper, .. }) => {
                View { read: vec![runtime, voice, whisper], write: None, card: None }
            }
            Self::Look(Look { runtime, moderation, detection, embedding, threads: _, card: _ }) => {
                let models = [moderation.as_ref(), detection.as_ref().map(|how| &how.model)];
                let models = models.into_iter().chain([embedding.as_ref().map(|how| &how.model)]).flatten();
                View { read: models.chain([runtime]).map(AsRef::as_ref).collect(), write: None, card: None }
            }
            Self::Portray(Portray { runtime, embedding, threads: _ }) => {
                View { read: vec![runtime, &embedding.model], write: None, card: None }
            }
            Self::Mux(Mux { videos, audio, out, video_start: _, audio_start: _ }) => {
                View { read: files(videos.iter().flatten().chain(audio)), write: Some(out), card: None }
            }
            Self::Stills(Stills { candidates, thumbnails, out, poster: _, grid: _ }) => {
                View { read: files(candidates.iter().chain(thumbnails)), write: Some(out), card: None }
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
    use crate::card::{Able, Card, TryCard, Use};

    #[test]
    fn a_job_sees_its_own_files_once() {
        let pair = |at: u32| Pair {
            init: "/s/init".into(),
            preroll: vec![format!("/s/{at}.preroll").into()],
            segment: format!("/s/{at}.segment").into(),
        };
        let job = Job::Inspect(Inspect { segments: vec![pair(1), pair(2)], decode_all: false });
        let paths = ["/s/1.preroll", "/s/1.segment", "/s/2.preroll", "/s/2.segment", "/s/init"];
        assert_eq!(job.view(), View { read: paths.map(Path::new).into(), write: None, card: None });
        assert_eq!(Job::Sandbox.view(), View::default());
    }

    #[test]
    fn only_a_job_with_a_card_sees_devices_and_its_own_alone() {
        let card = Card { index: 0, minor: 3, uuid: None };
        let view = Job::TryCard(TryCard { card: card.clone() }).view().card.expect("it has a card");
        assert_eq!(view.devices, ["/dev/nvidia3", "/dev/nvidiactl", "/dev/nvidia-uvm"].map(PathBuf::from));
        let mut transcode = Transcode {
            source: Pair::default(),
            targets: Vec::new(),
            out: "/s/out".into(),
            threads: 1,
            card: Some(Use { card, able: Able::default() }),
        };
        assert_eq!(Job::Transcode(transcode.clone()).view().card, Some(view));
        transcode.card = None;
        assert_eq!(Job::Transcode(transcode).view().card, None);
    }

    #[test]
    fn models_on_a_card_see_it_and_the_libraries_beside_their_own() {
        let card = Card { index: 0, minor: 3, uuid: None };
        let view = Job::TryCard(TryCard { card: card.clone() }).view().card.expect("it has a card");
        let look = Look {
            runtime: "/m/onnxruntime-cuda/lib.so".into(),
            moderation: Some("/m/nsfw/n.onnx".into()),
            detection: None,
            embedding: None,
            threads: 1,
            card: Some(card.clone()),
        };
        let job = Job::Look(look.clone());
        let seen = job.view();
        assert_eq!(seen.read, ["/m/nsfw/n.onnx", "/m/onnxruntime-cuda/lib.so"].map(Path::new));
        let of_card = seen.card.expect("it has a card");
        assert_eq!(of_card.devices, view.devices);
        assert_eq!(of_card.read, [&view.read[..], &["/m/onnxruntime-cuda".into()]].concat());
        assert_eq!(Job::Look(Look { card: None, ..look }).view().card, None);

        let listen = Listen {
            runtime: "/m/onnxruntime/lib.so".into(),
            voice: "/m/v".into(),
            whisper: "/m/w".into(),
            dtw: None,
            speech: 0.5,
            pause: 0.35,
            card: Some(card),
        };
        assert_eq!(Job::Listen(listen.clone()).view().card, Some(view), "its ONNX Runtime knows no card");
        assert_eq!(Job::Listen(Listen { card: None, ..listen }).view().card, None);
    }
}
