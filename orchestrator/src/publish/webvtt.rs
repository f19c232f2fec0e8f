//! Captions as text: from words to cues, and cues as `WebVTT` (W3C's `WebVTT` 1.0), `SubRip` and JSON. Pure.
//!
//! A cue belongs to one window, and what is made of a window depends on nothing else: so what was published of a time never
//! changes when more is heard. Times are milliseconds of the stream's timeline.

pub mod fragments;

use std::fmt::Write;

use millrace_cmaf::ORIGIN_S;
use millrace_proto::{
    captions::{Heard, Word},
    timeline::Entry,
};

/// Letters of a line at most.
pub const LINE_LETTERS_MAX: usize = 42;
/// Lines of a cue at most.
const LINES_MAX: usize = 2;
/// Letters that are read in a second: a cue stays so long, if nothing comes after it.
const LETTERS_PER_S: i64 = 17;
/// The shortest time that a cue is meant to stay.
const CUE_MS_MIN: i64 = 1_000;
/// The longest time from a cue's first word to its last.
const CUE_MS_MAX: i64 = 6_000;
/// A pause that parts cues.
const PAUSE_MS: i64 = 700;
/// A sentence that ends begins a new cue if what there is of this one takes at least so many letters.
const SENTENCE_LETTERS_MIN: usize = 14;

/// What is shown at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cue {
    /// From when on.
    pub start_ms: i64,
    /// Until when.
    pub end_ms: i64,
    /// One or two lines.
    pub lines: Vec<String>,
}

/// The cues of a window that is settled up to `end_ms`.
pub fn cues(heard: &Heard, end_ms: i64) -> Vec<Cue> {
    let start_ms = heard.start_ms.min(end_ms);
    let mut groups: Vec<Vec<&Word>> = Vec::new();
    let words: Vec<Word> = heard.words.iter().flat_map(pieces).collect();
    for word in &words {
        match groups.last_mut() {
            Some(group) if goes_with(group, word) => group.push(word),
            _ => groups.push(vec![word]),
        }
    }
    let starts: Vec<i64> = groups.iter().map(|group| group[0].start_ms.clamp(start_ms, end_ms)).collect();
    let cue = |(at, group): (usize, &Vec<&Word>)| {
        let text = written(group);
        let letters = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        let read_ms = (letters.saturating_mul(1_000) / LETTERS_PER_S).max(CUE_MS_MIN);
        let spoken_ms = group.last().map_or(starts[at], |last| last.end_ms);
        let until_ms = starts.get(at + 1).copied().unwrap_or(end_ms);
        let end_ms = spoken_ms.max(starts[at] + read_ms).min(until_ms).max(starts[at]);
        Cue { start_ms: starts[at], end_ms, lines: lines(&text) }
    };
    // What begins where the window ends has no time to be shown.
    groups.iter().enumerate().map(cue).filter(|cue| cue.end_ms > cue.start_ms).collect()
}

/// A word, in pieces that fit on a line, each with its part of the time.
fn pieces(word: &Word) -> Vec<Word> {
    let letters: Vec<char> = word.text.trim().chars().collect();
    let (count, length_ms) = (letters.len().max(1) as i64, word.end_ms - word.start_ms);
    let begins = |letter: usize| word.start_ms + length_ms * (letter as i64).min(count) / count;
    let piece = |(at, part): (usize, &[char])| Word {
        text: part.iter().collect(),
        joined: word.joined || at > 0,
        start_ms: begins(at * LINE_LETTERS_MAX),
        end_ms: begins((at + 1) * LINE_LETTERS_MAX),
        confidence: word.confidence,
    };
    letters.chunks(LINE_LETTERS_MAX).enumerate().map(piece).collect()
}

fn written(words: &[&Word]) -> String {
    let mut text = String::new();
    for word in words {
        if !word.joined && !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&word.text);
    }
    text
}

fn goes_with(group: &[&Word], word: &Word) -> bool {
    let (first, last) = (group[0], group[group.len() - 1]);
    let text = written(group);
    let is_over =
        last.text.ends_with(['.', '?', '!', '…', '。', '？', '！']) && text.chars().count() >= SENTENCE_LETTERS_MIN;
    let longer = written(&[group, &[word]].concat());
    !is_over && word.start_ms - last.end_ms < PAUSE_MS && word.end_ms - first.start_ms <= CUE_MS_MAX && fits(&longer)
}

fn fits(text: &str) -> bool {
    text.chars().count() <= LINE_LETTERS_MAX || parted(text).is_some()
}

/// Where a text that is too long for one line is parted into two, as evenly as can be: the letters before, and those
/// after.
fn parted(text: &str) -> Option<(String, String)> {
    let letters: Vec<char> = text.chars().collect();
    let spaced = letters.contains(&' ');
    let places = (1..letters.len()).filter(|&at| !spaced || letters[at] == ' ');
    let halves = places.map(|at| (at, letters.len() - at - usize::from(spaced)));
    let fitting = halves.filter(|(before, after)| *before <= LINE_LETTERS_MAX && *after <= LINE_LETTERS_MAX);
    let (at, after) = fitting.min_by_key(|(before, after)| before.abs_diff(*after))?;
    Some((letters[..at].iter().collect(), letters[letters.len() - after..].iter().collect()))
}

fn lines(text: &str) -> Vec<String> {
    let lines = match parted(text).filter(|_| text.chars().count() > LINE_LETTERS_MAX) {
        Some((first, second)) => vec![first, second],
        None => vec![text.to_owned()],
    };
    debug_assert!(lines.len() <= LINES_MAX);
    lines
}

/// A `WebVTT` segment of an HLS rendition (RFC 8216bis, 3.1.4): the cues that reach into the time from `from_ms` to
/// `to_ms`, at their times on the stream's timeline, which the files have later by [`ORIGIN_S`].
pub fn segment(cues: &[Cue], from_ms: i64, to_ms: i64) -> String {
    let mut text = format!("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:{},LOCAL:00:00:00.000\n", ORIGIN_S * 90_000);
    write(&mut text, cues.iter().filter(|cue| cue.end_ms > from_ms && cue.start_ms < to_ms));
    text
}

/// A track of metadata: a cue for each entry, whose text is the entry as JSON.
pub fn metadata(entries: &[Entry]) -> String {
    let mut text = String::from("WEBVTT\n");
    for entry in entries {
        let (start, end) = (stamp(entry.start_ms, '.'), stamp(entry.end_ms.max(entry.start_ms + 1), '.'));
        // Programs read such a text as it is; only an arrow may not stand in it.
        let json = serde_json::to_string(entry).expect("its keys are text and its numbers finite");
        let _ = write!(text, "\n{start} --> {end}\n{}\n", json.replace('>', "\\u003e"));
    }
    text
}

/// A whole file.
pub fn file(cues: &[Cue]) -> String {
    let mut text = String::from("WEBVTT\n");
    write(&mut text, cues.iter());
    text
}

fn write<'a>(text: &mut String, cues: impl Iterator<Item = &'a Cue>) {
    for cue in cues {
        let (start, end) = (stamp(cue.start_ms, '.'), stamp(cue.end_ms, '.'));
        let _ = write!(text, "\n{start} --> {end}\n{}\n", payload(cue));
    }
}

/// A cue's text.
fn payload(cue: &Cue) -> String {
    // A blank line would end the cue, and a lone carriage return is a line's end as well.
    let lines: Vec<String> = cue.lines.iter().map(|line| escaped(line)).collect();
    lines.join("\n")
}

/// The same as `SubRip`.
pub fn srt(cues: &[Cue]) -> String {
    let mut text = String::new();
    for (at, cue) in cues.iter().enumerate() {
        let (start, end) = (stamp(cue.start_ms, ','), stamp(cue.end_ms, ','));
        let lines = cue.lines.join("\r\n");
        let _ = write!(text, "{}\r\n{start} --> {end}\r\n{lines}\r\n\r\n", at + 1);
    }
    text
}

fn stamp(ms: i64, point: char) -> String {
    let ms = ms.max(0);
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}{point}{:03}", ms % 1_000)
}

/// What stands for a letter that has a meaning of its own (W3C's `WebVTT` 1.0, 3.1).
fn escaped(line: &str) -> String {
    line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests;
