//! Scratch folders: one for each lease, gone with it, below one for each running program.
//!
//! A program that was killed leaves its folder behind. The next one to start finds it, sees by its lock that
//! nobody lives there, and removes it. Called by `main` and `run`.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::TempDir;

use crate::agent::Job;

/// Folders of running programs are named so; nothing else below the root is ever touched.
const PREFIX: &str = "run-";
const LOCK: &str = "lock";

/// This program's own folder; removed with all that is in it when dropped.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    // Held as long as the program lives, by the kernel: a killed program's lock is free.
    _lock: File,
}

/// One lease's folder; removed when the last step that uses it lets go.
#[derive(Debug, Clone)]
pub struct Folder(Arc<TempDir>);

impl Folder {
    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// Where scratch folders are if nobody says otherwise: below the system's temporary folder, one root for each
/// user.
pub fn default_root() -> PathBuf {
    std::env::temp_dir().join(format!("millrace-worker-{}", nix::unistd::geteuid()))
}

impl Scratch {
    /// Makes this program's folder below `root`, and removes those of dead programs.
    pub fn new(root: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        // The system's temporary folder belongs to everyone: somebody else may have made this one first.
        if fs::symlink_metadata(root)?.is_symlink() || fs::metadata(root)?.uid() != nix::unistd::geteuid().as_raw() {
            let message = format!("{} belongs to somebody else: name another folder with --scratch", root.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        // One program at a time makes or sweeps folders, so none is swept between its making and its locking.
        let gate = File::create(root.join(LOCK))?;
        gate.lock()?;
        sweep(root)?;
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(root)?;
        let lock = File::create(folder.path().join(LOCK))?;
        lock.lock()?;
        Ok(Self { folder, _lock: lock })
    }

    /// Makes a lease's folder.
    pub fn job(&self, job: Job) -> io::Result<Folder> {
        let name = format!("job-{}-", job.0);
        tempfile::Builder::new().prefix(&name).tempdir_in(self.folder.path()).map(|dir| Folder(Arc::new(dir)))
    }

    /// The program's folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn sweep(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX) && entry.file_type()?.is_dir();
        if !ours {
            continue;
        }
        let dead = match File::open(entry.path().join(LOCK)) {
            Ok(lock) => lock.try_lock().is_ok(),
            // Killed between the making and the locking.
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if dead && let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::warn!(folder = %entry.path().display(), %error, "can't remove a dead worker's scratch folder");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn folders_go_with_their_leases_and_programs() {
        let root = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(&root.path().join("a/b")).unwrap();
        let folder = scratch.job(Job(1)).unwrap();
        let step = folder.clone();
        fs::write(folder.path("init"), "x").unwrap();
        drop(folder);
        assert!(step.path("init").exists(), "a step still uses it");
        drop(step);
        assert_eq!(entries(scratch.path()), ["lock"]);
        drop(scratch);
        assert_eq!(entries(&root.path().join("a/b")), ["lock"]);
    }

    #[test]
    fn only_the_dead_are_swept() {
        let root = tempfile::tempdir().unwrap();
        let living = Scratch::new(root.path()).unwrap();
        let (dead, newborn) = (root.path().join("run-dead"), root.path().join("run-newborn"));
        for folder in [&dead, &newborn] {
            fs::create_dir_all(folder.join("job-1-x")).unwrap();
        }
        fs::write(dead.join(LOCK), "").unwrap();
        fs::create_dir(root.path().join("holiday-photos")).unwrap();
        fs::write(root.path().join("run-notes.txt"), "mine").unwrap();
        let second = Scratch::new(root.path()).unwrap();
        assert!(living.path().exists() && second.path().exists());
        assert!(!dead.exists() && !newborn.exists());
        assert!(root.path().join("holiday-photos").exists() && root.path().join("run-notes.txt").exists());
    }
}
