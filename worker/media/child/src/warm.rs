//! What jobs share whose models stay loaded: questions in, one answer each, until the parent closes the pipe. What fails
//! is one question, told as such; where the models themselves fail, the job ends.

use std::{io, time::Instant};

use millrace_inference as inference;
use millrace_media::{
    Failure, FailureKind, Loaded,
    card::{Card, Refusal},
    wire::{Ask, Message},
};
use serde::de::DeserializeOwned;

use crate::{answers::Answers, confine, trouble};

/// Tells that the models are loaded, which began at `started`, then answers.
pub(crate) fn serve<T: DeserializeOwned>(
    started: Instant,
    card: Option<&Card>,
    answers: &mut Answers,
    mut answer: impl FnMut(T, &[Vec<u8>]) -> Result<Message, Failure>,
) -> Result<(), Failure> {
    let load_ms = started.elapsed().as_millis() as u64;
    answers.say(Message::Loaded(Loaded { load_ms, memory_bytes: memory_bytes(card) }));
    let mut input = io::stdin().lock();
    loop {
        let asked = Ask::read(&mut input)
            .map_err(|error| Failure::new(FailureKind::Crashed, format!("the question can't be read: {error}")))?;
        let Some((asked, media)) = asked else { return Ok(()) };
        answers.say(answer(asked, &media).unwrap_or_else(Message::Failed));
    }
}

/// What models run on in a job that names this card, or none.
pub(crate) fn device(card: Option<&Card>) -> inference::Device {
    if card.is_some() { inference::Device::Card } else { inference::Device::Cpu }
}

/// What an error of a model means for the job.
pub(crate) fn failure(error: &inference::Error) -> Failure {
    match error.kind {
        inference::ErrorKind::Model | inference::ErrorKind::Unsupported => trouble::unsupported(error.to_string()),
        inference::ErrorKind::Broken => Failure::new(FailureKind::Crashed, error.to_string()),
        inference::ErrorKind::Card => trouble::unsupported(error.to_string()).of_card(Refusal::Unsupported),
    }
}

/// The most address space that was taken so far, or with a card, whose driver reserves more of it than there is memory, the
/// most memory.
fn memory_bytes(card: Option<&Card>) -> u64 {
    let name = if card.is_some() { "VmHWM:" } else { "VmPeak:" };
    let kib = confine::status().and_then(|status| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    kib.unwrap_or(0) * 1_024
}
