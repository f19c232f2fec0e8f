//! Captions of an encrypted stream are for who has a token, and for players that were there before the first of them.

use millrace_proto::api::{StreamState, Transcript};
use serde_json::json;

use super::{MODEL, asks, by_dash, errors, hls_js, reading, words};
use crate::{
    encryption::token,
    house::House,
    live::until_playable,
    push::push,
    wait::{s, until},
    webdriver::Browser,
};

#[test]
fn captions_of_an_encrypted_stream_are_for_who_has_a_token() {
    let (source, said) = reading();
    let mut house = House::with_workers(1);
    let mut profile = asks(&json!({"language": "en"}));
    profile["encryption"] = json!("aes-128");
    let stream = house.api.create("live", &profile);
    let _publisher = push(&house, &stream, &source);
    until_playable(&house, &stream, 1);
    let right = token(&house, &stream, 600);
    let api = house.api.clone();
    let with_token = |file: &str| api.get(&format!("/hls/{}/{file}?token={}", stream.id, right.token));

    // Nobody can hear it when the page is opened, and it is told of the captions all the same.
    let page = hls_js::open(&house, &right.hls);
    page.until_told();
    let before: Transcript = with_token("captions.json").json();
    assert!(before.windows.is_empty(), "{before:?}");
    house.add_hearing_worker(&[MODEL]);
    page.until_shown(&said);

    let files = ["captions/index.m3u8", "captions/0.vtt", "captions.vtt", "captions.en.srt", "captions.json"];
    for file in files {
        let path = format!("/hls/{}/{file}", stream.id);
        assert_eq!(house.api.get(&path).error(401).code, "token_missing", "{file}");
        assert_eq!(house.api.get(&format!("{path}?token=wrong")).error(403).code, "token_wrong", "{file}");
        let answer = with_token(file);
        assert_eq!(answer.status, 200, "{file}: {}", answer.text());
        assert!(answer.header("cache-control").starts_with("private"), "{file}: {answer:?}");
    }
    let open = house.api.get(&stream.playback.hls);
    assert!(!open.text().contains("SUBTITLES"), "who has no token is not led to them: {}", open.text());
    house.api.until(&stream, StreamState::Ended, s(60));
    let all = until("the captions to be complete", s(60), || {
        Some(with_token("captions.json").json::<Transcript>()).filter(|all| all.complete)
    });
    let wrong = errors(&said, &words(&all));
    assert!(wrong * 100 <= said.len() * 25, "{wrong} of {} words are wrong: {all:?}", said.len());
}

#[test]
fn captions_of_encrypted_samples_show_by_dash_to_who_has_a_token() {
    let (source, said) = reading();
    let mut house = House::with_workers(0);
    house.add_hearing_worker(&[MODEL]);
    let mut profile = asks(&json!({"language": "en"}));
    profile["encryption"] = json!("cbcs");
    let stream = house.api.create("file", &profile);
    house.api.upload_all(&stream, &std::fs::read(&source).expect("the clip can be read"));
    let ended = house.api.until(&stream, StreamState::Ended, s(60));
    let right = token(&house, &stream, 600);
    until("the captions to be complete", s(60), || {
        let path = format!("/hls/{}/captions.json?token={}", stream.id, right.token);
        Some(house.api.get(&path).json::<Transcript>()).filter(|all| all.complete)
    });
    let open = house.api.get(ended.playback.dash.as_deref().expect("it has a manifest")).text();
    assert!(!open.contains("wvtt"), "who has no token is not led to them: {open}");
    let dash = right.dash.expect("DASH has cbcs");
    let manifest = house.api.get(&dash).text();
    let init = manifest.split("initialization=\"$RepresentationID$/").last().and_then(|rest| rest.split('?').next());
    for file in ["0.m4s", init.expect("captions are the last set")] {
        let path = format!("/hls/{}/captions/{file}", stream.id);
        assert_eq!(house.api.get(&path).error(401).code, "token_missing", "{file}");
        assert_eq!(house.api.get(&format!("{path}?token=wrong")).error(403).code, "token_wrong", "{file}");
        let answer = house.api.get(&format!("{path}?token={}", right.token));
        assert_eq!((answer.status, answer.header("cache-control")), (200, "private, max-age=1"), "{file}");
        // What was given to one is not kept for who has none.
        assert_eq!(house.api.get(&path).error(401).code, "token_missing", "{file}");
    }
    let browser = Browser::start(house.scratch());
    by_dash::open(&browser, &dash).until_shown("recorded", &said);
}
