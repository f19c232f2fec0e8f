//! Pictures in, what they show out: real frames, and everything that can go wrong.
//!
//! `millrace-worker models fetch onnxruntime open-nsfw centernet efficientnet-lite2 imagenet-labels` fetches what these take.

use std::{fs, path::Path, path::PathBuf};

use bytes::Bytes;
use millrace_cmaf::init;
use millrace_media::{
    FailureKind, Glance, Limits, Looker,
    card::{Card, Refusal},
    job::{Boxes, Detect, Embed, Look, Picture},
};
use millrace_models::{Cache, Catalog, Channels, Model, Order, default_root};
use millrace_proto::vision::Sights;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::common::{cut, demux, ffmpeg, launcher, segments};

fn shelf() -> (Cache, Catalog) {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let folder =
        variable("MILLRACE_TEST_MODELS").or_else(|| default_root(variable("XDG_CACHE_HOME"), variable("HOME")));
    (Cache::new(folder.unwrap()), Catalog::built_in())
}

fn picture(model: &Model) -> Picture {
    let how = model.picture.clone().unwrap();
    Picture {
        input: how.input,
        width: how.width,
        height: how.height,
        bgr: how.order == Order::Bgr,
        planes: how.channels == Channels::First,
        mean: how.mean,
        deviation: how.deviation,
    }
}

fn job() -> Look {
    let (cache, catalog) = shelf();
    let path = |id: &str| cache.check(catalog.get(id).unwrap()).unwrap_or_else(|error| panic!("{error}"));
    let (detector, classifier) = (catalog.get("centernet").unwrap(), catalog.get("efficientnet-lite2").unwrap());
    let labels = fs::read_to_string(path("imagenet-labels")).unwrap();
    Look {
        runtime: path("onnxruntime"),
        moderation: Some(path("open-nsfw")),
        detection: Some(Detect {
            model: path("centernet"),
            picture: picture(detector),
            boxes: Boxes::Rows,
            outputs: detector.outputs.clone(),
            labels: detector.labels.clone(),
            score: detector.thresholds["score"] as f32,
            overlap: detector.thresholds["overlap"] as f32,
        }),
        embedding: Some(Embed {
            id: classifier.id.clone(),
            version: classifier.version.clone(),
            model: path("efficientnet-lite2"),
            picture: picture(classifier),
            outputs: classifier.outputs.clone().try_into().unwrap(),
            labels: labels.lines().map(str::to_owned).collect(),
            score: classifier.thresholds["score"] as f32,
        }),
        threads: 1,
        card: None,
    }
}

fn moderation_alone() -> Look {
    Look { detection: None, embedding: None, ..job() }
}

fn limits() -> Limits {
    Limits { memory_bytes_max: 4 << 30, wall_ms_max: 240_000, ..Limits::default() }
}

fn glance(every_ms: u32) -> Glance {
    Glance { every_ms, preroll: 0, pictures_max: 100, closely: 2 }
}

/// Video as the orchestrator stores it: a header and segments, cut at keyframes.
struct Stored {
    init: Bytes,
    segments: Vec<Bytes>,
}

async fn stored(dir: &Path, arguments: &str) -> Stored {
    let file = ffmpeg(dir, &format!("{arguments} -an"), "video.mp4");
    let all = demux(&file).await.unwrap();
    let track = all.video_track.unwrap();
    let read = |path: &PathBuf| Bytes::from(fs::read(path).unwrap());
    let pairs = segments(dir, &track, &all.video);
    Stored { init: init(&track).unwrap(), segments: pairs.iter().map(|pair| read(&pair.segment)).collect() }
}

fn clips() -> String {
    std::env::var("MILLRACE_CLIPS")
        .unwrap_or_else(|_| format!("{}/.cache/millrace/clips", std::env::var("HOME").unwrap()))
}

/// What Python says of the same frames: `reference.py` beside it says how it is made.
fn reference() -> Vec<serde_json::Value> {
    serde_json::from_str(include_str!("../../../../models/inference/tests/reference.json")).unwrap()
}

#[tokio::test]
async fn a_card_that_is_not_there_is_refused_and_nothing_runs_in_its_place() {
    let card = Some(Card { index: 77, minor: 77, uuid: None });
    let mut looker = launcher().look(Look { card, ..moderation_alone() }, &limits().with_cuda());
    let failure = looker.warm().await.unwrap_err();
    assert_eq!((failure.card, looker.is_warm()), (Some(Refusal::Missing), false), "{failure}");
}

#[tokio::test]
async fn frames_are_seen_as_python_sees_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut looker = launcher().look(job(), &limits());
    let mut things = 0;
    for known in reference().iter().filter(|known| known["clip"] == "bikes.mp4") {
        // A video of one frame, without loss.
        let arguments = format!("-ss {} -i {}/bikes.mp4 -frames:v 1 -c:v libx264 -qp 0", known["at_s"], clips());
        let video = stored(dir.path(), &arguments).await;
        let sights = looker.look(&glance(1_000), &video.init, &video.segments).await.unwrap();
        assert_eq!((sights.start_ms, sights.decoded, sights.pictures.len()), (0, 1, 1));
        let sight = &sights.pictures[0];
        let near = |a: f32, b: &serde_json::Value| (f64::from(a) - b.as_f64().unwrap()).abs() < 1e-3;
        assert!(sight.categories[0].name == "pornography", "{sight:?}");
        assert!(near(sight.categories[0].score, &known["moderation"]), "{sight:?}");
        let found = known["found"].as_array().unwrap();
        assert_eq!(sight.things.len(), found.len(), "{sight:?}");
        for (number, (thing, known)) in sight.things.iter().zip(found).enumerate() {
            assert!(near(thing.score, &known["score"]), "{thing:?} {known}");
            assert!((f64::from(thing.place.x) - known["box"][0].as_f64().unwrap()).abs() * 640.0 < 2.0, "{thing:?}");
            // The classifier is sure of none of them: no name is told, but what they look like is.
            assert_eq!((&thing.finer, thing.looks.len()), (&None, if number < 2 { 1_280 } else { 0 }));
        }
        things += found.iter().filter(|known| known["class"] == 2).count();
        let cars = sight.things.iter().filter(|thing| thing.label == "car").count();
        assert_eq!(cars, found.iter().filter(|known| known["class"] == 2).count());
    }
    assert!(things > 0);
}

#[tokio::test]
async fn what_the_classifier_is_sure_of_has_a_finer_name() {
    // The worker's sample: a cup of coffee on a table, small and pale.
    let (init, segment) =
        (&include_bytes!("../../../src/look/picture.init")[..], include_bytes!("../../../src/look/picture.segment"));
    let mut looker = launcher().look(job(), &limits());
    let sights = looker.look(&glance(1_000), &Bytes::from_static(init), &[Bytes::from_static(segment)]).await.unwrap();
    let cup = sights.pictures[0].things.iter().find(|thing| thing.label == "cup").unwrap();
    let finer = cup.finer.as_ref().unwrap();
    assert_eq!((finer.label.as_str(), finer.model.as_str()), ("consomme", "efficientnet-lite2"));
    assert!(finer.score >= 0.45 && !finer.version.is_empty(), "{finer:?}");
}

#[tokio::test]
async fn no_more_is_decoded_than_it_takes() {
    let dir = tempfile::tempdir().unwrap();
    let source = "-f lavfi -i testsrc2=size=320x180:rate=25:duration=4";
    let video = stored(dir.path(), &format!("{source} -c:v libx264 -g 25 -bf 2 -sc_threshold 0")).await;
    assert_eq!(video.segments.len(), 4);
    let mut looker = launcher().look(moderation_alone(), &limits());
    let look = async |looker: &mut Looker, glance: Glance, segments: &[Bytes]| -> (u32, Vec<i64>) {
        let Sights { decoded, pictures, .. } = looker.look(&glance, &video.init, segments).await.unwrap();
        (decoded, pictures.iter().map(|sight| sight.at_ms).collect())
    };
    assert_eq!(look(&mut looker, glance(1_000), &video.segments).await, (4, vec![0, 1_000, 2_000, 3_000]));
    assert_eq!(look(&mut looker, glance(10_000), &video.segments[1..]).await, (0, vec![]));
    let (decoded, times) = look(&mut looker, glance(500), &video.segments[1..2]).await;
    assert_eq!(times, [1_000, 1_520]);
    assert!((2..=20).contains(&decoded), "{decoded}");
    let few = Glance { pictures_max: 1, ..glance(500) };
    assert_eq!(look(&mut looker, few, &video.segments).await.1, [0]);

    // Cut where there is no keyframe: what comes before is decoded, and not looked at.
    let all = demux(&dir.path().join("video.mp4")).await.unwrap();
    let pairs = cut(dir.path(), &all.video_track.unwrap(), &all.video, &[0, 10]);
    let parts = [&pairs[1].preroll[0], &pairs[1].segment].map(|path| Bytes::from(fs::read(path).unwrap()));
    let (_, times) = look(&mut looker, Glance { preroll: 1, ..glance(600) }, &parts).await;
    assert!(times[0] == 600 && times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
}

#[tokio::test]
async fn what_can_not_be_looked_at_fails_alone() {
    let dir = tempfile::tempdir().unwrap();
    let video = stored(dir.path(), "-f lavfi -i testsrc2=size=320x180:duration=1 -c:v libx264").await;
    let mut looker = launcher().look(moderation_alone(), &limits());
    looker.warm().await.unwrap();
    let child = looker.process_id().unwrap();
    let fails = async |looker: &mut Looker, glance: Glance, init: &Bytes, segments: &[Bytes]| {
        let failure = looker.look(&glance, init, segments).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::BadInput, "{failure}");
        failure.message
    };
    let noise = Bytes::from(vec![7; 5_000]);
    fails(&mut looker, glance(1_000), &noise, &video.segments).await;
    fails(&mut looker, glance(1_000), &video.init, std::slice::from_ref(&noise)).await;
    fails(&mut looker, glance(1_000), &video.init, &[]).await;
    fails(&mut looker, Glance { preroll: 1, ..glance(1_000) }, &video.init, &video.segments).await;
    // Its boxes are sound, and nothing else is.
    let mut damaged = video.segments[0].to_vec();
    let data = damaged.windows(4).position(|name| name == b"mdat").unwrap() + 4;
    damaged[data..].fill(0xa5);
    let told = fails(&mut looker, glance(1_000), &video.init, &[damaged.into()]).await;
    assert!(told.contains("can be decoded"), "{told}");
    let sound = ffmpeg(dir.path(), "-f lavfi -i sine=duration=1 -c:a aac", "sound.m4a");
    let sound = demux(&sound).await.unwrap();
    let track = sound.audio_track.unwrap();
    let header = init(&track).unwrap();
    let segment = millrace_cmaf::segment(&track, 1, &sound.audio[2..], 48_000).unwrap();
    let told = fails(&mut looker, glance(1_000), &header, &[segment]).await;
    assert!(told.contains("no video"), "{told}");

    // 8K is looked at, more is not.
    let still = "-frames:v 1 -c:v libx264 -preset ultrafast -pix_fmt yuv420p";
    let large = stored(dir.path(), &format!("-f lavfi -i testsrc2=size=7680x4320 {still}")).await;
    let sights = looker.look(&glance(1_000), &large.init, &large.segments).await.unwrap();
    assert_eq!(sights.pictures.len(), 1);
    let larger = stored(dir.path(), &format!("-f lavfi -i color=red:size=8192x8192 {still}")).await;
    fails(&mut looker, glance(1_000), &larger.init, &larger.segments).await;
    // All that with one and the same child, which goes on.
    let sights = looker.look(&glance(1_000), &video.init, &video.segments).await.unwrap();
    assert!(sights.pictures.len() == 1 && looker.process_id() == Some(child));
}

#[tokio::test]
async fn a_model_that_is_no_model_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (job, bad) = (job(), dir.path().join("bad"));
    let (detection, embedding) = (job.detection.clone().unwrap(), job.embedding.clone().unwrap());
    let weights = fs::read(&detection.model).unwrap();
    for bytes in [weights[..weights.len() / 2].to_vec(), b"no model".to_vec()] {
        fs::write(&bad, bytes).unwrap();
        for job in [
            Look { moderation: Some(bad.clone()), ..job.clone() },
            Look { detection: Some(Detect { model: bad.clone(), ..detection.clone() }), ..job.clone() },
            Look { embedding: Some(Embed { model: bad.clone(), ..embedding.clone() }), ..job.clone() },
            Look { runtime: bad.clone(), ..job.clone() },
        ] {
            let failure = launcher().look(job, &limits()).warm().await.unwrap_err();
            assert!(
                failure.kind == FailureKind::Unsupported && failure.message.contains("can't be loaded"),
                "{failure}"
            );
        }
    }
    let missing = Look { moderation: Some(dir.path().join("none")), ..job.clone() };
    let failure = launcher().look(missing, &limits()).warm().await.unwrap_err();
    assert!(failure.message.contains("none"), "{failure}");
    // A model for another task is loaded, and found out by what it answers.
    let other = Detect { outputs: vec!["boxes".into()], ..detection };
    let failure = launcher().look(Look { detection: Some(other), ..job }, &limits()).warm().await.unwrap_err();
    assert!(failure.message.contains("no output boxes"), "{failure}");
}

#[tokio::test]
async fn a_child_that_dies_costs_one_answer() {
    let dir = tempfile::tempdir().unwrap();
    let video = stored(dir.path(), "-f lavfi -i testsrc2=size=320x180:duration=1 -c:v libx264").await;
    let mut looker = launcher().look(moderation_alone(), &limits());
    looker.warm().await.unwrap();
    let child = looker.process_id().unwrap();
    kill(Pid::from_raw(child as i32), Signal::SIGKILL).unwrap();
    // Whether it is found dead before or while it is asked, the next question is answered by another one.
    if let Err(failure) = looker.look(&glance(1_000), &video.init, &video.segments).await {
        assert_eq!(failure.kind, FailureKind::Crashed, "{failure}");
    }
    let sights = looker.look(&glance(1_000), &video.init, &video.segments).await.unwrap();
    assert!(sights.pictures.len() == 1 && looker.process_id() != Some(child) && looker.is_warm());

    let mut small = launcher().look(job(), &Limits { memory_bytes_max: 100 << 20, ..limits() });
    let failure = small.warm().await.unwrap_err();
    assert!([FailureKind::Limit, FailureKind::Crashed, FailureKind::Unsupported].contains(&failure.kind), "{failure}");
    assert!(!small.is_warm());
}
