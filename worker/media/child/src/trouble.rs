//! What errors of FFmpeg, of files and of the CMAF writer mean as failures of the job.

use std::{io, path::Path};

use ffmpeg_next::{Error, error};
use millrace_media::{Failure, FailureKind, card::Refusal};

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

/// What a card was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To be there.
    Open,
    /// To take one more stream to encode.
    Encoder,
    /// To go on with what it had taken.
    Work,
}

/// A card could not `what`. Whatever the reason, the same may go well without it.
pub(crate) fn card(what: &str, asked: Asked, error: Error) -> Failure {
    Failure::new(FailureKind::Unsupported, format!("the card can't {what}: {error}")).of_card(refusal(asked, error))
}

/// What FFmpeg's error says of a card. NVENC's answers are told apart (`nvenc_errors` of libavcodec/nvenc.c), CUDA's are
/// all one.
fn refusal(asked: Asked, error: Error) -> Refusal {
    match (asked, error) {
        (_, Error::Other { errno: error::ENOMEM }) => Refusal::Full,
        // The last is what the loader of the driver's libraries says where there are none.
        (Asked::Open, _) | (Asked::Encoder, Error::Other { errno: error::EPERM }) => Refusal::Missing,
        (
            Asked::Encoder,
            Error::EncoderNotFound
            | Error::Other { errno: error::ENOENT | error::ENOSYS | error::EINVAL | error::EOPNOTSUPP },
        ) => Refusal::Unsupported,
        (Asked::Encoder | Asked::Work, _) => Refusal::Lost,
    }
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

/// Whether the program has taken most of the memory that it may at some time, or of what its limits count.
fn memory_is_short() -> bool {
    use nix::sys::resource::{Resource, getrlimit};
    let status = confine::status();
    let taken = |name: &str| {
        let line = status.as_ref()?.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    [("VmPeak:", Resource::RLIMIT_AS), ("VmData:", Resource::RLIMIT_DATA)].into_iter().any(|(name, resource)| {
        match (taken(name), getrlimit(resource)) {
            (Some(kib), Ok((limit, _))) => kib * 1_024 > limit / 10 * 8,
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_card_says_is_told_apart() {
        let errno = |errno| Error::Other { errno };
        for (asked, error, means) in [
            (Asked::Open, Error::Unknown, Refusal::Missing),
            (Asked::Open, errno(error::ENOMEM), Refusal::Full),
            (Asked::Encoder, errno(error::EPERM), Refusal::Missing),
            // No encode device; a parameter or a whole device that is not supported.
            (Asked::Encoder, errno(error::ENOENT), Refusal::Unsupported),
            (Asked::Encoder, errno(error::ENOSYS), Refusal::Unsupported),
            (Asked::Encoder, errno(error::EINVAL), Refusal::Unsupported),
            (Asked::Encoder, Error::EncoderNotFound, Refusal::Unsupported),
            // Out of memory, or of sessions.
            (Asked::Encoder, errno(error::ENOMEM), Refusal::Full),
            (Asked::Encoder, Error::External, Refusal::Lost),
            (Asked::Encoder, errno(error::EIO), Refusal::Lost),
            (Asked::Work, errno(error::EINVAL), Refusal::Lost),
            (Asked::Work, Error::External, Refusal::Lost),
            (Asked::Work, errno(error::ENOMEM), Refusal::Full),
        ] {
            assert_eq!(refusal(asked, error), means, "{asked:?} {error:?}");
            assert_eq!(card("do it", asked, error).card, Some(means));
        }
    }
}
