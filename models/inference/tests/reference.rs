//! What the models say of some frames is what they say in Python: `reference.py` says how `reference.json` is made.

use std::{env, path::PathBuf, process::Command};

use millrace_inference::{
    Boxes, Detection, Device, Embedding, ErrorKind, Eyes, Input, Listener, Look, Looker, Models, Picture, Place,
};
use millrace_models::{Cache, Catalog, Channels, Model, Order, default_root};
use serde::Deserialize;

/// How far scores may be apart, and boxes in pixels of their frame.
const SCORE: f32 = 1e-3;
const PIXELS: f32 = 2.0;

#[derive(Deserialize)]
struct Frame {
    clip: String,
    width: usize,
    height: usize,
    at_s: u32,
    moderation: f32,
    found: Vec<Found>,
    look: Known,
}

#[derive(Deserialize)]
struct Found {
    class: usize,
    score: f32,
    r#box: [f32; 4],
}

#[derive(Deserialize)]
struct Known {
    class: usize,
    score: f32,
    embedding: Vec<f32>,
}

fn shelf() -> (Cache, Catalog) {
    let variable = |name| env::var_os(name).map(PathBuf::from);
    let folder =
        variable("MILLRACE_TEST_MODELS").or_else(|| default_root(variable("XDG_CACHE_HOME"), variable("HOME")));
    (Cache::new(folder.unwrap()), Catalog::built_in())
}

fn input(model: &Model) -> Input {
    let picture = model.picture.as_ref().unwrap();
    Input {
        name: picture.input.clone(),
        width: picture.width as usize,
        height: picture.height as usize,
        bgr: picture.order == Order::Bgr,
        planes: picture.channels == Channels::First,
        mean: picture.mean,
        deviation: picture.deviation,
    }
}

fn looker() -> Looker {
    let (cache, catalog) = shelf();
    let path = |id: &str| cache.check(catalog.get(id).unwrap()).unwrap_or_else(|error| panic!("{error}"));
    let (centernet, efficientnet) = (catalog.get("centernet").unwrap(), catalog.get("efficientnet-lite2").unwrap());
    let detection = Detection {
        model: path("centernet"),
        input: input(centernet),
        boxes: Boxes::Rows,
        outputs: centernet.outputs.clone(),
        classes: centernet.labels.len(),
        score: centernet.thresholds["score"] as f32,
        overlap: centernet.thresholds["overlap"] as f32,
    };
    let embedding = Embedding {
        model: path("efficientnet-lite2"),
        input: input(efficientnet),
        outputs: efficientnet.outputs.clone().try_into().unwrap(),
        classes: 1_000,
    };
    Looker::open(&Eyes {
        runtime: &path("onnxruntime"),
        device: Device::Cpu,
        moderation: Some(&path("open-nsfw")),
        detection: Some(&detection),
        embedding: Some(&embedding),
        threads: 1,
    })
    .unwrap()
}

/// Red, green and blue of the frame, as `reference.py` has them made.
fn pixels(frame: &Frame) -> Vec<u8> {
    let clips =
        env::var("MILLRACE_CLIPS").unwrap_or_else(|_| format!("{}/.cache/millrace/clips", env::var("HOME").unwrap()));
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-ss", &frame.at_s.to_string(), "-i"])
        .arg(format!("{clips}/{}", frame.clip))
        .args(["-frames:v", "1", "-sws_flags", "bilinear+accurate_rnd+full_chroma_int+bitexact"])
        .args(["-pix_fmt", "rgb24", "-f", "rawvideo", "-"])
        .output()
        .expect("ffmpeg can be started: install it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn looks_like(known: &Known, look: &Look) {
    assert_eq!(look.class, known.class);
    assert!((look.score - known.score).abs() < SCORE, "{} and not {}", look.score, known.score);
    let some: Vec<f32> = look.embedding.iter().step_by(40).copied().collect();
    assert_eq!((look.embedding.len(), some.len()), (1_280, known.embedding.len()));
    let apart = some.iter().zip(&known.embedding).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < SCORE, "{apart}");
}

#[test]
fn pictures_are_seen_as_python_sees_them() {
    let frames: Vec<Frame> = serde_json::from_str(include_str!("reference.json")).unwrap();
    let mut looker = looker();
    for frame in &frames {
        let rgb = pixels(frame);
        let picture = Picture { width: frame.width, height: frame.height, rgb: &rgb };
        let sight = looker.look(&picture, 2).unwrap();
        let moderation = sight.moderation.unwrap();
        let name = format!("{} at {} s", frame.clip, frame.at_s);
        eprintln!("{name}: moderation {moderation}, by Python {}", frame.moderation);
        assert!((moderation - frame.moderation).abs() < SCORE, "{name}: {moderation} and not {}", frame.moderation);
        assert_eq!(sight.found.len(), frame.found.len(), "{name}: {:?}", sight.found);
        for (at, ((found, look), known)) in sight.found.iter().zip(&frame.found).enumerate() {
            assert_eq!((found.class, look.is_some()), (known.class, at < 2), "{name}");
            assert!((found.score - known.score).abs() < SCORE, "{name}: {found:?}");
            let Place { x, y, width, height } = found.place;
            let edges = [x, y, x + width, y + height].into_iter().zip(known.r#box);
            let sides = [frame.width, frame.height].into_iter().cycle();
            for ((edge, known), side) in edges.zip(sides) {
                assert!((edge - known).abs() * (side as f32) < PIXELS, "{name}: {found:?}");
            }
        }
        looks_like(&frame.look, &looker.embed(&picture).unwrap().unwrap());
    }
    assert!(frames.iter().any(|frame| frame.found.len() > 3));
}

#[test]
fn what_is_no_picture_or_no_model_is_told() {
    let mut looker = looker();
    for (width, height, bytes) in [(0, 0, 0), (4, 4, 47), (usize::MAX, 2, 48)] {
        let rgb = vec![0; bytes];
        let error = looker.look(&Picture { width, height, rgb: &rgb }, 1).unwrap_err();
        assert!(error.message.contains("no picture"), "{error}");
    }
    let (cache, catalog) = shelf();
    let path = |id: &str| cache.check(catalog.get(id).unwrap()).unwrap();
    let (runtime, silero, centernet) = (path("onnxruntime"), path("silero-vad"), catalog.get("centernet").unwrap());
    let device = Device::Cpu;
    let eyes = Eyes { runtime: &runtime, device, moderation: None, detection: None, embedding: None, threads: 1 };
    // A detector without the outputs that the catalogue says.
    let detection = Detection {
        model: silero.clone(),
        input: input(centernet),
        boxes: Boxes::Rows,
        outputs: centernet.outputs.clone(),
        classes: 80,
        score: 0.25,
        overlap: 0.5,
    };
    let error = Looker::open(&Eyes { detection: Some(&detection), ..eyes }).err().unwrap();
    assert!(error.message.contains("no output tower_0/detections"), "{error}");
    // One of moderation that wants something else than pictures.
    let mut other = Looker::open(&Eyes { moderation: Some(&silero), ..eyes }).unwrap();
    let rgb = vec![0; 48];
    assert!(other.look(&Picture { width: 4, height: 4, rgb: &rgb }, 0).is_err());
}

/// On every machine: this library knows no card.
#[test]
fn a_card_that_onnx_runtime_can_not_have_is_refused_and_never_stood_in_for() {
    let (cache, catalog) = shelf();
    let path = |id: &str| cache.check(catalog.get(id).unwrap()).unwrap_or_else(|error| panic!("{error}"));
    let (runtime, moderation) = (path("onnxruntime"), path("open-nsfw"));
    let device = Device::Card;
    let eyes =
        Eyes { runtime: &runtime, device, moderation: Some(&moderation), detection: None, embedding: None, threads: 1 };
    let error = Looker::open(&eyes).err().expect("it has no provider for CUDA");
    assert_eq!(error.kind, ErrorKind::Card);
    assert!(error.message.contains("open_nsfw.onnx can't be had on the card: CUDA execution provider"), "{error}");
    // The same library, in the same process, on the processor.
    assert!(Looker::open(&Eyes { device: Device::Cpu, ..eyes }).is_ok());
}

#[cfg(not(feature = "cuda"))]
#[test]
fn whisper_on_a_card_is_refused_by_a_build_without_it() {
    let (cache, catalog) = shelf();
    let path = |id: &str| cache.check(catalog.get(id).unwrap()).unwrap_or_else(|error| panic!("{error}"));
    let (runtime, voice, whisper) = (path("onnxruntime"), path("silero-vad"), path("whisper-tiny.en"));
    let device = Device::Card;
    let models =
        Models { runtime: &runtime, voice: &voice, whisper: &whisper, dtw: None, device, speech: 0.5, pause: 0.35 };
    let error = Listener::open(&models).err().expect("it can't use a card");
    assert!(error.kind == ErrorKind::Card && error.message.contains("deploy/up"), "{error}");
    assert!(Listener::open(&Models { device: Device::Cpu, ..models }).is_ok());
}
