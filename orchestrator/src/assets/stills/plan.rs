//! Which pictures become poster and thumbnails, how large, and the `WebVTT` that says where each is. Pure.

use std::fmt::Write;

use millrace_media::job::{Grid, Size, Stills};

use super::{LIVE_POSTER, POSTER};
use crate::{
    publish::hls::{AUDIO, iframes},
    store::record::{Segment, Stream, Variant},
};

/// Thumbnails of one recording at most; long ones have fewer a minute.
const THUMBNAILS_MAX: u64 = 200;
/// Nothing is gained by more than one in so long.
const INTERVAL_NS_MIN: u64 = 2_000_000_000;
/// Thumbnails beside and below each other on one sheet.
const COLUMNS: u32 = 5;
const ROWS: u32 = 5;
/// Longest side of a thumbnail and of a poster.
const THUMBNAIL_PX: u32 = 160;
const POSTER_PX: u32 = 1_280;
/// Key pictures that are looked at for a poster.
const CANDIDATES: usize = 8;
/// The same while a stream lives: the newest.
pub(super) const LIVE_CANDIDATES: u64 = 2;

/// What pictures are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    /// The rendition that they are taken from.
    pub name: String,
    /// The size that they get.
    pub size: Size,
}

/// Which pictures become what; places are those of the segments that it was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The poster.
    pub poster: Rung,
    /// What the poster is stored as.
    pub poster_as: &'static str,
    /// What it may be, in order.
    pub candidates: Vec<usize>,
    /// The thumbnails.
    pub small: Rung,
    /// Of these segments.
    pub thumbnails: Vec<usize>,
    /// Their sheets, if any are made.
    pub grid: Option<Grid>,
}

impl Plan {
    /// For a recording of these segments; `None` if none has a picture.
    pub fn recording(stream: &Stream, segments: &[Segment]) -> Option<Self> {
        let (poster, small) = rungs(stream)?;
        let pictured = |name: &str| {
            let name = name.to_owned();
            move |at: &usize| iframes::key(&segments[*at], &name).is_some()
        };
        let candidates: Vec<_> = (0..segments.len()).filter(pictured(&poster.name)).take(CANDIDATES).collect();
        let (first, last) = (segments.first()?, segments.last()?);
        let length_ns = last.start_ns + last.duration_ns - first.start_ns;
        let interval_ns = (length_ns / THUMBNAILS_MAX).max(INTERVAL_NS_MIN);
        let (mut thumbnails, mut next_ns) = (Vec::new(), first.start_ns);
        for at in (0..segments.len()).filter(pictured(&small.name)) {
            if segments[at].start_ns >= next_ns && (thumbnails.len() as u64) < THUMBNAILS_MAX {
                thumbnails.push(at);
                next_ns = segments[at].start_ns + interval_ns;
            }
        }
        let grid = Grid { tile: small.size, columns: COLUMNS, rows: ROWS };
        let plan = Self { poster, poster_as: POSTER, candidates, small, thumbnails, grid: Some(grid) };
        (!plan.candidates.is_empty() && !plan.thumbnails.is_empty()).then_some(plan)
    }

    /// For a live stream whose newest segments are these: a poster, the newest first.
    pub fn live(stream: &Stream, newest: &[Segment]) -> Option<Self> {
        let (poster, small) = rungs(stream)?;
        let candidates: Vec<_> =
            (0..newest.len()).rev().filter(|&at| iframes::key(&newest[at], &poster.name).is_some()).collect();
        let plan = Self { poster, poster_as: LIVE_POSTER, candidates, small, thumbnails: Vec::new(), grid: None };
        (!plan.candidates.is_empty()).then_some(plan)
    }

    /// `WebVTT` that says which part of which sheet shows what time (media fragments, `xywh`). Times are those that
    /// players show: from the first segment's start on.
    pub fn vtt(&self, segments: &[Segment], sheets: u32) -> String {
        let mut text = String::from("WEBVTT\n");
        let Some(Grid { tile, columns, rows }) = self.grid else { return text };
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else { return text };
        let end_ns = last.start_ns + last.duration_ns;
        for (at, &segment) in self.thumbnails.iter().enumerate() {
            let number = at as u32;
            let sheet = number / (columns * rows);
            if sheet >= sheets {
                break;
            }
            let from_ns = segments[segment].start_ns;
            let to_ns = self.thumbnails.get(at + 1).map_or(end_ns, |&next| segments[next].start_ns);
            let place = number % (columns * rows);
            // A last sheet with one row has no empty places beside its pictures; the others are full.
            let (x, y) = (place % columns * tile.width, place / columns * tile.height);
            let _ = write!(
                text,
                "\n{} --> {}\n{}#xywh={x},{y},{},{}\n",
                time(from_ns - first.start_ns),
                time(to_ns - first.start_ns),
                Stills::sheet(sheet),
                tile.width,
                tile.height
            );
        }
        text
    }
}

/// The poster from the largest rendition that is not above its size, the thumbnails from the smallest that is not
/// below theirs.
fn rungs(stream: &Stream) -> Option<(Rung, Rung)> {
    let mut videos: Vec<&Variant> =
        stream.variants.iter().filter(|variant| variant.name != AUDIO && variant.width > 0).collect();
    videos.sort_by_key(|video| video.width.max(video.height));
    let longest = |video: &&&Variant| video.width.max(video.height);
    let large = videos.iter().rev().find(|video| longest(video) <= POSTER_PX).or(videos.first())?;
    let small = videos.iter().find(|video| longest(video) >= THUMBNAIL_PX).or(videos.last())?;
    let rung = |video: &Variant, px| Rung { name: video.name.clone(), size: fit(video, px) };
    Some((rung(large, POSTER_PX), rung(small, THUMBNAIL_PX)))
}

/// The picture's size with its longest side at `px`, or its own if that is less; even.
fn fit(video: &Variant, px: u32) -> Size {
    let longest = video.width.max(video.height).max(1);
    let side = |side: u32| if longest <= px { side } else { (side * px + longest / 2) / longest };
    let even = |side: u32| (side & !1).max(2);
    Size { width: even(side(video.width)), height: even(side(video.height)) }
}

/// A time as `WebVTT` writes it.
fn time(ns: u64) -> String {
    let ms = ns / 1_000_000;
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        publish::{
            self,
            hls::tests::{bad, segment, stream},
        },
        store::record::SegmentState,
    };
    use millrace_proto::api::StreamState;

    #[test]
    fn thumbnails_cover_the_recording_and_gaps_keep_the_last_one() {
        let mut stream = stream(StreamState::Ended);
        let segments = [(7, false), (8, true), (9, false)]
            .map(|(seq, gap)| segment(seq, 0, if gap { bad() } else { SegmentState::Ready }));
        stream.variants = publish::list(&stream, &segments).variants;
        let plan = Plan::recording(&stream, &segments).unwrap();
        assert_eq!((plan.candidates.clone(), plan.thumbnails.clone()), (vec![0, 2], vec![0, 2]));
        assert_eq!(plan.poster.size, Size { width: 1_280, height: 720 });
        assert_eq!(
            plan.vtt(&segments, 1),
            "WEBVTT\n\n00:00:00.000 --> 00:00:04.000\nsprite-0.jpg#xywh=0,0,160,90\n\n\
             00:00:04.000 --> 00:00:06.000\nsprite-0.jpg#xywh=160,0,160,90\n"
        );
        assert_eq!(Plan::recording(&stream, &segments[1..2]), None, "a gap has no picture");
    }

    #[test]
    fn a_day_has_no_more_thumbnails_than_an_hour() {
        let mut stream = stream(StreamState::Ended);
        let segments: Vec<_> = (0..43_200).map(|seq| segment(seq, 0, SegmentState::Ready)).collect();
        stream.variants = publish::list(&stream, &segments[..1]).variants;
        let plan = Plan::recording(&stream, &segments).unwrap();
        assert_eq!(plan.thumbnails.len() as u64, THUMBNAILS_MAX);
        let vtt = plan.vtt(&segments, 8);
        assert!(vtt.contains("sprite-7.jpg#xywh=640,360,160,90") && vtt.contains("--> 24:00:00.000"), "{vtt}");
    }
}
