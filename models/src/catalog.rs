//! What `catalog.toml` and files like it say, checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind};

const BUILT_IN: &str = include_str!("../catalog.toml");

/// Bytes of the largest catalogue that is read.
const CATALOG_BYTES_MAX: u64 = 1 << 20;
/// Bytes of the largest model: large Whisper has three thousand million.
const MODEL_BYTES_MAX: u64 = 16 << 30;

/// Sides of the pictures that models take.
const PICTURE_SIDE_MIN: u32 = 16;
const PICTURE_SIDE_MAX: u32 = 2_048;

/// All models that are known, by their order.
#[derive(Debug, Clone)]
pub struct Catalog {
    models: Vec<Model>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Names it.
    pub id: String,
    /// What it is for.
    pub task: Task,
    /// Of the weights, told with each result.
    pub version: String,
    /// SPDX, of the weights.
    pub licence: String,
    /// One line for people.
    pub about: String,
    /// What goes in and what comes out.
    pub layout: Layout,
    /// Of `whisper-ggml`: whisper.cpp's preset of the heads that tell words' times.
    #[serde(default)]
    pub dtw: Option<String>,
    /// Its name in the cache.
    pub file: String,
    /// Length of the file.
    pub bytes: u64,
    /// Hash of the file, hexadecimal.
    pub sha256: String,
    /// Files that it does not work without and that lie beside it, in the order in which they are taken after it.
    #[serde(default)]
    pub beside: Vec<Beside>,
    /// What the program that runs it takes at most.
    pub memory_bytes: u64,
    /// Two-letter codes, or `any`.
    #[serde(default)]
    pub languages: Vec<String>,
    /// Scores from which something counts.
    #[serde(default)]
    pub thresholds: BTreeMap<String, f64>,
    /// Of layouts that say so: how it wants a picture.
    #[serde(default)]
    pub picture: Option<Picture>,
    /// Names of what comes out, in the layout's order.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// Names of its classes, in their order.
    #[serde(default)]
    pub labels: Vec<String>,
    /// The model that is a list of them, where there are many.
    #[serde(default)]
    pub labels_of: Option<String>,
    /// Belongs to the set that is fetched when none is named.
    #[serde(default)]
    pub default: bool,
    /// The processors it is for, where it is not for all.
    #[serde(default)]
    pub arch: Option<String>,
    /// What is made of the sources' files.
    #[serde(default)]
    pub convert: Option<Convert>,
    /// Where it comes from.
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
}

/// A file beside a model's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beside {
    /// Its name in the cache.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// Its hash, hexadecimal.
    pub sha256: String,
}

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Words of speech.
    Captions,
    /// Whether there is speech.
    Voice,
    /// What not everyone is to see.
    Moderation,
    /// Which things a picture shows, and where.
    Detection,
    /// What a thing is called more closely, and what it looks like.
    Embedding,
    /// Names that others need.
    Labels,
    /// A library that others need.
    Runtime,
}

/// How a model wants a picture: its name among what goes in, its size and what its numbers mean. A picture is scaled to
/// that size whatever its shape; each number is 0 to 255, less `mean`, over `deviation`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    /// The input's name.
    pub input: String,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Which colour stands first.
    #[serde(default)]
    pub order: Order,
    /// Where the colours stand.
    #[serde(default)]
    pub channels: Channels,
    /// In the order of the colours.
    #[serde(default)]
    pub mean: [f32; 3],
    /// In the order of the colours.
    #[serde(default = "ones")]
    pub deviation: [f32; 3],
}

fn ones() -> [f32; 3] {
    [1.0; 3]
}

/// The order of a picture's colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// Where a picture's colours stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Three planes, as in `[1, 3, height, width]`.
    #[default]
    First,
    /// Pixel by pixel, as in `[1, height, width, 3]`.
    Last,
}

/// What goes in and what comes out; `catalog.toml` describes each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// A ggml file of whisper.cpp.
    WhisperGgml,
    /// Silero's detector of voice at 16 kHz.
    #[serde(rename = "silero-16k")]
    Silero16k,
    /// Yahoo's `open_nsfw`.
    OpenNsfw,
    /// Boxes with scores and classes, a row each.
    Rows,
    /// Logits of classes and relative boxes, as DETR and its kin have them.
    Detr,
    /// Logits of classes, and what stands before them.
    Embedding,
    /// Names, one a line.
    Labels,
    /// The library itself.
    Onnxruntime,
    /// The same for graphics cards, with the libraries that it takes beside it.
    OnnxruntimeCuda,
}

/// A conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Convert {
    /// `tokenizer.json`, then the parts of a float16 `model.bin` of `CTranslate2`.
    WhisperCt2,
    /// `model.json`, then the parts of the weights of a graph model of TensorFlow.js; `outputs` names what comes out.
    TfjsOnnx,
    /// `PyTorch`'s weights of an EfficientNet-Lite, for pictures of `picture`.
    EfficientnetLiteOnnx,
    /// `WordNet`'s numbers of classes, then a table of their names.
    WordnetLabels,
}

/// One package or file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// `NAME==VERSION`
    #[serde(default)]
    pub pip: Option<String>,
    /// `NAME@VERSION`
    #[serde(default)]
    pub npm: Option<String>,
    /// An https address.
    #[serde(default)]
    pub url: Option<String>,
    /// Of the package.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Files inside, in order; without any the source is the file itself.
    #[serde(default)]
    pub take: Vec<String>,
    /// Of a wheel that is made for some only.
    #[serde(default)]
    pub wheel: Option<Wheel>,
}

/// Which wheel of several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wheel {
    /// The version of Python that it says.
    pub python: String,
    /// Its binary interface.
    pub abi: String,
    /// Its platform.
    pub platform: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    #[serde(default)]
    model: Vec<Model>,
}

impl Catalog {
    /// What the program knows by itself.
    pub fn built_in() -> Self {
        let mut catalog = Self { models: Vec::new() };
        catalog.add(BUILT_IN, "the built-in catalogue").expect("a test reads it");
        catalog
    }

    /// Adds the entries of a file, or of all `*.toml` of a folder in their names' order; those of a known id take its
    /// place.
    pub fn with(mut self, path: &Path) -> Result<Self, Error> {
        let wrong =
            |error| Error::new(ErrorKind::Catalog, format!("can't read the catalogue {}: {error}", path.display()));
        let mut files = vec![path.to_owned()];
        if path.is_dir() {
            files = fs::read_dir(path).map_err(wrong)?.flatten().map(|entry| entry.path()).collect();
            files.retain(|file| file.extension().is_some_and(|ending| ending == "toml"));
            files.sort();
        }
        for file in files {
            if fs::metadata(&file).map_err(wrong)?.len() > CATALOG_BYTES_MAX {
                let message = format!("the catalogue {} has more than {CATALOG_BYTES_MAX} bytes", file.display());
                return Err(Error::new(ErrorKind::Catalog, message));
            }
            self.add(&fs::read_to_string(&file).map_err(wrong)?, &file.display().to_string())?;
        }
        Ok(self)
    }

    fn add(&mut self, text: &str, name: &str) -> Result<(), Error> {
        let wrong = |why: String| Error::new(ErrorKind::Catalog, format!("{name}: {why}"));
        let text: Text = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        for model in text.model {
            model.check().map_err(|why| wrong(format!("model {:?}: {why}", model.id)))?;
            // Of entries for several processors the one for this one is known.
            if model.arch.as_ref().is_some_and(|arch| arch != std::env::consts::ARCH) {
                continue;
            }
            match self.models.iter_mut().find(|known| known.id == model.id) {
                Some(known) => *known = model,
                None => self.models.push(model),
            }
        }
        Ok(())
    }

    /// All of them.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// The one of that name.
    pub fn get(&self, id: &str) -> Result<&Model, Error> {
        self.models.iter().find(|model| model.id == id).ok_or_else(|| {
            let known: Vec<_> = self.models.iter().map(|model| model.id.as_str()).collect();
            Error::new(ErrorKind::Unknown, format!("no model is named {id:?}; there are {}", known.join(", ")))
        })
    }

    /// The first with that layout, which stands for all where one is enough.
    pub fn first(&self, layout: Layout) -> Option<&Model> {
        self.models.iter().find(|model| model.layout == layout)
    }
}

impl Model {
    /// All its files, each with its length and its hash: its own first.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, u64, &str)> {
        let beside = self.beside.iter().map(|more| (&*more.file, more.bytes, &*more.sha256));
        std::iter::once((&*self.file, self.bytes, &*self.sha256)).chain(beside)
    }

    /// Length of all its files.
    pub fn bytes_in_all(&self) -> u64 {
        self.files().map(|(_, bytes, _)| bytes).sum()
    }

    /// What is wrong with it.
    fn check(&self) -> Result<(), String> {
        let plain = |name: &str| {
            let allowed = |letter: char| letter.is_ascii_alphanumeric() || ".-_".contains(letter);
            !name.is_empty() && name.len() <= 100 && !name.starts_with('.') && name.chars().all(allowed)
        };
        let says = |holds: bool, why: &str| if holds { Ok(()) } else { Err(why.to_owned()) };
        says(plain(&self.id), "an id has letters, digits, dots and dashes")?;
        let mut names = BTreeSet::new();
        for (file, bytes, sha256) in self.files() {
            says(plain(file), "a file's name has letters, digits, dots and dashes")?;
            says(names.insert(file), "no two files have one name")?;
            says(is_sha256(sha256), "sha256 is 64 hexadecimal digits, in lower case")?;
            says((1..=MODEL_BYTES_MAX).contains(&bytes), "bytes is from 1 to 16 GiB")?;
        }
        says(!self.sources.is_empty(), "it has no source")?;
        let taken: usize = self.sources.iter().map(|source| source.take.len().max(1)).sum();
        match self.convert {
            None => says(taken == 1 + self.beside.len(), "without a conversion each file is one that is taken")?,
            Some(_) if !self.beside.is_empty() => says(false, "a conversion makes one file")?,
            Some(Convert::WhisperCt2) => says(taken >= 2, "whisper-ct2 takes tokenizer.json and the model's parts")?,
            Some(Convert::TfjsOnnx) => says(taken >= 2, "tfjs-onnx takes model.json and the weights' parts")?,
            Some(Convert::EfficientnetLiteOnnx) => says(taken == 1, "efficientnet-lite-onnx takes one file")?,
            Some(Convert::WordnetLabels) => says(taken == 2, "wordnet-labels takes numbers and names of classes")?,
        }
        self.check_picture()?;
        let alone = self.sources.len() == 1;
        self.sources.iter().try_for_each(|source| source.check(alone))
    }

    fn check_picture(&self) -> Result<(), String> {
        let outputs = match self.layout {
            Layout::Rows => 1,
            Layout::Detr | Layout::Embedding => 2,
            _ => return Ok(()),
        };
        let picture = self.picture.as_ref().ok_or("this layout needs [model.picture]")?;
        let sides = PICTURE_SIDE_MIN..=PICTURE_SIDE_MAX;
        if !sides.contains(&picture.width) || !sides.contains(&picture.height) {
            return Err(format!("a picture has {PICTURE_SIDE_MIN} to {PICTURE_SIDE_MAX} pixels on each side"));
        }
        if !picture.deviation.iter().all(|number| number.is_normal()) || !picture.mean.iter().all(|n| n.is_finite()) {
            return Err("mean and deviation are numbers, and deviation is not 0".into());
        }
        if self.outputs.len() != outputs {
            return Err(format!("this layout has {outputs} outputs"));
        }
        if self.labels.is_empty() == self.labels_of.is_none() {
            return Err("a model has either labels or labels_of".into());
        }
        Ok(())
    }

    /// Whether it understands the language; `None` asks whether it finds out which it is.
    pub fn understands(&self, language: Option<&str>) -> bool {
        let any = self.languages.iter().any(|code| code == "any");
        any || language.is_some_and(|language| self.languages.iter().any(|code| code == language))
    }
}

impl Source {
    /// What comes `alone` and is no package has the model's own hash.
    fn check(&self, alone: bool) -> Result<(), String> {
        match (&self.pip, &self.npm, &self.url) {
            (Some(pip), None, None)
                if pip.split_once("==").is_some_and(|(name, version)| word(name) && word(version)) => {}
            (None, Some(npm), None)
                if npm.rsplit_once('@').is_some_and(|(name, version)| word(name) && word(version)) => {}
            (None, None, Some(url)) if is_secure(url) => {}
            (None, None, Some(url)) => return Err(format!("{url}: only https is fetched")),
            _ => return Err("a source has one of pip = \"NAME==VERSION\", npm = \"NAME@VERSION\" and url".into()),
        }
        if self.take.iter().any(|name| name.starts_with('/') || name.split('/').any(|part| part == "..")) {
            return Err("a file to take lies inside its package".into());
        }
        match &self.sha256 {
            Some(sha256) if !is_sha256(sha256) => Err("sha256 is 64 hexadecimal digits, in lower case".into()),
            None if self.url.is_none() || !self.take.is_empty() => Err("a package needs its sha256".into()),
            None if !alone => Err("each of several sources needs its sha256".into()),
            _ if self.url.is_none() && self.take.is_empty() => Err("what is to be taken from the package?".into()),
            _ => Ok(()),
        }
    }
}

/// Names and versions of packages; nothing that a tool could take for an option or an address.
fn word(text: &str) -> bool {
    let inner = text.strip_prefix('@').unwrap_or(text);
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || ".-_/+".contains(letter);
    inner.starts_with(|letter: char| letter.is_ascii_alphanumeric()) && inner.chars().all(allowed)
}

/// Tests fetch from this machine, where there is nobody in between.
fn is_secure(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://127.0.0.1:")
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit))
}

#[cfg(test)]
mod tests;
