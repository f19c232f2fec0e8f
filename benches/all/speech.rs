//! Speech whose words are known: recordings of a book that is read aloud, with pictures beside them; and how many words of
//! them are wrong.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::kit::{Kit, run};

/// Of the Debian package `pocketsphinx-testdata`: five sentences of Sense and Sensibility, read for `LibriVox`.
const FOLDER: &str = "/usr/share/pocketsphinx/test/data/librivox";

/// Sound of 16 kHz, and what is said in it.
#[derive(Debug)]
pub(crate) struct Speech {
    pub(crate) wav: PathBuf,
    pub(crate) words: Vec<String>,
    pub(crate) seconds: f64,
}

impl Speech {
    /// All recordings one after the other, as often as asked for.
    pub(crate) fn read(kit: &Kit, times: usize) -> Result<Self> {
        let list = fs::read_to_string(format!("{FOLDER}/transcription"));
        let list = list.context("there is no speech: benches/run installs pocketsphinx-testdata")?;
        let mut all: Vec<(String, Vec<String>)> = list
            .lines()
            .filter_map(|line| {
                let (words, name) = line.trim().strip_suffix(')')?.rsplit_once('(')?;
                Some((format!("{FOLDER}/{name}.wav"), plain(&words.replace("<s>", " ").replace("</s>", " "))))
            })
            .collect();
        all.sort();
        ensure!(!all.is_empty(), "the list of recordings is empty");
        let all: Vec<_> = (0..times).flat_map(|_| all.iter()).collect();
        let wav = kit.folder(&format!("speech-{times}"))?.join("speech.wav");
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-nostdin"]);
        for (file, _) in &all {
            command.args(["-i", file]);
        }
        let parts: Vec<String> = (0..all.len()).map(|at| format!("[{at}:a]")).collect();
        command.args([
            "-filter_complex",
            &format!("{}concat=n={}:v=0:a=1[a]", parts.concat(), all.len()),
            "-map",
            "[a]",
        ]);
        run(command.args(["-c:a", "pcm_s16le", "-ar", "16000", "-ac", "1"]).arg(&wav))?;
        let seconds = fs::metadata(&wav)?.len() as f64 / 32_000.0;
        Ok(Self { wav, words: all.into_iter().flat_map(|(_, words)| words.clone()).collect(), seconds })
    }

    /// Words that are wrong, missing or too many in `heard`.
    pub(crate) fn errors(&self, heard: &str) -> usize {
        errors(&self.words, &plain(heard))
    }

    /// The same for each word that is said.
    pub(crate) fn rate(&self, wrong: usize) -> f64 {
        wrong as f64 / self.words.len() as f64
    }
}

/// Natural pictures of 640x360 with `sound` (a file, or a source of FFmpeg's) beside them, as a publisher sends it.
pub(crate) fn filmed(kit: &Kit, name: &str, sound: &[&str], seconds: f64) -> Result<PathBuf> {
    let file = kit.folder(&format!("filmed-{name}"))?.join(format!("{name}.mp4"));
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-stream_loop", "-1", "-i"]).arg(kit.clip("trailer.mp4")?);
    command.args(sound).args(["-map", "0:v", "-map", "1:a", "-vf", "scale=640:360", "-c:v", "libx264"]);
    command.args(["-preset", "ultrafast", "-crf", "24", "-pix_fmt", "yuv420p", "-sc_threshold", "0"]);
    command.args(["-force_key_frames", "expr:gte(t,n_forced*2)", "-c:a", "aac", "-b:a", "96k", "-ar", "48000"]);
    run(command.args(["-t", &format!("{seconds:.2}")]).arg(&file))?;
    Ok(file)
}

/// As text of a command line.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("the scratch folder's name is text")
}

/// Words as they are compared: without signs, as they are spoken.
fn plain(words: &str) -> Vec<String> {
    let spoken = words.to_lowercase().replace(|letter: char| !letter.is_alphanumeric(), " ");
    spoken.split_whitespace().map(|word| if word == "mr" { "mister".into() } else { word.to_owned() }).collect()
}

/// Levenshtein's distance in words.
fn errors(said: &[String], heard: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (at, word) in said.iter().enumerate() {
        let mut corner = row[0];
        row[0] = at + 1;
        for (place, other) in heard.iter().enumerate() {
            let changed = corner + usize::from(word != other);
            corner = row[place + 1];
            row[place + 1] = changed.min(corner + 1).min(row[place] + 1);
        }
    }
    row[heard.len()]
}
