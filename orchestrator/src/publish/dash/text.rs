//! Captions in manifests: a set for each track, whose segments are those of the pictures. What is in one is
//! `publish/webvtt/fragments.rs`'s business.
//!
//! While a stream lives, a track is named as far as it is settled. Shaka Player 5.2 loads pictures no further than a
//! segment ahead of text that is named and not there yet (`StreamingEngine.update_`), and passes over what is not named.
//! So nobody is made to wait for words: what is late beyond use is named without them. Of each period one segment is
//! named at least, since dash.js reads no empty timeline, and Shaka Player drops a period's text that has none.

use std::fmt::Write;

use super::{Period, Slot, escaped, template};
use crate::{
    publish::{self, hls::subtitles::Track, webvtt::fragments},
    store::record::Stream,
};

/// Bits per second that captions take, told for form's sake.
const BPS: u64 = 4_000;

/// A track of captions in a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// What it is.
    pub track: Track,
    /// The number of the first segment that it is not settled for.
    pub settled_to: u64,
    /// Stands behind the addresses of its files.
    pub query: String,
}

impl Text {
    /// Its set in a period. Segments below `named_to` are named, settled or not.
    pub(super) fn set(&self, text: &mut String, period: &Period, named_to: u64) {
        let to = self.settled_to.max(named_to);
        let named = period.segments.partition_point(|segment| segment.seq < to).max(1).min(period.segments.len());
        let language = self.track.language.as_ref().map(|code| format!(" lang=\"{code}\"")).unwrap_or_default();
        let _ = writeln!(
            text,
            "    <AdaptationSet contentType=\"text\" mimeType=\"application/mp4\"{language} segmentAlignment=\"true\" \
             startWithSAP=\"1\">\n      <Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"caption\"/>\n      \
             <Label>{}</Label>\n      <Representation id=\"{}\" codecs=\"{}\" bandwidth=\"{BPS}\">",
            escaped(&self.track.title),
            self.track.name,
            millrace_cmaf::text::CODEC,
        );
        template(text, period, &period.segments[..named], &fragments::init().1, &escaped(&self.query));
        text.push_str("    </AdaptationSet>\n");
    }
}

/// Up to which number segments are too old for their words to matter to who watches: two thirds of a window.
pub(super) fn late(stream: &Stream, periods: &[Period]) -> u64 {
    let segments = || periods.iter().flat_map(|period| &period.segments);
    let end_ns = |segment: &Slot| segment.start_ns + segment.duration_ns;
    // Not all of it: players drop what leaves the window, and a text of nothing else with it.
    let window_ns = publish::window_segments(stream) * u64::from(stream.profile.segment_ms) * 1_000_000;
    let Some(newest_ns) = segments().last().map(end_ns) else { return 0 };
    let is_late = |segment: &&Slot| end_ns(segment) + window_ns * 2 / 3 <= newest_ns;
    segments().take_while(is_late).last().map_or(0, |segment| segment.seq + 1)
}
