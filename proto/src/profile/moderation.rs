//! What an app asks of moderation.

use serde::{Deserialize, Serialize};

use super::{Invalid, captions};

/// Marks of what not everyone is to see or hear: of the pictures, made by workers that have a model for it, and of the
/// words of the captions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moderation {
    /// The model to use, by its name in the workers' catalogues; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// One picture of so many milliseconds is looked at.
    #[serde(default = "every_ms")]
    pub every_ms: u32,
    /// What scores at least this, of 0 to 1, is marked for someone to look at.
    #[serde(default = "review")]
    pub review: f32,
    /// What scores at least this is flagged; not below `review`.
    #[serde(default = "flag")]
    pub flag: f32,
    /// What happens to what is flagged.
    #[serde(default)]
    pub action: Action,
    /// Words and phrases that are flagged when the captions have them, whatever their case and accents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
}

/// What happens to a segment that is flagged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is told and published all the same.
    #[default]
    Observe,
    /// No segment is listed before it was looked at, and one that is flagged is a gap until someone approves it.
    Hold,
}

/// Words and phrases of a list at most.
const WORDS_MAX: usize = 1_000;
/// Letters of one at most.
const WORD_LENGTH_MAX: usize = 100;

impl Default for Moderation {
    fn default() -> Self {
        Self {
            model: None,
            every_ms: every_ms(),
            review: review(),
            flag: flag(),
            action: Action::Observe,
            words: vec![],
        }
    }
}

fn every_ms() -> u32 {
    1_000
}
/// Yahoo's own advice for `open_nsfw`: below 0.2 it is safe, above 0.8 it is not, and between someone has to judge. Half
/// of that range is mostly swimmers and portraits, which nobody has the time for.
fn review() -> f32 {
    0.5
}
fn flag() -> f32 {
    0.8
}

impl Moderation {
    /// What is wrong with it, of a stream that has captions or has none.
    pub(super) fn check(&self, has_captions: bool) -> Result<(), Invalid> {
        if let Some(model) = &self.model {
            captions::check_model("moderation", model)?;
        }
        if !(200..=60_000).contains(&self.every_ms) {
            return Err(Invalid(format!("moderation.every_ms is {}: use 200 to 60000", self.every_ms)));
        }
        for (key, score) in [("review", self.review), ("flag", self.flag)] {
            // A score of 0 is what everything has.
            if !(score > 0.0 && score <= 1.0) {
                return Err(Invalid(format!("moderation.{key} is {score}: use more than 0, and 1 at most")));
            }
        }
        if self.review > self.flag {
            return Err(Invalid(format!(
                "moderation.review is {} and moderation.flag {}: what is flagged scores at least what is reviewed, so \
                 use a review of no more than flag",
                self.review, self.flag
            )));
        }
        self.check_words(has_captions)
    }

    fn check_words(&self, has_captions: bool) -> Result<(), Invalid> {
        if self.words.len() > WORDS_MAX {
            return Err(Invalid(format!("moderation.words has {}: use {WORDS_MAX} at most", self.words.len())));
        }
        if !self.words.is_empty() && !has_captions {
            let message = "moderation.words are looked for in the captions, and there are none: \
                           add captions to the profile, or leave words out";
            return Err(Invalid(message.into()));
        }
        let is_word = |word: &str| word.chars().count() <= WORD_LENGTH_MAX && word.chars().any(char::is_alphanumeric);
        match self.words.iter().find(|word| !is_word(word)) {
            Some(word) => {
                let start: String = word.chars().take(20).collect();
                Err(Invalid(format!(
                    "moderation.words has {start:?}: use words and phrases of letters or digits, \
                     {WORD_LENGTH_MAX} characters at most"
                )))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_needs_to_be_said() {
        let moderation: Moderation = serde_json::from_str("{}").unwrap();
        assert_eq!(moderation, Moderation::default());
        moderation.check(false).unwrap();
        let json = r#"{"every_ms":500,"review":0.25,"flag":0.25,"action":"hold","words":["Döner & co"]}"#;
        let moderation: Moderation = serde_json::from_str(json).unwrap();
        moderation.check(true).unwrap();
        assert_eq!((moderation.action, serde_json::to_string(&moderation).unwrap().as_str()), (Action::Hold, json));
    }

    #[test]
    fn refusals_name_the_value() {
        let refusal = |change: fn(&mut Moderation)| {
            let mut moderation = Moderation::default();
            change(&mut moderation);
            moderation.check(true).unwrap_err().to_string()
        };
        assert!(refusal(|m| m.model = Some("../x".into())).contains("moderation.model"));
        assert!(refusal(|m| m.every_ms = 100).contains("every_ms is 100"));
        assert!(refusal(|m| m.review = 0.0).contains("review is 0"));
        assert!(refusal(|m| m.flag = 7.0).contains("flag is 7"));
        assert!(refusal(|m| m.flag = f32::NAN).contains("flag is NaN"));
        assert!(refusal(|m| m.review = 0.9).contains("no more than flag"));
        assert!(refusal(|m| m.words = vec!["a".into(); 1_001]).contains("has 1001"));
        assert!(refusal(|m| m.words = vec!["fine".into(), "?!".into()]).contains("has \"?!\""));
        assert!(refusal(|m| m.words = vec!["x".repeat(101)]).contains("100 characters"));
        let words = Moderation { words: vec!["fine".into()], ..Moderation::default() };
        assert!(words.check(false).unwrap_err().to_string().contains("add captions"));
        words.check(true).unwrap();
    }
}
