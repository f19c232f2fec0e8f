//! Captions, moderation and products of what is hardly a video, or a broken one, and with broken models: each time someone is
//! told what came of it, and the pictures are published all the same.

use std::{
    collections::BTreeMap,
    fs,
    ops::Range,
    path::Path,
    process::{Command, Output},
};

use millrace_proto::{
    api::{Stream, StreamState, Worker},
    offer::Capability,
    timeline::{Entry, Timeline},
};
use serde_json::{Value, json};

use crate::{
    clip::{clip, made, text, tool},
    house::{House, built, model_folder},
    wait::{s, until},
};

/// Read aloud, of the Debian package `pocketsphinx-testdata`.
const SPEECH: &str = "/usr/share/pocketsphinx/test/data/librivox/sense_and_sensibility_01_austen_64kb-0870.wav";
/// What looks, listens, and what these take.
const MODELS: [&str; 5] = ["whisper-tiny.en", "open-nsfw", "centernet", "efficientnet-lite2", "imagenet-labels"];

fn wish(wanted: &Value) -> Value {
    let ladder = json!([{"name": "240p", "short_side_px": 240, "bitrate_bps_max": 400_000, "preset": "ultrafast"}]);
    let mut profile = wanted.clone();
    profile["ladder"] = ladder;
    profile
}

fn all_three() -> Value {
    wish(&json!({"captions": {"language": "en"}, "moderation": {}, "products": {"every_ms": 1_000}}))
}

fn upload(house: &House, profile: &Value, file: &[u8]) -> Stream {
    let stream = house.api.create("file", profile);
    house.api.upload_all(&stream, file);
    stream
}

/// Waits until it has ended and all of its timeline is settled.
fn settled(house: &House, stream: &Stream) -> (Stream, Timeline) {
    let ended = house.api.until(stream, StreamState::Ended, s(120));
    let path = format!("/v1/streams/{}/timeline", stream.id);
    let line = until("the timeline to be complete", s(120), || {
        let line: Timeline = house.api.call("GET", &path, None).json();
        line.tracks.iter().all(|track| track.complete).then_some(line)
    });
    (ended, line)
}

/// What server-sent events tell of a timeline that is complete.
fn followed(house: &House, stream: &Stream) -> Vec<Entry> {
    let headers = [("authorization", house.api.bearer()), ("accept", "text/event-stream".to_owned())];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let path = format!("/v1/streams/{}/timeline", stream.id);
    let events = house.api.send("GET", &path, &headers, None).expect("it ends by itself").text();
    let entries = events.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "{}");
    entries.map(|data| serde_json::from_str(data).expect("an entry")).collect()
}

fn reasons(entries: &[Entry]) -> Vec<(Capability, i64, &str)> {
    entries.iter().filter_map(|entry| Some((entry.kind, entry.start_ms, entry.reason.as_deref()?))).collect()
}

/// The file with every byte of some packets of a track changed: of `v:0` or `a:0`, by their numbers.
fn broken(file: &Path, track: &str, packets: Range<usize>) -> Vec<u8> {
    let entries = ["-select_streams", track, "-show_entries", "packet=pos,size", "-of", "csv=p=0", text(file)];
    let list = tool("ffprobe", &[&["-v", "error"], &entries[..]].concat());
    let mut bytes = fs::read(file).expect("it was made");
    let lines = list.lines().filter(|line| !line.is_empty());
    for line in lines.skip(packets.start).take(packets.len()) {
        let numbers: Vec<usize> = line.split(',').filter_map(|number| number.parse().ok()).collect();
        let [size, at] = numbers[..] else { panic!("a packet has a size and a place: {line}") };
        for byte in &mut bytes[at..at + size] {
            *byte ^= 0x55;
        }
    }
    bytes
}

#[test]
fn strange_and_broken_videos_are_looked_at_and_heard_as_far_as_it_goes() {
    // What fails each time is given up soon.
    let mut house = House::configured(0, "[tasks]\npatience_ms = 2000\n");
    house.add_hearing_worker(&MODELS);
    house.until_online(1);

    // A picture is a video; where it has no sound, there is no track of captions, and it is said so.
    let one = made("one-frame.mp4", &["-ss", "6", "-i", text(&clip("bikes.mp4"))], "-frames:v 1 -c:v libx264 -an");
    let one = upload(&house, &all_three(), &fs::read(one).expect("it was made"));
    // As large as any, for a second.
    let large = made(
        "8k.mp4",
        &["-i", text(&clip("bikes.mp4"))],
        "-t 1 -vf scale=7680:4320,fps=2 -c:v libx264 -preset ultrafast -an",
    );
    let large = upload(&house, &all_three(), &fs::read(large).expect("it was made"));
    let args = "-t 6 -map 0:v -map 1:a -vf scale=-2:180,fps=12 -c:v libx264 -preset ultrafast -g 24 -c:a aac -b:a 96k";
    let spoken = made("read.mp4", &["-i", text(&clip("bikes.mp4")), "-i", SPEECH], args);
    let bytes = broken(&spoken, "a:0", 0..usize::MAX);
    let hoarse = upload(&house, &wish(&json!({"captions": {"language": "en"}})), &bytes);
    // Of four groups of pictures the second.
    let args = "-t 8 -vf scale=-2:180,fps=12 -c:v libx264 -preset ultrafast -g 24 -bf 0 -an";
    let bytes = broken(&made("four-groups.mp4", &["-i", text(&clip("bikes.mp4"))], args), "v:0", 24..48);
    let cracked = upload(&house, &wish(&json!({"moderation": {"review": 0.0001}})), &bytes);

    for (stream, what) in
        [(&one, "one frame"), (&large, "8K"), (&hoarse, "broken sound"), (&cracked, "broken pictures")]
    {
        let (ended, line) = settled(&house, stream);
        println!("{what}: {:?} {:#?}", ended.progress, line.items);
        let told = |kind| line.tracks.iter().any(|track| track.kind == kind && track.complete);
        let asked = &ended.profile;
        assert_eq!(told(Capability::Moderation), asked.moderation.is_some(), "{what}: {line:?}");
        assert_eq!(told(Capability::Products), asked.products.is_some(), "{what}: {line:?}");
        // Who follows is told the same, reasons included.
        let mut events = followed(&house, stream);
        events.sort_by_key(|entry| entry.start_ms);
        assert_eq!(reasons(&events), reasons(&line.items), "{what}");
        let (reasons, counts) = (reasons(&line.items), (ended.progress.segments, ended.progress.segments_failed));
        match what {
            "broken sound" => {
                assert!(
                    matches!(reasons[..], [(Capability::Captions, 0, why)] if why.contains("none of its sound can be decoded")),
                    "{reasons:?}"
                );
                assert_eq!(counts, (3, 0));
            }
            // It is a gap, of which nothing is shown; what is before and behind it was looked at.
            "broken pictures" => {
                assert_eq!(counts, (4, 1));
                let stands = |entry: &Entry| entry.end_ms <= 2_000 || entry.start_ms >= 4_000;
                assert!(line.items.len() >= 2 && line.items.iter().all(stands), "{line:?}");
            }
            _ => {
                assert_eq!(
                    (&reasons[..], counts),
                    (&[(Capability::Captions, 0, "there is no sound")][..], (1, 0)),
                    "{what}"
                );
                let vtt = house.api.get(&ended.playback.captions["vtt"]).error(404);
                assert!(vtt.message.contains("no sound"), "{vtt:?}");
            }
        }
    }
}

/// `millrace-worker models verify`, of what is there or of those named.
fn verify(folder: &Path, models: &[&str]) -> Output {
    let mut command = Command::new(built("millrace-worker"));
    command.args(["models", "verify", "--json", "--models"]).arg(folder).args(models);
    command.output().expect("it can be started")
}

#[test]
fn models_that_are_missing_or_damaged_are_told_and_the_pictures_come_all_the_same() {
    let mut house = House::with_workers(0);
    let folder = house.scratch().join("models");
    fs::create_dir_all(folder.join("open-nsfw")).expect("a folder can be made");
    let mut weights = fs::read(model_folder().join("open-nsfw/open_nsfw.onnx")).expect("deploy/test fetched it");
    let middle = weights.len() / 2;
    weights[middle] ^= 1;
    fs::write(folder.join("open-nsfw/open_nsfw.onnx"), weights).expect("a file can be written");
    house.add_hearing_worker(&[]);

    let told = verify(&folder, &["open-nsfw", "centernet", "silero-vad"]);
    let lines: Vec<Value> =
        String::from_utf8_lossy(&told.stdout).lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let states: BTreeMap<_, _> = lines.iter().map(|line| (line["id"].as_str(), line["state"].as_str())).collect();
    let expected = [("open-nsfw", "damaged"), ("centernet", "missing"), ("silero-vad", "whole")];
    assert_eq!(states, expected.map(|(id, state)| (Some(id), Some(state))).into());
    assert!(
        !told.status.success() && String::from_utf8_lossy(&told.stderr).contains("2 not as the catalogue says"),
        "{told:?}"
    );

    house.until_online(1);
    let [worker]: [Worker; 1] = house.api.workers().try_into().expect("there is one");
    assert_eq!(worker.offer.models, []);
    let why =
        |name: &str| worker.offer.absent.iter().find(|absent| absent.name == name).map_or("", |absent| &absent.reason);
    assert!(why("open-nsfw").contains("fetch open-nsfw"), "{:?}", worker.offer.absent);
    assert!(
        why("products").contains("models fetch") && why("captions").contains("models fetch"),
        "{:?}",
        worker.offer.absent
    );

    let source = made("bikes-2.mp4", &["-i", text(&clip("bikes.mp4"))], "-t 2 -c:v libx264 -preset ultrafast -an");
    let stream =
        upload(&house, &wish(&json!({"moderation": {}, "products": {}})), &fs::read(source).expect("it was made"));
    let ended = house.api.until(&stream, StreamState::Ended, s(60));
    assert_eq!((ended.progress.segments_failed, ended.progress.segments), (0, ended.progress.segments_settled));
    assert!(house.api.get(&ended.playback.hls).text().contains("240p"));
    // What waits for someone who can says so, also when the stream has ended.
    let line: Timeline = house.api.call("GET", &format!("/v1/streams/{}/timeline", stream.id), None).json();
    assert_eq!(line.tracks.len(), 2);
    for track in &line.tracks {
        let why = track.stuck.as_deref().unwrap_or_default();
        assert!(!track.complete && why.contains(&format!("a model for {}", track.kind.as_str())), "{line:?}");
    }
}
