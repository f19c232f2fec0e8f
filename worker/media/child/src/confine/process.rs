//! What a process can do to itself: limits, privileges, descriptors, and the tie to its parent.
#![allow(unsafe_code)]

use std::{fs::File, io, os::unix::fs::FileExt, sync::OnceLock, thread};

use millrace_media::{Limits, wire::Request};
use nix::{
    errno::Errno,
    libc,
    sys::{
        prctl,
        resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit},
        signal::{Signal, kill},
    },
    unistd::{getpid, getppid},
};

/// Seconds between the CPU limit's first signal and the one that can't be ignored.
const CPU_GRACE_S: u64 = 2;

/// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h: two words of 32 capabilities each.
const CAPABILITIES_V3: u32 = 0x2008_0522;
/// `CAP_DAC_OVERRIDE` and `CAP_DAC_READ_SEARCH`: an operator who is root may keep scratch folders below folders of
/// others. What can be opened at all is Landlock's to say.
const CAPABILITIES_KEPT: u32 = 1 << 1 | 1 << 2;

/// Kept open, since the file itself is out of reach later.
static STATUS: OnceLock<File> = OnceLock::new();

/// What `/proc/self/status` says now.
pub(crate) fn status() -> Option<String> {
    let mut text = [0; 4_096];
    let read = STATUS.get()?.read_at(&mut text, 0).ok()?;
    Some(String::from_utf8_lossy(&text[..read]).into_owned())
}

/// Closes all descriptors but the standard ones.
pub(super) fn close_inherited() {
    // SAFETY: called before anything of this program has opened a descriptor, so none that is in use is closed.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    if done != 0 {
        // Linux before 5.9.
        let end = getrlimit(Resource::RLIMIT_NOFILE).map_or(1_024, |(soft, _)| soft.min(1 << 20));
        for descriptor in 3..end as libc::c_int {
            // SAFETY: as above.
            unsafe { libc::close(descriptor) };
        }
    }
}

/// No core dump, and nobody but root may trace this process or read its memory.
pub(super) fn hide() -> Result<(), Errno> {
    if let Ok(file) = File::open("/proc/self/status") {
        let _ = STATUS.set(file);
    }
    prctl::set_dumpable(false)
}

/// Ties this process's life to its parent's.
pub(super) fn end_with_parent(parent: u32) -> Result<(), Errno> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid().as_raw().unsigned_abs() != parent {
        // The parent died before the kernel was asked.
        die();
    }
    Ok(())
}

/// Landlock confines the thread that asks for it alone: there may be no other.
pub(super) fn check_alone() -> Result<(), String> {
    // Where there is no /proc it is not known; nothing before this starts threads.
    let threads = status().and_then(|text| {
        text.lines().find_map(|line| line.strip_prefix("Threads:")).and_then(|count| count.trim().parse::<u32>().ok())
    });
    match threads {
        Some(threads @ 2..) => Err(format!("the media child has {threads} threads before its sandbox")),
        _ => Ok(()),
    }
}

/// No new privileges, and none of root's.
pub(super) fn drop_privileges() -> Result<(), Errno> {
    prctl::set_no_new_privs()?;
    let header = [CAPABILITIES_V3, 0];
    let mut sets = [[0_u32; 3]; 2];
    // SAFETY: the header names this process and a version whose data are two times three words, which `sets` is.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) })?;
    for (word, [effective, permitted, inheritable]) in sets.iter_mut().enumerate() {
        let kept = if word == 0 { CAPABILITIES_KEPT } else { 0 };
        (*effective, *permitted, *inheritable) = (*effective & kept, *permitted & kept, 0);
    }
    // SAFETY: as above; the kernel only reads.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) }).map(drop)
}

/// The limits that the kernel keeps: soft and hard.
pub(super) fn limits(request: &Request) -> [(Resource, u64, u64); 5] {
    let Limits { memory_bytes_max, cpu_s_max, file_bytes_max, files_max, cpu_window_s: _, wall_ms_max: _ } =
        request.limits;
    // A card's driver reserves more of the address space than there is memory (cuMemAddressReserve and unified memory);
    // what of it is this process's own and can be written counts instead, since Linux 4.7.
    let memory = if request.job.card().is_some() { Resource::RLIMIT_DATA } else { Resource::RLIMIT_AS };
    // What has no length has its time counted by its parent, in windows.
    let cpu_s_max = if request.job.is_fed() { RLIM_INFINITY } else { cpu_s_max };
    [
        (Resource::RLIMIT_CORE, 0, 0),
        (memory, memory_bytes_max, memory_bytes_max),
        (Resource::RLIMIT_CPU, cpu_s_max, cpu_s_max.saturating_add(CPU_GRACE_S)),
        (Resource::RLIMIT_FSIZE, file_bytes_max, file_bytes_max),
        (Resource::RLIMIT_NOFILE, files_max, files_max),
    ]
}

/// Sets a limit; one that is lower already stays.
pub(super) fn limit(resource: Resource, soft: u64, hard: u64) -> Result<(), Errno> {
    let (_, most) = getrlimit(resource)?;
    setrlimit(resource, soft.min(most), hard.min(most))
}

/// Ends the program when standard input ends: the parent keeps it open as long as it wants the result.
pub(super) fn watch_parent() -> Result<(), Errno> {
    let watch = || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        die();
    };
    let started = thread::Builder::new().name("parent-watch".into()).spawn(watch);
    started.map(drop).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}

/// Ends at once: no handler runs, no half-made file is tidied up.
fn die() -> ! {
    loop {
        let _ = kill(getpid(), Signal::SIGKILL);
    }
}
