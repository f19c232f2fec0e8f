//! What an app asks of the things that pictures show.

use serde::{Deserialize, Serialize};

use super::{Invalid, MODEL_ID_LENGTH_MAX, is_model_id};
use crate::CatalogId;

/// How seldom pictures may be looked at, in milliseconds: a thing that is seen once in a minute is no appearance.
const EVERY_MS_MAX: u32 = 60_000;
/// How often they may be, in milliseconds: more tells nothing new of what moves at the pace of things.
const EVERY_MS_MIN: u32 = 200;

/// Things that are to be seen, found by workers that have a model for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Products {
    /// The detector to use, by its name in the workers' catalogues of models; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// A picture is looked at this often, in milliseconds.
    #[serde(default = "every_ms")]
    pub every_ms: u32,
    /// The catalogue of the app's own products that things are compared with, by its id; absent: they get the models'
    /// names alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<String>,
}

fn every_ms() -> u32 {
    1_000
}

impl Default for Products {
    fn default() -> Self {
        Self { model: None, every_ms: every_ms(), catalog: None }
    }
}

impl Products {
    /// The catalogue's id, if one is named and the profile was checked.
    pub fn catalog_id(&self) -> Option<CatalogId> {
        self.catalog.as_ref()?.parse().ok()
    }

    /// What is wrong with it.
    pub(super) fn check(&self) -> Result<(), Invalid> {
        if !(EVERY_MS_MIN..=EVERY_MS_MAX).contains(&self.every_ms) {
            return Err(Invalid(format!(
                "products.every_ms is {}: use {EVERY_MS_MIN} to {EVERY_MS_MAX}",
                self.every_ms
            )));
        }
        if self.model.as_ref().is_some_and(|model| !is_model_id(model)) {
            return Err(Invalid(format!(
                "products.model is no model's name: use 1 to {MODEL_ID_LENGTH_MAX} letters, digits, '.', '-' and '_', \
                 as millrace-worker models list shows them"
            )));
        }
        match self.catalog.as_ref().map(|id| id.parse::<CatalogId>()) {
            Some(Err(why)) => Err(Invalid(format!("products.catalog: {why}"))),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_the_value() {
        let refusal = |products: Products| products.check().unwrap_err().to_string();
        assert!(refusal(Products { every_ms: 40, ..Products::default() }).contains("every_ms is 40: use 200 to 60000"));
        let named = Products { model: Some("../x".into()), ..Products::default() };
        assert!(refusal(named).contains("products.model"));
        let of = |id: &str| Products { catalog: Some(id.into()), ..Products::default() };
        assert!(refusal(of("My Shop")).contains("products.catalog: \"My Shop\" is not a valid catalogue id"));
        assert!(of("my-shop").check().is_ok() && Products::default().check().is_ok());
    }
}
