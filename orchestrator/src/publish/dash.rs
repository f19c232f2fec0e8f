//! DASH manifests as text (ISO/IEC 23009-1), over the same segments as HLS. Pure: the same records give the same bytes.
//!
//! A period is a run of segments without a hole, of one discontinuity, with the same headers in every rendition. It is
//! named by its first segment and placed by it, also when that has slid out of the window: a player that reads the
//! manifest again finds every period where it was. So segments are addressed by number, as in HLS, and players of
//! both share what a CDN keeps.
//!
//! A live manifest closes in two steps: it tells its length, and stays dynamic for some time ([`Phase::Closing`]), then
//! it becomes static. Who plays has read the length by then. Shaka Player 5.2 needs that: it takes a manifest without a
//! length that becomes static for a recording that begins where the player came in, adds that place to the length, and
//! waits at the end for the difference.

mod text;

pub use text::Text;

use std::fmt::Write;

use millrace_cmaf::ORIGIN_S;
use millrace_proto::{Sha256, api::StreamState};

use super::{
    hls::{AUDIO, CODEC_RANK_MAX, Span, codec_rank, rfc3339},
    published,
};
use crate::store::record::{Media, Segment, SegmentState, Stream};

/// Ticks per second in manifests.
pub(super) const TIMESCALE: u32 = 1_000_000;
const NS_PER_TICK: u64 = 1_000_000_000 / TIMESCALE as u64;

/// A run of segments that one period holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Period {
    /// Its first segment of all, which may be out of the window.
    pub first: Segment,
    /// Those of its segments that the manifest names.
    pub segments: Vec<Slot>,
}

/// What a manifest says of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Its number.
    pub seq: u64,
    /// Start on the stream's timeline.
    pub start_ns: u64,
    /// Duration on the stream's timeline.
    pub duration_ns: u64,
    /// When its last sample arrived, Unix time.
    pub arrived_ms: u64,
}

impl From<&Segment> for Slot {
    fn from(segment: &Segment) -> Self {
        let Segment { seq, start_ns, duration_ns, arrived_ms, .. } = *segment;
        Self { seq, start_ns, duration_ns, arrived_ms }
    }
}

/// What is known of the period before a window: its first segment, and the number up to which it goes at least.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// The period's first segment.
    pub first: Segment,
    /// This segment is in it.
    pub seq: u64,
}

/// Segments that one manifest names at most: beyond twelve days of two-second ones it takes tens of megabytes.
pub const SEGMENTS_MAX: u64 = 500_000;

/// Periods of one manifest at most.
pub const PERIODS_MAX: usize = 5_000;

/// Finds the periods of segments that come one after the other.
#[derive(Debug)]
pub struct Periods<'a> {
    stream: &'a Stream,
    known: Option<Known>,
    found: Vec<Period>,
    /// The last segment that is shown, and whether moderation ever held it back.
    last: Option<(u64, bool)>,
}

impl<'a> Periods<'a> {
    /// Where `known` is there, they start with the segment that it names, or later.
    pub fn new(stream: &'a Stream, known: Option<Known>) -> Self {
        Self { stream, known, found: Vec::new(), last: None }
    }

    /// Takes the next listed segment.
    pub fn push(&mut self, segment: &Segment) {
        // What is known of another place says nothing.
        if let Some(known) = self.known.take().filter(|known| known.seq == segment.seq) {
            self.found.push(Period { first: known.first, segments: Vec::new() });
        }
        if segment.state != SegmentState::Ready {
            return;
        }
        // What was held back is a period of its own, so that none moves when it is approved.
        let was_held = segment.hold.is_some();
        let follows = self.last.is_none_or(|(last, held)| last + 1 == segment.seq && held == was_held);
        self.last = Some((segment.seq, was_held));
        match self.found.last_mut() {
            Some(period) if follows && same_tracks(self.stream, &period.first, segment) => {
                period.segments.push(segment.into());
            }
            _ => self.found.push(Period { first: segment.clone(), segments: vec![segment.into()] }),
        }
    }

    /// How many there are so far.
    pub fn count(&self) -> usize {
        self.found.len()
    }

    /// All of them, in order.
    pub fn finish(mut self) -> Vec<Period> {
        self.found.retain(|period| !period.segments.is_empty());
        self.found
    }
}

fn same_tracks(stream: &Stream, a: &Segment, b: &Segment) -> bool {
    let tracks = |segment| -> Vec<(&str, Sha256)> {
        published(stream, segment).map(|media| (media.name.as_str(), media.init.sha256)).collect()
    };
    a.discontinuity == b.discontinuity && tracks(a) == tracks(b)
}

/// A live presentation begins so much before its stream was made, so that no picture of it is in its first second.
///
/// Chromium plays what begins within a second as if it began at 0. Shaka Player 5.2 wants to begin where the pictures do,
/// and tries again until the element's time has changed. If that has begun to run by itself meanwhile, Shaka takes it for
/// done, waits for ever for the `seeking` event, reads its own start as the time until then, and stops loading ten seconds
/// on (`VideoWrapper.setStartTime_`, `PlayheadMover.onTick_`). Who is slow to begin, as with encrypted samples, is hit often.
const LEAD_MS: u64 = 5_000;

/// How far behind what is said live players are told to play, in segments.
const DELAY_SEGMENTS: u64 = 3;
/// The same with captions, which are some six seconds late, and are read of in the next manifest. No window is shorter.
const TEXT_DELAY_SEGMENTS: u64 = 5;

/// How many times players read the manifest again while it closes, where each reads it as often as it is told to. One
/// would do, and one may be late. More would be long: dash.js stops just before the end until the manifest is static.
const CLOSING_READS: u64 = 2;

/// Where a manifest is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// More segments may come.
    Growing,
    /// All are named, and players are told to read it once more.
    Closing,
    /// It changes no more.
    Closed,
}

impl Phase {
    /// That of a stream's manifest over `span` at `now_ms`.
    pub fn of(stream: &Stream, span: Span, now_ms: u64) -> Self {
        let closed_ms = stream.state_since_ms + CLOSING_READS * update_s(stream) * 1_000;
        match stream.state {
            StreamState::Ended if span == Span::Window && now_ms < closed_ms => Self::Closing,
            StreamState::Ended => Self::Closed,
            _ => Self::Growing,
        }
    }
}

/// How often players read a manifest again, in seconds.
fn update_s(stream: &Stream) -> u64 {
    stream.target_duration_s.max(1).into()
}

/// What players are told of the key of a stream that is encrypted by Common Encryption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub id: [u8; 16],
    /// Where the key system `org.w3.clearkey` asks for it: a whole address, since players take it as it is.
    pub license: String,
}

/// How a set's samples are encrypted, and who has the key (ISO/IEC 23001-7, 11.2; DASH-IF IOP, clear key).
fn protection(text: &mut String, key: &Key) {
    let hex = hex::encode(key.id);
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &hex[part]);
    let _ = writeln!(
        text,
        "      <ContentProtection schemeIdUri=\"urn:mpeg:dash:mp4protection:2011\" value=\"cbcs\" \
         cenc:default_KID=\"{}\"/>\n      <ContentProtection \
         schemeIdUri=\"urn:uuid:e2719d58-a985-b3c9-781a-b030af78d30e\" value=\"ClearKey1.0\">\n        \
         <dashif:Laurl>{}</dashif:Laurl>\n      </ContentProtection>",
        parts.join("-"),
        escaped(&key.license)
    );
}

/// The manifest over `periods`: of a live window, which stays where it was when the stream ends, so that who watches
/// sees the end, or of a recording, with captions. `None` while there is nothing to name.
pub fn manifest(
    stream: &Stream,
    periods: &[Period],
    span: Span,
    phase: Phase,
    key: Option<&Key>,
    texts: &[Text],
) -> Option<String> {
    let (first, newest) = (periods.first()?, periods.last()?.segments.last()?);
    // A recording is on the stream's timeline, which has no holes; what is live is on the wall clock.
    let begun_ms = stream.created_ms.saturating_sub(LEAD_MS);
    let start_ms = |segment: &Segment| match segment.wall_ms {
        Some(wall_ms) if span == Span::Window => wall_ms.saturating_sub(begun_ms),
        _ => (segment.start_ns - first.first.start_ns) / 1_000_000,
    };
    let target_s = update_s(stream);
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" \
         profiles=\"urn:mpeg:dash:profile:isoff-live:2011\"",
    );
    if key.is_some() {
        text.push_str(" xmlns:cenc=\"urn:mpeg:cenc:2013\" xmlns:dashif=\"https://dashif.org/CPS\"");
    }
    let _ = write!(text, " minBufferTime=\"PT{target_s}S\" maxSegmentDuration=\"PT{}S\"", target_s + 1);
    let last = &periods.last()?.first;
    let last_ns = newest.start_ns + newest.duration_ns - last.start_ns;
    // The last whole millisecond before the end of what is live. dash.js 5.2 goes there when it has played all it has
    // (`GapController._jumpGap`), and looks for the segment of that time where a track has none of it, being a little
    // shorter than the other. At the end itself it finds none, forgets that it has asked for the last one, and plays the
    // last half second for ever.
    let last_ms = if span == Span::Window { last_ns.saturating_sub(1) } else { last_ns } / 1_000_000;
    if phase != Phase::Growing {
        let _ = write!(text, " mediaPresentationDuration=\"{}\"", duration(start_ms(last) + last_ms));
    }
    if phase == Phase::Closed {
        text.push_str(" type=\"static\">\n");
    } else {
        let _ = writeln!(
            text,
            " type=\"dynamic\" availabilityStartTime=\"{}\" publishTime=\"{}\" minimumUpdatePeriod=\"PT{target_s}S\" \
             timeShiftBufferDepth=\"PT{}S\" suggestedPresentationDelay=\"PT{}S\">",
            rfc3339(begun_ms),
            rfc3339(newest.arrived_ms),
            stream.profile.window_s,
            if texts.is_empty() { DELAY_SEGMENTS } else { TEXT_DELAY_SEGMENTS } * target_s,
        );
    }
    let _ = writeln!(text, "  <BaseURL>../../hls/{}/</BaseURL>", stream.id);
    // Of captions, what is not settled then is named all the same.
    let named_to = if phase == Phase::Closed { u64::MAX } else { text::late(stream, periods) };
    for period in periods {
        let start = duration(start_ms(&period.first));
        let _ = write!(text, "  <Period id=\"{}\" start=\"{start}\"", period.first.seq);
        if phase != Phase::Growing && period.first.seq == last.seq {
            let _ = write!(text, " duration=\"{}\"", duration(last_ms));
        }
        text.push_str(">\n");
        let media = || published(stream, &period.first);
        // A set for each codec: players take one set whole, or leave it.
        for rank in 0..=CODEC_RANK_MAX {
            let set = media().filter(|media| media.name != AUDIO && codec_rank(&media.codec) == rank);
            adaptation(&mut text, stream, period, "video", key, set);
        }
        adaptation(&mut text, stream, period, "audio", key, media().filter(|media| media.name == AUDIO));
        for track in texts {
            track.set(&mut text, period, named_to);
        }
        text.push_str("  </Period>\n");
    }
    if phase != Phase::Closed {
        text.push_str("  <UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-xsdate:2014\" value=\"../../dash/now\"/>\n");
    }
    text.push_str("</MPD>\n");
    Some(text)
}

fn adaptation<'a>(
    text: &mut String,
    stream: &Stream,
    period: &Period,
    kind: &str,
    key: Option<&Key>,
    media: impl Iterator<Item = &'a Media>,
) {
    let mut media = media.peekable();
    if media.peek().is_none() {
        return;
    }
    let _ = writeln!(
        text,
        "    <AdaptationSet contentType=\"{kind}\" mimeType=\"{kind}/mp4\" segmentAlignment=\"true\" startWithSAP=\"1\">"
    );
    if let Some(key) = key {
        protection(text, key);
    }
    for media in media {
        let variant = stream.variants.iter().find(|variant| variant.name == media.name);
        let _ = write!(
            text,
            "      <Representation id=\"{0}\" codecs=\"{1}\" bandwidth=\"{2}\"",
            escaped(&media.name),
            escaped(&media.codec),
            variant.map_or(0, |variant| variant.bitrate_bps_peak)
        );
        if media.width > 0 {
            let _ = write!(text, " width=\"{}\" height=\"{}\"", media.width, media.height);
        }
        text.push_str(">\n");
        if media.channels > 0 {
            let _ = writeln!(
                text,
                "        <AudioChannelConfiguration \
                 schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" value=\"{}\"/>",
                media.channels
            );
        }
        template(text, period, &period.segments, &media.init.sha256, "");
    }
    text.push_str("    </AdaptationSet>\n");
}

/// What a representation says of its segments, and its end. `query` stands behind each address.
fn template(text: &mut String, period: &Period, segments: &[Slot], init: &Sha256, query: &str) {
    let _ = writeln!(
        text,
        "        <SegmentTemplate timescale=\"{TIMESCALE}\" presentationTimeOffset=\"{}\" startNumber=\"{}\" \
         initialization=\"$RepresentationID$/init-{init}.mp4{query}\" media=\"$RepresentationID$/$Number$.m4s{query}\">",
        ticks(period.first.start_ns),
        segments.first().map_or(0, |segment| segment.seq),
    );
    timeline(text, segments);
    text.push_str("        </SegmentTemplate>\n      </Representation>\n");
}

/// Segments of the same length, one after the other, are one entry.
fn timeline(text: &mut String, segments: &[Slot]) {
    text.push_str("          <SegmentTimeline>\n");
    let lengths = segments.iter().map(|one| ticks(one.start_ns + one.duration_ns) - ticks(one.start_ns));
    let lengths: Vec<u64> = lengths.collect();
    let mut at = segments.first().map(|segment| format!(" t=\"{}\"", ticks(segment.start_ns))).unwrap_or_default();
    for same in lengths.chunk_by(|a, b| a == b) {
        let _ = write!(text, "            <S{} d=\"{}\"", std::mem::take(&mut at), same[0]);
        if same.len() > 1 {
            let _ = write!(text, " r=\"{}\"", same.len() - 1);
        }
        text.push_str("/>\n");
    }
    text.push_str("          </SegmentTimeline>\n");
}

/// A place on the timeline as it is in the files.
pub(super) fn ticks(ns: u64) -> u64 {
    ns / NS_PER_TICK + ORIGIN_S.unsigned_abs() * u64::from(TIMESCALE)
}

/// Milliseconds as ISO 8601 has durations.
fn duration(ms: u64) -> String {
    format!("PT{}.{:03}S", ms / 1_000, ms % 1_000)
}

/// Text as the value of an attribute.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
#[path = "dash/tests.rs"]
mod tests;
