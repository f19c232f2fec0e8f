//! Senses: children that listen or look, one for each model, kept warm between leases.
//!
//! Holds them and asks them; when one is loaded and let go is the agent's to say. Called by `run`.

use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_media::{Failure, FailureKind, Glance, Listener, Loaded, Looker, Window};
use millrace_proto::{captions::Heard, vision::Sights};
use tokio::sync::Mutex;

/// A model that was proved, with the child that did it.
#[derive(Debug)]
pub struct Sense {
    /// Its name in the catalogue.
    pub id: String,
    /// Of its weights.
    pub version: String,
    /// Has it loaded.
    pub child: Child,
}

/// A child that is kept.
#[derive(Debug)]
pub enum Child {
    /// Hears windows of sound.
    Ear(Listener),
    /// Looks at windows of pictures.
    Eye(Looker),
}

impl Child {
    fn is_warm(&self) -> bool {
        match self {
            Self::Ear(listener) => listener.is_warm(),
            Self::Eye(looker) => looker.is_warm(),
        }
    }

    fn cool(&mut self) -> bool {
        match self {
            Self::Ear(listener) => listener.cool(),
            Self::Eye(looker) => looker.cool(),
        }
    }

    async fn warm(&mut self) -> Result<Loaded, Failure> {
        match self {
            Self::Ear(listener) => listener.warm().await,
            Self::Eye(looker) => looker.warm().await,
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Senses(BTreeMap<String, (String, Mutex<Child>)>);

impl Senses {
    /// By their models' names.
    pub fn new(senses: Vec<Sense>) -> Self {
        Self(senses.into_iter().map(|Sense { id, version, child }| (id, (version, Mutex::new(child)))).collect())
    }

    /// Loads a model, unless it is loaded. Who needs it hears of a failure.
    pub async fn warm(&self, id: &str) {
        let Some((_, child)) = self.0.get(id) else { return };
        let mut child = child.lock().await;
        if child.is_warm() {
            return;
        }
        match child.warm().await {
            Ok(loaded) => tracing::info!(model = id, load_ms = loaded.load_ms, "a model is loaded"),
            Err(failure) => tracing::warn!(model = id, message = failure.message, "a model can't be loaded"),
        }
    }

    /// Gives a model's memory back.
    pub async fn cool(&self, id: &str) {
        let Some((_, child)) = self.0.get(id) else { return };
        if child.lock().await.cool() {
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
        let (version, child) = self.0.get(id).ok_or_else(|| missing(id))?;
        match &mut *child.lock().await {
            Child::Ear(listener) => Ok((listener.hear(window, init, segments).await?, version)),
            Child::Eye(_) => Err(missing(id)),
        }
    }

    /// Looks at one window with a model, as [`Self::hear`] hears one.
    pub async fn look(
        &self,
        id: &str,
        glance: &Glance,
        init: &Bytes,
        segments: &[Bytes],
    ) -> Result<(Sights, &str), Failure> {
        let (version, child) = self.0.get(id).ok_or_else(|| missing(id))?;
        match &mut *child.lock().await {
            Child::Eye(looker) => Ok((looker.look(glance, init, segments).await?, version)),
            Child::Ear(_) => Err(missing(id)),
        }
    }
}

fn missing(id: &str) -> Failure {
    Failure::new(FailureKind::Unsupported, format!("the model {id} for that is not here"))
}
