//! What a worker says was heard in a window: is it words at times within it, and which of them are settled? Pure;
//! `verify.rs` brings the bytes.

mod agree;

use millrace_proto::{
    captions::{Heard, Word, language_name},
    task::Captions,
};

use crate::{
    store::reports::{Carry, Report},
    task::window::WINDOW_MS_MAX,
};
use agree::Sound;

/// Words of one window at most: nobody speaks ten a second for half a minute.
const WORDS_MAX: usize = 300;
/// Bytes of one word at most.
const WORD_BYTES_MAX: usize = 200;
/// Spans of speech of one window at most.
const SPANS_MAX: usize = 300;
/// Packets of sound begin and end beside the pictures, and times are rounded.
const SLACK_MS: i64 = 500;
/// So much sound before the last pause is heard again, at most: a short piece alone is understood worse than
/// within what was said around it (`benches`, `words`: of 284 words whisper-tiny.en had 22 wrong live without, and 4 in a
/// recording). With eight seconds more words were wrong than with six, of 272 s of short sentences, and they came later.
const AROUND_MS_MAX: i64 = 6_000;
/// A silence behind which what was said before helps no more.
const SILENCE_MS: i64 = 1_500;
/// A live window with less speech says nothing of the language, nor does one that says another than the window before: in
/// a few words Whisper hears any. Of one Spanish sentence whisper-base says `es`, `it`, `la` and then `es` after 2 to 8 s.
const LANGUAGE_MS_MIN: i64 = 5_000;
/// Bytes of the text before that a window is given.
pub const CONTEXT_BYTES_MAX: usize = 400;

/// What is taken of an outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// Up to here the stream's captions are settled.
    pub settled_ms: i64,
    /// The end of the text up to where the next window is heard from.
    pub context: String,
    /// For the next window to be compared with.
    pub carry: Carry,
    /// Which of the words are settled now, and were not before; drafts count behind the others.
    pub words: Option<(u32, u32)>,
    /// What was spoken, if there was enough to tell.
    pub language: Option<String>,
    /// The end of the text before what is settled now.
    pub before: String,
    /// The words that are settled now.
    pub said: Vec<Word>,
}

/// Judges what came of a window, on a chain that carries `carry` and has heard up to `seen_ms`. The error says what is
/// wrong, and is the worker's fault.
pub fn judge(work: &Captions, carry: &Carry, seen_ms: i64, bytes: &[u8]) -> Result<Taken, String> {
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
    let words: Vec<Word> = heard.words.iter().chain(heard.draft.iter().filter(|_| work.draft)).cloned().collect();
    if words.len() > WORDS_MAX || heard.speech.len() > SPANS_MAX {
        let counts = (words.len(), heard.speech.len());
        return Err(format!("(words, spans) are {counts:?}: more than anyone says in a window"));
    }
    let mut before = from;
    for word in &words {
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
    let paused_ms = match heard.settled_ms.clamp(work.start_ms, work.end_ms) {
        _ if work.last => work.end_ms,
        // So much sound without anything settled never becomes more: the next window is the same.
        paused_ms if paused_ms == work.start_ms && is_long => work.end_ms,
        paused_ms => paused_ms,
    };
    Ok(settle(work, carry, seen_ms, &heard, &words, paused_ms))
}

/// What is settled of `words`: up to the pause at `paused_ms` all, and behind it what was heard before as well.
fn settle(work: &Captions, carry: &Carry, seen_ms: i64, heard: &Heard, words: &[Word], paused_ms: i64) -> Taken {
    let position_ms = work.settled_ms();
    let paused = if paused_ms == work.end_ms { words.len() } else { heard.words.len() };
    let from = agree::again(carry, words, position_ms);
    let sound = Sound { seen_ms, end_ms: work.end_ms };
    let agreed = agree::settled(carry, words, from, paused, sound).min(words.len());
    let to = agreed.max(paused).max(from);
    let behind_ms = if to > paused && to > from {
        // Best where a segment ends, which is listed with that.
        let next_ms = words.get(to).map_or(work.end_ms, |next| next.start_ms);
        let last_ms = words[to - 1].end_ms;
        seen_ms.clamp(last_ms, next_ms.max(last_ms))
    } else {
        position_ms
    };
    let settled_ms = behind_ms.max(paused_ms).max(position_ms).min(work.end_ms);
    // Words that take no time of their own can't be shown: they wait, or were said.
    let waits = settled_ms == position_ms;
    let (from, to) = if waits { (from.max(paused), from.max(paused)) } else { (from, to) };
    let said: Vec<&str> = carry.settled.iter().map(|word| word.text.as_str()).collect();
    let text_before = format!("{} {}", work.context, said.join(" "));
    let mut context = work.context.clone();
    let begins_ms = begins_ms(work, carry, words[..to].last(), paused_ms, settled_ms);
    // Hundredths of a second are rounded down.
    let before = words[..to].iter().take_while(|word| word.start_ms + 10 <= begins_ms).count();
    for word in &words[..before] {
        if !word.joined {
            context.push(' ');
        }
        context.push_str(&word.text);
    }
    let keep = context.ceil_char_boundary(context.len().saturating_sub(CONTEXT_BYTES_MAX));
    let is_again = carry.language == heard.language;
    let pauses_ms = carry.pauses_ms.iter().copied().chain([paused_ms]).filter(|at_ms| *at_ms > begins_ms);
    let carry = Carry {
        again_ms: u32::try_from(settled_ms - begins_ms).unwrap_or(0),
        settled: words[before..to].iter().map(agree::said).collect(),
        draft: words[to..].iter().map(agree::said).collect(),
        pauses_ms: pauses_ms.collect(),
        language: heard.language.clone(),
    };
    let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let spoken_ms = words.first().zip(words.last()).map_or(0, |(first, last)| last.end_ms - first.start_ms);
    let is_sure = !work.draft || work.last || spoken_ms >= LANGUAGE_MS_MIN && is_again;
    Taken {
        settled_ms,
        context: context[keep..].trim_start().to_owned(),
        carry,
        words: (work.draft || from > 0).then(|| (number(from), number(to))),
        language: heard.language.clone().filter(|_| is_sure),
        before: text_before,
        said: words[from..to].to_vec(),
    }
}

/// Where the next window begins: in a pause, the earliest one that is near.
fn begins_ms(work: &Captions, carry: &Carry, last: Option<&Word>, paused_ms: i64, settled_ms: i64) -> i64 {
    let is_silent = last.is_none_or(|last| settled_ms - last.end_ms > SILENCE_MS);
    // Behind the last window of a run comes sound of another header; a recording's windows are long already.
    if work.last || !work.draft || is_silent || paused_ms == work.end_ms {
        return paused_ms;
    }
    let mut pauses_ms = [work.start_ms].into_iter().chain(carry.pauses_ms.iter().copied()).chain([paused_ms]);
    pauses_ms.find(|at_ms| paused_ms - at_ms <= AROUND_MS_MAX).unwrap_or(paused_ms)
}

/// What a report says of its own time: the words that were settled with it.
pub fn own(mut heard: Heard, report: &Report) -> Heard {
    let Some((from, to)) = report.found.as_ref().and_then(|found| found.words) else { return heard };
    let draft = std::mem::take(&mut heard.draft);
    let within = |ms: i64| ms.clamp(report.start_ms, report.end_ms.max(report.start_ms));
    let words = heard.words.into_iter().chain(draft).take(to as usize).skip(from as usize);
    let placed = |word: Word| Word { start_ms: within(word.start_ms), end_ms: within(word.end_ms), ..word };
    heard.words = words.map(placed).collect();
    heard.start_ms = report.start_ms;
    heard
}

/// The beginning of what a stranger wrote, for a message.
fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use millrace_proto::{captions::Span, offer::Capability, task::Blob};

    use super::*;
    use crate::store::reports::Found;

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
            draft: Vec::new(),
            speech: vec![Span { start_ms: 10_400, end_ms: 11_400 }],
            start_ms: 10_000,
            settled_ms: 15_550,
            end_ms: 16_000,
        }
    }

    fn judged(work: &Captions, heard: &Heard) -> Result<Taken, String> {
        judge(work, &Carry::default(), work.start_ms, &serde_json::to_vec(heard).unwrap())
    }

    #[test]
    fn what_is_right_is_taken() {
        let taken = judged(&work(), &heard()).unwrap();
        assert_eq!(taken.settled_ms, 15_550);
        assert_eq!((taken.context.as_str(), taken.language.as_deref()), ("it was the best.", Some("en")));
        let last = judged(&Captions { last: true, ..work() }, &heard()).unwrap();
        assert_eq!(last.settled_ms, 16_000, "nothing comes after it");
        let live = Captions { draft: true, ..work() };
        assert_eq!(judged(&live, &heard()).unwrap().language, None, "half a second tells no language");
        let long = Heard { words: vec![word("the", 10_500, 10_700), word("best.", 15_000, 15_600)], ..heard() };
        let bytes = serde_json::to_vec(&long).unwrap();
        let after = |before: Option<&str>| {
            let carry = Carry { language: before.map(str::to_owned), ..Carry::default() };
            let taken = judge(&live, &carry, live.start_ms, &bytes).unwrap();
            (taken.language, taken.carry.language.unwrap())
        };
        assert_eq!(after(None), (None, "en".into()));
        assert_eq!(after(Some("la")), (None, "en".into()));
        assert_eq!(after(Some("en")), (Some("en".into()), "en".into()));
        let silent = Heard { words: vec![], speech: vec![], language: None, ..heard() };
        assert_eq!(judged(&work(), &silent).unwrap().context, "it was");
    }

    /// Hears `text` in words of half a second from `start_ms` on, of which the first `paused` are before a pause.
    fn goes_on(work: &Captions, text: &str, paused: usize) -> Heard {
        let words = text.split_whitespace().enumerate().map(|(at, text)| {
            let start_ms = work.start_ms + 500 * at as i64;
            word(text, start_ms, start_ms + 500)
        });
        let (mut words, end_ms) = (words.collect::<Vec<_>>(), work.end_ms);
        let draft = words.split_off(paused);
        let settled_ms = draft.first().map_or(work.start_ms, |word| word.start_ms);
        Heard { language: None, words, draft, speech: Vec::new(), start_ms: work.start_ms, settled_ms, end_ms }
    }

    fn told(taken: &Taken, heard: &Heard) -> String {
        let (from, to) = taken.words.unwrap();
        let words = heard.words.iter().chain(&heard.draft).skip(from as usize).take((to - from) as usize);
        words.map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn of_speech_that_goes_on_it_is_settled_what_two_windows_say() {
        let first = Captions { start_ms: 0, end_ms: 2_000, draft: true, context: String::new(), ..work() };
        let heard = goes_on(&first, "it was the bets", 0);
        let taken = judged(&first, &heard).unwrap();
        assert_eq!((taken.settled_ms, taken.words, taken.carry.draft.len()), (0, Some((0, 0)), 4));

        let second = Captions { end_ms: 4_000, ..first.clone() };
        let heard = goes_on(&second, "it was the best of times it was", 0);
        let after = judge(&second, &taken.carry, 2_000, &serde_json::to_vec(&heard).unwrap()).unwrap();
        assert_eq!((after.settled_ms, told(&after, &heard).as_str()), (2_000, "it was the best"));
        assert_eq!((after.carry.again_ms, after.carry.settled.len(), after.context.as_str()), (2_000, 4, ""));

        // The next one hears the pause at 3 s: all before it is settled, and what was said is not said again.
        let third = Captions { end_ms: 6_000, again_ms: 2_000, ..second };
        let heard = goes_on(&third, "it was the best of times it was the worst", 6);
        let last = judge(&third, &after.carry, 4_000, &serde_json::to_vec(&heard).unwrap()).unwrap();
        assert_eq!(told(&last, &heard), "of times it was");
        assert_eq!((last.settled_ms, last.carry.again_ms, last.carry.settled.len()), (4_000, 4_000, 8));
        assert_eq!((last.context.as_str(), &last.carry.pauses_ms[..]), ("", &[3_000][..]));

        let report = Report {
            stream: "s".parse().unwrap(),
            kind: Capability::Captions,
            track: "captions".into(),
            number: 2,
            start_ms: 2_000,
            end_ms: 4_000,
            created_ms: 1,
            found: Some(Found {
                blob: Blob::of(b"{}"),
                model: "m".into(),
                version: "1".into(),
                worker: "0x0000000000000000000000000000000000000007".parse().unwrap(),
                words: last.words,
            }),
            reason: None,
        };
        let own = own(heard, &report);
        assert_eq!((own.words.len(), own.words[0].text.as_str(), own.words[3].end_ms), (4, "of", 4_000));
        assert!(own.draft.is_empty());
    }

    #[test]
    fn what_was_said_shortly_before_is_heard_again() {
        let work =
            Captions { start_ms: 0, end_ms: 12_000, again_ms: 2_000, draft: true, context: String::new(), ..work() };
        let text = "a b c d e f g h i j k l m n o p q r s t u v w";
        // Someone paused at 4 s, which is known, and at 10 s.
        let heard = goes_on(&work, text, 20);
        let carry = Carry { again_ms: 2_000, pauses_ms: vec![4_000], ..Carry::default() };
        let bytes = serde_json::to_vec(&heard).unwrap();
        let taken = judge(&work, &carry, 8_000, &bytes).unwrap();
        let said = |taken: &Taken| taken.carry.settled.iter().map(|said| said.text.clone()).collect::<String>();
        assert_eq!(
            (taken.settled_ms, taken.carry.again_ms, taken.context.as_str()),
            (10_000, 6_000, "a b c d e f g h")
        );
        assert_eq!((said(&taken).as_str(), &taken.carry.pauses_ms[..]), ("ijklmnopqrst", &[10_000][..]));
        // Where no pause is near, the last one.
        let taken = judge(&work, &Carry { pauses_ms: vec![1_000], ..carry.clone() }, 8_000, &bytes).unwrap();
        assert_eq!((taken.carry.again_ms, said(&taken).as_str()), (0, ""));
        // Nor is anything heard again behind a silence, a recording's long window, or the end.
        let silent = Heard { words: heard.words[..10].to_vec(), draft: Vec::new(), ..heard };
        let taken = judge(&work, &carry, 8_000, &serde_json::to_vec(&silent).unwrap()).unwrap();
        assert_eq!((taken.settled_ms, taken.carry.again_ms), (10_000, 0));
        for work in [Captions { draft: false, ..work.clone() }, Captions { last: true, ..work.clone() }] {
            assert_eq!(judge(&work, &carry, 8_000, &bytes).unwrap().carry.again_ms, 0);
        }
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
        assert!(judge(&work(), &Carry::default(), 0, b"{").unwrap_err().contains("can't be read"));
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
