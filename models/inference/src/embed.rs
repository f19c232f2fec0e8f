//! Classifiers that also tell what a picture looks like, through ONNX Runtime.

use std::path::PathBuf;

use ort::{session::Session, value::TensorRef};

use crate::{
    Error, Input, Picture,
    resize::resize,
    session::{self, Means},
};

/// How such a model is run.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// The ONNX file.
    pub model: PathBuf,
    /// How it wants a picture.
    pub input: Input,
    /// Names of the logits of its classes, and of what a picture looks like.
    pub outputs: [String; 2],
    /// Classes that it knows.
    pub classes: usize,
}

/// What a thing is called, and what it looks like.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// The number of the likeliest class.
    pub class: usize,
    /// Its probability.
    pub score: f32,
    /// A direction, of length 1: things that look alike have a large product.
    pub embedding: Vec<f32>,
}

/// The model, loaded.
pub(crate) struct Embedder {
    session: Session,
    how: Embedding,
}

impl Embedder {
    pub(crate) fn open(means: Means<'_>, how: &Embedding) -> Result<Self, Error> {
        let session = session::open(means, &how.model)?;
        session::has_outputs(&session, &how.model, &how.outputs)?;
        Ok(Self { session, how: how.clone() })
    }

    pub(crate) fn look(&mut self, picture: &Picture<'_>) -> Result<Look, Error> {
        let broken = |error: ort::Error| Error::broken("embedding", &error);
        let input = &self.how.input;
        let scaled = resize(picture.rgb, (picture.width, picture.height), (input.width, input.height));
        let numbers = input.numbers(&scaled);
        let tensor = TensorRef::from_array_view((input.shape(), &numbers[..])).map_err(broken)?;
        let outputs = self.session.run(ort::inputs![input.name.as_str() => tensor]).map_err(broken)?;
        let [logits, features] = &self.how.outputs;
        let (_, logits) = outputs[logits.as_str()].try_extract_tensor::<f32>().map_err(broken)?;
        let (_, features) = outputs[features.as_str()].try_extract_tensor::<f32>().map_err(broken)?;
        if logits.len() != self.how.classes {
            return Err(Error::form("embedding", "a logit for each of its labels"));
        }
        let (class, score) = likeliest(logits).ok_or_else(|| Error::form("embedding", "numbers"))?;
        let embedding = direction(features).ok_or_else(|| Error::form("embedding", "a direction"))?;
        Ok(Look { class, score, embedding })
    }
}

/// The likeliest class and its probability.
fn likeliest(logits: &[f32]) -> Option<(usize, f32)> {
    let (class, most) = logits.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let sum: f32 = logits.iter().map(|logit| (logit - most).exp()).sum();
    (most.is_finite() && sum.is_finite()).then_some((class, 1.0 / sum))
}

/// The same direction with the length 1.
fn direction(features: &[f32]) -> Option<Vec<f32>> {
    let length = features.iter().map(|number| number * number).sum::<f32>().sqrt();
    (length.is_normal()).then(|| features.iter().map(|number| number / length).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_class_has_its_part_of_all() {
        let (class, score) = likeliest(&[0.0, 2.0, 0.0]).unwrap();
        assert_eq!(class, 1);
        assert!((score - 0.787).abs() < 1e-3, "{score}");
        assert!(likeliest(&[]).is_none() && likeliest(&[0.0, f32::NAN]).is_none());
    }

    #[test]
    fn directions_have_length_one() {
        assert_eq!(direction(&[3.0, 4.0]).unwrap(), [0.6, 0.8]);
        assert!(direction(&[0.0; 4]).is_none() && direction(&[f32::INFINITY]).is_none());
    }
}
