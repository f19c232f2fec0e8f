//! The filter of system calls, by seccomp: what is in no list fails, what only an intruder would ask for ends the
//! program.
//!
//! - What decoding takes ([`calls::ALLOWED`], and the ones below with certain arguments alone) is allowed.
//! - What is in no list fails with `EPERM`, as for a user without the right, and is noted in the kernel's log (audit,
//!   type 1326), so that an operator finds it. A library that makes such a call mostly has a way to go on, and a killed
//!   job would be a lost segment.
//! - What came with Linux 5.1 and later fails with `ENOSYS`, as on older kernels: libraries know that answer and fall
//!   back. So thread libraries take `clone`, whose flags can be looked at, for `clone3`, whose can't.
//! - What only an intruder does ([`calls::FORBIDDEN`]) ends the program: an attempt is not to be repeated until it
//!   works. The program's log names the call, see `trap`.
#![allow(unsafe_code)]

use std::collections::BTreeMap;

use nix::{errno::Errno, libc};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, sock_filter,
};

use super::{calls, trap};

/// From here on calls have the same numbers on all architectures, and came with Linux 5.1 or later.
const NEW_CALLS: u32 = 424;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// One of several programs that each call passes. The kernel does what the strictest says, and among errors what the
/// last one added says: so a program lets pass what another one refuses.
struct Program {
    instructions: BpfProgram,
    /// What it refuses is noted in the kernel's log.
    is_noted: bool,
}

/// Confines all threads. The error says what the kernel lacks.
pub(super) fn install(card: bool) -> Result<(), String> {
    let programs = programs(card).map_err(|error| format!("the filter can't be made: {error}"))?;
    trap::set().map_err(|error| format!("SIGSYS can't be handled: {error}"))?;
    for program in &programs {
        apply(program).map_err(|error| {
            format!("seccomp refuses: {error}; the kernel was built without it, or a container forbids it")
        })?;
    }
    Ok(())
}

/// In the order that they are added in: the last one does not allow to add another.
fn programs(card: bool) -> Result<[Program; 3], BackendError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let make = |rules, otherwise, listed| -> Result<BpfProgram, BackendError> {
        SeccompFilter::new(rules, otherwise, listed, architecture)?.try_into()
    };
    let (allow, refuse) = (SeccompAction::Allow, SeccompAction::Errno(Errno::EPERM as u32));
    let forbidden = make(forbidden()?, allow.clone(), SeccompAction::Trap)?;
    let unknown = libc::SECCOMP_RET_ERRNO | Errno::ENOSYS as u32;
    let quiet = [new_calls(unknown), make(all(calls::REFUSED), allow.clone(), refuse.clone())?].concat();
    let allowed = [new_calls(libc::SECCOMP_RET_ALLOW), make(allowed(card)?, refuse, allow)?].concat();
    let program = |instructions, is_noted| Program { instructions, is_noted };
    Ok([program(forbidden, true), program(quiet, false), program(allowed, true)])
}

/// Rules for calls whatever their arguments.
fn all(lists: &[&[calls::Call]]) -> Rules {
    lists.iter().copied().flatten().map(|&(number, _)| (number, Vec::new())).collect()
}

fn forbidden() -> Result<Rules, BackendError> {
    let mut rules = all(calls::FORBIDDEN);
    // A new process, or new namespaces.
    let process = when(0, Is::MaskedEq(libc::CLONE_THREAD as u64), 0)?;
    rules.insert(libc::SYS_clone, vec![process]);
    Ok(rules)
}

fn allowed(card: bool) -> Result<Rules, BackendError> {
    let mut rules = all(calls::ALLOWED);
    if card {
        rules.extend(all(calls::CARD));
    }
    // The program before refuses these.
    rules.extend(all(calls::REFUSED));
    let mut one_of = |call: i64, argument: u8, values: &[u64]| -> Result<(), BackendError> {
        let each = values.iter().map(|value| when(argument, Is::Eq, *value)).collect::<Result<_, _>>()?;
        rules.insert(call, each);
        Ok(())
    };
    let own = u64::from(std::process::id());
    one_of(libc::SYS_kill, 0, &[own])?;
    one_of(libc::SYS_tgkill, 0, &[own])?;
    // `F_SETOWN` would send signals to others.
    let fcntl = [libc::F_DUPFD, libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL];
    one_of(libc::SYS_fcntl, 1, &fcntl.map(|command| command as u64))?;
    // Whether something is a terminal; no other control of devices, but of a card's.
    one_of(libc::SYS_ioctl, 1, &[libc::TCGETS])?;
    let prctl = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA];
    one_of(libc::SYS_prctl, 0, &prctl.map(|option| option as u64))?;
    // Limits are read, not set; whose does not matter.
    let nothing_new = SeccompCondition::new(2, Width::Qword, Is::Eq, 0)?;
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![nothing_new])?]);
    // The handler of forbidden calls stays.
    rules.insert(libc::SYS_rt_sigaction, vec![when(0, Is::Ne, libc::SIGSYS as u64)?]);
    if card {
        rules.entry(libc::SYS_ioctl).or_default().extend(card_controls()?);
    }
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    let thread = Is::MaskedEq((libc::CLONE_THREAD | namespaces) as u64);
    rules.insert(libc::SYS_clone, vec![when(0, thread, libc::CLONE_THREAD as u64)?]);
    rules.insert(libc::SYS_openat, open(2)?);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, open(1)?);
    Ok(rules)
}

/// What NVIDIA's driver is asked by ioctl: commands of its type 'F' (`NV_IOCTL_MAGIC`, nv-ioctl-numbers.h), and those of
/// its memory manager, which are plain small numbers and two that begin and end (`uvm_linux_ioctl.h`, `uvm_ioctl.h`). The
/// devices that can be asked at all are Landlock's to say.
fn card_controls() -> Result<Vec<SeccompRule>, BackendError> {
    Ok(vec![
        when(1, Is::MaskedEq(0xff00), 0x4600)?,
        when(1, Is::MaskedEq(0xffff_ff00), 0)?,
        when(1, Is::Eq, 0x3000_0001)?,
        when(1, Is::Eq, 0x3000_0002)?,
    ])
}

/// Opening, but not emptying what is opened for reading: Landlock before Linux 6.2 lets that pass.
fn open(flags: u8) -> Result<Vec<SeccompRule>, BackendError> {
    let writing = Is::MaskedEq(libc::O_ACCMODE as u64);
    Ok(vec![
        when(flags, Is::MaskedEq(libc::O_TRUNC as u64), 0)?,
        when(flags, writing.clone(), libc::O_WRONLY as u64)?,
        when(flags, writing, libc::O_RDWR as u64)?,
    ])
}

/// One condition on the lower half of an argument; the kernel itself looks at no more of these.
fn when(argument: u8, is: Is, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, Width::Dword, is, value)?])
}

/// The beginning of a program: this answer for new calls, and on with the others.
fn new_calls(answer: u32) -> BpfProgram {
    let line = |code: u32, jt: u8, jf: u8, k: u32| sock_filter { code: code as u16, jt, jf, k };
    vec![
        // The number is the first word of `struct seccomp_data`.
        line(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        line(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, NEW_CALLS),
        line(libc::BPF_RET | libc::BPF_K, 0, 0, answer),
    ]
}

/// Adds a program to those of all threads.
fn apply(program: &Program) -> Result<(), Errno> {
    // `struct sock_fprog` of linux/filter.h.
    #[repr(C)]
    struct Instructions {
        len: libc::c_ushort,
        filter: *const sock_filter,
    }
    let len = libc::c_ushort::try_from(program.instructions.len()).map_err(|_| Errno::E2BIG)?;
    let instructions = Instructions { len, filter: program.instructions.as_ptr() };
    let note = if program.is_noted { libc::SECCOMP_FILTER_FLAG_LOG } else { 0 };
    let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_TSYNC | note);
    // SAFETY: the kernel copies `len` instructions from `filter`, which are there, and writes nothing.
    match unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const instructions) } {
        0 => Ok(()),
        -1 => Err(Errno::last()),
        // A thread that could not be confined.
        _ => Err(Errno::EBUSY),
    }
}
