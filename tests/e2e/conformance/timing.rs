//! Rules that segments must keep: where they start, and when everything in them is. Pure.

use std::collections::BTreeMap;

use super::{
    Book, Finding, Findings,
    list::Entry,
    media::{IDR, Init, Piece},
    rules::MAP,
};

/// One of so many of the source's frames is the least that a profile can ask for.
const PART_MAX: usize = 4;

pub(super) const LISTED: &str = "RFC 8216bis 6.2.1 (what is listed is there)";
pub(super) const KEY: &str = "RFC 8216bis 4.4.2.1, Apple's authoring specification 1.9 (segments start with an IDR)";
pub(super) const CONTINUOUS: &str = "RFC 8216bis 3.1 (decode times are continuous)";
pub(super) const SUMS: &str = "RFC 8216bis 4.4.4.1 (EXTINF is accurate)";
pub(super) const SAME_TIMES: &str = "RFC 8216bis 6.2.4 (variants have matching timestamps)";

impl Book {
    /// Every entry that a media playlist ever had, in order.
    pub(super) fn entries(&self, url: &str) -> impl Iterator<Item = &Entry> {
        let states = self.lists.get(url).into_iter().flatten();
        states
            .flat_map(|list| &list.entries)
            .map(|entry| (entry.number, entry))
            .collect::<BTreeMap<_, _>>()
            .into_values()
    }

    /// What an entry really is, if it can be read.
    pub(super) fn media(&self, entry: &Entry) -> Option<(&Init, &Piece)> {
        let init = self.inits.get(entry.init.as_ref()?)?.as_ref().ok()?;
        Some((init, self.pieces.get(&entry.url)?.as_ref().ok()?))
    }
}

pub(super) fn judge(book: &Book) -> Vec<Finding> {
    let mut findings = Findings::default();
    for (url, init) in &book.inits {
        findings.check(init.is_ok(), MAP, url, || format!("{init:?}"));
    }
    for (url, piece) in &book.pieces {
        findings.check(piece.is_ok(), LISTED, url, || format!("{piece:?}"));
    }
    let starts_s = starts_s(book);
    let mut shown = BTreeMap::new();
    for url in book.lists.keys() {
        let mut before: Option<(&Entry, u64)> = None;
        let mut run: Option<Run> = None;
        for entry in book.entries(url) {
            let Some((init, piece)) = book.media(entry) else {
                before = None;
                run = run.map(|run| run.after(entry));
                continue;
            };
            let video = init.size.is_some();
            let number = entry.number;
            findings.check(piece.starts_sync, KEY, &entry.url, || "its first sample is no sync sample".into());
            let idr = !init.codec.starts_with("avc1") || piece.slice == Some(IDR);
            findings.check(idr, KEY, &entry.url, || format!("{:?}", piece.slice));
            if let Some((last, decode_end)) = before
                && last.number + 1 == number
                && last.discontinuity == entry.discontinuity
            {
                findings.check(decode_end == piece.decode_start, CONTINUOUS, url, || {
                    format!("{} ends at {decode_end}, {number} starts at {}", last.number, piece.decode_start)
                });
            }
            before = Some((entry, piece.decode_end));
            if !video {
                continue;
            }
            let times: Vec<_> = piece.shown.iter().map(|pts| (*pts, init.timescale)).collect();
            let other = shown.entry(number).or_insert_with(|| times.clone());
            findings.check(same_times(other, &times), SAME_TIMES, url, || format!("{number} has times of its own"));

            let current = run.take().filter(|run| run.discontinuity == entry.discontinuity);
            let current = current.unwrap_or_else(|| Run {
                discontinuity: entry.discontinuity,
                start_s: starts_s.get(&number).copied().unwrap_or_default(),
                listed_s: 0.0,
            });
            let start_s = piece.shown[0] as f64 / f64::from(init.timescale);
            let frame_s =
                (piece.decode_end - piece.decode_start) as f64 / f64::from(init.timescale) / piece.shown.len() as f64;
            let off_s = start_s - current.start_s - current.listed_s;
            // The first segment may start with sound.
            let right = if current.listed_s == 0.0 { off_s >= -frame_s } else { off_s.abs() <= frame_s };
            findings.check(right, SUMS, url, || format!("{number} is {off_s} s off the sum before it"));
            run = Some(current.after(entry));
        }
    }
    findings.0
}

/// A run of entries without discontinuity.
#[derive(Debug)]
struct Run {
    discontinuity: u64,
    start_s: f64,
    /// All `EXTINF` since.
    listed_s: f64,
}

impl Run {
    fn after(mut self, entry: &Entry) -> Self {
        self.listed_s += entry.duration_s;
        self
    }
}

/// When the earliest rendition starts in every entry, by number.
fn starts_s(book: &Book) -> BTreeMap<u64, f64> {
    let mut starts_s = BTreeMap::new();
    for url in book.lists.keys() {
        for entry in book.entries(url) {
            let Some((init, piece)) = book.media(entry) else { continue };
            let start_s = piece.shown[0] as f64 / f64::from(init.timescale);
            let earliest_s = starts_s.entry(entry.number).or_insert(start_s);
            *earliest_s = start_s.min(*earliest_s);
        }
    }
    starts_s
}

/// Whether two lists of times with their timescales are the same, exactly. One may have only every n-th of the other's
/// (Apple's authoring specification 1.14: the frame rate of a variant may be a part of the source's).
fn same_times(a: &[(i64, u32)], b: &[(i64, u32)]) -> bool {
    let exactly = |((a, a_scale), (b, b_scale)): (&(i64, u32), &(i64, u32))| {
        i128::from(*a) * i128::from(*b_scale) == i128::from(*b) * i128::from(*a_scale)
    };
    let (more, less) = if a.len() < b.len() { (b, a) } else { (a, b) };
    let part = |divisor: usize| {
        less.len() == more.len().div_ceil(divisor) && more.iter().step_by(divisor).zip(less).all(exactly)
    };
    (1..=PART_MAX).any(part)
}
