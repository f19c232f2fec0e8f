//! The lists of system calls: what decoding and encoding take, and what only an intruder makes.
//!
//! Made by watching every job of the child with x264, x265, SVT-AV1, dav1d and glibc, on x86-64; names that other
//! architectures do not have stand apart.

/// Pairs of number and name.
macro_rules! calls {
    ($($name:ident)*) => { &[$((nix::libc::$name, stringify!($name))),*] };
}

/// A system call's number and its name with `SYS_` before it.
pub(super) type Call = (i64, &'static str);

/// Allowed whatever their arguments.
pub(super) const ALLOWED: &[&[Call]] = &[
    // Memory.
    calls![SYS_brk SYS_mmap SYS_munmap SYS_mremap SYS_mprotect SYS_madvise],
    // Memory and processors near each other, where there are several of both: x265 asks.
    calls![SYS_get_mempolicy SYS_set_mempolicy],
    // Threads, and how they wait for each other.
    calls![SYS_futex SYS_set_robust_list SYS_rseq SYS_sched_yield SYS_exit SYS_exit_group SYS_gettid],
    // Descriptors that are there. What can be opened is Landlock's to say; see `filter` for the two calls that open.
    calls![
        SYS_read SYS_write SYS_readv SYS_writev SYS_pread64 SYS_pwrite64 SYS_preadv SYS_pwritev SYS_lseek SYS_close
        SYS_fstat SYS_dup SYS_getdents64 SYS_ppoll
    ],
    // Whether a file is there.
    calls![SYS_newfstatat SYS_statx SYS_readlinkat SYS_faccessat],
    // Signals to itself.
    calls![SYS_rt_sigprocmask SYS_rt_sigreturn SYS_sigaltstack SYS_restart_syscall],
    // Time; the clocks are read without a call, where the machine has one that can be.
    calls![SYS_clock_gettime SYS_clock_getres SYS_gettimeofday SYS_nanosleep SYS_clock_nanosleep SYS_times],
    // What the machine and this process are.
    calls![
        SYS_getpid SYS_getppid SYS_getuid SYS_geteuid SYS_getgid SYS_getegid SYS_uname SYS_sysinfo SYS_getrusage
        SYS_getrandom SYS_getcpu SYS_sched_getaffinity SYS_sched_getparam SYS_sched_getscheduler
        SYS_sched_get_priority_max SYS_sched_get_priority_min SYS_getpriority
    ],
    #[cfg(target_arch = "x86_64")]
    calls![SYS_stat SYS_lstat SYS_access SYS_readlink SYS_poll SYS_time],
];

/// Allowed beside these in jobs with a card: what its driver's threads wait for and wake each other with, and where it
/// wants memory to lie.
pub(super) const CARD: &[&[Call]] = &[
    calls![SYS_eventfd2 SYS_pipe2 SYS_mbind SYS_mincore SYS_mlock SYS_munlock SYS_membarrier],
    #[cfg(target_arch = "x86_64")]
    calls![SYS_pipe SYS_eventfd],
];

/// Refused without a note in the kernel's log, since sound programs make them often and go on without. SVT-AV1 takes
/// real-time priority where it is root, and wants to choose its processors; x265 makes some threads less urgent than
/// others. All that is the operator's to say. `getpgid` is what the child proves its filter with.
pub(super) const REFUSED: &[&[Call]] =
    &[calls![SYS_sched_setscheduler SYS_sched_setaffinity SYS_setpriority SYS_getpgid]];

/// What no library makes by itself: whoever does has taken the program over, and it ends. `clone` without a new thread
/// is with them, see `filter`.
pub(super) const FORBIDDEN: &[&[Call]] = &[
    // Other programs and processes.
    calls![SYS_execve SYS_execveat SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev SYS_kcmp],
    calls![SYS_pidfd_open SYS_pidfd_getfd SYS_pidfd_send_signal SYS_process_madvise],
    // The network, and this machine's sockets.
    calls![
        SYS_socket SYS_socketpair SYS_connect SYS_bind SYS_listen SYS_accept SYS_accept4 SYS_sendto SYS_sendmsg
        SYS_sendmmsg
    ],
    // Another view of the system.
    calls![SYS_unshare SYS_setns SYS_mount SYS_umount2 SYS_pivot_root SYS_chroot SYS_move_mount SYS_open_tree],
    calls![SYS_fsopen SYS_fsconfig SYS_fsmount SYS_fspick SYS_mount_setattr SYS_open_by_handle_at],
    // Much of the kernel behind one call.
    calls![SYS_bpf SYS_userfaultfd SYS_perf_event_open SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register],
    calls![SYS_keyctl SYS_add_key SYS_request_key],
    // The kernel itself.
    calls![SYS_init_module SYS_finit_module SYS_delete_module SYS_kexec_load SYS_reboot SYS_swapon SYS_swapoff],
    #[cfg(target_arch = "x86_64")]
    calls![SYS_fork SYS_vfork SYS_iopl SYS_ioperm SYS_modify_ldt SYS_kexec_file_load],
];
