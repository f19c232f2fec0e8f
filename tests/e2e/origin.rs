//! What an HTTP origin owes players and the caches before it: types, ranges, conditions, CORS, lifetimes. A table of
//! everything that is served, and what of it holds for each.

use std::collections::BTreeMap;

use millrace_proto::api::StreamState;

use crate::{
    api::{Answer, Api},
    clip::live_source,
    house::House,
    live::{small_ladder, until_playable},
    playlist::{Master, Media, resolve},
    push::push,
    table::outputs::{LIVE as OF_LIVE, OUTPUTS, RECORDED, SERVED},
    wait::{s, until},
};

const FOREVER: &str = "public, max-age=31536000, immutable";
const LIVE: &str = "public, max-age=1";
const ENDED: &str = "public, max-age=300";
const HLS: &str = "application/vnd.apple.mpegurl";
const DASH: &str = "application/dash+xml";

/// How something is served.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// Playlists: compressed, whole, with a weak validator, for players of any site.
    Text,
    /// Media: never compressed, in ranges, with a strong validator, for players of any site.
    Bytes,
    /// For players of any site, new each time.
    Fresh,
    /// For who asked.
    Own,
}

/// Asks as a player on another site does, with one more header.
fn ask(api: &Api, method: &str, url: &str, header: (&str, &str)) -> Answer {
    let headers = [("origin", "https://player.example"), header];
    api.send(method, url, &headers, None).unwrap_or_else(|error| panic!("{method} {url}: {error}"))
}

const NOTHING: (&str, &str) = ("x-nothing", "");

#[track_caller]
fn assert_served(api: &Api, url: &str, kind: &str, cache: &str, way: Way) {
    let plain = ask(api, "GET", url, NOTHING);
    assert_eq!(plain.status, 200, "{url}: {}", plain.text());
    assert_eq!((plain.header("content-type"), plain.header("cache-control")), (kind, cache), "{url}");
    assert_eq!(plain.header("x-content-type-options"), "nosniff", "{url}");
    assert_head(api, url, &plain, way);
    assert_open(api, url, &plain, way);
    match way {
        Way::Text => assert_text(api, url),
        Way::Bytes => assert_bytes(api, url, &plain),
        Way::Fresh | Way::Own => {}
    }
    if matches!(way, Way::Text | Way::Bytes) {
        assert_conditions(api, url, way);
    }
}

/// What the answers for one address say of all that [`assert_served`] looks at, as a row.
fn row(api: &Api, what: &str, of: &str, url: &str) -> Vec<String> {
    // A live playlist may change between two questions; then both are asked again.
    let (plain, same) = loop {
        let plain = ask(api, "GET", url, NOTHING);
        let same = ask(api, "GET", url, ("if-none-match", plain.header("etag")));
        if same.header("etag") == plain.header("etag") {
            break (plain, same.status);
        }
    };
    let yes = |holds: bool| if holds { "yes" } else { "no" }.to_owned();
    let weak = plain.header("etag").starts_with("W/");
    vec![
        what.to_owned(),
        of.to_owned(),
        plain.header("content-type").to_owned(),
        plain.header("cache-control").to_owned(),
        yes(ask(api, "GET", url, ("accept-encoding", "gzip")).header("content-encoding") == "gzip"),
        yes(ask(api, "GET", url, ("range", "bytes=0-9")).status == 206),
        format!("{}, then {same}", if weak { "weak" } else { "strong" }),
        ask(api, "HEAD", url, NOTHING).status.to_string(),
        format!("`{}`", plain.header("access-control-allow-origin")),
    ]
}

/// HEAD tells the same without the bytes, and of players' files knows no ranges.
#[track_caller]
fn assert_head(api: &Api, url: &str, plain: &Answer, way: Way) {
    let range = if matches!(way, Way::Text | Way::Bytes) { ("range", "bytes=0-1") } else { NOTHING };
    let head = ask(api, "HEAD", url, range);
    assert_eq!((head.status, head.body.len()), (200, 0), "{url}: {head:?}");
    for name in ["content-type", "cache-control", "accept-ranges"] {
        assert_eq!(head.header(name), plain.header(name), "{name} of {url}");
    }
    if way == Way::Bytes {
        assert_eq!(head.header("content-length"), plain.body.len().to_string(), "{url}");
        assert_eq!(head.header("etag"), plain.header("etag"), "{url}");
    }
}

/// Whether pages of other sites may read it, and that a CDN needs one copy for all of them.
#[track_caller]
fn assert_open(api: &Api, url: &str, plain: &Answer, way: Way) {
    if way == Way::Own {
        assert_eq!(plain.header("access-control-allow-origin"), "", "{url}");
        return;
    }
    assert_eq!(plain.header("access-control-allow-origin"), "*", "{url}");
    let told = plain.header("access-control-expose-headers");
    for name in ["content-length", "content-range", "etag", "date"] {
        assert!(told.contains(name), "{url} does not show {name}: {told}");
    }
    let vary = if way == Way::Text { "accept-encoding" } else { "" };
    assert_eq!(plain.header("vary"), vary, "{url}");
    let asked = [
        ("origin", "https://player.example"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "range,if-range,if-none-match,authorization"),
    ];
    let preflight = api.send("OPTIONS", url, &asked, None).unwrap();
    assert_eq!(preflight.status, 200, "{preflight:?}");
    assert_eq!(preflight.header("access-control-allow-origin"), "*", "{preflight:?}");
    for name in ["range", "if-range", "authorization"] {
        assert!(preflight.header("access-control-allow-headers").contains(name), "{name}: {preflight:?}");
    }
    assert!(preflight.header("access-control-max-age").parse::<u32>().is_ok_and(|age_s| age_s > 600), "{preflight:?}");
}

/// Compressed if the asker can read it; asked for a range it comes whole.
#[track_caller]
fn assert_text(api: &Api, url: &str) {
    let packed = ask(api, "GET", url, ("accept-encoding", "gzip"));
    assert_eq!((packed.header("content-encoding"), packed.header("vary")), ("gzip", "accept-encoding"), "{url}");
    assert_eq!(packed.body[..2], [0x1f, 0x8b], "{url}");
    assert_eq!(ask(api, "GET", url, ("accept-encoding", "identity")).header("content-encoding"), "", "{url}");
    assert_eq!(ask(api, "GET", url, ("range", "bytes=0-9")).status, 200, "{url}");
}

#[track_caller]
fn assert_bytes(api: &Api, url: &str, whole: &Answer) {
    let length = whole.body.len();
    assert_eq!(whole.header("accept-ranges"), "bytes", "{url}");
    let packed = ask(api, "GET", url, ("accept-encoding", "gzip"));
    assert_eq!((packed.header("content-encoding"), packed.body.len()), ("", length), "{url}");
    let (middle, tail) = (length / 2, length - 50);
    let ranges = [
        ("bytes=0-99".to_owned(), 0..100),
        (format!("bytes={middle}-"), middle..length),
        (format!("bytes={middle}-{}", u64::MAX), middle..length),
        ("bytes=-50".to_owned(), tail..length),
    ];
    for (range, wanted) in ranges {
        let part = ask(api, "GET", url, ("range", &range));
        assert_eq!(part.status, 206, "{range} of {url}: {}", part.text());
        assert!(part.body == whole.body[wanted.clone()], "{range} of {url} brings other bytes");
        let told = format!("bytes {}-{}/{length}", wanted.start, wanted.end - 1);
        assert_eq!(part.header("content-range"), told, "{range} of {url}");
        assert_eq!(part.header("cache-control"), FOREVER, "{range} of {url}");
    }
    for range in [format!("bytes={length}-"), "bytes=-0".to_owned()] {
        let beyond = ask(api, "GET", url, ("range", &range));
        assert_eq!(beyond.error(416).code, "beyond_end", "{range} of {url}");
        assert_eq!(beyond.header("content-range"), format!("bytes */{length}"), "{range} of {url}");
    }
    // Several ranges at once, and what is none, bring the whole.
    for range in ["bytes=0-1,5-6", "bytes=9-2", "pages=1-2"] {
        let all = ask(api, "GET", url, ("range", range));
        assert_eq!((all.status, all.body.len()), (200, length), "{range} of {url}");
    }
    // A part is only of use beside other parts of the same.
    for (had, status) in [(whole.header("etag"), 206), ("\"another\"", 200), ("Sun, 22 Nov 2026 16:00:00 GMT", 200)] {
        let headers = [("range", "bytes=0-9"), ("if-range", had)];
        assert_eq!(api.send("GET", url, &headers, None).unwrap().status, status, "{had} of {url}");
    }
}

#[track_caller]
fn assert_conditions(api: &Api, url: &str, way: Way) {
    // A live playlist may change between two questions; then both are asked again.
    let (first, same) = loop {
        let first = ask(api, "GET", url, NOTHING);
        let same = ask(api, "GET", url, ("if-none-match", first.header("etag")));
        if way == Way::Bytes || same.header("etag") == first.header("etag") {
            break (first, same);
        }
    };
    let etag = first.header("etag");
    // A weak one, where the bytes may come compressed.
    assert_eq!(etag.starts_with("W/\""), way == Way::Text, "{etag} of {url}");
    assert_eq!((same.status, same.body.len()), (304, 0), "{url}: {same:?}");
    for name in ["etag", "cache-control", "vary"] {
        assert_eq!(same.header(name), first.header(name), "{name} of {url}");
    }
    assert_eq!(same.header("access-control-allow-origin"), "*", "{url}");
    let list = format!("\"another\", {}", etag.trim_start_matches("W/"));
    if way == Way::Bytes {
        assert_eq!(ask(api, "GET", url, ("if-none-match", &list)).status, 304, "{list} of {url}");
    }
    assert_eq!(ask(api, "GET", url, ("if-none-match", "\"another\"")).status, 200, "{url}");
}

/// Refusals are in our form, and a CDN keeps none of them: what is not there now may be there in a second.
#[track_caller]
fn assert_refused(api: &Api, method: &str, url: &str, status: u16) {
    let answer = ask(api, method, url, NOTHING);
    answer.error(status);
    assert_eq!(answer.header("cache-control"), "no-store", "{url}");
    assert_eq!(answer.header("content-type"), "application/json", "{url}");
    if url.starts_with("/hls/") || url.starts_with("/dash/") {
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{url}");
    }
}

#[test]
fn everything_is_served_as_players_and_caches_want_it() {
    let house = House::with_workers(1);
    let api = &house.api;
    let stream = api.create("live", &small_ladder());
    let (id, hls) = (&stream.id, resolve(&format!("{}/", api.base), &stream.playback.hls));
    assert_refused(api, "GET", &format!("/hls/{id}/index.m3u8"), 404);
    let mut publisher = push(&house, &stream, &live_source(24));
    let master = until_playable(&house, &stream, 2);
    let rung = &master.rungs[0].url;
    let list = Media::fetch(api, rung).unwrap();
    assert!(list.segments.iter().any(|segment| segment.at_ms.is_some()), "{}", list.text);
    let audio = master.audio.as_deref().unwrap();
    let sound = Media::fetch(api, audio).unwrap();
    let (manifest, piece) = (format!("/dash/{id}/manifest.mpd"), &list.segments[0]);

    assert_served(api, &hls, HLS, LIVE, Way::Text);
    assert_served(api, rung, HLS, LIVE, Way::Text);
    assert_served(api, audio, HLS, LIVE, Way::Text);
    assert_served(api, &manifest, DASH, LIVE, Way::Text);
    assert_served(api, piece.init_url.as_deref().unwrap(), "video/mp4", FOREVER, Way::Bytes);
    assert_served(api, &piece.url, "video/mp4", FOREVER, Way::Bytes);
    assert_served(api, sound.segments[0].init_url.as_deref().unwrap(), "audio/mp4", FOREVER, Way::Bytes);
    assert_served(api, &sound.segments[0].url, "audio/mp4", FOREVER, Way::Bytes);
    let header = |list: &Media| list.segments[0].init_url.clone().unwrap();
    let mut rows = vec![
        row(api, "header", OF_LIVE, &header(&list)),
        row(api, "segment", OF_LIVE, &piece.url),
        row(api, "header of sound", OF_LIVE, &header(&sound)),
        row(api, "segment of sound", OF_LIVE, &sound.segments[0].url),
    ];
    let mut playlists = |of, multivariant: &str, media: &str| {
        rows.push(row(api, "multivariant playlist", of, multivariant));
        rows.push(row(api, "media playlist", of, media));
        rows.push(row(api, "DASH manifest", of, &manifest));
    };
    playlists(OF_LIVE, &hls, rung);
    assert_served(api, "/dash/now", "text/plain", "no-store", Way::Fresh);
    assert_served(api, "/v1/playback", "application/json", "no-store", Way::Own);
    assert_served(api, "/", "text/html", "no-cache", Way::Own);
    assert_served(api, "/page.js", "text/javascript", "no-cache", Way::Own);
    assert_refused(api, "GET", &format!("/hls/{id}/360p/{}.m4s", list.sequence + 1_000), 404);
    assert_refused(api, "GET", &format!("/hls/{id}/vod.m3u8"), 404);
    assert_refused(api, "GET", &format!("/hls/{id}/999p/index.m3u8"), 404);
    assert_refused(api, "GET", "/hls/nothing/index.m3u8", 404);
    assert_refused(api, "GET", "/dash/nothing/manifest.mpd", 404);
    assert_refused(api, "GET", "/nothing", 404);
    assert_refused(api, "PUT", &hls.replace(&api.base, ""), 405);
    let named = api.call("GET", &format!("/v1/streams/{id}"), None);
    assert_eq!(named.header("cache-control"), "no-store", "it holds addresses as they were asked for");

    // A recording changes no more, so it may be kept longer.
    assert!(publisher.wait(s(60)).success(), "{}", publisher.log());
    let ended = api.until(&stream, StreamState::Ended, s(60));
    let vod = ended.playback.vod.expect("a recording");
    let master = Master::fetch(api, &vod).unwrap();
    for url in master.all().chain([vod.as_str(), hls.as_str()]) {
        assert_served(api, url, HLS, ENDED, Way::Text);
    }
    // Of a live stream's manifest players hear the length first, for two readings of it, and then that it stays.
    until("the manifest to stay as it is", s(20), || {
        api.get(&manifest).text().contains("type=\"static\"").then_some(())
    });
    for manifest in [&manifest, &format!("/dash/{id}/vod.mpd")] {
        assert_served(api, manifest, DASH, ENDED, Way::Text);
    }
    playlists(RECORDED, &vod, &master.rungs[0].url);
    OUTPUTS.tell_rows(&SERVED, &rows);
    let lengths_s: BTreeMap<_, _> =
        master.all().map(|url| (url.to_owned(), Media::fetch(api, url).unwrap().length_s())).collect();
    // FACTS: EXTINF sums are within a frame of the timeline.
    assert!(lengths_s.values().all(|length_s| (length_s - 24.0).abs() < 1.0 / 24.0 + 0.03), "{lengths_s:?}");
    // The live address of an ended stream says that it has ended.
    for url in Master::fetch(api, &hls).unwrap().all() {
        let list = Media::fetch(api, url).unwrap();
        assert!(list.ended, "{url}:\n{}", list.text);
    }
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
