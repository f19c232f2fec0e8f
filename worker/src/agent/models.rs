//! Which model a lease is done with, and which models are loaded: warm. Called by the tasks, through the outbox.
//!
//! A model is loaded when it is proved, before anything is asked of it, or as soon as a lease that needs it is taken, while
//! its inputs are fetched. It stays, and is let go when nothing has needed it for a while. The driver holds what is loaded; here is what is known of it.

use millrace_proto::{
    offer::{Capability, Model, Offer},
    task::Work,
};

use super::Output;

/// A model that nothing has needed for so long gives its memory back.
const IDLE_MS: u64 = 10 * 60_000;

#[derive(Debug)]
struct Known {
    model: Model,
    /// Leases that need it.
    leases: u32,
    /// It has worked since it was loaded last.
    proven: bool,
    /// It was asked to be loaded, and not to be let go since.
    wanted: bool,
    idle_since_ms: u64,
}

/// All models that are offered.
#[derive(Debug)]
pub(super) struct Models(Vec<Known>);

impl Models {
    pub(super) fn new(offered: &[Model]) -> Self {
        let known = |model: &Model| Known {
            model: model.clone(),
            leases: 0,
            proven: model.warm,
            wanted: model.warm,
            idle_since_ms: 0,
        };
        Self(offered.iter().map(known).collect())
    }

    /// The model for such work: one that is warm if there is one, or else the best. `Err` if none of them does it, and
    /// nothing for work that takes none.
    pub(super) fn choose(&self, work: &Work) -> Result<Option<String>, String> {
        let (capability, language, id) = match work {
            Work::Transcode(_) => return Ok(None),
            Work::Captions(work) => {
                (Capability::Captions, work.language.as_deref().filter(|_| !work.translate), &work.model)
            }
            Work::Look(work) => (work.capability, None, &work.model),
        };
        let models = self.0.iter().map(|known| known.model.clone()).collect();
        let offer = Offer { models, ..Offer::default() };
        let fits: Vec<&str> = offer.models_for(capability, language, id.as_deref()).map(|model| &*model.id).collect();
        let warm = |id: &&&str| self.0.iter().any(|known| known.model.id == **id && known.proven);
        let chosen = fits.iter().find(warm).or(fits.first());
        let chosen = chosen.ok_or("this worker has no model that does what is asked for")?;
        Ok(Some((*chosen).to_owned()))
    }

    fn get(&mut self, id: &str) -> Option<&mut Known> {
        self.0.iter_mut().find(|known| known.model.id == id)
    }

    /// A lease needs the model from now on; returns what is to be done.
    pub(super) fn take(&mut self, id: &str) -> Option<Output> {
        let known = self.get(id)?;
        known.leases += 1;
        known.wanted = true;
        Some(Output::Warm { model: id.to_owned() })
    }

    /// It did what a lease asked of it, or failed at it: then nobody knows whether it is still loaded.
    pub(super) fn worked(&mut self, id: &str, well: bool) {
        if let Some(known) = self.get(id) {
            known.proven = well;
        }
    }

    /// A lease needs it no more.
    pub(super) fn give_back(&mut self, id: &str, now_ms: u64) {
        if let Some(known) = self.get(id) {
            known.leases = known.leases.saturating_sub(1);
            known.idle_since_ms = now_ms;
        }
    }

    /// Those that are loaded.
    pub(super) fn warm(&self) -> Vec<String> {
        self.0.iter().filter(|known| known.proven).map(|known| known.model.id.clone()).collect()
    }

    /// When one is to be let go.
    pub(super) fn wake_ms(&self) -> Option<u64> {
        let idle = self.0.iter().filter(|known| known.wanted && known.leases == 0);
        idle.map(|known| known.idle_since_ms.saturating_add(IDLE_MS)).min()
    }

    /// Lets go of those that nothing has needed for a while.
    pub(super) fn cool(&mut self, now_ms: u64) -> Vec<Output> {
        let idle = self.0.iter_mut().filter(|known| known.wanted && known.leases == 0);
        let old = idle.filter(|known| known.idle_since_ms.saturating_add(IDLE_MS) <= now_ms);
        old.map(|known| {
            (known.wanted, known.proven) = (false, false);
            Output::Cool { model: known.model.id.clone() }
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use millrace_proto::task::Captions;

    use super::*;
    use crate::agent::testing;

    fn models() -> Models {
        Models::new(&[testing::model("base", "any"), testing::model("tiny.en", "en")])
    }

    fn chosen(models: &Models, language: Option<&str>, translate: bool, id: Option<&str>) -> Result<String, String> {
        let (language, model) = (language.map(str::to_owned), id.map(str::to_owned));
        let work = Work::Captions(Captions { language, translate, model, ..Captions::default() });
        models.choose(&work).map(|chosen| chosen.expect("captions take one"))
    }

    #[test]
    fn the_best_that_fits_does_it_and_a_warm_one_before_it() {
        let mut models = models();
        assert_eq!(chosen(&models, Some("en"), false, None).unwrap(), "base");
        assert_eq!(chosen(&models, Some("en"), false, Some("tiny.en")).unwrap(), "tiny.en");
        models.take("tiny.en");
        assert!(models.warm().is_empty(), "nobody knows yet whether it can be loaded");
        models.worked("tiny.en", true);
        assert_eq!(
            (models.warm(), chosen(&models, Some("en"), false, None).unwrap()),
            (vec!["tiny.en".into()], "tiny.en".into())
        );
        for (language, translate) in [(None, false), (Some("de"), false), (Some("en"), true)] {
            assert_eq!(chosen(&models, language, translate, None).unwrap(), "base", "{language:?} {translate}");
        }
        assert!(chosen(&models, Some("de"), false, Some("tiny.en")).is_err());
        assert!(chosen(&models, None, false, Some("large")).is_err());
        assert_eq!(models.choose(&testing::lease("l-1").work), Ok(None));
    }

    #[test]
    fn what_was_proved_is_warm_until_it_has_been_idle() {
        let proved = Model { warm: true, ..testing::model("base", "any") };
        let mut models = Models::new(&[proved, testing::model("tiny.en", "en")]);
        assert_eq!((models.warm(), models.wake_ms()), (vec!["base".into()], Some(IDLE_MS)));
        assert_eq!(models.cool(IDLE_MS), [Output::Cool { model: "base".into() }]);
        assert!(models.warm().is_empty());
    }

    #[test]
    fn what_nothing_needs_is_let_go() {
        let mut models = models();
        assert_eq!(models.take("base"), Some(Output::Warm { model: "base".into() }));
        models.worked("base", true);
        assert_eq!((models.wake_ms(), models.cool(u64::MAX)), (None, vec![]), "a lease needs it");
        models.give_back("base", 5_000);
        assert_eq!(models.wake_ms(), Some(5_000 + IDLE_MS));
        assert!(models.cool(4_999 + IDLE_MS).is_empty());
        assert_eq!(models.cool(5_000 + IDLE_MS), [Output::Cool { model: "base".into() }]);
        assert!(models.warm().is_empty() && models.cool(u64::MAX).is_empty() && models.wake_ms().is_none());
    }
}
