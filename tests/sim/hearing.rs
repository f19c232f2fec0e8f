//! Windows, simulated: what honest ears and eyes write down of one, what liars do, and the book of chains.

use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_orchestrator::{
    store::reports::{Chain, MODERATION, Report},
    task::Task,
};
use millrace_proto::{
    StreamId,
    captions::{Heard, Word},
    offer::{Capability, Device, Model},
    outcome::{self, Done},
    task::{Blob, Captions, Look, REPORT},
    vision::{Category, Place, Sight, Sights, Thing},
};
use serde::Serialize;

use crate::{
    holding::is_bare,
    lies::{Lie, Product, failure},
};

/// Its only model.
const MODEL: &str = "parrot";

/// The model that looks.
const OWL: &str = "owl";

/// The model that judges.
const PRUDE: &str = "prude";

/// What workers with ears and eyes offer.
pub(crate) fn models() -> Vec<Model> {
    let model = |id: &str, capability| Model {
        id: id.into(),
        version: "1".into(),
        capability,
        device: Device::Cpu,
        languages: vec!["any".into()],
        audio_s_per_s: 10.0,
        pictures_per_s: 10.0,
        memory_bytes: 1,
        load_ms: 1,
        warm: false,
    };
    let looks = [model(OWL, Capability::Products), model(PRUDE, Capability::Moderation)];
    [model(MODEL, Capability::Captions)].into_iter().chain(looks).collect()
}

/// Of a live stream someone pauses so often; of a recording, whenever it helps.
const PAUSE_MS: i64 = 10_000;

/// The words of a stretch: one each second, named by its time.
pub(crate) fn said(start_ms: i64, end_ms: i64) -> impl Iterator<Item = i64> {
    let seconds = (start_ms.div_euclid(1_000)..=end_ms.div_euclid(1_000)).map(|second| second * 1_000);
    seconds.filter(move |at| (start_ms..end_ms).contains(at))
}

/// What goes on behind the window's end, or behind the last pause, is left to the next one.
fn honest(work: &Captions) -> Heard {
    let whole_ms = if work.last { work.end_ms } else { (work.end_ms - 450).max(work.start_ms) };
    let settled_ms = match whole_ms.div_euclid(PAUSE_MS) * PAUSE_MS {
        pause_ms if work.draft && !work.last => pause_ms.max(work.start_ms),
        _ => whole_ms,
    };
    let word = |end_ms: i64| {
        move |at: i64| Word {
            text: format!("w{at}"),
            joined: false,
            start_ms: at,
            end_ms: (at + 300).min(end_ms),
            confidence: 0.5,
        }
    };
    let words: Vec<Word> = said(work.start_ms, settled_ms).map(word(settled_ms)).collect();
    let draft = said(settled_ms, whole_ms).map(word(whole_ms)).collect();
    let language = (!words.is_empty()).then(|| work.language.clone().unwrap_or_else(|| "en".into()));
    Heard { language, words, draft, start_ms: work.start_ms, settled_ms, end_ms: work.end_ms, speech: Vec::new() }
}

/// Honest work on a window of sound, or a lie.
pub(crate) fn hear(work: &Captions, lie: Option<Lie>) -> Product {
    if let Some(Lie::Failure(kind)) = lie {
        return failure(kind);
    }
    let mut heard = honest(work);
    match lie {
        Some(Lie::Shifted) => heard.settled_ms = work.end_ms + 60_000,
        Some(Lie::Stale) => heard.start_ms = work.start_ms - 60_000,
        Some(Lie::Small) => heard.language = Some("klingon".into()),
        _ => {}
    }
    report(&heard, MODEL, lie)
}

/// Honest work on a window of pictures, or a lie: a cup that never moves, or what not everyone is to see.
pub(crate) fn look(work: &Look, lie: Option<Lie>) -> Product {
    if let Some(Lie::Failure(kind)) = lie {
        return failure(kind);
    }
    let place = Place { x: 0.25, y: 0.25, width: 0.5, height: 0.5 };
    let cup = Thing { label: "cup".into(), score: 0.75, place, finer: None, looks: vec![127, 3], embedder: None };
    let every_ms = i64::from(work.every_ms);
    let first = (work.start_ms + every_ms - 1).div_euclid(every_ms);
    let points = (first..).map(|point| point * every_ms).take_while(|at| *at < work.end_ms);
    let judges = work.capability == Capability::Moderation;
    let sight = |at_ms| {
        if judges {
            let score = if is_bare(at_ms) { 0.9 } else { 0.1 };
            return Sight { at_ms, categories: vec![Category { name: "bare".into(), score }], things: Vec::new() };
        }
        Sight { at_ms, categories: Vec::new(), things: vec![cup.clone()] }
    };
    let (start_ms, end_ms) = (work.start_ms, work.end_ms);
    let mut sights = Sights { start_ms, end_ms, pictures: points.map(sight).collect(), decoded: 1 };
    match lie {
        Some(Lie::Shifted) => sights.pictures.push(sight(work.end_ms + 60_000)),
        Some(Lie::Stale) => sights.pictures.insert(0, sight(work.start_ms - 60_000)),
        Some(Lie::Small) => sights.pictures.push(Sight { things: vec![cup.clone(); 500], ..sight(work.end_ms) }),
        _ => {}
    }
    report(&sights, if judges { PRUDE } else { OWL }, lie)
}

fn report(found: &impl Serialize, model: &str, lie: Option<Lie>) -> Product {
    let bytes = match lie {
        Some(Lie::Garbage) => Bytes::from_static(b"garbage"),
        _ => serde_json::to_vec(found).unwrap().into(),
    };
    let blob = Blob::of(&bytes);
    let model = if lie == Some(Lie::FalseCount) { "no model".into() } else { model.into() };
    let report = outcome::Report { blob, model, version: "1".into() };
    let sent = if lie == Some(Lie::FalseHash) { Bytes::from_static(b"other bytes") } else { bytes };
    let files = if lie == Some(Lie::NotUploaded) { vec![] } else { vec![(REPORT.to_owned(), blob, sent)] };
    let report = (lie != Some(Lie::Missing)).then_some(report);
    (Ok(Done { renditions: Vec::new(), report, frames_concealed: 0, work_ms: 1 }), files)
}

/// What is known of a chain.
#[derive(Debug, Clone)]
struct Kept {
    number: u64,
    position_ms: i64,
    open: bool,
}

/// The book of all chains: each goes on where it was, and every one comes to its end.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    kept: BTreeMap<(StreamId, String), Kept>,
    /// Times of streams that moderation passed, without anyone having looked.
    passed: BTreeMap<StreamId, Vec<(i64, i64)>>,
}

impl Chains {
    /// A stream is there that has these.
    pub(crate) fn begin(&mut self, chains: &[Chain]) {
        for chain in chains {
            let kept = Kept { number: 0, position_ms: 0, open: true };
            self.kept.insert((chain.stream.clone(), chain.track.clone()), kept);
        }
    }

    /// Whether all have come to their end.
    pub(crate) fn all_closed(&self) -> bool {
        self.kept.values().all(|kept| !kept.open)
    }

    /// Where those of a stream have come.
    pub(crate) fn positions(&self, stream: &StreamId) -> Vec<i64> {
        self.kept.iter().filter(|((of, _), _)| of == stream).map(|(_, kept)| kept.position_ms).collect()
    }

    /// Up to where a stream was looked at by moderation, and which times of it were passed.
    pub(crate) fn looked_at(&self, stream: &StreamId) -> (i64, &[(i64, i64)]) {
        let kept = self.kept.get(&(stream.clone(), MODERATION.to_owned()));
        (kept.map_or(i64::MAX, |kept| kept.position_ms), self.passed.get(stream).map_or(&[], Vec::as_slice))
    }

    /// A window is planned; what is wrong with that.
    pub(crate) fn planned(&self, chain: &Chain, task: &Task) -> Option<String> {
        let kept = self.kept.get(&(chain.stream.clone(), chain.track.clone()))?;
        let link = task.link.as_ref()?;
        let fits = kept.open && link.number == kept.number && chain.position_ms == kept.position_ms;
        (!fits).then(|| format!("{}: planned on {kept:?}", task.id))
    }

    /// A chain went on; what is wrong with that.
    pub(crate) fn stepped(&mut self, number: u64, next: &Chain, report: Option<&Report>) -> Option<String> {
        if let Some(report) = report.filter(|report| report.track == MODERATION && report.found.is_none()) {
            let passed = self.passed.entry(report.stream.clone()).or_default();
            passed.push((report.start_ms, report.end_ms));
        }
        let kept = self.kept.get_mut(&(next.stream.clone(), next.track.clone()))?;
        let starts_right = report.is_none_or(|report| {
            (report.number, report.start_ms, report.end_ms) == (kept.number, kept.position_ms, next.position_ms)
                && (report.found.is_some() || report.reason.as_ref().is_some_and(|reason| !reason.is_empty()))
        });
        let fits = kept.open && number == kept.number && next.position_ms >= kept.position_ms && starts_right;
        let wrong = (!fits).then(|| format!("{} {}: {next:?} with {report:?} on {kept:?}", next.stream, next.track));
        *kept = Kept { number: next.number, position_ms: next.position_ms, open: next.open };
        wrong
    }
}
