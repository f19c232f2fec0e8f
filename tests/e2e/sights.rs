//! What streams show: things and flags, on the timeline, in playlists and in a browser.

use std::{fs, path::Path};

use millrace_proto::{
    api::StreamState,
    offer::Capability,
    timeline::{Entry, Level, Timeline},
};
use serde_json::{Value, json};

use crate::{
    clip::{clip, made, text},
    house::House,
    site::{Reply, Site},
    wait::{s, until},
    webdriver::Browser,
};

/// Read aloud, of the Debian package `pocketsphinx-testdata`.
const SPEECH: &str = "/usr/share/pocketsphinx/test/data/librivox/sense_and_sensibility_01_austen_64kb-0870.wav";
const PAGE: &str = include_str!("sights/page.html");
/// What looks, listens, and what these take.
const MODELS: [&str; 5] = ["whisper-tiny.en", "open-nsfw", "centernet", "efficientnet-lite2", "imagenet-labels"];

#[test]
fn a_recording_has_all_three_results_on_its_timeline() {
    // Bicycles in a street, and a voice.
    let args = "-t 8 -map 0:v -map 1:a -vf scale=-2:360 -r 24 -c:v libx264 -preset veryfast -g 48 -c:a aac -ar 48000";
    let source = made("bikes-read.mp4", &["-i", text(&clip("bikes.mp4")), "-i", SPEECH], args);
    let mut house = House::with_workers(0);
    house.add_hearing_worker(&MODELS);
    house.until_online(1);
    let ladder = json!([{"name": "240p", "short_side_px": 240, "bitrate_bps_max": 400_000, "preset": "ultrafast"}]);
    // A street is harmless; so that something is marked, almost anything counts.
    let moderation = json!({"review": 0.0001, "flag": 0.9, "words": ["LEISURE, to consider", "zeppelin"]});
    let profile = json!({
        "ladder": ladder, "captions": {"language": "en"}, "moderation": moderation, "products": {"every_ms": 1_000}
    });
    let stream = house.api.create("file", &profile);
    house.api.upload_all(&stream, &fs::read(&source).expect("the clip can be read"));
    let ended = house.api.until(&stream, StreamState::Ended, s(90));
    let told = ["captions_stuck", "moderation_stuck", "products_stuck"];
    assert_eq!(
        [&ended.captions_stuck, &ended.moderation_stuck, &ended.products_stuck],
        [&None, &None, &None],
        "{told:?}"
    );

    let path = format!("/v1/streams/{}/timeline", stream.id);
    let line: Timeline = until("the timeline to be complete", s(120), || {
        let line: Timeline = house.api.call("GET", &path, None).json();
        line.tracks.iter().all(|track| track.complete).then_some(line)
    });
    assert_eq!(line.tracks.iter().map(|track| track.kind).max(), Some(Capability::Products), "{line:?}");
    let of = |kind| line.items.iter().filter(move |entry| entry.kind == kind);
    let text: Vec<&str> = of(Capability::Captions).filter_map(|entry| entry.text.as_deref()).collect();
    assert!(text.join(" ").split_whitespace().count() > 10, "{text:?}");
    let flags: Vec<&Entry> = of(Capability::Moderation).filter(|entry| entry.track == "moderation").collect();
    let words: Vec<_> = of(Capability::Moderation).filter(|entry| entry.track == "words").collect();
    let said: Vec<_> = words.iter().map(|entry| (entry.label.as_deref(), entry.level)).collect();
    assert_eq!(said, [(Some("LEISURE, to consider"), Some(Level::Flag))], "{text:?}");
    assert!((500..6_000).contains(&words[0].start_ms), "{words:?}");
    let things: Vec<&Entry> = of(Capability::Products).collect();
    let shown = |entries: &[&Entry]| {
        let tell = |entry: &&Entry| format!("{:?} {:?} {}-{}", entry.label, entry.score, entry.start_ms, entry.end_ms);
        entries.iter().map(tell).collect::<Vec<_>>()
    };
    println!("{:#?}\n{:#?}", shown(&flags), shown(&things));
    assert!(flags.iter().any(|entry| entry.label.as_deref() == Some("pornography") && entry.level.is_some()));
    let labels: Vec<&str> = things.iter().filter_map(|entry| entry.label.as_deref()).collect();
    assert!(labels.contains(&"bicycle") || labels.contains(&"person"), "{labels:?}");
    assert!(things.len() < 40, "an entry for each picture is none for each thing: {things:?}");
    for entry in flags.iter().chain(&things) {
        let (by, best) = (entry.by.as_ref().expect("someone saw it"), entry.best.as_ref().expect("it was seen"));
        let model = if entry.kind == Capability::Products { "centernet" } else { "open-nsfw" };
        assert_eq!(by.model, model, "{entry:?}");
        assert!(!by.version.is_empty() && (0.0..=1.0).contains(&entry.score.expect("it has one")), "{entry:?}");
        assert!(!entry.open && (entry.start_ms..entry.end_ms).contains(&best.at_ms), "{entry:?}");
        assert_eq!(best.place.is_some(), entry.kind == Capability::Products, "{entry:?}");
    }

    // Filters, and who follows, tell the same.
    let filtered: Timeline = house.api.call("GET", &format!("{path}?kind=products&label={}", labels[0]), None).json();
    assert!(filtered.items.iter().all(|entry| entry.label.as_deref() == Some(labels[0])) && !filtered.items.is_empty());
    let headers = [("Authorization", house.api.bearer()), ("Accept", "text/event-stream".to_owned())];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let events = house.api.send("GET", &format!("{path}?kind=products"), &headers, None).expect("it ends by itself");
    let followed = events.text().lines().filter(|line| line.starts_with("data: {\"kind\"")).count();
    assert_eq!(followed, things.len(), "{}", events.text());

    see(&house, &ended.playback.vod.expect("it has ended"), &ended.playback.metadata.expect("it asks for some"), &line);
}

/// A browser is told the same, by the playlist's ranges and by the track of metadata.
fn see(house: &House, playlist: &str, metadata: &str, line: &Timeline) {
    // Which words an app does not want is not for viewers.
    let shown = |entry: &&Entry| entry.number.is_some() && entry.track != "words";
    let seen: Vec<&Entry> = line.items.iter().filter(shown).collect();
    let script = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../orchestrator/web/dist/hls.min.js"));
    let script = script.expect("the page is built by deploy/test");
    let page = PAGE.replace("PLAYLIST", playlist).replace("METADATA", metadata);
    let site = Site::open("127.0.0.1", move |ask| match ask.file() {
        "hls.js" => Reply::body(&script).with("Content-Type", "text/javascript"),
        _ => Reply::body(page.as_bytes()).with("Content-Type", "text/html; charset=utf-8"),
    });
    let browser = Browser::start(house.scratch());
    browser.open(&site.url("results.html"));
    let now = until("it to play, with ranges and metadata", s(40), || {
        let now = browser.run("return look();");
        let count = |name: &str| now[name].as_array().map_or(0, Vec::len);
        (now["frames"].as_u64()? > 24 && count("ranges") == seen.len() && count("cues") == seen.len()).then_some(now)
    });
    let fatal = |error: &Value| error.as_str().is_some_and(|text| text.starts_with("fatal"));
    assert!(!now["errors"].as_array().expect("a list").iter().any(fatal), "{now:#}");
    for entry in seen {
        let id = format!("{}-{}-0", entry.track, entry.number.expect("it was filtered"));
        let range = now["ranges"].as_array().expect("a list").iter().find(|range| range["id"] == *id);
        let range = range.unwrap_or_else(|| panic!("{id} is not told: {now:#}"));
        let apart_s = |name: &str, ms: i64| (range[name].as_f64().expect("a number") - ms as f64 / 1e3).abs();
        // hls.js places dates by where the samples of a segment begin, which is not to the frame.
        assert!(apart_s("start_s", entry.start_ms) < 0.25, "{range} {entry:?}");
        assert!(apart_s("length_s", entry.end_ms - entry.start_ms) < 0.01, "{range} {entry:?}");
        assert_eq!((&range["valid"], range["label"].as_str()), (&json!(true), entry.label.as_deref()), "{range}");
        let told = |cue: &Value| serde_json::from_value::<Entry>(cue["entry"].clone()).is_ok_and(|told| told == *entry);
        assert!(now["cues"].as_array().expect("a list").iter().any(told), "{entry:?} is no cue: {now:#}");
    }
}
