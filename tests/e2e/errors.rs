//! Everything that can be asked wrongly, and the answer that helps.

use serde_json::json;

use crate::{
    clip::live_source,
    clip::text,
    house::House,
    live::{small_ladder, until_playable},
    push::{address, push, push_to},
    wait::s,
};

#[test]
fn every_wrong_request_is_answered_with_code_message_and_hint() {
    let house = House::with_workers(0);
    let api = &house.api;
    let key = fs_key(&house);
    let bearer = format!("Bearer {key}");
    let good = [("authorization", bearer.as_str()), ("content-type", "application/json")];

    // No key, and a wrong one.
    for headers in [&[][..], &[("authorization", "Bearer wrong")], &[("authorization", "nonsense")]] {
        for path in ["/v1/streams", "/v1/workers"] {
            let answer = api.send("GET", path, headers, None).unwrap();
            assert_eq!(answer.error(401).code, "unauthorized", "{path} {headers:?}");
        }
    }
    // What is not there.
    for (method, path) in
        [("GET", "/v1/streams/nothing"), ("DELETE", "/v1/streams/nothing"), ("GET", "/v1/nothing"), ("POST", "/v1/")]
    {
        api.send(method, path, &good, None).unwrap().error(404);
    }
    assert_eq!(api.call("GET", "/v1/streams/nothing", None).error(404).code, "unknown_stream");
    assert_eq!(api.get("/hls/nothing/index.m3u8").error(404).code, "unknown_stream");
    api.send("PATCH", "/v1/streams", &good, None).unwrap().error(405);
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
    // Profiles that can't be.
    let bad = [
        json!("best"),
        json!({"ladder": []}),
        json!({"segment_ms": 1, "ladder": [{"name": "a", "short_side_px": 240, "bitrate_bps_max": 400_000}]}),
        json!({"ladder": [{"name": "../a", "short_side_px": 240, "bitrate_bps_max": 400_000}]}),
        json!({"ladder": [{"name": "a", "short_side_px": 240, "bitrate_bps_max": 400_000, "codec": "mpeg2"}]}),
    ];
    for profile in bad {
        let ask = json!({"name": "a", "source": "live", "profile": profile});
        let answer = api.call("POST", "/v1/streams", Some(&ask));
        assert!(matches!(answer.status, 400 | 422), "{profile}: {}", answer.status);
        let error = answer.error(answer.status);
        if profile == "best" {
            assert!(format!("{error:?}").contains("standard"), "the error names what would do: {error:?}");
        }
    }
    for name in [String::new(), "x".repeat(201)] {
        let answer = api.call("POST", "/v1/streams", Some(&json!({"name": name, "source": "live"})));
        answer.error(answer.status.clamp(400, 422));
    }
    // Uploads in the wrong place.
    let live = api.create("live", &json!("standard"));
    let answer = api.upload(&live, b"abc", 0, 3);
    answer.error(409);
    let file = api.create("file", &json!("standard"));
    for range in ["bytes", "bytes 5-1/3", "bytes 0-9/3", "lines 0-2/3", "bytes 0-2/*"] {
        let headers = [("authorization", bearer.as_str()), ("content-range", range)];
        let answer = api.send("PUT", &format!("/v1/streams/{}/source", file.id), &headers, Some(b"abc")).unwrap();
        assert!(matches!(answer.status, 400 | 416), "{range}: {}", answer.status);
        answer.error(answer.status);
    }
    // A worker that has not signed anything.
    let answer = api.send("POST", "/v1/worker/poll", &good, Some(b"{}")).unwrap();
    assert!(matches!(answer.status, 400 | 401 | 422), "{}", answer.status);
    answer.error(answer.status);
    // A deleted stream is gone.
    assert_eq!(api.call("DELETE", &format!("/v1/streams/{}", file.id), None).status / 100, 2);
    assert_eq!(api.call("GET", &format!("/v1/streams/{}", file.id), None).error(404).code, "unknown_stream");
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
