//! Captions: real speech comes in, and its words show in players and stand in files.

mod by_dash;
mod encrypted;
mod hls_js;
mod killed;
mod nobody;
mod translated;

use std::{fs, path::PathBuf};

use millrace_proto::{
    api::{Stream, StreamState, Transcript},
    timeline::{Entry, Timeline},
};
use serde_json::{Value, json};

use crate::{
    clip::{live_source, made, text},
    dash::packets,
    house::House,
    live::until_playable,
    push::push,
    table::outputs::{LIVE, RECORDED},
    wait::{s, until},
    webdriver::Browser,
};

/// Of the Debian package `pocketsphinx-testdata`.
const SPEECH: &str = "/usr/share/pocketsphinx/test/data/librivox";
/// Understands English alone, and is the quickest that there is.
const MODEL: &str = "whisper-tiny.en";

/// Segments that are there when players of DASH are opened: they stay five behind.
const LATER_SEGMENTS: usize = 5;

/// A clip with 24 seconds of a book that is read aloud, and what is said in it.
fn reading() -> (PathBuf, Vec<String>) {
    let list = fs::read_to_string(format!("{SPEECH}/transcription"));
    let list = list.expect("install the Debian package pocketsphinx-testdata");
    let mut all: Vec<(String, Vec<String>)> = list
        .lines()
        .filter_map(|line| {
            let (words, name) = line.trim().strip_suffix(')')?.rsplit_once('(')?;
            Some((format!("{SPEECH}/{name}.wav"), plain(&words.replace("<s>", " ").replace("</s>", " "))))
        })
        .collect();
    all.sort();
    let pictures = live_source(24);
    let mut input = vec!["-i", text(&pictures)];
    for (file, _) in &all {
        input.extend(["-i", file]);
    }
    let parts: Vec<String> = (1..=all.len()).map(|at| format!("[{at}:a]")).collect();
    let args = format!(
        "-filter_complex {}concat=n={}:v=0:a=1[a] -map 0:v -map [a] -c:v copy -c:a aac -b:a 96k -ar 48000 -t 24",
        parts.concat(),
        all.len()
    );
    (made("reading.mp4", &input, &args), all.into_iter().flat_map(|(_, words)| words).collect())
}

/// Words as they are compared: without signs, as they are spoken.
fn plain(words: &str) -> Vec<String> {
    let spoken = words.to_lowercase().replace(|letter: char| !letter.is_alphanumeric(), " ");
    spoken.split_whitespace().map(|word| if word == "mr" { "mister".into() } else { word.to_owned() }).collect()
}

/// Words that are wrong, missing or too many.
fn errors(said: &[String], heard: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (at, word) in said.iter().enumerate() {
        let mut corner = row[0];
        row[0] = at + 1;
        for (place, other) in heard.iter().enumerate() {
            let changed = corner + usize::from(word != other);
            corner = row[place + 1];
            row[place + 1] = changed.min(corner + 1).min(row[place] + 1);
        }
    }
    row[heard.len()]
}

fn asks(captions: &Value) -> Value {
    let ladder = json!([{"name": "240p", "short_side_px": 240, "bitrate_bps_max": 400_000, "preset": "ultrafast"}]);
    json!({"ladder": ladder, "captions": captions})
}

fn transcript(house: &House, stream: &Stream) -> Transcript {
    let answer = house.api.get(&stream.playback.captions["json"]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Waits until all that was said is written down.
fn complete(house: &House, stream: &Stream) -> Transcript {
    until("the captions to be complete", s(90), || Some(transcript(house, stream)).filter(|all| all.complete))
}

fn words(transcript: &Transcript) -> Vec<String> {
    let words = transcript.windows.iter().flat_map(|window| &window.words);
    plain(&words.map(|word| word.text.as_str()).collect::<Vec<_>>().join(" "))
}

/// What is said is there but for a few words; cues keep to their form, and the playlist of the recording to its end.
fn assert_heard(house: &House, stream: &Stream, said: &[String]) {
    let all = complete(house, stream);
    let (heard, wrong) = (words(&all), errors(said, &words(&all)));
    println!("{wrong} of {} words are wrong: {}", said.len(), heard.join(" "));
    assert!(wrong * 100 <= said.len() * 25, "{wrong} of {} words are wrong: {heard:?}", said.len());
    for window in &all.windows {
        assert_eq!(window.model.as_deref(), Some(MODEL), "{window:?}");
        assert!(window.version.is_some() && window.worker.is_some() && window.reason.is_none(), "{window:?}");
        assert!(window.words.iter().all(|word| (0.0..=1.0).contains(&word.confidence)), "{window:?}");
    }
    assert!(all.windows.windows(2).all(|pair| pair[0].end_ms == pair[1].start_ms), "{all:?}");

    let path = format!("/v1/streams/{}/timeline?kind=captions&label=en", stream.id);
    let line: Timeline = house.api.call("GET", &path, None).json();
    let told: Vec<&str> = line.items.iter().filter_map(|entry| entry.text.as_deref()).collect();
    assert_eq!(plain(&told.join(" ")), heard, "{line:?}");
    let by_model = |entry: &Entry| entry.by.as_ref().is_some_and(|by| by.model == MODEL);
    assert!(line.items.iter().all(by_model) && line.tracks[0].complete && line.next_ms.is_none(), "{line:?}");

    let file = house.api.get(&stream.playback.captions["vtt"]);
    assert_eq!((file.status, file.header("content-type")), (200, "text/vtt; charset=utf-8"));
    let cues = file.text();
    assert!(cues.starts_with("WEBVTT\n\n") && cues.lines().all(|line| line.chars().count() <= 42), "{cues}");
    assert_eq!(house.api.get(&format!("/hls/{}/captions.en.vtt", stream.id)).text(), cues);
    let srt = house.api.get(&stream.playback.captions["srt"]).text();
    assert_eq!(srt.matches(" --> ").count(), cues.matches(" --> ").count(), "{srt}");
    house.api.get(&format!("/hls/{}/captions.de.vtt", stream.id)).error(404);

    let ended = house.api.stream(&stream.id);
    let vod = ended.playback.vod.expect("it has ended");
    let master = house.api.get(&vod).text();
    assert!(master.contains("TYPE=SUBTITLES") && master.contains("LANGUAGE=\"en\""), "{master}");
    let folder = vod.rsplit_once('/').expect("it is an address").0;
    let name = vod.rsplit_once('/').expect("it is an address").1;
    let list = house.api.get(&format!("{folder}/captions/{name}")).text();
    assert!(list.ends_with("#EXT-X-ENDLIST\n"), "{list}");
    let segments: Vec<&str> = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert_eq!(segments.len() as u64, ended.progress.segments, "{list}");
    let mut told = String::new();
    for segment in segments {
        let answer = house.api.get(&format!("{folder}/captions/{segment}"));
        assert!(answer.header("cache-control").contains("immutable"), "{answer:?}");
        told.push_str(&answer.text());
    }
    for line in cues.lines().filter(|line| line.contains(" --> ")) {
        assert!(told.contains(line), "{line} is in no segment:\n{told}");
    }
}

#[test]
fn what_is_said_live_shows_in_chromium() {
    let (source, said) = reading();
    let (house, stream) = heard_live(2_000);
    assert_eq!(stream.captions_stuck, None, "{stream:?}");
    let _publisher = push(&house, &stream, &source);
    // Players that are there from the beginning are told of captions that nobody has heard yet.
    until_playable(&house, &stream, 1);
    let page = hls_js::open(&house, &stream.playback.hls);
    page.until_told();
    page.until_shown(&said);

    house.api.until(&stream, StreamState::Ended, s(60));
    assert_heard(&house, &stream, &said);
    let dash = house.api.stream(&stream.id).playback.dash.expect("a recording has a manifest");
    let recorded = dash.replace("manifest.mpd", "vod.mpd");
    by_dash::open(&page.browser, &recorded).until_shown("recorded", &said);
    by_dash::tell(RECORDED, "words show");
    // Who knows no such captions plays the pictures.
    assert_eq!(packets(&recorded, "v:0"), 24 * 24);
}

/// A farm whose worker hears, and a live stream that asks for it.
fn heard_live(segment_ms: u32) -> (House, Stream) {
    let mut house = House::with_workers(0);
    house.add_hearing_worker(&[MODEL]);
    house.until_online(1);
    let mut profile = asks(&json!({"language": "en"}));
    profile["segment_ms"] = segment_ms.into();
    let stream = house.api.create("live", &profile);
    (house, stream)
}

#[test]
fn what_is_said_live_shows_by_dash() {
    let (source, said) = reading();
    let (house, stream) = heard_live(2_000);
    let browser = Browser::start(house.scratch());
    let _publisher = push(&house, &stream, &source);
    // As who comes later, and can be as far behind as is suggested.
    until_playable(&house, &stream, LATER_SEGMENTS);
    let page = by_dash::open(&browser, stream.playback.dash.as_deref().expect("a live stream has a manifest"));
    page.until_shown("live", &said);
    for shown in page.until_over() {
        let right = shown.iter().filter(|word| said.contains(word)).count();
        assert!(right * 2 > said.len(), "{right} of {} words were there to be shown: {shown:?}", said.len());
    }
    by_dash::tell(LIVE, "words show, to its end");
    let manifest = house.api.get(stream.playback.dash.as_deref().expect("it has one")).text();
    let init = manifest.split("initialization=\"$RepresentationID$/").last().and_then(|rest| rest.split('"').next());
    for file in ["0.m4s", init.expect("captions are the last set")] {
        let answer = house.api.get(&format!("/hls/{}/captions/{file}", stream.id));
        let cache = "public, max-age=31536000, immutable";
        assert_eq!(
            (answer.header("content-type"), answer.header("cache-control")),
            ("application/mp4", cache),
            "{file}"
        );
        assert!(answer.header("etag").starts_with('"') && answer.header("accept-ranges") == "bytes", "{answer:?}");
    }
    let files = ["999.m4s", "init-00.mp4", &format!("init-{}.mp4", "0".repeat(64))];
    for file in files {
        house.api.get(&format!("/hls/{}/captions/{file}", stream.id)).error(404);
    }
}

#[test]
fn words_come_by_dash_behind_a_publishers_absence() {
    let (source, said) = reading();
    // Players stay five segments behind: what is heard late beside other tests is there in time.
    let (house, stream) = heard_live(4_000);
    let browser = Browser::start(house.scratch());
    let mut publisher = push(&house, &stream, &source);
    until_playable(&house, &stream, 3);
    let dash = stream.playback.dash.as_deref().expect("a live stream has a manifest");
    let page = by_dash::open(&browser, dash);
    page.until_shown("live", &said);
    publisher.kill();
    house.api.until(&stream, StreamState::Interrupted, s(60));
    let _publisher = push(&house, &stream, &source);
    until("a second period with captions", s(40), || {
        (house.api.get(dash).text().matches("codecs=\"wvtt\"").count() == 2).then_some(())
    });
    // What was said only after it came back, but for the last seconds: those may be heard too late where much else runs.
    page.until_most_shown(&said[said.len() - 32..said.len() - 12]);
    page.until_over();
}

#[test]
fn who_can_not_hear_still_transcodes_and_what_can_not_be_heard_is_told() {
    let (source, said) = reading();
    let mut house = House::with_workers(1);
    let refusal = house.api.call(
        "POST",
        "/v1/streams",
        Some(&json!({
            "name": "x", "source": "file", "profile": {"preset": "standard", "captions": {"language": "klingon"}}
        })),
    );
    assert!(refusal.error(400).message.contains("captions.language is \"klingon\""), "{}", refusal.text());

    // Nobody has a model: pictures come all the same, and the stream says what is missing.
    let spoken = house.api.create("file", &asks(&json!({"language": "en"})));
    house.api.upload_all(&spoken, &fs::read(&source).expect("the clip can be read"));
    until("the lack of a model to be told", s(30), || {
        house.api.stream(&spoken.id).captions_stuck.filter(|why| why.contains("a model for captions in English"))
    });
    let done = house.api.until(&spoken, StreamState::Ended, s(60));
    assert_eq!((done.progress.segments_failed, done.progress.segments), (0, done.progress.segments_settled));
    let master = house.api.get(&done.playback.hls).text();
    assert!(!master.contains("SUBTITLES") && !transcript(&house, &spoken).complete, "{master}");

    // One that has comes later.
    house.add_hearing_worker(&[MODEL]);
    assert_heard(&house, &spoken, &said);

    // No sound, and sound in which nobody speaks.
    let mute = made("mute.mp4", &["-f", "lavfi", "-i", "testsrc2=s=320x240:r=24:d=4"], "-c:v libx264 -g 48");
    let silence = made(
        "silence.mp4",
        &["-f", "lavfi", "-i", "testsrc2=s=320x240:r=24:d=4", "-f", "lavfi", "-i", "anullsrc=r=48000:cl=stereo"],
        "-c:v libx264 -g 48 -c:a aac -t 4",
    );
    let [mute, silence] = [mute, silence].map(|file| {
        let stream = house.api.create("file", &asks(&json!({"language": "en", "model": MODEL})));
        house.api.upload_all(&stream, &fs::read(file).expect("the clip can be read"));
        stream
    });
    let quiet = complete(&house, &silence);
    assert!(quiet.settled_ms >= 3_900 && words(&quiet).is_empty(), "{quiet:?}");
    assert_eq!(house.api.get(&silence.playback.captions["vtt"]).text(), "WEBVTT\n");
    house.api.until(&mute, StreamState::Ended, s(60));
    let told = house.api.get(&mute.playback.captions["vtt"]).error(404);
    assert!(told.message.contains("no sound"), "{told:?}");
    assert!(!house.api.get(&mute.playback.hls).text().contains("SUBTITLES"));
}
