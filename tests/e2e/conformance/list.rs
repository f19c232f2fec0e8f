//! Playlists as text with rules, tag by tag: a strict reader of the checker's own, which forgives nothing and asserts
//! nothing. `playlist.rs` beside it reads the same with a parser that is not ours.

use crate::playlist::resolve;

/// A multivariant playlist.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Multivariant {
    pub(super) url: String,
    pub(super) independent: bool,
    pub(super) variants: Vec<Variant>,
    /// Address of the audio rendition's playlist.
    pub(super) audio: Option<String>,
}

/// One `EXT-X-STREAM-INF`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Variant {
    pub(super) url: String,
    pub(super) bandwidth: Option<f64>,
    pub(super) bandwidth_average: Option<f64>,
    pub(super) codecs: Vec<String>,
    pub(super) size: Option<(u32, u32)>,
    pub(super) frame_rate: Option<f64>,
}

/// A media playlist, as it was at one time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct List {
    pub(super) url: String,
    pub(super) version: u32,
    pub(super) target_s: Option<u32>,
    pub(super) sequence: u64,
    pub(super) discontinuity_sequence: u64,
    pub(super) kind: Option<String>,
    pub(super) independent: bool,
    pub(super) ended: bool,
    pub(super) entries: Vec<Entry>,
}

/// One media segment of a playlist.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// Media sequence number.
    pub(super) number: u64,
    /// Discontinuity sequence number.
    pub(super) discontinuity: u64,
    pub(super) url: String,
    pub(super) init: Option<String>,
    pub(super) duration_s: f64,
    pub(super) gap: bool,
    /// Unix time, if told for this very segment.
    pub(super) at_ms: Option<i64>,
}

impl Multivariant {
    pub(super) fn read(url: &str, text: &str) -> Self {
        let mut read = Self { url: url.to_owned(), independent: false, variants: Vec::new(), audio: None };
        let mut open = None;
        for (tag, rest) in tags(text) {
            match tag {
                "#EXT-X-INDEPENDENT-SEGMENTS" => read.independent = true,
                "#EXT-X-MEDIA" if attribute(rest, "TYPE") == Some("AUDIO") => {
                    read.audio = attribute(rest, "URI").map(|uri| resolve(url, uri));
                }
                "#EXT-X-STREAM-INF" => open = Some(rest),
                "" => {
                    let Some(told) = open.take() else { continue };
                    let number = |name| attribute(told, name).and_then(|text| text.parse().ok());
                    let codecs = attribute(told, "CODECS").unwrap_or_default();
                    let size = attribute(told, "RESOLUTION").and_then(|text| text.split_once('x'));
                    read.variants.push(Variant {
                        url: resolve(url, rest),
                        bandwidth: number("BANDWIDTH"),
                        bandwidth_average: number("AVERAGE-BANDWIDTH"),
                        codecs: codecs.split(',').map(str::to_owned).filter(|codec| !codec.is_empty()).collect(),
                        size: size.and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?))),
                        frame_rate: number("FRAME-RATE"),
                    });
                }
                _ => {}
            }
        }
        read
    }

    /// Addresses of all media playlists.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.variants.iter().map(|variant| variant.url.as_str()).chain(self.audio.as_deref())
    }

    /// Whether the playlist at `url` is of sound: the audio rendition, or a variant without a picture.
    pub(super) fn is_sound(&self, url: &str) -> bool {
        let alone = self.variants.iter().any(|variant| variant.url == url && variant.size.is_none());
        alone || self.audio.as_deref() == Some(url)
    }
}

impl List {
    pub(super) fn read(url: &str, text: &str) -> Self {
        let mut read = Self {
            url: url.to_owned(),
            version: 1,
            target_s: None,
            sequence: 0,
            discontinuity_sequence: 0,
            kind: None,
            independent: false,
            ended: false,
            entries: Vec::new(),
        };
        let (mut init, mut duration_s, mut gap, mut at_ms, mut breaks) = (None, None, false, None, 0);
        for (tag, rest) in tags(text) {
            match tag {
                "#EXT-X-VERSION" => read.version = rest.parse().unwrap_or(0),
                "#EXT-X-TARGETDURATION" => read.target_s = rest.parse().ok(),
                "#EXT-X-MEDIA-SEQUENCE" => read.sequence = rest.parse().unwrap_or(0),
                "#EXT-X-DISCONTINUITY-SEQUENCE" => read.discontinuity_sequence = rest.parse().unwrap_or(0),
                "#EXT-X-PLAYLIST-TYPE" => read.kind = Some(rest.to_owned()),
                "#EXT-X-INDEPENDENT-SEGMENTS" => read.independent = true,
                "#EXT-X-ENDLIST" => read.ended = true,
                "#EXT-X-MAP" => init = attribute(rest, "URI").map(|uri| resolve(url, uri)),
                "#EXT-X-GAP" => gap = true,
                "#EXT-X-DISCONTINUITY" => breaks += 1,
                "#EXT-X-PROGRAM-DATE-TIME" => at_ms = unix_ms(rest),
                "#EXTINF" => duration_s = rest.split(',').next().and_then(|text| text.parse().ok()),
                "" => read.entries.push(Entry {
                    number: read.sequence + read.entries.len() as u64,
                    discontinuity: read.discontinuity_sequence + breaks,
                    url: resolve(url, rest),
                    init: init.clone(),
                    duration_s: duration_s.take().unwrap_or(0.0),
                    gap: std::mem::take(&mut gap),
                    at_ms: at_ms.take(),
                }),
                _ => {}
            }
        }
        read
    }
}

/// Every tag with what follows its colon, and every address as a tag without a name.
fn tags(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().map(str::trim_end).filter(|line| !line.is_empty()).filter_map(|line| match line.strip_prefix('#') {
        None => Some(("", line)),
        Some(name) if name.starts_with("EXT") => Some(line.split_once(':').unwrap_or((line, ""))),
        Some(_) => None,
    })
}

/// The value of an attribute, without its quotes.
fn attribute<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = list;
    while !rest.is_empty() {
        let (key, value) = rest.split_once('=')?;
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_at(value.find(',').unwrap_or(value.len())),
        };
        if key == name {
            return Some(value);
        }
        rest = after.strip_prefix(',').unwrap_or("");
    }
    None
}

/// A date as `YYYY-MM-DDTHH:MM:SS.mmmZ` (ISO 8601 in UTC) in Unix milliseconds.
pub(super) fn unix_ms(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.splitn(3, ':').map(|part| part.parse::<f64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    // Days since 1970, counting years from March: the leap day is the last one then.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = days + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400_000 + ((hour * 60.0 + minute) * 60_000.0 + second * 1_000.0).round() as i64)
}
