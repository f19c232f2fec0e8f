//! DASH as players see it: dash.js in a real browser on live streams and on recordings, FFmpeg's demuxer on both.

use std::{fs, path::Path};

use millrace_proto::api::{Stream, StreamState};
use serde_json::Value;

use crate::{
    clip::{clip, live_source, text, tool},
    house::House,
    live::{small_ladder, until_playable},
    player,
    playlist::Master,
    push::push,
    retention::{Expiring, ExpiringLive},
    table::outputs::{self, LIVE, RECORDED},
    wait::{s, until},
    webdriver::Browser,
};

/// A page with nothing but a player.
const PAGE: &str = include_str!("dash/page.html");

/// What the player says of itself.
const LOOK: &str = "
    const quality = video.getVideoPlaybackQuality();
    return {
        at_s: video.currentTime, width: video.videoWidth, paused: video.paused, over: over, errors: errors,
        frames: quality.totalVideoFrames, dynamic: player.isReady() && player.isDynamic(),
        lag_s: player.isReady() && player.isDynamic() ? player.getCurrentLiveLatency() : null,
    };";

fn url(house: &House, stream: &Stream) -> String {
    format!("{}/dash/{}/manifest.mpd", house.api.base, stream.id)
}

/// Opens the player's page on a manifest.
#[track_caller]
fn play(house: &House, browser: &Browser, manifest: &str) {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/node_modules/dashjs/dist/modern/umd/dash.all.min.js");
    assert!(library.is_file(), "{} is not there: run deploy/test, which fetches it", library.display());
    let page = house.scratch().join("page.html");
    let filled = PAGE.replace("LIBRARY", text(&library)).replace("MANIFEST", manifest);
    fs::write(&page, filled).expect("the page can be written");
    browser.open(&format!("file://{}", page.display()));
}

#[track_caller]
fn look(browser: &Browser) -> Value {
    let now = browser.run(LOOK);
    assert_eq!(now["errors"], serde_json::json!([]), "dash.js complains: {now}");
    now
}

/// How many packets FFmpeg's demuxer reads of one track. Of several at once it would stop where the first one ends.
#[track_caller]
pub(crate) fn packets(url: &str, track: &str) -> usize {
    let args = ["-v", "error", "-select_streams", track, "-show_entries", "packet=pts", "-of", "csv=p=0", url];
    let lines = tool("ffprobe", &args);
    let numbers = lines.lines().filter(|line| line.split(',').next().is_some_and(|pts| pts.parse::<i64>().is_ok()));
    numbers.count()
}

#[test]
fn a_recording_plays_to_its_end_in_dash_js_and_ffmpeg() {
    let house = House::with_workers(2);
    let stream = house.api.create("file", &small_ladder());
    assert_eq!(house.api.get(&url(&house, &stream)).error(404).code, "unknown_manifest");
    house.api.upload_all(&stream, &fs::read(clip("trailer.mp4")).expect("the clip can be read"));
    house.api.until(&stream, StreamState::Ended, s(90));

    let answer = house.api.get(&url(&house, &stream));
    assert_eq!(answer.header("content-type"), "application/dash+xml", "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), "*", "{answer:?}");
    let source = packets(text(&clip("trailer.mp4")), "v:0");
    for track in ["v:0", "v:1"] {
        assert_eq!(packets(&url(&house, &stream), track), source, "frames of {track}");
    }
    // The clip's sound is encoded anew, so it has another count than ours, which is that of HLS.
    let master = Master::fetch(&house.api, &stream.playback.hls).expect("a recording is there");
    let sound = packets(&master.audio.expect("the clip has sound"), "a:0");
    assert_eq!(packets(&url(&house, &stream), "a:0"), sound, "packets of sound");

    let browser = Browser::start(house.scratch());
    play(&house, &browser, &url(&house, &stream));
    until("dash.js to play", s(30), || (look(&browser)["at_s"].as_f64()? > 1.0).then_some(()));
    assert_eq!(look(&browser)["dynamic"], false);
    browser.run("player.seek(48);");
    until("the end of the recording", s(40), || (look(&browser)["over"] == true).then_some(()));
    let end = look(&browser);
    let end_s = end["at_s"].as_f64().expect("a time is a number");
    assert!((51.0..56.5).contains(&end_s), "it ended at {end_s} s: {end}");
    let found =
        format!("FFmpeg reads {source} frames of each rung and {sound} packets of sound; dash.js seeks, and ends");
    outputs::tell(&[("DASH manifest", RECORDED, found)]);
}

#[test]
fn a_live_push_plays_in_dash_js_through_a_reconnect_to_its_end() {
    // Nothing is pushed into the stream that expires beside this one for as long as that takes.
    let house = House::configured(1, "[ingest]\npush_idle_s = 600\n");
    let (expiring, expiring_live) = (Expiring::start(&house), ExpiringLive::start(&house));
    let stream = house.api.create("live", &small_ladder());
    let mut publisher = push(&house, &stream, &live_source(62));
    until_playable(&house, &stream, 4);
    let browser = Browser::start(house.scratch());
    play(&house, &browser, &url(&house, &stream));
    let first = until("dash.js to play", s(30), || {
        let now = look(&browser);
        (now["frames"].as_u64()? > 10 && now["paused"] == false).then_some(now)
    });
    let at_s = |look: &Value| look["at_s"].as_f64();
    let later = until("six more seconds to play", s(30), || {
        let now = look(&browser);
        (at_s(&now)? > at_s(&first)? + 6.0).then_some(now)
    });
    assert_eq!(later["dynamic"], true, "{later}");
    let ffmpeg = player::ffmpeg(&house, &url(&house, &stream), 6);
    assert!(player::ffmpeg_end(ffmpeg) >= 6 * 24 - 2);
    assert!(later["lag_s"].as_f64().is_some_and(|lag_s| (2.0..20.0).contains(&lag_s)), "{later}");

    // Lost, and back: a new period, later on the wall clock.
    publisher.kill();
    house.api.until(&stream, StreamState::Interrupted, s(60));
    let mut publisher = push(&house, &stream, &live_source(24));
    let periods = || house.api.get(&url(&house, &stream)).text().matches("<Period ").count();
    until("a second period", s(40), || (periods() == 2).then_some(()));
    let break_s = at_s(&look(&browser)).expect("a time is a number");
    until("the second push to play", s(60), || (at_s(&look(&browser))? > break_s + 6.0).then_some(()));
    assert!(publisher.wait(s(60)).success(), "{}", publisher.log());
    house.api.until(&stream, StreamState::Ended, s(60));
    let closing = house.api.get(&url(&house, &stream));
    assert!(closing.text().contains("mediaPresentationDuration"), "the end is told: {}", closing.text());
    until("the manifest to be static", s(30), || {
        house.api.get(&url(&house, &stream)).text().contains("type=\"static\"").then_some(())
    });
    until("the live stream to end", s(60), || (look(&browser)["over"] == true).then_some(()));
    let found =
        format!("dash.js plays through a reconnect, {} periods, to the end; FFmpeg decodes 6 s of it", periods());
    outputs::tell(&[("DASH manifest", LIVE, found)]);
    // What was both pushes is one recording of two periods; FFmpeg's demuxer plays one only, so it is not asked.
    browser.open("about:blank");
    play(&house, &browser, &url(&house, &stream).replace("manifest.mpd", "vod.mpd"));
    let whole = until("the recording to play", s(30), || {
        let now = look(&browser);
        (at_s(&now)? > 1.0).then_some(now)
    });
    assert_eq!(whole["dynamic"], false, "{whole}");
    browser.run("player.seek(player.duration() - 28);");
    until("the end of the recording", s(60), || (look(&browser)["over"] == true).then_some(()));
    expiring.finish(&house);
    expiring_live.finish(&house);
}
