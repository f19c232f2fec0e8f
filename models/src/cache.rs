//! Where models lie, and whether what lies there is whole.
//!
//! `ROOT/ID/FILE` is a model; it gets that name when all of it is there and checked, after the files that lie beside it.
//! What is on its way is below `ROOT/.part`.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{Error, ErrorKind, Model};

/// A folder of models.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// `XDG_CACHE_HOME`, or what stands for it below the home folder.
pub fn default_root(cache_home: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let cache_home = cache_home.filter(|path| path.is_absolute());
    Some(cache_home.or_else(|| Some(home?.join(".cache")))?.join("millrace").join("models"))
}

impl Cache {
    /// Of a folder that need not be there yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the model lies, or would.
    pub fn path(&self, model: &Model) -> PathBuf {
        self.place(model, &model.file)
    }

    /// Whether something lies there, with all that is to lie beside it.
    pub fn has(&self, model: &Model) -> bool {
        model.files().all(|(file, ..)| self.place(model, file).is_file())
    }

    /// Reads all of the model and compares it with the catalogue. Blocks: a second for some hundred MiB.
    pub fn check(&self, model: &Model) -> Result<PathBuf, Error> {
        for (file, bytes, sha256) in model.files() {
            check(&model.id, &self.place(model, file), bytes, sha256)?;
        }
        Ok(self.path(model))
    }

    pub(crate) fn place(&self, model: &Model, file: &str) -> PathBuf {
        self.root.join(&model.id).join(file)
    }

    pub(crate) fn parts(&self) -> PathBuf {
        self.root.join(".part")
    }
}

/// Compares one file of the model `id` with what the catalogue says of it.
fn check(id: &str, path: &Path, bytes: u64, sha: &str) -> Result<(), Error> {
    let length = match fs::metadata(path) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = format!("the model {id} is not there: millrace-worker models fetch {id}");
            return Err(Error::new(ErrorKind::Missing, message));
        }
        Err(error) => return Err(Error::cache("look at", path, &error)),
    };
    let damaged = |what: String| {
        let message = format!("{} {what}: millrace-worker models fetch {id} gets it anew", path.display());
        Error::new(ErrorKind::Damaged, message)
    };
    if length != bytes {
        return Err(damaged(format!("has {length} bytes and not {bytes}")));
    }
    let found = sha256(path).map_err(|error| Error::cache("read", path, &error))?;
    if found == sha { Ok(()) } else { Err(damaged(format!("has the sha256 {found}, not {sha}"))) }
}

/// The hash of a file, hexadecimal.
pub(crate) fn sha256(path: &Path) -> io::Result<String> {
    let (mut file, mut hash) = (File::open(path)?, Sha256::new());
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex::encode(hash.finalize())),
            read => hash.update(&piece[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalog;

    #[test]
    fn what_is_missing_cut_or_flipped_is_told_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        let mut model = Catalog::built_in().get("silero-vad").unwrap().clone();
        let told = |model: &Model| cache.check(model).unwrap_err();
        assert_eq!(told(&model).kind, ErrorKind::Missing);
        assert!(told(&model).message.contains("models fetch silero-vad"));

        let mut bytes = vec![7; 3_000];
        (model.bytes, model.sha256) = (3_000, hex::encode(Sha256::digest(&bytes)));
        fs::create_dir_all(cache.path(&model).parent().unwrap()).unwrap();
        fs::write(cache.path(&model), &bytes[1..]).unwrap();
        assert_eq!(told(&model).kind, ErrorKind::Damaged);
        fs::write(cache.path(&model), &bytes).unwrap();
        assert_eq!(cache.check(&model), Ok(cache.path(&model)));
        bytes[1_500] ^= 1;
        fs::write(cache.path(&model), &bytes).unwrap();
        assert_eq!(told(&model).kind, ErrorKind::Damaged);
        assert!(told(&model).message.contains("sha256"), "{}", told(&model));
    }

    #[test]
    fn the_users_cache_folder_is_taken() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(default_root(path("/c"), path("/h")), path("/c/millrace/models"));
        assert_eq!(default_root(path("c"), path("/h")), path("/h/.cache/millrace/models"));
        assert_eq!(default_root(None, None), None);
    }
}
