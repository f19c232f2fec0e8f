//! Everything that can be asked wrongly, and the answer that helps.

use std::fs;

use serde_json::json;

use crate::{
    api::Answer,
    clip::{live_source, made, text},
    house::House,
    live::{small_ladder, until_playable},
    push::{address, push, push_to},
    table::REFUSALS,
    wait::s,
};

#[test]
fn every_wrong_request_is_answered_with_code_message_and_hint() {
    let house = House::with_workers(0);
    let api = &house.api;
    let key = fs_key(&house);
    let mut told = Vec::new();
    let mut row = |what: &str, answer: &Answer| {
        let error = answer.error(answer.status);
        told.push(vec![what.to_owned(), answer.status.to_string(), format!("`{}`", error.code)]);
    };
    let bearer = format!("Bearer {key}");
    let good = [("authorization", bearer.as_str()), ("content-type", "application/json")];

    // No key, and a wrong one.
    for headers in [&[][..], &[("authorization", "Bearer wrong")], &[("authorization", "nonsense")]] {
        for path in ["/v1/streams", "/v1/workers"] {
            let answer = api.send("GET", path, headers, None).unwrap();
            assert_eq!(answer.error(401).code, "unauthorized", "{path} {headers:?}");
            if headers.is_empty() && path == "/v1/streams" {
                row("no key, or a wrong one", &answer);
            }
        }
    }
    // What is not there.
    for (method, path) in
        [("GET", "/v1/streams/nothing"), ("DELETE", "/v1/streams/nothing"), ("GET", "/v1/nothing"), ("POST", "/v1/")]
    {
        api.send(method, path, &good, None).unwrap().error(404);
    }
    row("a stream that is not there", &api.call("GET", "/v1/streams/nothing", None));
    row("an address that is none", &api.call("GET", "/v1/nothing", None));
    assert_eq!(api.call("GET", "/v1/streams/nothing", None).error(404).code, "unknown_stream");
    assert_eq!(api.get("/hls/nothing/index.m3u8").error(404).code, "unknown_stream");
    let patch = api.send("PATCH", "/v1/streams", &good, None).unwrap();
    patch.error(405);
    row("another method", &patch);
    // Names that would leave their folder.
    for path in ["/hls/..%2f..%2fadmin.key", "/hls/%2e%2e/admin.key", "/..%2fadmin.key", "/hls/a/..%2f..%2fadmin.key"] {
        let answer = api.get(path);
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.status);
        assert!(!answer.text().contains(&key), "{path} gives the key away");
    }
    // Bodies that are no stream.
    for body in [
        "",
        "{",
        "[]",
        "{\"name\": 1}",
        "{\"name\":\"a\",\"source\":\"satellite\"}",
        "{\"name\":\"a\",\"source\":\"live\",\"extra\":1}",
    ] {
        let answer = api.send("POST", "/v1/streams", &good, Some(body.as_bytes())).unwrap();
        assert!(matches!(answer.status, 400 | 415 | 422), "{body}: {}", answer.status);
        answer.error(answer.status);
    }
    let too_large = format!("{{\"name\": \"{}\"", "x".repeat(4 << 20));
    let answer = api.send("POST", "/v1/streams", &good, Some(too_large.as_bytes()));
    // The server may hang up on what it does not want to read.
    if let Ok(answer) = answer {
        answer.error(413);
    }
    let unmarked = api.send("POST", "/v1/streams", &good[..1], Some(b"name=a")).unwrap();
    assert_eq!(unmarked.error(400).code, "not_json");
    row("a body that is not marked as JSON", &unmarked);
    row("a source that there is not", &api.call("POST", "/v1/streams", Some(&json!({"name": "a", "source": "dish"}))));
    // Profiles that can't be.
    let bad = [
        json!("best"),
        json!({"ladder": []}),
        json!({"segment_ms": 1, "ladder": [{"name": "a", "short_side_px": 240, "bitrate_bps_max": 400_000}]}),
        json!({"ladder": [{"name": "../a", "short_side_px": 240, "bitrate_bps_max": 400_000}]}),
        json!({"ladder": [{"name": "a", "short_side_px": 240, "bitrate_bps_max": 400_000, "codec": "mpeg2"}]}),
        json!({"preset": "mobile", "moderation": {"flag": 2}}),
        json!({"preset": "mobile", "moderation": {"words": ["rude"]}}),
    ];
    for profile in bad {
        let ask = json!({"name": "a", "source": "live", "profile": profile});
        let answer = api.call("POST", "/v1/streams", Some(&ask));
        assert!(matches!(answer.status, 400 | 422), "{profile}: {}", answer.status);
        let error = answer.error(answer.status);
        row(&format!("the profile `{profile}`"), &answer);
        if profile == "best" {
            assert!(format!("{error:?}").contains("standard"), "the error names what would do: {error:?}");
        }
    }
    for name in [String::new(), "x".repeat(201)] {
        let answer = api.call("POST", "/v1/streams", Some(&json!({"name": name, "source": "live"})));
        answer.error(answer.status.clamp(400, 422));
        row(&format!("a name of {} letters", name.len()), &answer);
    }
    for url in ["http://169.254.169.254/latest", "http://127.0.0.1/", "file:///etc/passwd"] {
        let ask = json!({"name": "a", "source": "url", "url": url});
        row(&format!("the URL `{url}`"), &api.call("POST", "/v1/streams", Some(&ask)));
    }
    // Uploads in the wrong place.
    let live = api.create("live", &json!("standard"));
    let answer = api.upload(&live, b"abc", 0, 3);
    answer.error(409);
    row("a file for a live stream", &answer);
    let file = api.create("file", &json!("standard"));
    for range in ["bytes", "bytes 5-1/3", "bytes 0-9/3", "lines 0-2/3", "bytes 0-2/*"] {
        let headers = [("authorization", bearer.as_str()), ("content-range", range)];
        let answer = api.send("PUT", &format!("/v1/streams/{}/source", file.id), &headers, Some(b"abc")).unwrap();
        assert!(matches!(answer.status, 400 | 416), "{range}: {}", answer.status);
        row(&format!("three bytes as `{range}`"), &answer);
    }
    let far = [("authorization", bearer.as_str()), ("content-range", "bytes 3-5/9")];
    let answer = api.send("PUT", &format!("/v1/streams/{}/source", file.id), &far, Some(b"abc")).unwrap();
    row("a part behind what is there", &answer);
    let answer = api.send("PUT", &format!("/v1/streams/{}/source", file.id), &far[..1], Some(b"")).unwrap();
    row("a file without a byte", &answer);
    let answer = api.send("PUT", &format!("/v1/streams/{}/segments/0", file.id), &far[..1], Some(b"abc")).unwrap();
    row("a segment for a file", &answer);
    let answer = api.send("PUT", "/live/nothing/0.ts", &[], Some(b"abc")).unwrap();
    row("a segment with a wrong stream key", &answer);
    // A worker that has not signed anything.
    let answer = api.send("POST", "/v1/worker/poll", &good, Some(b"{}")).unwrap();
    assert!(matches!(answer.status, 400 | 401 | 422), "{}", answer.status);
    row("a worker that has not signed", &answer);
    // A deleted stream is gone.
    assert_eq!(api.call("DELETE", &format!("/v1/streams/{}", file.id), None).status / 100, 2);
    assert_eq!(api.call("GET", &format!("/v1/streams/{}", file.id), None).error(404).code, "unknown_stream");
    REFUSALS.tell("Requests", &["what is asked", "status", "code"], &told);
}

#[test]
fn events_and_pages_are_for_who_asks_rightly() {
    let house = House::with_workers(0);
    let row = |what: &str, answer: &Answer| {
        let error = answer.error(answer.status);
        vec![what.to_owned(), answer.status.to_string(), format!("`{}`", error.code)]
    };
    let mut rows = vec![row("events without a key", &house.api.get("/v1/events"))];
    let wrong = [
        "events?after=x",
        "events?after=-1",
        "events?after=1&after=2",
        "events?limit=0",
        "events?limit=1001",
        "events?kind=stream.ended",
        "events?stream=../x",
        "streams?after=../x",
        "streams?after=a&after=b",
        "catalogs/shop/products?after=a&after=b",
    ];
    rows.extend(wrong.map(|what| row(&format!("`{what}`"), &house.api.call("GET", &format!("/v1/{what}"), None))));
    // Whose stream is gone may still be told of it.
    assert_eq!(house.api.call("GET", "/v1/events?stream=nothing", None).status, 200);
    REFUSALS.tell("Events and pages", &["what is asked", "status", "code"], &rows);
}

#[test]
fn files_that_are_none_fail_and_say_why() {
    let house = House::with_workers(0);
    let whole = fs::read(made("whole.mp4", &["-i", text(&live_source(10))], "-c copy")).expect("it was just made");
    let mpeg4 = made("mpeg4.mp4", &["-f", "lavfi", "-i", "testsrc2=s=64x64:d=1"], "-c:v mpeg4");
    let files: [(&str, Vec<u8>, &str); 4] = [
        ("an MP4 without its second half, where the index is", whole[..whole.len() / 2].into(), "video file"),
        ("a text", b"This is no video at all, whatever its name says.\n".repeat(100), "video file"),
        ("bytes by chance", (0..40_000_u32).map(|at| ((at * at) >> 7) as u8).collect(), "video file"),
        ("video in MPEG-4 part 2", fs::read(mpeg4).expect("it was just made"), "mpeg4"),
    ];
    let streams = files.map(|(what, bytes, why)| {
        let stream = house.api.create("file", &small_ladder());
        house.api.upload_all(&stream, &bytes);
        (stream, what, why)
    });
    REFUSALS.tell_failures("Files", &house, &streams);
}

#[test]
fn a_wrong_stream_key_and_a_second_publisher_are_turned_away() {
    let house = House::with_workers(1);
    let source = live_source(24);
    let stream = house.api.create("live", &small_ladder());
    let right = address(&stream);
    let server = stream.ingest.as_ref().unwrap().url.clone();
    for wrong in [format!("{server}/wrong"), format!("{right}x"), right[..right.len() - 1].to_owned()] {
        let mut publisher = push_to(&house, "wrong", &wrong, &["-re", "-i", text(&source), "-c", "copy"]);
        assert!(!publisher.wait(s(15)).success(), "{wrong} was let in");
    }
    let mut publisher = push(&house, &stream, &source);
    until_playable(&house, &stream, 1);
    let mut second = push_to(&house, "second", &right, &["-re", "-i", text(&source), "-c", "copy"]);
    assert!(!second.wait(s(15)).success(), "a second publisher was let in");
    // The first one did not notice.
    assert!(publisher.wait(s(60)).success(), "{}", publisher.log());
    let recorded = crate::live::recording(&house, &stream);
    crate::live::assert_every_frame(&recorded, &source);
    // An ended stream takes no more.
    let mut late = push_to(&house, "late", &right, &["-re", "-i", text(&source), "-c", "copy"]);
    assert!(!late.wait(s(15)).success(), "a publisher was let into an ended stream");
}

fn fs_key(house: &House) -> String {
    std::fs::read_to_string(house.data().join("admin.key")).expect("the key is there").trim().to_owned()
}

#[test]
fn the_key_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let house = House::with_workers(0);
    let mode = std::fs::metadata(house.data().join("admin.key")).expect("the key is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
