//! The portray job: loads what looks closely, then tells of one picture of a product after the other what it looks like,
//! until its parent closes the pipe. Pictures are strangers' bytes.

mod still;

use std::time::Instant;

use millrace_inference::{Device, Eyes, Looker, Picture};
use millrace_media::{Failure, Portrait, job::Portray, wire::Message};

use crate::{
    answers::Answers,
    look::{closely, whole},
    trouble, warm,
};

/// Runs the job.
pub(crate) fn run(job: &Portray, answers: &mut Answers) -> Result<(), Failure> {
    let started = Instant::now();
    let embedding = closely(&job.embedding);
    let eyes = Eyes {
        runtime: &job.runtime,
        device: Device::Cpu,
        moderation: None,
        detection: None,
        embedding: Some(&embedding),
        threads: job.threads,
    };
    let mut looker = Looker::open(&eyes).map_err(|error| warm::failure(&error))?;
    warm::serve(started, None, answers, |(), parts| portray(&mut looker, parts).map(Message::Portrayed))
}

fn portray(looker: &mut Looker, parts: &[Vec<u8>]) -> Result<Portrait, Failure> {
    // The first part is a header, which pictures have none of.
    let [_, bytes] = parts else { return Err(trouble::bad_input("it is not one picture")) };
    let (width, height, rgb) = still::pixels(bytes)?;
    let look = looker.embed(&Picture { width, height, rgb: &rgb }).map_err(|error| warm::failure(&error))?;
    let looks = look.map(|look| whole(&look.embedding)).unwrap_or_default();
    Ok(Portrait { width: width as u32, height: height as u32, looks })
}
