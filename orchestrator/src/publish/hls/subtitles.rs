//! Captions in HLS: a group of subtitle renditions in the multivariant playlist, and their media playlists, whose segments
//! are those of the pictures. What is in one is `publish/webvtt.rs`'s business.

use std::fmt::Write;

use millrace_proto::api::StreamState;

use super::{Lines, Span, begin, rfc3339};
use crate::store::record::{Segment, Stream};

/// The group's name.
pub const GROUP: &str = "captions";

/// A track of captions that has something to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// Its name in addresses.
    pub name: String,
    /// What it is called.
    pub title: String,
    /// Code of its language, once that is known.
    pub language: Option<String>,
}

/// Tells of the tracks. Nobody is made to see them.
pub(super) fn announce(text: &mut String, tracks: &[Track], playlist: &str) {
    for Track { name, title, language } in tracks {
        let language = language.as_ref().map(|code| format!("LANGUAGE=\"{code}\",")).unwrap_or_default();
        let _ = writeln!(
            text,
            "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"{GROUP}\",NAME=\"{title}\",{language}DEFAULT=NO,AUTOSELECT=YES,\
             FORCED=NO,CHARACTERISTICS=\"public.accessibility.transcribes-spoken-dialog\",URI=\"{name}/{playlist}\""
        );
    }
}

/// What a variant says of them.
pub(super) fn of_variant(tracks: &[Track]) -> String {
    if tracks.is_empty() { String::new() } else { format!(",SUBTITLES=\"{GROUP}\"") }
}

/// The media playlist of a track. Its stream ends where the captions are settled, see [`settled`].
#[derive(Debug)]
pub struct SubtitleLines {
    stream: Stream,
    span: Span,
    query: String,
    discontinuity: Option<u32>,
}

impl SubtitleLines {
    /// `query` stands behind the segments' addresses.
    pub fn new(stream: Stream, span: Span, query: &str) -> Self {
        Self { stream, span, query: query.to_owned(), discontinuity: None }
    }
}

/// The stream as its captions know it: listed below `to`, and ended only if `is_whole`.
pub fn settled(stream: &Stream, to: u64, is_whole: bool) -> Stream {
    let state = match stream.state {
        StreamState::Ended if !is_whole => StreamState::Finishing,
        state => state,
    };
    Stream { listed_seq: stream.listed_seq.min(to), state, ..stream.clone() }
}

impl Lines for SubtitleLines {
    fn begin(&mut self, text: &mut String, first: Option<&Segment>) {
        begin(text, &self.stream, self.span, first);
        self.discontinuity = first.map(|segment| segment.discontinuity);
    }

    fn add(&mut self, text: &mut String, segment: &Segment) {
        if self.discontinuity != Some(segment.discontinuity) {
            text.push_str("#EXT-X-DISCONTINUITY\n");
            self.discontinuity = Some(segment.discontinuity);
        }
        if let Some(wall_ms) = segment.wall_ms {
            let _ = writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", rfc3339(wall_ms));
        }
        if segment.is_withheld() {
            text.push_str("#EXT-X-GAP\n");
        }
        let length_s = segment.duration_ns as f64 / 1e9;
        let _ = writeln!(text, "#EXTINF:{length_s:.6},\n{}.vtt{}", segment.seq, self.query);
    }

    fn end(&mut self, text: &mut String) {
        if self.stream.state == StreamState::Ended {
            text.push_str("#EXT-X-ENDLIST\n");
        }
    }
}
