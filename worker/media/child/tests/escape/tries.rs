//! The tries, each a few raw system calls: what an intruder would do, not what a library lets one do.

use std::{ffi::CString, fs, io::Write, ptr, time::Duration};

use nix::{errno::Errno, libc};

type Tried = Result<(), Errno>;

/// Does `attempt` and says what came of it.
pub(crate) fn run(attempt: &str, argument: &str) -> String {
    let tried = match attempt.strip_prefix("in a thread, ") {
        Some(attempt) => std::thread::scope(|scope| {
            let inner = scope.spawn(|| go(attempt, argument));
            inner.join().expect("tries do not panic")
        }),
        None => go(attempt, argument),
    };
    match tried {
        Ok(()) => "done".into(),
        Err(errno) => format!("{errno:?}"),
    }
}

fn go(attempt: &str, argument: &str) -> Tried {
    let (group, what) = attempt.split_once(": ").unwrap_or((attempt, ""));
    match group {
        "file" => file(what, argument),
        "socket" => socket(what, argument),
        "process" => process(what, argument),
        "kernel" => kernel(what),
        "right" => right(what),
        "limit" => limit(what, argument),
        other => panic!("no tries are called {other}"),
    }
}

/// A raw call with up to six arguments.
macro_rules! call {
    ($name:ident $(, $argument:expr)*) => {{
        // SAFETY: what is handed over lives as long as the call, or is not valid on purpose: the kernel looks at it.
        let result = unsafe { libc::syscall(libc::$name $(, $argument)*) };
        Errno::result(result)
    }};
}

fn path(text: &str) -> CString {
    CString::new(text).expect("no zero bytes")
}

fn number(text: &str) -> libc::pid_t {
    text.parse().expect("a number")
}

fn file(what: &str, argument: &str) -> Tried {
    let at = path(argument);
    let at = at.as_ptr();
    let open = |flags: libc::c_int| call!(SYS_openat, libc::AT_FDCWD, at, flags, 0o600);
    match what {
        "read" => open(libc::O_RDONLY),
        "list" => open(libc::O_RDONLY | libc::O_DIRECTORY),
        "write" => open(libc::O_WRONLY),
        "make" => open(libc::O_WRONLY | libc::O_CREAT),
        "empty on reading" => open(libc::O_RDONLY | libc::O_TRUNC),
        "empty by its name" => call!(SYS_truncate, at, 0),
        "link by name" => call!(SYS_symlinkat, c"/etc/passwd".as_ptr(), libc::AT_FDCWD, at),
        "link" => call!(SYS_linkat, libc::AT_FDCWD, c"/etc/passwd".as_ptr(), libc::AT_FDCWD, at, 0),
        "make a pipe" => call!(SYS_mknodat, libc::AT_FDCWD, at, libc::S_IFIFO | 0o600, 0),
        "make a folder" => call!(SYS_mkdirat, libc::AT_FDCWD, at, 0o700),
        "change its mode" => call!(SYS_fchmodat, libc::AT_FDCWD, at, 0o777),
        "remove" => call!(SYS_unlinkat, libc::AT_FDCWD, at, 0),
        "read what was inherited" => {
            let mut byte = 0_u8;
            call!(SYS_read, number(argument), &raw mut byte, 1)
        }
        other => panic!("no try is called {other}"),
    }
    .map(drop)
}

fn socket(what: &str, argument: &str) -> Tried {
    let of = |family: libc::c_int, kind: libc::c_int| call!(SYS_socket, family, kind, 0);
    match what {
        "inet" => of(libc::AF_INET, libc::SOCK_STREAM),
        "inet, datagrams" => of(libc::AF_INET, libc::SOCK_DGRAM),
        "inet6" => of(libc::AF_INET6, libc::SOCK_STREAM),
        "unix" => of(libc::AF_UNIX, libc::SOCK_STREAM),
        "netlink" => of(libc::AF_NETLINK, libc::SOCK_RAW),
        "vsock" => of(libc::AF_VSOCK, libc::SOCK_STREAM),
        "pair" => {
            let mut pair = [0_i32; 2];
            call!(SYS_socketpair, libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr())
        }
        // As if a socket had been inherited.
        "connect" => call!(SYS_connect, 0, ptr::null::<u8>(), 0),
        "bind" => call!(SYS_bind, 0, ptr::null::<u8>(), 0),
        "send" => call!(SYS_sendto, 0, ptr::null::<u8>(), 0, 0, ptr::null::<u8>(), 0),
        "abstract" => {
            let socket = of(libc::AF_UNIX, libc::SOCK_STREAM)?;
            // `struct sockaddr_un`: the family, a zero byte, the name.
            let family = (libc::AF_UNIX as u16).to_ne_bytes();
            let address = [&family[..], b"\0", argument.as_bytes()].concat();
            call!(SYS_connect, socket, address.as_ptr(), address.len())
        }
        other => panic!("no try is called {other}"),
    }
    .map(drop)
}

fn process(what: &str, argument: &str) -> Tried {
    const PTRACE_SEIZE: libc::c_long = 0x4206;
    match what {
        "become another program" => {
            let words = [c"echo".as_ptr(), c"done".as_ptr(), ptr::null()];
            let none = [ptr::null::<libc::c_char>()];
            call!(SYS_execve, c"/bin/echo".as_ptr(), words.as_ptr(), none.as_ptr())
        }
        "fork" => in_child(call!(SYS_clone, libc::SIGCHLD, 0, 0, 0, 0)),
        "fork, the new way" => {
            // `struct clone_args`: flags, ..., exit_signal.
            let mut arguments = [0_u64; 8];
            arguments[4] = libc::SIGCHLD as u64;
            in_child(call!(SYS_clone3, arguments.as_ptr(), size_of_val(&arguments)))
        }
        "fork into new namespaces" => {
            in_child(call!(SYS_clone, libc::SIGCHLD | libc::CLONE_NEWUSER | libc::CLONE_NEWNET, 0, 0, 0, 0))
        }
        "start a program" => {
            let mut command = std::process::Command::new("/bin/true");
            return command.status().map(drop).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)));
        }
        "be traced" => call!(SYS_ptrace, libc::PTRACE_TRACEME, 0, 0, 0),
        "trace" => call!(SYS_ptrace, PTRACE_SEIZE, number(argument), 0, 0),
        "read its memory" => call!(SYS_process_vm_readv, number(argument), 0, 0, 0, 0, 0),
        "signal" => call!(SYS_kill, number(argument), 0),
        "signal a thread" => call!(SYS_tgkill, number(argument), number(argument), 0),
        "signal all" => call!(SYS_kill, -1, 0),
        "hold" => call!(SYS_pidfd_open, number(argument), 0),
        "change its limits" => {
            let mut limit = [0_u64; 2];
            call!(SYS_prlimit64, number(argument), libc::RLIMIT_NOFILE, 0, limit.as_mut_ptr())?;
            call!(SYS_prlimit64, number(argument), libc::RLIMIT_NOFILE, limit.as_ptr(), 0)
        }
        "change its priority" => call!(SYS_setpriority, libc::PRIO_PROCESS, number(argument), 0),
        "signal itself" => call!(SYS_kill, std::process::id(), 0),
        "live on" => {
            println!("waiting {}", std::process::id());
            std::io::stdout().flush().expect("someone listens");
            loop {
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        other => panic!("no try is called {other}"),
    }
    .map(drop)
}

/// A child that a fork made ends at once.
fn in_child(made: Result<libc::c_long, Errno>) -> Result<libc::c_long, Errno> {
    if made == Ok(0) {
        // SAFETY: _exit(2) may be called at any time.
        unsafe { libc::_exit(0) }
    }
    made
}

/// With arguments that do nothing where the call is allowed.
fn kernel(what: &str) -> Tried {
    let none = ptr::null::<u8>();
    match what {
        "new user namespace" => call!(SYS_unshare, libc::CLONE_NEWUSER),
        "enter a namespace" => call!(SYS_setns, -1, 0),
        "mount" => call!(SYS_mount, none, none, none, 0, none),
        "mount, the new way" => call!(SYS_fsopen, none, 0),
        "open a tree" => call!(SYS_open_tree, libc::AT_FDCWD, none, 0),
        "unmount" => call!(SYS_umount2, none, 0),
        "change the root" => call!(SYS_chroot, none),
        "pivot the root" => call!(SYS_pivot_root, none, none),
        "open by handle" => call!(SYS_open_by_handle_at, -1, none, 0),
        "io_uring" => {
            let mut parameters = [0_u8; 120];
            call!(SYS_io_uring_setup, 1, parameters.as_mut_ptr())
        }
        "bpf" => call!(SYS_bpf, 0, none, 0),
        "userfaultfd" => call!(SYS_userfaultfd, 1),
        "perf_event_open" => call!(SYS_perf_event_open, none, 0, -1, -1, 0),
        "keyctl" => call!(SYS_keyctl, 0, -3, 0),
        "add_key" => call!(SYS_add_key, none, none, none, 0, 0),
        "load a module" => call!(SYS_finit_module, -1, none, 0),
        "reboot" => call!(SYS_reboot, 0, 0, 0, none),
        "a call of tomorrow" => {
            // SAFETY: no kernel has a call of this number.
            Errno::result(unsafe { libc::syscall(100_000) })
        }
        other => panic!("no try is called {other}"),
    }
    .map(drop)
}

fn right(what: &str) -> Tried {
    match what {
        "setuid" => call!(SYS_setuid, nix::unistd::getuid().as_raw()),
        "setgid" => call!(SYS_setgid, nix::unistd::getgid().as_raw()),
        "be dumped" => call!(SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0),
        "outlive the parent" => call!(SYS_prctl, libc::PR_SET_PDEATHSIG, 0, 0, 0, 0),
        "set a limit" => {
            let mut limit = [0_u64; 2];
            call!(SYS_prlimit64, 0, libc::RLIMIT_NOFILE, 0, limit.as_mut_ptr())?;
            call!(SYS_prlimit64, 0, libc::RLIMIT_NOFILE, limit.as_ptr(), 0)
        }
        "set a priority" => {
            let parameters = [0_i32];
            call!(SYS_sched_setscheduler, 0, libc::SCHED_OTHER, parameters.as_ptr())
        }
        "leave its processors" => {
            let mut set = [0_u64; 128];
            call!(SYS_sched_getaffinity, 0, size_of_val(&set), set.as_mut_ptr())?;
            call!(SYS_sched_setaffinity, 0, size_of_val(&set), set.as_ptr())
        }
        "another personality" => call!(SYS_personality, 0xffff_ffff_u32),
        "another filter" => call!(SYS_seccomp, 2, 0, [0x7fff_0000_u32].as_ptr()),
        "handle refusals" => {
            let mut old = [0_u64; 4];
            call!(SYS_rt_sigaction, libc::SIGSYS, 0, old.as_mut_ptr(), 8)
        }
        "a file of memory" => call!(SYS_memfd_create, c"x".as_ptr(), 0),
        "control a device" => {
            let mut waiting = 0_i32;
            call!(SYS_ioctl, 0, libc::FIONREAD, &raw mut waiting)
        }
        "signals from a descriptor" => call!(SYS_fcntl, 0, libc::F_SETOWN, std::process::id()),
        "shared memory" => call!(SYS_shmget, 0, 4_096, 0o600),
        other => panic!("no try is called {other}"),
    }
    .map(drop)
}

fn limit(what: &str, argument: &str) -> Tried {
    let failed = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
    match what {
        "memory" => {
            let (bytes, shared) = (2_usize << 30, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
            call!(SYS_mmap, 0, bytes, libc::PROT_READ | libc::PROT_WRITE, shared, -1, 0).map(drop)
        }
        "file" => fs::write(argument, vec![0; 200_000]).map_err(failed),
        "descriptors" => {
            let files: Result<Vec<_>, _> = (0..100).map(|_| fs::File::open("/dev/null")).collect();
            files.map(drop).map_err(failed)
        }
        "processor" => {
            // A second of processor time, and the one that the limit leaves beyond.
            loop {
                // SAFETY: all zeroes is a valid `rusage`, and the kernel fills it in.
                let used = unsafe {
                    let mut used: libc::rusage = std::mem::zeroed();
                    libc::getrusage(libc::RUSAGE_SELF, &raw mut used);
                    used.ru_utime.tv_sec + used.ru_stime.tv_sec
                };
                if used >= 3 {
                    return Ok(());
                }
            }
        }
        other => panic!("no try is called {other}"),
    }
}
