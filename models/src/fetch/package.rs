//! Packages, by name, through the ordinary clients of their registries: `pip download` and `npm pack`.

use std::{fs, io, path::Path, process::Stdio};

use tokio::process::Command;

use super::{Arrived, Step};
use crate::{Error, ErrorKind, catalog::Source};

/// Bytes of a tool's last words that are told.
const LOG_BYTES_MAX: usize = 600;

/// Fetches the source's package into a folder of its own.
pub(super) async fn get(
    source: &Source,
    hash: &str,
    parts: &Path,
    tell: &(dyn Fn(Step) + Sync),
) -> Result<Arrived, Error> {
    tell(Step::Package(source.name().to_owned()));
    let folder = tempfile::tempdir_in(parts).map_err(|error| Error::cache("make a folder in", parts, &error))?;
    let mut command = if source.pip.is_some() { pip(source, hash, folder.path())? } else { npm(source, folder.path()) };
    let tool = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let unreachable =
        |why: String| Error::new(ErrorKind::Unreachable, format!("{} did not come: {why}", source.name()));
    let output = output.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => unreachable(format!("{tool} is not there; install python3 with pip, or npm")),
        _ => unreachable(format!("{tool} can't be started: {error}")),
    })?;
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr);
        let log = log.trim();
        let end = &log[log.ceil_char_boundary(log.len().saturating_sub(LOG_BYTES_MAX))..];
        return Err(unreachable(format!("look at the network, then try again; {tool} says: {end}")));
    }
    let files = fs::read_dir(folder.path()).map_err(|error| Error::cache("read", folder.path(), &error))?;
    let archive =
        |path: &Path| [".whl", ".tar.gz", ".tgz", ".zip"].iter().any(|end| path.to_string_lossy().ends_with(end));
    let file = files.flatten().map(|entry| entry.path()).find(|path| archive(path));
    let file = file.ok_or_else(|| unreachable(format!("{tool} fetched nothing")))?;
    Ok(Arrived { file, folder: Some(folder) })
}

/// pip checks the hash too, and takes nothing else.
fn pip(source: &Source, hash: &str, folder: &Path) -> Result<Command, Error> {
    let list = folder.join("requirements.txt");
    let line = format!("{} --hash=sha256:{hash}\n", source.name());
    fs::write(&list, line).map_err(|error| Error::cache("write", &list, &error))?;
    let mut command = Command::new("python3");
    command.args(["-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--quiet", "--no-deps"]);
    command.args(["--require-hashes", "--only-binary", ":all:"]);
    if let Some(wheel) = &source.wheel {
        command.args(["--implementation", "cp", "--python-version", &wheel.python]);
        command.args(["--abi", &wheel.abi, "--platform", &wheel.platform]);
    }
    command.arg("--dest").arg(folder).arg("--requirement").arg(list);
    Ok(command)
}

fn npm(source: &Source, folder: &Path) -> Command {
    let mut command = Command::new("npm");
    command.args(["pack", "--silent", "--ignore-scripts", source.name(), "--pack-destination"]).arg(folder);
    command
}
