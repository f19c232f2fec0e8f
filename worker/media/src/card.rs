//! Graphics cards (NVIDIA's): which one a job may use, what it proved there, and why it refused.
//!
//! Nothing here touches a card: the child does, in a job that names one. Whoever starts the job decides which card.

use millrace_proto::profile::VideoCodec;
use serde::{Deserialize, Serialize};

/// A card, as the child finds it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Its place among the cards that are there, from 0.
    pub index: u32,
    /// Number of its device file, `/dev/nvidia{minor}`.
    pub minor: u32,
    /// The driver's name of it, `GPU-...`, where the driver tells.
    pub uuid: Option<String>,
}

impl Card {
    /// What CUDA is told to see: this card alone, as its number 0.
    pub fn visible(&self) -> String {
        self.uuid.clone().unwrap_or_else(|| self.index.to_string())
    }
}

/// What a card is used for in one transcode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// Which.
    pub card: Card,
    /// What it proved.
    pub able: Able,
}

/// What a card was seen to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Able {
    /// Codecs that it decodes.
    pub decodes: Vec<VideoCodec>,
    /// Codecs that it encodes to, with what of the encoder's tools; none on cards without NVENC.
    pub encodes: Vec<(VideoCodec, Tools)>,
}

impl Able {
    /// How it encodes to `codec`, if it does.
    pub fn encodes(&self, codec: VideoCodec) -> Option<Tools> {
        self.encodes.iter().find(|(known, _)| *known == codec).map(|(_, tools)| *tools)
    }
}

/// What an encoder of a card knows: older chips refuse the newer tools as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tools {
    /// B pictures that others refer to, temporal adaptive quantization, looking ahead.
    Full,
    /// None of these.
    Plain,
}

impl Tools {
    /// In the order in which they are tried.
    pub const ALL: [Self; 2] = [Self::Full, Self::Plain];
}

/// Why a card did not do a job. What is done next depends on this alone; the same job may go well in software.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// There is no driver, or no such card.
    Missing,
    /// Its memory or its sessions are taken. NVENC gives one answer for both.
    Full,
    /// It can't do this work: a codec, a size or a kind of picture.
    Unsupported,
    /// It stopped in the middle: the driver was lost, the child died of it or waited for it in vain.
    Lost,
}

impl Refusal {
    /// The name, as logs have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Full => "full",
            Self::Unsupported => "unsupported",
            Self::Lost => "lost",
        }
    }
}

/// Tries a card: opens it, runs each decoder and encoder on it, opens sessions up to a bound.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TryCard {
    /// Which.
    pub card: Card,
}

/// What came of a [`TryCard`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// The driver's name of the model.
    pub name: String,
    /// Its memory.
    pub memory_bytes: u64,
    /// What of it was free before anything was opened but the driver.
    pub memory_free_bytes: u64,
    /// What it does.
    pub able: Able,
    /// Encoded luma pixels per second of each encoder that ran, in the order of [`Able::encodes`].
    pub pixels_per_s: Vec<f64>,
    /// Encoding sessions that could be open at once; at most [`Tried::SESSIONS_MAX`] are tried.
    pub sessions: u32,
    /// Memory that each of them took.
    pub session_bytes: u64,
    /// What did not run: FFmpeg's name, and why.
    pub absent: Vec<(String, String)>,
}

impl Tried {
    /// Sessions that are tried at once. Data centre cards have no bound but memory, and no worker needs more.
    pub const SESSIONS_MAX: u32 = 48;
}
