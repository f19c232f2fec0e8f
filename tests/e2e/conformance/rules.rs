//! Rules that playlists must keep: each by itself, over time, and beside each other. Pure.

use std::collections::BTreeMap;

use super::{
    Book, Finding, Findings,
    list::{Entry, List, Multivariant},
};

pub(super) const TARGET: &str = "RFC 8216bis 4.4.3.1 (EXT-X-TARGETDURATION)";
pub(super) const SEQUENCE: &str = "RFC 8216bis 4.4.3.2 (EXT-X-MEDIA-SEQUENCE)";
pub(super) const BREAKS: &str = "RFC 8216bis 4.4.3.3 (EXT-X-DISCONTINUITY-SEQUENCE)";
pub(super) const TYPE: &str = "RFC 8216bis 4.4.3.5 (EXT-X-PLAYLIST-TYPE)";
pub(super) const VERSION: &str = "RFC 8216bis 8 (EXT-X-VERSION)";
pub(super) const MAP: &str = "RFC 8216bis 4.4.4.5 (EXT-X-MAP)";
pub(super) const DATE: &str = "RFC 8216bis 4.4.4.6 (EXT-X-PROGRAM-DATE-TIME)";
pub(super) const CHANGES: &str = "RFC 8216bis 6.2.1 (what of a playlist may change)";
pub(super) const WINDOW: &str = "RFC 8216bis 6.2.2 (live playlists)";
pub(super) const ALIGNED: &str = "RFC 8216bis 6.2.4 (variant streams)";
pub(super) const INDEPENDENT: &str = "RFC 8216bis 4.4.2.1 (EXT-X-INDEPENDENT-SEGMENTS)";
pub(super) const BITRATE: &str = "RFC 8216bis 4.4.6.2 (BANDWIDTH, AVERAGE-BANDWIDTH)";
pub(super) const CODECS: &str = "RFC 8216bis 4.4.6.2 (CODECS)";
pub(super) const SIZE: &str = "RFC 8216bis 4.4.6.2 (RESOLUTION)";
pub(super) const RATE: &str = "RFC 8216bis 4.4.6.2 (FRAME-RATE)";

/// Dates are told in milliseconds; two of them may be off by one each.
const DATE_MS_OFF_MAX: f64 = 2.0;
/// A segment shorter than this says nothing of the bitrate, unless there is no other; Apple's validator leaves such
/// out, too.
const BITRATE_S_MIN: f64 = 0.5;

pub(super) fn judge(book: &Book) -> Vec<Finding> {
    let mut findings = Findings::default();
    for states in book.lists.values() {
        for list in states {
            alone(book, list, &mut findings);
        }
        for pair in states.windows(2) {
            over_time(&pair[0], &pair[1], &mut findings);
        }
    }
    aligned(book, &mut findings);
    for master in &book.masters {
        let independent = master.independent || book.lists.values().flatten().all(|list| list.independent);
        findings.check(independent, INDEPENDENT, &master.url, || "it is missing".into());
    }
    if let Some(master) = book.masters.last() {
        told(book, master, &mut findings);
    }
    findings.0
}

/// One state of one media playlist.
fn alone(book: &Book, list: &List, findings: &mut Findings) {
    let url = &list.url;
    let target_s = f64::from(list.target_s.unwrap_or(0));
    findings.check(list.target_s.is_some(), TARGET, url, || "it is missing".into());
    let gaps = list.entries.iter().any(|entry| entry.gap);
    let version_min = if gaps { 8 } else { 6 };
    findings.check(list.version >= version_min, VERSION, url, || format!("{}, not {version_min}", list.version));
    for entry in &list.entries {
        let number = entry.number;
        let fits = entry.duration_s > 0.0 && entry.duration_s.round() <= target_s && entry.duration_s <= target_s + 0.5;
        findings.check(fits, TARGET, url, || format!("{number} takes {} s, of {target_s}", entry.duration_s));
        findings.check(entry.gap || entry.init.is_some(), MAP, url, || format!("{number} has none"));
    }
    if book.live {
        findings.check(list.entries.first().is_none_or(|entry| entry.at_ms.is_some()), DATE, url, || "none".into());
    } else {
        findings.check(list.ended && list.kind.as_deref() == Some("VOD"), TYPE, url, || "a recording is a VOD".into());
    }
    let mut due_ms: Option<f64> = None;
    let mut before: Option<&Entry> = None;
    for entry in &list.entries {
        let same_run = before.is_some_and(|before| before.discontinuity == entry.discontinuity);
        if let (Some(at_ms), Some(due)) = (entry.at_ms, due_ms) {
            let off_ms = at_ms as f64 - due;
            let right = if same_run { off_ms.abs() <= DATE_MS_OFF_MAX } else { off_ms >= -DATE_MS_OFF_MAX };
            findings.check(right, DATE, url, || format!("{} is {off_ms} ms off its place", entry.number));
        }
        due_ms = match (entry.at_ms, same_run) {
            // Within a run all is counted from its first date, so that small errors add up and are seen.
            (_, true) => due_ms,
            (at_ms, false) => at_ms.map(|at_ms| at_ms as f64),
        };
        due_ms = due_ms.map(|due| due + entry.duration_s * 1_000.0);
        before = Some(entry);
    }
    let length_s: f64 = list.entries.iter().map(|entry| entry.duration_s).sum();
    let slid = list.sequence > 0 && !list.ended;
    findings.check(!slid || length_s >= 3.0 * target_s, WINDOW, url, || format!("a window of {length_s} s"));
}

/// One media playlist, and what it became.
fn over_time(old: &List, new: &List, findings: &mut Findings) {
    let url = &new.url;
    let mut check = |holds, rule, what: &dyn Fn() -> String| findings.check(holds, rule, url, what);
    check(old.target_s == new.target_s, TARGET, &|| format!("{:?} became {:?}", old.target_s, new.target_s));
    let back = |old: u64, new: u64| move || format!("{old} went back to {new}");
    check(new.sequence >= old.sequence, SEQUENCE, &back(old.sequence, new.sequence));
    let breaks = (old.discontinuity_sequence, new.discontinuity_sequence);
    check(breaks.1 >= breaks.0, BREAKS, &back(breaks.0, breaks.1));
    let end = |list: &List| list.sequence + list.entries.len() as u64;
    check(end(new) >= end(old), CHANGES, &|| "its newest segments are gone".into());
    check(!old.ended || *old == *new, CHANGES, &|| "it changed after its end".into());
    let grows = old.kind.as_deref() != Some("EVENT") || new.sequence == old.sequence;
    check(grows, TYPE, &|| "an EVENT lost its first segments".into());
    for entry in &new.entries {
        let Some(before) = entry.number.checked_sub(old.sequence).and_then(|at| old.entries.get(at as usize)) else {
            continue;
        };
        check(before == entry, CHANGES, &|| format!("{before:?} became {entry:?}"));
    }
}

/// All renditions beside each other.
fn aligned(book: &Book, findings: &mut Findings) {
    let mut target_s = None;
    let mut seen: BTreeMap<u64, &Entry> = BTreeMap::new();
    for list in book.lists.values().flatten() {
        let target_s = *target_s.get_or_insert(list.target_s);
        findings.check(target_s == list.target_s, ALIGNED, &list.url, || {
            format!("target durations {target_s:?} and {:?}", list.target_s)
        });
        for entry in &list.entries {
            let other = *seen.entry(entry.number).or_insert(entry);
            let place = |entry: &Entry| (entry.discontinuity, entry.at_ms, entry.duration_s.to_bits());
            findings.check(place(other) == place(entry), ALIGNED, &list.url, || format!("{other:?} and {entry:?}"));
        }
    }
}

/// What the multivariant playlist says of its variants, next to what they are.
fn told(book: &Book, master: &Multivariant, findings: &mut Findings) {
    let audio = master.audio.as_deref().map(|url| measured(book, url)).unwrap_or_default();
    for variant in &master.variants {
        let url = &variant.url;
        let video = measured(book, url);
        let mut codecs: Vec<&str> = video.codecs.iter().chain(&audio.codecs).map(String::as_str).collect();
        let mut named: Vec<&str> = variant.codecs.iter().map(String::as_str).collect();
        codecs.sort_unstable();
        named.sort_unstable();
        findings.check(codecs == named, CODECS, url, || format!("{named:?} is told, {codecs:?} comes"));
        findings.check(video.sizes.iter().all(|size| Some(*size) == variant.size), SIZE, url, || {
            format!("{:?} is told, {:?} comes", variant.size, video.sizes)
        });
        let rate = variant.frame_rate.unwrap_or(0.0);
        // Apple's validator, "measured frame rate": within 0.1 %. Sound alone has none.
        let fits = video.sizes.is_empty() || (rate / video.frame_rate - 1.0).abs() <= 0.001;
        findings.check(fits, RATE, url, || format!("{rate} is told, {} comes", video.frame_rate));
        let (peak, average) = (video.bps_peak + audio.bps_peak, video.bps_average + audio.bps_average);
        let told = variant.bandwidth.unwrap_or(0.0);
        let told_average = variant.bandwidth_average.unwrap_or(0.0);
        // FACTS: a measured peak within 10 % of BANDWIDTH for VOD; none above it, but for rounding of EXTINF.
        findings.check(peak <= told + 2.0, BITRATE, url, || format!("a peak of {peak}, {told} is told"));
        findings.check(book.live || peak >= told * 0.9, BITRATE, url, || format!("a peak of {peak}, {told} is told"));
        let near = (told_average / average - 1.0).abs() <= 0.1 && told_average <= told;
        findings.check(near, BITRATE, url, || format!("an average of {average}, {told_average} is told"));
    }
}

/// What one rendition really is.
#[derive(Debug, Default)]
struct Measured {
    codecs: Vec<String>,
    sizes: Vec<(u32, u32)>,
    frame_rate: f64,
    bps_peak: f64,
    bps_average: f64,
}

fn measured(book: &Book, url: &str) -> Measured {
    let mut measured = Measured::default();
    let (mut frames, mut media_s, mut bits, mut listed_s) = (0, 0.0, 0.0, 0.0);
    let short = book.entries(url).all(|entry| entry.duration_s < BITRATE_S_MIN);
    for entry in book.entries(url) {
        let Some((init, piece)) = book.media(entry) else { continue };
        if !measured.codecs.contains(&init.codec) {
            measured.codecs.push(init.codec.clone());
        }
        measured.sizes.extend(init.size.filter(|size| !measured.sizes.contains(size)));
        frames += piece.shown.len();
        media_s += (piece.decode_end - piece.decode_start) as f64 / f64::from(init.timescale);
        bits += piece.bytes as f64 * 8.0;
        listed_s += entry.duration_s;
        if short || entry.duration_s >= BITRATE_S_MIN {
            measured.bps_peak = measured.bps_peak.max(piece.bytes as f64 * 8.0 / entry.duration_s);
        }
    }
    measured.frame_rate = frames as f64 / media_s;
    measured.bps_average = bits / listed_s;
    measured
}
