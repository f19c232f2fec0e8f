//! What a media child may use. The child sets all but the wall time on itself before it reads any input.

use serde::{Deserialize, Serialize};

/// What a media child may use. The defaults are for one segment of up to 4K and about ten seconds; see
/// [`Limits::whole_file`] for demuxing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Address space in bytes (`RLIMIT_AS`). 1080p in four rungs takes about 1 GiB of it, 4K about 3 GiB;
    /// much of that is mapped and never touched.
    pub memory_bytes_max: u64,
    /// CPU seconds of all threads together (`RLIMIT_CPU`). Ten seconds of 4K in software take about a
    /// hundred.
    pub cpu_s_max: u64,
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
            wall_ms_max: 300_000,
            file_bytes_max: 512 << 20,
            files_max: 64,
        }
    }
}

impl Limits {
    /// For demuxing a recording of hours: copying costs little, but its audio may have to be encoded.
    pub fn whole_file() -> Self {
        Self { memory_bytes_max: 2 << 30, cpu_s_max: 4 * 3_600, wall_ms_max: 60_000, ..Self::default() }
    }
}
