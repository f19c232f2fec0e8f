//! The checker of what is served: a correct HLS origin by RFC 8216bis, Apple's authoring specification and RFC 9110.
//!
//! [`recording`] looks at something that has ended, [`Follow`] at a stream all the time that it lives. Both read
//! playlists, headers and every segment over HTTP as a player does, write down what they saw in a [`Book`], and judge
//! it by `rules.rs`, `timing.rs` and `serve.rs`. All they return is findings: what must not be, and where it says so.

mod list;
mod media;
mod rules;
mod serve;
mod streams;
mod tests;
mod timing;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{api::Api, playlist::resolve};

use list::{List, Multivariant};
use media::{Init, Piece};

/// Between two readings of a live stream; well below a segment's length.
const LOOK: Duration = Duration::from_millis(300);

/// Something that must not be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finding {
    /// Where it says so.
    pub(crate) rule: &'static str,
    pub(crate) url: String,
    pub(crate) what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}: {}", self.rule, self.url, self.what)
    }
}

/// Findings on one thing.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    /// Writes down a finding unless `holds`.
    fn check(&mut self, holds: bool, rule: &'static str, url: &str, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(Finding { rule, url: url.to_owned(), what: what() });
        }
    }
}

/// All that was seen of one stream.
#[derive(Debug, Clone, Default)]
struct Book {
    /// It lived while it was looked at.
    live: bool,
    /// Each different multivariant playlist, oldest first.
    masters: Vec<Multivariant>,
    /// Each different state of every media playlist, oldest first, by address.
    lists: BTreeMap<String, Vec<List>>,
    /// Initialization sections by address; in words, what is wrong with one.
    inits: BTreeMap<String, Result<Init, String>>,
    /// Segments by address; in words, what is wrong with one.
    pieces: BTreeMap<String, Result<Piece, String>>,
}

impl Book {
    /// Reads all playlists once, and what they name for the first time. Nothing while there is no stream.
    fn look(&mut self, api: &Api, url: &str) {
        let Some(text) = text(api, url) else { return };
        let master = Multivariant::read(url, &text);
        for url in master.all() {
            let Some(text) = self::text(api, url) else { continue };
            let list = List::read(url, &text);
            for entry in list.entries.iter().filter(|entry| !entry.gap) {
                if let Some(init) = &entry.init {
                    self.inits.entry(init.clone()).or_insert_with(|| Init::read(&bytes(api, init)?));
                }
                self.pieces.entry(entry.url.clone()).or_insert_with(|| Piece::read(&bytes(api, &entry.url)?));
            }
            let states = self.lists.entry(url.to_owned()).or_default();
            if states.last() != Some(&list) {
                states.push(list);
            }
        }
        if self.masters.last() != Some(&master) {
            self.masters.push(master);
        }
    }

    fn judge(&self) -> Vec<Finding> {
        let mut findings = rules::judge(self);
        findings.extend(timing::judge(self));
        findings
    }
}

fn text(api: &Api, url: &str) -> Option<String> {
    let answer = api.send("GET", url, &[], None).ok()?;
    (answer.status == 200).then(|| answer.text())
}

fn bytes(api: &Api, url: &str) -> Result<Vec<u8>, String> {
    let answer = api.send("GET", url, &[], None).map_err(|error| error.to_string())?;
    if answer.status == 200 {
        Ok(answer.body)
    } else {
        Err(format!("it is listed, and answered with {}", answer.status))
    }
}

/// Looks at a recording whose multivariant playlist is at `url`.
#[track_caller]
pub(crate) fn recording(api: &Api, url: &str) -> Vec<Finding> {
    let url = resolve(&format!("{}/", api.base), url);
    let mut book = Book::default();
    book.look(api, &url);
    assert!(!book.lists.is_empty(), "there is no recording at {url}");
    let mut findings = book.judge();
    findings.extend(serve::judge(api, &book));
    findings
}

/// Looks at a live stream all the time, until [`Follow::finish`].
#[derive(Debug)]
pub(crate) struct Follow {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Finding>>>,
}

impl Follow {
    /// Follows the stream whose multivariant playlist is at `url`. It may not be there yet.
    pub(crate) fn start(api: &Api, url: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (api, url, stop) = (api.clone(), resolve(&format!("{}/", api.base), url), stop.clone());
            move || {
                let mut book = Book { live: true, ..Book::default() };
                let mut served = None;
                loop {
                    // Looks once more after the stop, so that what was published last is seen too.
                    let last = stop.load(Ordering::Relaxed);
                    book.look(&api, &url);
                    // How a live playlist is served is seen while it lives.
                    let sounds = |master: &Multivariant| book.lists.keys().any(|url| master.is_sound(url));
                    if served.is_none() && book.masters.last().is_some_and(sounds) {
                        let findings = serve::judge(&api, &book);
                        // It may have ended meanwhile, and is served in another way then.
                        book.look(&api, &url);
                        let over = book.lists.values().flatten().any(|list| list.ended);
                        served = (!over).then_some(findings);
                    }
                    if last {
                        let mut findings = book.judge();
                        // One that lived too short for that is over now, and served as what does not change.
                        let over = || serve::judge(&api, &Book { live: false, ..book.clone() });
                        findings.extend(served.unwrap_or_else(over));
                        return findings;
                    }
                    thread::sleep(LOOK);
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }

    /// Stops looking; returns all that was found.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Vec<Finding> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("it is finished once").join().expect("the checker does not panic")
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Fails the test if there is any finding.
#[track_caller]
pub(crate) fn assert_none(findings: &[Finding]) {
    let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "what is served is not right:\n{}", lines.join("\n"));
}
