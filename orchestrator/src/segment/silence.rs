//! Keeps the sound going: where a source's sound starts late, pauses or ends early, frames of silence take its place.
//! The same for a publisher that comes back without sound. Pure. Players fetch picture and sound apart and stop, or jump,
//! where one of them has nothing to play; Shaka Player gives up a live stream with a period that lacks one of them.

use bytes::Bytes;
use millrace_cmaf::{Audio, Codec, Sample, Track, aac};

/// A hole up to this is one that players step over: rounded times, encoders' first frames.
const HOLE_MS: i128 = 100;

/// Where a source cuts by itself, up to this of a segment's sound comes with the next one: FFmpeg's transport streams
/// hold sound back for 350 ms (`max_delay` of its muxer, halved).
const BEHIND_MS_MAX: i128 = 500;

/// Of sound that is nothing but silence.
const SAMPLE_RATE: u32 = 48_000;

/// A hole beyond this is not filled: the source's clock jumped.
const FILL_MS_MAX: i128 = 60_000;

/// The sound of a run that has none, in a stream that had so many channels before. `None` for channels that AAC does not
/// have, 0 among them.
pub(super) fn track(channels: u16) -> Option<Track> {
    let audio = Audio { sample_rate: SAMPLE_RATE, channels };
    let codec = Codec::Aac { audio, config: aac::config(audio).ok()? };
    Some(Track { timescale: SAMPLE_RATE, codec })
}

/// The sound of one run of segments. Times are in its timescale.
#[derive(Debug)]
pub(super) struct Silence {
    frame: Bytes,
    frame_samples: u32,
    rate: i128,
    video_timescale: i128,
    /// Sound comes, and may be late.
    sounds: bool,
    /// Where the sound ends; before any came, where the picture starts.
    end: Option<i64>,
    /// Where the newest picture ends.
    front: Option<i64>,
    /// Where the silence ends that was put in.
    filled: Option<i64>,
}

impl Silence {
    /// For a run with these tracks; unless `sounds`, nothing but silence comes in the second one. `None` if the sound is of
    /// a kind whose silence is not known.
    pub(super) fn new(video: &Track, audio: &Track, sounds: bool) -> Option<Self> {
        let Codec::Aac { config, .. } = &audio.codec else { return None };
        Some(Self {
            frame: aac::silence(config)?,
            frame_samples: aac::frame_samples(config).ok()?,
            rate: audio.timescale.into(),
            video_timescale: video.timescale.max(1).into(),
            sounds,
            end: None,
            front: None,
            filled: None,
        })
    }

    /// Takes note of a picture. Returns the silence up to `lag_ms` before it, if no sound came for so long.
    pub(super) fn picture(&mut self, picture: &Sample, lag_ms: u32) -> Vec<Sample> {
        let Some(at) = self.sound_time(picture.pts) else { return Vec::new() };
        if self.end.is_none() && picture.key {
            self.end = Some(at);
        }
        let end = self.sound_time(picture.pts.saturating_add(picture.duration.into())).unwrap_or(at);
        self.front = self.front.max(Some(end));
        let lag_ms = if self.sounds { lag_ms } else { 0 };
        self.fill(at.saturating_sub(self.ticks(lag_ms.into())))
    }

    /// Takes note of a sound. Returns the silence before it; nothing at all if it came too late, where silence is
    /// already.
    pub(super) fn sound(&mut self, sound: &Sample) -> Option<Vec<Sample>> {
        if self.filled.is_some_and(|filled| sound.pts < filled) {
            return None;
        }
        let silence = self.fill(sound.pts);
        self.end = Some(sound.pts.saturating_add(sound.duration.into()));
        Some(silence)
    }

    /// No more comes: silence up to the end of the last picture.
    pub(super) fn rest(&mut self) -> Vec<Sample> {
        self.front.map(|front| self.fill(front)).unwrap_or_default()
    }

    /// The next starts at a cut: the same, unless the sound may be there that is missing here.
    pub(super) fn pause(&mut self) -> Vec<Sample> {
        let missing = self.front.zip(self.end).map_or(0, |(front, end)| i128::from(front) - i128::from(end));
        if missing <= BEHIND_MS_MAX * self.rate / 1_000 { Vec::new() } else { self.rest() }
    }

    fn fill(&mut self, to: i64) -> Vec<Sample> {
        let Some(from) = self.end else { return Vec::new() };
        let hole = i128::from(to) - i128::from(from);
        if hole <= HOLE_MS * self.rate / 1_000 || hole > FILL_MS_MAX * self.rate / 1_000 {
            return Vec::new();
        }
        let step = i64::from(self.frame_samples.max(1));
        let silence: Vec<Sample> = (from..)
            .step_by(step as usize)
            .take_while(|pts| pts + step <= to)
            .map(|pts| Sample { pts, dts: pts, duration: self.frame_samples, key: true, data: self.frame.clone() })
            .collect();
        if let Some(last) = silence.last() {
            (self.end, self.filled) = (Some(last.pts + step), Some(last.pts + step));
        }
        silence
    }

    fn sound_time(&self, video_ticks: i64) -> Option<i64> {
        i64::try_from(i128::from(video_ticks) * self.rate / self.video_timescale).ok()
    }

    fn ticks(&self, ms: i64) -> i64 {
        i64::try_from(i128::from(ms) * self.rate / 1_000).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use millrace_cmaf::{Audio, Video};

    use super::*;

    fn silence() -> Silence {
        let video = Video { width: 16, height: 16, pixel_aspect: (1, 1), rotation_deg: 0 };
        let audio = Audio { sample_rate: 48_000, channels: 2 };
        let config = aac::config(audio).unwrap();
        Silence::new(
            &Track { timescale: 1_000, codec: Codec::Vp8 { video } },
            &Track { timescale: 48_000, codec: Codec::Aac { audio, config } },
            true,
        )
        .unwrap()
    }

    fn picture(pts: i64) -> Sample {
        Sample { pts, dts: pts, duration: 40, key: true, data: Bytes::new() }
    }

    fn sound(pts: i64) -> Sample {
        Sample { pts, dts: pts, duration: 1_024, key: true, data: Bytes::from_static(b"sound") }
    }

    fn assert_joined(silence: &[Sample], from: i64, to: i64) {
        assert!(silence.windows(2).all(|pair| pair[0].pts + 1_024 == pair[1].pts));
        assert_eq!(silence[0].pts, from);
        let end = silence[silence.len() - 1].pts + 1_024;
        assert!((to - 1_024..=to).contains(&end), "{end}, not {to}");
    }

    #[test]
    fn sound_that_goes_on_is_left_alone() {
        let mut silence = silence();
        for at in 0..100 {
            assert!(silence.picture(&picture(at * 40), 1_000).is_empty());
            assert!(silence.sound(&sound(at * 1_920)).unwrap().is_empty());
        }
        assert!(silence.rest().is_empty());
    }

    #[test]
    fn late_sound_and_holes_are_filled_once() {
        let mut silence = silence();
        let mut filled = Vec::new();
        for at in 0..50 {
            filled.extend(silence.picture(&picture(5_000 + at * 40), 1_000));
        }
        assert_joined(&filled, 5_000 * 48, (5_000 + 49 * 40 - 1_000) * 48);
        assert_eq!(silence.sound(&sound(5_100 * 48)), None, "too late");
        filled.extend(silence.sound(&sound(7_000 * 48)).unwrap());
        assert_joined(&filled, 5_000 * 48, 7_000 * 48);
        let hole = silence.sound(&sound(8_000 * 48)).unwrap();
        assert_joined(&hole, 7_000 * 48 + 1_024, 8_000 * 48);
        silence.picture(&picture(8_960), 1_000);
        assert_joined(&silence.rest(), 8_000 * 48 + 1_024, 9_000 * 48);
    }

    #[test]
    fn at_a_cut_the_end_of_the_sound_may_come_with_the_next_segment() {
        let mut silence = silence();
        silence.sound(&sound(0));
        silence.picture(&picture(400), 1_000);
        assert!(silence.pause().is_empty());
        assert!(silence.sound(&sound(1_024)).unwrap().is_empty(), "here it is");
        silence.picture(&picture(600), 1_000);
        assert_joined(&silence.pause(), 2_048, 640 * 48);
    }

    #[test]
    fn a_jump_is_no_hole() {
        let mut silence = silence();
        silence.sound(&sound(0));
        assert!(silence.sound(&sound(61 * 48_000)).unwrap().is_empty());
    }
}
