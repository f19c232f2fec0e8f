//! Offers: what a worker can do, having done it once at start.

use serde::{Deserialize, Serialize};

use crate::profile::VideoCodec;

/// What a worker can do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// The worker program's version.
    pub version: String,
    /// Tasks it works on at once.
    pub slots: u32,
    /// CPU cores it may use.
    pub cores: u32,
    /// What it proved by running it, best first.
    pub encoders: Vec<Encoder>,
    /// What it tried and can't do, with the reason.
    pub absent: Vec<Absent>,
    /// What holds of its sandbox, by its own word. Workers that know of none say nothing.
    #[serde(default)]
    pub sandbox: Sandbox,
    /// Models that it proved by running them, best first in each task. Workers that know of none say nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<Model>,
    /// Graphics cards that it works with, each as it proved to be; none where all is done in software.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cards: Vec<Card>,
}

/// A model that ran here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Its name in the catalogue.
    pub id: String,
    /// Of its weights.
    pub version: String,
    /// What it is for.
    pub capability: Capability,
    /// What it ran on when it was proved. While a card refuses, the same is done on the processor. Workers that know of
    /// nothing else say nothing.
    #[serde(default)]
    pub device: Device,
    /// Two-letter codes of the languages that it understands, or `any`.
    #[serde(default)]
    pub languages: Vec<String>,
    /// Measured at start: seconds of sound that it hears in a second, on the threads of one lease.
    #[serde(default)]
    pub audio_s_per_s: f64,
    /// Measured at start: pictures that it looks at in a second, on the threads of one lease, decoding included.
    #[serde(default)]
    pub pictures_per_s: f64,
    /// The most memory that it took, in bytes: of address space, or on a card, of the machine's memory in use.
    pub memory_bytes: u64,
    /// What loading it took.
    pub load_ms: u64,
    /// It is loaded just now: a task for it begins at once.
    pub warm: bool,
}

/// What a model runs on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The machine's processor.
    #[default]
    Cpu,
    /// A graphics card (NVIDIA's).
    Cuda,
}

impl Device {
    /// The name, as messages have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }
}

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// Words of speech, with times.
    Captions,
    /// What not everyone is to see.
    Moderation,
    /// Things, where and when they are to be seen.
    Products,
}

impl Capability {
    /// The name, as messages have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Captions => "captions",
            Self::Moderation => "moderation",
            Self::Products => "products",
        }
    }
}

/// A graphics card that ran here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// The driver's name of the model.
    pub name: String,
    /// Its memory.
    pub memory_bytes: u64,
    /// Leases at once that it is used for.
    pub slots: u32,
    /// Codecs that it decodes.
    pub decodes: Vec<VideoCodec>,
    /// Codecs that it encodes to.
    pub encodes: Vec<VideoCodec>,
    /// Encoding sessions that were open at once; 48 stands for no bound.
    pub sessions: u32,
}

impl Offer {
    /// Whether it can encode to `codec`.
    pub fn encodes(&self, codec: VideoCodec) -> bool {
        self.encoders.iter().any(|encoder| encoder.codec == codec)
    }

    /// The models that it has for this, to hear in this language (absent: one that finds out which it is) and by this
    /// name, if one is given.
    pub fn models_for<'a>(
        &'a self,
        capability: Capability,
        language: Option<&'a str>,
        id: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Model> {
        let fits = move |model: &&Model| {
            let knows = |code: &str| model.languages.iter().any(|known| known == code);
            let understands = knows("any") || language.is_some_and(knows);
            let fits = capability != Capability::Captions || understands;
            model.capability == capability && fits && id.is_none_or(|id| id == model.id)
        };
        self.models.iter().filter(fits)
    }

    /// The encoder that it uses for `codec`: the best that it has.
    pub fn encoder(&self, codec: VideoCodec) -> Option<&str> {
        self.encoders.iter().find(|encoder| encoder.codec == codec).map(|encoder| encoder.name.as_str())
    }
}

/// What keeps strangers' media away from the rest of the machine that decodes it. It protects whoever runs the worker;
/// to others it is the worker's word, and no proof.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// What was tried and holds.
    pub holds: Vec<Part>,
    /// What does not hold, with the reason.
    pub absent: Vec<Lack>,
}

impl Sandbox {
    /// Every part holds.
    pub fn is_whole(&self) -> bool {
        Part::ALL.iter().all(|part| self.holds.contains(part))
    }
}

/// A part of the sandbox: what the program that decodes can't do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Open files other than its libraries and its job's own.
    Files,
    /// Make a socket of any kind.
    Network,
    /// Start other programs, or signal, trace or look into other processes.
    Processes,
    /// Make system calls that decoding does not take.
    Calls,
    /// Pass limits of memory, CPU time, file size and open files, gain privileges, or outlive its parent.
    Limits,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Files, Self::Network, Self::Processes, Self::Calls, Self::Limits];

    /// The name, as messages have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Network => "network",
            Self::Processes => "processes",
            Self::Calls => "calls",
            Self::Limits => "limits",
        }
    }
}

/// A part of the sandbox that does not hold here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    /// Which.
    pub part: Part,
    /// Why.
    pub reason: String,
}

/// An encoder that ran here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Encoder {
    /// What it makes.
    pub codec: VideoCodec,
    /// FFmpeg's name of it, e.g. `libx264`, or `h264_nvenc` on a card.
    pub name: String,
    /// Measured at start: encoded luma pixels per second on all cores, preset veryfast; on a card by one encoder.
    pub pixels_per_s: f64,
}

/// An encoder that did not run here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absent {
    /// FFmpeg's name of it.
    pub name: String,
    /// What it said.
    pub reason: String,
}
