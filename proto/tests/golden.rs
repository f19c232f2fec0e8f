//! Golden wire messages: one JSON file each in `proto/golden`, so that a change of the wire is seen in review.
//!
//! `MILLRACE_BLESS=1 cargo test -p millrace-proto` writes them anew.

#[path = "golden/catalogs.rs"]
mod catalogs;

use std::{collections::BTreeSet, fs, path::PathBuf};

use millrace_proto::{
    Address, LeaseId, PROTOCOL_VERSION, Sha256, StreamId,
    api::{self, ClipState, CreateClip, CreateStream, Ingest, Page, Place, Playback, Progress, Source, StreamState},
    captions::{Heard, Span, Word},
    events::{Decided, Event, Events, HeldBack, Moved},
    identity::Secret,
    offer::{Absent, Capability, Card, Device, Encoder, Lack, Model, Offer, Part, Sandbox},
    outcome::{Done, Failure, FailureKind, Outcome, Rendition, Report, Result as Handed},
    profile::{Choice, H264Profile, Preset, Rate, VideoCodec},
    task::{Blob, Captions, Input, Lease, Look, Target, Transcode, Work, output_name},
    timeline::{Best, By, Entry, Level, Namer, SCHEMA, Timeline, Track},
    vision::{Category, Embedder, Named, Place as Spot, Sight, Sights, Thing},
    worker::{Challenge, ChallengeRequest, Finished, Poll, Polled, Renewed, Session, SessionRequest},
};
use serde::{Serialize, de::DeserializeOwned};

fn heard() -> Heard {
    Heard {
        language: Some("en".into()),
        words: vec![
            Word { text: "Well,".into(), joined: false, start_ms: 4_210, end_ms: 4_480, confidence: 0.5 },
            Word { text: "then.".into(), joined: true, start_ms: 4_480, end_ms: 4_900, confidence: 0.75 },
        ],
        draft: vec![Word { text: "And".into(), joined: false, start_ms: 7_700, end_ms: 7_950, confidence: 0.25 }],
        speech: vec![Span { start_ms: 4_100, end_ms: 5_040 }],
        start_ms: 4_000,
        settled_ms: 7_550,
        end_ms: 8_000,
    }
}

fn sights() -> Sights {
    let place = Spot { x: 0.25, y: 0.5, width: 0.125, height: 0.25 };
    let thing = Thing {
        label: "cup".into(),
        score: 0.75,
        place,
        finer: Some(Named { label: "espresso".into(), score: 0.5, model: "lite2".into(), version: "1".into() }),
        looks: vec![127, -3, 0],
        embedder: Some(Embedder { model: "lite2".into(), version: "1".into() }),
    };
    let categories = vec![Category { name: "pornography".into(), score: 0.125 }];
    Sights {
        start_ms: 4_000,
        end_ms: 6_000,
        pictures: vec![
            Sight { at_ms: 4_000, categories, things: vec![thing] },
            Sight { at_ms: 5_000, ..Sight::default() },
        ],
        decoded: 2,
    }
}

fn timeline() -> Timeline {
    let by = Some(By { model: "whisper-base".into(), version: "1".into(), worker: address() });
    let said = Entry {
        label: Some("en".into()),
        text: Some("Well, then.".into()),
        score: Some(0.625),
        by: by.clone(),
        ..Entry::blank(Capability::Captions, "captions", 4_210, 5_900)
    };
    let mute = Entry {
        reason: Some("there is no sound".into()),
        ..Entry::blank(Capability::Captions, "captions", 8_000, 12_000)
    };
    let place = Spot { x: 0.25, y: 0.5, width: 0.125, height: 0.25 };
    let cup = Entry {
        product: Some(catalogs::mug()),
        number: Some(3),
        open: true,
        label: Some("cup".into()),
        finer: Some("espresso".into()),
        finer_by: Some(Namer { model: "lite2".into(), version: "1".into(), score: 0.5 }),
        embedder: Some(Embedder { model: "lite2".into(), version: "1".into() }),
        best: Some(Best { at_ms: 5_000, place: Some(place) }),
        pictures: Some(2),
        score: Some(0.75),
        by: by.clone(),
        ..Entry::blank(Capability::Products, "products", 4_000, 6_000)
    };
    let shown = Entry {
        number: Some(0),
        label: Some("pornography".into()),
        level: Some(Level::Flag),
        best: Some(Best { at_ms: 8_000, place: None }),
        pictures: Some(1),
        score: Some(0.875),
        by,
        ..Entry::blank(Capability::Moderation, "moderation", 8_000, 9_000)
    };
    let (kind, stuck) = (Capability::Captions, Some("no worker has a model for captions".into()));
    let track = Track { kind, track: "captions".into(), settled_ms: 12_000, complete: false, stuck };
    Timeline {
        schema: SCHEMA,
        stream: stream_id(),
        tracks: vec![track],
        items: vec![said, cup, mute, shown],
        next_ms: Some(12_000),
    }
}

fn look() -> Lease {
    let capability = Capability::Products;
    let (every_ms, preroll, closely, start_ms, end_ms) = (1_000, 1, 4, 4_000, 6_000);
    let work = Look { capability, model: None, every_ms, preroll, closely, start_ms, end_ms };
    let input = |name: &str| Input {
        name: name.into(),
        url: format!("/v1/leases/{}/inputs/{name}", lease_id()),
        blob: Blob::of(name.as_bytes()),
    };
    Lease {
        task: "k3f9-2-products".parse().unwrap(),
        work: Work::Look(work),
        inputs: ["init", "preroll-0", "segment-0"].map(input).into(),
        ..window()
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// Compares a message with its file, both ways.
fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    seen: &mut BTreeSet<String>,
    name: &str,
    message: &T,
) {
    let path = folder().join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(message).unwrap() + "\n";
    if std::env::var_os("MILLRACE_BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(text, golden, "{name} changed: if that is meant, run with MILLRACE_BLESS=1");
    assert_eq!(&serde_json::from_str::<T>(&golden).unwrap(), message, "{name} is read as it was written");
    seen.insert(format!("{name}.json"));
}

fn secret() -> Secret {
    Secret::from_hex(&"1".repeat(64)).unwrap()
}

fn address() -> Address {
    secret().address()
}

fn lease_id() -> LeaseId {
    "k3f9-17-transcode-0a1b2c3d".parse().unwrap()
}

fn stream_id() -> StreamId {
    "k3f9".parse().unwrap()
}

fn offer() -> Offer {
    Offer {
        version: "0.1.0".into(),
        slots: 2,
        cores: 4,
        encoders: vec![Encoder { codec: VideoCodec::H264, name: "libx264".into(), pixels_per_s: 1.5e8 }],
        absent: vec![Absent { name: "h264_nvenc".into(), reason: "no such device".into() }],
        models: vec![Model {
            id: "whisper-base".into(),
            version: "1".into(),
            capability: Capability::Captions,
            device: Device::Cuda,
            languages: vec!["any".into()],
            audio_s_per_s: 12.5,
            pictures_per_s: 0.0,
            memory_bytes: 800_000_000,
            load_ms: 250,
            warm: true,
        }],
        sandbox: Sandbox {
            holds: vec![Part::Network, Part::Processes, Part::Calls, Part::Limits],
            absent: vec![Lack { part: Part::Files, reason: "the kernel has no Landlock".into() }],
        },
        cards: vec![Card {
            name: "NVIDIA A100-PCIE-40GB".into(),
            memory_bytes: 42_404_741_120,
            slots: 8,
            decodes: vec![VideoCodec::H264, VideoCodec::Hevc],
            encodes: vec![],
            sessions: 0,
        }],
    }
}

fn lease() -> Lease {
    let target = Target {
        name: "720p".into(),
        width: 1_280,
        height: 720,
        codec: VideoCodec::H264,
        rate: Rate::Capped { crf: 23, bitrate_bps_max: 3_000_000 },
        preset: Preset::Veryfast,
        profile: H264Profile::High,
        fps_divisor: 1,
    };
    let av1 = Target {
        name: "720p-av1".into(),
        codec: VideoCodec::Av1,
        rate: Rate::Average { bitrate_bps: 1_500_000 },
        fps_divisor: 2,
        ..target.clone()
    };
    Lease {
        id: lease_id(),
        token: "00112233445566778899aabbccddeeff".into(),
        task: "k3f9-17-transcode".parse().unwrap(),
        lease_ms: 5_000,
        work_ms_max: 60_000,
        media_ms: 2_000,
        due_ms: Some(1_700),
        work: Work::Transcode(Transcode { renditions: vec![target, av1] }),
        inputs: vec![Input {
            name: "init".into(),
            url: format!("/v1/worker/leases/{}/input/init", lease_id()),
            blob: Blob::of(b"init"),
        }],
        output_url: format!("/v1/worker/leases/{}/output/{{output}}", lease_id()),
    }
}

fn window() -> Lease {
    let work = Captions {
        model: Some("whisper-base".into()),
        language: Some("de".into()),
        translate: true,
        start_ms: 4_000,
        again_ms: 1_200,
        end_ms: 8_000,
        context: "It was the best of times.".into(),
        last: false,
        patience_ms: 5_000,
        draft: true,
    };
    let input = |name: &str| Input {
        name: name.into(),
        url: format!("/v1/worker/leases/{}/input/{name}", lease_id()),
        blob: Blob::of(name.as_bytes()),
    };
    let inputs = vec![input("init"), input("segment-0"), input("segment-1")];
    Lease { task: "k3f9-2-english".parse().unwrap(), due_ms: None, work: Work::Captions(work), inputs, ..lease() }
}

fn outcome(result: Handed) -> Outcome {
    let signature = secret().sign(&Outcome::message(&lease_id(), &result));
    Outcome { result, signature }
}

fn stream() -> api::Stream {
    api::Stream {
        id: stream_id(),
        name: "Evening news".into(),
        source: Source::Live,
        url: None,
        state: StreamState::Live,
        reason: None,
        stuck: None,
        captions_stuck: None,
        moderation_stuck: None,
        products_stuck: None,
        profile: Choice::default().resolve().unwrap(),
        listed: true,
        created_ms: 1_795_000_000_000,
        ingest: Some(Ingest {
            url: "rtmp://127.0.0.1:1935/live".into(),
            srt: Some("srt://127.0.0.1:8890".into()),
            stream_key: Some("k3f9_secret".into()),
        }),
        playback: Playback {
            hls: "http://127.0.0.1:8080/hls/k3f9/index.m3u8".into(),
            dash: Some("http://127.0.0.1:8080/dash/k3f9/manifest.mpd".into()),
            metadata: None,
            poster: Some("http://127.0.0.1:8080/hls/k3f9/poster.jpg".into()),
            ..Playback::default()
        },
        progress: Progress { segments: 18, segments_settled: 17, ..Progress::default() },
    }
}

fn clips(seen: &mut BTreeSet<String>) {
    let (start, end) = (Place::Seconds(12.5), Place::Date("2026-11-22T18:00:00.000Z".into()));
    check(seen, "create_clip", &CreateClip { start, end, rendition: Some("720p".into()) });
    let clip = api::Clip {
        id: "q7wz".parse().unwrap(),
        stream: stream_id(),
        state: ClipState::Ready,
        reason: None,
        rendition: "720p".into(),
        start_s: 12.5,
        end_s: 42.0,
        created_ms: 1_795_000_000_000,
        bytes: Some(11_000_000),
        url: Some("http://127.0.0.1:8080/hls/k3f9/clip-q7wz.mp4".into()),
    };
    check(seen, "clip", &clip);
}

fn events(seen: &mut BTreeSet<String>) {
    let event = |number, kind: &str, body| Event {
        number,
        kind: kind.into(),
        stream: stream_id(),
        created_ms: 1_795_000_000_000,
        body,
    };
    let moved = |reason: Option<&str>| {
        let reason = reason.map(str::to_owned);
        serde_json::to_value(Moved { reason }).expect("its keys are text")
    };
    let held = HeldBack { first: 7, last: 8, start_ms: 14_000, end_ms: 18_000, reason: "pornography (0.93)".into() };
    let decided = Decided { segments: vec![7, 8], start_ms: 14_000, end_ms: 18_000 };
    let items = vec![
        event(41, "stream.live", moved(None)),
        event(43, "moderation.held", serde_json::to_value(held).expect("its keys are text")),
        event(44, "moderation.approved", serde_json::to_value(decided).expect("its keys are text")),
        event(45, "stream.failed", moved(Some("no space"))),
    ];
    let by_number = api::Decide { number: Some(3), track: Some("words".into()), ..api::Decide::default() };
    check(seen, "decide", &by_number);
    let segment = api::HeldSegment {
        seq: 7,
        start_ms: 14_000,
        end_ms: 16_000,
        state: api::HoldState::Held,
        reason: "pornography (0.93)".into(),
        since_ms: 1_795_000_000_000,
    };
    check(seen, "held", &api::Page { items: vec![segment], next: None });
    check(seen, "events", &Events { schema: 1, items, oldest: Some(7), next: Some(45) });
}

fn captions(seen: &mut BTreeSet<String>) {
    check(seen, "lease_captions", &window());
    check(seen, "lease_look", &look());
    let report = Report { blob: Blob::of(b"heard"), model: "whisper-base".into(), version: "1".into() };
    let found = Done { renditions: vec![], report: Some(report), frames_concealed: 0, work_ms: 310 };
    check(seen, "outcome_report", &outcome(Handed::Done(found)));
    let asked = |profile| CreateStream {
        name: "Evening news".into(),
        source: Source::Live,
        url: None,
        profile: serde_json::from_str(profile).unwrap(),
        listed: true,
    };
    let translated = r#"{"preset": "mobile", "captions": {"language": "de", "translate": true}}"#;
    check(seen, "create_stream_captions", &asked(translated));
    let searched = r#"{"preset": "mobile", "products": {"every_ms": 500, "catalog": "summer"}}"#;
    check(seen, "create_stream_products", &asked(searched));
    let moderated = r#"{"preset": "mobile", "captions": {}, "moderation":
        {"every_ms": 2000, "review": 0.4, "flag": 0.75, "action": "hold", "words": ["rude", "very rude"]}}"#;
    check(seen, "create_stream_moderation", &asked(moderated));
    let transcript = api::Transcript {
        schema: 1,
        stream: stream_id(),
        track: "captions".into(),
        language: Some("en".into()),
        settled_ms: 8_000,
        complete: false,
        windows: vec![
            api::TranscriptWindow {
                start_ms: 4_000,
                end_ms: 7_550,
                language: Some("en".into()),
                words: heard().words,
                model: Some("whisper-base".into()),
                version: Some("1".into()),
                worker: Some(address()),
                reason: None,
            },
            api::TranscriptWindow {
                start_ms: 7_550,
                end_ms: 8_000,
                language: None,
                words: vec![],
                model: None,
                version: None,
                worker: None,
                reason: Some("there is no sound".into()),
            },
        ],
    };
    check(seen, "transcript", &transcript);
    check(seen, "timeline", &timeline());
}

#[test]
fn every_message_is_as_its_file_says() {
    let mut seen = BTreeSet::new();
    let done = Done {
        renditions: vec![Rendition {
            name: "720p".into(),
            init: Blob::of(b"made init"),
            segment: Blob::of(b"made segment"),
            codec: "avc1.64001f".into(),
            frames: 60,
        }],
        report: None,
        frames_concealed: 0,
        work_ms: 840,
    };
    let failure = Failure { kind: FailureKind::BadInput, message: "nothing decodes".into() };
    let custom = r#"{"policy": {"sandboxed": true}, "ladder": [
        {"name": "low", "short_side_px": 240, "bitrate_bps_max": 400000, "profile": "baseline"},
        {"name": "low-av1", "short_side_px": 240, "codec": "av1", "bitrate_bps": 300000, "fps_divisor": 2}
    ]}"#;
    let custom: Choice = serde_json::from_str(custom).unwrap();
    check(&mut seen, "challenge_request", &ChallengeRequest { address: address(), protocol: PROTOCOL_VERSION });
    check(&mut seen, "heard", &heard());
    check(&mut seen, "sights", &sights());
    check(&mut seen, "challenge", &Challenge { text: "Millrace worker ... nonce 00".into() });
    let signature = secret().sign("Millrace worker ... nonce 00");
    let request = SessionRequest {
        address: address(),
        challenge: "Millrace worker ... nonce 00".into(),
        signature,
        offer: offer(),
    };
    check(&mut seen, "session_request", &request);
    check(&mut seen, "session", &Session { token: "ab".repeat(32) });
    check(
        &mut seen,
        "poll",
        &Poll {
            instance: "7f".into(),
            slots_free: 1,
            ahead_free: 1,
            held: vec![lease_id()],
            warm: vec!["whisper-base".into()],
            wait_ms: 20_000,
        },
    );
    check(&mut seen, "polled", &Polled { leases: vec![lease()], revoked: vec![lease_id()] });
    check(&mut seen, "renewed", &Renewed { lease_ms: 5_000 });
    check(&mut seen, "outcome_done", &outcome(Handed::Done(done)));
    check(&mut seen, "outcome_failed", &outcome(Handed::Failed(failure)));
    check(&mut seen, "finished", &Finished { taken: true });
    let create =
        |profile| CreateStream { name: "Evening news".into(), source: Source::Live, url: None, profile, listed: true };
    check(&mut seen, "create_stream", &create(Choice::Preset("standard".into())));
    check(&mut seen, "create_stream_ladder", &create(custom));
    let url = Some("https://media.example.org/match.m3u8?token=4711".to_owned());
    let fetch = CreateStream { source: Source::Url, url: url.clone(), ..create(Choice::default()) };
    check(&mut seen, "create_stream_url", &fetch);
    check(&mut seen, "stream", &stream());
    check(&mut seen, "stream_url", &api::Stream { source: Source::Url, url, ingest: None, ..stream() });
    check(&mut seen, "streams", &Page { items: vec![stream()], next: Some("k3f9".into()) });
    let worker = api::Worker {
        address: address(),
        offer: offer(),
        seen_ms: 1_795_000_000_000,
        online: true,
        leases: 1,
        accepted: 40,
        failed: 1,
    };
    check(&mut seen, "worker", &worker);
    let pushed = api::Pushed { stream: stream_id(), number: 17, sha256: Sha256::of(b"bytes"), bytes: 5 };
    check(&mut seen, "pushed", &pushed);
    clips(&mut seen);
    catalogs::all(&mut seen);
    captions(&mut seen);
    events(&mut seen);
    check(&mut seen, "create_token", &api::CreateToken { ttl_s: 3_600 });
    let token = api::Token {
        token: "1795003600.00ff".into(),
        expires_ms: 1_795_003_600_000,
        hls: "http://127.0.0.1:8080/hls/k3f9/index.m3u8?token=1795003600.00ff".into(),
        vod: None,
        dash: Some("http://127.0.0.1:8080/dash/k3f9/manifest.mpd?token=1795003600.00ff".into()),
    };
    check(&mut seen, "token", &token);
    let error =
        api::Error { code: "unknown_stream".into(), message: "no stream has this id".into(), hint: "list them".into() };
    check(&mut seen, "error", &error);
    let files: BTreeSet<String> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(seen, files, "a file for each message and no other");
}

#[test]
fn outputs_have_plain_names() {
    assert_eq!(output_name("720p", millrace_proto::task::Part::Init), "720p.init");
    assert_eq!(output_name("720p", millrace_proto::task::Part::Segment), "720p.segment");
}
