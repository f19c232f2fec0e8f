//! Which segments of a playlist are next: each once and in order, over reloads and restarts. Pure.
//!
//! A segment's number in the store is its media sequence number, moved by an offset that is stored before the first
//! segment is taken. So whoever knows the offset and the next number knows what was taken.

use super::playlist::Media;

/// A live stream begins so many target durations before the end of its first playlist (RFC 8216, 6.3.3).
const EDGE_TARGETS: u64 = 3;

/// A playlist that ends so much before the next segment, beyond its own length, is no old copy but a new count.
const STALE_SEGMENTS: u64 = 3;

/// How far a playlist was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Number minus media sequence number; absent before the first segment.
    offset: Option<i64>,
    /// The next number.
    next: u64,
}

/// What a look at a playlist showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// Where in the playlist the next segment is; its length if it is not there yet.
    pub(super) from: usize,
    /// Segments that were there once and are not any more.
    pub(super) missed: u64,
    /// The offset is new: it is to be stored before a segment is taken.
    pub(super) moved: bool,
}

impl Cursor {
    /// Goes on at number `next`, with the offset that was stored.
    pub(super) fn new(offset: Option<i64>, next: u64) -> Self {
        Self { offset, next }
    }

    /// Number minus media sequence number.
    pub(super) fn offset(&self) -> i64 {
        self.offset.unwrap_or(0)
    }

    /// The number of the segment with this media sequence number.
    pub(super) fn number(&self, sequence: u64) -> u64 {
        sequence.saturating_add_signed(self.offset())
    }

    /// Whether all below this number is taken.
    pub(super) fn is_through(&self, number: u64) -> bool {
        self.next >= number
    }

    /// The segment with this number was taken, or is passed over.
    pub(super) fn took(&mut self, number: u64) {
        self.next = self.next.max(number + 1);
    }

    /// Looks at a newly loaded playlist.
    pub(super) fn look(&mut self, list: &Media) -> Look {
        let (Some(first), Some(last)) = (list.segments.first(), list.segments.last()) else {
            return Look { from: 0, missed: 0, moved: false };
        };
        let count = list.segments.len() as u64;
        let end = i128::from(last.sequence) + i128::from(self.offset()) + 1;
        if self.offset.is_none() || end + i128::from(count + STALE_SEGMENTS) < i128::from(self.next) {
            let from = if list.ended { 0 } else { edge(list) };
            self.offset = Some(self.next as i64 - list.segments[from].sequence as i64);
            return Look { from, missed: 0, moved: true };
        }
        let missed = self.number(first.sequence).saturating_sub(self.next);
        let from = list.segments.iter().position(|segment| self.number(segment.sequence) >= self.next);
        Look { from: from.unwrap_or(list.segments.len()), missed, moved: false }
    }
}

/// Where a live playlist is entered.
fn edge(list: &Media) -> usize {
    let mut left_ms = EDGE_TARGETS * list.target_ms;
    let mut from = list.segments.len();
    while from > 0 && left_ms > 0 {
        from -= 1;
        left_ms = left_ms.saturating_sub(list.segments[from].duration_ms.max(1));
    }
    from.min(list.segments.len().saturating_sub(1))
}

#[cfg(test)]
mod tests;
