//! Senses: children that listen or look, one for each model, kept warm between leases.
//!
//! Holds them and asks them; when one is loaded and let go is the agent's to say. What a card refuses is done on the
//! processor, within the same window's time. Called by `run`.

use std::{
    collections::BTreeMap,
    sync::{Mutex as StdMutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use millrace_media::{Failure, FailureKind, Glance, Listener, Loaded, Looker, Window};
use millrace_proto::{captions::Heard, vision::Sights};
use tokio::{
    sync::Mutex,
    time::{error::Elapsed, timeout},
};

/// A card that refused a model is left alone by it for so long.
const ASIDE: Duration = Duration::from_mins(5);

/// A model that was proved, with the child that did it.
#[derive(Debug)]
pub struct Sense {
    /// Its name in the catalogue.
    pub id: String,
    /// Of its weights.
    pub version: String,
    /// Has it loaded.
    pub child: Child,
    /// Does the same on the processor, where `child` has a card; it is loaded when that one refuses.
    pub spare: Option<Child>,
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

    async fn hear(&mut self, window: &Window, init: &Bytes, segments: &[Bytes]) -> Result<Heard, Failure> {
        match self {
            Self::Ear(listener) => listener.hear(window, init, segments).await,
            Self::Eye(_) => Err(Failure::new(FailureKind::Unsupported, "this model does not hear")),
        }
    }

    async fn look(&mut self, glance: &Glance, init: &Bytes, segments: &[Bytes]) -> Result<Sights, Failure> {
        match self {
            Self::Eye(looker) => looker.look(glance, init, segments).await,
            Self::Ear(_) => Err(Failure::new(FailureKind::Unsupported, "this model does not look")),
        }
    }
}

/// A model that is kept.
#[derive(Debug)]
struct Kept {
    version: String,
    child: Mutex<Child>,
    spare: Option<Spare>,
}

/// What stands in for a card.
#[derive(Debug)]
struct Spare {
    child: Mutex<Child>,
    /// Until then the card is left alone.
    aside: StdMutex<Option<Instant>>,
}

impl Kept {
    /// The spare, where the other child has a card that is not left alone just now.
    fn spare_of_card(&self) -> Option<&Spare> {
        self.spare.as_ref().filter(|spare| !spare.is_in_turn())
    }

    /// The child that is asked without a card.
    fn without_card(&self) -> &Mutex<Child> {
        self.spare.as_ref().map_or(&self.child, |spare| &spare.child)
    }

    /// The child that is asked first.
    fn first(&self) -> &Mutex<Child> {
        if self.spare_of_card().is_some() { &self.child } else { self.without_card() }
    }
}

impl Spare {
    fn is_in_turn(&self) -> bool {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| Instant::now() < until)
    }

    fn leave_card(&self) {
        *self.aside.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + ASIDE);
    }
}

/// What came of asking a child with a card; nothing where the processor is to be asked.
fn unless_of_card<A>(id: &str, came: Result<Result<A, Failure>, Elapsed>) -> Option<Result<A, Failure>> {
    let message = match came {
        Ok(Err(failure)) if is_of_card(&failure) => failure.message,
        Ok(answer) => return Some(answer),
        Err(_) => "it took more than half of the time".into(),
    };
    tracing::warn!(model = id, message, "the card did not do it; the processor will");
    None
}

/// Whether without its card the child might do better. What is asked or the media may be at fault otherwise, and would be so
/// again.
fn is_of_card(failure: &Failure) -> bool {
    use FailureKind as Kind;
    failure.card.is_some() || matches!(failure.kind, Kind::Crashed | Kind::TimedOut | Kind::Limit | Kind::NotStarted)
}

/// All of them.
#[derive(Debug, Default)]
pub struct Senses(BTreeMap<String, Kept>);

impl Senses {
    /// By their models' names.
    pub fn new(senses: Vec<Sense>) -> Self {
        let kept = |Sense { id, version, child, spare }| {
            let spare = spare.map(|child| Spare { child: Mutex::new(child), aside: StdMutex::default() });
            (id, Kept { version, child: Mutex::new(child), spare })
        };
        Self(senses.into_iter().map(kept).collect())
    }

    /// Loads a model, unless it is loaded. Who needs it hears of a failure.
    pub async fn warm(&self, id: &str) {
        let Some(kept) = self.0.get(id) else { return };
        let mut child = kept.first().lock().await;
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
        let Some(kept) = self.0.get(id) else { return };
        let mut cooled = kept.child.lock().await.cool();
        if let Some(spare) = &kept.spare {
            cooled |= spare.child.lock().await.cool();
        }
        if cooled {
            tracing::info!(model = id, "a model is let go: nothing has needed it for long");
        }
    }

    /// Hears one window with a model, within `time` if a card is to leave some to the processor; also tells the version of it.
    /// One window at a time for each model.
    pub async fn hear(
        &self,
        id: &str,
        window: &Window,
        (init, segments): (&Bytes, &[Bytes]),
        time: Duration,
    ) -> Result<(Heard, &str), Failure> {
        let kept = self.0.get(id).ok_or_else(|| missing(id))?;
        let on_card = kept.spare_of_card();
        if on_card.is_some() {
            let mut child = kept.child.lock().await;
            let heard = timeout(time / 2, child.hear(window, init, segments)).await;
            if let Some(heard) = unless_of_card(id, heard) {
                return Ok((heard?, &kept.version));
            }
            child.cool();
        }
        let heard = kept.without_card().lock().await.hear(window, init, segments).await?;
        // What the processor does as little says nothing of the card.
        if let Some(spare) = on_card {
            spare.leave_card();
        }
        Ok((heard, &kept.version))
    }

    /// Looks at one window with a model, as [`Self::hear`] hears one.
    pub async fn look(
        &self,
        id: &str,
        glance: &Glance,
        (init, segments): (&Bytes, &[Bytes]),
        time: Duration,
    ) -> Result<(Sights, &str), Failure> {
        let kept = self.0.get(id).ok_or_else(|| missing(id))?;
        let on_card = kept.spare_of_card();
        if on_card.is_some() {
            let mut child = kept.child.lock().await;
            let seen = timeout(time / 2, child.look(glance, init, segments)).await;
            if let Some(seen) = unless_of_card(id, seen) {
                return Ok((seen?, &kept.version));
            }
            child.cool();
        }
        let seen = kept.without_card().lock().await.look(glance, init, segments).await?;
        // What the processor does as little says nothing of the card.
        if let Some(spare) = on_card {
            spare.leave_card();
        }
        Ok((seen, &kept.version))
    }
}

fn missing(id: &str) -> Failure {
    Failure::new(FailureKind::Unsupported, format!("the model {id} for that is not here"))
}

#[cfg(test)]
mod tests {
    use millrace_media::card::Refusal;

    use super::*;

    #[test]
    fn only_what_a_card_may_have_to_do_with_is_done_again_without() {
        let failure = |kind| Failure::new(kind, "");
        let kinds = [FailureKind::Crashed, FailureKind::TimedOut, FailureKind::Limit, FailureKind::NotStarted];
        assert!(kinds.into_iter().all(|kind| is_of_card(&failure(kind))));
        assert!(!is_of_card(&failure(FailureKind::BadInput)) && !is_of_card(&failure(FailureKind::Unsupported)));
        assert!(is_of_card(&failure(FailureKind::Unsupported).of_card(Refusal::Missing)));
    }
}
