//! Yahoo's `open_nsfw`, through ONNX Runtime: how likely it is that a picture is pornographic.

use std::path::Path;

use ort::{session::Session, value::TensorRef};

use crate::{
    Error, Input, Picture, jpeg,
    resize::resize,
    session::{self, Means},
};

/// It was trained on JPEGs of this size, of which it saw the middle.
const SIDE: usize = 256;
const SEEN: usize = 224;

/// The model, loaded.
pub(crate) struct Scorer {
    session: Session,
    input: Input,
}

impl Scorer {
    pub(crate) fn open(means: Means<'_>, model: &Path) -> Result<Self, Error> {
        let session = session::open(means, model)?;
        let input = Input {
            name: "input_0".into(),
            width: SEEN,
            height: SEEN,
            bgr: true,
            planes: false,
            // Of what it was trained on.
            mean: [104.0, 117.0, 123.0],
            deviation: [1.0; 3],
        };
        Ok(Self { session, input })
    }

    /// From 0 to 1.
    pub(crate) fn score(&mut self, picture: &Picture<'_>) -> Result<f32, Error> {
        let broken = |error: ort::Error| Error::broken("moderation", &error);
        let scaled = resize(picture.rgb, (picture.width, picture.height), (SIDE, SIDE));
        let numbers = self.input.numbers(&middle(&jpeg::round_trip(&scaled, SIDE, SIDE)));
        let input = TensorRef::from_array_view((self.input.shape(), &numbers[..])).map_err(broken)?;
        let outputs = self.session.run(ort::inputs![self.input.name.as_str() => input]).map_err(broken)?;
        match outputs[0].try_extract_tensor::<f32>().map_err(broken)? {
            (_, [_, score]) if score.is_finite() => Ok(score.clamp(0.0, 1.0)),
            _ => Err(Error::form("moderation", "two numbers")),
        }
    }
}

fn middle(rgb: &[u8]) -> Vec<u8> {
    let margin = (SIDE - SEEN) / 2;
    let rows = rgb.chunks_exact(SIDE * 3).skip(margin).take(SEEN);
    let mut middle = Vec::with_capacity(SEEN * SEEN * 3);
    for row in rows {
        middle.extend_from_slice(&row[margin * 3..][..SEEN * 3]);
    }
    middle
}
