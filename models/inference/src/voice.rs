//! Silero's detector of voice, through ONNX Runtime: how likely it is, every 32 ms, that someone speaks.

use std::path::Path;

use ort::{
    session::Session,
    value::{Tensor, TensorRef},
};

use crate::{
    Device, Error, ErrorKind,
    session::{self, Means},
};

/// Samples that it takes at once.
pub(crate) const STEP: usize = 512;
/// Samples of before that stand in front of them.
const CONTEXT: usize = 64;
const STATE: usize = 2 * 128;

/// Sound as it comes in, and how likely it is, step by step, that someone speaks.
#[derive(Debug, Clone, PartialEq)]
pub struct Sound {
    /// One channel, [`crate::RATE`] a second.
    pub(crate) samples: Vec<f32>,
    /// One for each [`STEP`] that was looked at.
    pub(crate) probabilities: Vec<f32>,
    state: Vec<f32>,
}

impl Default for Sound {
    fn default() -> Self {
        Self { samples: Vec::new(), probabilities: Vec::new(), state: vec![0.0; STATE] }
    }
}

impl Sound {
    /// How many samples came.
    pub fn length(&self) -> usize {
        self.samples.len()
    }
}

/// The model, loaded.
pub(crate) struct Voice {
    session: Session,
}

impl Voice {
    /// Loads the library and the model. One thread is enough: a second of sound takes a few milliseconds. So it never goes to
    /// a card, where each of its small steps would wait for the way there and back.
    pub(crate) fn open(runtime: &Path, model: &Path) -> Result<Self, Error> {
        let environment = session::environment(runtime)?;
        let session = session::open(Means { environment: &environment, device: Device::Cpu, threads: 1 }, model)?;
        Ok(Self { session })
    }

    /// Takes sound that came in, and looks at all of it that is whole steps.
    pub(crate) fn take(&mut self, sound: &mut Sound, samples: &[f32]) -> Result<(), Error> {
        sound.samples.extend_from_slice(samples);
        while sound.samples.len() >= (sound.probabilities.len() + 1) * STEP {
            self.step(sound)?;
        }
        Ok(())
    }

    /// Nothing comes any more: what is left is filled up with silence.
    pub(crate) fn end(&mut self, sound: &mut Sound) -> Result<(), Error> {
        if sound.samples.len() > sound.probabilities.len() * STEP { self.step(sound) } else { Ok(()) }
    }

    fn step(&mut self, sound: &mut Sound) -> Result<(), Error> {
        let broken = |error: ort::Error| Error::new(ErrorKind::Broken, format!("the detector of voice fails: {error}"));
        let from = sound.probabilities.len() * STEP;
        let new = &sound.samples[from..sound.samples.len().min(from + STEP)];
        let mut input = [0.0_f32; CONTEXT + STEP];
        let before = &sound.samples[from.saturating_sub(CONTEXT)..from];
        input[CONTEXT - before.len()..CONTEXT].copy_from_slice(before);
        input[CONTEXT..][..new.len()].copy_from_slice(new);
        let input = TensorRef::from_array_view(([1_usize, CONTEXT + STEP], &input[..])).map_err(broken)?;
        let state = TensorRef::from_array_view(([2_usize, 1, 128], &sound.state[..])).map_err(broken)?;
        let rate = Tensor::from_array(([1_usize], vec![crate::RATE as i64])).map_err(broken)?;
        let outputs =
            self.session.run(ort::inputs!["input" => input, "state" => state, "sr" => rate]).map_err(broken)?;
        let (_, probability) = outputs["output"].try_extract_tensor::<f32>().map_err(broken)?;
        let (_, next) = outputs["stateN"].try_extract_tensor::<f32>().map_err(broken)?;
        let (Some(probability), STATE) = (probability.first().copied(), next.len()) else {
            return Err(Error::new(ErrorKind::Model, "the detector of voice answers in another form than Silero's"));
        };
        let next = next.to_vec();
        drop(outputs);
        sound.probabilities.push(probability);
        sound.state = next;
        Ok(())
    }
}
