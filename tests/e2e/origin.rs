//! What an HLS origin owes players and caches: types, ranges, conditions, CORS, lifetimes.

use millrace_proto::api::StreamState;

use crate::{
    clip::live_source,
    house::House,
    live::{small_ladder, until_playable},
    playlist::{Master, Media},
    push::push,
    wait::s,
};

#[test]
fn playlists_and_segments_are_served_as_players_and_caches_want_them() {
    let house = House::with_workers(1);
    let stream = house.api.create("live", &small_ladder());
    let mut publisher = push(&house, &stream, &live_source(24));
    let master = until_playable(&house, &stream, 2);
    let send = |method: &str, url: &str, headers: &[(&str, &str)]| house.api.send(method, url, headers, None).unwrap();

    // Live playlists: the right type, kept for no longer than a segment, open to every page.
    for url in master.all().chain([stream.playback.hls.as_str()]) {
        let answer = send("GET", url, &[("origin", "https://player.example")]);
        assert!(matches!(answer.header("content-type"), "application/vnd.apple.mpegurl"), "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{answer:?}");
        let cache = answer.header("cache-control");
        assert!(cache.contains("no-cache") || max_age_s(cache).is_some_and(|age_s| age_s <= 2), "{url}: {cache}");
        assert!(!answer.header("etag").is_empty(), "{answer:?}");
        let again = send("GET", url, &[("accept-encoding", "gzip")]);
        assert_eq!(again.header("content-encoding"), "gzip", "{url}: {again:?}");
        assert_eq!(again.body[..2], [0x1f, 0x8b], "{url}");
    }

    let list = Media::fetch(&house.api, &master.rungs[0].url).unwrap();
    assert!(list.segments.iter().any(|segment| segment.at_ms.is_some()), "{}", list.text);
    let url = list.segments[0].url.as_str();
    let whole = send("GET", url, &[("origin", "https://player.example")]);
    assert_eq!(whole.status, 200);
    let length = whole.body.len();
    for url in [url, list.segments[0].init_url.as_deref().unwrap()] {
        let answer = send("GET", url, &[]);
        assert_eq!(answer.header("content-type"), "video/mp4", "{answer:?}");
        assert!(answer.header("cache-control").contains("immutable"), "{answer:?}");
        assert!(max_age_s(answer.header("cache-control")).is_some_and(|age_s| age_s >= 3600), "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{answer:?}");
    }
    let audio = Media::fetch(&house.api, master.audio.as_deref().unwrap()).unwrap();
    assert_eq!(send("GET", &audio.segments[0].url, &[]).header("content-type"), "audio/mp4");

    // HEAD tells the same without the bytes.
    let head = send("HEAD", url, &[]);
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, &*length.to_string(), 0));
    // Ranges.
    assert_eq!(whole.header("accept-ranges"), "bytes");
    for (range, wanted) in [("bytes=0-99", 0..100), ("bytes=100-", 100..length), ("bytes=-50", length - 50..length)] {
        let part = send("GET", url, &[("range", range)]);
        assert_eq!(part.status, 206, "{range}: {part:?}");
        assert_eq!(part.body, whole.body[wanted.clone()], "{range}");
        let told = format!("bytes {}-{}/{length}", wanted.start, wanted.end - 1);
        assert_eq!(part.header("content-range"), told, "{range}");
    }
    let beyond = send("GET", url, &[("range", &format!("bytes={}-", length + 1))]);
    assert_eq!((beyond.status, beyond.header("content-range")), (416, &*format!("bytes */{length}")));
    // Conditions.
    let etag = whole.header("etag").to_owned();
    let same = send("GET", url, &[("if-none-match", &etag)]);
    assert_eq!((same.status, same.body.len(), same.header("etag")), (304, 0, &*etag));
    let other = send("GET", url, &[("if-none-match", "\"other\"")]);
    assert_eq!((other.status, other.body.len()), (200, length));
    // A page of another host asks first.
    let asked = [
        ("origin", "https://player.example"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "range"),
    ];
    let preflight = send("OPTIONS", url, &asked);
    assert!(preflight.status / 100 == 2, "{preflight:?}");
    assert_eq!(preflight.header("access-control-allow-origin"), "*", "{preflight:?}");
    assert!(
        ["*", "range"].iter().any(|one| preflight.header("access-control-allow-headers").contains(one)),
        "{preflight:?}"
    );

    // A recording never changes, so it may be kept.
    assert!(publisher.wait(s(60)).success(), "{}", publisher.log());
    let ended = house.api.until(&stream, StreamState::Ended, s(60));
    let vod = ended.playback.vod.expect("a recording");
    let master = Master::fetch(&house.api, &vod).unwrap();
    for url in master.all() {
        let list = Media::fetch(&house.api, url).unwrap();
        assert!(list.vod && list.ended, "{}", list.text);
        // FACTS: EXTINF sums are within a frame of the timeline.
        assert!((list.length_s() - 24.0).abs() < 1.0 / 24.0 + 0.03, "{url}: {} s", list.length_s());
    }
    // The live address of an ended stream says that it has ended.
    for url in Master::fetch(&house.api, &stream.playback.hls).unwrap().all() {
        let list = Media::fetch(&house.api, url).unwrap();
        assert!(list.ended, "{url}:\n{}", list.text);
    }
}

/// The lifetime that a `Cache-Control` header gives.
fn max_age_s(cache_control: &str) -> Option<u64> {
    cache_control.split(',').find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok())
}

#[test]
fn the_programs_tell_how_they_are() {
    let house = House::with_workers(1);
    assert_eq!(house.api.get("/healthz").status, 200);
    assert_eq!(house.api.get("/readyz").status, 200);
    let metrics = house.api.get("/metrics");
    assert_eq!(metrics.status, 200);
    assert!(metrics.header("content-type").starts_with("text/plain"), "{metrics:?}");
    assert!(metrics.text().lines().any(|line| line.starts_with("# TYPE millrace_")), "{}", metrics.text());
    let page = house.api.get("/");
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html") && page.text().contains("Millrace"), "{page:?}");
    for file in ["page.js", "style.css", "hls.min.js"] {
        assert_eq!(house.api.get(&format!("/{file}")).status, 200, "{file}");
    }
    let list: serde_json::Value = house.api.get("/v1/playback").json();
    assert_eq!(list, serde_json::json!({"items": [], "workers_online": 1}));
}
