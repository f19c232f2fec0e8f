//! The listen job: loads its models, then hears one window of sound after the other, until its parent closes the pipe.
//!
//! What fails is one window, told as such; where the models themselves fail, the job ends.

mod sound;

use std::{fs, sync::mpsc, thread, time::Instant};

use ffmpeg_next::Error;
use millrace_inference::{self as inference, Listener, Models, Sound};
use millrace_media::{Failure, Window, card::Refusal, job::Listen, wire::Message};
use millrace_proto::captions::{Heard, Span, Word};

use crate::{
    answers::Answers,
    av::{cuda, device::Device},
    trouble::{self, Asked},
    warm,
};
use sound::Cmaf;

/// Samples in a millisecond.
const PER_MS: usize = inference::RATE / 1_000;

/// Runs the job.
pub(crate) fn run(job: &Listen, card: Option<&Device>, answers: &mut Answers) -> Result<(), Failure> {
    let started = Instant::now();
    let free = card.map(free).transpose()?;
    let models = Models {
        runtime: &job.runtime,
        voice: &job.voice,
        whisper: &job.whisper,
        dtw: job.dtw.as_deref(),
        device: warm::device(job.card.as_ref()),
        speech: job.speech,
        pause: job.pause,
    };
    let mut listener = Listener::open(&models).map_err(|error| warm::failure(&error))?;
    if let (Some(card), Some(before)) = (card, free) {
        let weights = fs::metadata(&job.whisper).map_or(u64::MAX, |file| file.len());
        let taken = before.saturating_sub(self::free(card)?);
        if !is_there(taken, weights) {
            let message = format!("Whisper's {weights} bytes took {taken} of the card's memory: it runs elsewhere");
            return Err(trouble::unsupported(message).of_card(Refusal::Unsupported));
        }
    }
    warm::serve(started, job.card.as_ref(), answers, |window, sound| {
        hear(&mut listener, &window, sound).map(Message::Heard)
    })
}

/// Memory of the card that nobody has taken.
fn free(card: &Device) -> Result<u64, Failure> {
    let memory = cuda::memory(card).ok_or_else(|| trouble::card("tell its memory", Asked::Open, Error::External))?;
    Ok(memory.free)
}

/// Whether weights of so many bytes are on a card whose memory shrank by so many. whisper.cpp goes on without a card that it
/// can't have, and tells it in its log alone. By half, since others may give memory back meanwhile.
fn is_there(taken: u64, weights: u64) -> bool {
    taken >= weights / 2
}

fn hear(listener: &mut Listener, window: &Window, parts: &[Vec<u8>]) -> Result<Heard, Failure> {
    let cmaf = sound::open(parts)?;
    // What an earlier window settled is not heard again.
    let skip_ms = window.start_ms.map_or(0, |start| start.saturating_sub(cmaf.start_ms).max(0));
    let (sound, skipped) = taken(listener, &cmaf, (skip_ms as usize).saturating_mul(PER_MS), window.threads)?;
    let start_ms = cmaf.start_ms + (skipped / PER_MS) as i64;
    let end_ms = start_ms + (sound.length() / PER_MS) as i64;
    let asked = inference::Window {
        language: window.language.as_deref(),
        translate: window.translate,
        context: &window.context,
        last: window.last,
        patience: window.patience_ms as usize * PER_MS,
        draft: window.draft,
        threads: window.threads,
    };
    let heard = listener.hear(sound, &asked).map_err(|error| warm::failure(&error))?;
    let ms = |samples: usize| start_ms + (samples / PER_MS) as i64;
    Ok(Heard {
        language: heard.language.map(str::to_owned),
        words: heard.words.into_iter().map(|word| placed(word, start_ms)).collect(),
        draft: heard.draft.into_iter().map(|word| placed(word, start_ms)).collect(),
        speech: heard.speech.iter().map(|span| Span { start_ms: ms(span.start), end_ms: ms(span.end) }).collect(),
        start_ms,
        settled_ms: ms(heard.settled),
        end_ms,
    })
}

/// Takes in what is behind `skip` samples; tells how many were there to be skipped. With two threads the next samples are
/// decoded while these are listened to: both take about as long.
fn taken(listener: &mut Listener, cmaf: &Cmaf<'_>, skip: usize, threads: u32) -> Result<(Sound, usize), Failure> {
    let (mut sound, mut skipped) = (Sound::default(), 0);
    let mut take = |samples: Vec<f32>| {
        let over = (skip - skipped).min(samples.len());
        skipped += over;
        listener.take(&mut sound, &samples[over..]).map_err(|error| warm::failure(&error))
    };
    if threads < 2 {
        cmaf.read(take)?;
    } else {
        thread::scope(|scope| {
            let (out, come) = mpsc::channel();
            // Who hangs up has failed, and says why.
            let reading = scope.spawn(move || {
                cmaf.read(|samples| out.send(samples).map_err(|_| trouble::bad_input("nobody listens to it any more")))
            });
            come.into_iter().try_for_each(&mut take)?;
            reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
    }
    Ok((sound, skipped))
}

fn placed(word: inference::Word, start_ms: i64) -> Word {
    let inference::Word { text, joined, start, end, confidence } = word;
    Word { text, joined, start_ms: start_ms + start * 10, end_ms: start_ms + end * 10, confidence }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_that_took_no_room_on_the_card_are_elsewhere() {
        let weights = 150_000_000;
        assert!(is_there(400_000_000, weights) && is_there(150_000_000, weights));
        assert!(!is_there(0, weights) && !is_there(10_000_000, weights) && !is_there(0, u64::MAX));
    }
}
