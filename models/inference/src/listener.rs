//! Puts it together: a window of sound in, words with times and spans of speech out.

use std::path::Path;

use crate::{
    Device, Error, RATE, Span, Word,
    pieces::{halves, pieces, plan},
    speech,
    voice::{Sound, Voice},
    whisper::{Task, Whisper},
    words,
};

/// A window that ends in the middle of speech: words of its last second may be cut, and are left to the next one.
const TAKEN_BACK: usize = RATE;
/// Speech that goes on is not heard before there is so much of it: less is hardly a word.
const DRAFT_MIN: usize = RATE * 6 / 10;

/// What a word takes at most that is said slowly, in hundredths of a second: so much, and so much for each letter.
const SLOW_WORD: i64 = 50;
const SLOW_LETTER: i64 = 12;

/// Where the models lie, and what the detector of voice counts as speech.
#[derive(Debug, Clone, Copy)]
pub struct Models<'a> {
    /// ONNX Runtime's library.
    pub runtime: &'a Path,
    /// Silero's detector of voice.
    pub voice: &'a Path,
    /// Whisper, a ggml file.
    pub whisper: &'a Path,
    /// whisper.cpp's preset of the heads that tell words' times.
    pub dtw: Option<&'a str>,
    /// What Whisper runs on; the detector of voice runs on the processor.
    pub device: Device,
    /// Probability from which speech begins.
    pub speech: f32,
    /// Probability below which it ends.
    pub pause: f32,
}

/// What to hear.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    /// `None`: find out.
    pub language: Option<&'a str>,
    /// To English.
    pub translate: bool,
    /// The text before.
    pub context: &'a str,
    /// Nothing comes after it.
    pub last: bool,
    /// Samples without a pause after which it is settled all the same.
    pub patience: usize,
    /// Also hear speech that goes on, and all of it quickly.
    pub draft: bool,
    /// Threads at most.
    pub threads: u32,
}

/// What was heard. Times count from the window's first sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// What was spoken, if anything was.
    pub language: Option<&'static str>,
    /// In order; times in hundredths of a second.
    pub words: Vec<Word>,
    /// What is said behind what is settled, and may still change.
    pub draft: Vec<Word>,
    /// When someone speaks, in samples.
    pub speech: Vec<Span>,
    /// Up to here all is said; the next window begins here.
    pub settled: usize,
}

/// Models that are loaded.
pub struct Listener {
    voice: Voice,
    whisper: Whisper,
    speech: f32,
    pause: f32,
}

impl Listener {
    /// Loads the models.
    pub fn open(models: &Models<'_>) -> Result<Self, Error> {
        let voice = Voice::open(models.runtime, models.voice)?;
        let whisper = Whisper::open(models.whisper, models.dtw, models.device)?;
        Ok(Self { voice, whisper, speech: models.speech, pause: models.pause })
    }

    /// Takes sound of a window that came in, one channel, [`RATE`] a second, and listens whether someone speaks.
    pub fn take(&mut self, sound: &mut Sound, samples: &[f32]) -> Result<(), Error> {
        self.voice.take(sound, samples)
    }

    /// Hears a window, all of whose sound came in. Where nobody speaks Whisper is not asked, so that it invents nothing.
    pub fn hear(&mut self, mut sound: Sound, window: &Window<'_>) -> Result<Heard, Error> {
        self.voice.end(&mut sound)?;
        let length = sound.length();
        let spans = speech::spans(&sound.probabilities, self.speech, self.pause, length);
        let plan = plan(&spans, length, window.last, window.patience);
        let (settled, speech) = (plan.settled, spans);
        let mut heard = Heard { language: None, words: Vec::new(), draft: Vec::new(), speech, settled };
        let mut context = window.context.to_owned();
        let goes_on = plan.open.filter(|open| window.draft && open.end - open.start >= DRAFT_MIN);
        // In one go with what is before it, by which it is understood better.
        let all = if goes_on.is_some() { pieces(&heard.speech) } else { plan.pieces };
        for piece in &all {
            let words = self.piece((window, &sound), piece, &context, &mut heard)?;
            context = with(&context, &words);
            heard.words.extend(words);
        }
        if plan.is_cut {
            take_back(&mut heard, length);
        }
        if let Some(open) = goes_on {
            let from = (open.start * 100 / RATE) as i64;
            heard.draft = heard.words.split_off(heard.words.partition_point(|word| word.start < from));
        }
        if !window.draft {
            heard.draft.clear();
        }
        Ok(heard)
    }

    /// The words of one piece; tells `heard` its language.
    fn piece(
        &mut self,
        (window, sound): (&Window<'_>, &Sound),
        piece: &Span,
        context: &str,
        heard: &mut Heard,
    ) -> Result<Vec<Word>, Error> {
        let task = Task {
            language: window.language.or(heard.language),
            translate: window.translate,
            context,
            threads: window.threads,
            quick: window.draft,
        };
        let said = self.whisper.hear(&sound.samples[piece.start..piece.end], &task)?;
        heard.language.get_or_insert(said.language);
        // In some languages half a minute takes more tokens than Whisper has room for.
        if said.is_cut
            && !window.draft
            && let Some((first, second)) = halves(piece, &heard.speech)
        {
            let mut words = self.piece((window, sound), &first, context, heard)?;
            words.extend(self.piece((window, sound), &second, &with(context, &words), heard)?);
            return Ok(words);
        }
        let written = if window.translate { "en" } else { said.language };
        let start = (piece.start * 100 / RATE) as i64;
        let placed = words::words(&said.tokens, words::is_spaced(written)).into_iter().map(|mut word| {
            (word.start, word.end) = (word.start + start, word.end + start);
            word.start = begins(&word, &heard.speech);
            word
        });
        Ok(placed.collect())
    }
}

/// The text before, and what was said since.
fn with(context: &str, words: &[Word]) -> String {
    let said = words.iter().flat_map(|word| [if word.joined { "" } else { " " }, word.text.as_str()]);
    std::iter::once(context).chain(said).collect()
}

/// When a word begins that is known to begin after the one before it, and when it ends: not in a pause, and not longer ago
/// than it takes to say it slowly.
fn begins(word: &Word, speech: &[Span]) -> i64 {
    let hundredths = |samples: usize| (samples * 100 / RATE) as i64;
    let spoken = speech.iter().map(|span| hundredths(span.start)).take_while(|start| *start < word.end).last();
    let slowly = SLOW_WORD + word.text.chars().count() as i64 * SLOW_LETTER;
    word.start.max(spoken.unwrap_or(0)).max(word.end - slowly).min(word.end)
}

/// Leaves the last second's words to the next window; before them it is settled.
fn take_back(heard: &mut Heard, length: usize) {
    let from = (length.saturating_sub(TAKEN_BACK) * 100 / RATE) as i64;
    let kept = heard.words.iter().take_while(|word| word.end <= from).count();
    // A single word that is as long as the window is no reason to wait for ever.
    if let Some(first) = heard.words.get(kept).filter(|_| kept > 0) {
        let before = heard.words[kept - 1].end;
        heard.settled = (i64::midpoint(before, first.start.max(before)) as usize) * RATE / 100;
        heard.draft = heard.words.split_off(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str, start: i64, end: i64) -> Word {
        Word { text: text.into(), joined: false, start, end, confidence: 1.0 }
    }

    #[test]
    fn a_word_begins_where_someone_speaks() {
        let speech = [Span { start: 0, end: 2 * RATE }, Span { start: 5 * RATE, end: 9 * RATE }];
        assert_eq!(begins(&word("soon", 100, 150), &speech), 100);
        assert_eq!(begins(&word("after", 200, 540), &speech), 500);
        assert_eq!(begins(&word("so", 500, 800), &speech), 800 - SLOW_WORD - 2 * SLOW_LETTER);
    }

    #[test]
    fn words_that_may_be_cut_are_taken_back() {
        let words = vec![word("one", 0, 50), word("two", 300, 380), word("thr", 390, 480)];
        let mut heard = Heard { language: None, words, draft: Vec::new(), speech: Vec::new(), settled: 5 * RATE };
        take_back(&mut heard, 5 * RATE);
        assert_eq!((heard.words.len(), heard.draft.len(), heard.settled), (2, 1, 385 * RATE / 100));
        heard.words.truncate(0);
        take_back(&mut heard, 5 * RATE);
        assert_eq!(heard.settled, 385 * RATE / 100);
    }
}
