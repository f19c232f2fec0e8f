//! What an app asks of captions.

use serde::{Deserialize, Serialize};

use super::Invalid;
use crate::captions::language_name;

/// Captions of what is spoken, made by workers that have a model for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Captions {
    /// Code of what is spoken, see [`crate::captions::LANGUAGES`]; absent: the model finds out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// A second track, in English whatever is spoken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub translate: bool,
    /// The model to use, by its name in the workers' catalogues; absent: any that knows the language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// Longest name of a model.
pub const MODEL_ID_LENGTH_MAX: usize = 100;

/// Whether a text can be a model's name: letters, digits, dots, dashes and underscores.
pub fn is_model_id(text: &str) -> bool {
    let plain = |letter: u8| letter.is_ascii_alphanumeric() || b".-_".contains(&letter);
    (1..=MODEL_ID_LENGTH_MAX).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(plain)
}

impl Captions {
    /// What is wrong with it.
    pub(super) fn check(&self) -> Result<(), Invalid> {
        if let Some(code) = self.language.as_ref().filter(|code| language_name(code).is_none()) {
            let code: String = code.chars().take(20).collect();
            return Err(Invalid(format!(
                "captions.language is {code:?}: use a code like \"en\" or \"de\", or leave it out to have it found out"
            )));
        }
        if self.translate && self.language.as_deref() == Some("en") {
            let message = "captions.translate is to English, and captions.language is \"en\" already: leave out one";
            return Err(Invalid(message.into()));
        }
        self.model.as_ref().map_or(Ok(()), |model| check_model("captions", model))
    }
}

/// What is wrong with a model's name in that part of a profile.
pub(super) fn check_model(part: &str, model: &str) -> Result<(), Invalid> {
    if is_model_id(model) {
        return Ok(());
    }
    Err(Invalid(format!(
        "{part}.model is no model's name: use 1 to {MODEL_ID_LENGTH_MAX} letters, digits, '.', '-' and '_', \
         as millrace-worker models list shows them"
    )))
}
