//! What is to be seen in a stream, in its media playlists: `EXT-X-DATERANGE` (RFC 8216bis, 4.4.5.1). Pure.
//!
//! A range is dated by the clock of its segments' `EXT-X-PROGRAM-DATE-TIME`. A recording has none: its dates count from
//! 1970, so that a date is a place on the timeline. What is told of a range never changes but by more of it: a range that
//! may go on has what stays alone, and its length and scores when it is over.

use std::{collections::VecDeque, fmt::Write};

use millrace_proto::{
    Sha256,
    timeline::{Entry, Level},
};

use super::rfc3339;
use crate::store::record::Segment;

/// `CLASS` of ranges begins so.
const CLASS: &str = "com.millrace";

/// Ranges that are told yet, by where they begin.
#[derive(Debug, Clone, Default)]
pub struct Ranges(VecDeque<Entry>);

impl Ranges {
    /// Those of a playlist, by where they begin.
    pub fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(|entry| entry.start_ms);
        Self(entries.into())
    }

    /// Tells which they are.
    pub(super) fn seal(&self) -> String {
        format!("{}", Sha256::of(format!("{:?}", self.0).as_bytes()))
    }

    /// Writes those that begin before the end of `segment`, which comes next.
    pub(super) fn add(&mut self, text: &mut String, segment: &Segment) {
        let end_ms = ms(segment.start_ns + segment.duration_ns);
        while let Some(entry) = self.0.pop_front_if(|entry| entry.start_ms < end_ms) {
            range(text, &entry, segment);
        }
    }
}

/// When a segment begins: on the wall clock, or as a place on the timeline.
pub(super) fn date_ms(segment: &Segment) -> u64 {
    segment.wall_ms.unwrap_or(segment.start_ns / 1_000_000)
}

fn ms(ns: u64) -> i64 {
    i64::try_from(ns / 1_000_000).unwrap_or(i64::MAX)
}

fn range(text: &mut String, entry: &Entry, segment: &Segment) {
    let Some(number) = entry.number else { return };
    let Entry { start_ms, end_ms, .. } = *entry;
    // Within a run the clock goes with the timeline. What began in another run is dated by this one's, under a name of
    // its own: nobody is told two dates of one range.
    let date_ms = date_ms(segment).saturating_add_signed(start_ms - ms(segment.start_ns));
    let (kind, run) = (entry.kind.as_str(), segment.discontinuity);
    let _ = write!(
        text,
        "#EXT-X-DATERANGE:ID=\"{track}-{number}-{run}\",CLASS=\"{CLASS}.{kind}\",START-DATE=\"{}\"",
        rfc3339(date_ms),
        track = entry.track,
    );
    let mut say = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            let _ = write!(text, ",X-{name}=\"{}\"", quoted(value));
        }
    };
    say("LABEL", entry.label.as_deref());
    if !entry.open {
        say("FINER", entry.finer.as_deref());
        say("LEVEL", entry.level.map(|level| if level == Level::Flag { "flag" } else { "review" }));
        let by = entry.by.as_ref();
        say("MODEL", by.map(|by| by.model.as_str()));
        say("VERSION", by.map(|by| by.version.as_str()));
        say("WORKER", by.map(|by| by.worker.to_string()).as_deref());
        if let Some(score) = entry.score {
            let _ = write!(text, ",X-SCORE={score:.4}");
        }
        let _ = write!(text, ",DURATION={:.3}", (end_ms - start_ms) as f64 / 1e3);
    }
    text.push('\n');
}

/// Quoted strings have neither quotation marks nor ends of lines (RFC 8216bis, 4.2).
fn quoted(value: &str) -> String {
    value.chars().map(|letter| if letter == '"' || letter.is_control() { '\'' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use millrace_proto::{offer::Capability, timeline::By};

    use super::*;
    use crate::{publish::hls::tests::segment, store::record::SegmentState};

    fn cup(open: bool) -> Entry {
        let worker = "0x0707070707070707070707070707070707070707".parse().unwrap();
        Entry {
            number: Some(4),
            open,
            label: Some("a \"cup\"".into()),
            score: Some(0.75),
            by: Some(By { model: "m".into(), version: "1".into(), worker }),
            ..Entry::blank(Capability::Products, "products", 1_500, 4_250)
        }
    }

    fn told(entry: Entry, segments: &[Segment]) -> Vec<String> {
        let mut ranges = Ranges::new(vec![entry]);
        let tell = |segment| {
            let mut text = String::new();
            ranges.add(&mut text, segment);
            text
        };
        segments.iter().map(tell).collect()
    }

    #[test]
    fn a_range_stands_before_the_segment_that_it_begins_in() {
        let segments = [0, 1, 2].map(|seq| segment(seq, 0, SegmentState::Ready));
        let open = told(cup(true), &segments);
        let begun = "#EXT-X-DATERANGE:ID=\"products-4-0\",CLASS=\"com.millrace.products\",\
                     START-DATE=\"2023-11-14T22:13:21.500Z\",X-LABEL=\"a 'cup'\"";
        assert_eq!(open, [format!("{begun}\n"), String::new(), String::new()]);
        let over = &told(cup(false), &segments)[0];
        let by = "X-MODEL=\"m\",X-VERSION=\"1\",X-WORKER=\"0x0707070707070707070707070707070707070707\"";
        assert_eq!(*over, format!("{begun},{by},X-SCORE=0.7500,DURATION=2.750\n"));
    }

    #[test]
    fn its_date_stays_while_the_window_slides() {
        // Its own segment is no longer listed.
        let later = told(cup(true), &[segment(1, 0, SegmentState::Ready)]);
        assert_eq!(later, [told(cup(true), &[segment(0, 0, SegmentState::Ready)])[0].clone()]);
        // By another run's clock it has another name.
        let next = told(cup(true), &[segment(1, 1, SegmentState::Ready)]);
        assert!(next[0].contains("ID=\"products-4-1\""), "{next:?}");
    }

    #[test]
    fn dates_of_a_recording_are_places_on_its_timeline() {
        let recorded = Segment { wall_ms: None, ..segment(0, 0, SegmentState::Ready) };
        assert!(told(cup(true), &[recorded])[0].contains("START-DATE=\"1970-01-01T00:00:01.500Z\""));
    }
}
