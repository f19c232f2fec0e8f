//! What a media child may use. The child sets all but the wall time on itself before it reads any input.

use millrace_proto::{profile::VideoCodec, task::Target};
use serde::{Deserialize, Serialize};

/// What a media child may use. The defaults are for one segment of up to 4K and about ten seconds; see
/// [`Limits::whole_file`] for demuxing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Address space in bytes (`RLIMIT_AS`), or in jobs with a card, whose driver reserves far more of it than there is
    /// memory, what of it is the process's own and can be written (`RLIMIT_DATA`). 1080p in four rungs of H.264 or HEVC takes about 1 GiB of it, 4K about
    /// 3 GiB; much of that is mapped and never touched. For AV1 see [`Limits::transcode`].
    pub memory_bytes_max: u64,
    /// CPU seconds of all threads together (`RLIMIT_CPU`). Ten seconds of 4K in software take about a
    /// hundred. Following, see [`Limits::live`].
    pub cpu_s_max: u64,
    /// A child that follows may take `cpu_s_max` anew in each window of so many seconds.
    pub cpu_window_s: u64,
    /// Wall time in milliseconds, kept by the parent. For [`crate::Launcher::demux`] it bounds the start and
    /// then each wait for the next sample, since a child may rightly wait for its reader for long.
    pub wall_ms_max: u64,
    /// Bytes of the largest file that may be written (`RLIMIT_FSIZE`). A rendition segment is a few MiB.
    pub file_bytes_max: u64,
    /// Open files (`RLIMIT_NOFILE`): the standard ones, inputs, outputs and what libraries open at start.
    pub files_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 4 << 30,
            cpu_s_max: 600,
            cpu_window_s: 60,
            wall_ms_max: 300_000,
            file_bytes_max: 512 << 20,
            files_max: 64,
        }
    }
}

/// What an AV1 encoder may take beyond: measured with SVT-AV1 1.4 on two cores 1.5 GiB at 1080p and 3.1 GiB at 4K, and
/// as much again for machines with more cores, which it makes more buffers for.
const AV1_BYTES: u64 = 2 << 30;
const AV1_BYTES_A_PIXEL: u64 = 512;

/// What CUDA's libraries may take of the machine's memory beside models: supposed, not measured with a card yet.
const CUDA_BYTES: u64 = 4 << 30;

impl Limits {
    /// For a transcode to these renditions.
    pub fn transcode(targets: &[Target]) -> Self {
        let mut limits = Self::default();
        for target in targets.iter().filter(|target| target.codec == VideoCodec::Av1) {
            let pixels = u64::from(target.width) * u64::from(target.height);
            limits.memory_bytes_max += AV1_BYTES + pixels * AV1_BYTES_A_PIXEL;
        }
        limits
    }

    /// The same for a job with a card, whose driver opens more files.
    #[must_use]
    pub fn with_card(self) -> Self {
        Self { files_max: self.files_max.max(256), ..self }
    }

    /// The same for models on a card, with CUDA's libraries beside them.
    #[must_use]
    pub fn with_cuda(self) -> Self {
        Self { memory_bytes_max: self.memory_bytes_max + CUDA_BYTES, ..self.with_card() }
    }

    /// For following a stream that may never end: `cpu_s_max` counts anew in each window,
    /// kept by the parent; copying and encoding sound take a second or two of it. `wall_ms_max`
    /// is not looked at, since nobody knows when a stream has something to say.
    pub fn live() -> Self {
        Self { memory_bytes_max: 1 << 30, cpu_s_max: 45, ..Self::default() }
    }

    /// For demuxing a recording of hours: copying costs little, but its audio may have to be encoded.
    pub fn whole_file() -> Self {
        Self { memory_bytes_max: 2 << 30, cpu_s_max: 4 * 3_600, wall_ms_max: 60_000, ..Self::default() }
    }
}
