//! Captions for players and editors: the playlists and segments of `/hls/{stream}/captions/`, the latter as text for HLS
//! and as CMAF for DASH, and whole files at `/hls/{stream}/captions.{language}.vtt`, `.srt` and `.json`.
//!
//! Of an encrypted stream they go out plain, and to nobody without a playback token.

mod segment;

use axum::{
    http::{header, request::Parts},
    response::Response,
};
use millrace_proto::{
    api::{StreamState, Transcript, TranscriptWindow},
    captions::{Heard, Word, language_name},
    offer::Capability,
};

use segment::Asked;

use super::{
    answer::{PRIVATE, set, text_answer},
    error::Error,
    playlist, tokens,
};
use crate::{
    house::House,
    publish::{
        self,
        dash::Text,
        hls::{
            AUDIO, Span,
            subtitles::{SubtitleLines, Track, settled},
        },
        webvtt::{self, Cue},
    },
    store::{
        record::Stream,
        reports::{CAPTIONS, Chain, ENGLISH, Of, Report},
    },
    task::window,
    verify,
};

pub(super) const VTT_TYPE: &str = "text/vtt; charset=utf-8";
const SRT_TYPE: &str = "application/x-subrip; charset=utf-8";
const JSON_TYPE: &str = "application/json";

/// Windows that are read at once.
const PAGE_REPORTS: u32 = 500;
/// Windows of one download at most: days of a live stream.
const DOWNLOAD_REPORTS_MAX: usize = 100_000;
/// Segments of a window, and some.
const WINDOW_SEGMENTS: u32 = 80;
/// What stays listed of a track that has fallen behind, in segments: an empty playlist is none.
const BEHIND_SEGMENTS: u64 = 3;

/// Whether a name in an address is a track's.
pub(super) fn is_track(name: &str) -> bool {
    name == CAPTIONS || name == ENGLISH
}

/// The number of the first segment that a track is not settled for.
async fn settled_seq(house: &House, stream: &Stream, chain: &Chain) -> Result<u64, Error> {
    if !chain.open {
        return Ok(stream.listed_seq);
    }
    let from = chain.seq.max(stream.first_seq);
    let segments = house.store.segments(&stream.id, from, WINDOW_SEGMENTS).await?;
    let over =
        segments.iter().take_while(|segment| window::ms(segment.start_ns + segment.duration_ns) <= chain.position_ms);
    Ok(over.last().map_or(from, |segment| segment.seq + 1).min(stream.listed_seq))
}

/// The tracks that have something to show, or will have: players that are there from the beginning read once which there
/// are.
pub(super) async fn tracks(house: &House, stream: &Stream) -> Result<Vec<Track>, Error> {
    let mut tracks = Vec::new();
    if stream.profile.captions.is_none() || !stream.variants.iter().any(|variant| variant.name == AUDIO) {
        return Ok(tracks);
    }
    let lives = matches!(stream.state, StreamState::Live | StreamState::Interrupted | StreamState::Finishing);
    for chain in house.store.chains(&stream.id).await?.iter().filter(|chain| chain.kind == Capability::Captions) {
        if lives && chain.open || settled_seq(house, stream, chain).await? > stream.first_seq {
            tracks.push(track(stream, chain));
        }
    }
    Ok(tracks)
}

/// The tracks of a manifest: of a recording only when they change no more, since players read it once. `query` stands
/// behind their addresses.
pub(super) async fn texts(house: &House, stream: &Stream, span: Span, query: &str) -> Result<Vec<Text>, Error> {
    let chains = house.store.chains(&stream.id).await?;
    if span == Span::Vod && chains.iter().any(|chain| chain.open) {
        return Ok(Vec::new());
    }
    let mut texts = Vec::new();
    for track in tracks(house, stream).await? {
        let Some(chain) = chains.iter().find(|chain| is_of(chain, &track.name)) else { continue };
        let settled_to = settled_seq(house, stream, chain).await?;
        texts.push(Text { track, settled_to, query: query.to_owned() });
    }
    Ok(texts)
}

fn track(stream: &Stream, chain: &Chain) -> Track {
    let name = chain.track.clone();
    if name == ENGLISH {
        return Track { name, title: "English (translated)".into(), language: Some("en".into()) };
    }
    let language = language(stream, chain);
    let title = language.as_deref().and_then(language_name).unwrap_or("Captions").to_owned();
    Track { name, title, language }
}

/// What a track is written in, once that is known.
fn language(stream: &Stream, chain: &Chain) -> Option<String> {
    if chain.track == ENGLISH {
        return Some("en".into());
    }
    let asked = stream.profile.captions.as_ref().and_then(|captions| captions.language.clone());
    asked.or_else(|| chain.label.clone())
}

/// A file of a track: its playlists and segments.
pub(super) async fn file(
    house: &House,
    stream: &Stream,
    (name, file): (&str, &str),
    span: impl FnOnce(&Stream, &str) -> Result<Span, Error>,
    request: &Parts,
) -> Result<Response, Error> {
    tokens::check(house, stream, request)?;
    let chain = chain(house, stream, name).await?;
    let to = settled_seq(house, stream, &chain).await?;
    if let Some(asked) = Asked::of(file) {
        return asked.answer(house, stream, &chain, to, request).await;
    }
    if let Some(hash) = file.strip_prefix("init-").and_then(|rest| rest.strip_suffix(".mp4")) {
        return segment::header(stream, hash, request);
    }
    let span = span(stream, file)?;
    let mut shown = settled(stream, listed_to(stream, to), !chain.open);
    // The window is that of the pictures, and holds something even where the captions have fallen behind it.
    let window_from = publish::window_from(stream).min(to.saturating_sub(BEHIND_SEGMENTS)).max(stream.first_seq);
    if span == Span::Window {
        shown.first_seq = window_from;
    }
    let query = tokens::carried(house, stream, request)?;
    let lines = SubtitleLines::new(shown.clone(), span, &query);
    let whole = if span == Span::Window { Span::Event } else { span };
    let mut answer = playlist::answer(&house.store, &shown, whole, lines, request).await?;
    if stream.profile.encryption.is_some() {
        set(&mut answer, header::CACHE_CONTROL, PRIVATE);
    }
    Ok(answer)
}

/// Up to where a track is listed that is settled below `to`: its first segment always is, since a playlist without one
/// stops some players. Who asks for it waits.
fn listed_to(stream: &Stream, to: u64) -> u64 {
    to.max(stream.first_seq + 1).min(stream.listed_seq)
}

async fn chain(house: &House, stream: &Stream, name: &str) -> Result<Chain, Error> {
    let chains = house.store.chains(&stream.id).await?;
    let found = chains.into_iter().find(|chain| is_of(chain, name));
    found.ok_or_else(|| {
        Error::not_found("captions", "the stream has no such captions", "ask for captions in its profile")
    })
}

fn is_of(chain: &Chain, track: &str) -> bool {
    chain.kind == Capability::Captions && chain.track == track
}

/// The windows that reach into a time, with what was heard in them that may be told.
async fn windows(
    house: &House,
    stream: &Stream,
    chain: &Chain,
    from_ms: i64,
    to_ms: i64,
) -> Result<Vec<(Report, Option<Heard>)>, Error> {
    let of = Of { stream: &stream.id, kind: chain.kind, track: &chain.track };
    let (mut windows, mut from_ms) = (Vec::new(), from_ms);
    let hidden = publish::hidden(&house.store, stream).await?;
    loop {
        let page = house.store.reports(of, from_ms, to_ms, PAGE_REPORTS).await?;
        let Some(last) = page.last() else { return Ok(windows) };
        from_ms = last.end_ms;
        for report in page {
            let mut heard = heard(house, stream, &report).await?;
            if let Some(heard) = heard.as_mut().filter(|_| !hidden.is_empty()) {
                let is_hidden =
                    |word: &Word| hidden.iter().any(|(from, to)| word.start_ms < *to && word.end_ms > *from);
                heard.words.retain(|word| !is_hidden(word));
            }
            windows.push((report, heard));
        }
        if windows.len() > DOWNLOAD_REPORTS_MAX {
            let message = "the stream is too long for one file of captions";
            return Err(Error::conflict("too_long", message, "read the segments of its playlist"));
        }
    }
}

fn cues(report: &Report, heard: Option<&Heard>) -> Vec<Cue> {
    heard.map_or_else(Vec::new, |heard| webvtt::cues(heard, report.end_ms))
}

/// What was heard in a window, if it was.
pub(super) async fn heard(house: &House, stream: &Stream, report: &Report) -> Result<Option<Heard>, Error> {
    // What pictures show is told by marks.
    let Some(found) = report.found.as_ref().filter(|_| report.kind == Capability::Captions) else { return Ok(None) };
    let bytes = house.media.read(&stream.id, found.blob.sha256).await?;
    // It was read before it was accepted.
    let heard = serde_json::from_slice(&bytes);
    let heard = heard.map_err(|error| Error::Unavailable(format!("captions are damaged: {error}")))?;
    Ok(Some(verify::heard::own(heard, report)))
}

/// A whole track as one file, as far as it is settled: `name` is what follows `captions.`.
pub(super) async fn download(house: &House, stream: &Stream, name: &str, request: &Parts) -> Result<Response, Error> {
    tokens::check(house, stream, request)?;
    let unknown = |message: &str| {
        Error::not_found("captions", message, "the forms are captions.LANGUAGE.vtt, .srt and .json, and captions.vtt")
    };
    let (wanted, form) = name.rsplit_once('.').map_or((None, name), |(language, form)| (Some(language), form));
    if !matches!(form, "vtt" | "srt" | "json") {
        return Err(unknown("captions are there in no such form"));
    }
    let chains = house.store.chains(&stream.id).await?;
    let chains = chains.iter().filter(|chain| chain.kind == Capability::Captions);
    // What is spoken comes before what is translated.
    let is = |chain: &&Chain| wanted.is_none_or(|wanted| language(stream, chain).as_deref().unwrap_or("und") == wanted);
    let chain = chains.min_by_key(|chain| (!is(chain), chain.track != CAPTIONS)).filter(is);
    let chain = chain.ok_or_else(|| unknown("the stream has no captions in this language"))?;
    if !stream.variants.is_empty() && !stream.variants.iter().any(|variant| variant.name == AUDIO) {
        return Err(unknown("the stream has no sound, so nothing is said in it"));
    }
    let windows = windows(house, stream, chain, i64::MIN, i64::MAX).await?;
    let cues = || windows.iter().flat_map(|(report, heard)| cues(report, heard.as_ref())).collect::<Vec<Cue>>();
    let (kind, text) = match form {
        "vtt" => (VTT_TYPE, webvtt::file(&cues())),
        "srt" => (SRT_TYPE, webvtt::srt(&cues())),
        _ => (JSON_TYPE, transcript(stream, chain, windows)),
    };
    let answer = text_answer(stream, kind, text, request);
    Ok(if chain.open { super::answer::changing(answer) } else { answer })
}

fn transcript(stream: &Stream, chain: &Chain, windows: Vec<(Report, Option<Heard>)>) -> String {
    let window = |(report, heard): (Report, Option<Heard>)| TranscriptWindow {
        start_ms: report.start_ms,
        end_ms: report.end_ms,
        language: heard.as_ref().and_then(|heard| heard.language.clone()),
        words: heard.map(|heard| heard.words).unwrap_or_default(),
        model: report.found.as_ref().map(|found| found.model.clone()),
        version: report.found.as_ref().map(|found| found.version.clone()),
        worker: report.found.as_ref().map(|found| found.worker),
        reason: report.reason,
    };
    let transcript = Transcript {
        schema: 1,
        stream: stream.id.clone(),
        track: chain.track.clone(),
        language: language(stream, chain),
        settled_ms: chain.position_ms,
        complete: !chain.open && stream.state == StreamState::Ended,
        windows: windows.into_iter().map(window).collect(),
    };
    serde_json::to_string(&transcript).expect("its keys are text and its numbers finite")
}
