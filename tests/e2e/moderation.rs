//! Moderation that holds back: what is flagged is a gap for players until someone decides, and the stream goes on.

use std::path::PathBuf;

use millrace_proto::{
    api::{HeldSegment, HoldState, Page, Stream, StreamState},
    timeline::{Level, Timeline},
};
use serde_json::{Value, json};

use crate::{
    api::Answer,
    clip::{clip, made, text, tool},
    house::House,
    push::push,
    table::REFUSALS,
    wait::{s, until},
};

/// Twenty seconds of the trailer. To `open_nsfw` the first eight are harmless (0.07 at most); of what comes then, warm
/// colours and bare skin of animals, some is 0.53.
fn doubtful() -> PathBuf {
    let args = "-t 20 -vf scale=640:360 -c:v libx264 -preset veryfast -g 48 -keyint_min 48 -sc_threshold 0 -c:a aac";
    made("doubtful.mp4", &["-ss", "14", "-i", text(&clip("trailer.mp4"))], args)
}

/// By numbers: whether each segment of a media playlist is a gap.
fn gaps(list: &str) -> Vec<(u64, bool)> {
    let (mut all, mut gap) = (Vec::new(), false);
    for line in list.lines() {
        gap |= line == "#EXT-X-GAP";
        if let Some(number) = line.strip_suffix(".m4s") {
            all.push((number.parse().expect("a number"), std::mem::take(&mut gap)));
        }
    }
    all
}

fn held(house: &House, stream: &Stream) -> Vec<HeldSegment> {
    let page: Page<HeldSegment> = house.api.call("GET", &format!("/v1/streams/{}/moderation", stream.id), None).json();
    page.items
}

fn playlist(house: &House, stream: &Stream, name: &str) -> String {
    house.api.get(&format!("/hls/{}/240p/{name}", stream.id)).text()
}

/// What can't be decided, and what can't be asked, beside what was `decided` before.
#[track_caller]
fn tell_refusals(house: &House, stream: &Stream, decided: [(&str, Answer); 2]) {
    let list = format!("/v1/streams/{}/moderation", stream.id);
    let call = |method: &str, path: &str, body: Option<Value>| house.api.call(method, path, body.as_ref());
    let approve = |body: Value| call("POST", &format!("{list}/approve"), Some(body));
    let open = house.api.create("file", &json!("mobile"));
    let of = |id: &str, what: &str| format!("/v1/streams/{id}/moderation{what}");
    let word = json!({"number": 0, "track": "words"});
    let rows: Vec<(&str, Answer)> = vec![
        ("what is held of a stream that is not there", call("GET", &of("nothing", ""), None)),
        ("what is held behind `x`", call("GET", &format!("{list}?after=x"), None)),
        ("what is held, without a key", house.api.get(&list)),
        ("a decision without a key", house.api.send("POST", &format!("{list}/reject"), &[], None).expect("it answers")),
        (
            "a decision about a stream that is not there",
            call("POST", &of("nothing", "/reject"), Some(json!({"number": 0}))),
        ),
        (
            "a decision where nothing is ever held",
            call("POST", &of(open.id.as_str(), "/reject"), Some(json!({"number": 0}))),
        ),
        ("a decision about nothing", approve(json!({}))),
        ("a decision from a time on, without an end", approve(json!({"from_ms": 5}))),
        ("a decision about a time that ends before it begins", approve(json!({"from_ms": 5, "to_ms": 4}))),
        ("a decision about an entry and a time", approve(json!({"number": 0, "from_ms": 0, "to_ms": 1}))),
        ("a decision about an entry that is not there", approve(json!({"number": 99}))),
        ("a decision about an entry of another track", approve(word)),
        ("a decision with something else", approve(json!({"number": 0, "why": "art"}))),
        ("a decision about what is not held", approve(json!({"from_ms": 0, "to_ms": 1_000}))),
        ("another decision", call("POST", &format!("{list}/burn"), Some(json!({"number": 0})))),
    ];
    let row = |(what, answer): (&str, Answer)| {
        let error = answer.error(answer.status);
        vec![what.to_owned(), answer.status.to_string(), format!("`{}`", error.code)]
    };
    let told: Vec<_> = rows.into_iter().chain(decided).map(row).collect();
    REFUSALS.tell("Moderation", &["what is asked", "status", "code"], &told);
}

#[test]
fn what_is_flagged_is_a_gap_until_someone_decides() {
    let source = doubtful();
    let mut house = House::with_workers(0);
    house.add_hearing_worker(&["open-nsfw"]);
    house.until_online(1);
    let ladder = json!([{"name": "240p", "short_side_px": 240, "bitrate_bps_max": 400_000, "preset": "ultrafast"}]);
    let moderation = json!({"action": "hold", "review": 0.2, "flag": 0.3});
    let stream = house.api.create("live", &json!({"ladder": ladder, "moderation": moderation}));
    let _publisher = push(&house, &stream, &source);

    // While it lives: some are shown, some are not, and it goes on behind them.
    let (live, seen, first) = until("the stream to go on behind what is held", s(60), || {
        let live = playlist(&house, &stream, "index.m3u8");
        let seen = gaps(&live);
        let first = seen.iter().position(|(_, gap)| *gap)?;
        seen[first..].iter().any(|(_, gap)| !gap).then_some((live, seen, first))
    });
    // And players are told of what was flagged, with dates of the clock.
    assert!(!live.contains("#EXT-X-ENDLIST"), "{live}");
    let ranges: Vec<&str> = live.lines().filter(|line| line.starts_with("#EXT-X-DATERANGE:")).collect();
    assert!(!ranges.is_empty(), "{live}");
    for range in ranges {
        assert!(range.contains("CLASS=\"com.millrace.moderation\"") && range.contains("START-DATE=\"20"), "{range}");
    }
    assert!(first >= 3, "nothing of the first eight seconds is doubtful: {seen:?}");
    let number = seen[first].0;
    let media = format!("/hls/{}/240p/{number}.m4s", stream.id);
    house.api.get(&media).error(404);
    // Who decides may look at it.
    assert_eq!(house.api.call("GET", &media, None).status, 200);

    let ended = house.api.until(&stream, StreamState::Ended, s(60));
    let all = held(&house, &stream);
    let gone: Vec<u64> =
        gaps(&playlist(&house, &stream, "vod.m3u8")).into_iter().filter(|g| g.1).map(|g| g.0).collect();
    assert_eq!(all.iter().map(|one| one.seq).collect::<Vec<_>>(), gone, "{all:?}");
    assert!((2..ended.progress.segments as usize - 3).contains(&gone.len()), "{all:?}");
    assert!(all.iter().all(|one| one.state == HoldState::Held && one.reason.contains("pornography")), "{all:?}");
    let line: Timeline =
        house.api.call("GET", &format!("/v1/streams/{}/timeline?kind=moderation", stream.id), None).json();
    let flags: Vec<_> = line.items.iter().filter(|entry| entry.level == Some(Level::Flag)).collect();
    let covered = |one: &HeldSegment| flags.iter().any(|of| of.start_ms < one.end_ms && of.end_ms > one.start_ms);
    assert!(!flags.is_empty() && all.iter().all(covered), "{flags:?} {all:?}");

    // One is approved, the next rejected; nothing else changes, and each may be said again.
    let decide = |what: &str, one: &HeldSegment| {
        let body = json!({"from_ms": one.start_ms, "to_ms": one.start_ms + 1});
        house.api.call("POST", &format!("/v1/streams/{}/moderation/{what}", stream.id), Some(&body))
    };
    for _ in 0..2 {
        assert_eq!(decide("approve", &all[0]).json::<Page<HeldSegment>>().items[0].state, HoldState::Approved);
        assert_eq!(decide("reject", &all[1]).json::<Page<HeldSegment>>().items[0].state, HoldState::Rejected);
    }
    let decided = [
        ("rejecting what was approved", decide("reject", &all[0])),
        ("approving what was rejected", decide("approve", &all[1])),
    ];
    tell_refusals(&house, &stream, decided);

    let vod = playlist(&house, &stream, "vod.m3u8");
    let now: Vec<u64> = gaps(&vod).into_iter().filter(|gap| gap.1).map(|gap| gap.0).collect();
    assert_eq!(now, gone[1..], "{vod}");
    assert_eq!(house.api.get(&format!("/hls/{}/240p/{}.m4s", stream.id, gone[0])).status, 200);
    house.api.get(&format!("/hls/{}/240p/{}.m4s", stream.id, gone[1])).error(404);
    // A player takes what is left, to the frame: 48 of each segment that is shown.
    let count = "-v error -count_frames -select_streams v:0 -show_entries stream=nb_read_frames -of csv=p=0";
    let mut args: Vec<&str> = count.split(' ').collect();
    let url = format!("http://{}/hls/{}/240p/vod.m3u8", house.http, stream.id);
    args.push(&url);
    // It complains of what it does not get as well.
    let told = tool("ffprobe", &args);
    let frames = told.lines().find_map(|line| line.trim_end_matches(',').parse::<u64>().ok());
    let frames = frames.unwrap_or_else(|| panic!("ffprobe counts nothing: {told}"));
    let shown = ended.progress.segments - now.len() as u64;
    assert!(frames.abs_diff(shown * 48) <= 48, "{frames} frames of {shown} segments");

    let events = house.api.call("GET", &format!("/v1/events?stream={}&limit=100", stream.id), None);
    let events: Value = events.json();
    let kinds: Vec<&str> =
        events["items"].as_array().expect("a list").iter().filter_map(|e| e["kind"].as_str()).collect();
    for kind in ["moderation.flagged", "moderation.held", "moderation.approved", "moderation.rejected", "stream.ended"]
    {
        assert!(kinds.contains(&kind), "{kind} is not in {kinds:?}");
    }
    assert_eq!(kinds.iter().filter(|kind| **kind == "moderation.approved").count(), 1, "{kinds:?}");
}

#[test]
fn what_nobody_can_look_at_is_not_shown() {
    let source = doubtful();
    let house = House::with_workers(1);
    let ladder = json!([{"name": "240p", "short_side_px": 240, "bitrate_bps_max": 400_000, "preset": "ultrafast"}]);
    let profile = json!({"ladder": ladder, "moderation": {"action": "hold"}});
    let stream = house.api.create("file", &profile);
    house.api.upload_all(&stream, &std::fs::read(&source).expect("the clip can be read"));
    until("the lack of a model to be told", s(30), || {
        house.api.stream(&stream.id).moderation_stuck.filter(|why| why.contains("a model for moderation"))
    });
    house.api.get(&stream.playback.hls).error(404);
    assert_eq!(house.api.stream(&stream.id).progress.segments_settled, 0);
}
