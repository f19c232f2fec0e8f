//! Other programs that hear and see, in Python: each loads its model once, says so, and answers a line with a line of JSON.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    kit::Kit,
    speech::{Speech, text},
};

/// A script that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Peer {
    name: String,
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts `peers/NAME.py` and waits until it has loaded its model.
    pub(crate) fn start(kit: &Kit, name: &str, arguments: &[impl AsRef<OsStr>]) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(format!("{name}.py"));
        let mut command = Command::new(kit.python()?);
        command.arg(script).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("Python can't be started: benches/run installs it")?;
        let ask = child.stdin.take().context("it has an input")?;
        let answers = BufReader::new(child.stdout.take().context("it has an output")?);
        let mut peer = Self { name: name.to_owned(), child, ask, answers };
        let ready = peer.answer()?;
        ensure!(ready["ready"] == true, "{name} says {ready} in place of being ready");
        Ok(peer)
    }

    /// Asks for work on a file.
    pub(crate) fn ask(&mut self, file: &Path) -> Result<Value> {
        writeln!(self.ask, "{}", text(file))?;
        self.answer()
    }

    /// Its answer, which stands alone on a line that begins with a brace: libraries write lines of their own.
    fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.answers.read_line(&mut line)?;
            ensure!(read > 0, "{} ended: start it by hand, as in benches/all/peers.rs, to see why", self.name);
            if line.starts_with('{') {
                return serde_json::from_str(&line).with_context(|| format!("{} answers {line}", self.name));
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// whisper.cpp by way of Python, with our weights.
pub(crate) fn whisper_cpp(kit: &Kit, model: &str, threads: usize) -> Result<Peer> {
    let folder = kit.models().join(model);
    let name = model.strip_prefix("whisper-").context("a model of Whisper")?;
    let file = folder.join(format!("ggml-{name}.bin"));
    Peer::start(kit, "whisper_cpp", &[text(&file), &threads.to_string()])
}

/// faster-whisper in 8 bits, with the weights that ours were converted from, with or without the times of words; `None`
/// where benches/run has not fetched them.
pub(crate) fn faster_whisper(kit: &Kit, model: &str, threads: usize, words: bool) -> Result<Option<Peer>> {
    let folder = kit.tools().join("ctranslate2").join(model);
    if !folder.is_dir() {
        return Ok(None);
    }
    let threads = threads.to_string();
    let arguments = [text(&folder), threads.as_str(), "words"];
    Peer::start(kit, "faster_whisper_int8", if words { &arguments } else { &arguments[..2] }).map(Some)
}

/// What a peer writes of a whole file.
pub(crate) fn written(peer: &mut Peer, speech: &Speech) -> Result<String> {
    let answer = peer.ask(&speech.wav)?;
    Ok(answer["text"].as_str().context("it answers with a text")?.to_owned())
}

/// Seconds that a peer takes for a file.
pub(crate) fn took_s(peer: &mut Peer, file: &Path) -> Result<f64> {
    peer.ask(file)?["s"].as_f64().context("it answers with seconds")
}
