//! Puts a segment's sound beside its pictures. Pure.
//!
//! Files may hold all pictures before all sound, and the segmenter takes sound that comes long after its pictures for
//! sound that is missing. A segment is here as a whole, so it can be put in order.

use millrace_cmaf::Sample;

use crate::ingest::event::Event;

/// The same events, those of each run ordered by time: sound before the picture that is decoded when it is heard.
pub(super) fn by_time(events: Vec<Event>) -> Vec<Event> {
    let mut ordered = Vec::with_capacity(events.len());
    let mut run = Run::default();
    for event in events {
        match event {
            Event::Video(sample) => run.pictures.push(sample),
            Event::Audio(sample) => run.sounds.push(sample),
            Event::Tracks { video, audio } => {
                run.drain(&mut ordered);
                run.timescales = (video.as_ref().map(|track| track.timescale), audio.as_ref().map(|a| a.timescale));
                ordered.push(Event::Tracks { video, audio });
            }
            Event::End => {
                run.drain(&mut ordered);
                ordered.push(Event::End);
            }
        }
    }
    run.drain(&mut ordered);
    ordered
}

/// What came since the tracks were told.
#[derive(Default)]
struct Run {
    /// Of pictures, and of sound.
    timescales: (Option<u32>, Option<u32>),
    pictures: Vec<Sample>,
    sounds: Vec<Sample>,
}

impl Run {
    fn drain(&mut self, into: &mut Vec<Event>) {
        let (video, audio) = self.timescales;
        let scale = |timescale: Option<u32>| i128::from(timescale.unwrap_or(1));
        let mut sounds = self.sounds.drain(..).peekable();
        for picture in self.pictures.drain(..) {
            // Each in the other's ticks as well: nothing is rounded.
            let until = i128::from(picture.dts) * scale(audio);
            while let Some(sound) = sounds.next_if(|sound| i128::from(sound.pts) * scale(video) <= until) {
                into.push(Event::Audio(sound));
            }
            into.push(Event::Video(picture));
        }
        into.extend(sounds.map(Event::Audio));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use millrace_cmaf::{Audio, Codec, Track, Video};

    use super::*;

    fn sample(at: i64) -> Sample {
        Sample { pts: at, dts: at, duration: 1, key: true, data: Bytes::new() }
    }

    fn tracks() -> Event {
        let video = Video { width: 16, height: 16, pixel_aspect: (1, 1), rotation_deg: 0 };
        let audio = Audio { sample_rate: 48_000, channels: 2 };
        let audio = Track { timescale: 200, codec: Codec::Aac { audio, config: Bytes::new() } };
        Event::Tracks { video: Some(Track { timescale: 100, codec: Codec::Vp8 { video } }), audio: Some(audio) }
    }

    #[test]
    fn sound_comes_beside_its_pictures_however_it_was_stored() {
        let pictures = [0, 100, 200].map(|at| Event::Video(sample(at)));
        let sounds = [0, 150, 200, 450].map(|at| Event::Audio(sample(at)));
        let wanted = [
            tracks(),
            sounds[0].clone(),
            pictures[0].clone(),
            sounds[1].clone(),
            sounds[2].clone(),
            pictures[1].clone(),
            pictures[2].clone(),
            sounds[3].clone(),
        ];
        let apart = [&[tracks()][..], &pictures, &sounds].concat();
        assert_eq!(by_time(apart.clone()), wanted);
        assert_eq!(by_time(wanted.to_vec()), wanted);
        // Runs stay apart.
        let twice = [&apart[..], &apart].concat();
        assert_eq!(by_time(twice), [&wanted[..], &wanted].concat());
    }
}
