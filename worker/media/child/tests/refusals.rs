//! What the sandbox refuses, one line each: a program made of the child's own code confines itself and tries, and tries
//! the same without, to show that the try is a real one. Where the kernel lacks a part, what the child says of itself
//! is checked instead.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::{
        fs::PermissionsExt,
        net::UnixListener,
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use millrace_media::{
    FailureKind, Limits, Mode,
    job::{Demux, Demuxed, Probe},
    wire,
};
use millrace_proto::{
    offer::{Part, Sandbox},
    profile::VideoCodec,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};

use crate::common::{ffmpeg, launcher};

/// A user without rights, for runs as root.
const NOBODY: u32 = 65_534;

/// What a try came to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// It said so: `done`, or an error's name.
    Said(String),
    /// It was ended for a forbidden call of this name.
    Forbidden(String),
    /// A signal ended it.
    Signal(Signal),
}

fn said(what: &str) -> End {
    End::Said(what.into())
}

/// Where tries are made, for one user.
struct Ground {
    folder: tempfile::TempDir,
    escape: PathBuf,
    user: Option<u32>,
    /// Somebody to harm.
    victim: Child,
    _listener: UnixListener,
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = self.victim.kill();
        let _ = self.victim.wait();
    }
}

impl Ground {
    fn new(user: Option<u32>) -> Self {
        use std::os::linux::net::SocketAddrExt;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["scratch", "scratch/out", "home", "data"] {
            fs::create_dir(at(name)).unwrap();
        }
        for name in ["scratch/input", "scratch/out/made", "home/diary", "data/admin.key", "inherited"] {
            fs::write(at(name), "secret").unwrap();
        }
        // Built where another user may not look.
        let escape = at("escape");
        fs::copy(env!("CARGO_BIN_EXE_millrace-media-escape"), &escape).unwrap();
        fs::set_permissions(&escape, fs::Permissions::from_mode(0o755)).unwrap();
        let mut sleep = Command::new("sleep");
        sleep.arg("1000");
        if let Some(user) = user {
            let all = Command::new("chown").arg("-R").arg(user.to_string()).arg(folder.path()).status().unwrap();
            assert!(all.success());
            sleep.uid(user).gid(user);
        }
        let name = std::os::unix::net::SocketAddr::from_abstract_name(Self::socket(folder.path())).unwrap();
        let listener = UnixListener::bind_addr(&name).unwrap();
        Self { escape, user, victim: sleep.spawn().unwrap(), _listener: listener, folder }
    }

    fn socket(folder: &Path) -> String {
        folder.display().to_string()
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn limits() -> Limits {
        Limits { memory_bytes_max: 1 << 30, cpu_s_max: 1, file_bytes_max: 100_000, files_max: 20, ..Limits::default() }
    }

    /// The program, confined or free, at `attempt`.
    fn command(&self, way: &str, attempt: &str, argument: &str) -> Command {
        let limits = serde_json::to_string(&Self::limits()).unwrap();
        // A shell between hands down a descriptor that nobody closed.
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec 9<"$0"; exec "$@""#, &self.path("inherited")]);
        command.arg(&self.escape).args([way, &self.path("scratch"), &limits, attempt, argument]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    fn attempt(&self, way: &str, attempt: &str, argument: &str) -> End {
        let mut child = self.command(way, attempt, argument).spawn().unwrap();
        // Its standard input stays open: the child ends when its parent closes it.
        let stdin = child.stdin.take();
        let (mut out, mut log) = (String::new(), String::new());
        child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        let status = child.wait().unwrap();
        drop(stdin);
        match (status.code(), status.signal()) {
            (Some(0), _) => End::Said(out.trim().into()),
            (Some(wire::EXIT_FORBIDDEN), _) => {
                let call = log.rsplit("forbidden system call ").next().and_then(|rest| rest.split(',').next());
                End::Forbidden(call.unwrap_or_default().into())
            }
            (_, Some(signal)) => End::Signal(Signal::try_from(signal).unwrap()),
            (code, _) => panic!("{way} {attempt}: {code:?}, {log}"),
        }
    }

    /// Runs each line both ways. Gives what went another way than expected.
    fn check(&self, way: &str, lines: &[(Part, &str, String, End)], sandbox: &Sandbox) -> Vec<String> {
        let mut wrong = Vec::new();
        for (part, attempt, argument, expected) in lines {
            let (confined, free) = (self.attempt(way, attempt, argument), self.attempt("free", attempt, argument));
            let fits = if sandbox.holds.contains(part) {
                confined == *expected && free != confined
            } else {
                println!("{attempt}: {part:?} does not hold here, and the child says so");
                // What the kernel does not keep comes to the same with and without, if no other part refuses it too.
                confined == free || confined == *expected
            };
            if !fits {
                wrong.push(format!("{attempt}: confined {confined:?} (expected {expected:?}), free {free:?}"));
            }
        }
        wrong
    }
}

fn lines(ground: &Ground) -> Vec<(Part, &'static str, String, End)> {
    let forbidden = |call: &str| End::Forbidden(call.into());
    let (victim, parent) = (ground.victim.id().to_string(), std::process::id().to_string());
    let none = String::new;
    let (eacces, eperm) = (|| said("EACCES"), || said("EPERM"));
    let (made, input) = (ground.path("scratch/out/made"), ground.path("scratch/input"));
    vec![
        (Part::Files, "file: read", "/etc/passwd".into(), eacces()),
        (Part::Files, "in a thread, file: read", "/etc/passwd".into(), eacces()),
        (Part::Files, "file: list", "/".into(), eacces()),
        (Part::Files, "file: list", ground.path("home"), eacces()),
        (Part::Files, "file: read", ground.path("home/diary"), eacces()),
        (Part::Files, "file: read", ground.path("data/admin.key"), eacces()),
        (Part::Files, "file: make", ground.path("data/made"), eacces()),
        (Part::Files, "file: make", ground.path("scratch/made"), eacces()),
        (Part::Files, "file: write", input.clone(), eacces()),
        (Part::Files, "file: read", format!("/proc/{parent}/cmdline"), eacces()),
        (Part::Files, "file: read", format!("/proc/{victim}/environ"), eacces()),
        (Part::Files, "file: read", format!("/proc/{victim}/maps"), eacces()),
        (Part::Files, "file: write", "/proc/self/comm".into(), eacces()),
        (Part::Calls, "file: empty on reading", input.clone(), eperm()),
        (Part::Calls, "file: empty by its name", input, eperm()),
        (Part::Calls, "file: link by name", ground.path("scratch/out/linked"), eperm()),
        (Part::Calls, "file: make a pipe", ground.path("scratch/out/pipe"), eperm()),
        (Part::Calls, "file: make a folder", ground.path("scratch/out/folder"), eperm()),
        (Part::Calls, "file: change its mode", made.clone(), eperm()),
        (Part::Calls, "file: remove", made, eperm()),
        (Part::Limits, "file: read what was inherited", "9".into(), said("EBADF")),
        (Part::Network, "socket: inet", none(), forbidden("socket")),
        (Part::Network, "in a thread, socket: inet", none(), forbidden("socket")),
        (Part::Network, "socket: inet, datagrams", none(), forbidden("socket")),
        (Part::Network, "socket: inet6", none(), forbidden("socket")),
        (Part::Network, "socket: unix", none(), forbidden("socket")),
        (Part::Network, "socket: netlink", none(), forbidden("socket")),
        (Part::Network, "socket: vsock", none(), forbidden("socket")),
        (Part::Network, "socket: pair", none(), forbidden("socketpair")),
        (Part::Network, "socket: connect", none(), forbidden("connect")),
        (Part::Network, "socket: bind", none(), forbidden("bind")),
        (Part::Network, "socket: send", none(), forbidden("sendto")),
        (Part::Network, "socket: abstract", Ground::socket(ground.folder.path()), forbidden("socket")),
        (Part::Processes, "process: become another program", none(), forbidden("execve")),
        // The library blocks signals meanwhile, so it is the kernel that ends it.
        (Part::Processes, "process: start a program", none(), End::Signal(Signal::SIGSYS)),
        (Part::Processes, "process: fork", none(), forbidden("clone")),
        (Part::Processes, "process: fork, the new way", none(), said("ENOSYS")),
        (Part::Processes, "process: fork into new namespaces", none(), forbidden("clone")),
        (Part::Processes, "process: be traced", none(), forbidden("ptrace")),
        (Part::Processes, "process: trace", victim.clone(), forbidden("ptrace")),
        (Part::Processes, "process: read its memory", victim.clone(), forbidden("process_vm_readv")),
        (Part::Processes, "process: signal", victim.clone(), eperm()),
        (Part::Processes, "process: signal a thread", victim.clone(), eperm()),
        (Part::Processes, "process: signal all", none(), eperm()),
        (Part::Processes, "process: hold", victim.clone(), forbidden("pidfd_open")),
        (Part::Processes, "process: change its limits", victim.clone(), eperm()),
        (Part::Processes, "process: change its priority", victim, eperm()),
        (Part::Calls, "kernel: new user namespace", none(), forbidden("unshare")),
        (Part::Calls, "kernel: enter a namespace", none(), forbidden("setns")),
        (Part::Calls, "kernel: mount", none(), forbidden("mount")),
        (Part::Calls, "kernel: mount, the new way", none(), forbidden("fsopen")),
        (Part::Calls, "kernel: open a tree", none(), forbidden("open_tree")),
        (Part::Calls, "kernel: unmount", none(), forbidden("umount2")),
        (Part::Calls, "kernel: change the root", none(), forbidden("chroot")),
        (Part::Calls, "kernel: pivot the root", none(), forbidden("pivot_root")),
        (Part::Calls, "kernel: open by handle", none(), forbidden("open_by_handle_at")),
        (Part::Calls, "kernel: io_uring", none(), forbidden("io_uring_setup")),
        (Part::Calls, "kernel: bpf", none(), forbidden("bpf")),
        (Part::Calls, "kernel: userfaultfd", none(), forbidden("userfaultfd")),
        (Part::Calls, "kernel: perf_event_open", none(), forbidden("perf_event_open")),
        (Part::Calls, "kernel: keyctl", none(), forbidden("keyctl")),
        (Part::Calls, "kernel: add_key", none(), forbidden("add_key")),
        (Part::Calls, "kernel: load a module", none(), forbidden("finit_module")),
        (Part::Calls, "kernel: reboot", none(), forbidden("reboot")),
        (Part::Calls, "right: setuid", none(), eperm()),
        (Part::Calls, "right: setgid", none(), eperm()),
        (Part::Calls, "right: be dumped", none(), eperm()),
        (Part::Calls, "right: outlive the parent", none(), eperm()),
        (Part::Calls, "right: set a limit", none(), eperm()),
        (Part::Calls, "right: set a priority", none(), eperm()),
        (Part::Calls, "right: leave its processors", none(), eperm()),
        (Part::Calls, "right: another personality", none(), eperm()),
        (Part::Calls, "right: another filter", none(), eperm()),
        (Part::Calls, "right: handle refusals", none(), eperm()),
        (Part::Calls, "right: a file of memory", none(), eperm()),
        (Part::Calls, "right: control a device", none(), eperm()),
        (Part::Calls, "right: signals from a descriptor", none(), eperm()),
        (Part::Calls, "right: shared memory", none(), eperm()),
        (Part::Limits, "limit: memory", none(), said("ENOMEM")),
        (Part::Limits, "limit: file", ground.path("scratch/out/large"), End::Signal(Signal::SIGXFSZ)),
        (Part::Limits, "limit: descriptors", none(), said("EMFILE")),
        (Part::Limits, "limit: processor", none(), End::Signal(Signal::SIGXCPU)),
    ]
}

/// This user, and if that is root an ordinary one too.
fn users() -> Vec<Option<u32>> {
    // In a container's user namespace there may be no other.
    let maps = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let is_there = maps.lines().any(|line| {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        matches!(numbers[..], [from, _, count] if (from..from + count).contains(&u64::from(NOBODY)))
    });
    match (geteuid().is_root(), is_there) {
        (true, true) => vec![None, Some(NOBODY)],
        (true, false) => {
            println!("there is no user {NOBODY} here: as root alone");
            vec![None]
        }
        (false, _) => vec![None],
    }
}

async fn sandbox() -> Sandbox {
    launcher().sandbox(&Limits::default()).await.unwrap()
}

#[tokio::test]
async fn every_way_out_is_closed() {
    let sandbox = sandbox().await;
    for user in users() {
        let ground = Ground::new(user);
        let wrong = ground.check("confined", &lines(&ground), &sandbox);
        assert!(wrong.is_empty(), "as {user:?} (none: as this one):\n{}", wrong.join("\n"));
    }
}

/// Tried from a thread that was there before system calls were confined, as those of a card's driver are.
#[tokio::test]
async fn with_a_card_every_way_out_is_closed_too() {
    let sandbox = sandbox().await;
    for user in users() {
        let ground = Ground::new(user);
        let wrong = ground.check("carded", &lines(&ground), &sandbox);
        assert!(wrong.is_empty(), "as {user:?} (none: as this one):\n{}", wrong.join("\n"));
    }
}

#[tokio::test]
async fn what_a_job_needs_is_open() {
    for user in users() {
        let ground = Ground::new(user);
        for (attempt, argument) in [
            ("file: read", ground.path("scratch/input")),
            ("in a thread, file: read", ground.path("scratch/input")),
            ("file: make", ground.path("scratch/out/new")),
            ("file: write", ground.path("scratch/out/made")),
            ("file: list", ground.path("scratch/out")),
            ("file: list", "/usr/lib".into()),
            ("process: signal itself", String::new()),
        ] {
            assert_eq!(ground.attempt("confined", attempt, &argument), said("done"), "{attempt} {argument}");
        }
        // A call that no kernel knows is unknown, not refused: libraries that are newer than this list go on without.
        assert_eq!(ground.attempt("confined", "kernel: a call of tomorrow", ""), said("ENOSYS"));
    }
}

#[tokio::test]
async fn the_child_says_what_this_kernel_can_do() {
    // The kernel's own words, got without the code that is tried.
    let landlock = Command::new(env!("CARGO_BIN_EXE_millrace-media-escape")).args(["landlock"]).output().unwrap();
    let version: i64 = String::from_utf8(landlock.stdout).unwrap().trim().parse().unwrap();
    let seccomp = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").is_ok_and(|list| list.contains("trap"));
    let told = sandbox().await;
    println!("Landlock version {version}, seccomp {seccomp}: {told:?}");
    assert_eq!(told.holds.contains(&Part::Files), version > 0);
    for part in [Part::Network, Part::Processes, Part::Calls] {
        assert_eq!(told.holds.contains(&part), seccomp);
    }
    assert!(told.holds.contains(&Part::Limits));
    assert_eq!(told.holds.len() + told.absent.len(), Part::ALL.len());
}

/// The real child, on a kernel that is made to look like one without `part`.
fn lacking(part: &str, dir: &Path) -> millrace_media::Launcher {
    let file = dir.join(format!("without-{part}"));
    let (escape, child) = (env!("CARGO_BIN_EXE_millrace-media-escape"), env!("CARGO_BIN_EXE_millrace-media"));
    fs::write(&file, format!("#!/bin/sh\nexec {escape} lacking {part} {child}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    millrace_media::Launcher::new(file)
}

#[tokio::test]
async fn a_part_that_the_kernel_lacks_is_told_and_stops_jobs_that_require_it() {
    let dir = tempfile::tempdir().unwrap();
    let job = Probe { codec: VideoCodec::H264, threads: 1 };
    let by_calls = [Part::Network, Part::Processes, Part::Calls];
    for (part, absent) in [("landlock", &[Part::Files][..]), ("seccomp", &by_calls)] {
        let launcher = lacking(part, dir.path());
        let told = launcher.sandbox(&Limits::default()).await.unwrap();
        for part in absent {
            assert!(!told.holds.contains(part) && told.absent.iter().any(|lack| lack.part == *part), "{told:?}");
        }
        assert!(told.holds.contains(&Part::Limits) && !told.is_whole());
        launcher.probe(&job, &Limits::default()).await.unwrap();
        let strict = launcher.with_sandbox(Mode::Required);
        let failure = strict.probe(&job, &Limits::default()).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotStarted, "{failure}");
        assert!(failure.message.contains("a whole sandbox is required"), "{failure}");
        // It is asked all the same what there is.
        assert_eq!(strict.sandbox(&Limits::default()).await.unwrap(), told);
    }
    if sandbox().await.is_whole() {
        launcher().with_sandbox(Mode::Required).probe(&job, &Limits::default()).await.unwrap();
    }
}

#[test]
fn a_confined_child_ends_with_its_parent_and_a_free_one_does_not() {
    let ground = Ground::new(None);
    for (way, ends) in [("free", false), ("confined", true)] {
        let limits = serde_json::to_string(&Ground::limits()).unwrap();
        // The shell is its parent; its standard input is ours and stays open.
        let mut shell = Command::new("sh")
            .args(["-c", r#"exec 3<&0; "$@" <&3 & wait"#, "sh"])
            .arg(&ground.escape)
            .args([way, &ground.path("scratch"), &limits, "process: live on"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(shell.stdout.take().unwrap()).lines().map(Result::unwrap);
        let child = lines.next().unwrap().strip_prefix("waiting ").and_then(|id| id.parse().ok());
        let child = Pid::from_raw(child.expect("it says its id"));
        let input = shell.stdin.take();
        shell.kill().unwrap();
        shell.wait().unwrap();
        // The kernel sends the signal before the shell can be waited for, if it does at all; a pipe that the child
        // held closes when it is gone.
        if ends {
            assert_eq!(lines.next(), None, "its output ends with it");
        } else {
            kill(child, None).expect("it lives on");
            let state = fs::read_to_string(format!("/proc/{child}/stat")).unwrap();
            assert!(!state.contains(") Z "), "{state}");
            kill(child, Signal::SIGKILL).unwrap();
        }
        drop(input);
    }
}

#[test]
fn what_a_child_leaves_is_no_core_and_nothing_that_others_may_look_into() {
    for user in users() {
        let ground = Ground::new(user);
        for (way, hidden) in [("free", false), ("confined", true)] {
            let mut child = ground.command(way, "process: live on", "").spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            assert!(line.starts_with("waiting "), "{line}");
            let of = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap();
            let value = |text: &str, key: &str| {
                let line = text.lines().find(|line| line.starts_with(key)).unwrap();
                line[key.len()..].split_whitespace().map(str::to_owned).collect::<Vec<_>>()
            };
            let (status, limits) = (of("status"), of("limits"));
            assert_eq!(value(&status, "NoNewPrivs:") == ["1"], hidden);
            if hidden {
                assert_eq!(value(&limits, "Max core file size")[..2], ["0", "0"]);
                let capabilities = u64::from_str_radix(&value(&status, "CapEff:")[0], 16).unwrap();
                assert_eq!(capabilities & !0b110, 0, "none but to pass by modes of files");
            }
            // What may not be dumped belongs to root, whoever runs it: others of its user can't trace it.
            if let Some(user) = user {
                use std::os::unix::fs::MetadataExt;
                let owner = fs::metadata(format!("/proc/{}/environ", child.id())).unwrap().uid();
                assert_eq!(owner, if hidden { 0 } else { user });
            }
            let _ = child.stdin.take().map(|mut input| input.flush());
            let _ = child.kill();
            child.wait().unwrap();
        }
    }
}

#[tokio::test]
async fn every_thread_of_the_real_child_is_confined() {
    let dir = tempfile::tempdir().unwrap();
    let source = "-f lavfi -i testsrc2=size=1280x720:rate=30:duration=4,noise=alls=20:allf=t -pix_fmt yuv420p";
    let file = ffmpeg(dir.path(), &format!("{source} -c:v libx264 -preset ultrafast"), "long.mkv");
    let mut reading = launcher().demux(&Demux { input: file }, &Limits::whole_file()).await.unwrap();
    assert!(matches!(reading.next().await, Ok(Some(Demuxed::Tracks { .. }))));
    // It waits for its reader now.
    let filtered = sandbox().await.holds.contains(&Part::Calls);
    let mut threads = 0;
    for task in fs::read_dir(format!("/proc/{}/task", reading.process_id().unwrap())).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
        assert_eq!(status.contains("Seccomp:\t2\n"), filtered, "{status}");
        threads += 1;
    }
    assert!(threads >= 2, "one works and one watches the parent");
}
