//! Where a source's times begin anew: files that were put together of others carry each one's own times, and a live
//! source's clock may jump. Pure. Called by `file.rs` and `srt/session.rs`; RTMP has the same for its own clock.

use millrace_cmaf::Track;

use super::{
    event::Event,
    rtmp::{self, Kind, Place, Timeline},
};

/// Forward beyond this, against both tracks, is a break of a file. A picture that stands for long is none.
pub(super) const FILE_FORWARD_MS_MAX: i64 = 60_000;
/// The same of a live source, as in RTMP.
pub(super) const LIVE_FORWARD_MS_MAX: i64 = rtmp::FORWARD_MS_MAX;

/// Finds breaks in one source's events.
#[derive(Debug)]
pub(super) struct Breaks {
    forward_ms_max: i64,
    timeline: Timeline,
    tracks: Option<(Option<Track>, Option<Track>)>,
}

impl Breaks {
    pub(super) fn new(forward_ms_max: i64) -> Self {
        Self { forward_ms_max, timeline: Timeline::new(forward_ms_max), tracks: None }
    }

    /// The event, behind its tracks told anew where its time begins anew; nothing if it belongs before a break that
    /// the other track has passed already.
    pub(super) fn place(&mut self, event: Event) -> impl Iterator<Item = Event> + use<> {
        let (kind, dts) = match &event {
            Event::Tracks { video, audio } => {
                self.tracks = Some((video.clone(), audio.clone()));
                // They are a break already.
                self.timeline = Timeline::new(self.forward_ms_max);
                return [None, Some(event)].into_iter().flatten();
            }
            Event::Video(sample) => (Kind::Video, sample.dts),
            Event::Audio(sample) => (Kind::Audio, sample.dts),
            Event::End => return [None, Some(event)].into_iter().flatten(),
        };
        let place = self.time_ms(kind, dts).map_or(Place::On, |time_ms| self.timeline.place(kind, time_ms));
        let anew = || self.tracks.clone().map(|(video, audio)| Event::Tracks { video, audio });
        let placed = match place {
            Place::On => [None, Some(event)],
            Place::Break => [anew(), Some(event)],
            Place::Late => [None, None],
        };
        placed.into_iter().flatten()
    }

    fn time_ms(&self, kind: Kind, ticks: i64) -> Option<i64> {
        let (video, audio) = self.tracks.as_ref()?;
        let track = if kind == Kind::Video { video } else { audio };
        let timescale = track.as_ref().map(|track| track.timescale).filter(|timescale| *timescale > 0)?;
        i64::try_from(i128::from(ticks) * 1_000 / i128::from(timescale)).ok()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use millrace_cmaf::{Audio, Codec, Sample, Video};

    use super::*;

    fn tracks() -> Event {
        let video = Video { width: 16, height: 16, pixel_aspect: (1, 1), rotation_deg: 0 };
        let audio = Audio { sample_rate: 48_000, channels: 2 };
        let audio = Track { timescale: 48_000, codec: Codec::Aac { audio, config: Bytes::new() } };
        Event::Tracks { video: Some(Track { timescale: 90_000, codec: Codec::Vp8 { video } }), audio: Some(audio) }
    }

    fn sample(at: i64) -> Sample {
        Sample { pts: at, dts: at, duration: 1, key: true, data: Bytes::new() }
    }

    fn second(at: i64) -> [Event; 2] {
        [Event::Video(sample(at * 90_000)), Event::Audio(sample(at * 48_000))]
    }

    #[test]
    fn times_that_begin_anew_begin_a_run_and_stragglers_go() {
        let mut breaks = Breaks::new(FILE_FORWARD_MS_MAX);
        let mut all = vec![tracks()];
        for at in [10, 11, 12, 1, 2, 3] {
            all.extend(second(at));
        }
        // Sound of the first part behind the first picture of the second one.
        let straggler = Event::Audio(sample(13 * 48_000));
        all.insert(8, straggler.clone());
        let placed: Vec<_> = all.iter().cloned().flat_map(|event| breaks.place(event)).collect();
        let mut wanted = all;
        wanted.retain(|event| *event != straggler);
        wanted.insert(7, tracks());
        assert_eq!(placed, wanted);
    }

    #[test]
    fn pictures_that_stand_for_long_are_no_break() {
        let mut breaks = Breaks::new(FILE_FORWARD_MS_MAX);
        let all: Vec<_> = [vec![tracks()], (0..9).map(|at| Event::Video(sample(at * 59 * 90_000))).collect()].concat();
        let placed: Vec<_> = all.iter().cloned().flat_map(|event| breaks.place(event)).collect();
        assert_eq!(placed, all);
    }

    #[test]
    fn a_live_clock_that_jumps_begins_a_run_and_a_gap_does_not() {
        let mut breaks = Breaks::new(LIVE_FORWARD_MS_MAX);
        let mut place = |event| breaks.place(event).collect::<Vec<_>>();
        assert_eq!(place(tracks()), [tracks()]);
        for at in [0, 1, 9] {
            let picture = Event::Video(sample(at * 90_000));
            assert_eq!(place(picture.clone()), [picture]);
        }
        for at in [3_600, 1] {
            let picture = Event::Video(sample(at * 90_000));
            assert_eq!(place(picture.clone()), [tracks(), picture]);
        }
        assert_eq!(place(tracks()), [tracks()], "which may be others");
        let late = Event::Video(sample(7_200 * 90_000));
        assert_eq!(place(late.clone()), [late], "tracks told anew are a break already");
    }
}
