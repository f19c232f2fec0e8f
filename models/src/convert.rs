//! Conversions, each of which gives the same bytes every time.

mod ct2;
mod efficientnet;
mod ggml;
mod half;
mod labels;
mod mel;
mod onnx;
mod tfjs;
mod torch;

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

/// Bytes of the largest weights that are converted: they are in memory as a whole.
const WEIGHTS_BYTES_MAX: u64 = 4 << 30;

/// A float16 Whisper of `CTranslate2`, its `model.bin` in parts, becomes a ggml file of whisper.cpp.
pub(crate) fn whisper(tokenizer: &Path, parts: &[PathBuf], out: &Path) -> Result<(), String> {
    let weights = joined(parts)?;
    let model = ct2::Model::read(&weights)?;
    let tokens = ggml::tokens(&read(tokenizer)?)?;
    let mut file = BufWriter::new(File::create(out).map_err(|error| error.to_string())?);
    ggml::write(&model, &tokens, &mut file)?;
    file.flush().map_err(|error| error.to_string())
}

/// A graph model of TensorFlow.js, its weights in parts, becomes an ONNX file with these outputs.
pub(crate) fn tfjs(json: &Path, parts: &[PathBuf], outputs: &[String], out: &Path) -> Result<(), String> {
    write(out, &tfjs::convert(&read(json)?, &joined(parts)?, outputs)?)
}

/// `PyTorch`'s weights of an EfficientNet-Lite become an ONNX file.
pub(crate) fn efficientnet(weights: &Path, side: u32, out: &Path) -> Result<(), String> {
    write(out, &efficientnet::convert(&torch::read(&read(weights)?)?, side.into())?)
}

/// `WordNet`'s numbers of classes and what each is called become a list of names, one a line.
pub(crate) fn labels(synsets: &Path, lemmas: &Path, out: &Path) -> Result<(), String> {
    write(out, labels::names(&read(synsets)?, &read(lemmas)?)?.as_bytes())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > WEIGHTS_BYTES_MAX {
        return Err(format!("it has more than {WEIGHTS_BYTES_MAX} bytes"));
    }
    fs::read(path).map_err(|error| error.to_string())
}

fn joined(parts: &[PathBuf]) -> Result<Vec<u8>, String> {
    let mut weights = Vec::new();
    for part in parts {
        weights.extend(read(part)?);
        if weights.len() as u64 > WEIGHTS_BYTES_MAX {
            return Err(format!("its weights have more than {WEIGHTS_BYTES_MAX} bytes"));
        }
    }
    Ok(weights)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|error| error.to_string())
}
