//! Programs that refuse to run as root, or should not: run as nobody where the tests run as root.

use std::{ffi::OsStr, path::Path, process::Command};

use nix::unistd::{Uid, User, chown, geteuid};
use tempfile::TempDir;

/// A user without rights, with a folder of its own.
#[derive(Debug)]
pub(crate) struct Stranger {
    dir: TempDir,
    /// Who it is, where that is not us.
    user: Option<Uid>,
}

impl Stranger {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().expect("a temporary folder can be made");
        let user = geteuid().is_root().then(|| {
            let nobody = User::from_name("nobody").expect("users can be looked up");
            nobody.expect("there is a user nobody").uid
        });
        let stranger = Self { dir, user };
        stranger.owns(stranger.dir());
        stranger
    }

    /// Gives it a file or a folder.
    pub(crate) fn owns(&self, path: &Path) {
        if self.user.is_some() {
            chown(path, self.user, None).expect("root can give a folder away");
        }
    }

    /// Its folder, which it may write.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A command that it gives, at home in its folder.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = match self.user {
            None => Command::new(program),
            Some(uid) => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", &uid.to_string(), "--regid", "nogroup", "--clear-groups", "--"]).arg(program);
                command
            }
        };
        command.current_dir(self.dir()).env("HOME", self.dir()).env_remove("XDG_RUNTIME_DIR");
        command
    }
}
