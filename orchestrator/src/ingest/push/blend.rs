//! Blends sound that came in files of its own with the video of one segment. Pure.
//!
//! The files hold more than the sound that lies beside the video, or a little less where the newest is not there yet.
//! Packets are taken up to the end of the pictures, from where those of the segment before ended: none comes twice, and
//! what was not there yet comes with the next segment.

use millrace_cmaf::{Sample, Track};

use crate::ingest::event::Event;

const NS: i128 = 1_000_000_000;

/// Segments that are this far apart do not follow on each other.
const GAP_NS_MAX: i128 = NS / 2;

/// A file whose sound begins this near to where the one before it ended goes on from there.
const SOUND_MS_MAX: i64 = 50;

/// When the times of transport streams begin anew (ISO/IEC 13818-1, 2.4.3.7).
const WRAP_NS: i128 = (1 << 33) * NS / 90_000;

/// Where the last segment ended.
#[derive(Debug, Default)]
pub(super) struct Blender {
    /// Its pictures.
    end_ns: Option<i128>,
    /// Its sound.
    sound_ns: Option<i128>,
}

impl Blender {
    /// What comes next goes on from nothing.
    pub(super) fn part(&mut self) {
        *self = Self::default();
    }

    /// The video's events with the sound of `sounds`, each file's in its order, in place of its own.
    pub(super) fn blend(&mut self, video: Vec<Event>, sounds: Vec<Vec<Event>>) -> Vec<Event> {
        let Some((start_ns, end_ns)) = span(&video) else { return video };
        let near = |ns: &i128| (ns - start_ns).abs() <= GAP_NS_MAX;
        let goes_on = self.end_ns.is_some_and(|end_ns| near(&end_ns));
        let from_ns = self.sound_ns.filter(|end_ns| goes_on && near(end_ns)).unwrap_or(start_ns);
        (self.end_ns, self.sound_ns) = (Some(end_ns), None);
        let Some((track, mut beside)) = run(sounds, start_ns) else { return video };
        let at_ns = |sample: &Sample| ns(sample.pts, track.timescale);
        let length_ns = |sample: &Sample| ns(sample.duration.into(), track.timescale);
        // Each file rounds its times for itself: by less than half a packet.
        beside.retain(|packet| at_ns(packet) + length_ns(packet) / 2 >= from_ns && at_ns(packet) < end_ns);
        self.sound_ns = beside.last().map(|last| at_ns(last) + length_ns(last));
        let mut beside = beside.into_iter().peekable();
        let mut timescale = 1;
        let mut events = Vec::new();
        for event in video {
            match event {
                Event::Tracks { video, .. } => {
                    timescale = video.as_ref().map_or(1, |video| video.timescale);
                    events.push(Event::Tracks { video, audio: Some(track.clone()) });
                }
                Event::Video(picture) => {
                    let until_ns = ns(picture.dts, timescale);
                    while let Some(packet) = beside.next_if(|packet| at_ns(packet) <= until_ns) {
                        events.push(Event::Audio(packet));
                    }
                    events.push(Event::Video(picture));
                }
                Event::Audio(_) => {}
                Event::End => events.push(Event::End),
            }
        }
        events.extend(beside.map(Event::Audio));
        events
    }
}

/// From the first picture to the end of the last.
fn span(video: &[Event]) -> Option<(i128, i128)> {
    let mut timescale = 1;
    let mut span: Option<(i128, i128)> = None;
    for event in video {
        match event {
            Event::Tracks { video, .. } => timescale = video.as_ref()?.timescale,
            Event::Video(picture) => {
                let start_ns = ns(picture.pts, timescale);
                let end_ns = ns(picture.pts.saturating_add(i64::from(picture.duration).max(1)), timescale);
                let (first_ns, last_ns) = span.unwrap_or((start_ns, end_ns));
                span = Some((first_ns.min(start_ns), last_ns.max(end_ns)));
            }
            Event::Audio(_) | Event::End => {}
        }
    }
    span
}

/// The sound of all files as one run, near `start_ns` where times began anew. Files of another kind are left out.
fn run(sounds: Vec<Vec<Event>>, start_ns: i128) -> Option<(Track, Vec<Sample>)> {
    let mut track: Option<Track> = None;
    let mut run: Vec<Sample> = Vec::new();
    for events in sounds {
        let Some(Event::Tracks { audio: Some(own), .. }) = events.first() else { continue };
        if track.get_or_insert_with(|| own.clone()) != own {
            continue;
        }
        let rate = own.timescale;
        let mut by = None;
        for event in events {
            let Event::Audio(mut packet) = event else { continue };
            let by = *by.get_or_insert_with(|| {
                let wraps = (start_ns - ns(packet.pts, rate) + WRAP_NS / 2).div_euclid(WRAP_NS);
                let by = i64::try_from(wraps * WRAP_NS * i128::from(rate) / NS).unwrap_or(0);
                let end = run.last().map(|last| last.pts.saturating_add(i64::from(last.duration)));
                let apart = end.map(|end| end.saturating_sub(packet.pts.saturating_add(by)));
                by + apart.filter(|apart| apart.abs() <= i64::from(rate) * SOUND_MS_MAX / 1_000).unwrap_or(0)
            });
            packet.pts = packet.pts.saturating_add(by);
            packet.dts = packet.dts.saturating_add(by);
            run.push(packet);
        }
    }
    track.map(|track| (track, run))
}

fn ns(ticks: i64, timescale: u32) -> i128 {
    i128::from(ticks) * NS / i128::from(timescale.max(1))
}

#[cfg(test)]
mod tests;
