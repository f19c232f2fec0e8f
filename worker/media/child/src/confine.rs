//! The sandbox: takes away what the child does not need, before it reads a byte of input and before any thread starts.
//!
//! Called by `main` for every job, twice: [`begin`] first of all, [`confine`] when it is known what the job may open.
//! What holds is told, never assumed: a kernel without Landlock or seccomp gives less, and the parent decides whether
//! that is enough.

// By path, since the program that tries to break out of it has this file as a module too.
#[path = "confine/calls.rs"]
mod calls;
#[path = "confine/files.rs"]
mod files;
#[path = "confine/filter.rs"]
mod filter;
#[path = "confine/process.rs"]
mod process;
#[path = "confine/trap.rs"]
mod trap;

use std::fs::File;

use millrace_media::{Failure, FailureKind, Mode, wire::Request};
use millrace_proto::offer::{Lack, Part, Sandbox};
use nix::{errno::Errno, unistd::getpgid};

pub(crate) use process::status;

/// What depends on seccomp: without sockets there is no network, without `execve`, `clone`, `kill` and `ptrace` no
/// other process.
const BY_CALLS: [Part; 3] = [Part::Network, Part::Processes, Part::Calls];

/// Closes what was inherited, and keeps other processes of this user from looking into this one.
pub(crate) fn begin() -> Result<(), Failure> {
    process::close_inherited();
    process::hide().map_err(|error| failed("keep others from tracing it", error))
}

/// Builds the rest of the sandbox, and tells what of it holds.
///
/// `open` opens the job's card, if it has one: with the view of the files already restricted, so that all threads that
/// the driver starts are as confined as this one, but before system calls are, since a driver makes many that are of no
/// use later. No input was read by then.
pub(crate) fn confine<T>(
    request: &Request,
    open: impl FnOnce() -> Result<T, Failure>,
) -> Result<(Sandbox, T), Failure> {
    process::end_with_parent(request.parent).map_err(|error| failed("ask to end with its parent", error))?;
    process::check_alone().map_err(|why| Failure::new(FailureKind::NotStarted, why))?;
    process::drop_privileges().map_err(|error| failed("give up privileges", error))?;
    let files = files::restrict(&request.job.view()).map_err(|error| {
        Failure::new(FailureKind::NotStarted, format!("the media child can't keep to its job's files: {error}"))
    })?;
    for (resource, soft, hard) in process::limits(request) {
        process::limit(resource, soft, hard).map_err(|error| failed(&format!("set {resource:?}"), error))?;
    }
    let opened = open()?;
    let calls = filter::install(request.job.card().is_some());
    let sandbox = tell(&files, &calls);
    if request.sandbox == Mode::Required && !sandbox.is_whole() {
        let lacks = sandbox.absent.iter().map(|lack| format!("{}: {}", lack.part.as_str(), lack.reason));
        let message = format!("a whole sandbox is required; {}", lacks.collect::<Vec<_>>().join("; "));
        return Err(Failure::new(FailureKind::NotStarted, message));
    }
    // The stream comes in there, and its end is the job's; a parent that dies is told by the signal alone.
    if request.job.is_fed() {
        return Ok((sandbox, opened));
    }
    // The first thread beside this one; it is confined as this one is.
    process::watch_parent().map_err(|errno| match errno {
        Errno::EAGAIN | Errno::ENOMEM => {
            Failure::new(FailureKind::Limit, "the media child has no memory for a second thread")
        }
        errno => failed("watch its parent", errno),
    })?;
    Ok((sandbox, opened))
}

/// Tries what the sandbox refuses where that does no harm: a kernel that only says that it has confined is found out.
pub(crate) fn prove(mut sandbox: Sandbox) -> Sandbox {
    let mut refute = |parts: &[Part], what: &str| {
        for part in parts {
            if sandbox.holds.contains(part) {
                sandbox.holds.retain(|held| held != part);
                let reason = format!("the kernel took it and does not keep it: {what}");
                sandbox.absent.push(Lack { part: *part, reason });
            }
        }
    };
    if File::open("/").is_ok() {
        refute(&[Part::Files], "the root folder can be opened");
    }
    // Harmless, cannot fail otherwise, and in no list.
    if getpgid(None) != Err(Errno::EPERM) {
        refute(&BY_CALLS, "getpgid is not refused");
    }
    sandbox
}

fn tell(files: &Result<(), String>, calls: &Result<(), String>) -> Sandbox {
    let mut sandbox = Sandbox::default();
    for part in Part::ALL {
        let held = match part {
            Part::Files => files,
            Part::Network | Part::Processes | Part::Calls => calls,
            // Each call that sets one failed the job otherwise.
            Part::Limits => &Ok(()),
        };
        match held {
            Ok(()) => sandbox.holds.push(part),
            Err(reason) => sandbox.absent.push(Lack { part, reason: reason.clone() }),
        }
    }
    sandbox
}

fn failed(what: &str, errno: Errno) -> Failure {
    Failure::new(FailureKind::NotStarted, format!("the media child can't {what}: {errno}"))
}
