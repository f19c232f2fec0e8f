//! From Whisper's tokens to words. Pure.

/// A token of text, with times in hundredths of a second of its piece.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    /// Part of a word, sometimes of a letter.
    pub(crate) bytes: Vec<u8>,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) probability: f32,
}

/// A word, with times in hundredths of a second.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// As it is written, with its punctuation.
    pub text: String,
    /// No space stands before it.
    pub joined: bool,
    /// When it begins.
    pub start: i64,
    /// When it ends.
    pub end: i64,
    /// The mean probability of its tokens, 0 to 1.
    pub confidence: f32,
}

/// Words begin with a space; where a language writes none, each letter that is whole is a word of its own, joined to the
/// one before.
pub(crate) fn words(tokens: &[Token], spaced: bool) -> Vec<Word> {
    let mut words: Vec<(Vec<&Token>, Vec<u8>)> = Vec::new();
    for token in tokens {
        let begins = match words.last() {
            None => true,
            Some(_) if token.bytes.starts_with(b" ") => true,
            // Punctuation belongs to what is before it.
            Some((_, bytes)) => !spaced && std::str::from_utf8(bytes).is_ok() && !is_sign(&token.bytes),
        };
        if begins {
            words.push((Vec::new(), Vec::new()));
        }
        let (of, bytes) = words.last_mut().expect("one is there");
        of.push(token);
        bytes.extend(&token.bytes);
    }
    let made = words.iter().enumerate().filter_map(|(at, (tokens, bytes))| {
        let text = String::from_utf8_lossy(bytes);
        let written = text.trim();
        // A sign after a word stands where the next one begins, behind a pause too.
        let spoken = tokens.iter().rev().find(|token| !is_sign(&token.bytes)).unwrap_or(&tokens[0]);
        let sound: f32 = tokens.iter().map(|token| token.probability).sum();
        // Notes, dashes and the like by themselves are nothing that was said.
        written.contains(char::is_alphanumeric).then(|| Word {
            text: written.to_owned(),
            joined: at > 0 && !text.starts_with(' '),
            start: tokens[0].start,
            end: spoken.end.max(tokens[0].start),
            confidence: sound / tokens.len() as f32,
        })
    });
    made.collect()
}

fn is_sign(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(char::is_alphanumeric))
}

/// Whether the language puts spaces between words.
pub(crate) fn is_spaced(language: &str) -> bool {
    !["zh", "ja", "th", "lo", "my", "km", "yue", "bo"].contains(&language)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(parts: &[&[u8]]) -> Vec<Token> {
        let at = |number: usize| number as i64 * 10;
        let token = |(number, bytes): (usize, &&[u8])| Token {
            bytes: bytes.to_vec(),
            start: at(number),
            end: at(number + 1),
            probability: 0.5,
        };
        parts.iter().enumerate().map(token).collect()
    }

    #[test]
    fn tokens_become_words_with_their_punctuation() {
        let words = words(&tokens(&[b" Well", b",", b" any", b"way", b" "]), true);
        let told: Vec<_> = words.iter().map(|word| (word.text.as_str(), word.joined, word.start, word.end)).collect();
        assert_eq!(told, [("Well,", false, 0, 10), ("anyway", false, 20, 40)]);
    }

    #[test]
    fn letters_in_parts_come_together() {
        let letters = "日本".as_bytes();
        let words = words(&tokens(&[&letters[..2], &letters[2..3], &letters[3..], "。".as_bytes()]), false);
        let told: Vec<_> = words.iter().map(|word| (word.text.as_str(), word.joined)).collect();
        assert_eq!(told, [("日", false), ("本。", true)]);
    }

    #[test]
    fn what_is_no_word_is_left_out() {
        let words = words(&tokens(&[" ♪".as_bytes(), "♪".as_bytes(), b" -", b" no"]), true);
        assert_eq!(words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>(), ["no"]);
    }
}
