//! HLS playlists as a player reads them, through a parser that is not ours.

use m3u8_rs::{AlternativeMediaType, MasterPlaylist, MediaPlaylist, MediaPlaylistType};

use crate::api::Api;

/// A multivariant playlist.
#[derive(Debug, Clone)]
pub(crate) struct Master {
    /// Best first.
    pub(crate) rungs: Vec<Rung>,
    /// Address of the audio's playlist: that of the audio rendition, or of the one variant of a stream without video.
    pub(crate) audio: Option<String>,
}

/// One variant.
#[derive(Debug, Clone)]
pub(crate) struct Rung {
    /// Address of its playlist.
    pub(crate) url: String,
    pub(crate) bandwidth: u64,
    pub(crate) bandwidth_average: Option<u64>,
    pub(crate) codecs: String,
    pub(crate) width: u64,
    pub(crate) height: u64,
    pub(crate) frame_rate: f64,
}

/// A media playlist.
#[derive(Debug, Clone)]
pub(crate) struct Media {
    pub(crate) text: String,
    pub(crate) target_s: u64,
    pub(crate) sequence: u64,
    pub(crate) discontinuity_sequence: u64,
    pub(crate) ended: bool,
    pub(crate) vod: bool,
    pub(crate) segments: Vec<Segment>,
}

/// One entry of a media playlist.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Segment {
    /// Media sequence number.
    pub(crate) number: u64,
    pub(crate) url: String,
    /// Address of its initialization section.
    pub(crate) init_url: Option<String>,
    pub(crate) duration_s: f64,
    pub(crate) discontinuity: bool,
    pub(crate) gap: bool,
    /// When it was taken, Unix time, if the playlist says so.
    pub(crate) at_ms: Option<i64>,
}

/// The address that `reference` means on a page at `base`.
pub(crate) fn resolve(base: &str, reference: &str) -> String {
    if reference.contains("://") {
        return reference.to_owned();
    }
    let host_end = base.find("://").map_or(0, |at| at + 3);
    let path = base[host_end..].find('/').map_or(base.len(), |at| host_end + at);
    if reference.starts_with('/') {
        return format!("{}{reference}", &base[..path]);
    }
    let folder = base.rfind('/').map_or(base.len(), |at| at + 1);
    format!("{}{reference}", &base[..folder])
}

/// Reads the playlist at `url`; nothing if it is not there (yet).
#[track_caller]
fn fetch(api: &Api, url: &str) -> Option<String> {
    let answer = api.send("GET", url, &[], None).ok()?;
    if answer.status != 200 {
        return None;
    }
    let text = answer.text();
    assert!(text.starts_with("#EXTM3U\n"), "{url} is no playlist: {text:?}");
    Some(text)
}

impl Master {
    /// Reads the multivariant playlist at `url`; nothing while there is none.
    #[track_caller]
    pub(crate) fn fetch(api: &Api, url: &str) -> Option<Self> {
        let text = fetch(api, url)?;
        let url = resolve(&format!("{}/", api.base), url);
        let master: MasterPlaylist = m3u8_rs::parse_master_playlist_res(text.as_bytes())
            .unwrap_or_else(|error| panic!("{error} in {url}:\n{text}"));
        assert!(master.independent_segments, "no EXT-X-INDEPENDENT-SEGMENTS in {url}:\n{text}");
        let variants = master.variants.iter().filter(|variant| !variant.is_i_frame);
        let (variants, silent): (Vec<_>, Vec<_>) = variants.partition(|variant| variant.resolution.is_some());
        assert!(silent.len() <= 1 && (silent.is_empty() || variants.is_empty()), "RESOLUTION is told");
        let mut rungs: Vec<_> = variants
            .into_iter()
            .map(|variant| {
                let size = variant.resolution.expect("RESOLUTION is told");
                Rung {
                    url: resolve(&url, &variant.uri),
                    bandwidth: variant.bandwidth,
                    bandwidth_average: variant.average_bandwidth,
                    codecs: variant.codecs.clone().expect("CODECS is told"),
                    width: size.width,
                    height: size.height,
                    frame_rate: variant.frame_rate.expect("FRAME-RATE is told"),
                }
            })
            .collect();
        rungs.sort_by_key(|rung| std::cmp::Reverse(rung.height));
        let audio = master.alternatives.iter().find(|media| media.media_type == AlternativeMediaType::Audio);
        let alone = silent.first().map(|variant| variant.uri.as_str());
        let audio = audio.and_then(|audio| audio.uri.as_deref()).or(alone).map(|uri| resolve(&url, uri));
        Some(Self { rungs, audio })
    }

    /// Addresses of all media playlists.
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        self.rungs.iter().map(|rung| rung.url.as_str()).chain(self.audio.as_deref())
    }
}

impl Media {
    /// Reads the media playlist at `url`; nothing while there is none.
    #[track_caller]
    pub(crate) fn fetch(api: &Api, url: &str) -> Option<Self> {
        let text = fetch(api, url)?;
        let list: MediaPlaylist = m3u8_rs::parse_media_playlist_res(text.as_bytes())
            .unwrap_or_else(|error| panic!("{error} in {url}:\n{text}"));
        let mut init_url = None;
        let segments = list.segments.iter().enumerate().map(|(at, segment)| {
            if let Some(map) = &segment.map {
                init_url = Some(resolve(url, &map.uri));
            }
            Segment {
                number: list.media_sequence + at as u64,
                url: resolve(url, &segment.uri),
                init_url: init_url.clone(),
                duration_s: f64::from(segment.duration),
                discontinuity: segment.discontinuity,
                gap: segment.unknown_tags.iter().any(|tag| tag.tag == "X-GAP"),
                at_ms: segment.program_date_time.map(|time| time.timestamp_millis()),
            }
        });
        Some(Self {
            target_s: list.target_duration,
            sequence: list.media_sequence,
            discontinuity_sequence: list.discontinuity_sequence,
            ended: list.end_list,
            vod: list.playlist_type == Some(MediaPlaylistType::Vod),
            segments: segments.collect(),
            text,
        })
    }

    /// How long all of it takes.
    pub(crate) fn length_s(&self) -> f64 {
        self.segments.iter().map(|segment| segment.duration_s).sum()
    }
}

/// What must hold of every media playlist by itself: no gap, no address twice, no segment over the target.
#[track_caller]
pub(crate) fn assert_whole(list: &Media, url: &str) {
    let text = &list.text;
    assert!(!list.segments.iter().any(|segment| segment.gap) && !text.contains("GAP"), "a gap in {url}:\n{text}");
    let mut addresses: Vec<_> = list.segments.iter().map(|segment| &segment.url).collect();
    addresses.sort_unstable();
    let count = addresses.len();
    addresses.dedup();
    assert_eq!(addresses.len(), count, "a segment stands twice in {url}:\n{text}");
    for segment in &list.segments {
        assert!(segment.init_url.is_some(), "no EXT-X-MAP before {} in {url}:\n{text}", segment.url);
        // RFC 8216bis, 4.4.3.1: each EXTINF, rounded, is at most the target.
        assert!(segment.duration_s.round() as u64 <= list.target_s, "{segment:?} is over the target in {url}:\n{text}");
    }
}
