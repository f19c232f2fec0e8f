//! Captions in players of DASH, live and recorded.

use std::{fs, path::Path};

use serde_json::Value;

use super::plain;
use crate::{
    clip::text,
    site::{Reply, Site},
    table::outputs,
    wait::{s, until},
    webdriver::Browser,
};

const PAGE: &str = include_str!("dash.html");
const PLAYERS: [&str; 2] = ["dashjs", "shaka"];
const LIBRARIES: [(&str, &str); 2] = [
    ("dashjs.js", "e2e/node_modules/dashjs/dist/modern/umd/dash.all.min.js"),
    ("shaka.js", "e2e/node_modules/shaka-player/dist/shaka-player.compiled.js"),
];

/// dash.js and Shaka Player on a page, captions on.
#[derive(Debug)]
pub(super) struct Page<'a> {
    browser: &'a Browser,
}

/// Opens the page on a manifest.
#[track_caller]
pub(super) fn open<'a>(browser: &'a Browser, manifest: &str) -> Page<'a> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let libraries = LIBRARIES.map(|(name, file)| {
        let path = root.join(file);
        let script = fs::read(&path);
        (name, script.unwrap_or_else(|_| panic!("{} is not there: deploy/test fetches it", text(&path))))
    });
    let page = PAGE.replace("MANIFEST", manifest);
    let site = Site::open("127.0.0.1", move |ask| match libraries.iter().find(|(name, _)| *name == ask.file()) {
        Some((_, script)) => Reply::body(script).with("Content-Type", "text/javascript"),
        None => Reply::body(page.as_bytes()).with("Content-Type", "text/html; charset=utf-8"),
    });
    browser.open(&site.url("dash.html"));
    Page { browser }
}

impl Page<'_> {
    /// Both players show captions of what is `said`: `when` is `live` or `recorded`.
    #[track_caller]
    pub(super) fn until_shown(&self, when: &str, said: &[String]) {
        for player in PLAYERS {
            let seen = self.until(&format!("{player} to show a caption"), player, |now| {
                now[when].as_array().is_some_and(|shown| !shown.is_empty())
            });
            println!("{player}: {seen:#}");
            let shown = texts(&seen[when]);
            assert!(shown.iter().any(|word| said.contains(word)), "{player}: {shown:?} is not what is said");
        }
    }

    /// Both players come to the end; tells what each has been given to show.
    #[track_caller]
    pub(super) fn until_over(&self) -> [Vec<String>; 2] {
        PLAYERS.map(|player| {
            let seen = self.until(&format!("{player} to come to the end"), player, |now| now["over"] == true);
            println!("{player}: {seen:#}");
            texts(&seen["cues"])
        })
    }

    /// Both players come to show most of these words.
    #[track_caller]
    pub(super) fn until_most_shown(&self, words: &[String]) {
        for player in PLAYERS {
            self.until(&format!("{player} to show most of {words:?}"), player, |now| {
                let shown = texts(&now["cues"]);
                words.iter().filter(|word| shown.contains(word)).count() * 2 > words.len()
            });
        }
    }

    #[track_caller]
    fn until(&self, what: &str, player: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        until(what, s(60), || {
            let now = self.browser.run("return look();");
            assert!(now["errors"].as_array().is_some_and(Vec::is_empty), "{now}");
            is_so(&now[player]).then(|| now[player].clone())
        })
    }
}

/// Tells that both players show the words of what is live or recorded.
#[track_caller]
pub(super) fn tell(of: &str, found: &str) {
    outputs::tell_played("captions by DASH", of, &["dash.js", "Shaka Player"].map(|player| (player, found.to_owned())));
}

/// What is said in a segment: the payloads of its cues (ISO/IEC 14496-30, 6.6).
pub(super) fn payloads(segment: &[u8]) -> String {
    let begins = segment.windows(4).enumerate().filter(|(_, kind)| kind == b"payl").map(|(at, _)| at);
    let text = |at: usize| {
        let size = u32::from_be_bytes(segment[at - 4..at].try_into().expect("four bytes")) as usize;
        String::from_utf8_lossy(&segment[at + 4..at - 4 + size])
    };
    begins.map(text).collect::<Vec<_>>().join("\n")
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().expect("a list");
    plain(&list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "))
}
