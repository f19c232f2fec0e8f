//! Conversions, each of which gives the same bytes every time.

mod ct2;
mod ggml;
mod mel;

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

/// Bytes of the largest weights that are converted: they are in memory as a whole.
const WEIGHTS_BYTES_MAX: u64 = 4 << 30;

/// A float16 Whisper of `CTranslate2`, its `model.bin` in parts, becomes a ggml file of whisper.cpp.
pub(crate) fn whisper(tokenizer: &Path, parts: &[PathBuf], out: &Path) -> Result<(), String> {
    let told = |error: std::io::Error| error.to_string();
    let mut weights = Vec::new();
    for part in parts {
        let more = fs::metadata(part).map_err(told)?.len();
        if weights.len() as u64 + more > WEIGHTS_BYTES_MAX {
            return Err(format!("its weights have more than {WEIGHTS_BYTES_MAX} bytes"));
        }
        weights.extend(fs::read(part).map_err(told)?);
    }
    let model = ct2::Model::read(&weights)?;
    let tokens = ggml::tokens(&fs::read(tokenizer).map_err(told)?)?;
    let mut file = BufWriter::new(File::create(out).map_err(told)?);
    ggml::write(&model, &tokens, &mut file)?;
    file.flush().map_err(told)
}
