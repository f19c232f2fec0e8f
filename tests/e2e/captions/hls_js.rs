//! A page with hls.js, and the captions that it shows.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::plain;
use crate::{
    browser::base64,
    house::House,
    site::{Reply, Site},
    wait::{s, until},
    webdriver::Browser,
};

const PAGE: &str = include_str!("page.html");

/// The page, open in a browser.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) browser: Browser,
}

/// Opens the page on a playlist.
#[track_caller]
pub(super) fn open(house: &House, playlist: &str) -> Page {
    let script = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../orchestrator/web/dist/hls.min.js"));
    let script = script.expect("the page is built by deploy/test");
    let page = PAGE.replace("PLAYLIST", playlist);
    let site = Site::open("127.0.0.1", move |ask| match ask.file() {
        "hls.js" => Reply::body(&script).with("Content-Type", "text/javascript"),
        _ => Reply::body(page.as_bytes()).with("Content-Type", "text/html; charset=utf-8"),
    });
    let browser = Browser::start(house.scratch());
    browser.open(&site.url("captions.html"));
    Page { browser }
}

impl Page {
    fn look(&self) -> Value {
        self.browser.run("return look();")
    }

    /// Waits until the player knows of the captions.
    #[track_caller]
    pub(super) fn until_told(&self) {
        let told = until("the player to be told of captions", s(30), || {
            Some(self.look()["tracks"].clone()).filter(|tracks| tracks.as_array().is_some_and(|all| !all.is_empty()))
        });
        assert_eq!(told, json!([{"name": "English", "lang": "en"}]), "{told}");
    }

    /// Waits until a caption is to be seen, which is of what is `said`.
    #[track_caller]
    pub(super) fn until_shown(&self, said: &[String]) {
        let seen = until("a caption to show", s(60), || {
            let now = self.look();
            let shows = now["active"].as_array().is_some_and(|active| !active.is_empty());
            (shows && now["frames"].as_u64()? > 10).then_some(now)
        });
        let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join("captions.png");
        fs::write(&picture, base64(&self.browser.screenshot())).expect("the screenshot can be written");
        println!("{seen:#}\nscreenshot: {}", picture.display());
        let fatal = |error: &Value| error.as_str().is_some_and(|text| text.starts_with("fatal"));
        assert!(!seen["errors"].as_array().expect("a list").iter().any(fatal), "{seen}");
        let shown = plain(seen["active"][0]["text"].as_str().expect("a cue has a text"));
        assert!(shown.iter().any(|word| said.contains(word)), "{shown:?} is not what is said");
    }
}
