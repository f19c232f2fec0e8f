//! Playlists that grow, slide, stand still, go back and begin anew.

use super::*;
use crate::ingest::{
    fetch::address,
    pull::playlist::{Resource, Segment},
};

fn list(first: u64, count: u64, ended: bool) -> Media {
    let url = address::parse("https://example.org/1.ts").unwrap();
    let segment = |sequence| Segment {
        sequence,
        media: Resource { url: url.clone(), span: None },
        duration_ms: 2_000,
        init: None,
        key: None,
        gap: false,
    };
    Media { target_ms: 2_000, ended, segments: (first..first + count).map(segment).collect() }
}

/// Takes all that is new, and returns its numbers and media sequence numbers.
fn take(cursor: &mut Cursor, list: &Media) -> Vec<(u64, u64)> {
    let from = cursor.look(list).from;
    let taken: Vec<_> =
        list.segments[from..].iter().map(|segment| (cursor.number(segment.sequence), segment.sequence)).collect();
    for (number, _) in &taken {
        cursor.took(*number);
    }
    taken
}

#[test]
fn recordings_are_taken_from_their_start_and_broadcasts_from_near_their_end() {
    let mut vod = Cursor::new(None, 0);
    assert_eq!(vod.look(&list(5, 4, true)), Look { from: 0, missed: 0, moved: true });
    assert_eq!(take(&mut vod, &list(5, 4, true)), [(0, 5), (1, 6), (2, 7), (3, 8)]);
    let mut live = Cursor::new(None, 0);
    assert_eq!(take(&mut live, &list(100, 10, false)), [(0, 107), (1, 108), (2, 109)]);
    assert_eq!(live.offset(), -107);
    assert_eq!(take(&mut Cursor::new(None, 0), &list(0, 1, false)), [(0, 0)]);
    assert_eq!(Cursor::new(None, 0).look(&list(0, 0, false)).from, 0);
}

#[test]
fn every_segment_is_taken_once_over_reloads_and_restarts() {
    let mut cursor = Cursor::new(None, 0);
    assert_eq!(take(&mut cursor, &list(100, 5, false)).len(), 3);
    assert_eq!(take(&mut cursor, &list(100, 5, false)), []);
    assert_eq!(take(&mut cursor, &list(101, 5, false)), [(3, 105)]);
    assert_eq!(take(&mut cursor, &list(99, 5, false)), [], "an old copy");
    // What the store knows is enough.
    let mut cursor = Cursor::new(Some(cursor.offset()), cursor.next);
    assert_eq!(take(&mut cursor, &list(102, 5, false)), [(4, 106)]);
    // Away for too long: there is a hole in the numbers.
    let look = cursor.look(&list(110, 5, false));
    assert_eq!((look.from, look.missed, look.moved), (0, 3, false));
    assert_eq!(take(&mut cursor, &list(110, 5, false))[0], (8, 110));
}

#[test]
fn a_server_that_counts_anew_is_followed() {
    let mut cursor = Cursor::new(Some(-100), 40);
    assert_eq!(cursor.look(&list(0, 3, false)), Look { from: 0, missed: 0, moved: true });
    assert_eq!(take(&mut cursor, &list(0, 3, false)), [(40, 0), (41, 1), (42, 2)]);
    assert_eq!(take(&mut cursor, &list(1, 3, false)), [(43, 3)]);
}

#[test]
fn numbers_at_their_limits_do_no_harm() {
    let mut cursor = Cursor::new(None, 0);
    let far = list((1 << 53) - 2, 3, false);
    assert_eq!(take(&mut cursor, &far).len(), 3);
    assert_eq!(take(&mut cursor, &list(0, 3, false)), [(3, 0), (4, 1), (5, 2)], "far below: it counts anew");
}
