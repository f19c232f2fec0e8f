//! Where a run can be cut: before a picture that is shown after all that came before it, and that nothing which
//! comes later is shown before. Pure; knows nothing of lengths.

use std::collections::VecDeque;

/// A place before a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// How many samples stand before it.
    pub(super) at: usize,
    /// The earliest presentation time behind it: leading pictures are shown before their keyframe.
    pub(super) start: i64,
    /// Decoding can start here.
    pub(super) key: bool,
    /// The latest presentation time before it.
    before: i64,
    /// A picture that is shown later came since: no leading picture is to come any more.
    sure: bool,
}

/// The places of one run, in order.
#[derive(Debug, Default)]
pub(super) struct Places {
    list: VecDeque<Place>,
    latest: Option<i64>,
}

impl Places {
    /// Takes note of the next picture in decode order, of which `at` stand before it.
    pub(super) fn push(&mut self, at: usize, pts: i64, key: bool) {
        // Shown before something that stands before the place: no cut can be made there.
        self.list.retain(|place| pts > place.before);
        for place in &mut self.list {
            place.start = place.start.min(pts);
        }
        let Some(before) = self.latest else {
            self.latest = Some(pts);
            return;
        };
        if pts > before {
            self.settle();
            self.list.push_back(Place { at, start: pts, key, before, sure: false });
            self.latest = Some(pts);
        }
    }

    /// The latest presentation time of all.
    pub(super) fn latest(&self) -> Option<i64> {
        self.latest
    }

    /// Nothing more will come: every place is sure.
    pub(super) fn settle(&mut self) {
        for place in &mut self.list {
            place.sure = true;
        }
    }

    /// The first place that `fits`; with whether it is sure.
    pub(super) fn find(&self, fits: impl Fn(&Place) -> bool) -> Option<(Place, bool)> {
        self.list.iter().find(|place| fits(place)).map(|place| (*place, place.sure))
    }

    /// The run was cut at `place`, whose samples before it are gone.
    pub(super) fn cut(&mut self, place: Place) {
        self.list.retain_mut(|other| {
            let later = other.at > place.at;
            other.at = other.at.saturating_sub(place.at);
            later
        });
    }

    /// All samples are gone.
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.latest = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(pictures: &[(i64, bool)]) -> Vec<(usize, i64, bool)> {
        let mut places = Places::default();
        for (at, (pts, key)) in pictures.iter().enumerate() {
            places.push(at, *pts, *key);
        }
        places.list.iter().map(|place| (place.at, place.start, place.sure)).collect()
    }

    #[test]
    fn pictures_in_order_can_be_parted_anywhere() {
        assert_eq!(places(&[(0, true), (1, false), (2, false)]), [(1, 1, true), (2, 2, false)]);
    }

    #[test]
    fn what_is_shown_between_stays_together() {
        // I0 P3 B1 B2 P6 B4 B5
        let pictures = [(0, true), (3, false), (1, false), (2, false), (6, false), (4, false), (5, false)];
        assert_eq!(places(&pictures), [(1, 1, true), (4, 4, false)]);
    }

    #[test]
    fn leading_pictures_go_with_their_keyframe() {
        // P2, then I5 with B3 and B4 that are shown before it.
        assert_eq!(places(&[(0, true), (2, false), (5, true), (3, false), (4, false), (6, false)])[1], (2, 3, true));
    }

    #[test]
    fn a_picture_from_before_a_place_closes_it() {
        assert_eq!(places(&[(0, true), (4, false), (8, false), (2, false)]), [(1, 2, true)]);
    }
}
