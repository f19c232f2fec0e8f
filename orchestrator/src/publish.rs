//! Publishing: lists what is settled, in order, and tells players of it.
//!
//! A segment is listed when it and all before it are settled: as media in every rendition at once, or as a gap.
//! The decisions here are pure; [`advance`] writes them. Playlists are made on request from what is listed.

pub mod dash;
pub mod hls;
pub mod hold;
pub mod retention;
pub mod seal;
pub mod webvtt;

use std::sync::Arc;

use millrace_proto::{StreamId, api::StreamState, offer::Capability, profile::Profile};

use hls::Span;

use crate::{
    store::{
        self, Listing, Move, Store,
        record::{Media, Segment, SegmentState, Stream, Variant},
        reports::{MODERATION, Of},
    },
    task::window::ms,
    words,
};

/// Segments looked at in one step.
const STEP_SEGMENTS: u32 = 64;

/// What a step of publishing did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Advanced {
    /// The segments that are listed now and were not before.
    pub listed: Vec<Segment>,
    /// The stream is complete now.
    pub ended: bool,
}

/// Lists all of a stream that can be listed. Safe to repeat, and to run twice at once.
pub async fn advance(store: &Arc<dyn Store>, id: &StreamId, now_ms: u64) -> store::Result<Advanced> {
    let mut advanced = Advanced::default();
    loop {
        let Some(stream) = store.stream(id).await? else { return Ok(advanced) };
        let mut segments = store.segments(id, stream.listed_seq, STEP_SEGMENTS).await?;
        let all = segments.len() < STEP_SEGMENTS as usize;
        let settled = segments.iter().take_while(|segment| segment.state != SegmentState::Pending).count();
        segments.truncate(settled);
        hold_back(store, &stream, &mut segments, now_ms).await?;
        if segments.is_empty() {
            if stream.state == StreamState::Finishing && stream.listed_seq == stream.next_seq {
                let step = Move {
                    from: &[StreamState::Finishing],
                    to: StreamState::Ended,
                    reason: None,
                    grace_ends_ms: 0,
                    now_ms,
                };
                advanced.ended = store.move_stream(id, &step).await?;
            }
            return Ok(advanced);
        }
        let to = stream.listed_seq + segments.len() as u64;
        if store.list_segments(id, stream.listed_seq, to, &list(&stream, &segments)).await? {
            advanced.listed.extend(segments.into_iter().map(Segment::shown));
            // What is settled from now on, and the stream's end, come with a nudge of their own.
            if all && stream.state != StreamState::Finishing {
                return Ok(advanced);
            }
        }
    }
}

/// Marks and reports of one segment's time at most: one with more is held back.
const KNOWN_MAX: u32 = 1_000;

/// Leaves those of `segments` that may be listed, some of them held back.
async fn hold_back(
    store: &Arc<dyn Store>,
    stream: &Stream,
    segments: &mut Vec<Segment>,
    now_ms: u64,
) -> store::Result<()> {
    if segments.is_empty() || !hold::holds(&stream.profile) {
        return Ok(());
    }
    // Read first: what is settled then has all of its marks and reports.
    let mut known = hold::Known { chains: store.chains(&stream.id).await?, ..hold::Known::default() };
    for at in 0..segments.len() {
        let segment = &segments[at];
        let (start_ms, end_ms) = (ms(segment.start_ns), ms(segment.start_ns + segment.duration_ns));
        (known.marks, known.reports) = (Vec::new(), Vec::new());
        for track in [MODERATION].into_iter().chain(words::TRACKS) {
            let of = Of { stream: &stream.id, kind: Capability::Moderation, track };
            known.marks.extend(store.marks(of, start_ms, end_ms, KNOWN_MAX).await?);
        }
        for (kind, track) in hold::needed(&stream.profile, segment) {
            let of = Of { stream: &stream.id, kind, track };
            known.reports.extend(store.reports(of, start_ms, end_ms, KNOWN_MAX).await?);
        }
        let many = known.marks.len().max(known.reports.len()) >= KNOWN_MAX as usize;
        match hold::judge(&stream.profile, segment, &known) {
            hold::Verdict::Wait => {
                segments.truncate(at);
                break;
            }
            hold::Verdict::Hold(why) => segments[at].hold = Some(hold::held(why, now_ms)),
            hold::Verdict::Show if many => segments[at].hold = Some(hold::held("too much is marked".into(), now_ms)),
            hold::Verdict::Show => {}
        }
    }
    Ok(())
}

/// The times of a stream that players must not get anything of, in milliseconds of its timeline: what is held back, and
/// where a stream is that holds anything back, what is not listed yet.
pub async fn hidden(store: &Arc<dyn Store>, stream: &Stream) -> store::Result<Vec<(i64, i64)>> {
    let mut hidden = Vec::new();
    if !hold::holds(&stream.profile) {
        return Ok(hidden);
    }
    let mut from = stream.first_seq;
    loop {
        let page = store.held(&stream.id, from, PAGE_SEGMENTS).await?;
        let withheld = page.iter().filter(|segment| segment.is_withheld());
        hidden.extend(withheld.map(|one| (ms(one.start_ns), ms(one.start_ns + one.duration_ns))));
        match page.last() {
            Some(last) => from = last.seq + 1,
            None => break,
        }
    }
    let newest = store.segment(&stream.id, stream.listed_seq.saturating_sub(1)).await?;
    let newest = newest.filter(|newest| newest.seq < stream.listed_seq);
    hidden.push((newest.map_or(i64::MIN, |newest| ms(newest.start_ns + newest.duration_ns)), i64::MAX));
    Ok(hidden)
}

/// The first segment of a live stream's window.
pub fn window_from(stream: &Stream) -> u64 {
    stream.listed_seq.saturating_sub(window_segments(stream)).max(stream.first_seq)
}

/// Segments of a live stream's window: at least six, whatever their length.
pub fn window_segments(stream: &Stream) -> u64 {
    let length_ms = u64::from(stream.profile.segment_ms.max(1));
    (u64::from(stream.profile.window_s) * 1_000).div_ceil(length_ms).max(6)
}

/// Segments read from the store at once.
pub const PAGE_SEGMENTS: u32 = 1_000;

/// The first segment of a playlist of this span.
pub fn first_of(stream: &Stream, span: Span) -> u64 {
    match span {
        Span::Event | Span::Vod => stream.first_seq,
        Span::Window => window_from(stream),
    }
}

/// The next listed segments from number `from` on, in order and without a hole: at most [`PAGE_SEGMENTS`], none if there
/// are no more. They start later than `from` if retention took that one just now. Those that are held back have nothing in
/// them.
pub async fn page(store: &Arc<dyn Store>, stream: &Stream, from: u64) -> store::Result<Vec<Segment>> {
    let count = u32::try_from(stream.listed_seq.saturating_sub(from)).unwrap_or(u32::MAX).min(PAGE_SEGMENTS);
    let mut segments = store.segments(&stream.id, from, count).await?;
    segments = segments.into_iter().map(Segment::shown).collect();
    let first = segments.first().map_or(from, |segment| segment.seq);
    let whole = segments.iter().zip(first..stream.listed_seq).take_while(|(segment, seq)| segment.seq == *seq).count();
    segments.truncate(whole);
    Ok(segments)
}

/// All listed segments that a playlist of this span covers. They are all in memory then: who asks knows that they are
/// few.
pub async fn covered(store: &Arc<dyn Store>, stream: &Stream, span: Span) -> store::Result<Vec<Segment>> {
    listed_from(store, stream, first_of(stream, span)).await
}

/// All listed segments from number `from` on, in memory as with [`covered`].
pub async fn listed_from(store: &Arc<dyn Store>, stream: &Stream, from: u64) -> store::Result<Vec<Segment>> {
    let (mut segments, mut next) = (Vec::new(), from);
    loop {
        let mut page = page(store, stream, next).await?;
        let Some(last) = page.last() else { return Ok(segments) };
        next = last.seq + 1;
        segments.append(&mut page);
    }
}

/// `EXT-X-TARGETDURATION` of a stream's playlists: a promise that [`segment_ms_max`] keeps.
fn target_duration_s(profile: &Profile) -> u32 {
    profile.segment_ms.div_ceil(1_000)
}

/// The longest segment that is still rounded down to the target duration, with a margin for the frame that it ends with.
pub fn segment_ms_max(profile: &Profile) -> u32 {
    target_duration_s(profile) * 1_000 + 450
}

/// What is to be said of `stream` once `segments` are listed too. What renditions are like is told of those that are held
/// back as well: they may be approved.
pub fn list(stream: &Stream, segments: &[Segment]) -> Listing {
    let mut listing = Listing {
        target_duration_s: stream.target_duration_s.max(target_duration_s(&stream.profile)),
        variants: stream.variants.clone(),
        failed: 0,
        events: hold::told(segments),
        held: segments.iter().filter_map(|segment| Some((segment.seq, segment.hold.clone()?))).collect(),
    };
    for segment in segments {
        listing.target_duration_s = listing.target_duration_s.max(rounded_s(segment.duration_ns));
        if segment.state != SegmentState::Ready && segment.hold.is_none() {
            listing.failed += 1;
        }
        for media in published(stream, segment) {
            count(&mut listing.variants, media, segment.duration_ns);
        }
    }
    listing
}

/// What of a segment is published: its accepted renditions, its audio, and the source's video where wanted.
pub fn published<'a>(stream: &Stream, segment: &'a Segment) -> impl Iterator<Item = &'a Media> {
    let source = if stream.profile.passthrough { segment.video.as_ref() } else { None };
    segment.renditions.iter().chain(source).chain(segment.audio.as_ref())
}

/// `listed_ns` is the segment's `EXTINF`, by which RFC 8216bis (4.4.6.2) defines bit rates.
fn count(variants: &mut Vec<Variant>, media: &Media, listed_ns: u64) {
    let at = variants.iter().position(|variant| variant.name == media.name).unwrap_or_else(|| {
        variants.push(Variant { name: media.name.clone(), ..Variant::default() });
        variants.len() - 1
    });
    let variant = &mut variants[at];
    variant.codec.clone_from(&media.codec);
    (variant.width, variant.height, variant.channels) = (media.width, media.height, media.channels);
    variant.frames += u64::from(media.frames);
    variant.bytes += media.segment.bytes;
    variant.key_bytes += media.key_bytes;
    variant.duration_ns += media.duration_ns;
    variant.listed_ns += listed_ns;
    // A last segment of a few frames says nothing of the bitrate: Apple's validator leaves such out, too.
    if listed_ns >= 500_000_000 || variant.bitrate_bps_peak == 0 {
        variant.bitrate_bps_peak = variant.bitrate_bps_peak.max(bps(media.segment.bytes, listed_ns));
        variant.key_bps_peak = variant.key_bps_peak.max(bps(media.key_bytes, listed_ns));
    }
}

/// Rounded up: no segment may be above what is told.
fn bps(bytes: u64, duration_ns: u64) -> u64 {
    let bits = u128::from(bytes) * 8 * 1_000_000_000;
    u64::try_from(bits.div_ceil(u128::from(duration_ns.max(1)))).unwrap_or(u64::MAX)
}

/// Nearest whole second, as RFC 8216bis 4.4.3.1 rounds `EXTINF` for `EXT-X-TARGETDURATION`.
fn rounded_s(duration_ns: u64) -> u32 {
    u32::try_from((duration_ns + 500_000_000) / 1_000_000_000).unwrap_or(u32::MAX)
}
