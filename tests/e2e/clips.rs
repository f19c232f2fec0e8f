//! Clips as apps make them, of recordings and of streams that live, looked at frame by frame; and what is sought back to.

use std::{fs, path::Path};

use millrace_proto::api::{Clip, ClipState, Stream, StreamState};
use serde_json::{Value, json};

use crate::{
    browser::LOOK,
    clip::{clip, field, live_source, made, text, times, tool},
    house::House,
    live::{small_ladder, until_playable},
    playlist::Media,
    push::push,
    table::outputs::{self, LIVE, RECORDED},
    wait::{s, until},
    webdriver::Browser,
};

#[track_caller]
fn ask(house: &House, stream: &Stream, wish: &Value) -> Clip {
    let answer = house.api.call("POST", &format!("/v1/streams/{}/clips", stream.id), Some(wish));
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()
}

/// Waits for a clip and fetches its file.
#[track_caller]
fn fetched(house: &House, clip: &Clip, to: &Path) -> Clip {
    let path = format!("/v1/streams/{}/clips/{}", clip.stream, clip.id);
    let clip = until("the clip to be ready", s(30), || {
        let now: Clip = house.api.call("GET", &path, None).json();
        assert_ne!(now.state, ClipState::Failed, "{now:?}");
        (now.state == ClipState::Ready).then_some(now)
    });
    let answer = house.api.get(clip.url.as_deref().expect("a clip that is ready has an address"));
    assert_eq!((answer.status, Some(answer.body.len() as u64)), (200, clip.bytes));
    fs::write(to, &answer.body).expect("a file can be written");
    clip
}

/// The MD5 sums of all pictures that ffmpeg shows of a file.
#[track_caller]
fn pictures(file: &str) -> Vec<String> {
    let args = ["-v", "error", "-nostdin", "-i", file, "-map", "0:v", "-vsync", "0", "-f", "framemd5", "-"];
    let sums = tool("ffmpeg", &args);
    sums.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit(',').next().unwrap().to_owned()).collect()
}

#[test]
fn a_clip_of_a_recording_is_exact_to_the_frame_and_survives_a_kill() {
    let mut house = House::with_workers(1);
    let source = made("assets.mp4", &["-i", text(&clip("trailer.mp4"))], "-t 22 -c copy");
    let profile = json!({"passthrough": true, "ladder": small_ladder()["ladder"]});
    let stream = house.api.create("file", &profile);
    house.api.upload_all(&stream, &fs::read(&source).expect("the clip can be read"));
    let stream = house.api.until(&stream, StreamState::Ended, s(90));
    let at = |name: &str| house.scratch().join(name);

    // Between key frames at both ends, of the source itself: its pictures are known, one by one.
    let whole = house.api.get(&stream.playback.mp4["source"]).body;
    fs::write(at("whole.mp4"), whole).expect("a file can be written");
    let all = pictures(text(&at("whole.mp4")));
    let start_s = field(text(&at("whole.mp4")), "v:0", "start_time").parse::<f64>().expect("a time");
    let first_s = times(&stream.playback.hls.replace("index.m3u8", "source/index.m3u8"), "v:0").start_s() - 1.0;
    println!("the source's pictures start at {first_s} s, the file's at {start_s} s");
    let wish = json!({"start": first_s + 100.0 / 24.0, "end": first_s + 300.0 / 24.0, "rendition": "source"});
    let cut = ask(&house, &stream, &wish);
    assert_eq!(cut.state, ClipState::Pending);
    // Whatever it had done by now, it is done all the same.
    house.kill_orchestrator();
    house.start_orchestrator();
    let at = |name: &str| house.scratch().join(name);
    let cut = fetched(&house, &cut, &at("clip.mp4"));
    let shown = pictures(text(&at("clip.mp4")));
    assert_eq!(shown.len(), 200, "pictures of 200 / 24 s");
    assert!(shown == all[100..300], "the pictures are others");
    assert!((cut.end_s - cut.start_s - 200.0 / 24.0).abs() < 0.001, "{cut:?}");
    let duration_s: f64 = field(text(&at("clip.mp4")), "a:0", "duration").parse().expect("a time");
    assert!((duration_s - 200.0 / 24.0).abs() < 0.03, "{duration_s} s of sound");
    // A browser takes it for as long as it is, and shows its pictures from the first one on.
    let browser = Browser::start(house.scratch());
    browser.open(cut.url.as_deref().expect("an address"));
    let played = until("the browser to play the clip", s(30), || {
        let now = browser.run(
            "const v = document.querySelector('video'); if (!v) return {};
             return {duration: v.duration, ended: v.ended, error: v.error && v.error.message,
                     frames: v.getVideoPlaybackQuality().totalVideoFrames};",
        );
        assert!(now["error"].is_null(), "{now}");
        (now["ended"] == true).then_some(now)
    });
    assert!((played["duration"].as_f64().expect("a time") - 200.0 / 24.0).abs() < 0.05, "{played}");
    println!("Chromium: {played}");
    let found = format!("{} pictures, the very ones from between two keyframes; Chromium plays them", shown.len());
    outputs::tell(&[("clip", RECORDED, found)]);

    // What can't be had is refused in words.
    let refused = |wish: Value| house.api.call("POST", &format!("/v1/streams/{}/clips", stream.id), Some(&wish));
    assert_eq!(refused(json!({"start": 20, "end": 99})).error(409).code, "not_yet");
    assert_eq!(refused(json!({"start": 5, "end": 5.05})).error(400).code, "bad_length");
    assert_eq!(refused(json!({"start": "noon", "end": 5})).error(400).code, "bad_place");
    assert_eq!(refused(json!({"start": "2026-11-22T18:00:00Z", "end": 5})).error(400).code, "no_clock");
    assert_eq!(refused(json!({"start": 1, "end": 5, "rendition": "9p"})).error(404).code, "unknown_rendition");
    let path = format!("/v1/streams/{}/clips", stream.id);
    let listed: Value = house.api.call("GET", &path, None).json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(house.api.call("DELETE", &format!("{path}/{}", cut.id), None).status, 204);
    assert_eq!(house.api.get(cut.url.as_deref().expect("an address")).error(404).code, "unknown_clip");
}

#[test]
fn a_live_stream_is_sought_back_and_cut_while_it_lives() {
    let house = House::with_workers(1);
    let mut profile = small_ladder();
    profile["window_s"] = json!(30);
    let stream = house.api.create("live", &profile);
    let mut publisher = push(&house, &stream, &live_source(62));
    let master = until_playable(&house, &stream, 10);

    // A poster of now.
    let poster = house.api.get(&format!("/hls/{}/poster.jpg", stream.id));
    assert_eq!((poster.status, poster.header("content-type")), (200, "image/jpeg"), "{}", poster.text());
    assert!(poster.header("cache-control").contains("max-age=10"), "{poster:?}");

    // Four seconds by the clock, from between two key frames on.
    let list = Media::fetch(&house.api, &master.rungs[0].url).expect("it is playable");
    let (Some(at_ms), date) = (list.segments[2].at_ms, |text: &str| text.to_owned()) else { panic!("{}", list.text) };
    let told = list.text.lines().filter_map(|line| line.strip_prefix("#EXT-X-PROGRAM-DATE-TIME:")).nth(2);
    let start = date(told.expect("a live playlist tells dates"));
    let start_s = list.segments[..2].iter().map(|segment| segment.duration_s).sum::<f64>();
    println!("cutting from {start} ({at_ms}), {start_s} s");
    let cut = ask(&house, &stream, &json!({"start": start, "end": start_s + 5.0}));
    let cut = fetched(&house, &cut, &house.scratch().join("clip.mp4"));
    assert_eq!(cut.rendition, "360p");
    assert!((cut.start_s - start_s).abs() < 0.002, "{cut:?}");
    let shown = pictures(text(&house.scratch().join("clip.mp4"))).len();
    assert_eq!(shown, 5 * 24);
    let refused =
        |name: &str| format!("404 `{}`", house.api.get(&format!("/hls/{}/{name}", stream.id)).error(404).code);
    assert_eq!(refused("360p.mp4"), "404 `unknown_movie`");
    let named = house.api.get(&stream.playback.hls).text().matches("I-FRAME").count();
    outputs::tell(&[
        ("I-frame playlists", LIVE, format!("{named} are named; {}", refused("360p/iframes.m3u8"))),
        ("MP4 of a rung", LIVE, refused("360p.mp4")),
        ("poster", LIVE, format!("a picture of now, `{}`", poster.header("cache-control"))),
        ("sprites and WebVTT", LIVE, refused("thumbnails.vtt")),
        ("clip", LIVE, format!("{shown} pictures of 5 s, by the clock of the playlist")),
    ]);

    // The page's player goes back as far as the window reaches, and plays there.
    let browser = Browser::start(house.scratch());
    browser.open(&format!("http://{}/?stream={}", house.http, stream.id));
    until("the page to play", s(30), || (browser.run(LOOK)["at_s"].as_f64()? > 0.5).then_some(()));
    let reach = "const v = document.querySelector('video'); return v.seekable.length
                 ? [v.seekable.start(0), v.seekable.end(v.seekable.length - 1), v.currentTime] : null;";
    until("the window to be full", s(40), || {
        let now = browser.run(reach);
        (now[1].as_f64()? - now[0].as_f64()? > 26.0).then_some(())
    });
    browser.run("const v = document.querySelector('video'); v.currentTime = v.seekable.start(0) + 6;");
    let behind = until("the past to play", s(20), || {
        let now = browser.run(reach);
        let (end_s, at_s) = (now[1].as_f64()?, now[2].as_f64()?);
        (browser
            .run("return document.querySelector('video').readyState > 2 && !document.querySelector('video').seeking")
            == true)
            .then_some(end_s - at_s)
    });
    assert!((15.0..32.0).contains(&behind), "it plays {behind} s behind the edge");
    let manifest = house.api.get(&format!("/dash/{}/manifest.mpd", stream.id)).text();
    assert!(manifest.contains("timeShiftBufferDepth=\"PT30S\""), "{manifest}");
    outputs::tell(&[(
        "seeking back",
        LIVE,
        "hls.js plays what was over 15 s ago; the DASH manifest tells PT30S".into(),
    )]);
    publisher.kill();
}
