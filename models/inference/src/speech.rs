//! From how likely speech is at each step to when someone speaks. Pure.
//!
//! As Silero's own `get_speech_timestamps` does it: speech begins above one threshold and goes on until it is below the
//! other for a while; what is too short to be a word is none.

use crate::voice::STEP;

/// Silence that ends a span, in steps: 288 ms. Between words there is less, between sentences more.
const PAUSE_STEPS: usize = 9;
/// The shortest speech, in steps: 192 ms.
const SPEECH_STEPS_MIN: usize = 6;
/// Added on both sides, in samples: consonants begin quietly.
const PAD: usize = 2_400;

/// When someone speaks, in samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first sample.
    pub start: usize,
    /// The sample behind the last one.
    pub end: usize,
}

/// When someone speaks in `length` samples.
pub(crate) fn spans(probabilities: &[f32], speech: f32, pause: f32, length: usize) -> Vec<Span> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    // Where speech began, and its last step so far that was no silence.
    let mut open: Option<(usize, usize)> = None;
    for (step, probability) in probabilities.iter().enumerate() {
        open = match open {
            None if *probability >= speech => Some((step, step)),
            Some((start, _)) if *probability >= pause => Some((start, step)),
            Some((start, last)) if step - last >= PAUSE_STEPS => {
                found.push((start, last + 1));
                None
            }
            open => open,
        };
    }
    found.extend(open.map(|(start, last)| (start, last + 1)));
    found.retain(|(start, end)| end - start >= SPEECH_STEPS_MIN);
    let padded = found
        .iter()
        .map(|(start, end)| Span { start: (start * STEP).saturating_sub(PAD), end: (end * STEP + PAD).min(length) });
    let mut spans: Vec<Span> = Vec::new();
    for span in padded {
        match spans.last_mut() {
            // Two that come to overlap meet in the middle of what was between them.
            Some(last) if last.end > span.start => {
                let middle = usize::midpoint(last.end, span.start);
                last.end = middle;
                spans.push(Span { start: middle, ..span });
            }
            _ => spans.push(span),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoken(parts: &[(usize, f32)]) -> Vec<(usize, usize)> {
        let probabilities: Vec<f32> = parts.iter().flat_map(|(steps, value)| vec![*value; *steps]).collect();
        let spans = spans(&probabilities, 0.5, 0.35, probabilities.len() * STEP);
        spans.iter().map(|span| (span.start, span.end)).collect()
    }

    #[test]
    fn speech_begins_and_ends_at_its_thresholds() {
        assert_eq!(spoken(&[(100, 0.1)]), []);
        assert_eq!(spoken(&[(20, 0.1), (30, 0.9), (50, 0.1)]), [(20 * STEP - PAD, 50 * STEP + PAD)]);
        // What is in between the thresholds goes on with what was.
        assert_eq!(spoken(&[(20, 0.4), (30, 0.9), (20, 0.4), (50, 0.1)]), [(20 * STEP - PAD, 70 * STEP + PAD)]);
        assert_eq!(spoken(&[(10, 0.9)]), [(0, 10 * STEP)]);
        assert_eq!(spoken(&[(20, 0.1), (SPEECH_STEPS_MIN - 1, 0.9), (20, 0.1)]), []);
    }

    #[test]
    fn short_silence_is_no_pause_and_padding_never_overlaps() {
        assert_eq!(spoken(&[(20, 0.9), (PAUSE_STEPS - 1, 0.1), (20, 0.9)]), [(0, (40 + PAUSE_STEPS - 1) * STEP)]);
        let two = spoken(&[(20, 0.9), (PAUSE_STEPS + 1, 0.1), (20, 0.9)]);
        assert_eq!(two.len(), 2);
        assert!(two[0].1 <= two[1].0, "{two:?}");
    }
}
