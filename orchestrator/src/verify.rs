//! Checking: looks at every outcome with our own media child before anything of it is published.
//!
//! A worker's word is not taken: not for what it made, and not for an input being bad. What can't be looked at
//! now (no space, no child) stays open and is looked at again. Only our own look at an input condemns it.

pub mod child;
pub mod heard;
pub mod seen;
pub mod verdict;

use std::sync::Arc;

use async_trait::async_trait;
use millrace_media::job::{Gauged, Inspection};
use millrace_proto::{
    LeaseId, StreamId,
    outcome::{self as handed, Done, Failure, FailureKind, Result as Handed},
    profile::is_model_id,
    task::{Blob, REPORT_BYTES_MAX, Work},
    timeline::By,
    vision::Sight,
};
use object_store::GetOptions;

use crate::{
    matching,
    media::{self, MediaStore, Place},
    sights::{self, Change},
    store::{
        Settlement, Store,
        marks::Mark,
        record::{Media, Segment, SegmentState},
        reports::{Carry, Chain, Found, Report},
    },
    task::{
        Link, State, Task,
        machine::{self, Policy, Verdict},
        source::{Decodable, source},
        window,
    },
    words::{self, Said},
};

/// An input that our own media child fails on for so long is bad, in milliseconds.
const BROKEN_MS: u64 = 30_000;

/// Why an outcome could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// The media store failed.
    #[error(transparent)]
    Media(#[from] media::Error),
    /// No scratch folder could be made.
    #[error("scratch folder: {0}")]
    Scratch(#[from] std::io::Error),
    /// The media child could not be started.
    #[error("the media child: {0}")]
    NoChild(String),
    /// The media child died of what it looked at, or passed a limit.
    #[error("looking at it failed: {0}")]
    Broke(String),
}

/// Looks at stored media. A trait, because what a process sees is not in our hands: the real one is
/// [`child::Child`]; the simulation knows what would be seen.
#[async_trait]
pub trait Look: std::fmt::Debug + Send + Sync + 'static {
    /// Whether a lease's worker has uploaded these bytes, in full.
    async fn has(&self, lease: &LeaseId, blob: Blob) -> Result<bool, Error>;
    /// What is in these segments, one answer for each.
    async fn inspect(&self, segments: &[Placed<'_>], decode_all: bool) -> Result<Vec<Inspection>, Error>;
    /// How hard the pictures of a segment are, whose upright size is `display`. Takes two seconds at most.
    async fn gauge(&self, stream: &StreamId, segment: &Decodable, display: (u32, u32)) -> Result<Gauged, Error>;
}

/// A segment, and where its bytes lie.
#[derive(Debug, Clone)]
pub struct Placed<'a> {
    /// With its stream, or with a lease.
    pub place: Place<'a>,
    /// Its bytes.
    pub segment: Decodable,
}

/// Judges outcomes.
#[derive(Debug, Clone)]
pub struct Verifier {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// Where the bytes are: what is accepted is put with its stream.
    pub media: MediaStore,
    /// Sees the media.
    pub eyes: Arc<dyn Look>,
    /// Tries and pauses.
    pub policy: Policy,
}

impl Verifier {
    /// Judges the outcome that `task` is being checked for, and writes what follows. Returns the task as written,
    /// or `None` if another change came first.
    pub async fn check(&self, task: Task, now_ms: u64) -> Result<Option<Task>, Error> {
        let State::Checking { lease, outcome, .. } = &task.state else { return Ok(None) };
        let lease = lease.id.clone();
        if task.link.is_some() {
            let outcome = outcome.clone();
            return self.check_window(task, &lease, &outcome.result, now_ms).await;
        }
        let Some(segment) = self.store.segment(&task.stream, task.seq).await? else { return Ok(None) };
        let (verdict, renditions) = match &outcome.result {
            Handed::Done(done) => match self.media.accepted(&lease).await? {
                Some(renditions) => (Verdict::Accept, renditions),
                None => self.judge(&task, &lease, &segment, done, now_ms).await?,
            },
            Handed::Failed(failure) if machine::is_doubtful(&task, failure.kind, &self.policy) => {
                (self.blame(&task, &segment, failure, now_ms).await?, Vec::new())
            }
            Handed::Failed(failure) => (Verdict::Retry(failure.kind, failure.message.clone()), Vec::new()),
        };
        let verdict = match verdict {
            Verdict::Accept => self.promote(&task.stream, &lease, &renditions).await?,
            other => other,
        };
        let tries = task.attempts.len();
        let Some(decided) = machine::decide(task, &lease, verdict, &self.policy, now_ms) else { return Ok(None) };
        let settlement = settle(&decided, tries, renditions);
        Ok(self.store.swap_task(&decided, &settlement).await?.then_some(decided))
    }

    /// Puts what is accepted with its stream, before anyone is told of it. The verdict is written down first: over a
    /// kill from then on it stands, so that nothing is with a stream that was refused in the end.
    async fn promote(&self, stream: &StreamId, lease: &LeaseId, renditions: &[Media]) -> Result<Verdict, Error> {
        self.media.put_accepted(lease, renditions).await?;
        for blob in renditions.iter().flat_map(|media| [media.init, media.segment]) {
            match self.media.promote(lease, stream, blob).await {
                Ok(()) => {}
                Err(error) if error.kind == media::Kind::Missing => {
                    let text = format!("{} was uploaded, and is gone", blob.sha256);
                    return Ok(Verdict::Retry(FailureKind::Transfer, text));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Verdict::Accept)
    }

    async fn judge(
        &self,
        task: &Task,
        lease: &LeaseId,
        segment: &Segment,
        done: &Done,
        now_ms: u64,
    ) -> Result<(Verdict, Vec<Media>), Error> {
        let Work::Transcode(work) = &task.work else {
            return Ok((Verdict::Refuse("renditions of what has none".into()), Vec::new()));
        };
        if done.renditions.len() != work.renditions.len() {
            let text = format!("{} renditions instead of {}", done.renditions.len(), work.renditions.len());
            return Ok((Verdict::Refuse(text), Vec::new()));
        }
        let mut looked_at = self.source(segment).await?;
        for rendition in &done.renditions {
            for blob in [rendition.init, rendition.segment] {
                if !self.eyes.has(lease, blob).await? {
                    let text = format!("{}: {} was not uploaded", rendition.name, blob.sha256);
                    return Ok((Verdict::Refuse(text), Vec::new()));
                }
            }
            let made = Decodable { init: rendition.init, preroll: Vec::new(), segment: rendition.segment };
            looked_at.push(Placed { place: lease.into(), segment: made });
        }
        let seen = match self.eyes.inspect(&looked_at, false).await {
            // Of the input, or of what came back?
            Err(Error::Broke(why)) => return Ok((self.who_broke(task, segment, why, now_ms).await?, Vec::new())),
            other => other?,
        };
        let mut seen = seen.into_iter();
        let source = match seen.next() {
            Some(Inspection::Readable(seen)) => seen,
            Some(Inspection::Unreadable { message }) => return Ok((Verdict::BadInput(message), Vec::new())),
            None => return Err(Error::NoChild("it looked at nothing".into())),
        };
        let made: Vec<Inspection> = seen.collect();
        if let Err(why) = verdict::transcode(work, done, &source, &made) {
            return Ok((Verdict::Refuse(why), Vec::new()));
        }
        let renditions = work.renditions.iter().zip(&done.renditions).zip(made).map(|((target, rendition), seen)| {
            let (codec, key_bytes) = match seen {
                Inspection::Readable(seen) => (seen.codec_string, seen.key_bytes),
                Inspection::Unreadable { .. } => (String::new(), 0),
            };
            Media {
                name: target.name.clone(),
                init: rendition.init,
                segment: rendition.segment,
                codec,
                frames: rendition.frames,
                width: target.width,
                height: target.height,
                channels: 0,
                duration_ns: segment.video.as_ref().map_or(segment.duration_ns, |video| video.duration_ns),
                preroll: 0,
                key_bytes,
            }
        });
        Ok((Verdict::Accept, renditions.collect()))
    }

    /// Judges what came of a window, and writes what follows, as [`Verifier::check`] does.
    async fn check_window(
        &self,
        task: Task,
        lease: &LeaseId,
        handed: &Handed,
        now_ms: u64,
    ) -> Result<Option<Task>, Error> {
        let (mut verdict, mut taken) = match handed {
            Handed::Done(done) => match self.report(&task, lease, done).await? {
                Ok(taken) => (Verdict::Accept, Some(taken)),
                Err(why) => (Verdict::Refuse(why), None),
            },
            Handed::Failed(failure) => (Verdict::Retry(failure.kind, failure.message.clone()), None),
        };
        if let Some((claimed, _)) = &taken {
            match self.media.promote(lease, &task.stream, claimed.blob).await {
                Err(error) if error.kind == media::Kind::Missing => {
                    let text = format!("{} was uploaded, and is gone", claimed.blob.sha256);
                    (verdict, taken) = (Verdict::Retry(FailureKind::Transfer, text), None);
                }
                promoted => promoted?,
            }
        }
        let tries = task.attempts.len();
        let Some(decided) = machine::decide(task, lease, verdict, &self.policy, now_ms) else { return Ok(None) };
        let mut settlement = settle(&decided, tries, Vec::new());
        if let (Some((claimed, taken)), State::Accepted { worker, .. }) = (taken, &decided.state) {
            let words = match &taken {
                Taken::Heard(taken) => taken.words,
                Taken::Seen(_) => None,
            };
            let handed::Report { blob, model, version } = claimed;
            let found = Found { blob, model, version, worker: *worker, words };
            match taken {
                Taken::Heard(taken) => {
                    settlement.marks = self.unwanted(&decided, &found, &taken).await?;
                    settlement.events = settlement.marks.iter().map(|mark| sights::flag_event(mark, now_ms)).collect();
                    settlement.report = heard_report(&decided, found, taken, now_ms);
                }
                Taken::Seen(seen) => self.seen_report(&mut settlement, &decided, found, &seen, now_ms).await?,
            }
        }
        Ok(self.store.swap_task(&decided, &settlement).await?.then_some(decided))
    }

    /// What a worker handed in of a window, or why it is refused.
    async fn report(
        &self,
        task: &Task,
        lease: &LeaseId,
        done: &Done,
    ) -> Result<Result<(handed::Report, Taken), String>, Error> {
        let Some(claimed) = done.report.clone().filter(|_| done.renditions.is_empty()) else {
            return Ok(Err("a report was asked for, and nothing else".into()));
        };
        let asked = match &task.work {
            Work::Captions(work) => &work.model,
            Work::Look(work) => &work.model,
            Work::Transcode(_) => return Ok(Err("a report of what has none".into())),
        };
        let named = is_model_id(&claimed.model) && is_model_id(&claimed.version);
        if !named || asked.as_ref().is_some_and(|asked| *asked != claimed.model) {
            return Ok(Err("its model is none, or another than was asked for".into()));
        }
        if claimed.blob.bytes > REPORT_BYTES_MAX || !self.eyes.has(lease, claimed.blob).await? {
            return Ok(Err(format!("its report {} was not uploaded", claimed.blob.sha256)));
        }
        let found = self.media.get(lease, claimed.blob.sha256, GetOptions::default()).await?;
        let bytes = found.bytes().await.map_err(media::Error::from)?;
        let taken = match &task.work {
            Work::Captions(work) => {
                let chain = self.chain(task).await?;
                let seen_ms = chain.as_ref().map_or(work.start_ms, |chain| chain.seen_ms);
                let carry = chain.as_ref().map(Carry::of).unwrap_or_default();
                heard::judge(work, &carry, seen_ms, &bytes).map(Taken::Heard)
            }
            Work::Look(work) => seen::judge(work, &bytes).map(Taken::Seen),
            Work::Transcode(_) => unreachable!("it was returned above"),
        };
        Ok(taken.map(|taken| (claimed, taken)))
    }

    /// The chain of a window's task. Nothing changes it while that is open; once it has gone on there is none.
    async fn chain(&self, task: &Task) -> Result<Option<Chain>, Error> {
        let Some(link) = &task.link else { return Ok(None) };
        let is_this = |chain: &Chain| (chain.kind, &chain.track, chain.number) == (link.kind, &link.track, link.number);
        Ok(self.store.chains(&task.stream).await?.into_iter().find(is_this))
    }

    /// Marks of words in a window of sound that the app does not want.
    async fn unwanted(&self, task: &Task, found: &Found, taken: &heard::Taken) -> Result<Vec<Mark>, Error> {
        let (Work::Captions(work), Some(link)) = (&task.work, &task.link) else { return Ok(Vec::new()) };
        let Some(stream) = self.store.stream(&task.stream).await? else { return Ok(Vec::new()) };
        let Some(wish) = stream.profile.moderation.filter(|wish| !wish.words.is_empty()) else { return Ok(Vec::new()) };
        let by = By { model: found.model.clone(), version: found.version.clone(), worker: found.worker };
        let said = Said { before: &taken.before, words: &taken.said, start_ms: work.settled_ms(), by: &by };
        Ok(words::marks(&task.stream, (&link.track, link.number), &wish.words, said))
    }

    /// What is written with a window of pictures that was accepted: its report, its chain behind it, and what is to be
    /// seen now.
    async fn seen_report(
        &self,
        settlement: &mut Settlement,
        task: &Task,
        found: Found,
        seen: &[Sight],
        now_ms: u64,
    ) -> Result<(), Error> {
        let (Work::Look(work), Some(link)) = (&task.work, &task.link) else { return Ok(()) };
        let Some(stream) = self.store.stream(&task.stream).await? else { return Ok(()) };
        let Some(chain) = self.chain(task).await? else { return Ok(()) };
        let by = By { model: found.model.clone(), version: found.version.clone(), worker: found.worker };
        let Change { carry, mut marks } = sights::go_on(&chain, &stream.profile, seen, &by);
        matching::name(&*self.store, &stream.profile, &mut marks).await?;
        settlement.events.extend(matching::news(&*self.store, &stream.profile, &marks, now_ms).await?);
        let report = report(task, link, (work.start_ms, work.end_ms), found, now_ms);
        let (position_ms, seen_ms) = (work.end_ms, work.end_ms);
        let before = chain.clone();
        let next = Chain { number: chain.number + 1, seq: task.seq, position_ms, seen_ms, carry, ..chain };
        settlement.events.extend(sights::news(&before, &marks, now_ms));
        (settlement.report, settlement.marks) = (Some((next, report)), marks);
        Ok(())
    }

    /// A segment's own video, if it has some.
    async fn source<'a>(&self, segment: &'a Segment) -> Result<Vec<Placed<'a>>, Error> {
        let source = source(&*self.store, segment).await?;
        Ok(source.into_iter().map(|found| Placed { place: (&segment.stream).into(), segment: found }).collect())
    }

    /// Our media child failed on a source and what was made of it: which of them was it?
    async fn who_broke(&self, task: &Task, segment: &Segment, why: String, now_ms: u64) -> Result<Verdict, Error> {
        match self.eyes.inspect(&self.source(segment).await?, false).await {
            Err(Error::Broke(why)) => broken_input(task, why, now_ms),
            Err(error) => Err(error),
            Ok(_) => Ok(Verdict::Refuse(format!("what it made can't be looked at: {why}"))),
        }
    }

    /// A worker says that it failed, and perhaps that the input is bad: is it?
    async fn blame(&self, task: &Task, segment: &Segment, said: &Failure, now_ms: u64) -> Result<Verdict, Error> {
        let seen = match self.eyes.inspect(&self.source(segment).await?, true).await {
            Err(Error::Broke(why)) => return broken_input(task, why, now_ms),
            other => other?.into_iter().next(),
        };
        Ok(match seen {
            Some(Inspection::Unreadable { message }) => Verdict::BadInput(message),
            // The same bound as the child's own: with more than half of the frames lost it does not go on.
            Some(Inspection::Readable(seen)) if (seen.frames_decoded as usize) * 2 < seen.pts.len() => {
                Verdict::BadInput(format!("only {} of {} frames can be decoded", seen.frames_decoded, seen.pts.len()))
            }
            _ if said.kind == FailureKind::BadInput => {
                Verdict::Refuse(format!("says that the input is bad ({}), which decodes", said.message))
            }
            _ => Verdict::Retry(said.kind, said.message.clone()),
        })
    }
}

/// Our media child fails on the source alone. That may be this machine's fault, so it is tried for a while; then
/// the input is taken for bad.
fn broken_input(task: &Task, why: String, now_ms: u64) -> Result<Verdict, Error> {
    let since_ms = match &task.state {
        State::Checking { since_ms, .. } => *since_ms,
        _ => now_ms,
    };
    if now_ms.saturating_sub(since_ms) < BROKEN_MS {
        return Err(Error::Broke(why));
    }
    Ok(Verdict::BadInput(format!("our own media child fails on it: {why}")))
}

/// What came of a window, judged.
enum Taken {
    Heard(heard::Taken),
    Seen(Vec<Sight>),
}

/// The report of a window of sound that was accepted, and its chain behind it.
fn heard_report(task: &Task, found: Found, taken: heard::Taken, now_ms: u64) -> Option<(Chain, Report)> {
    let (Work::Captions(work), Some(link)) = (&task.work, &task.link) else { return None };
    let heard::Taken { settled_ms, context, carry, language, .. } = taken;
    let report = report(task, link, (work.settled_ms(), settled_ms), found, now_ms);
    let chain = Chain {
        stream: task.stream.clone(),
        kind: link.kind,
        track: link.track.clone(),
        number: link.number + 1,
        seq: task.seq,
        position_ms: settled_ms,
        seen_ms: work.end_ms,
        context,
        carry: Some(carry.text()),
        label: language,
        open: true,
    };
    Some((chain, report))
}

fn report(task: &Task, link: &Link, (start_ms, end_ms): (i64, i64), found: Found, now_ms: u64) -> Report {
    Report {
        stream: task.stream.clone(),
        kind: link.kind,
        track: link.track.clone(),
        number: link.number,
        start_ms,
        end_ms,
        created_ms: now_ms,
        found: Some(found),
        reason: None,
    }
}

/// What is written with a changed task: `tries` is how many had failed before the change.
pub fn settle(task: &Task, tries: usize, renditions: Vec<Media>) -> Settlement {
    let failed = task.attempts[tries.min(task.attempts.len())..].iter().map(|attempt| attempt.worker).collect();
    match &task.state {
        State::Accepted { worker, .. } => {
            let segment = task.link.is_none().then_some((SegmentState::Ready, renditions));
            Settlement { segment, accepted: Some(*worker), failed, ..Settlement::default() }
        }
        State::Failed { reason } => {
            let now_ms = task.attempts.last().map_or(task.created_ms, |attempt| attempt.at_ms);
            let report = window::given_up(task, reason, now_ms);
            let state = SegmentState::Failed { reason: reason.clone() };
            let segment = task.link.is_none().then_some((state, Vec::new()));
            Settlement { segment, report, failed, ..Settlement::default() }
        }
        _ => Settlement { failed, ..Settlement::default() },
    }
}
