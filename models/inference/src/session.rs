//! Opening ONNX Runtime's library and models.

use std::{path::Path, sync::Mutex};

use ort::{
    environment::Environment,
    ep::{ArenaExtendStrategy, CUDA, cuda::ConvAlgorithmSearch},
    session::Session,
};

use crate::{Error, ErrorKind};

/// What a model runs on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Device {
    /// The machine's processor.
    #[default]
    Cpu,
    /// The only graphics card that CUDA sees. A model that can't be had on it fails, see [`ErrorKind::Card`]; it never runs
    /// on the processor in its place.
    Card,
}

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

/// How a model is opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Means<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) device: Device,
    pub(crate) threads: u32,
}

/// How long a thread looks for its next share of work before it sleeps, in microseconds: to be woken takes about as long as
/// a step of a model. Of `open_nsfw` on two cores a picture takes 16.0 ms with this, 19.8 without; with ONNX Runtime's own
/// 15.5, but then a core goes on looking when the picture is done.
const SPIN_US: &str = "50";

/// Loads a model that runs in so many threads.
pub(crate) fn open(means: Means<'_>, model: &Path) -> Result<Session, Error> {
    let Means { environment, device, threads } = means;
    let open = || -> Result<Session, String> {
        let mut builder = Session::builder(environment).map_err(|error| error.to_string())?;
        if device == Device::Card {
            builder = builder
                .with_execution_providers([card().build().error_on_failure()])
                .map_err(|error| error.to_string())?;
        }
        let builder = builder.with_intra_threads(threads.max(1) as usize).map_err(|error| error.to_string())?;
        let builder = builder
            .with_config_entry("session.intra_op.spin_duration_us", SPIN_US)
            .map_err(|error| error.to_string())?;
        let mut builder = builder.with_inter_threads(1).map_err(|error| error.to_string())?;
        builder.commit_from_file(model).map_err(|error| error.to_string())
    };
    open().map_err(|why| match device {
        Device::Cpu => wrong(model, &why),
        Device::Card => {
            let why = why.trim();
            Error::new(ErrorKind::Card, format!("{} can't be had on the card: {why}", model.display()))
        }
    })
}

/// What ONNX Runtime's provider for CUDA is told.
fn card() -> CUDA {
    CUDA::default()
        .with_device_id(0)
        // Others use the card too: no memory is taken before it is needed.
        .with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested)
        // Trying all ways of a convolution at each start would take longer than a window.
        .with_conv_algorithm_search(ConvAlgorithmSearch::Heuristic)
        // A picture has one score, whoever looks at it: products of 10-bit mantissas differ from a processor's.
        .with_tf32(false)
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
