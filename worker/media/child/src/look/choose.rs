//! Which frames of a stretch are looked at, and which have to be decoded for that. Pure.

use std::collections::BTreeSet;

/// A frame, as its packet tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// In the track's timescale.
    pub(super) pts: i64,
    /// On the stream's timeline.
    pub(super) at_ms: i64,
    pub(super) end_ms: i64,
    /// Decoding can start at it.
    pub(super) is_key: bool,
}

/// Numbers of the frames to look at, by their time: one for each multiple of `every_ms` in the stretch. Where a keyframe
/// is nearer than half of that, it is taken, the nearest one; otherwise the first frame from there on.
pub(super) fn choose(frames: &[Frame], every_ms: u32, (start_ms, end_ms): (i64, i64)) -> Vec<usize> {
    let every = i64::from(every_ms.max(1));
    let mut by_time: Vec<usize> = (0..frames.len()).collect();
    by_time.sort_by_key(|at| frames[*at].at_ms);
    let keys: Vec<usize> = by_time.iter().copied().filter(|at| frames[*at].is_key).collect();
    let mut chosen: Vec<usize> = Vec::new();
    let mut point = start_ms.div_euclid(every) * every;
    if point < start_ms {
        point += every;
    }
    // Beyond the last frame there is nothing more: a point for each would be many.
    while point < end_ms && chosen.len() < frames.len() {
        let apart = |at: &usize| (frames[*at].at_ms - point).abs();
        let key = keys.iter().copied().min_by_key(apart).filter(|at| apart(at) * 2 <= every);
        let after = by_time[by_time.partition_point(|at| frames[*at].at_ms < point)..].first();
        let Some(best) = key.or(after.copied()).or(by_time.last().copied()) else { break };
        if !chosen.contains(&best) {
            chosen.push(best);
        }
        // A stretch of a few frames that lasts for hours has no use for the points between them.
        let next = by_time.iter().map(|at| frames[*at].at_ms).find(|at| *at >= point + every);
        point = next.map_or(point + every, |next| (next.div_euclid(every) * every).max(point + every));
        if next.is_none() && chosen.last() == by_time.last() {
            break;
        }
    }
    chosen.sort_by_key(|at| frames[*at].at_ms);
    chosen
}

/// Numbers of the frames to decode, in their order, so that the chosen ones come out: each group from its keyframe on, as
/// far as it takes.
pub(super) fn needed(frames: &[Frame], chosen: &BTreeSet<usize>) -> Vec<usize> {
    let mut needed = Vec::new();
    for last in chosen {
        let key = (0..=*last).rev().find(|at| frames[*at].is_key).unwrap_or(0);
        // What was taken for one before is not taken again.
        let from = needed.last().map_or(key, |taken| key.max(taken + 1));
        needed.extend(from..=*last);
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many frames of 40 ms from `start_ms` on, a keyframe each `group`.
    fn frames(start_ms: i64, count: i64, group: i64) -> Vec<Frame> {
        let frame = |number: i64| {
            let at_ms = start_ms + number * 40;
            Frame { pts: at_ms * 90, at_ms, end_ms: at_ms + 40, is_key: number % group == 0 }
        };
        (0..count).map(frame).collect()
    }

    fn times(frames: &[Frame], every_ms: u32) -> Vec<i64> {
        let (start_ms, end_ms) = (frames[0].at_ms, frames.last().unwrap().end_ms);
        choose(frames, every_ms, (start_ms, end_ms)).into_iter().map(|at| frames[at].at_ms).collect()
    }

    #[test]
    fn keyframes_are_enough_where_there_are_enough() {
        // Two seconds with a keyframe at their beginning.
        let segment = frames(4_000, 50, 50);
        assert_eq!(times(&segment, 2_000), [4_000]);
        assert_eq!(times(&segment, 4_000), [4_000]);
        assert_eq!(times(&segment, 3_000), Vec::<i64>::new());
        assert_eq!(times(&frames(2_000, 50, 50), 3_000), [2_000]);
        assert_eq!(times(&segment, 1_000), [4_000, 5_000]);
        assert_eq!(times(&segment, 500), [4_000, 4_520, 5_000, 5_520]);
        assert_eq!(times(&frames(0, 50, 25), 1_000), [0, 1_000]);
    }

    #[test]
    fn each_multiple_has_one_picture_whatever_the_cuts_are() {
        // Segments of 1.76 s, each with a keyframe: none is looked at twice for one multiple, and none is left out.
        let all: Vec<i64> = (0..20).flat_map(|at| times(&frames(at * 1_760, 44, 44), 1_000)).collect();
        assert_eq!(all.len(), 36);
        let far = |pair: &[i64]| pair[1] - pair[0] <= 2_000;
        assert!(all.windows(2).all(far), "{all:?}");
    }

    #[test]
    fn few_frames_and_strange_times_end() {
        assert_eq!(times(&frames(0, 1, 1), 1_000), [0]);
        assert_eq!(times(&frames(10, 1, 1), 1_000), Vec::<i64>::new());
        let mut hours = frames(0, 2, 1);
        (hours[1].at_ms, hours[1].end_ms) = (1 << 49, (1 << 49) + 40);
        assert_eq!(times(&hours, 1).len(), 2);
        assert!(choose(&[], 1_000, (0, 0)).is_empty());
    }

    #[test]
    fn only_what_it_takes_is_decoded() {
        let all = frames(0, 100, 25);
        let needed = |chosen: &[usize]| needed(&all, &chosen.iter().copied().collect());
        assert_eq!(needed(&[0, 25, 75]), [0, 25, 75]);
        assert_eq!(needed(&[27]), [25, 26, 27]);
        assert_eq!(needed(&[51, 53]), [50, 51, 52, 53]);
        assert!(needed(&[]).is_empty());
    }
}
