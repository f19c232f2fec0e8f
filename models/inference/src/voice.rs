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

    /// One probability for each [`STEP`] of the samples, the last one filled up with silence.
    pub(crate) fn probabilities(&mut self, samples: &[f32]) -> Result<Vec<f32>, Error> {
        let broken = |error: ort::Error| Error::new(ErrorKind::Broken, format!("the detector of voice fails: {error}"));
        let mut state = vec![0.0_f32; STATE];
        let mut input = vec![0.0_f32; CONTEXT + STEP];
        let mut probabilities = Vec::with_capacity(samples.len().div_ceil(STEP));
        for step in samples.chunks(STEP) {
            input.copy_within(STEP.., 0);
            input[CONTEXT..][..step.len()].copy_from_slice(step);
            input[CONTEXT + step.len()..].fill(0.0);
            let sound = TensorRef::from_array_view(([1_usize, CONTEXT + STEP], &input[..])).map_err(broken)?;
            let before = TensorRef::from_array_view(([2_usize, 1, 128], &state[..])).map_err(broken)?;
            let rate = Tensor::from_array(([1_usize], vec![crate::RATE as i64])).map_err(broken)?;
            let outputs =
                self.session.run(ort::inputs!["input" => sound, "state" => before, "sr" => rate]).map_err(broken)?;
            let (_, probability) = outputs["output"].try_extract_tensor::<f32>().map_err(broken)?;
            let (_, next) = outputs["stateN"].try_extract_tensor::<f32>().map_err(broken)?;
            let (Some(probability), STATE) = (probability.first().copied(), next.len()) else {
                return Err(Error::new(
                    ErrorKind::Model,
                    "the detector of voice answers in another form than Silero's",
                ));
            };
            probabilities.push(probability);
            let next = next.to_vec();
            drop(outputs);
            state = next;
        }
        Ok(probabilities)
    }
}
