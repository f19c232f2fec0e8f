//! Players that nobody here wrote, in a real browser, on one page: hls.js, dash.js, Shaka Player.

use std::{fs, path::Path};

use serde::Deserialize;
use serde_json::json;

use crate::{
    clip::text,
    house::House,
    site::{Reply, Site},
    wait::{s, until},
    webdriver::Browser,
};

const PAGE: &str = include_str!("players/page.html");

/// Where each library is: its name on the page, and its file.
const LIBRARIES: [(&str, &str); 3] = [
    ("HLSJS", "../orchestrator/web/dist/hls.min.js"),
    ("DASHJS", "e2e/node_modules/dashjs/dist/modern/umd/dash.all.min.js"),
    ("SHAKA", "e2e/node_modules/shaka-player/dist/shaka-player.compiled.js"),
];

/// One player: its name, a word for what it plays, and the address.
pub(crate) type Wanted<'a> = (&'a str, &'a str, &'a str);

/// What a player in the browser says of itself.
#[derive(Debug, Deserialize)]
pub(crate) struct Seen {
    pub(crate) name: String,
    over: bool,
    errors: Vec<String>,
    pub(crate) at_s: f64,
    /// Of the pictures, as the player tells it; empty while it does not know.
    pub(crate) codec: String,
    pub(crate) frames: u64,
}

impl Seen {
    /// Which player it is.
    pub(crate) fn player(&self) -> &str {
        self.name.split(',').next().unwrap_or_default()
    }
}

/// Players on a page, playing.
#[derive(Debug)]
pub(crate) struct Players {
    browser: Browser,
    count: usize,
}

/// Starts a browser, and each player in it.
#[track_caller]
pub(crate) fn start(house: &House, wanted: &[Wanted]) -> Players {
    let mut players = Players { browser: Browser::start(house.scratch()), count: 0 };
    players.play(wanted);
    players
}

/// The address of the page that plays these. It has an origin, since browsers give keys to no others.
#[track_caller]
fn page(wanted: &[Wanted]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut page = PAGE.replace("WANTED", &json!(wanted).to_string());
    let libraries = LIBRARIES.map(|(name, file)| {
        let path = root.join(file);
        page = page.replace(name, &format!("{name}.js"));
        let script = fs::read(&path);
        let script =
            script.unwrap_or_else(|_| panic!("{} is not there: run deploy/test, which fetches it", text(&path)));
        (format!("{name}.js"), script)
    });
    let site = Site::open("127.0.0.1", move |ask| match libraries.iter().find(|(name, _)| name == ask.file()) {
        Some((_, script)) => Reply::body(script).with("Content-Type", "text/javascript"),
        None => Reply::body(page.as_bytes()).with("Content-Type", "text/html; charset=utf-8"),
    });
    site.url("players.html")
}

impl Players {
    /// Plays these, in place of what was played.
    #[track_caller]
    pub(crate) fn play(&mut self, wanted: &[Wanted]) {
        self.browser.open(&page(wanted));
        self.count = wanted.len();
    }

    #[track_caller]
    fn look(&self) -> Vec<Seen> {
        serde_json::from_value(self.browser.run("return look();")).expect("the page tells of its players")
    }

    /// Waits until each has come to its end by itself, without an error.
    #[track_caller]
    pub(crate) fn end(&self) -> Vec<Seen> {
        let mut before = String::new();
        let seen = until("the players in the browser to end", s(90), || {
            let seen = self.look();
            let now = format!("{seen:?}");
            if now != before {
                println!("{now}");
                before = now;
            }
            (seen.len() == self.count && seen.iter().all(|one| one.over || !one.errors.is_empty())).then_some(seen)
        });
        for one in &seen {
            assert!(one.errors.is_empty(), "{one:?}");
        }
        seen
    }

    /// Waits until one of them complains, and returns of what.
    #[track_caller]
    pub(crate) fn complaint(&self) -> String {
        until("a player to complain", s(60), || self.look().into_iter().find_map(|mut one| one.errors.pop()))
    }
}
