//! Words that an app does not want: finds them in what was heard in a window of a stream, as marks of moderation. Pure;
//! `verify.rs` brings the windows of a chain in order.
//!
//! Whole words and phrases are found, whatever their case, accents and punctuation: `cafe` in "Café!", but no `ass` in
//! "class". A phrase may begin in the text before the window, as far as a chain carries that on: then it is marked from the
//! window's beginning on. What is written without spaces is found as the model parts it.

use millrace_proto::{
    captions::Word,
    offer::Capability,
    timeline::{By, Entry, Level},
};

use crate::store::{
    marks::Mark,
    reports::{CAPTIONS, Chain},
};

/// The track of what was found in what is spoken.
pub const WORDS: &str = "words";
/// The track of what was found in its translation.
pub const ENGLISH_WORDS: &str = "words-english";
/// Both of them.
pub const TRACKS: [&str; 2] = [WORDS, ENGLISH_WORDS];
/// Marks of one window at most; their numbers follow from the window's.
const MARKS_MAX: usize = 1_000;

/// What was heard in a window.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// The end of the text before.
    pub before: &'a str,
    /// Those that are settled.
    pub words: &'a [Word],
    /// Where it begins.
    pub start_ms: i64,
    /// Who heard it.
    pub by: &'a By,
}

/// The track of what is found in a track of captions.
pub fn track(captions: &str) -> &'static str {
    if captions == CAPTIONS { WORDS } else { ENGLISH_WORDS }
}

/// Chains of captions as those of the marks that are made with them.
pub fn chains(chains: &[Chain]) -> Vec<Chain> {
    let captions = chains.iter().filter(|chain| chain.kind == Capability::Captions);
    let told =
        |chain: &Chain| Chain { kind: Capability::Moderation, track: track(&chain.track).to_owned(), ..chain.clone() };
    captions.map(told).collect()
}

/// Marks of `wanted` words in window `number` of a stream's track of captions.
pub fn marks(
    stream: &millrace_proto::StreamId,
    (captions, number): (&str, u64),
    wanted: &[String],
    said: Said<'_>,
) -> Vec<Mark> {
    let spoken = tokens(said);
    let mut found: Vec<(&String, &[Token])> = Vec::new();
    for phrase in wanted {
        let looked_for = split(phrase);
        let places = spoken.windows(looked_for.len().max(1));
        let same = places.filter(|place| place.iter().map(|token| &token.text).eq(&looked_for));
        // What ends in the text before was found with the window before.
        found
            .extend(same.filter(|place| place.last().is_some_and(|last| !last.is_before)).map(|place| (phrase, place)));
    }
    found.sort_by_key(|(_, place)| place[0].start_ms);
    let mark = |(at, (phrase, place)): (usize, (&String, &[Token]))| {
        let number_of = number * MARKS_MAX as u64 + at as u64;
        let sure = place.iter().filter(|token| !token.is_before).map(|token| token.confidence);
        let end_ms = place.iter().map(|token| token.end_ms).max().unwrap_or(said.start_ms);
        let entry = Entry {
            number: Some(number_of),
            label: Some(phrase.clone()),
            level: Some(Level::Flag),
            score: sure.reduce(f32::min),
            by: Some(said.by.clone()),
            // A word that takes no time is spoken all the same.
            ..Entry::blank(
                Capability::Moderation,
                track(captions),
                place[0].start_ms,
                end_ms.max(place[0].start_ms + 1),
            )
        };
        Mark { stream: stream.clone(), number: number_of, changed: number, entry, looks: Vec::new() }
    };
    found.into_iter().take(MARKS_MAX).enumerate().map(mark).collect()
}

/// A word as it is compared.
#[derive(Debug)]
struct Token {
    text: String,
    start_ms: i64,
    end_ms: i64,
    confidence: f32,
    is_before: bool,
}

fn tokens(said: Said<'_>) -> Vec<Token> {
    let before =
        |text| Token { text, start_ms: said.start_ms, end_ms: said.start_ms, confidence: 1.0, is_before: true };
    let mut tokens: Vec<Token> = split(said.before).into_iter().map(before).collect();
    // Pieces of one word are written without a space between them.
    let mut goes_on = false;
    for word in said.words {
        let Word { start_ms, end_ms, confidence, .. } = *word;
        let folded = fold(&word.text);
        let mut parts = folded.split_whitespace().map(str::to_owned);
        let joins = word.joined && goes_on && !folded.starts_with(' ');
        if let Some(last) = tokens.last_mut().filter(|_| joins)
            && let Some(rest) = parts.next()
        {
            last.text.push_str(&rest);
            (last.end_ms, last.confidence, last.is_before) = (end_ms, last.confidence.min(confidence), false);
        }
        tokens.extend(parts.map(|text| Token { text, start_ms, end_ms, confidence, is_before: false }));
        goes_on = !folded.is_empty() && !folded.ends_with(' ');
    }
    tokens
}

/// The words of a text as they are compared.
fn split(text: &str) -> Vec<String> {
    fold(text).split_whitespace().map(str::to_owned).collect()
}

/// Small letters without accents, digits, and spaces for all that parts words. Apostrophes part none.
fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for letter in text.chars().flat_map(char::to_lowercase) {
        match letter {
            '\'' | '\u{2019}' | '\u{300}'..='\u{36f}' => {}
            letter => match plain(letter) {
                Some(plain) => folded.push_str(plain),
                None if letter.is_alphanumeric() => folded.push(letter),
                None => folded.push(' '),
            },
        }
    }
    folded
}

/// Latin letters with accents as those without (Unicode's Latin-1 Supplement and Latin Extended-A, small letters).
fn plain(letter: char) -> Option<&'static str> {
    Some(match letter {
        'à'..='å' | 'ā' | 'ă' | 'ą' => "a",
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' => "e",
        'ĝ' | 'ğ' | 'ġ' | 'ģ' => "g",
        'ĥ' | 'ħ' => "h",
        'ì'..='ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' => "i",
        'ĵ' => "j",
        'ķ' => "k",
        'ĺ' | 'ļ' | 'ľ' | 'ł' => "l",
        'ñ' | 'ń' | 'ņ' | 'ň' => "n",
        'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' => "o",
        'ŕ' | 'ŗ' | 'ř' => "r",
        'ś' | 'ŝ' | 'ş' | 'š' | 'ș' => "s",
        'ţ' | 'ť' | 'ŧ' | 'ț' => "t",
        'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' => "u",
        'ŵ' => "w",
        'ý' | 'ÿ' | 'ŷ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found where, in words of half a second each from ten seconds on; `+` joins a word to the one before.
    fn found(wanted: &[&str], before: &str, spoken: &[&str]) -> Vec<(String, i64, i64)> {
        let word = |(at, text): (i64, &&str)| Word {
            joined: text.starts_with('+'),
            text: text.trim_start_matches('+').to_owned(),
            start_ms: 10_000 + at * 500,
            end_ms: 10_500 + at * 500,
            confidence: 0.5,
        };
        let words: Vec<Word> = (0..).zip(spoken).map(word).collect();
        let wanted: Vec<String> = wanted.iter().map(|word| (*word).to_owned()).collect();
        let worker = "0x0707070707070707070707070707070707070707".parse().unwrap();
        let by = By { model: "m".into(), version: "1".into(), worker };
        let said = Said { before, words: &words, start_ms: 10_000, by: &by };
        let marks = marks(&"s".parse().unwrap(), (CAPTIONS, 3), &wanted, said);
        for (mark, number) in marks.iter().zip(3_000..) {
            assert_eq!((mark.number, mark.changed, mark.entry.number), (number, 3, Some(number)));
            assert_eq!((mark.entry.level, mark.entry.score), (Some(Level::Flag), Some(0.5)));
            assert_eq!((mark.entry.track.as_str(), mark.entry.by.as_ref()), (WORDS, Some(&by)));
        }
        let told = |mark: Mark| (mark.entry.label.unwrap_or_default(), mark.entry.start_ms, mark.entry.end_ms);
        marks.into_iter().map(told).collect()
    }

    #[test]
    fn whole_words_are_found_whatever_their_case_accents_and_points() {
        assert_eq!(found(&["cafe"], "", &["The", "CAFÉ!", "closed."]), [("cafe".into(), 10_500, 11_000)]);
        assert_eq!(found(&["Straße"], "", &["Strasse"]), [("Straße".into(), 10_000, 10_500)]);
        assert_eq!(found(&["cafe\u{301}"], "", &["cafe"]).len(), 1);
        assert_eq!(found(&["плохо"], "", &["Плохо,"]).len(), 1);
        assert_eq!(found(&["don't"], "", &["Don\u{2019}t"]).len(), 1);
        assert_eq!(found(&["ass"], "", &["class", "assess", "as", "s"]), []);
        assert_eq!(found(&["rude"], "", &["rude,", "very", "rude-ish"]).len(), 2, "a dash parts words");
    }

    #[test]
    fn phrases_are_found_whole() {
        let wanted = ["very rude", "rude"];
        let told = found(&wanted, "", &["very,", "rude", "or", "very", "kind"]);
        assert_eq!(told, [("very rude".into(), 10_000, 11_000), ("rude".into(), 10_500, 11_000)]);
        assert_eq!(found(&["a - b"], "", &["A", "B."]).len(), 1);
    }

    #[test]
    fn pieces_of_a_word_are_one_word() {
        assert_eq!(found(&["unkind"], "", &["un", "+kind"]), [("unkind".into(), 10_000, 11_000)]);
        assert_eq!(found(&["kind"], "", &["un", "+kind"]), []);
        assert_eq!(found(&["kind"], "", &["so,", "+kind"]).len(), 1, "the point parts them");
    }

    #[test]
    fn a_phrase_may_begin_in_the_window_before() {
        assert_eq!(found(&["very rude"], "it was very", &["rude."]), [("very rude".into(), 10_000, 10_500)]);
        assert_eq!(found(&["very rude"], "it was very rude", &["man"]), [], "it was found then");
        assert_eq!(found(&["rude"], "ru", &["de"]), []);
    }
}
