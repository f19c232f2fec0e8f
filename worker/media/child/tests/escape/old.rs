//! Makes this kernel look like an older one to a program: the calls of a part of the sandbox are not there.

use std::{ffi::CString, os::unix::ffi::OsStringExt, process::ExitCode};

use nix::{errno::Errno, libc};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

/// Becomes `program`, for which the calls of `part` are unknown.
pub(crate) fn become_program(part: &str, program: &str) -> ExitCode {
    let calls = match part {
        "landlock" => vec![libc::SYS_landlock_create_ruleset],
        // Without its filters the child is confined by Landlock alone, as in a container that forbids them.
        "seccomp" => vec![libc::SYS_seccomp],
        other => panic!("no part is called {other}"),
    };
    let rules = calls.into_iter().map(|call| (call, Vec::new())).collect();
    let unknown = SeccompAction::Errno(Errno::ENOSYS as u32);
    let architecture = TargetArch::try_from(std::env::consts::ARCH).expect("a known architecture");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, unknown, architecture).expect("a sound filter");
    let filter: BpfProgram = filter.try_into().expect("a sound filter");
    apply_filter(&filter).expect("the kernel takes the filter");
    let program = CString::new(std::ffi::OsString::from(program).into_vec()).expect("a path");
    let environment: Vec<CString> = std::env::vars_os()
        .map(|(name, value)| CString::new([name.into_vec(), value.into_vec()].join(&b'=')).expect("no zero bytes"))
        .collect();
    let error = nix::unistd::execve(&program, &[&program], &environment).unwrap_err();
    eprintln!("{error}");
    ExitCode::FAILURE
}

/// This kernel's version of Landlock; less than 1 if it has none.
pub(crate) fn landlock_version() -> libc::c_long {
    // SAFETY: asks for the version alone (landlock_create_ruleset(2)).
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0, 1) }
}
