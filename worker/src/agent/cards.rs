//! Which lease gets which graphics card, and which cards are left alone for a while because they refused.
//!
//! Owns the places and the sessions that are taken. A lease that gets no card is worked on in software. Called by the
//! tasks, through the outbox.

use millrace_media::card::Refusal;

/// A card that leases may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seats {
    /// Leases that use it at once, at most.
    pub slots: u32,
    /// Encoding sessions that it has; none on cards that only decode.
    pub sessions: u32,
}

/// A place at a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) card: usize,
    sessions: u32,
}

/// So many refusals one after the other set a card aside.
const REFUSALS_MAX: u32 = 3;
/// For so long at first ...
const ASIDE_MS_MIN: u64 = 30_000;
/// ... twice as long each time that it goes on, and never longer than this: a driver is mended some day.
const ASIDE_MS_MAX: u64 = 15 * 60_000;

#[derive(Debug)]
struct Card {
    seats: Seats,
    slots_taken: u32,
    sessions_taken: u32,
    /// Refusals since it last did something.
    refusals: u32,
    /// Times that it was set aside since then.
    asides: u32,
    aside_until_ms: u64,
}

/// All cards.
#[derive(Debug)]
pub(super) struct Cards(Vec<Card>);

impl Cards {
    pub(super) fn new(seats: &[Seats]) -> Self {
        let card =
            |&seats| Card { seats, slots_taken: 0, sessions_taken: 0, refusals: 0, asides: 0, aside_until_ms: 0 };
        Self(seats.iter().map(card).collect())
    }

    /// A place for a lease with so many renditions, at the card with the most room; none if all are full or set aside.
    pub(super) fn take(&mut self, renditions: usize, now_ms: u64) -> Option<Place> {
        let wanted = u32::try_from(renditions).unwrap_or(u32::MAX);
        let sessions = |card: &Card| if card.seats.sessions == 0 { 0 } else { wanted };
        let has_room = |card: &Card| {
            card.slots_taken < card.seats.slots
                && sessions(card) <= card.seats.sessions - card.sessions_taken
                && card.aside_until_ms <= now_ms
        };
        // Compared without rounding to zero: 1,000 steps are finer than any number of places.
        let load = |card: &Card| u64::from(card.slots_taken) * 1_000 / u64::from(card.seats.slots.max(1));
        let (at, card) =
            self.0.iter_mut().enumerate().filter(|(_, card)| has_room(card)).min_by_key(|(_, card)| load(card))?;
        let sessions = sessions(card);
        card.slots_taken += 1;
        card.sessions_taken += sessions;
        Some(Place { card: at, sessions })
    }

    pub(super) fn give_back(&mut self, place: Place) {
        let card = &mut self.0[place.card];
        card.slots_taken -= 1;
        card.sessions_taken -= place.sessions;
    }

    /// It did what it was asked.
    pub(super) fn did(&mut self, place: Place) {
        let card = &mut self.0[place.card];
        (card.refusals, card.asides) = (0, 0);
    }

    /// It refused. What it can't do at all says nothing of its health.
    pub(super) fn refused(&mut self, place: Place, refusal: Refusal, now_ms: u64) {
        let card = &mut self.0[place.card];
        if refusal == Refusal::Unsupported {
            return;
        }
        card.refusals += 1;
        if card.refusals >= REFUSALS_MAX && card.aside_until_ms <= now_ms {
            let aside_ms = (ASIDE_MS_MIN << card.asides.min(16)).min(ASIDE_MS_MAX);
            card.asides += 1;
            card.aside_until_ms = now_ms.saturating_add(aside_ms);
            // After that one more refusal is enough.
            card.refusals = REFUSALS_MAX - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cards(seats: &[(u32, u32)]) -> Cards {
        let seats: Vec<_> = seats.iter().map(|&(slots, sessions)| Seats { slots, sessions }).collect();
        Cards::new(&seats)
    }

    #[test]
    fn leases_are_spread_over_cards_and_never_beyond_their_places() {
        let mut cards = cards(&[(2, 48), (1, 48)]);
        let places: Vec<_> = (0..3).map(|_| cards.take(4, 0).unwrap()).collect();
        assert_eq!(places.iter().map(|place| place.card).collect::<Vec<_>>(), [0, 1, 0]);
        assert_eq!(cards.take(4, 0), None);
        cards.give_back(places[1]);
        assert_eq!(cards.take(4, 0).map(|place| place.card), Some(1));
    }

    #[test]
    fn sessions_are_counted_by_rendition() {
        let mut cards = cards(&[(4, 8)]);
        let first = cards.take(5, 0).unwrap();
        assert_eq!(cards.take(5, 0), None, "three sessions are left");
        assert!(cards.take(3, 0).is_some());
        cards.give_back(first);
        assert!(cards.take(5, 0).is_some());
        assert_eq!(cards.take(9, 0), None, "more than it has");
    }

    #[test]
    fn a_card_that_only_decodes_has_no_sessions_to_count() {
        let mut cards = cards(&[(2, 0)]);
        assert!(cards.take(16, 0).is_some() && cards.take(16, 0).is_some());
        assert_eq!(cards.take(1, 0), None);
    }

    #[test]
    fn repeated_refusals_set_a_card_aside_longer_each_time() {
        let mut cards = cards(&[(1, 8)]);
        let mut refuse = |now_ms| {
            let place = cards.take(1, now_ms)?;
            cards.give_back(place);
            cards.refused(place, Refusal::Full, now_ms);
            Some(place)
        };
        for _ in 0..REFUSALS_MAX {
            assert!(refuse(0).is_some());
        }
        let (mut now_ms, mut aside_ms) = (0, ASIDE_MS_MIN);
        for _ in 0..10 {
            assert!(refuse(now_ms + aside_ms - 1).is_none(), "it is left alone");
            now_ms += aside_ms;
            assert!(refuse(now_ms).is_some(), "it is tried again, once");
            aside_ms = (aside_ms * 2).min(ASIDE_MS_MAX);
        }
        assert_eq!(aside_ms, ASIDE_MS_MAX);
    }

    #[test]
    fn one_success_forgives_and_what_is_not_supported_is_no_fault() {
        let mut cards = cards(&[(1, 8)]);
        let place = cards.take(1, 0).unwrap();
        for _ in 0..10 {
            cards.refused(place, Refusal::Unsupported, 0);
            cards.refused(place, Refusal::Lost, 0);
            cards.did(place);
        }
        cards.give_back(place);
        assert!(cards.take(1, 0).is_some());
    }
}
