//! Encrypted streams: who has a token plays them, who has none sees bytes that mean nothing.

use std::{path::Path, process::Command};

use millrace_proto::{
    Sha256,
    api::{Stream, StreamState, Token},
};
use serde_json::{Value, json};

use crate::{
    clip::{live_source, text, tool},
    house::House,
    in_page::{self, Wanted},
    live::until_playable,
    player,
    playlist::{Master, Media},
    program::Program,
    push::push,
    table::outputs::{self, LIVE, PLAYED, RECORDED},
    wait::{s, until},
    webdriver::Browser,
};

#[track_caller]
pub(crate) fn token(house: &House, stream: &Stream, ttl_s: u64) -> Token {
    let answer = house.api.call("POST", &format!("/v1/streams/{}/tokens", stream.id), Some(&json!({"ttl_s": ttl_s})));
    assert_eq!((answer.status, answer.header("cache-control")), (201, "no-store"), "{}", answer.text());
    answer.json()
}

fn encrypted_ladder() -> Value {
    ladder("aes-128")
}

fn ladder(encryption: &str) -> Value {
    json!({
        "encryption": encryption,
        "ladder": [{"name": "240p", "short_side_px": 240, "bitrate_bps_max": 400_000}],
    })
}

/// The key is for those with a token of this stream that is not over; refusals are in our form and kept by nobody. Returns
/// who is refused and how, in words.
#[track_caller]
fn assert_key_is_guarded(house: &House, stream: &Stream, right: &Token) -> String {
    let key = format!("/hls/{}/key", stream.id);
    let ask = |url: &str, headers: &[(&str, &str)]| house.api.send("GET", url, headers, None).unwrap();
    let other = house.api.create("live", &encrypted_ladder());
    let foreign = token(house, &other, 600).token;
    let longer = right.token.replacen(|digit: char| digit.is_ascii_digit(), "9", 1);
    let missing = ask(&key, &[]);
    assert_eq!(missing.error(401).code, "token_missing");
    for wrong in [&foreign, &longer, "nonsense", &right.token[..right.token.len() - 1]] {
        let answer = ask(&format!("{key}?token={wrong}"), &[("origin", "https://player.example")]);
        assert_eq!(answer.error(403).code, "token_wrong", "{wrong:?}");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert_eq!(ask(&key, &[("authorization", &format!("Bearer {wrong}"))]).error(403).code, "token_wrong");
        let playlist = format!("/hls/{}/index.m3u8?token={wrong}", stream.id);
        assert_eq!(ask(&playlist, &[]).error(403).code, "token_wrong", "{wrong:?}");
    }
    let short = token(house, stream, 1).token;
    let over = until("a token to expire", s(20), || {
        Some(ask(&format!("{key}?token={short}"), &[])).filter(|answer| answer.status == 403)
    });
    assert_eq!(over.error(403).code, "token_expired");
    let wrong = ask(&format!("{key}?token={foreign}"), &[]);
    let told = [("none", &missing), ("another stream's", &wrong), ("one that is over", &over)];
    let told = told.map(|(what, answer)| format!("{what}: {} `{}`", answer.status, answer.error(answer.status).code));
    let asked = ask(&format!("{key}?token={}", right.token), &[("origin", "https://player.example")]);
    assert_eq!((asked.status, asked.body.len(), asked.header("cache-control")), (200, 16, "no-store"));
    assert_eq!(asked.header("access-control-allow-origin"), "*");
    let bearer = format!("Bearer {}", right.token);
    assert_eq!(ask(&key, &[("authorization", &bearer)]).body, asked.body);
    assert_ne!(ask(&format!("/hls/{}/key?token={foreign}", other.id), &[]).body, asked.body, "each stream has its own");
    let wrong = house.api.call("POST", &format!("/v1/streams/{}/tokens", stream.id), Some(&json!({"ttl_s": 0})));
    assert_eq!(wrong.error(400).code, "bad_ttl");
    let open = house.api.create("live", &json!("mobile"));
    assert_eq!(ask(&format!("/hls/{}/key", open.id), &[]).error(404).code, "unknown_key");
    format!("the key comes with the right one; {}", told.join("; "))
}

/// What is served is what openssl makes of the stored segment, whole and in parts, and caches may keep it.
#[track_caller]
fn assert_segments_are_sealed(house: &House, list: &Media, key: &[u8]) {
    let (segment, init) = (&list.segments[0], list.segments[0].init_url.as_deref().expect("there is a header"));
    let whole = house.api.get(&segment.url);
    assert_eq!((whole.body.len() % 16, whole.header("cache-control")), (0, "public, max-age=31536000, immutable"));
    let (sealed, plain) = (house.scratch().join("sealed"), house.scratch().join("plain"));
    std::fs::write(&sealed, &whole.body).expect("a file can be written");
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let (hex_key, iv) = (hex(key), format!("{:032x}", segment.number));
    let (sealed, plain) = (sealed.to_str().unwrap(), plain.to_str().unwrap());
    tool("openssl", &["enc", "-d", "-aes-128-cbc", "-K", &hex_key, "-iv", &iv, "-in", sealed, "-out", plain]);
    let opened = std::fs::read(plain).expect("openssl wrote a file");
    assert_eq!(&opened[4..8], b"styp", "a CMAF segment");
    assert!(!whole.body.windows(4).any(|four| four == b"mdat"), "nothing of it is to be read");
    assert_eq!(&house.api.get(init).body[4..8], b"ftyp", "headers are plain");
    let length = whole.body.len();
    for (range, wanted) in [("bytes=0-0", 0..1), ("bytes=17-4000", 17..4_001), ("bytes=-5", length - 5..length)] {
        let part = house.api.send("GET", &segment.url, &[("range", range)], None).unwrap();
        assert!(part.status == 206 && part.body == whole.body[wanted], "{range}: {}", part.status);
    }
    // The plain bytes have a name of their own, which is told nowhere.
    let etag = whole.header("etag");
    let by_hash = init.replace(init.rsplit_once("init-").unwrap().1, &format!("{}.mp4", etag.trim_matches('"')));
    house.api.get(&by_hash).error(404);
    assert_eq!(house.api.send("GET", &segment.url, &[("if-none-match", etag)], None).unwrap().status, 304);
}

#[test]
fn who_has_a_token_plays_an_encrypted_stream_and_nobody_else() {
    let house = House::with_workers(1);
    let stream = house.api.create("live", &encrypted_ladder());
    let mut publisher = push(&house, &stream, &live_source(24));
    let master = until_playable(&house, &stream, 2);
    let right = token(&house, &stream, 600);
    assert!(right.hls.contains(&right.token) && right.vod.is_none(), "{right:?}");

    // Live: ffmpeg with the token, and without.
    let ffmpeg = player::ffmpeg(&house, &right.hls, 6);
    let mut refused = Command::new("ffmpeg");
    refused.args(["-v", "error", "-nostdin", "-i", &stream.playback.hls, "-t", "1", "-f", "null", "-"]);
    let mut refused = Program::start("refused", &mut refused, house.log_path("refused"));
    let playlist = house.api.get(&right.hls);
    assert_eq!(playlist.header("cache-control"), "private, max-age=1", "it holds a token");
    outputs::tell(&[("playback token", LIVE, assert_key_is_guarded(&house, &stream, &right))]);
    assert!(player::ffmpeg_end(ffmpeg) >= 6 * 24 - 2);
    assert!(!refused.wait(s(60)).success() || refused.log().contains("401"), "{}", refused.log());

    let key = house.api.get(&format!("/hls/{}/key?token={}", stream.id, right.token)).body;
    for url in master.all() {
        let list = Media::fetch(&house.api, url).expect("the playlist is there");
        assert!(list.text.contains("#EXT-X-KEY:METHOD=AES-128,URI=\"../key\""), "{}", list.text);
        assert_segments_are_sealed(&house, &list, &key);
    }
    let dash = house.api.get(&format!("/dash/{}/manifest.mpd", stream.id)).error(404).code;
    assert_eq!(dash, "unknown_manifest");
    let opened = format!("openssl opens every playlist's segments with the key; DASH: 404 `{dash}`");

    // Recorded: hls.js to the end, and the page says why it does not play without a token.
    assert!(publisher.wait(s(60)).success(), "{}", publisher.log());
    house.api.until(&stream, StreamState::Ended, s(60));
    let vod = token(&house, &stream, 600).vod.expect("an ended stream has a recording");
    let carried = Master::fetch(&house.api, &vod).expect("the recording is there");
    assert!(carried.all().all(|url| url.contains("?token=")), "{carried:?}");
    let plain = ["240p.mp4", "source.mp4", "poster.jpg", "thumbnails.vtt", "240p/iframes.m3u8"];
    for file in plain {
        house.api.get(&format!("/hls/{}/{file}?token={}", stream.id, right.token)).error(404);
    }
    let ended = house.api.stream(&stream.id).playback;
    assert_eq!((ended.dash, ended.mp4.len(), ended.poster, ended.thumbnails), (None, 0, None, None));
    let clip =
        house.api.call("POST", &format!("/v1/streams/{}/clips", stream.id), Some(&json!({"start": 0, "end": 2})));
    assert_eq!(clip.error(409).code, "encrypted");
    let all = tool("ffprobe", &["-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets", &vod]);
    assert!(all.contains("nb_read_packets=576"), "24 s of 24 frames: {all}");
    let recorded = format!("with the token ffprobe reads 576 frames; none of {} plain files is there", plain.len());
    outputs::tell(&[("aes-128", LIVE, opened), ("aes-128", RECORDED, recorded)]);
    let browser = Browser::start(house.scratch());
    let page = format!("http://{}/?stream={}", house.http, stream.id);
    browser.open(&page);
    until("the page to say that a token is needed", s(30), || {
        let notice = browser.run("return document.getElementById('notice').innerText;");
        notice.as_str().is_some_and(|text| text.contains("encrypted")).then_some(())
    });
    browser.open(&format!("{page}&token={}", right.token));
    until("the page to play", s(30), || {
        let now = browser.run("const v = document.querySelector('video'); return [v.currentTime, document.documentElement.dataset.fatal];");
        assert_eq!(now[1], "0", "{now}");
        (now[0].as_f64()? > 2.0).then_some(())
    });
    // Nothing of it is in the log.
    let log = std::fs::read_to_string(house.log_path("orchestrator")).expect("there is a log");
    assert!(!log.contains(&right.token), "a token was logged");
}

/// What a segment's `tfdt` and `trun` say of its samples' times and sizes; where the samples are is left out. Its other
/// boxes are not looked at: our reader refuses those that tell of encryption.
fn told(segment: &[u8]) -> Option<[Vec<u8>; 2]> {
    let inside = |name: &[u8; 4]| {
        let at = segment.windows(4).position(|four| four == name)?;
        let size = u32::from_be_bytes(segment.get(at.checked_sub(4)?..at)?.try_into().ok()?) as usize;
        segment.get(at + 4..at - 4 + size)
    };
    let (times, sizes) = (inside(b"tfdt")?, inside(b"trun")?);
    Some([times.to_vec(), [sizes.get(..8)?, sizes.get(12..)?].concat()])
}

/// The plain segment in `media` whose samples have the times and sizes of this one, which differ from all others'.
#[track_caller]
fn stored(media: &Path, served: &[u8]) -> Vec<u8> {
    let wanted = told(served).expect("a segment was served");
    let files = std::fs::read_dir(media).expect("media can be read").map(|file| file.unwrap().path());
    let mut files = files.map(|file| std::fs::read(file).expect("media can be read"));
    files.find(|bytes| told(bytes).as_ref() == Some(&wanted)).expect("the segment is stored")
}

/// What is said of a player that was tried and shows not even half of a stream.
const UNPLAYED: &str = "does not play";

/// What GStreamer and VLC make of an encrypted recording. It is not promised that they play it.
struct Others {
    gstreamer: Program,
    /// Not of `aes-128`, which VLC 3.0 plays at one time and not at the next.
    vlc: Option<player::Vlc>,
}

impl Others {
    fn start(house: &House, encryption: &str, url: &str) -> Self {
        let vlc = (encryption == "cbcs").then(|| player::Vlc::start(house, url));
        Self { gstreamer: player::gstreamer(house, "gstreamer", url), vlc }
    }

    #[track_caller]
    fn end(self) -> Vec<(&'static str, String)> {
        let how = |plays: bool| if plays { PLAYED } else { UNPLAYED }.to_owned();
        let frames = player::gstreamer_came_to(self.gstreamer);
        let shown = self.vlc.map(|vlc| vlc.frames());
        println!("GStreamer showed {frames:?} frames, VLC {shown:?}");
        let vlc = shown.map(|shown| ("VLC", how(shown >= 23 * 24)));
        vlc.into_iter().chain([("GStreamer", how(frames.is_some_and(|frames| frames >= 23 * 24)))]).collect()
    }
}

/// What players in the browser and ffmpeg make of a live stream, and then of its recording, both encrypted so.
#[track_caller]
fn assert_players_play(encryption: &str, wanted: fn(&Token) -> Vec<Wanted>) -> (House, Stream, in_page::Players) {
    let house = House::with_workers(1);
    let stream = house.api.create("live", &ladder(encryption));
    let mut publisher = push(&house, &stream, &live_source(24));
    until_playable(&house, &stream, 2);
    let live = token(&house, &stream, 600);
    let (mut page, ffmpeg) = (in_page::start(&house, &wanted(&live)), player::ffmpeg(&house, &live.hls, 48));
    assert!(publisher.wait(s(60)).success(), "{}", publisher.log());
    // Who comes in late misses what was before.
    let told = |of: &str, seen: Vec<in_page::Seen>, least: u64, more: &[(&str, String)]| {
        for one in &seen {
            println!("| {encryption} | {of} | {}, to {:.1} s | {} frames |", one.name, one.at_s, one.frames);
            assert!(one.frames >= least, "{one:?}");
        }
        for (format, more) in [("HLS", more), ("DASH", &[])] {
            let seen = seen.iter().filter(|one| one.name.ends_with(format));
            let played = seen.map(|one| (one.player(), PLAYED.to_owned())).chain(more.iter().cloned());
            let played: Vec<_> = played.collect();
            if !played.is_empty() {
                outputs::tell_played(&format!("{encryption} by {format}"), of, &played);
            }
        }
    };
    let live = page.end();
    assert!(player::ffmpeg_end(ffmpeg) >= 12 * 24);
    told(LIVE, live, 12 * 24, &[("ffmpeg", PLAYED.into())]);
    house.api.until(&stream, StreamState::Ended, s(60));
    let recorded = token(&house, &stream, 600);
    page.play(&wanted(&recorded));
    let vod = recorded.vod.expect("there is a recording");
    let others = Others::start(&house, encryption, &vod);
    assert_eq!(player::ffmpeg_end(player::ffmpeg(&house, &vod, 48)), 24 * 24);
    let seen = page.end();
    let mut more = vec![("ffmpeg", PLAYED.into())];
    more.extend(others.end());
    if encryption == "cbcs" {
        page.play(&[("hls.js", "HLS", &vod)]);
        println!("hls.js: {}", page.complaint());
        more.push(("hls.js", UNPLAYED.into()));
    }
    told(RECORDED, seen, 23 * 24, &more);
    (house, stream, page)
}

#[test]
fn aes_128_plays_to_the_end_in_hls_js_shaka_player_and_ffmpeg() {
    assert_players_play("aes-128", |token| {
        let hls = token.vod.as_ref().unwrap_or(&token.hls);
        vec![("hls.js", "HLS", hls), ("Shaka Player", "HLS", hls)]
    });
}

#[test]
fn cbcs_plays_to_the_end_in_shaka_player_dash_js_and_ffmpeg_and_is_what_was_there() {
    let (house, stream, mut page) = assert_players_play("cbcs", |token| {
        let hls = token.vod.as_ref().unwrap_or(&token.hls).as_str();
        let dash = token.dash.as_deref().expect("DASH has cbcs");
        vec![("Shaka Player", "HLS", hls), ("dash.js", "DASH", dash), ("Shaka Player", "DASH", dash)]
    });
    let right = token(&house, &stream, 600);
    let ask = |method, url: &str| house.api.send(method, url, &[("origin", "https://player.example")], None).unwrap();
    let license = format!("/dash/{}/license", stream.id);
    assert_eq!(ask("POST", &license).error(401).code, "token_missing");
    let answer = ask("POST", &format!("{license}?token={}", right.token));
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.json::<Value>()["keys"][0]["kty"], "oct");
    let key = house.api.get(&format!("/hls/{}/key?token={}", stream.id, right.token)).body;
    let hex = key.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));

    // Without a token no key comes, and no picture.
    let playback = house.api.stream(&stream.id).playback;
    let dash = playback.dash.expect("DASH has cbcs");
    page.play(&[("Shaka Player", "DASH", &dash)]);
    println!("without a token: {}", page.complaint());
    let playlist = house.api.get(&playback.hls).text();
    assert!(!playlist.contains("token"), "{playlist}");

    // The bytes of each segment, decrypted by ffmpeg, are to the frame what is stored in plain.
    let media = house.data().join("media").join(stream.id.as_str());
    let digests = |key: &[&str], header: &[u8], segment: &[u8]| {
        let file = house.scratch().join("segment.mp4");
        std::fs::write(&file, [header, segment].concat()).expect("a file can be written");
        let args = [&["-v", "error"], key, &["-i", text(&file), "-f", "framemd5", "-"]].concat();
        tool("ffmpeg", &args)
    };
    let mut count = 0;
    for url in Master::fetch(&house.api, &right.vod.expect("there is a recording")).expect("it is there").all() {
        let list = Media::fetch(&house.api, url).expect("the playlist is there");
        let init = list.segments[0].init_url.as_deref().expect("there is a header");
        let hash =
            init.rsplit_once("init-").and_then(|(_, name)| name.strip_suffix(".mp4")).expect("headers are so named");
        let (header, plain_header) = (house.api.get(init).body, std::fs::read(media.join(hash)).expect("it is stored"));
        let mut segments = Vec::new();
        for one in &list.segments {
            let served = house.api.get(&one.url).body;
            let plain = stored(&media, &served);
            let open = digests(&["-decryption_key", &hex], &header, &served);
            assert!(open.lines().count() > 20 && served != plain, "{open}");
            assert_eq!(open, digests(&[], &plain_header, &plain), "{one:?}");
            segments.push(plain);
            count += 1;
        }
        // Parts and conditions are those of what is served.
        let (segment, whole) = (&list.segments[3].url, house.api.get(&list.segments[3].url));
        let part = house.api.send("GET", segment, &[("range", "bytes=100-5000")], None).unwrap();
        assert!(part.status == 206 && part.body == whole.body[100..5_001]);
        assert_eq!(whole.body, house.api.get(segment).body, "always the same");
        let etag = whole.header("etag");
        assert_eq!(house.api.send("GET", segment, &[("if-none-match", etag)], None).unwrap().status, 304);
        // Under its hash a segment is no header, encrypted or not.
        let hash = Sha256::of(&segments[3]);
        let by_hash = init.replace(init.rsplit_once("init-").unwrap().1, &format!("{hash}.mp4"));
        house.api.get(&by_hash).error(404);
    }
    let found =
        format!("ffmpeg makes of each of {count} segments what is stored, to the frame; parts are parts of that");
    outputs::tell(&[("cbcs", RECORDED, found)]);
    let refused = json!({"encryption": "cbcs", "ladder": [
        {"name": "av1", "short_side_px": 240, "codec": "av1", "bitrate_bps_max": 400_000}]});
    let ask = json!({"name": "a test", "source": "live", "profile": refused});
    let refused = house.api.call("POST", "/v1/streams", Some(&ask)).error(400);
    assert!(refused.message.contains("cbcs encrypts H.264 alone"), "{refused:?}");
}
