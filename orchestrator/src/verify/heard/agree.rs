//! Local agreement: of speech that goes on, what two hearings one after the other say alike is settled (D. Macháček,
//! R. Dabre, O. Bojar: Turning Whisper into Real-Time Transcription System, 2023; there with n = 2). Pure.
//!
//! Each hearing begins in the same pause, so nothing is cut in the middle of a word but at its end, where more sound comes.

use millrace_proto::captions::Word;

use crate::store::reports::{Carry, Said};

/// Two hearings place a word so far apart at most.
const APART_MS_MAX: i64 = 1_000;
/// A word that ends so shortly before the end of the sound may be cut.
const CUT_MS: i64 = 700;
/// Words whose order tells where it goes on.
const ALIKE_MAX: usize = 3;

/// A word as it is compared: without signs and capital letters.
pub(super) fn said(word: &Word) -> Said {
    Said { text: plain(&word.text), start_ms: word.start_ms, end_ms: word.end_ms }
}

fn plain(text: &str) -> String {
    text.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn is_alike(said: &Said, word: &Word) -> bool {
    said.text == plain(&word.text) && (said.start_ms - word.start_ms).abs() <= APART_MS_MAX
}

/// How many of `words` say again what is settled up to `position_ms`.
pub(super) fn again(carry: &Carry, words: &[Word], position_ms: i64) -> usize {
    if carry.again_ms == 0 {
        return 0;
    }
    // As many of the last settled words as can be in the same order, and of such places the nearest in time.
    let alike = |at: usize| {
        let pairs = carry.settled.iter().rev().zip(words[..at].iter().rev()).take(ALIKE_MAX);
        pairs.take_while(|(said, word)| is_alike(said, word)).count()
    };
    let far = |at: usize| at.checked_sub(1).map_or(i64::MAX, |last| (words[last].end_ms - position_ms).abs());
    let best = (0..=words.len()).max_by_key(|&at| (alike(at), std::cmp::Reverse(far(at))));
    best.filter(|&at| alike(at) > 0).unwrap_or_else(|| {
        // It was heard otherwise this time: what is for the most part before the place was said.
        words.iter().take_while(|word| i64::midpoint(word.start_ms, word.end_ms) < position_ms).count()
    })
}

/// The end of a chain's sound.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sound {
    /// Where the hearing before ended.
    pub(super) seen_ms: i64,
    /// Where this one ends.
    pub(super) end_ms: i64,
}

/// How many of `words` are settled, if those before `from` are, and of which the first `paused` are before a pause: those
/// that the hearing before said alike, and those that it could not hear to their end.
pub(super) fn settled(carry: &Carry, words: &[Word], from: usize, paused: usize, sound: Sound) -> usize {
    let new = &words[from.min(words.len())..];
    let alike = carry.draft.iter().zip(new).take_while(|(said, word)| is_alike(said, word)).count();
    let whole = carry.draft.iter().take_while(|said| said.end_ms + CUT_MS <= sound.seen_ms).count();
    // Behind a pause someone begins anew, and nothing of that was heard before.
    let goes_on = paused == 0 || from + alike > paused;
    let cut = if goes_on && alike >= whole.max(1) {
        new[alike..].iter().take_while(|word| word.start_ms < sound.seen_ms).count()
    } else {
        0
    };
    let sure = new.iter().take_while(|word| word.end_ms + CUT_MS <= sound.end_ms).count();
    from + (alike + cut).min(sure)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of half a second each, from `start_ms` on.
    fn words(text: &str, start_ms: i64) -> Vec<Word> {
        let word = |(at, text): (usize, &str)| {
            let start_ms = start_ms + 500 * at as i64;
            Word { text: text.into(), joined: false, start_ms, end_ms: start_ms + 500, confidence: 0.5 }
        };
        text.split_whitespace().enumerate().map(word).collect()
    }

    fn carry(settled: &str, draft: &str) -> Carry {
        let all = words(&format!("{settled} {draft}"), 10_000);
        let said: Vec<Said> = all.iter().map(said).collect();
        let (settled, draft) = said.split_at(settled.split_whitespace().count());
        let again_ms = 500 * settled.len() as u32;
        Carry { again_ms, settled: settled.into(), draft: draft.into(), ..Carry::default() }
    }

    /// How many words go on from what was settled, and how many of them are settled, in four seconds of which two are new.
    fn heard(carry: &Carry, text: &str) -> (usize, usize) {
        let (words, position_ms) = (words(text, 10_000), 10_000 + i64::from(carry.again_ms));
        let from = again(carry, &words, position_ms);
        (from, settled(carry, &words, from, 0, Sound { seen_ms: 12_000, end_ms: 14_000 }) - from)
    }

    #[test]
    fn what_two_hearings_say_alike_is_settled() {
        assert_eq!(heard(&carry("", ""), "it was the best of times it was"), (0, 0), "it is heard once");
        assert_eq!(
            heard(&carry("", "it was the bets"), "It was the best of times, it was"),
            (0, 4),
            "the last may be cut"
        );
        assert_eq!(heard(&carry("", "it is the best"), "it was the best of times it was"), (0, 1));
        assert_eq!(heard(&carry("", "and it was"), "it was the best"), (0, 0));
    }

    #[test]
    fn what_was_settled_is_not_said_twice() {
        assert_eq!(heard(&carry("it was", "the best"), "it was the best of times it was"), (2, 2));
        // A word more or less before it changes nothing.
        assert_eq!(heard(&carry("it was", "the best"), "and it was the best of times"), (3, 2));
        assert_eq!(heard(&carry("it was", "the best"), "was the best of times it was"), (1, 3));
        // Nothing is alike: time tells.
        assert_eq!(heard(&carry("it was", "the best"), "this is one of those times"), (2, 0));
        // Of what is said again and again, the nearest.
        assert_eq!(heard(&carry("no no no", "no"), "no no no no yes yes"), (3, 1));
    }

    #[test]
    fn what_is_far_from_where_it_was_is_another_word() {
        let far = carry("", "one two three four");
        let words = words("one two three four five six", 11_500);
        assert_eq!(settled(&far, &words, 0, 0, Sound { seen_ms: 12_000, end_ms: 14_500 }), 0);
    }

    #[test]
    fn the_last_words_are_never_sure() {
        let all = words("one two three four", 10_000);
        let draft = all.iter().map(said).collect();
        let carry = Carry { draft, ..Carry::default() };
        assert_eq!(settled(&carry, &all, 0, 0, Sound { seen_ms: 12_000, end_ms: 12_000 }), 2);
    }

    #[test]
    fn what_begins_behind_a_pause_is_heard_twice() {
        let carry = carry("", "it was");
        let sound = Sound { seen_ms: 12_000, end_ms: 14_000 };
        let words = words("it was the best of", 10_000);
        assert_eq!(settled(&carry, &words, 0, 0, sound), 4);
        assert_eq!(settled(&carry, &words, 0, 2, sound), 2);
    }
}
