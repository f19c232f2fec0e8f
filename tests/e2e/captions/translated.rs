//! A language that nobody named, and its translation: found out, written in its own, and told in English beside it.

use std::path::PathBuf;

use millrace_proto::api::{Stream, StreamState, Transcript, TranscriptWindow};
use serde_json::{Value, json};

use super::{asks, by_dash::payloads, plain, words};
use crate::{
    clip::{live_source, made, text},
    house::House,
    live::until_playable,
    push::push,
    wait::{s, until},
};

/// Of the Debian package `asterisk-core-sounds-es-g722`: a woman from Mexico says what a telephone exchange has to say.
const SPANISH: &str = "/usr/share/asterisk/sounds/es_MX_f_Allison";
/// Knows every language of Whisper's, and is what `deploy/up` fetches.
const MODEL: &str = "whisper-base";

/// Of what is said: "Intentaré establecer una conexión Inter-Asterisk con un servidor de demostración localizado en Digium.
/// Para lograr esto usted ya debe estar conectado a Internet. Por favor espere mientras intento establecer la conexión."
const SAID: [&str; 12] = [
    "establecer",
    "una",
    "conexión",
    "servidor",
    "demostración",
    "lograr",
    "esto",
    "usted",
    "debe",
    "conectado",
    "favor",
    "mientras",
];
/// The same in English, as far as there is but one word for it.
const MEANT: [&str; 5] = ["establish", "connection", "server", "connected", "internet"];

/// A clip in which Spanish is spoken.
fn spanish() -> PathBuf {
    let pictures = live_source(24);
    let spoken = format!("{SPANISH}/demo-abouttotry.g722");
    assert!(PathBuf::from(&spoken).is_file(), "install the Debian package asterisk-core-sounds-es-g722");
    let input = ["-i", text(&pictures), "-i", &spoken];
    made("spanish.mp4", &input, "-map 0:v -map 1:a -c:v copy -c:a aac -b:a 96k -ar 48000 -shortest")
}

/// Most of these are in a text; a model of this size hears names as it likes.
#[track_caller]
fn assert_says(text: &str, words: &[&str]) {
    let missing: Vec<&&str> = words.iter().filter(|word| !text.split(' ').any(|said| said == **word)).collect();
    assert!(missing.len() * 4 <= words.len(), "{missing:?} are missing in: {text}");
}

fn file(house: &House, stream: &Stream, language: &str, form: &str) -> String {
    let answer = house.api.get(&format!("/hls/{}/captions.{language}.{form}", stream.id));
    assert_eq!(answer.status, 200, "{language} {form}: {}", answer.text());
    answer.text()
}

/// The track in this language, when it is complete.
fn track(house: &House, stream: &Stream, language: &str) -> Transcript {
    until(&format!("captions in {language} to be complete"), s(90), || {
        let answer = house.api.get(&format!("/hls/{}/captions.{language}.json", stream.id));
        (answer.status == 200).then(|| answer.json::<Transcript>()).filter(|all| all.complete)
    })
}

/// A farm whose worker knows both languages, and a stream of this source with these captions.
fn translating(source: &str, captions: &Value) -> (House, Stream) {
    let mut house = House::with_workers(0);
    house.add_hearing_worker(&[MODEL]);
    house.until_online(1);
    let stream = house.api.create(source, &asks(captions));
    (house, stream)
}

/// Both tracks, complete: each in its language, with most of the words.
#[track_caller]
fn assert_translated(house: &House, stream: &Stream) -> [Transcript; 2] {
    house.api.until(stream, StreamState::Ended, s(60));
    let (own, english) = (track(house, stream, "es"), track(house, stream, "en"));
    assert_eq!((own.track.as_str(), own.language.as_deref()), ("captions", Some("es")), "{own:?}");
    assert_eq!((english.track.as_str(), english.language.as_deref()), ("english", Some("en")), "{english:?}");
    let spoken = |window: &TranscriptWindow| window.words.is_empty() || window.language.as_deref() == Some("es");
    assert!(own.windows.iter().chain(&english.windows).all(spoken), "what was spoken: {own:?} {english:?}");
    assert_says(&words(&own).join(" "), &SAID);
    assert_says(&words(&english).join(" "), &MEANT);
    [own, english]
}

#[test]
fn what_is_said_live_is_translated() {
    let source = spanish();
    let (house, stream) = translating("live", &json!({"language": "es", "translate": true}));
    let _publisher = push(&house, &stream, &source);
    // Who is there from the beginning is told of both.
    until_playable(&house, &stream, 1);
    let playback = &stream.playback;
    let (master, manifest) =
        [&playback.hls, playback.dash.as_ref().expect("it is live")].map(|url| house.api.get(url).text()).into();
    assert_eq!(master.matches("TYPE=SUBTITLES").count(), 2, "{master}");
    assert_eq!(manifest.matches("codecs=\"wvtt\"").count(), 2, "{manifest}");
    assert!(
        ["lang=\"es\"", "lang=\"en\"", "English (translated)"].iter().all(|one| manifest.contains(one)),
        "{manifest}"
    );
    for heard in assert_translated(&house, &stream) {
        assert!(heard.windows.len() > 1, "it was heard while it came: {heard:?}");
        let segments = 0..house.api.stream(&stream.id).progress.segments;
        let fragment = |number| house.api.get(&format!("/hls/{}/{}/{number}.m4s", stream.id, heard.track)).body;
        let told = segments.map(|number| payloads(&fragment(number))).collect::<Vec<_>>().join("\n");
        assert_says(&plain(&told).join(" "), if heard.track == "english" { &MEANT } else { &SAID });
    }
}

/// Of a sentence's beginning whisper-base says more than one language, of this one Italian and Latin too.
#[test]
fn a_live_language_is_the_one_that_is_heard_twice() {
    let source = spanish();
    let (house, stream) = translating("live", &json!({}));
    let _publisher = push(&house, &stream, &source);
    house.api.until(&stream, StreamState::Ended, s(60));
    let own = track(&house, &stream, "es");
    assert_eq!(own.language.as_deref(), Some("es"), "{own:?}");
    let last = own.windows.iter().rev().find(|window| !window.words.is_empty()).expect("something was said");
    assert_eq!(last.language.as_deref(), Some("es"), "{own:?}");
    assert_says(&words(&own).join(" "), &SAID[SAID.len() / 2..]);
}

#[test]
fn a_language_is_found_out_and_translated() {
    let source = spanish();
    let (house, stream) = translating("file", &json!({"translate": true}));
    house.api.upload_all(&stream, &std::fs::read(source).expect("the clip can be read"));
    assert_translated(&house, &stream);

    // Players find both, and each in its files.
    let ended = house.api.stream(&stream.id);
    let (vod, dash) = (
        ended.playback.vod.expect("it has ended"),
        ended.playback.dash.expect("it has ended").replace("manifest", "vod"),
    );
    let (master, manifest) = (house.api.get(&vod).text(), house.api.get(&dash).text());
    for (track, code, name, meant) in
        [("captions", "es", "Spanish", &SAID[..]), ("english", "en", "English (translated)", &MEANT[..])]
    {
        let told: Vec<&str> = master.lines().filter(|line| line.contains(&format!("URI=\"{track}/"))).collect();
        let is = |attribute: &str| told.len() == 1 && told[0].contains(attribute);
        assert!(is("TYPE=SUBTITLES") && is(&format!("NAME=\"{name}\",LANGUAGE=\"{code}\"")), "{master}");
        let folder = format!("/hls/{}/{track}", stream.id);
        let list = house.api.get(&format!("{folder}/vod.m3u8")).text();
        let names = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let segments: String = names.map(|name| house.api.get(&format!("{folder}/{name}")).text()).collect();
        assert!(list.ends_with("#EXT-X-ENDLIST\n"), "{list}");
        let set = manifest.split("<AdaptationSet ").find(|set| set.contains(&format!("lang=\"{code}\"")));
        let set = set.unwrap_or_else(|| panic!("no set in {code}: {manifest}"));
        assert!(set.contains("codecs=\"wvtt\"") && set.contains(&format!("<Label>{name}</Label>")), "{set}");
        let numbers = 0..ended.progress.segments;
        let fragment = |number| house.api.get(&format!("{folder}/{number}.m4s")).body;
        let by_dash = numbers.map(|number| payloads(&fragment(number))).collect::<Vec<_>>().join("\n");
        for text in [segments, by_dash, file(&house, &stream, code, "vtt"), file(&house, &stream, code, "srt")] {
            assert_says(&plain(&text).join(" "), meant);
        }
    }
}
