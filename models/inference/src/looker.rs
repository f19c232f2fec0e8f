//! Puts it together: pictures in; scores, boxes, labels and embeddings out.

use std::path::Path;

use crate::{
    Detection, Device, Embedding, Error, ErrorKind, Found, Look, Picture,
    detect::Detector,
    embed::Embedder,
    score::Scorer,
    session::{self, Means},
};

/// Where the models lie that are to look at pictures, each if it is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Eyes<'a> {
    /// ONNX Runtime's library; for the card one that knows CUDA.
    pub runtime: &'a Path,
    /// What all of them run on.
    pub device: Device,
    /// Yahoo's `open_nsfw`.
    pub moderation: Option<&'a Path>,
    /// A detector.
    pub detection: Option<&'a Detection>,
    /// What looks at each thing that a detector finds.
    pub embedding: Option<&'a Embedding>,
    /// Threads at most.
    pub threads: u32,
}

/// What is seen in a picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sight {
    /// How likely it is pornographic, where that was asked for.
    pub moderation: Option<f32>,
    /// Things, the surest first; the first few with a look at each, where that was asked for.
    pub found: Vec<(Found, Option<Look>)>,
}

/// Models that are loaded. They run one after the other.
pub struct Looker {
    moderation: Option<Scorer>,
    detection: Option<Detector>,
    embedding: Option<Embedder>,
}

impl Looker {
    /// Loads the models.
    pub fn open(eyes: &Eyes<'_>) -> Result<Self, Error> {
        let environment = session::environment(eyes.runtime)?;
        let means = Means { environment: &environment, device: eyes.device, threads: eyes.threads };
        Ok(Self {
            moderation: eyes.moderation.map(|model| Scorer::open(means, model)).transpose()?,
            detection: eyes.detection.map(|how| Detector::open(means, how)).transpose()?,
            embedding: eyes.embedding.map(|how| Embedder::open(means, how)).transpose()?,
        })
    }

    /// Looks at a picture, and more closely at the surest `closely` things in it.
    pub fn look(&mut self, picture: &Picture<'_>, closely: usize) -> Result<Sight, Error> {
        whole(picture)?;
        let moderation = self.moderation.as_mut().map(|scorer| scorer.score(picture)).transpose()?;
        let found = self.detection.as_mut().map(|detector| detector.find(picture)).transpose()?.unwrap_or_default();
        let mut sight = Sight { moderation, found: Vec::with_capacity(found.len()) };
        for (number, found) in found.into_iter().enumerate() {
            let look = match &mut self.embedding {
                Some(embedder) if number < closely => {
                    let (width, height, rgb) = picture.cut(&found.place);
                    Some(embedder.look(&Picture { width, height, rgb: &rgb })?)
                }
                _ => None,
            };
            sight.found.push((found, look));
        }
        Ok(sight)
    }

    /// A look at a picture as a whole, where the model for it is loaded.
    pub fn embed(&mut self, picture: &Picture<'_>) -> Result<Option<Look>, Error> {
        whole(picture)?;
        self.embedding.as_mut().map(|embedder| embedder.look(picture)).transpose()
    }
}

fn whole(picture: &Picture<'_>) -> Result<(), Error> {
    if picture.is_whole() {
        Ok(())
    } else {
        let message = format!("{} bytes are no picture of {}x{}", picture.rgb.len(), picture.width, picture.height);
        Err(Error::new(ErrorKind::Unsupported, message))
    }
}
