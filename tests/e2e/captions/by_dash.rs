//! The captions of a recording in players of DASH.

use std::{fs, path::Path};

use serde_json::Value;

use super::plain;
use crate::{
    clip::text,
    site::{Reply, Site},
    wait::{s, until},
    webdriver::Browser,
};

const PAGE: &str = include_str!("dash.html");
const LIBRARIES: [(&str, &str); 2] = [
    ("dashjs.js", "e2e/node_modules/dashjs/dist/modern/umd/dash.all.min.js"),
    ("shaka.js", "e2e/node_modules/shaka-player/dist/shaka-player.compiled.js"),
];

/// dash.js and Shaka Player show captions of what is `said` in the recording of this manifest.
#[track_caller]
pub(super) fn assert_shown(browser: &Browser, manifest: &str, said: &[String]) {
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
    for player in ["dashjs", "shaka"] {
        let seen = until(&format!("{player} to show a caption"), s(40), || {
            let now = browser.run("return look();");
            assert!(now["errors"].as_array().is_some_and(Vec::is_empty), "{now}");
            let shows = now[player]["active"].as_array().is_some_and(|active| !active.is_empty());
            shows.then(|| now[player].clone())
        });
        println!("{player}: {seen:#}");
        let texts = |name: &str| -> Vec<String> {
            let list = seen[name].as_array().expect("a list");
            plain(&list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "))
        };
        let shown = texts("active");
        assert!(shown.iter().any(|word| said.contains(word)), "{player}: {shown:?} is not what is said");
    }
}
