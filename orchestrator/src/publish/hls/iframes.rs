//! I-frame playlists of recordings (RFC 8216bis, 4.4.3.6): what players show while someone winds and searches.
//!
//! Every rendition's segments start with a key picture, so each I-frame is the first bytes of a segment that is there
//! already: its boxes and its first sample. Pure.

use std::fmt::Write;

use super::find;
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

/// The I-frame playlist of rendition `name` over a recording's `segments`; `None` where it has no pictures.
pub fn playlist(stream: &Stream, name: &str, segments: &[Segment]) -> Option<String> {
    let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:8\n");
    let _ = writeln!(text, "#EXT-X-TARGETDURATION:{}", stream.target_duration_s);
    let _ = writeln!(text, "#EXT-X-MEDIA-SEQUENCE:{}", segments.first()?.seq);
    if let Some(number) = segments.first().map(|segment| segment.discontinuity).filter(|&number| number > 0) {
        let _ = writeln!(text, "#EXT-X-DISCONTINUITY-SEQUENCE:{number}");
    }
    text.push_str("#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-I-FRAMES-ONLY\n");
    let (mut map, mut discontinuity, mut pictures) = (None, segments.first()?.discontinuity, false);
    for segment in segments {
        if segment.discontinuity != discontinuity {
            text.push_str("#EXT-X-DISCONTINUITY\n");
            discontinuity = segment.discontinuity;
        }
        let media = key(segment, name);
        if let Some(media) = media
            && map != Some(media.init.sha256)
        {
            let _ = writeln!(text, "#EXT-X-MAP:URI=\"init-{}.mp4\"", media.init.sha256);
            map = Some(media.init.sha256);
        }
        // An I-frame lasts until the next one: as long as its segment.
        let duration_s = segment.duration_ns as f64 / 1e9;
        let _ = match media {
            Some(media) => writeln!(text, "#EXTINF:{duration_s:.6},\n#EXT-X-BYTERANGE:{}@0", media.key_bytes),
            None => writeln!(text, "#EXT-X-GAP\n#EXTINF:{duration_s:.6},"),
        };
        let _ = writeln!(text, "{}.m4s", segment.seq);
        pictures |= media.is_some();
    }
    text.push_str("#EXT-X-ENDLIST\n");
    pictures.then_some(text)
}
