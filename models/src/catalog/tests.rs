//! The built-in catalogue, entries of a user's own, and entries that can't be.

use super::*;

const OWN: &str = r#"
[[model]]
id = "whisper-large"
task = "captions"
version = "3"
licence = "MIT"
about = "of my own"
layout = "whisper-ggml"
file = "ggml-large-v3-turbo.bin"
bytes = 1624555275
sha256 = "1fc70f774d38eb169993ac391eea357ef47c88757ef72ee5943879b7e8e2bc69"
memory_bytes = 4_000_000_000
languages = ["any"]
[[model.source]]
url = "https://models.example/ggml-large-v3-turbo.bin"
"#;

#[test]
fn the_built_in_catalogue_is_sound() {
    let catalog = Catalog::built_in();
    let layouts = [Layout::WhisperGgml, Layout::Silero16k, Layout::OpenNsfw, Layout::Rows, Layout::Embedding];
    for layout in layouts.into_iter().chain([Layout::Labels, Layout::Onnxruntime]) {
        assert!(catalog.first(layout).is_some(), "{layout:?}");
    }
    assert!(catalog.get("whisper-base").unwrap().understands(None));
    let english = catalog.get("whisper-tiny.en").unwrap();
    assert!(english.understands(Some("en")) && !english.understands(Some("de")) && !english.understands(None));
    assert_eq!(catalog.get("centernet").unwrap().labels.len(), 80);
    for labels in catalog.models().iter().filter_map(|model| model.labels_of.as_ref()) {
        assert_eq!(catalog.get(labels).unwrap().layout, Layout::Labels);
    }
    assert_eq!(catalog.get("no").unwrap_err().kind, ErrorKind::Unknown);
    let for_cards = catalog.first(Layout::OnnxruntimeCuda);
    assert_eq!(for_cards.is_some(), cfg!(target_arch = "x86_64"));
    assert!(for_cards.is_none_or(|library| !library.default && library.beside.len() == 16));
}

#[test]
fn a_user_adds_and_replaces_without_code() {
    let dir = tempfile::tempdir().unwrap();
    let count = Catalog::built_in().models().len();
    fs::write(dir.path().join("a.toml"), OWN).unwrap();
    fs::write(dir.path().join("b.toml"), OWN.replace("\"whisper-large\"", "\"whisper-base\"")).unwrap();
    fs::write(dir.path().join("notes.txt"), "not read").unwrap();
    let catalog = Catalog::built_in().with(dir.path()).unwrap();
    assert_eq!(catalog.models().len(), count + 1);
    assert_eq!(catalog.get("whisper-base").unwrap().about, "of my own");
    assert!(Catalog::built_in().with(&dir.path().join("none.toml")).is_err());
}

/// A detector of another kind, of a user's own.
const DETECTOR: &str = r#"
[[model]]
id = "d-fine"
task = "detection"
version = "1"
licence = "Apache-2.0"
about = "of my own"
layout = "detr"
file = "d-fine.onnx"
bytes = 40000000
sha256 = "1fc70f774d38eb169993ac391eea357ef47c88757ef72ee5943879b7e8e2bc69"
memory_bytes = 1_000_000_000
outputs = ["logits", "pred_boxes"]
labels = ["person", "cup"]
[model.picture]
input = "pixel_values"
width = 640
height = 640
deviation = [255, 255, 255]
[[model.source]]
url = "https://models.example/d-fine.onnx"
"#;

#[test]
fn a_detector_is_added_whose_layout_is_described() {
    let mut catalog = Catalog::built_in();
    catalog.add(DETECTOR, "own.toml").unwrap();
    let picture = catalog.get("d-fine").unwrap().picture.clone().unwrap();
    assert_eq!((picture.order, picture.channels, picture.mean), (Order::Rgb, Channels::First, [0.0; 3]));
    for (from, to, told) in [
        ("\"logits\", ", "", "2 outputs"),
        ("width = 640", "width = 8", "2048 pixels"),
        ("[255, 255, 255]", "[255, 0, 255]", "deviation"),
        ("[\"person\", \"cup\"]", "[]", "labels_of"),
        ("\"detr\"", "\"mine\"", "mine"),
    ] {
        let text = DETECTOR.replacen(from, to, 1);
        assert_ne!(text, DETECTOR);
        let error = catalog.add(&text, "own.toml").unwrap_err();
        assert!(error.message.contains(told), "{to}: {error}");
    }
}

#[test]
fn what_lies_beside_a_model_is_taken_with_it() {
    let hash = "1fc70f774d38eb169993ac391eea357ef47c88757ef72ee5943879b7e8e2bc69";
    let beside =
        format!("beside = [\n  {{ file = \"more.so\", bytes = 5, sha256 = \"{hash}\" }},\n]\n[[model.source]]");
    let source = format!("{beside}\npip = \"a==1\"\nsha256 = \"{hash}\"\ntake = [\"one\", \"two\"]\n");
    let own = OWN.split("[[model.source]]").next().unwrap().to_owned() + &source;
    let mut catalog = Catalog::built_in();
    catalog.add(&own, "own.toml").unwrap();
    assert_eq!(catalog.get("whisper-large").unwrap().bytes_in_all(), 1_624_555_280);
    for (from, to, told) in [
        (", \"two\"", "", "one that is taken"),
        ("more.so", "../more.so", "file's name"),
        ("more.so", "ggml-large-v3-turbo.bin", "one name"),
        ("bytes = 5", "bytes = 0", "16 GiB"),
        ("languages", "convert = \"whisper-ct2\"\nlanguages", "makes one file"),
    ] {
        let text = own.replacen(from, to, 1);
        assert_ne!(text, own);
        let error = catalog.add(&text, "own.toml").unwrap_err();
        assert!(error.message.contains(told), "{to}: {error}");
    }
    let urls =
        format!("{beside}\nurl = \"https://models.example/a\"\n[[model.source]]\nurl = \"https://models.example/b\"\n");
    let own = OWN.split("[[model.source]]").next().unwrap().to_owned() + &urls;
    assert!(catalog.add(&own, "own.toml").unwrap_err().message.contains("each of several sources"));
}

#[test]
fn what_can_not_be_is_told() {
    let wrong = [
        ("1fc70f", "1FC70F", "sha256"),
        ("https://models", "http://models", "only https"),
        ("file = \"ggml", "file = \"../ggml", "file's name"),
        ("url = ", "pip = ", "NAME==VERSION"),
        ("url = \"https://models.example/ggml-large-v3-turbo.bin\"", "pip = \"a==1\"", "sha256"),
        ("url = \"https://models.example/ggml-large-v3-turbo.bin\"", "npm = \"--registry@1\"", "NAME@VERSION"),
        ("licence", "license", "license"),
        ("bytes = 1624555275", "bytes = 0", "bytes"),
    ];
    for (from, to, told) in wrong {
        let text = OWN.replacen(from, to, 1);
        assert_ne!(text, OWN);
        let error = Catalog::built_in().add(&text, "own.toml").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Catalog);
        assert!(error.message.contains("own.toml") && error.message.contains(told), "{to}: {error}");
    }
}
