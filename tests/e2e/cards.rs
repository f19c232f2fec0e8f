//! Models on a graphics card, as far as a machine without one shows it: what is named and not there is told, and what a card
//! refuses is done on the processor. No test here needs a card, or runs anything on one.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use bytes::Bytes;
use millrace_media::{FailureKind, Glance, Launcher, card::Card, job::Look};
use millrace_proto::offer::{Device, Offer};
use millrace_worker::{
    look::{Wanted, job},
    models::Shelf,
    senses::{Child, Sense, Senses},
};

use crate::{
    house::{built, model_folder},
    wait::s,
};

const MODEL: &str = "open-nsfw";
const INIT: &[u8] = include_bytes!("../../worker/src/look/picture.init");
const SEGMENT: &[u8] = include_bytes!("../../worker/src/look/picture.segment");

#[test]
fn models_are_offered_on_the_processor_where_a_card_is_named_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let models = ["onnxruntime", "silero-vad", "whisper-tiny.en", MODEL];
    for model in models {
        std::os::unix::fs::symlink(model_folder().join(model), dir.path().join(model)).unwrap();
    }
    let probe = Command::new(built("millrace-worker"))
        .args(["probe", "--json", "--gpu", "77", "--media"])
        .arg(built("millrace-media"))
        .env("MILLRACE_MODELS", dir.path())
        .output()
        .unwrap();
    let offer: Offer = serde_json::from_slice(&probe.stdout).unwrap();
    let offered: Vec<_> = offer.models.iter().map(|model| (model.id.as_str(), model.device)).collect();
    assert_eq!(offered, [("whisper-tiny.en", Device::Cpu), (MODEL, Device::Cpu)], "{:?}", offer.absent);
    assert!(offer.absent.iter().any(|absent| absent.name == "card 77"), "{:?}", offer.absent);
}

/// A media child whose starts are written down in `log`, and which then does `what`.
fn program(dir: &Path, what: &str, log: &Path) -> PathBuf {
    let file = dir.join("child");
    fs::write(&file, format!("#!/bin/sh\necho started >> {}\n{what}\n", log.display())).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    file
}

#[tokio::test]
async fn what_a_card_refuses_is_done_on_the_processor_and_the_card_is_left_alone() {
    let media = fs::canonicalize(built("millrace-media")).unwrap();
    let shelf = Shelf::empty(model_folder());
    let model = shelf.catalog.get(MODEL).unwrap();
    let (job, limits) = job(&shelf, Wanted { moderation: Some(model), ..Wanted::default() }, 1).unwrap();
    let card = Some(Card { index: 77, minor: 77, uuid: None });
    let glance = Glance { every_ms: 1_000, preroll: 0, pictures_max: 1, closely: 0 };
    let (init, segments) = (Bytes::from_static(INIT), [Bytes::from_static(SEGMENT)]);
    let exec = format!("exec {}", media.display());
    // It says that there is no such card; it dies; it hangs. Once it has half of the time.
    for (what, time) in [(exec.as_str(), s(60)), ("exit 1", s(60)), ("exec sleep 100", s(8))] {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let on_card = Look { card: card.clone(), ..job.clone() };
        let child = Launcher::new(program(dir.path(), what, &log)).look(on_card, &limits.with_cuda());
        let spare = Some(Child::Eye(Launcher::new(&media).look(job.clone(), &limits)));
        let sense = Sense { id: MODEL.into(), version: "1".into(), child: Child::Eye(child), spare };
        let senses = Senses::new(vec![sense]);
        let begun = Instant::now();
        for _ in 0..2 {
            let (seen, _) = senses.look(MODEL, &glance, (&init, &segments), time).await.unwrap();
            assert_eq!(seen.pictures.len(), 1, "{what}");
        }
        assert!(begun.elapsed() < s(60), "{what}");
        assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 1, "{what}: the card is not asked again");
        let noise = Bytes::from_static(&[7; 5_000]);
        let bad = senses.look(MODEL, &glance, (&noise, &segments), time).await.unwrap_err();
        assert_eq!(bad.kind, FailureKind::BadInput, "{what}");
    }
}
