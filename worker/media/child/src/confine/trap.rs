//! What happens at a forbidden system call: its name goes to the log, and the program ends.
//!
//! The kernel does not make the call; it sends SIGSYS (seccomp(2), `SECCOMP_RET_TRAP`). The filter keeps the handler in
//! its place, and a thread that blocks the signal is killed by the kernel, so whatever an intruder does, the call is
//! not made.
#![allow(unsafe_code)]

use std::mem;

use millrace_media::wire::EXIT_FORBIDDEN;
use nix::{errno::Errno, libc};

use super::calls;

/// What the kernel tells of a refused call: the beginning of `siginfo_t` for SIGSYS (asm-generic/siginfo.h).
#[repr(C)]
struct Refused {
    signal: libc::c_int,
    errno: libc::c_int,
    code: libc::c_int,
    address: *const libc::c_void,
    call: libc::c_int,
    architecture: libc::c_uint,
}

/// Sets the handler.
pub(super) fn set() -> Result<(), Errno> {
    // SAFETY: all zeroes is a valid `sigaction`: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = refused as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the handler has the form that `SA_SIGINFO` asks for and calls only what signal-safety(7) allows.
    Errno::result(unsafe { libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()) }).map(drop)
}

extern "C" fn refused(_signal: libc::c_int, info: *const Refused, _context: *const libc::c_void) {
    // SAFETY: the kernel hands over a whole `siginfo_t`, which begins like this for SIGSYS.
    let number = i64::from(unsafe { (*info).call });
    let named = calls::FORBIDDEN.iter().copied().flatten().find(|(call, _)| *call == number);
    let name = named.map_or(if number == libc::SYS_clone { "clone" } else { "?" }, |(_, name)| &name["SYS_".len()..]);
    let mut digits = [b'0'; 6];
    let mut rest = number.unsigned_abs();
    for digit in digits.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    // No allocation, no lock: the thread may hold any.
    for piece in [&b"sandbox: forbidden system call "[..], name.as_bytes(), b", number ", &digits, b"\n"] {
        // SAFETY: the bytes are there for the call's time.
        unsafe { libc::write(libc::STDERR_FILENO, piece.as_ptr().cast(), piece.len()) };
    }
    // SAFETY: _exit(2) may be called at any time from any thread.
    unsafe { libc::_exit(EXIT_FORBIDDEN) }
}
