//! The look job: loads its models, then looks at some pictures of one segment after the other, until its parent closes the
//! pipe. As little as possible is decoded for that.

mod choose;
pub(crate) mod upright;

use std::{collections::BTreeSet, time::Instant};

use ffmpeg_next::{Packet, Rescale, frame::Video, media};
use millrace_cmaf::{ORIGIN_S, read};
use millrace_inference::{self as inference, Detection, Embedding, Eyes, Input, Looker};
use millrace_media::{
    Failure, Glance,
    job::{Boxes, Embed, Look, Picture},
    wire::Message,
};
use millrace_proto::vision::{Category, Embedder, Named, Place, Sight, Sights, Thing};

use crate::{answers::Answers, av, trouble, warm};
use choose::Frame;

/// Pictures that are looked at for one question at most, whatever it says.
const PICTURES_MAX: usize = 1_000;
/// Times are nearer than this: thirty thousand years.
const TIME_MS_MAX: i64 = 1 << 50;
/// What the one model of moderation knows.
const CATEGORY: &str = "pornography";

/// The models, and what their classes are called.
struct Eye<'a> {
    looker: Looker,
    job: &'a Look,
}

/// A header and segments, taken apart.
struct Reel {
    input: ffmpeg_next::format::context::Input,
    packets: Vec<Packet>,
    /// One for each packet.
    frames: Vec<Frame>,
    /// The packets before are there for decoding alone.
    own: usize,
}

/// Runs the job.
pub(crate) fn run(job: &Look, answers: &mut Answers) -> Result<(), Failure> {
    let started = Instant::now();
    let detection = job.detection.as_ref().map(|how| Detection {
        model: how.model.clone(),
        input: input(&how.picture),
        boxes: match how.boxes {
            Boxes::Rows => inference::Boxes::Rows,
            Boxes::Detr => inference::Boxes::Detr,
        },
        outputs: how.outputs.clone(),
        classes: how.labels.len(),
        score: how.score,
        overlap: how.overlap,
    });
    let embedding = job.embedding.as_ref().map(closely);
    let eyes = Eyes {
        runtime: &job.runtime,
        device: warm::device(job.card.as_ref()),
        moderation: job.moderation.as_deref(),
        detection: detection.as_ref(),
        embedding: embedding.as_ref(),
        threads: job.threads,
    };
    let looker = Looker::open(&eyes).map_err(|error| warm::failure(&error))?;
    let mut eye = Eye { looker, job };
    warm::serve(started, job.card.as_ref(), answers, |glance, parts| {
        look(&mut eye, &glance, parts).map(Message::Sighted)
    })
}

/// How a model that looks closely is run.
pub(crate) fn closely(how: &Embed) -> Embedding {
    Embedding {
        model: how.model.clone(),
        input: input(&how.picture),
        outputs: how.outputs.clone(),
        classes: how.labels.len(),
    }
}

fn input(picture: &Picture) -> Input {
    let Picture { input, width, height, bgr, planes, mean, deviation } = picture;
    let (width, height) = (*width as usize, *height as usize);
    Input { name: input.clone(), width, height, bgr: *bgr, planes: *planes, mean: *mean, deviation: *deviation }
}

fn look(eye: &mut Eye<'_>, glance: &Glance, parts: &[Vec<u8>]) -> Result<Sights, Failure> {
    let reel = Reel::open(parts, glance.preroll as usize)?;
    let own = &reel.frames[reel.own..];
    let start_ms = own.iter().map(|frame| frame.at_ms).min().unwrap_or(0);
    let end_ms = own.iter().map(|frame| frame.end_ms).max().unwrap_or(start_ms);
    let most = (glance.pictures_max as usize).min(PICTURES_MAX);
    let mut chosen = choose::choose(own, glance.every_ms, (start_ms, end_ms));
    chosen.truncate(most);
    let chosen: BTreeSet<usize> = chosen.into_iter().map(|at| at + reel.own).collect();
    let mut sights = Sights { start_ms, end_ms, ..Sights::default() };
    reel.decode(&chosen, eye.job.threads, |frame, at_ms| {
        sights.decoded += 1;
        let Some(at_ms) = at_ms else { return Ok(()) };
        let sight = eye.see(frame, at_ms, reel.rotation_deg(), glance.closely as usize)?;
        sights.pictures.push(sight);
        Ok(())
    })?;
    if sights.pictures.is_empty() && !chosen.is_empty() {
        return Err(trouble::bad_input("none of its pictures can be decoded"));
    }
    sights.pictures.sort_by_key(|sight| sight.at_ms);
    Ok(sights)
}

impl Reel {
    fn open(parts: &[Vec<u8>], preroll: usize) -> Result<Self, Failure> {
        let [init, segments @ ..] = parts else { return Err(trouble::bad_input("there is no video to look at")) };
        let header = read::header(init).map_err(|error| trouble::cmaf(&error))?;
        if !header.video || segments.len() <= preroll {
            return Err(trouble::bad_input("there is no video to look at"));
        }
        let (mut own, mut all) = (0, 0);
        for (number, segment) in segments.iter().enumerate() {
            let samples = read::fragment(segment).map_err(|error| trouble::cmaf(&error))?.samples;
            all += samples;
            own += if number < preroll { samples } else { 0 };
        }
        let mut input = av::unprobed::open(parts.concat())?;
        let mut packets = Vec::new();
        while let Some(packet) = av::input::next_packet(&mut input)? {
            packets.push(packet);
        }
        if packets.len() != all || own == all {
            return Err(trouble::bad_input(format!("{} of its {all} frames can be read", packets.len())));
        }
        let scale = i32::try_from(header.timescale).ok().filter(|scale| *scale > 0);
        let scale = scale.ok_or_else(|| trouble::bad_input("its timescale is none"))?;
        let frame = |packet: &Packet| {
            let ms =
                |pts: i64| pts.checked_sub(ORIGIN_S * i64::from(scale)).map(|pts| pts.rescale((1, scale), (1, 1_000)));
            let pts = packet.pts().ok_or_else(|| trouble::bad_input("a frame has no time"))?;
            let (at_ms, end_ms) = (ms(pts), pts.checked_add(packet.duration().max(0)).and_then(ms));
            let far = |ms: &i64| ms.abs() < TIME_MS_MAX;
            let (Some(at_ms), Some(end_ms)) = (at_ms.filter(far), end_ms.filter(far)) else {
                return Err(trouble::bad_input("a frame's time is too late"));
            };
            Ok(Frame { pts, at_ms, end_ms, is_key: packet.is_key() })
        };
        let frames = packets.iter().map(frame).collect::<Result<_, _>>()?;
        Ok(Self { input, packets, frames, own })
    }

    fn stream(&self) -> Result<ffmpeg_next::Stream<'_>, Failure> {
        let mut streams = self.input.streams();
        match (streams.next(), streams.next()) {
            (Some(stream), None) if stream.parameters().medium() == media::Type::Video => Ok(stream),
            _ => Err(trouble::bad_input("it does not hold one video track alone")),
        }
    }

    fn rotation_deg(&self) -> u16 {
        self.stream().map_or(0, |stream| av::input::rotation_deg(&stream))
    }

    /// Decodes what the chosen frames take, and passes on each picture; with its time if it was chosen.
    fn decode(
        &self,
        chosen: &BTreeSet<usize>,
        threads: u32,
        mut each: impl FnMut(&mut Video, Option<i64>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let stream = self.stream()?;
        let needed = choose::needed(&self.frames, chosen);
        if needed.is_empty() {
            return Ok(());
        }
        let mut decoder =
            av::decode::Decoder::open_unprobed(&stream, if needed.len() > 1 { threads.max(1) } else { 1 })?;
        let mut left = chosen.clone();
        let mut take = |mut picture: Video| {
            let at = picture.timestamp();
            let found = left.iter().copied().find(|index| Some(self.frames[*index].pts) == at);
            if let Some(index) = found {
                left.remove(&index);
            }
            each(&mut picture, found.map(|index| self.frames[index].at_ms))
        };
        for index in needed {
            decoder.feed(Some(&self.packets[index]), &mut take)?;
        }
        decoder.feed(None, &mut take)
    }
}

impl Eye<'_> {
    fn see(&mut self, frame: &mut Video, at_ms: i64, rotation_deg: u16, closely: usize) -> Result<Sight, Failure> {
        let (width, height, rgb) = upright::pixels(frame, rotation_deg)?;
        let picture = inference::Picture { width, height, rgb: &rgb };
        let seen = self.looker.look(&picture, closely).map_err(|error| warm::failure(&error))?;
        let categories = seen.moderation.map(|score| Category { name: CATEGORY.into(), score });
        let things = seen.found.into_iter().map(|(found, look)| self.thing(&found, look));
        Ok(Sight { at_ms, categories: categories.into_iter().collect(), things: things.collect() })
    }

    fn thing(&self, found: &inference::Found, look: Option<inference::Look>) -> Thing {
        let name = |labels: Option<&Vec<String>>, class: usize| labels.and_then(|all| all.get(class)).cloned();
        let label = name(self.job.detection.as_ref().map(|how| &how.labels), found.class).unwrap_or_default();
        let inference::Place { x, y, width, height } = found.place;
        let (mut finer, mut looks, mut embedder) = (None, Vec::new(), None);
        if let Some((look, how)) = look.zip(self.job.embedding.as_ref()) {
            let label = name(Some(&how.labels), look.class).filter(|_| look.score >= how.score);
            let by = Embedder { model: how.id.clone(), version: how.version.clone() };
            let Embedder { model, version } = by.clone();
            finer = label.map(|label| Named { label, score: look.score, model, version });
            (looks, embedder) = (whole(&look.embedding), Some(by));
        }
        Thing { label, score: found.score, place: Place { x, y, width, height }, finer, looks, embedder }
    }
}

/// A direction in whole numbers.
pub(crate) fn whole(direction: &[f32]) -> Vec<i8> {
    let largest = direction.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
    direction.iter().map(|number| (number / largest.max(f32::MIN_POSITIVE) * 127.0).round() as i8).collect()
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn directions_keep_their_way_in_whole_numbers() {
        assert_eq!(whole(&[0.5, -0.25, 0.0]), [127, -64, 0]);
        assert_eq!(whole(&[0.0, 0.0]), [0, 0]);
    }
}
