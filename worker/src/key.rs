//! The key file: one secp256k1 secret as hexadecimal text, readable by its owner alone.
//!
//! Makes the file if it is absent, refuses one that others can read, and keeps it locked while the program
//! runs: two programs with one key would take each other's leases away. Called by `main`.

use std::{
    fs::{self, File, Permissions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use millrace_proto::identity::Secret;

/// A key file holds 64 digits, perhaps `0x` and a newline; whatever is longer is no key file.
const FILE_BYTES_MAX: u64 = 1_024;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorKind,
    message: String,
    #[source]
    source: Option<io::Error>,
}

/// What is wrong with the key file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// It can't be read or made.
    Io,
    /// Others can read or write it.
    Exposed,
    /// It holds no key.
    Malformed,
    /// Another worker runs with it.
    Taken,
}

/// A key, and its file, locked until this is dropped.
#[derive(Debug)]
pub struct Key {
    /// The secret.
    pub secret: Secret,
    /// True if the file was made just now.
    pub made: bool,
    _file: File,
}

/// Where the key file is if nobody says otherwise: `$XDG_CONFIG_HOME/millrace/worker.key`, or below
/// `~/.config`. None without a home folder. Relative paths in `XDG_CONFIG_HOME` are invalid (XDG base
/// directory specification) and passed over.
pub fn default_path(xdg_config_home: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute();
    let config = xdg_config_home.filter(absolute).or_else(|| home.filter(absolute).map(|home| home.join(".config")))?;
    Some(config.join("millrace/worker.key"))
}

impl Key {
    /// Reads the key file, or makes it.
    pub fn load_or_make(path: &Path) -> Result<Self, Error> {
        match File::open(path) {
            Ok(file) => Self::read(path, file, false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = make(path).map_err(|error| failed("make", path, error))?;
                let file = File::open(path).map_err(|error| failed("read", path, error))?;
                Self::read(path, file, made)
            }
            Err(error) => Err(failed("read", path, error)),
        }
    }

    fn read(path: &Path, file: File, made: bool) -> Result<Self, Error> {
        let shown = path.display();
        let metadata = file.metadata().map_err(|error| failed("read", path, error))?;
        let rights = metadata.permissions().mode() & 0o777;
        if metadata.is_file() && rights & 0o077 != 0 {
            let message = format!(
                "the key file {shown} can be read or changed by others (mode {rights:03o}): run chmod 600 {shown}"
            );
            return Err(Error { kind: ErrorKind::Exposed, message, source: None });
        }
        let malformed = |what: &str| Error {
            kind: ErrorKind::Malformed,
            message: format!("the key file {shown} {what}: restore it, or name another file with --key-file"),
            source: None,
        };
        if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
            return Err(malformed("is no key file"));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message =
                    format!("another worker runs with the key file {shown}: stop it, or give this one --key-file");
                return Err(Error { kind: ErrorKind::Taken, message, source: None });
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", path, error)),
        }
        let mut text = String::new();
        (&file).take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|_| malformed("holds no text"))?;
        let secret = Secret::from_hex(&text).map_err(|_| malformed("does not hold 64 hexadecimal digits"))?;
        Ok(Self { secret, made, _file: file })
    }
}

/// Makes a new key file, whole or not at all; false if another program was faster.
fn make(path: &Path) -> io::Result<bool> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new()
        .prefix(".worker.key.")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder)?;
    writeln!(file, "{}", Secret::generate().to_hex())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error.error),
    }
    File::open(folder)?.sync_all()?;
    Ok(true)
}

fn failed(verb: &str, path: &Path, source: io::Error) -> Error {
    let message = format!("can't {verb} the key file {}: {source}", path.display());
    Error { kind: ErrorKind::Io, message, source: Some(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/worker.key");
        let first = Key::load_or_make(&path).unwrap();
        assert!(first.made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let address = first.secret.address();
        drop(first);
        let second = Key::load_or_make(&path).unwrap();
        assert!(!second.made);
        assert_eq!(second.secret.address(), address);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_key_in_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker.key");
        let _first = Key::load_or_make(&path).unwrap();
        assert_eq!(Key::load_or_make(&path).unwrap_err().kind, ErrorKind::Taken);
    }

    #[test]
    fn bad_key_files_are_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker.key");
        let refusal = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = Key::load_or_make(&path).unwrap_err();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            (error.kind, error.to_string())
        };
        let good = Secret::generate().to_hex();
        for mode in [0o640, 0o604, 0o620] {
            let (kind, message) = refusal(&good, mode);
            assert_eq!(kind, ErrorKind::Exposed);
            assert!(message.contains("chmod 600"), "{message}");
        }
        for text in ["", "abc", &good[1..], &"0".repeat(64), &"a".repeat(5_000)] {
            let (kind, message) = refusal(text, 0o600);
            assert_eq!(kind, ErrorKind::Malformed, "{text}");
            assert!(!message.contains(&good[1..]), "the key is not told");
        }
        assert_eq!(Key::load_or_make(folder.path()).unwrap_err().kind, ErrorKind::Malformed, "a folder");
    }

    #[test]
    fn the_default_path_follows_the_xdg_specification() {
        let path = |xdg: Option<&str>, home: Option<&str>| default_path(xdg.map(Into::into), home.map(Into::into));
        assert_eq!(path(Some("/c"), Some("/h")), Some("/c/millrace/worker.key".into()));
        assert_eq!(path(Some("c"), Some("/h")), Some("/h/.config/millrace/worker.key".into()));
        assert_eq!(path(None, Some("/h")), Some("/h/.config/millrace/worker.key".into()));
        assert_eq!(path(None, None), None);
    }
}
