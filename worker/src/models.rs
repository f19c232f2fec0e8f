//! The models of this machine: what the catalogue knows, what of it lies in the cache, and the commands that fetch, list
//! and verify it.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use millrace_models::{Cache, Catalog, Error, ErrorKind, Model, Step, default_root, fetch};
use serde::Serialize;

use crate::cli::Place;

/// The catalogue and the cache.
#[derive(Debug, Clone)]
pub struct Shelf {
    /// What is known.
    pub catalog: Catalog,
    /// Where it lies.
    pub cache: Cache,
}

/// What is told of a model.
#[derive(Debug, Serialize)]
struct Told<'a> {
    id: &'a str,
    task: millrace_models::Task,
    state: State,
    version: &'a str,
    licence: &'a str,
    bytes: u64,
    languages: &'a [String],
    default: bool,
    about: &'a str,
    path: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// What of a model is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// It came just now.
    Fetched,
    /// It lies there; not looked at as a whole.
    Present,
    /// It is there, byte by byte.
    Whole,
    /// It is not there.
    Missing,
    /// It is there and not as it should be.
    Damaged,
    /// It could not be had or looked at.
    Failed,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Present => "present",
            Self::Whole => "whole",
            Self::Missing => "missing",
            Self::Damaged => "damaged",
            Self::Failed => "failed",
        }
    }
}

impl From<&Error> for State {
    fn from(error: &Error) -> Self {
        match error.kind {
            ErrorKind::Missing => Self::Missing,
            ErrorKind::Damaged => Self::Damaged,
            ErrorKind::Catalog | ErrorKind::Unknown | ErrorKind::Unreachable | ErrorKind::Cache => Self::Failed,
        }
    }
}

impl Shelf {
    /// The built-in catalogue with the user's, and the folder that the user names or has.
    pub fn open(place: &Place) -> Result<Self, Error> {
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        let folder = place.folder.clone().or_else(|| default_root(variable("XDG_CACHE_HOME"), variable("HOME")));
        // Without a home there is nothing in it; who fetches is told by the first write.
        let cache = Cache::new(folder.unwrap_or_else(|| "models".into()));
        let catalog = Catalog::built_in();
        let catalog = match &place.catalog {
            Some(path) => catalog.with(path)?,
            None => catalog,
        };
        Ok(Self { catalog, cache })
    }

    /// The built-in catalogue and a folder.
    pub fn empty(folder: PathBuf) -> Self {
        Self { catalog: Catalog::built_in(), cache: Cache::new(folder) }
    }

    /// Fetches those named, or the default ones; goes on behind one that fails.
    pub async fn fetch(&self, ids: &[String], json: bool, out: &mut impl Write) -> anyhow::Result<()> {
        let mut failed = 0;
        for model in self.named(ids, |model| model.default)? {
            let bar = bar(model, json);
            let result = fetch(model, &self.cache, &|step| show(&bar, &step)).await;
            let new = bar.message() == FETCHED;
            bar.finish_and_clear();
            let state = result.as_ref().map_or_else(State::from, |_| if new { State::Fetched } else { State::Whole });
            failed += u32::from(result.is_err());
            self.tell(model, state, result.err(), json, out)?;
        }
        anyhow::ensure!(failed == 0, "{failed} could not be fetched");
        Ok(())
    }

    /// Tells what the catalogue knows and what of it lies there.
    pub fn list(&self, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
        for model in self.catalog.models() {
            let state = if self.cache.has(model) { State::Present } else { State::Missing };
            self.tell(model, state, None, json, out)?;
        }
        Ok(())
    }

    /// Reads those named, or all that lie there.
    pub fn verify(&self, ids: &[String], json: bool, out: &mut impl Write) -> anyhow::Result<()> {
        let mut failed = 0;
        for model in self.named(ids, |model| self.cache.has(model))? {
            let result = self.cache.check(model);
            let state = result.as_ref().map_or_else(State::from, |_| State::Whole);
            failed += u32::from(result.is_err());
            self.tell(model, state, result.err(), json, out)?;
        }
        anyhow::ensure!(failed == 0, "{failed} not as the catalogue says");
        Ok(())
    }

    fn named(&self, ids: &[String], otherwise: impl Fn(&Model) -> bool) -> Result<Vec<&Model>, Error> {
        if ids.is_empty() {
            return Ok(self.catalog.models().iter().filter(|model| otherwise(model)).collect());
        }
        ids.iter().map(|id| self.catalog.get(id)).collect()
    }

    fn tell(
        &self,
        model: &Model,
        state: State,
        error: Option<Error>,
        json: bool,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        let Model { id, task, version, licence, languages, default, about, .. } = model;
        let bytes = model.bytes_in_all();
        let message = error.map(|error| error.message);
        if json {
            let (path, task) = (self.cache.path(model), *task);
            let default = *default;
            let told = Told { id, task, state, version, licence, bytes, languages, default, about, path, message };
            writeln!(out, "{}", serde_json::to_string(&told)?)?;
        } else {
            let (state, mib) = (state.as_str(), bytes.div_ceil(1 << 20));
            let end = message.map_or_else(|| format!("{about} ({licence})"), |message| format!("error: {message}"));
            writeln!(out, "{id:<16} {state:<8} {mib:>6} MiB  {end}")?;
        }
        out.flush()?;
        Ok(())
    }
}

const FETCHED: &str = "fetched";

/// For people at a terminal; nobody else sees it.
fn bar(model: &Model, json: bool) -> ProgressBar {
    if json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden().with_prefix(model.id.clone());
    }
    let bar = ProgressBar::new_spinner().with_prefix(model.id.clone());
    let style = ProgressStyle::with_template("{prefix} {spinner} {wide_msg} {elapsed}").expect("it is a template");
    bar.set_style(style);
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn show(bar: &ProgressBar, step: &Step) {
    match step {
        Step::Waiting => bar.set_message("another program fetches it: waiting"),
        Step::Package(name) => bar.set_message(format!("fetching the package {name}")),
        Step::Bytes(have, total) => {
            if let Some(total) = total.filter(|total| bar.length() != Some(*total)) {
                let template = "{prefix} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
                bar.set_style(ProgressStyle::with_template(template).expect("it is a template"));
                bar.set_length(total);
            }
            bar.set_position(*have);
        }
        Step::Converting => bar.set_message("checking and converting"),
        Step::Done(new) => bar.set_message(if *new { FETCHED } else { "" }),
    }
}
