//! Captions that are told of and that nobody hears: players with them on play the stream all the same.

use std::{fs, path::Path};

use serde_json::json;

use super::{LATER_SEGMENTS, asks};
use crate::{
    clip::{live_source, text},
    house::House,
    live::until_playable,
    push::push,
    site::{Reply, Site},
    wait::{s, until},
    webdriver::Browser,
};

const PAGE: &str = include_str!("nobody.html");
const LIBRARIES: [(&str, &str); 3] = [
    ("hls.js", "../orchestrator/web/dist/hls.min.js"),
    ("dashjs.js", "e2e/node_modules/dashjs/dist/modern/umd/dash.all.min.js"),
    ("shaka.js", "e2e/node_modules/shaka-player/dist/shaka-player.compiled.js"),
];

#[test]
fn players_with_captions_on_play_what_nobody_hears() {
    let house = House::with_workers(1);
    let stream = house.api.create("live", &asks(&json!({"language": "en"})));
    let _publisher = push(&house, &stream, &live_source(24));
    until_playable(&house, &stream, LATER_SEGMENTS);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let libraries = LIBRARIES.map(|(name, file)| {
        let path = root.join(file);
        let script = fs::read(&path);
        (name, script.unwrap_or_else(|_| panic!("{} is not there: deploy/test fetches it", text(&path))))
    });
    let dash = stream.playback.dash.as_deref().expect("a live stream has a manifest");
    let page = PAGE.replace("PLAYLIST", &stream.playback.hls).replace("MPD", dash);
    let site = Site::open("127.0.0.1", move |ask| match libraries.iter().find(|(name, _)| *name == ask.file()) {
        Some((_, script)) => Reply::body(script).with("Content-Type", "text/javascript"),
        None => Reply::body(page.as_bytes()).with("Content-Type", "text/html; charset=utf-8"),
    });
    let browser = Browser::start(house.scratch());
    browser.open(&site.url("nobody.html"));
    // By HLS, Shaka Player stands at the last picture then: it waits for captions that may still come.
    let seen = until("all players to come to the end", s(70), || {
        let now = browser.run("return look();");
        assert_eq!(now["errors"], json!([]), "{now}");
        let over = |player: &str| now["over"].as_array().is_some_and(|over| over.iter().any(|one| one == player));
        let all = ["hlsjs", "dashjs", "shakaDash"].into_iter().all(over);
        (all && now["at_s"][1].as_f64()? > 23.0).then_some(now)
    });
    println!("{seen}");
    assert_eq!(seen["tracks"], json!([1, 1, 1, 1]), "all were told of the captions: {seen}");
}
