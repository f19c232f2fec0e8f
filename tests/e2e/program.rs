//! A program that a test started: its output in a file, signals, and a sure end. Signals go to pids of our own
//! children that were not reaped yet, so never to a stranger.

use std::{
    fs::{self, File},
    io::ErrorKind,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};

use crate::wait::until;

/// A running program, or one that has ended. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    child: Child,
    log: PathBuf,
    group: bool,
}

impl Program {
    /// Starts `command`; what it writes is appended to `log`.
    #[track_caller]
    pub(crate) fn start(name: &str, command: &mut Command, log: PathBuf) -> Self {
        Self::spawn(name, command, log, false)
    }

    /// Starts `command` in a process group of its own, which is killed as a whole: for programs that start others
    /// and do not take them along when they are killed.
    #[track_caller]
    pub(crate) fn start_group(name: &str, command: &mut Command, log: PathBuf) -> Self {
        Self::spawn(name, command.process_group(0), log, true)
    }

    #[track_caller]
    fn spawn(name: &str, command: &mut Command, log: PathBuf, group: bool) -> Self {
        let out = File::options().create(true).append(true).open(&log).expect("the log can be opened");
        let err = out.try_clone().expect("the log can be opened twice");
        let child = match command.stdin(Stdio::null()).stdout(out).stderr(err).spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!(
                    "{} is not there: deploy/test builds and installs all that is needed",
                    command.get_program().display()
                )
            }
            Err(error) => panic!("{} can't be started: {error}", command.get_program().display()),
        };
        Self { name: name.to_owned(), child, log, group }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// What it came to, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        until(&what, limit, || self.ended())
    }

    /// Sends `signal`, unless it has ended.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            kill(Pid::from_raw(self.pid()), signal).expect("a child can be signalled");
        }
    }

    /// `kill -9`, and waits for the end.
    pub(crate) fn kill(&mut self) {
        if self.group && self.ended().is_none() {
            // A group that is gone already is what is wanted.
            let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
        }
        self.signal(Signal::SIGKILL);
        self.wait(Duration::from_secs(10));
    }

    /// All that it has written so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Its direct children whose program is called `name`.
    pub(crate) fn children(&self, name: &str) -> Vec<i32> {
        children_of(self.pid(), name)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Processes started by `parent` whose program is called `name` (its first 15 bytes, as the kernel keeps them).
fn children_of(parent: i32, name: &str) -> Vec<i32> {
    let pids = fs::read_dir("/proc").expect("/proc can be read").flatten();
    pids.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        // A process may end between two reads; then it is no child any more.
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (head, tail) = stat.rsplit_once(')')?;
        let (_, called) = head.split_once('(')?;
        let started_by: i32 = tail.split_whitespace().nth(1)?.parse().ok()?;
        (started_by == parent && called == &name[..name.len().min(15)]).then_some(pid)
    })
    .collect()
}
