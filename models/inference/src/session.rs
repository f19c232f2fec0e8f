//! Opening ONNX Runtime's library and models.

use std::{path::Path, sync::Mutex};

use ort::{environment::Environment, session::Session};

use crate::{Error, ErrorKind};

/// A program has one for its life.
static OPEN: Mutex<Option<Environment>> = Mutex::new(None);

/// Opens the library. The first one that is opened is used for all that comes.
pub(crate) fn environment(runtime: &Path) -> Result<Environment, Error> {
    let mut known = OPEN.lock().expect("no holder panics");
    if let Some(environment) = &*known {
        return Ok(environment.clone());
    }
    let open = || {
        let builder = ort::init_from(runtime).map_err(|error| error.to_string())?;
        builder.with_name("millrace").with_telemetry(false).build().map_err(|error| error.to_string())
    };
    let environment = open().map_err(|why| wrong(runtime, &why))?;
    *known = Some(environment.clone());
    Ok(environment)
}

/// Loads a model that runs in so many threads, which sleep while they wait.
pub(crate) fn open(environment: &Environment, model: &Path, threads: u32) -> Result<Session, Error> {
    let open = || -> Result<Session, String> {
        let builder = Session::builder(environment).map_err(|error| error.to_string())?;
        let builder = builder.with_intra_threads(threads.max(1) as usize).map_err(|error| error.to_string())?;
        let builder = builder.with_intra_op_spinning(false).map_err(|error| error.to_string())?;
        let mut builder = builder.with_inter_threads(1).map_err(|error| error.to_string())?;
        builder.commit_from_file(model).map_err(|error| error.to_string())
    };
    open().map_err(|why| wrong(model, &why))
}

/// A model that lacks an output would be found out by its first picture alone.
pub(crate) fn has_outputs(session: &Session, model: &Path, names: &[String]) -> Result<(), Error> {
    let has = |name: &&String| session.outputs().iter().any(|output| output.name() == name.as_str());
    match names.iter().find(|name| !has(name)) {
        Some(name) => Err(wrong(model, &format!("it has no output {name}"))),
        None => Ok(()),
    }
}

fn wrong(what: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Model, format!("{} can't be loaded: {why}", what.display()))
}
