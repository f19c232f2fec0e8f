//! Takes files out of packages: wheels (zip), and what npm and source packages are (tar, gzip).

use std::{
    fs::File,
    io::{self, Read, Seek},
    path::{Path, PathBuf},
};

/// Bytes of the largest file that is taken out.
const MEMBER_BYTES_MAX: u64 = 8 << 30;

/// Writes the members into `folder`, and tells where, in their order.
pub(super) fn take(package: &Path, members: &[String], folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut file = File::open(package).map_err(|error| error.to_string())?;
    let mut head = [0; 2];
    file.read_exact(&mut head).and_then(|()| file.rewind()).map_err(|error| error.to_string())?;
    let places: Vec<_> = (0..members.len()).map(|number| folder.join(number.to_string())).collect();
    match &head {
        b"PK" => from_zip(file, members, &places)?,
        [0x1f, 0x8b] => from_tar(file, members, &places)?,
        _ => return Err("it is neither a zip nor a gzip file".into()),
    }
    Ok(places)
}

fn from_zip(file: File, members: &[String], places: &[PathBuf]) -> Result<(), String> {
    let mut archive = zip::ZipArchive::new(file).map_err(|error| error.to_string())?;
    for (member, place) in members.iter().zip(places) {
        let found = archive.by_name(member).map_err(|error| format!("{member}: {error}"))?;
        write(found, place).map_err(|error| format!("{member}: {error}"))?;
    }
    Ok(())
}

fn from_tar(file: File, members: &[String], places: &[PathBuf]) -> Result<(), String> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let mut missing: Vec<_> = members.iter().collect();
    for entry in archive.entries().map_err(|error| error.to_string())? {
        let entry = entry.map_err(|error| error.to_string())?;
        let name = entry.path().map_err(|error| error.to_string())?.into_owned();
        let Some(at) = members.iter().position(|member| name == Path::new(member)) else { continue };
        write(entry, &places[at]).map_err(|error| format!("{}: {error}", members[at]))?;
        missing.retain(|member| **member != members[at]);
        if missing.is_empty() {
            return Ok(());
        }
    }
    Err(format!("{} is not in it", missing[0]))
}

fn write(from: impl Read, place: &Path) -> io::Result<()> {
    let written = io::copy(&mut from.take(MEMBER_BYTES_MAX + 1), &mut File::create(place)?)?;
    if written > MEMBER_BYTES_MAX { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
}
