//! Detectors, through ONNX Runtime: which things a picture shows, and where. What they answer is made into boxes by pure
//! functions, one for each layout that the catalogue describes.

use std::path::PathBuf;

use ort::{session::Session, value::TensorRef};

use crate::{
    Error, Input, Picture, Place,
    resize::resize,
    session::{self, Means},
};

/// Things that are told of one picture at most.
const FOUND_MAX: usize = 100;

/// How a detector is run.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// The ONNX file.
    pub model: PathBuf,
    /// How it wants a picture.
    pub input: Input,
    /// What comes out.
    pub boxes: Boxes,
    /// Names of what comes out, in the order of `boxes`.
    pub outputs: Vec<String>,
    /// Classes that it knows.
    pub classes: usize,
    /// A thing counts from this score on.
    pub score: f32,
    /// Boxes of one class that overlap by more are one thing: what they share over what they cover.
    pub overlap: f32,
}

/// What a detector answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boxes {
    /// `[1, n, 6]`: left, top, right, bottom, in pixels of the model's picture, score, class.
    Rows,
    /// Logits `[1, n, classes]` and `[1, n, 4]`: middle, width and height, from 0 to 1.
    Detr,
}

/// A thing that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// The number of its class.
    pub class: usize,
    /// From 0 to 1.
    pub score: f32,
    /// Where it is.
    pub place: Place,
}

/// A detector, loaded.
pub(crate) struct Detector {
    session: Session,
    how: Detection,
}

impl Detector {
    pub(crate) fn open(means: Means<'_>, how: &Detection) -> Result<Self, Error> {
        let session = session::open(means, &how.model)?;
        session::has_outputs(&session, &how.model, &how.outputs)?;
        Ok(Self { session, how: how.clone() })
    }

    /// The surest first.
    pub(crate) fn find(&mut self, picture: &Picture<'_>) -> Result<Vec<Found>, Error> {
        let broken = |error: ort::Error| Error::broken("detection", &error);
        let input = &self.how.input;
        let scaled = resize(picture.rgb, (picture.width, picture.height), (input.width, input.height));
        let numbers = input.numbers(&scaled);
        let tensor = TensorRef::from_array_view((input.shape(), &numbers[..])).map_err(broken)?;
        let outputs = self.session.run(ort::inputs![input.name.as_str() => tensor]).map_err(broken)?;
        let mut answers = Vec::new();
        for name in &self.how.outputs {
            answers.push(outputs[name.as_str()].try_extract_tensor::<f32>().map_err(broken)?.1);
        }
        let found = match (self.how.boxes, &answers[..]) {
            (Boxes::Rows, [rows]) => rows_found(rows, (input.width, input.height)),
            (Boxes::Detr, [logits, boxes]) => detr_found(logits, boxes, self.how.classes),
            _ => None,
        };
        let found = found.ok_or_else(|| Error::form("detection", "the boxes that the catalogue describes"))?;
        Ok(distinct(found, &self.how))
    }
}

fn rows_found(rows: &[f32], (width, height): (usize, usize)) -> Option<Vec<Found>> {
    let (width, height) = (width as f32, height as f32);
    let found = |row: &[f32]| {
        let (left, top) = (row[0] / width, row[1] / height);
        let place = Place { x: left, y: top, width: row[2] / width - left, height: row[3] / height - top };
        // A class that is no number is none that is known.
        let class = if row[5] >= 0.0 { row[5].round() as usize } else { usize::MAX };
        Found { class, score: row[4], place }
    };
    rows.len().is_multiple_of(6).then(|| rows.chunks_exact(6).map(found).collect())
}

fn detr_found(logits: &[f32], boxes: &[f32], classes: usize) -> Option<Vec<Found>> {
    let found = |(logits, place): (&[f32], &[f32])| {
        let (class, logit) = logits.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
        let (width, height) = (place[2], place[3]);
        let place = Place { x: place[0] - width / 2.0, y: place[1] - height / 2.0, width, height };
        Some(Found { class, score: 1.0 / (1.0 + (-logit).exp()), place })
    };
    let fits = classes > 0 && boxes.len().is_multiple_of(4) && logits.len() == boxes.len() / 4 * classes;
    fits.then(|| logits.chunks_exact(classes).zip(boxes.chunks_exact(4)).filter_map(found).collect())
}

/// What is sure enough, inside of the picture, each thing once.
fn distinct(found: Vec<Found>, how: &Detection) -> Vec<Found> {
    let counts = |found: &Found| {
        let Place { x, y, width, height } = found.place;
        found.class < how.classes
            && found.score >= how.score
            && found.score <= 1.0 + f32::EPSILON
            && [x, y, width, height].iter().all(|number| number.is_finite())
    };
    let mut sure: Vec<Found> = found.into_iter().filter(counts).filter_map(inside).collect();
    sure.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut distinct: Vec<Found> = Vec::new();
    for found in sure {
        let known = |other: &Found| other.class == found.class && other.place.overlap(&found.place) > how.overlap;
        if !distinct.iter().any(known) {
            distinct.push(found);
        }
        if distinct.len() == FOUND_MAX {
            break;
        }
    }
    distinct
}

/// The part of it that is in the picture, if any is.
fn inside(found: Found) -> Option<Found> {
    let Place { x, y, width, height } = found.place;
    let (left, top) = (x.clamp(0.0, 1.0), y.clamp(0.0, 1.0));
    let place = Place {
        x: left,
        y: top,
        width: (x + width).clamp(0.0, 1.0) - left,
        height: (y + height).clamp(0.0, 1.0) - top,
    };
    (place.width > 0.0 && place.height > 0.0).then_some(Found { place, score: found.score.min(1.0), ..found })
}

impl Place {
    /// What both share over what they cover together.
    pub fn overlap(&self, other: &Self) -> f32 {
        let along =
            |a: f32, a_length: f32, b: f32, b_length: f32| ((a + a_length).min(b + b_length) - a.max(b)).max(0.0);
        let shared =
            along(self.x, self.width, other.x, other.width) * along(self.y, self.height, other.y, other.height);
        let all = self.width * self.height + other.width * other.height - shared;
        if all > 0.0 { shared / all } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn how(classes: usize) -> Detection {
        let input = Input {
            name: "x".into(),
            width: 100,
            height: 200,
            bgr: false,
            planes: false,
            mean: [0.0; 3],
            deviation: [1.0; 3],
        };
        let model = PathBuf::new();
        Detection { model, input, boxes: Boxes::Rows, outputs: Vec::new(), classes, score: 0.25, overlap: 0.5 }
    }

    #[test]
    fn rows_are_boxes_in_parts_of_the_picture() {
        let rows = [10.0, 20.0, 60.0, 120.0, 0.9, 2.0, -10.0, 0.0, 10.0, 20.0, 0.5, 0.0];
        let found = distinct(rows_found(&rows, (100, 200)).unwrap(), &how(3));
        let place = Place { x: 0.1, y: 0.1, width: 0.5, height: 0.5 };
        assert_eq!(found[0], Found { class: 2, score: 0.9, place });
        assert_eq!(found[1].place, Place { x: 0.0, y: 0.0, width: 0.1, height: 0.1 });
        assert_eq!(rows_found(&rows[1..], (100, 200)), None);
    }

    #[test]
    fn each_thing_counts_once_and_nonsense_never() {
        let row = |left: f32, score: f32, class: f32| [left, 0.0, left + 50.0, 100.0, score, class];
        let rows = [
            row(0.0, 0.6, 1.0),
            row(5.0, 0.8, 1.0),
            // Of another class, apart, unsure, of no known class, of no size, no number.
            row(5.0, 0.7, 0.0),
            row(50.0, 0.5, 1.0),
            row(20.0, 0.2, 1.0),
            row(20.0, 0.9, 7.0),
            [20.0, 0.0, 20.0, 100.0, 0.9, 1.0],
            row(f32::NAN, 0.9, 1.0),
            row(20.0, f32::NAN, 1.0),
            row(20.0, 0.9, f32::NAN),
        ];
        let found = distinct(rows_found(&rows.concat(), (100, 200)).unwrap(), &how(2));
        let told: Vec<_> = found.iter().map(|found| (found.class, found.score)).collect();
        assert_eq!(told, [(1, 0.8), (0, 0.7), (1, 0.5)]);
    }

    #[test]
    fn logits_and_middles_are_boxes_too() {
        let (logits, boxes) = ([-5.0, 0.0, 3.0, -5.0], [0.5, 0.5, 0.2, 0.4, 0.25, 0.25, 0.5, 0.5]);
        let found = distinct(detr_found(&logits, &boxes, 2).unwrap(), &how(2));
        assert_eq!((found[0].class, found[1].class, found[1].score), (0, 1, 0.5));
        assert_eq!(found[0].place, Place { x: 0.0, y: 0.0, width: 0.5, height: 0.5 });
        assert!((found[1].place.x - 0.4).abs() < 1e-6 && (found[1].place.y - 0.3).abs() < 1e-6);
        assert_eq!(detr_found(&logits, &boxes[..4], 2), None);
    }
}
