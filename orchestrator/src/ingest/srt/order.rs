//! What the media child says as events: a break of the source's clock begins a discontinuity, as RTMP's do. Pure.

use millrace_cmaf::{Sample, Track};
use millrace_media::job::Demuxed;

use crate::ingest::{
    event::Event,
    rtmp::clock::{Kind, Place, Timeline},
};

/// One stream's tracks and where their times are.
#[derive(Debug, Default)]
pub(super) struct Order {
    video: Option<Track>,
    audio: Option<Track>,
    timeline: Timeline,
}

impl Order {
    /// The events for what came next; none for what is of the time before a break.
    pub(super) fn take(&mut self, next: Demuxed) -> impl Iterator<Item = Event> + use<> {
        let (before, event) = match next {
            Demuxed::Tracks { video, audio } => {
                (self.video, self.audio) = (video, audio);
                self.timeline = Timeline::default();
                (Some(self.tracks()), None)
            }
            Demuxed::Video(sample) => self.place(Kind::Video, sample, Event::Video),
            Demuxed::Audio(sample) => self.place(Kind::Audio, sample, Event::Audio),
            Demuxed::End => (None, None),
        };
        before.into_iter().chain(event)
    }

    fn place(&mut self, kind: Kind, sample: Sample, event: fn(Sample) -> Event) -> (Option<Event>, Option<Event>) {
        let track = match kind {
            Kind::Video => &self.video,
            Kind::Audio => &self.audio,
        };
        let Some(track) = track else { return (None, None) };
        let time_ms = (i128::from(sample.dts) * 1_000).div_euclid(i128::from(track.timescale.max(1)));
        match self.timeline.place(kind, i64::try_from(time_ms).unwrap_or(0)) {
            Place::On => (None, Some(event(sample))),
            Place::Break => (Some(self.tracks()), Some(event(sample))),
            Place::Late => (None, None),
        }
    }

    fn tracks(&self) -> Event {
        Event::Tracks { video: self.video.clone(), audio: self.audio.clone() }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use millrace_cmaf::{Codec, Video};

    use super::*;

    fn sample(dts: i64) -> Sample {
        Sample { pts: dts, dts, duration: 0, key: true, data: Bytes::from_static(b"x") }
    }

    #[test]
    fn a_jump_of_the_clock_begins_a_discontinuity_and_a_gap_does_not() {
        let video = Video { width: 16, height: 16, pixel_aspect: (1, 1), rotation_deg: 0 };
        let video = Some(Track { timescale: 90_000, codec: Codec::Vp8 { video } });
        let mut order = Order::default();
        let mut take = |next| order.take(next).collect::<Vec<_>>();
        let tracks = Event::Tracks { video: video.clone(), audio: None };
        assert_eq!(take(Demuxed::Video(sample(0))), [], "of no track");
        assert_eq!(take(Demuxed::Tracks { video, audio: None }), std::slice::from_ref(&tracks));
        for dts in [0, 3_600, 90_000 * 9] {
            assert_eq!(take(Demuxed::Video(sample(dts))), [Event::Video(sample(dts))]);
        }
        for dts in [90_000 * 3_600, 90_000] {
            assert_eq!(take(Demuxed::Video(sample(dts))), [tracks.clone(), Event::Video(sample(dts))]);
        }
        assert_eq!(take(Demuxed::Audio(sample(0))), []);
        assert_eq!(take(Demuxed::End), []);
    }
}
