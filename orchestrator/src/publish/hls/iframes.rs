//! I-frame playlists of recordings (RFC 8216bis, 4.4.3.6): what players show while someone winds and searches.
//!
//! Every rendition's segments start with a key picture, so each I-frame is the first bytes of a segment that is there
//! already: its boxes and its first sample. Pure.

use std::fmt::Write;

use millrace_proto::Sha256;

use super::{Lines, find, head};
use crate::{
    publish::bps,
    store::record::{Media, Segment, Stream, Variant},
};

/// The playlist's name, in each rendition's folder.
pub const PLAYLIST: &str = "iframes.m3u8";

/// Names a rendition's I-frame playlist in the multivariant playlist.
pub(super) fn announce(text: &mut String, video: &Variant) {
    if video.key_bytes == 0 {
        // Listed before it was counted what an I-frame takes.
        return;
    }
    let average = bps(video.key_bytes, video.duration_ns).min(video.key_bps_peak);
    let _ = writeln!(
        text,
        "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={average},CODECS=\"{}\",RESOLUTION={}x{},\
         URI=\"{}/{PLAYLIST}\"",
        video.key_bps_peak, video.codec, video.width, video.height, video.name
    );
}

/// What rendition `name` has of a segment, if it starts with a key picture.
pub fn key<'a>(segment: &'a Segment, name: &str) -> Option<&'a Media> {
    find(segment, name).filter(|media| media.width > 0 && media.key_bytes > 0)
}

/// Whether rendition `name` of a recording has such a playlist: it has pictures, and it was counted what they take.
pub fn has(stream: &Stream, name: &str) -> bool {
    stream.variants.iter().any(|variant| variant.name == name && variant.width > 0 && variant.key_bytes > 0)
}

/// The I-frame playlist of a recording's rendition.
#[derive(Debug)]
pub struct IframeLines {
    stream: Stream,
    name: String,
    map: Option<Sha256>,
    discontinuity: u32,
}

impl IframeLines {
    /// Of rendition `name`.
    pub fn new(stream: Stream, name: &str) -> Self {
        Self { stream, name: name.to_owned(), map: None, discontinuity: 0 }
    }
}

impl Lines for IframeLines {
    fn begin(&mut self, text: &mut String, first: Option<&Segment>) {
        text.push_str("#EXTM3U\n#EXT-X-VERSION:8\n");
        head(text, &self.stream, first);
        text.push_str("#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-I-FRAMES-ONLY\n");
        self.discontinuity = first.map_or(0, |segment| segment.discontinuity);
    }

    fn add(&mut self, text: &mut String, segment: &Segment) {
        if segment.discontinuity != self.discontinuity {
            text.push_str("#EXT-X-DISCONTINUITY\n");
            self.discontinuity = segment.discontinuity;
        }
        let media = key(segment, &self.name);
        if let Some(media) = media
            && self.map != Some(media.init.sha256)
        {
            let _ = writeln!(text, "#EXT-X-MAP:URI=\"init-{}.mp4\"", media.init.sha256);
            self.map = Some(media.init.sha256);
        }
        // An I-frame lasts until the next one: as long as its segment.
        let duration_s = segment.duration_ns as f64 / 1e9;
        let _ = match media {
            Some(media) => writeln!(text, "#EXTINF:{duration_s:.6},\n#EXT-X-BYTERANGE:{}@0", media.key_bytes),
            None => writeln!(text, "#EXT-X-GAP\n#EXTINF:{duration_s:.6},"),
        };
        let _ = writeln!(text, "{}.m4s", segment.seq);
    }

    fn end(&mut self, text: &mut String) {
        text.push_str("#EXT-X-ENDLIST\n");
    }
}
