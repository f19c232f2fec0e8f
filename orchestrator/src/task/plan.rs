//! Planning: profile and segment -> tasks. Pure and repeatable: the same segment plans the same task.

use std::cmp::Reverse;

use millrace_proto::{
    StreamId, TaskId,
    profile::{Policy, Profile, Rung},
    task::{Target, Transcode, Work},
};

use super::{State, Task};

/// The rungs of `profile` that a source of this size gets, largest first: those not above it, or else the smallest,
/// in every codec that has it.
pub fn rungs(profile: &Profile, display: (u32, u32)) -> Vec<Rung> {
    let short_side_px = display.0.min(display.1);
    let mut ladder = profile.ladder.clone();
    ladder.sort_by_key(|rung| (Reverse(rung.short_side_px), rung.codec, Reverse(rung.rate().bitrate_bps())));
    let smallest = ladder.last().map_or(0, |rung| rung.short_side_px);
    ladder.retain(|rung| rung.short_side_px <= short_side_px.max(smallest));
    ladder
}

/// The picture that `rung` makes of a source of this size: same aspect ratio, even, and never larger than the source,
/// but for sources that are too small for the rung's encoder.
pub fn target(rung: &Rung, display: (u32, u32)) -> Target {
    let (width, height) = display;
    let short = width.min(height).max(1);
    let side = rung.short_side_px.min(short).max(rung.codec.side_px_min());
    // Nearest even size: 4:2:0 chroma needs one.
    let scaled = |length: u32| {
        let exact = u64::from(length) * u64::from(side);
        let even = (exact + u64::from(short)) / (2 * u64::from(short)) * 2;
        u32::try_from(even.max(2)).unwrap_or(u32::MAX - 1)
    };
    Target {
        name: rung.name.clone(),
        width: scaled(width),
        height: scaled(height),
        codec: rung.codec,
        rate: rung.rate(),
        preset: rung.preset,
        profile: rung.profile.unwrap_or_default(),
        fps_divisor: rung.fps_divisor,
    }
}

/// What a segment needs done.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// Its stream.
    pub stream: &'a StreamId,
    /// Its place in the stream.
    pub seq: u64,
    /// A viewer waits for it.
    pub live: bool,
    /// Its playing time.
    pub duration_ms: u64,
    /// The upright picture in square pixels; absent if the segment has no video.
    pub display: Option<(u32, u32)>,
    /// Which workers may get it.
    pub policy: Policy,
}

/// The tasks of a segment: one for all of its rungs, whatever their codecs. It is decoded once, and no player could
/// use a part of it: a segment is listed when it is there in every rendition. `rungs` are the stream's, as [`rungs`]
/// chose them for its first segment.
pub fn tasks(rungs: &[Rung], subject: &Subject<'_>, now_ms: u64) -> Vec<Task> {
    let Some(display) = subject.display else { return Vec::new() };
    if rungs.is_empty() {
        return Vec::new();
    }
    let renditions = rungs.iter().map(|rung| target(rung, display)).collect();
    let id = format!("{}-{}-transcode", subject.stream, subject.seq);
    vec![Task {
        id: TaskId::try_from(id).expect("a stream id, a number and a word fit a task id"),
        stream: subject.stream.clone(),
        seq: subject.seq,
        live: subject.live,
        duration_ms: subject.duration_ms,
        version: 0,
        work: Work::Transcode(Transcode { renditions }),
        link: None,
        sandboxed: subject.policy.sandboxed,
        created_ms: now_ms,
        state: State::Waiting { not_before_ms: now_ms },
        attempts: Vec::new(),
    }]
}

#[cfg(test)]
mod tests {
    use millrace_proto::profile::{Choice, VideoCodec};

    use super::*;

    fn names(display: (u32, u32)) -> Vec<String> {
        let profile = Choice::default().resolve().unwrap();
        rungs(&profile, display).into_iter().map(|rung| rung.name).collect()
    }

    #[test]
    fn rungs_above_the_source_are_left_out() {
        assert_eq!(names((1920, 1080)), ["720p", "480p", "360p"]);
        assert_eq!(names((854, 480)), ["480p", "360p"]);
        assert_eq!(names((480, 854)), ["480p", "360p"], "a vertical picture counts by its short side");
        assert_eq!(names((320, 240)), ["360p"], "one rung is always made");
        let mut profile = Choice::default().resolve().unwrap();
        for mut rung in profile.ladder.clone() {
            (rung.name, rung.codec) = (format!("{}-av1", rung.name), VideoCodec::Av1);
            profile.ladder.push(rung);
        }
        let both = |display| rungs(&profile, display).into_iter().map(|rung| rung.name).collect::<Vec<_>>();
        assert_eq!(both((854, 480)), ["480p", "480p-av1", "360p", "360p-av1"]);
        assert_eq!(both((320, 240)), ["360p", "360p-av1"], "and in each codec");
    }

    #[test]
    fn aspect_ratio_stays_and_sizes_are_even() {
        let profile = Choice::default().resolve().unwrap();
        let size = |rung: usize, display| {
            let target = target(&profile.ladder[rung], display);
            (target.width, target.height)
        };
        assert_eq!(size(0, (1920, 1080)), (1280, 720));
        assert_eq!(size(1, (1920, 1080)), (854, 480), "853.3 is rounded to the nearest even number");
        assert_eq!(size(0, (1080, 1920)), (720, 1280));
        assert_eq!(size(2, (641, 271)), (642, 272), "a smaller source keeps its size, but for evenness");
        assert_eq!(size(2, (1, 1)), (2, 2));
        let av1 = Rung { codec: VideoCodec::Av1, ..profile.ladder[2].clone() };
        let target = target(&av1, (48, 32));
        assert_eq!((target.width, target.height), (96, 64), "its encoder takes no less");
    }
}
