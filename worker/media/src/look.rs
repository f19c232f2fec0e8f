//! A child that looks: its models stay loaded, and it is asked segment after segment what its pictures show.

use std::path::PathBuf;

use bytes::Bytes;
use millrace_proto::vision::Sights;
use serde::{Deserialize, Serialize};

use crate::{Failure, Launcher, Limits, Loaded, card::Card, job::Job, warm::Warm, wire::Message};

/// Loads models and looks at pictures of segments, until the parent closes the pipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// ONNX Runtime's library.
    pub runtime: PathBuf,
    /// Yahoo's `open_nsfw`, if it is wanted.
    pub moderation: Option<PathBuf>,
    /// A detector, if one is wanted.
    pub detection: Option<Detect>,
    /// What looks at each thing that is found, if that is wanted.
    pub embedding: Option<Embed>,
    /// Threads at most, of decoding as of models.
    pub threads: u32,
    /// A card that the models are to run on, with a `runtime` that knows CUDA. One that refuses fails the job, see
    /// [`Failure::card`]; nothing runs on the processor in its place.
    #[serde(default)]
    pub card: Option<Card>,
}

/// A detector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detect {
    /// The ONNX file.
    pub model: PathBuf,
    /// How it wants a picture.
    pub picture: Picture,
    /// What comes out.
    pub boxes: Boxes,
    /// Names of what comes out.
    pub outputs: Vec<String>,
    /// Names of its classes, in their order.
    pub labels: Vec<String>,
    /// A thing counts from this score on.
    pub score: f32,
    /// Boxes of one class that overlap by more are one thing.
    pub overlap: f32,
}

/// A classifier that also tells what a thing looks like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Embed {
    /// Its name in the catalogue, told with each name that it gives.
    pub id: String,
    /// Of its weights.
    pub version: String,
    /// The ONNX file.
    pub model: PathBuf,
    /// How it wants a picture.
    pub picture: Picture,
    /// Names of the logits of its classes, and of what a thing looks like.
    pub outputs: [String; 2],
    /// Names of its classes, in their order.
    pub labels: Vec<String>,
    /// A name is told from this score on.
    pub score: f32,
}

/// How a model wants a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    /// Its name among what goes in.
    pub input: String,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Blue stands first, not red.
    pub bgr: bool,
    /// Three planes, not pixel by pixel.
    pub planes: bool,
    /// What is taken from each number, in the order of the colours.
    pub mean: [f32; 3],
    /// What it is then divided by.
    pub deviation: [f32; 3],
}

/// What a detector answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Boxes {
    /// `[1, n, 6]`: left, top, right, bottom, in pixels of the model's picture, score, class.
    Rows,
    /// Logits `[1, n, classes]` and `[1, n, 4]`: middle, width and height, from 0 to 1.
    Detr,
}

/// What to look at, apart from the segments themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Glance {
    /// One picture for so many milliseconds of the stream's timeline, at multiples of it: near one a keyframe is taken
    /// if there is any, so that nothing else is decoded; otherwise the first picture from there on. A stretch without a
    /// multiple has none.
    pub every_ms: u32,
    /// So many segments at the beginning are there for decoding alone.
    pub preroll: u32,
    /// Pictures at most; those beyond are left out from the end.
    pub pictures_max: u32,
    /// Things of a picture at most that are looked at closely.
    pub closely: u32,
}

/// A child that looks, kept warm. Dropping it kills the child.
#[derive(Debug)]
pub struct Looker(Warm);

impl Looker {
    pub(crate) fn new(launcher: Launcher, job: Look, limits: Limits) -> Self {
        Self(Warm::new(launcher, Job::Look(job), limits))
    }

    /// The child runs and has its models.
    pub fn is_warm(&self) -> bool {
        self.0.is_warm()
    }

    /// Lets the child go, with what it has loaded; the next call starts another one. False if there was none.
    pub fn cool(&mut self) -> bool {
        self.0.cool()
    }

    /// The child's process id, while it runs; for logs and tests.
    pub fn process_id(&self) -> Option<u32> {
        self.0.process_id()
    }

    /// Starts the child and loads its models, unless they are.
    pub async fn warm(&mut self) -> Result<Loaded, Failure> {
        self.0.warm().await
    }

    /// Looks at segments: the header and the segments of CMAF video, in order. Segments that can't be looked at fail
    /// alone; a child that died with them is gone, and the next call starts another one.
    ///
    /// # Cancel safety
    /// A call that is dropped half-way has its child killed: the answer to it would be taken for the next one's.
    pub async fn look(&mut self, glance: &Glance, init: &Bytes, segments: &[Bytes]) -> Result<Sights, Failure> {
        let expected = |message| match message {
            Message::Sighted(sights) => Some(sights),
            _ => None,
        };
        self.0.ask(*glance, init, segments, expected).await
    }
}
