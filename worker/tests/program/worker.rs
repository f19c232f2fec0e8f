//! The real program as a child of the test, and where its media child is.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Instant,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::PATIENCE;

/// The media child: where all programs were built to.
pub(crate) fn media() -> PathBuf {
    let worker = PathBuf::from(env!("CARGO_BIN_EXE_millrace-worker"));
    let folder = std::env::var_os("MILLRACE_BIN_DIR").map_or_else(|| worker.with_file_name(""), PathBuf::from);
    let media = folder.join("millrace-media");
    assert!(media.exists(), "{} is not there: run cargo build -p millrace-media-child first", media.display());
    media
}

/// A running worker; killed when dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    folder: TempDir,
}

impl Worker {
    /// Starts `millrace-worker join URL` with a key and a scratch folder of its own.
    pub(crate) fn join(url: &str, arguments: &[&str]) -> Self {
        Self::start(url, arguments, tempfile::tempdir().unwrap())
    }

    fn start(url: &str, arguments: &[&str], folder: TempDir) -> Self {
        let log = File::options().create(true).append(true).open(folder.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-worker"));
        command.args(["join", url, "--slots", "1", "--scratch"]).arg(folder.path().join("scratch"));
        // Models take seconds to be tried at each start, and no lease here asks for them.
        command.arg("--models").arg(folder.path().join("no-models"));
        let given = |name: &str| arguments.contains(&name);
        if !given("--key-file") {
            command.arg("--key-file").arg(folder.path().join("key"));
        }
        if !given("--media") {
            command.arg("--media").arg(media());
        }
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self { child: command.spawn().unwrap(), folder }
    }

    /// Starts a new program with the key and the scratch folder of this dead one.
    pub(crate) fn again(mut self, url: &str) -> Self {
        self.kill();
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        Self::start(url, &[], folder)
    }

    pub(crate) fn terminate(&mut self) {
        // Not reaped yet, so the pid is still its own.
        assert_eq!(self.child.try_wait().unwrap(), None, "{}", self.printed());
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end: {}", self.printed());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// All it wrote.
    pub(crate) fn printed(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// What is in its scratch folder's root.
    pub(crate) fn scratch_entries(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join("scratch")).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.printed());
        }
    }
}
