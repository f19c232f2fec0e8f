//! Takes away what the child does not need, before it reads a byte of input.
//!
//! The kernel sandbox (no network, no files but the job's own) belongs here too, at the end of [`confine`].

use std::{io, thread};

use millrace_media::{Failure, FailureKind, Limits, wire::Request};
use nix::{
    sys::{
        prctl,
        resource::{Resource, setrlimit},
        signal::{Signal, kill},
    },
    unistd::{getpid, getppid},
};

/// Seconds between the CPU limit's first signal and the one that can't be ignored.
const CPU_GRACE_S: u64 = 2;

/// Sets the limits and ties the child's life to its parent's.
pub(crate) fn confine(request: &Request) -> Result<(), Failure> {
    let failed = |what: &str, error: nix::Error| {
        Failure::new(FailureKind::NotStarted, format!("the media child can't {what}: {error}"))
    };
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|error| failed("ask to end with its parent", error))?;
    if getppid().as_raw().unsigned_abs() != request.parent {
        // The parent died before the kernel was asked.
        die();
    }
    watch_parent()
        .map_err(|error| failed("watch its parent", nix::Error::from_raw(error.raw_os_error().unwrap_or(0))))?;
    prctl::set_no_new_privs().map_err(|error| failed("give up privileges", error))?;
    let Limits { memory_bytes_max, cpu_s_max, file_bytes_max, files_max, wall_ms_max: _ } = request.limits;
    for (resource, soft, hard) in [
        (Resource::RLIMIT_CORE, 0, 0),
        (Resource::RLIMIT_AS, memory_bytes_max, memory_bytes_max),
        (Resource::RLIMIT_CPU, cpu_s_max, cpu_s_max.saturating_add(CPU_GRACE_S)),
        (Resource::RLIMIT_FSIZE, file_bytes_max, file_bytes_max),
        (Resource::RLIMIT_NOFILE, files_max, files_max),
    ] {
        setrlimit(resource, soft, hard).map_err(|error| failed(&format!("set {resource:?}"), error))?;
    }
    Ok(())
}

/// Ends the program when standard input ends: the parent keeps it open as long as it wants the result.
fn watch_parent() -> io::Result<()> {
    let watch = || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        die();
    };
    thread::Builder::new().name("parent-watch".into()).spawn(watch).map(drop)
}

/// Ends at once: no handler runs, no half-made file is tidied up.
fn die() -> ! {
    loop {
        let _ = kill(getpid(), Signal::SIGKILL);
    }
}
