//! What errors of FFmpeg, of files and of the CMAF writer mean as failures of the job.

use std::{io, path::Path};

use ffmpeg_next::{Error, error};
use millrace_media::{Failure, FailureKind};

use crate::confine;

/// Errors of the kernel that say: a limit was passed.
const LIMITS: [i32; 7] =
    [error::ENOMEM, error::ENOSPC, error::EFBIG, error::EMFILE, error::ENFILE, nix::libc::EDQUOT, error::ENOBUFS];

/// The input is broken.
pub(crate) fn bad_input(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::BadInput, message)
}

/// The input is sound, but this program can't do it.
pub(crate) fn unsupported(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Unsupported, message)
}

/// FFmpeg could not `what` with the input. Where memory ran out FFmpeg may say anything; whether it was that is
/// told by how much the program took.
pub(crate) fn input(what: &str, error: Error) -> Failure {
    let kind = match error {
        Error::Other { errno } if LIMITS.contains(&errno) => FailureKind::Limit,
        Error::DecoderNotFound => FailureKind::Unsupported,
        _ if memory_is_short() => FailureKind::Limit,
        _ => FailureKind::BadInput,
    };
    Failure::new(kind, format!("can't {what}: {error}"))
}

/// FFmpeg could not `what` with pictures and settings of our own.
pub(crate) fn machine(what: &str, error: Error) -> Failure {
    let kind = match error {
        Error::Other { errno } if LIMITS.contains(&errno) => FailureKind::Limit,
        Error::EncoderNotFound => FailureKind::Unsupported,
        _ if memory_is_short() => FailureKind::Limit,
        _ => FailureKind::Crashed,
    };
    Failure::new(kind, format!("can't {what}: {error}"))
}

/// A file of the job's scratch folder could not be read or written.
pub(crate) fn file(what: &str, path: &Path, error: &io::Error) -> Failure {
    let limit = error.raw_os_error().is_some_and(|errno| LIMITS.contains(&errno));
    let kind = if limit { FailureKind::Limit } else { FailureKind::Crashed };
    Failure::new(kind, format!("can't {what} {}: {error}", path.display()))
}

/// The CMAF writer or reader refused something that came from the input.
pub(crate) fn cmaf(error: &millrace_cmaf::Error) -> Failure {
    bad_input(error.to_string())
}

/// Whether the program has taken most of its address space at some time.
fn memory_is_short() -> bool {
    use nix::sys::resource::{Resource, getrlimit};
    let peak_kib = confine::status().and_then(|status| {
        let line = status.lines().find(|line| line.starts_with("VmPeak:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    match (peak_kib, getrlimit(Resource::RLIMIT_AS)) {
        (Some(peak_kib), Ok((limit, _))) => peak_kib * 1_024 > limit / 10 * 8,
        _ => false,
    }
}
