//! The listen job: loads its models, then hears one window of sound after the other, until its parent closes the pipe.
//!
//! What fails is one window, told as such; where the models themselves fail, the job ends.

mod sound;

use std::time::Instant;

use millrace_inference::{self as inference, Listener, Models};
use millrace_media::{Failure, Window, job::Listen, wire::Message};
use millrace_proto::captions::{Heard, Span, Word};

use crate::{answers::Answers, warm};
use sound::Sound;

/// Samples in a millisecond.
const PER_MS: usize = inference::RATE / 1_000;

/// Runs the job.
pub(crate) fn run(job: &Listen, answers: &mut Answers) -> Result<(), Failure> {
    let started = Instant::now();
    let models = Models {
        runtime: &job.runtime,
        voice: &job.voice,
        whisper: &job.whisper,
        dtw: job.dtw.as_deref(),
        speech: job.speech,
        pause: job.pause,
    };
    let mut listener = Listener::open(&models).map_err(|error| warm::failure(&error))?;
    warm::serve(started, answers, |window, sound| hear(&mut listener, &window, sound).map(Message::Heard))
}

fn hear(listener: &mut Listener, window: &Window, parts: &[Vec<u8>]) -> Result<Heard, Failure> {
    let Sound { start_ms, mut samples } = sound::read(parts)?;
    // What an earlier window settled is not heard again.
    let skip_ms = window.start_ms.map_or(0, |start| start.saturating_sub(start_ms).max(0));
    let skipped = (skip_ms as usize).saturating_mul(PER_MS).min(samples.len());
    samples.drain(..skipped);
    let start_ms = start_ms + (skipped / PER_MS) as i64;
    let asked = inference::Window {
        samples: &samples,
        language: window.language.as_deref(),
        translate: window.translate,
        context: &window.context,
        last: window.last,
        patience: window.patience_ms as usize * PER_MS,
        draft: window.draft,
        threads: window.threads,
    };
    let heard = listener.hear(&asked).map_err(|error| warm::failure(&error))?;
    let ms = |samples: usize| start_ms + (samples / PER_MS) as i64;
    Ok(Heard {
        language: heard.language.map(str::to_owned),
        words: heard.words.into_iter().map(|word| placed(word, start_ms)).collect(),
        draft: heard.draft.into_iter().map(|word| placed(word, start_ms)).collect(),
        speech: heard.speech.iter().map(|span| Span { start_ms: ms(span.start), end_ms: ms(span.end) }).collect(),
        start_ms,
        settled_ms: ms(heard.settled),
        end_ms: ms(samples.len()),
    })
}

fn placed(word: inference::Word, start_ms: i64) -> Word {
    let inference::Word { text, joined, start, end, confidence } = word;
    Word { text, joined, start_ms: start_ms + start * 10, end_ms: start_ms + end * 10, confidence }
}
