//! Ears: children that listen, one for each model, kept warm between leases.
//!
//! Holds them and asks them; when one is loaded and let go is the agent's to say. Called by `run`.

use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_media::{Failure, FailureKind, Launcher, Limits, Listener, Window, job::Listen};
use millrace_proto::captions::Heard;
use tokio::sync::Mutex;

/// A model that was proved, and what its child takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Ear {
    /// Its name in the catalogue.
    pub id: String,
    /// Of its weights.
    pub version: String,
    /// Where its files are.
    pub job: Listen,
    /// What the child may use.
    pub limits: Limits,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Ears(BTreeMap<String, (Ear, Mutex<Listener>)>);

impl Ears {
    /// Children that `launcher` starts when they are needed.
    pub fn new(launcher: &Launcher, ears: Vec<Ear>) -> Self {
        let cold = |ear: Ear| {
            let listener = launcher.listen(ear.job.clone(), &ear.limits);
            (ear.id.clone(), (ear, Mutex::new(listener)))
        };
        Self(ears.into_iter().map(cold).collect())
    }

    /// Loads a model, unless it is loaded. Who needs it hears of a failure.
    pub async fn warm(&self, id: &str) {
        let Some((_, listener)) = self.0.get(id) else { return };
        let mut listener = listener.lock().await;
        if listener.is_warm() {
            return;
        }
        match listener.warm().await {
            Ok(loaded) => tracing::info!(model = id, load_ms = loaded.load_ms, "a model is loaded"),
            Err(failure) => tracing::warn!(model = id, message = failure.message, "a model can't be loaded"),
        }
    }

    /// Gives a model's memory back.
    pub async fn cool(&self, id: &str) {
        let Some((_, listener)) = self.0.get(id) else { return };
        if listener.lock().await.cool() {
            tracing::info!(model = id, "a model is let go: nothing has needed it for long");
        }
    }

    /// Hears one window with a model; also tells the version of it. One window at a time for each model.
    pub async fn hear(
        &self,
        id: &str,
        window: &Window,
        init: &Bytes,
        segments: &[Bytes],
    ) -> Result<(Heard, &str), Failure> {
        let Some((ear, listener)) = self.0.get(id) else {
            return Err(Failure::new(FailureKind::Unsupported, format!("the model {id} is not here")));
        };
        let heard = listener.lock().await.hear(window, init, segments).await?;
        Ok((heard, &ear.version))
    }
}
