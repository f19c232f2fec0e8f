//! Segments of captions: what is said in one, in the form that is asked for, waited for where that is sensible.

use std::time::Duration;

use axum::{
    body::Body,
    http::{header, request::Parts},
    response::Response,
};
use bytes::Bytes;
use millrace_proto::{Sha256, api::StreamState};

use super::{VTT_TYPE, chain, cues, listed_to, settled_seq, windows};
use crate::{
    clock::now_ms,
    house::House,
    http::{
        answer::{ENDED, FOREVER, LIVE, PRIVATE, Whole, matches, set, text_answer, wanted},
        error::Error,
    },
    publish::{
        hold,
        webvtt::{self, Cue, fragments},
    },
    store::{
        record::{Segment, Stream},
        reports::Chain,
    },
    task::window,
};

const FRAGMENT_TYPE: &str = "application/mp4";
/// How long a segment is waited for; hls.js takes one for lost whose first byte is not there after nine seconds.
const WAIT: Duration = Duration::from_secs(6);
/// How long after its end a stream's last segments are waited for: players are still some seconds before it then.
const END_WAIT_MS: u64 = 10_000;
/// Between two looks whether it is settled.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What a segment of captions comes as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `WebVTT` as HLS has it.
    Text,
    /// The same in CMAF.
    Fragment,
}

/// A segment that is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    seq: u64,
    form: Form,
}

impl Asked {
    /// What a file of this name is; `None` if it is no segment.
    pub(super) fn of(file: &str) -> Option<Self> {
        let (number, form) = match file.rsplit_once('.')? {
            (number, "vtt") => (number, Form::Text),
            (number, "m4s") => (number, Form::Fragment),
            _ => return None,
        };
        Some(Self { seq: number.parse().ok()?, form })
    }

    /// Answers, where the track is settled below number `to`.
    pub(super) async fn answer(
        self,
        house: &House,
        stream: &Stream,
        chain: &Chain,
        to: u64,
        request: &Parts,
    ) -> Result<Response, Error> {
        let named_to = match self.form {
            Form::Text => listed_to(stream, to),
            Form::Fragment => stream.listed_seq,
        };
        if (to..named_to).contains(&self.seq) {
            return self.awaited(house, stream, &chain.track, request).await;
        }
        if self.seq >= to {
            return Err(gone());
        }
        self.settled(house, stream, chain, request).await
    }

    /// Once it is settled. Where that takes too long, nothing is said in it as far as this answer goes, which nobody may
    /// keep: an error would be one of the whole stream's to hls.js.
    async fn awaited(self, house: &House, stream: &Stream, track: &str, request: &Parts) -> Result<Response, Error> {
        let settled = async {
            let mut seen = None;
            loop {
                let revision = house.store.revision(&stream.id);
                if revision.is_none() || revision != seen {
                    seen = revision;
                    let chain = chain(house, stream, track).await?;
                    if self.seq < settled_seq(house, stream, &chain).await? {
                        return self.settled(house, stream, &chain, request).await;
                    }
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        if let Ok(answer) = tokio::time::timeout(self.wait(stream, now_ms()), settled).await {
            return answer;
        }
        let segment = self.segment(house, stream).await?;
        self.saying(stream, &segment, &[], PRIVATE, request)
    }

    /// How long it is waited for. While a stream lives, no pictures may wait for words (see `publish/dash/text.rs`): only
    /// a track's first, before which players have nothing. When it has ended, they have all of its pictures.
    fn wait(self, stream: &Stream, now_ms: u64) -> Duration {
        let of_end_ms = || (stream.state_since_ms + END_WAIT_MS).saturating_sub(now_ms);
        match self.form {
            Form::Text => WAIT,
            Form::Fragment if stream.state == StreamState::Ended => Duration::from_millis(of_end_ms()).min(WAIT),
            Form::Fragment if self.seq == stream.first_seq => WAIT,
            Form::Fragment => Duration::ZERO,
        }
    }

    async fn settled(self, house: &House, stream: &Stream, chain: &Chain, request: &Parts) -> Result<Response, Error> {
        let segment = self.segment(house, stream).await?;
        let (from_ms, to_ms) = time_ms(&segment);
        let windows = windows(house, stream, chain, from_ms, to_ms).await?;
        let cues: Vec<Cue> = windows.iter().flat_map(|(report, heard)| cues(report, heard.as_ref())).collect();
        self.saying(stream, &segment, &cues, lasting(stream), request)
    }

    /// The segment of the pictures, if players may know of it.
    async fn segment(self, house: &House, stream: &Stream) -> Result<Segment, Error> {
        let segment = house.store.segment(&stream.id, self.seq).await?.ok_or_else(gone)?;
        if segment.is_withheld() {
            return Err(Error::not_found("segment", "moderation holds it back", "it is there once it is approved"));
        }
        Ok(segment)
    }

    fn saying(
        self,
        stream: &Stream,
        segment: &Segment,
        cues: &[Cue],
        cache: &'static str,
        request: &Parts,
    ) -> Result<Response, Error> {
        match self.form {
            Form::Text => {
                let (from_ms, to_ms) = time_ms(segment);
                let mut answer = text_answer(stream, VTT_TYPE, webvtt::segment(cues, from_ms, to_ms), request);
                set(&mut answer, header::CACHE_CONTROL, cache);
                Ok(answer)
            }
            Form::Fragment => {
                let time_ns = segment.start_ns..segment.start_ns + segment.duration_ns;
                let bytes = fragments::segment(cues, segment.seq, time_ns).ok_or_else(gone)?;
                fragment(&bytes, cache, request)
            }
        }
    }
}

fn gone() -> Error {
    Error::not_found("segment", "there is no such segment", "look it up in the playlist")
}

fn time_ms(segment: &Segment) -> (i64, i64) {
    (window::ms(segment.start_ns), window::ms(segment.start_ns + segment.duration_ns))
}

/// Cues change no more, but for those that go on in a segment that is held back.
fn lasting(stream: &Stream) -> &'static str {
    match stream.state {
        _ if stream.profile.encryption.is_some() => PRIVATE,
        _ if !hold::holds(&stream.profile) => FOREVER,
        StreamState::Ended | StreamState::Failed => ENDED,
        _ => LIVE,
    }
}

/// The header of fragments, by its hash.
pub(super) fn header(stream: &Stream, hash: &str, request: &Parts) -> Result<Response, Error> {
    let (header, name) = fragments::init();
    let asked = hash.parse::<Sha256>().ok().filter(|hash| hash == name);
    asked.ok_or_else(|| Error::not_found("header", "there is no such header", "look it up in the manifest"))?;
    fragment(header, if stream.profile.encryption.is_some() { PRIVATE } else { FOREVER }, request)
}

fn fragment(bytes: &Bytes, cache: &'static str, request: &Parts) -> Result<Response, Error> {
    let etag = format!("\"{}\"", Sha256::of(bytes));
    let whole = Whole { kind: FRAGMENT_TYPE, cache, etag, size: bytes.len() as u64 };
    if matches(request, &whole.etag) {
        return Ok(whole.same());
    }
    let part = wanted(request, &whole.etag, whole.size)?;
    let body = part.clone().map_or(bytes.clone(), |part| bytes.slice(part.start as usize..part.end as usize));
    Ok(whole.answer(part, Body::from(body)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::hls::tests::stream;

    #[test]
    fn no_picture_waits_for_words_and_the_last_ones_are_waited_for() {
        let wait_s = |file: &str, state, now_ms| {
            let mut stream = stream(state);
            stream.state_since_ms = 100_000;
            Asked::of(file).unwrap().wait(&stream, now_ms).as_secs()
        };
        assert_eq!(["0.vtt", "0.m4s", "1.m4s"].map(|file| wait_s(file, StreamState::Live, 200_000)), [6, 6, 0]);
        assert_eq!([100_000, 107_000, 200_000].map(|now_ms| wait_s("9.m4s", StreamState::Ended, now_ms)), [6, 3, 0]);
        assert!(["x.m4s", "1.mp4", "1-2.vtt"].iter().all(|file| Asked::of(file).is_none()));
    }
}
