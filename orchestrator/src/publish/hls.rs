//! HLS playlists as text (RFC 8216bis). Pure: the same records give the same bytes.

pub mod iframes;
pub mod ranges;
pub mod subtitles;

use std::fmt::Write;

use millrace_proto::{Sha256, api::StreamState, profile::Encryption};

use ranges::Ranges;
use subtitles::Track;

use super::bps;
use crate::store::record::{Media, Segment, SegmentState, Stream, Variant};

/// The name of the audio rendition in URLs.
pub const AUDIO: &str = "audio";

/// Which segments a playlist covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// The newest ones, sliding.
    Window,
    /// From the first on, growing until the stream ends.
    Event,
    /// All of an ended stream.
    Vod,
}

/// The multivariant playlist. `playlist` is the name of the media playlists that it names, in each rendition's
/// folder; `tracks` are its captions. `None` until something is listed that can be played. A recording has I-frame
/// playlists too.
pub fn multivariant(stream: &Stream, playlist: &str, span: Span, tracks: &[Track]) -> Option<String> {
    let audio = stream.variants.iter().find(|variant| variant.name == AUDIO);
    let mut videos: Vec<&Variant> = stream.variants.iter().filter(|variant| variant.name != AUDIO).collect();
    if videos.is_empty() {
        // Sound alone, or only gaps in the video so far?
        let all_failed = stream.listed_seq <= stream.failed_segments + stream.withheld_segments;
        return audio.filter(|_| !all_failed).map(|audio| audio_alone(audio, playlist, tracks));
    }
    // The smallest first: players start with the first and climb. What every player knows goes before all else, so
    // that those that look no further find it.
    let rank = |variant: &Variant| (codec_rank(&variant.codec), variant.height * variant.width);
    videos.sort_by_key(|variant| (rank(variant), variant.bitrate_bps_peak));
    let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    if let Some(audio) = audio {
        let _ = writeln!(
            text,
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Audio\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"{}\",\
             URI=\"{AUDIO}/{playlist}\"",
            audio.channels
        );
    }
    subtitles::announce(&mut text, tracks, playlist);
    for video in &videos {
        let peak = video.bitrate_bps_peak + audio.map_or(0, |audio| audio.bitrate_bps_peak);
        let average = average_bps(video) + audio.map_or(0, average_bps);
        let _ = write!(text, "#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={}", average.min(peak));
        let _ = write!(text, ",CODECS=\"{}", video.codec);
        if let Some(audio) = audio {
            let _ = write!(text, ",{}", audio.codec);
        }
        let _ = write!(text, "\",RESOLUTION={}x{}", video.width, video.height);
        let frame_rate = video.frames as f64 * 1e9 / video.duration_ns.max(1) as f64;
        let _ = write!(text, ",FRAME-RATE={frame_rate:.3}");
        if audio.is_some() {
            text.push_str(",AUDIO=\"audio\"");
        }
        text.push_str(&subtitles::of_variant(tracks));
        let _ = writeln!(text, "\n{}/{playlist}", video.name);
    }
    if stream.state == StreamState::Ended && span != Span::Window && stream.profile.encryption.is_none() {
        for video in videos {
            iframes::announce(&mut text, video);
        }
    }
    Some(text)
}

fn audio_alone(audio: &Variant, playlist: &str, tracks: &[Track]) -> String {
    let average = average_bps(audio).min(audio.bitrate_bps_peak);
    let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    subtitles::announce(&mut text, tracks, playlist);
    let _ = writeln!(
        text,
        "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={average},CODECS=\"{}\"{}\n{AUDIO}/{playlist}",
        audio.bitrate_bps_peak,
        audio.codec,
        subtitles::of_variant(tracks)
    );
    text
}

/// The place of what is no other's.
pub(super) const CODEC_RANK_MAX: usize = 3;

/// The place of a codec string among the codecs: the more players know it, the lower.
pub(super) fn codec_rank(codec: &str) -> usize {
    match codec.split('.').next() {
        Some("avc1" | "avc3") => 0,
        Some("hvc1" | "hev1") => 1,
        Some("av01") => 2,
        _ => CODEC_RANK_MAX,
    }
}

fn average_bps(variant: &Variant) -> u64 {
    // Streams that began before this was counted have only the other.
    let length_ns = if variant.listed_ns > 0 { variant.listed_ns } else { variant.duration_ns };
    bps(variant.bytes, length_ns)
}

/// What players are told of the key of an encrypted stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// How the stream is encrypted.
    pub how: Encryption,
    /// Stands behind the key's address.
    pub query: String,
    /// The constant IV of `cbcs`, which headers tell as well.
    pub iv: [u8; 16],
}

/// `EXT-X-KEY` (RFC 8216bis, 4.4.4.4).
fn key_tag(text: &mut String, key: &Key) {
    let Key { query, iv, .. } = key;
    let _ = match key.how {
        Encryption::Aes128 => writeln!(text, "#EXT-X-KEY:METHOD=AES-128,URI=\"../key{query}\""),
        Encryption::Cbcs => writeln!(
            text,
            "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"../key{query}\",IV=0x{:032x},KEYFORMAT=\"identity\",\
             KEYFORMATVERSIONS=\"1\"",
            u128::from_be_bytes(*iv)
        ),
    };
}

/// A playlist that is written segment by segment, so that a long one is never in memory.
pub trait Lines: Send {
    /// Writes what stands before all segments; `first` is the first of them.
    fn begin(&mut self, text: &mut String, first: Option<&Segment>);
    /// Writes the next segment: they are listed, in order and without holes.
    fn add(&mut self, text: &mut String, segment: &Segment);
    /// Writes what stands behind all segments.
    fn end(&mut self, text: &mut String);
    /// Tells what the text depends on beside the stream and its segments.
    fn seal(&self) -> String {
        String::new()
    }
}

/// The media playlist of a rendition.
#[derive(Debug)]
pub struct MediaLines {
    stream: Stream,
    name: String,
    span: Span,
    key: Option<Key>,
    ranges: Option<Ranges>,
    map: Option<Sha256>,
    discontinuity: Option<u32>,
}

impl MediaLines {
    /// Of rendition `name`, with the `key` of what is encrypted.
    pub fn new(stream: Stream, name: &str, span: Span, key: Option<Key>) -> Self {
        Self { stream, name: name.to_owned(), span, key, ranges: None, map: None, discontinuity: None }
    }

    /// Tells of what is to be seen as well; absent: nobody looks.
    #[must_use]
    pub fn with(self, ranges: Option<Ranges>) -> Self {
        Self { ranges, ..self }
    }
}

/// The lines before the first segment.
fn begin(text: &mut String, stream: &Stream, span: Span, first: Option<&Segment>) {
    text.push_str("#EXTM3U\n#EXT-X-VERSION:8\n");
    head(text, stream, first);
    match span {
        Span::Window => {}
        Span::Event if stream.state != StreamState::Ended => text.push_str("#EXT-X-PLAYLIST-TYPE:EVENT\n"),
        Span::Event | Span::Vod => text.push_str("#EXT-X-PLAYLIST-TYPE:VOD\n"),
    }
}

impl Lines for MediaLines {
    fn begin(&mut self, text: &mut String, first: Option<&Segment>) {
        begin(text, &self.stream, self.span, first);
        self.discontinuity = first.map(|segment| segment.discontinuity);
    }

    fn add(&mut self, text: &mut String, segment: &Segment) {
        if self.discontinuity != Some(segment.discontinuity) {
            text.push_str("#EXT-X-DISCONTINUITY\n");
            self.discontinuity = Some(segment.discontinuity);
        }
        let media = find(segment, &self.name);
        if let Some(media) = media
            && self.map != Some(media.init.sha256)
        {
            // Headers are plain: the key is told behind them, and taken back before another one.
            if self.key.is_some() && self.map.is_some() {
                text.push_str("#EXT-X-KEY:METHOD=NONE\n");
            }
            let _ = writeln!(text, "#EXT-X-MAP:URI=\"init-{}.mp4\"", media.init.sha256);
            if let Some(key) = &self.key {
                key_tag(text, key);
            }
            self.map = Some(media.init.sha256);
        }
        // Ranges have to have a clock.
        if segment.wall_ms.is_some() || self.ranges.is_some() {
            let _ = writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", rfc3339(ranges::date_ms(segment)));
        }
        if let Some(ranges) = &mut self.ranges {
            ranges.add(text, segment);
        }
        if media.is_none() {
            text.push_str("#EXT-X-GAP\n");
        }
        // The length on the timeline, the same in every rendition: they stay aligned over any number of
        // segments. The last segment of a run may be shorter in one of its tracks.
        let duration_ns = segment.duration_ns;
        let _ = writeln!(text, "#EXTINF:{:.6},\n{}.m4s", duration_ns as f64 / 1e9, segment.seq);
    }

    fn end(&mut self, text: &mut String) {
        if self.stream.state == StreamState::Ended {
            text.push_str("#EXT-X-ENDLIST\n");
        }
    }

    fn seal(&self) -> String {
        self.ranges.as_ref().map(Ranges::seal).unwrap_or_default()
    }
}

/// What playlists of segments from `first` on say of them all.
fn head(text: &mut String, stream: &Stream, first: Option<&Segment>) {
    let _ = writeln!(text, "#EXT-X-TARGETDURATION:{}", stream.target_duration_s);
    let _ = writeln!(text, "#EXT-X-MEDIA-SEQUENCE:{}", first.map_or(0, |segment| segment.seq));
    if let Some(number) = first.map(|segment| segment.discontinuity).filter(|&number| number > 0) {
        let _ = writeln!(text, "#EXT-X-DISCONTINUITY-SEQUENCE:{number}");
    }
}

/// A playlist over `segments`, whole.
pub fn whole(mut lines: impl Lines, segments: &[Segment]) -> String {
    let mut text = String::new();
    lines.begin(&mut text, segments.first());
    for segment in segments {
        lines.add(&mut text, segment);
    }
    lines.end(&mut text);
    text
}

/// The media playlist of rendition `name` over `segments`, as [`MediaLines`] writes it.
pub fn media(stream: &Stream, name: &str, segments: &[Segment], span: Span, key: Option<Key>) -> String {
    whole(MediaLines::new(stream.clone(), name, span, key), segments)
}

/// What rendition `name` has of a segment; `None` is a gap.
pub fn find<'a>(segment: &'a Segment, name: &str) -> Option<&'a Media> {
    if name == AUDIO {
        // Audio is done at ingest; it is there even where the video was given up.
        return segment.audio.as_ref();
    }
    if segment.state != SegmentState::Ready {
        return None;
    }
    segment.renditions.iter().chain(segment.video.as_ref()).find(|media| media.name == name)
}

/// Unix milliseconds as RFC 3339 in UTC, by the civil-from-days algorithm of Howard Hinnant's
/// "chrono-Compatible Low-Level Date Algorithms".
pub fn rfc3339(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1_000)
}

#[cfg(test)]
#[path = "hls/tests.rs"]
pub(crate) mod tests;
