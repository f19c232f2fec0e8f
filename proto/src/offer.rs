//! Offers: what a worker can do, having done it once at start.

use serde::{Deserialize, Serialize};

use crate::profile::VideoCodec;

/// What a worker can do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
}

impl Offer {
    /// Whether it can encode to `codec`.
    pub fn encodes(&self, codec: VideoCodec) -> bool {
        self.encoders.iter().any(|encoder| encoder.codec == codec)
    }
}

/// An encoder that ran here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Encoder {
    /// What it makes.
    pub codec: VideoCodec,
    /// FFmpeg's name of it, e.g. `libx264`.
    pub name: String,
    /// Measured at start: encoded luma pixels per second on all cores, preset veryfast.
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
