//! What a worker says was heard in a window: is it words at times within it? Pure; `verify.rs` brings the bytes.

use millrace_proto::{
    captions::{Heard, language_name},
    task::Captions,
};

use crate::task::window::WINDOW_MS_MAX;

/// Words of one window at most: nobody speaks ten a second for half a minute.
const WORDS_MAX: usize = 300;
/// Bytes of one word at most.
const WORD_BYTES_MAX: usize = 200;
/// Spans of speech of one window at most.
const SPANS_MAX: usize = 300;
/// Packets of sound begin and end beside the pictures, and times are rounded.
const SLACK_MS: i64 = 500;
/// Bytes of the text before that a window is given.
pub const CONTEXT_BYTES_MAX: usize = 400;

/// What is taken of an outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// Up to here the stream's captions are settled.
    pub settled_ms: i64,
    /// The end of the text up to there.
    pub context: String,
    /// What was spoken, if anything was.
    pub language: Option<String>,
}

/// Judges what came of a window. The error says what is wrong, and is the worker's fault.
pub fn judge(work: &Captions, bytes: &[u8]) -> Result<Taken, String> {
    let heard: Heard = serde_json::from_slice(bytes).map_err(|error| format!("its report can't be read: {error}"))?;
    let (from, to) = (work.start_ms - SLACK_MS, work.end_ms + SLACK_MS);
    let within = |what: &str, start: i64, end: i64| {
        if from <= start && start <= end && end <= to {
            Ok(())
        } else {
            Err(format!("{what} is from {start} to {end} ms: the window is from {} to {}", work.start_ms, work.end_ms))
        }
    };
    within("what it heard", heard.start_ms, heard.end_ms)?;
    within("what is settled", heard.start_ms, heard.settled_ms)?;
    if let Some(language) = &heard.language {
        if language_name(language).is_none() {
            return Err(format!("its language is {:?}, which is none", cut(language)));
        }
        if work.language.as_ref().is_some_and(|asked| asked != language) {
            return Err(format!("its language is {language:?}, another was asked for"));
        }
    }
    if heard.words.len() > WORDS_MAX || heard.speech.len() > SPANS_MAX {
        let counts = (heard.words.len(), heard.speech.len());
        return Err(format!("(words, spans) are {counts:?}: more than anyone says in a window"));
    }
    let mut before = from;
    for word in &heard.words {
        let text = &word.text;
        let plain = !text.trim().is_empty() && !text.chars().any(char::is_control);
        if !plain || text.len() > WORD_BYTES_MAX {
            return Err(format!("{:?} is no word", cut(text)));
        }
        within("a word", word.start_ms, word.end_ms)?;
        if word.start_ms < before {
            return Err(format!("a word begins at {} ms, before the one before it ends", word.start_ms));
        }
        before = word.end_ms;
        if !(0.0..=1.0).contains(&word.confidence) {
            return Err(format!("a confidence is {}: 0 to 1 was asked for", word.confidence));
        }
    }
    let mut before = from;
    for span in &heard.speech {
        within("a span of speech", span.start_ms, span.end_ms)?;
        if span.start_ms < before {
            return Err("its spans of speech overlap".into());
        }
        before = span.end_ms;
    }
    let is_long = work.end_ms - work.start_ms >= WINDOW_MS_MAX - 10_000;
    let settled_ms = match heard.settled_ms.clamp(work.start_ms, work.end_ms) {
        _ if work.last => work.end_ms,
        // So much sound without anything settled never becomes more: the next window is the same.
        settled_ms if settled_ms == work.start_ms && is_long => work.end_ms,
        settled_ms => settled_ms,
    };
    let mut context = work.context.clone();
    for word in &heard.words {
        if !word.joined {
            context.push(' ');
        }
        context.push_str(&word.text);
    }
    let keep = context.ceil_char_boundary(context.len().saturating_sub(CONTEXT_BYTES_MAX));
    Ok(Taken { settled_ms, context: context[keep..].trim_start().to_owned(), language: heard.language })
}

/// The beginning of what a stranger wrote, for a message.
fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use millrace_proto::captions::{Span, Word};

    use super::*;

    fn work() -> Captions {
        Captions { start_ms: 10_000, end_ms: 16_000, context: "it was".into(), ..Captions::default() }
    }

    fn word(text: &str, start_ms: i64, end_ms: i64) -> Word {
        Word { text: text.into(), joined: false, start_ms, end_ms, confidence: 0.9 }
    }

    fn heard() -> Heard {
        Heard {
            language: Some("en".into()),
            words: vec![word("the", 10_500, 10_700), word("best.", 10_700, 11_200)],
            speech: vec![Span { start_ms: 10_400, end_ms: 11_400 }],
            start_ms: 10_000,
            settled_ms: 15_550,
            end_ms: 16_000,
        }
    }

    fn judged(work: &Captions, heard: &Heard) -> Result<Taken, String> {
        judge(work, &serde_json::to_vec(heard).unwrap())
    }

    #[test]
    fn what_is_right_is_taken() {
        let taken = judged(&work(), &heard()).unwrap();
        assert_eq!(taken.settled_ms, 15_550);
        assert_eq!((taken.context.as_str(), taken.language.as_deref()), ("it was the best.", Some("en")));
        let last = judged(&Captions { last: true, ..work() }, &heard()).unwrap();
        assert_eq!(last.settled_ms, 16_000, "nothing comes after it");
        let silent = Heard { words: vec![], speech: vec![], language: None, ..heard() };
        assert_eq!(judged(&work(), &silent).unwrap().context, "it was");
    }

    #[test]
    fn a_chain_never_stands_still() {
        let long = Captions { end_ms: 38_000, ..work() };
        let stuck = Heard { settled_ms: 10_000, end_ms: 38_000, ..heard() };
        assert_eq!(judged(&long, &stuck).unwrap().settled_ms, 38_000);
        let short = Heard { settled_ms: 10_000, ..heard() };
        assert_eq!(judged(&work(), &short).unwrap().settled_ms, 10_000, "more sound may come");
    }

    #[test]
    fn what_is_no_report_is_refused() {
        assert!(judge(&work(), b"{").unwrap_err().contains("can't be read"));
        let refused = |change: fn(&mut Heard)| {
            let mut heard = heard();
            change(&mut heard);
            judged(&work(), &heard).unwrap_err()
        };
        assert!(refused(|h| h.settled_ms = 20_000).contains("settled"));
        assert!(refused(|h| h.settled_ms = 9_000).contains("settled"));
        assert!(refused(|h| h.end_ms = 99_000).contains("what it heard"));
        assert!(refused(|h| h.language = Some("klingon".into())).contains("klingon"));
        assert!(refused(|h| h.words = vec![word("x", 10_000, 10_001); 301]).contains("more than anyone"));
        assert!(refused(|h| h.words[1].start_ms = 10_600).contains("before the one before it ends"));
        assert!(refused(|h| h.words[1].end_ms = 10_000).contains("a word is from"));
        assert!(refused(|h| h.words[0].text = "a\u{7}".into()).contains("no word"));
        assert!(refused(|h| h.words[0].text = " ".into()).contains("no word"));
        assert!(refused(|h| h.words[0].text = "a".repeat(201)).contains("no word"));
        assert!(refused(|h| h.words[0].confidence = 1.5).contains("confidence"));
        assert!(refused(|h| h.speech.push(h.speech[0])).contains("overlap"));
        let german = Captions { language: Some("de".into()), ..work() };
        assert!(judged(&german, &heard()).unwrap_err().contains("another was asked for"));
    }
}
