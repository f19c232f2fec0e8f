//! Windows of pictures: segments one after the other that a worker looks at. Pure.
//!
//! Which pictures are looked at follows from the stream's timeline alone, so windows begin and end where segments do, and
//! none needs what the one before found.

use millrace_proto::{
    offer::Capability,
    profile::Profile,
    task::{Look, SEGMENTS_MAX, Work},
};

use super::{Step, begin, close, end_ms, ms, planned, skip};
use crate::store::{
    record::{Segment, Stream},
    reports::Chain,
};

/// A recording's window: enough to be worth a lease, and short enough that many workers get some.
const RECORDED_MS: i64 = 10_000;
/// Pictures of one window at most, where one segment has no more: what is told of them has to fit a report.
const PICTURES_MAX: u32 = 24;
/// Things of a picture that are looked at closely: each costs half as much as finding all of them.
const CLOSELY: u32 = 4;

/// What is next on a chain of pictures, as [`super::next`] says it of sound.
pub fn next(chain: &Chain, stream: &Stream, segments: &[Segment], now_ms: u64) -> Step {
    let mut ahead = segments.iter().filter(|segment| end_ms(segment) > chain.position_ms).peekable();
    let (first, ended) = match begin(chain, stream, ahead.peek().copied(), "looked at", now_ms) {
        Ok(begun) => begun,
        Err(step) => return step,
    };
    let Some(video) = &first.video else {
        let blind = ahead.take_while(|segment| segment.video.is_none()).last().unwrap_or(first);
        return skip(chain, end_ms(blind), blind.seq, "there are no pictures", now_ms);
    };
    if first.seq.saturating_sub(video.preroll.into()) < stream.first_seq {
        return skip(chain, end_ms(first), first.seq, "what it is decoded after was freed", now_ms);
    }
    let Some(work) = wish(chain, &stream.profile) else { return close(chain) };
    let goes_on = |segment: &&Segment| {
        let same = |other: &crate::store::record::Media| other.init == video.init;
        segment.discontinuity == first.discontinuity && segment.video.as_ref().is_some_and(same)
    };
    let run: Vec<&Segment> = ahead.clone().take_while(goes_on).collect();
    let start_ms = ms(first.start_ns);
    let to = |segment: &Segment| Look { start_ms, end_ms: end_ms(segment), preroll: video.preroll, ..work.clone() };
    let fits =
        |segment: &&&Segment| end_ms(segment) - start_ms <= RECORDED_MS && to(segment).pictures_max() <= PICTURES_MAX;
    let count = run.iter().take(SEGMENTS_MAX).take_while(fits).count().max(1);
    let is_whole = count == run.len();
    let is_over = is_whole && (ended || ahead.any(|segment| segment.seq > run[count - 1].seq));
    // Of a live stream whoever waits wants to know at once.
    if is_whole && !is_over && !stream.is_live() {
        return Step::Wait;
    }
    planned(chain, stream, first.seq, Work::Look(to(run[count - 1])), now_ms)
}

/// What a chain's profile wants to be looked for.
fn wish(chain: &Chain, profile: &Profile) -> Option<Look> {
    let (model, every_ms, closely) = match (chain.kind, &profile.moderation, &profile.products) {
        (Capability::Moderation, Some(wish), _) => (wish.model.clone(), wish.every_ms, 0),
        (Capability::Products, _, Some(wish)) => (wish.model.clone(), wish.every_ms, CLOSELY),
        _ => return None,
    };
    Some(Look { capability: chain.kind, model, every_ms, preroll: 0, closely, start_ms: 0, end_ms: 0 })
}

#[cfg(test)]
mod tests;
