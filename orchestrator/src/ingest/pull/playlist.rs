//! Playlists as others write them (RFC 8216): text of strangers into what is to be fetched. Pure.
//!
//! Read line by line in one pass, so that no text costs more than its length; m3u8-rs 6.0 scans the rest of the text
//! for every attribute and loses `METHOD=NONE`. What can't be honoured is refused rather than passed over.

mod tags;

use std::sync::Arc;

use reqwest::Url;

use crate::ingest::fetch::address::{self, Refused};

use tags::{attributes, duration_ms, iv, span};

/// Longest playing time of one segment that is believed.
const SEGMENT_MS_MAX: u64 = 3_600_000;

/// Sequence numbers up to here leave room to count on.
const SEQUENCE_MAX: u64 = 1 << 53;

/// Why a playlist is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("it is no HLS playlist")]
    NoPlaylist,
    #[error("line {0} of the playlist can't be read")]
    Line(usize),
    #[error("the playlist has more than {0} segments")]
    TooMany(usize),
    #[error("the playlist asks for {0}, which is not supported")]
    Unsupported(String),
    #[error("the playlist names what is not fetched: {0}")]
    Refused(#[from] Refused),
}

/// A playlist.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Playlist {
    Master(Master),
    Media(Media),
}

/// Which media playlists there are.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Master {
    pub(super) variants: Vec<Variant>,
    pub(super) sounds: Vec<Sound>,
}

/// One version of the video.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Variant {
    pub(super) url: Url,
    /// Peak bitrate in bits per second.
    pub(super) bandwidth: u64,
    /// RFC 6381, as far as told.
    pub(super) codecs: Vec<String>,
    /// Whether it is said to have a picture size.
    pub(super) sized: bool,
    /// The group of its sound, where that comes apart.
    pub(super) sound: Option<String>,
}

/// Sound that comes apart from the video.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sound {
    pub(super) group: String,
    /// Absent where it is in the video's own segments.
    pub(super) url: Option<Url>,
    pub(super) default: bool,
    pub(super) automatic: bool,
}

/// The segments of one version, or the newest of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Media {
    /// Longest segment, rounded.
    pub(super) target_ms: u64,
    /// No more segments will come.
    pub(super) ended: bool,
    pub(super) segments: Vec<Segment>,
}

/// One segment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Segment {
    /// Media sequence number.
    pub(super) sequence: u64,
    pub(super) media: Resource,
    pub(super) duration_ms: u64,
    /// What comes before it for a decoder, where that is apart.
    pub(super) init: Option<Arc<Resource>>,
    pub(super) key: Option<Arc<Key>>,
    /// The server says that it does not have it.
    pub(super) gap: bool,
}

/// Bytes at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) url: Url,
    pub(super) span: Option<Span>,
}

/// A part of what is at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: u64,
    pub(super) bytes: u64,
}

/// AES-128 in CBC mode with PKCS7 padding (RFC 8216, 4.3.2.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) url: Url,
    /// Absent: the media sequence number.
    pub(super) iv: Option<[u8; 16]>,
}

/// Reads what came from `base`.
pub(super) fn parse(bytes: &[u8], base: &Url, segments_max: usize) -> Result<Playlist, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::NoPlaylist)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !text.starts_with("#EXTM3U") {
        return Err(Error::NoPlaylist);
    }
    let mut reader = Reader { base, segments_max, master: Master::default(), list: List::default() };
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        let done = match line.strip_prefix('#') {
            _ if line.is_empty() => Some(Ok(())),
            Some(tag) => match tag.split_once(':') {
                Some((name, value)) => reader.tag(name, value),
                None => reader.tag(tag, ""),
            },
            None => reader.uri(line),
        };
        done.ok_or(Error::Line(at + 1))??;
    }
    reader.finish()
}

/// What a line did: `None` if it can't be read.
type Done = Option<Result<(), Error>>;

struct Reader<'a> {
    base: &'a Url,
    segments_max: usize,
    master: Master,
    list: List,
}

/// A media playlist on its way in.
#[derive(Default)]
struct List {
    /// A line that only media playlists have was seen.
    seen: bool,
    target_ms: u64,
    sequence: u64,
    ended: bool,
    segments: Vec<Segment>,
    init: Option<Arc<Resource>>,
    key: Option<Arc<Key>>,
    /// A method that is not ours: it matters once a segment needs it.
    foreign: Option<String>,
    variant: Option<Variant>,
    next: Next,
}

/// What was said of the next segment alone.
#[derive(Default)]
struct Next {
    duration_ms: Option<u64>,
    span: Option<(u64, Option<u64>)>,
    gap: bool,
    /// A key was named: more of them are other ways to the same key.
    keyed: bool,
}

impl Reader<'_> {
    fn tag(&mut self, name: &str, value: &str) -> Done {
        let list = &mut self.list;
        match name {
            "EXTINF" => {
                list.next.duration_ms = Some(duration_ms(value)?.min(SEGMENT_MS_MAX));
                list.seen = true;
            }
            "EXT-X-TARGETDURATION" => {
                list.target_ms = duration_ms(value)?.min(SEGMENT_MS_MAX);
                list.seen = true;
            }
            "EXT-X-MEDIA-SEQUENCE" => {
                list.sequence = value.parse().ok().filter(|sequence| *sequence <= SEQUENCE_MAX)?;
                list.seen = true;
            }
            "EXT-X-ENDLIST" => list.ended = true,
            // It may not change any more: there is nothing to wait for.
            "EXT-X-PLAYLIST-TYPE" if value == "VOD" => list.ended = true,
            "EXT-X-BYTERANGE" => list.next.span = Some(span(value)?),
            "EXT-X-GAP" => list.next.gap = true,
            "EXT-X-KEY" => return self.key(value),
            "EXT-X-MAP" => {
                let map = attributes(value)?;
                let url = match address::follow(self.base, map.quoted("URI")?) {
                    Ok(url) => url,
                    Err(refused) => return Some(Err(refused.into())),
                };
                let (bytes, first) = map.quoted("BYTERANGE").map(span).map_or(Some((0, None)), |span| span)?;
                let span = (bytes > 0).then(|| Span { first: first.unwrap_or(0), bytes });
                list.init = Some(Arc::new(Resource { url, span }));
            }
            "EXT-X-STREAM-INF" => {
                let told = attributes(value)?;
                let codecs = told.quoted("CODECS").unwrap_or_default();
                list.variant = Some(Variant {
                    url: self.base.clone(),
                    bandwidth: told.plain("BANDWIDTH").and_then(|text| text.parse().ok()).unwrap_or(0),
                    codecs: codecs
                        .split(',')
                        .map(|codec| codec.trim().to_owned())
                        .filter(|codec| !codec.is_empty())
                        .collect(),
                    sized: told.plain("RESOLUTION").is_some(),
                    sound: told.quoted("AUDIO").map(str::to_owned),
                });
            }
            "EXT-X-MEDIA" => return self.sound(value),
            "EXT-X-I-FRAMES-ONLY" => return Some(Err(Error::Unsupported("key frames alone".into()))),
            "EXT-X-DEFINE" => return Some(Err(Error::Unsupported("variables".into()))),
            _ => {}
        }
        Some(Ok(()))
    }

    fn key(&mut self, value: &str) -> Done {
        let told = attributes(value)?;
        let method = told.plain("METHOD")?;
        let identity = told.quoted("KEYFORMAT").is_none_or(|format| format == "identity");
        let list = &mut self.list;
        match method {
            "NONE" => (list.key, list.foreign) = (None, None),
            "AES-128" if identity => {
                let url = match address::follow(self.base, told.quoted("URI")?) {
                    Ok(url) => url,
                    Err(refused) => return Some(Err(refused.into())),
                };
                let iv = told.plain("IV").map_or(Some(None), |text| iv(text).map(Some))?;
                (list.key, list.foreign) = (Some(Arc::new(Key { url, iv })), None);
            }
            // Another way to the key that was just named.
            _ if list.next.keyed && list.key.is_some() => {}
            _ => {
                let format = told.quoted("KEYFORMAT").map_or(String::new(), |format| format!(" with keys of {format}"));
                (list.key, list.foreign) = (None, Some(format!("{method}{format}")));
            }
        }
        list.next.keyed = true;
        Some(Ok(()))
    }

    fn sound(&mut self, value: &str) -> Done {
        let told = attributes(value)?;
        if told.plain("TYPE") == Some("AUDIO") {
            let url = match told.quoted("URI").map(|uri| address::follow(self.base, uri)).transpose() {
                Ok(url) => url,
                Err(refused) => return Some(Err(refused.into())),
            };
            let yes = |name| told.plain(name) == Some("YES");
            let group = told.quoted("GROUP-ID")?.to_owned();
            self.master.sounds.push(Sound { group, url, default: yes("DEFAULT"), automatic: yes("AUTOSELECT") });
        }
        Some(Ok(()))
    }

    fn uri(&mut self, line: &str) -> Done {
        let url = match address::follow(self.base, line) {
            Ok(url) => url,
            Err(refused) => return Some(Err(refused.into())),
        };
        if let Some(variant) = self.list.variant.take() {
            self.master.variants.push(Variant { url, ..variant });
            return Some(Ok(()));
        }
        let list = &mut self.list;
        if let Some(method) = &list.foreign {
            return Some(Err(Error::Unsupported(method.clone())));
        }
        if list.segments.len() >= self.segments_max {
            return Some(Err(Error::TooMany(self.segments_max)));
        }
        let next = std::mem::take(&mut list.next);
        let span = match next.span {
            None => None,
            Some((bytes, Some(first))) => Some(Span { first, bytes }),
            // It follows on the segment before it.
            Some((bytes, None)) => {
                let before = list.segments.last().map(|segment| &segment.media).filter(|media| media.url == url)?;
                Some(Span { first: before.span.map(|span| span.first + span.bytes)?, bytes })
            }
        };
        list.segments.push(Segment {
            sequence: list.sequence + list.segments.len() as u64,
            media: Resource { url, span },
            duration_ms: next.duration_ms?,
            init: list.init.clone(),
            key: list.key.clone(),
            gap: next.gap,
        });
        Some(Ok(()))
    }

    fn finish(self) -> Result<Playlist, Error> {
        let List { seen, target_ms, ended, mut segments, sequence, .. } = self.list;
        if !self.master.variants.is_empty() {
            return Ok(Playlist::Master(self.master));
        }
        if !seen {
            return Err(Error::NoPlaylist);
        }
        // The first number may be told after the first segment.
        for (at, segment) in segments.iter_mut().enumerate() {
            segment.sequence = sequence + at as u64;
        }
        let longest_ms = segments.iter().map(|segment| segment.duration_ms).max().unwrap_or(0);
        Ok(Playlist::Media(Media { target_ms: target_ms.max(longest_ms.min(60_000)), ended, segments }))
    }
}

impl Master {
    /// The best version that can be read: the one with the highest bitrate. Variants of sound alone are for players
    /// that have no room for a picture.
    pub(super) fn best(&self) -> Option<&Variant> {
        let seen = |codec: &str| {
            ["avc1", "avc3", "hvc1", "hev1", "av01", "vp08", "vp09", "vp8", "vp9", "mp4v", "mp2v"]
                .iter()
                .any(|known| codec.starts_with(known))
        };
        let readable = |variant: &&Variant| {
            let video = variant.codecs.iter().any(|codec| seen(codec));
            video || variant.codecs.is_empty() || (variant.sized && variant.codecs.iter().all(|codec| heard(codec)))
        };
        self.variants.iter().filter(readable).max_by_key(|variant| variant.bandwidth)
    }

    /// Where the sound of `variant` comes from, if that is not in its own segments.
    pub(super) fn sound(&self, variant: &Variant) -> Option<&Url> {
        let group = variant.sound.as_ref()?;
        let sounds = self.sounds.iter().filter(|sound| sound.group == *group);
        // The first one of those that are equally good.
        sounds.rev().max_by_key(|sound| (sound.default, sound.automatic))?.url.as_ref()
    }
}

/// Codecs of sound: a list of these alone does not name the video's.
fn heard(codec: &str) -> bool {
    ["mp4a", "ac-3", "ec-3", "opus", "Opus", "fLaC", "alac", "mp3"].iter().any(|known| codec.starts_with(known))
}

#[cfg(test)]
mod tests;
