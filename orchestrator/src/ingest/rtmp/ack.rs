//! Which bytes may be acknowledged to a publisher. Pure.
//!
//! The receiver of the events commits what is complete before it receives on. So an event is settled once the
//! receiver has taken the one behind it, and bytes are settled when all events made of them are.

use std::collections::VecDeque;

/// Counts events into the channel, and remembers which bytes they came from.
#[derive(Debug, Default)]
pub(crate) struct Account {
    sent: u64,
    /// Events sent, and bytes that they settle; the later, the more of both.
    marks: VecDeque<(u64, u64)>,
    acknowledged: u64,
}

impl Account {
    /// An event went into the channel.
    pub(crate) fn sent(&mut self) {
        self.sent += 1;
    }

    /// All bytes up to this count are in the events sent so far.
    pub(crate) fn mark(&mut self, bytes: u64) {
        match self.marks.back_mut() {
            Some(last) if last.0 == self.sent => last.1 = bytes,
            _ => self.marks.push_back((self.sent, bytes)),
        }
    }

    /// The count of bytes to acknowledge now, if it is due: `window_bytes` more than last time are settled.
    /// `waiting` is how many events the channel holds.
    pub(crate) fn due(&mut self, waiting: usize, window_bytes: u32) -> Option<u64> {
        let settled = self.sent.saturating_sub(waiting as u64 + 1);
        let mut bytes = None;
        while let Some((_, mark)) = self.marks.pop_front_if(|(sent, _)| *sent <= settled) {
            bytes = Some(mark);
        }
        let bytes = bytes?;
        if bytes - self.acknowledged < window_bytes.into() {
            // Not yet, and by then all that is settled counts.
            self.marks.push_front((settled, bytes));
            return None;
        }
        self.acknowledged = bytes;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_settled_when_the_next_is_taken() {
        let mut account = Account::default();
        account.mark(50);
        assert_eq!(account.due(0, 10), Some(50), "no event was made of it");
        account.sent();
        account.mark(100);
        assert_eq!(account.due(1, 10), None, "it waits");
        assert_eq!(account.due(0, 10), None, "it was taken, and may not be committed");
        account.sent();
        account.mark(200);
        assert_eq!(account.due(1, 10), None, "the next waits");
        assert_eq!(account.due(0, 10), Some(100));
        assert_eq!(account.due(0, 10), None, "once");
        account.sent();
        account.mark(300);
        assert_eq!(account.due(0, 10), Some(200));
    }

    #[test]
    fn a_window_must_be_full() {
        let mut account = Account::default();
        for bytes in (100..=1_000).step_by(100) {
            account.sent();
            account.mark(bytes);
            assert_eq!(account.due(0, 250), [400, 700, 1_000].contains(&bytes).then(|| bytes - 100), "{bytes}");
            assert!(account.marks.len() < 3);
        }
    }
}
