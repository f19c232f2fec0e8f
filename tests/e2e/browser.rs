//! The page at / in a real browser: hls.js plays a live push in headless Chromium.

use std::{fs, path::PathBuf};

use millrace_proto::api::StreamState;
use serde_json::Value;

use crate::{
    clip::{clip, live_source},
    house::House,
    live::{small_ladder, until_playable},
    push::push,
    wait::{s, until},
    webdriver::Browser,
};

/// What the page's player says of itself.
pub(crate) const LOOK: &str = "
    const video = document.querySelector('video');
    const quality = video.getVideoPlaybackQuality();
    return {
        at_s: video.currentTime, width: video.videoWidth, height: video.videoHeight, paused: video.paused, ended: video.ended,
        frames: quality.totalVideoFrames, dropped: quality.droppedVideoFrames,
        fatal: document.documentElement.dataset.fatal, playing: document.documentElement.dataset.playing,
        notice: document.getElementById('notice').hidden ? '' : document.getElementById('notice').innerText,
        levels: document.getElementById('level').options.length, name: document.getElementById('name').innerText,
        picture: document.getElementById('picture').innerText,
    };";

#[test]
fn the_page_plays_a_live_push_in_chromium() {
    let house = House::with_workers(1);
    let browser = Browser::start(house.scratch());
    browser.open(&format!("http://{}/", house.http));
    until("the page to say that nothing is there", s(20), || {
        browser.run(LOOK)["notice"].as_str().is_some_and(|text| text.contains("No stream yet")).then_some(())
    });

    let stream = house.api.create("live", &small_ladder());
    let mut publisher = push(&house, &stream, &live_source(40));
    until_playable(&house, &stream, 2);
    let look = || -> Value { browser.run(LOOK) };
    // The page is left alone: it finds the stream and starts by itself.
    let first = until("the page to play", s(30), || {
        let now = look();
        (now["at_s"].as_f64()? > 0.5 && now["frames"].as_u64()? > 10).then_some(now)
    });
    // On a busy machine it may have to wait for a segment in between, which the page then says until it goes on.
    let later = until("six more seconds to play, with nothing to say", s(30), || {
        let now = look();
        (now["at_s"].as_f64()? > first["at_s"].as_f64()? + 6.0 && now["notice"] == "").then_some(now)
    });

    let picture = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("page.png");
    fs::write(&picture, base64(&browser.screenshot())).expect("the screenshot can be written");
    println!("{later:#}\nscreenshot: {}", picture.display());
    assert_eq!(later["fatal"], "0", "{later}");
    assert_eq!(later["playing"], stream.id.as_str(), "{later}");
    assert_eq!(later["paused"], false, "{later}");
    assert!(matches!(later["width"].as_u64(), Some(640 | 426)), "{later}");
    assert_eq!(later["levels"], 3, "auto and two rungs: {later}");
    let frames = later["frames"].as_u64().unwrap() - first["frames"].as_u64().unwrap();
    assert!(frames > 6 * 24 / 2, "{frames} frames in 6 s: {later}");

    // A choice of quality is obeyed: the smaller picture comes.
    browser.run(
        "const level = document.getElementById('level');
         level.value = [...level.options].find((option) => option.text.startsWith('240p')).value;
         level.dispatchEvent(new Event('change'));",
    );
    until("the chosen quality to show", s(20), || (look()["width"] == 426).then_some(()));
    publisher.kill();
}

#[test]
fn a_recording_plays_to_its_end_in_chromium() {
    // The clip's sound ends three seconds before its pictures, which must not keep a player waiting.
    let house = House::with_workers(2);
    let stream = house.api.create("file", &small_ladder());
    house.api.upload_all(&stream, &fs::read(clip("trailer.mp4")).expect("the clip can be read"));
    house.api.until(&stream, StreamState::Ended, s(90));
    let browser = Browser::start(house.scratch());
    browser.open(&format!("http://{}/?stream={}", house.http, stream.id));
    until("the page to play", s(30), || (browser.run(LOOK)["at_s"].as_f64()? > 1.0).then_some(()));
    browser.run("document.querySelector('video').currentTime = 48;");
    until("the end of the recording", s(40), || {
        let now = browser.run(LOOK);
        assert_eq!(now["fatal"], "0", "{now}");
        (now["ended"] == true).then_some(())
    });
    let end_s = browser.run(LOOK)["at_s"].as_f64().expect("a time is a number");
    assert!((54.5..56.5).contains(&end_s), "it ended at {end_s} s");
}

/// Decodes base64 (RFC 4648, section 4).
pub(crate) fn base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let bytes: Vec<_> = text.bytes().filter(|&byte| byte != b'=').map(value).collect();
    let mut out = Vec::with_capacity(bytes.len() * 3 / 4);
    for four in bytes.chunks(4) {
        let bits = four.iter().enumerate().fold(0u32, |bits, (at, &six)| bits | u32::from(six) << (18 - 6 * at));
        out.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    out
}
