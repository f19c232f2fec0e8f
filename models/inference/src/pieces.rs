//! What is given to Whisper at once, and up to where a window is settled. Pure.
//!
//! Whisper hears half a minute at a time. Spans of speech are put together up to that, cut in pauses; and what may go on
//! behind the window's end is left to the next window, which begins where this one is settled.

use crate::{RATE, speech::Span};

/// Of a piece, in samples: a little less than Whisper's half minute.
pub(crate) const PIECE_MAX: usize = 28 * RATE;
/// Spans closer than this are one piece: sentences help each other.
const APART: usize = 2 * RATE;
/// A span that ends so close before the window's end may go on behind it.
const OPEN: usize = RATE * 45 / 100;

/// Silence before speech that goes on, which the next window begins with where there is so much: the detector of voice has to
/// hear how speech begins.
const LEAD: usize = RATE * 3 / 10;
/// What is shorter than this is not halved, however much is said in it.
const HALVED_MIN: usize = 4 * RATE;

/// How a window is heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// What to give to Whisper, in order.
    pub(crate) pieces: Vec<Span>,
    /// Up to where all is said with that, in samples.
    pub(crate) settled: usize,
    /// The last piece ends in the middle of speech: its last words are to be taken back, and it is settled before them.
    pub(crate) is_cut: bool,
    /// Speech that goes on, and is left to the next window.
    pub(crate) open: Option<Span>,
}

/// Plans a window of `length` samples. Nothing comes after the `last` one; one longer than `patience` is settled even
/// where nobody pauses.
pub(crate) fn plan(spans: &[Span], length: usize, last: bool, patience: usize) -> Plan {
    let goes_on = spans.last().is_some_and(|span| span.end + OPEN > length);
    if last || !goes_on {
        // A word that begins now shows only later: its beginning is kept for the next window.
        let spoken = spans.last().map_or(0, |span| span.end);
        let settled = if last { length } else { spoken.max(length.saturating_sub(OPEN)) };
        return Plan { pieces: pieces(spans), settled, is_cut: false, open: None };
    }
    let (open, before) = spans.split_last().expect("one goes on");
    if length - open.start < patience.max(RATE) {
        let settled = open.start.saturating_sub(LEAD).max(before.last().map_or(0, |span| span.end));
        return Plan { pieces: pieces(before), settled, is_cut: false, open: Some(*open) };
    }
    Plan { pieces: pieces(spans), settled: length, is_cut: true, open: None }
}

/// Spans of speech, put together up to what Whisper hears at once.
pub(crate) fn pieces(spans: &[Span]) -> Vec<Span> {
    let mut pieces: Vec<Span> = Vec::new();
    for span in spans {
        match pieces.last_mut() {
            Some(piece) if span.start - piece.end <= APART && span.end - piece.start <= PIECE_MAX => {
                piece.end = span.end;
            }
            _ => pieces.push(*span),
        }
    }
    pieces
}

/// A piece in two, in the pause nearest to its middle, or there where nobody pauses. `None` where it is too short for that.
pub(crate) fn halves(piece: &Span, spans: &[Span]) -> Option<(Span, Span)> {
    let middle = usize::midpoint(piece.start, piece.end);
    let within = |pair: &[Span]| pair[0].end > piece.start && pair[1].start < piece.end;
    let pauses = spans.windows(2).filter(|pair| within(pair)).map(|pair| (pair[0].end, pair[1].start));
    let (end, start) = pauses.min_by_key(|(end, _)| end.abs_diff(middle)).unwrap_or((middle, middle));
    let (first, second) = (Span { start: piece.start, end }, Span { start, end: piece.end });
    (piece.end - piece.start >= HALVED_MIN).then_some((first, second))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(seconds: &[(f64, f64)]) -> Vec<Span> {
        let samples = |s: f64| (s * RATE as f64) as usize;
        seconds.iter().map(|(start, end)| Span { start: samples(*start), end: samples(*end) }).collect()
    }

    fn planned(seconds: &[(f64, f64)], length_s: usize, last: bool) -> (Vec<(f64, f64)>, f64, bool) {
        let plan = plan(&spans(seconds), length_s * RATE, last, 12 * RATE);
        let s = |samples: usize| samples as f64 / RATE as f64;
        (plan.pieces.iter().map(|piece| (s(piece.start), s(piece.end))).collect(), s(plan.settled), plan.is_cut)
    }

    #[test]
    fn sentences_stand_together_and_pauses_part_them() {
        let (pieces, settled, is_cut) = planned(&[(1.0, 5.0), (6.0, 9.0), (13.0, 15.0)], 20, true);
        assert_eq!((pieces, settled, is_cut), (vec![(1.0, 9.0), (13.0, 15.0)], 20.0, false));
        let (pieces, ..) = planned(&[(0.0, 15.0), (15.5, 27.0), (28.0, 40.0)], 60, true);
        assert_eq!(pieces, [(0.0, 27.0), (28.0, 40.0)]);
    }

    #[test]
    fn what_may_go_on_is_left_to_the_next_window() {
        let (pieces, settled, _) = planned(&[(1.0, 4.0), (6.0, 10.0)], 10, false);
        assert_eq!((pieces, settled), (vec![(1.0, 4.0)], 5.7));
        let (_, settled, _) = planned(&[(1.0, 4.0), (4.2, 10.0)], 10, false);
        assert!((settled - 4.0).abs() < 1e-9, "the pause is shorter");
        let open = plan(&spans(&[(1.0, 4.0), (6.0, 10.0)]), 10 * RATE, false, 12 * RATE).open;
        assert_eq!(open, Some(Span { start: 6 * RATE, end: 10 * RATE }));
        // The same at the end of the stream is heard.
        assert_eq!(planned(&[(1.0, 4.0), (6.0, 10.0)], 10, true), (vec![(1.0, 10.0)], 10.0, false));
    }

    #[test]
    fn halves_part_in_a_pause_near_the_middle() {
        let parted = |piece: (f64, f64), speech: &[(f64, f64)]| {
            let (first, second) = halves(&spans(&[piece])[0], &spans(speech))?;
            let s = |samples: usize| samples as f64 / RATE as f64;
            Some(((s(first.start), s(first.end)), (s(second.start), s(second.end))))
        };
        let speech = [(0.0, 3.0), (4.0, 11.0), (12.0, 15.0), (16.0, 24.0), (30.0, 40.0)];
        assert_eq!(parted((4.0, 24.0), &speech), Some(((4.0, 15.0), (16.0, 24.0))));
        assert_eq!(parted((30.0, 40.0), &speech), Some(((30.0, 35.0), (35.0, 40.0))));
        assert_eq!(parted((12.0, 15.0), &speech), None);
    }

    #[test]
    fn patience_has_an_end() {
        assert_eq!(planned(&[(0.0, 10.0)], 10, false), (vec![], 0.0, false));
        assert_eq!(planned(&[(0.0, 14.0)], 14, false), (vec![(0.0, 14.0)], 14.0, true));
    }

    #[test]
    fn silence_is_settled_but_for_its_end() {
        assert_eq!(planned(&[], 10, false), (vec![], 9.55, false));
        assert_eq!(planned(&[], 10, true), (vec![], 10.0, false));
        assert_eq!(planned(&[(1.0, 9.5)], 10, false), (vec![(1.0, 9.5)], 9.55, false));
    }
}
