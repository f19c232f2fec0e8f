//! The sandbox as operators and apps see it: what is said of it at the start and in offers, and streams that ask for it.
//! What it refuses is tried by the media child's own tests.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use millrace_proto::{api::StreamState, offer::Part};
use serde_json::json;

use crate::{
    clip::made,
    house::{House, built},
    wait::{s, until},
};

/// The media child, on a kernel that is made to look like one without Landlock.
fn without_landlock(dir: &Path) -> PathBuf {
    let file = dir.join("millrace-media");
    let (escape, child) = (built("millrace-media-escape"), built("millrace-media"));
    let (escape, child) = (fs::canonicalize(escape).unwrap(), fs::canonicalize(child).unwrap());
    fs::write(&file, format!("#!/bin/sh\nexec {} lacking landlock {}\n", escape.display(), child.display())).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    file
}

fn film() -> Vec<u8> {
    let input = ["-f", "lavfi", "-i", "testsrc2=size=160x90:rate=10:duration=4"];
    fs::read(made("sandbox.mp4", &input, "-pix_fmt yuv420p -c:v libx264 -g 20")).unwrap()
}

#[test]
fn a_stream_that_asks_for_a_sandbox_waits_for_a_worker_that_has_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::with_workers(0);
    assert!(house.log().contains("media is decoded in a sandbox"), "{}", house.log());
    house.add_worker_with(&without_landlock(dir.path()));
    house.until_online(1);
    let lacks = house.api.workers()[0].offer.sandbox.clone();
    assert!(
        !lacks.holds.contains(&Part::Files) && lacks.absent.iter().any(|lack| lack.part == Part::Files),
        "{lacks:?}"
    );
    assert!(house.worker(0).log().contains("docs/sandbox.md"), "{}", house.worker(0).log());

    let ladder = json!([{"name": "low", "short_side_px": 90, "bitrate_bps_max": 100_000}]);
    let asks = house.api.create("file", &json!({"policy": {"sandboxed": true}, "ladder": ladder}));
    let open = house.api.create("file", &json!({"ladder": ladder}));
    house.api.upload_all(&asks, &film());
    house.api.upload_all(&open, &film());
    house.api.until(&open, StreamState::Ended, s(60));
    let why = until("the stream to say that it is stuck", s(30), || house.api.stream(&asks.id).stuck);
    assert!(why.contains("policy.sandboxed"), "{why}");
    assert_eq!(house.api.stream(&asks.id).progress.segments_settled, 0);

    house.add_worker_with(&built("millrace-media"));
    house.until_online(2);
    let workers = house.api.workers();
    let Some(whole) = workers.iter().find(|worker| worker.offer.sandbox.is_whole()) else {
        // A kernel without some part: nobody here may have the stream, and it goes on to say so.
        println!("no whole sandbox on this kernel: {:?}", workers[1].offer.sandbox.absent);
        assert!(house.api.stream(&asks.id).stuck.is_some());
        return;
    };
    house.api.until(&asks, StreamState::Ended, s(60));
    let accepted = |address| house.api.workers().iter().find(|worker| worker.address == address).unwrap().accepted;
    let segments = house.api.stream(&asks.id).progress.segments;
    assert!(segments > 0 && accepted(whole.address) == segments, "{:?}", house.api.workers());
}

#[test]
fn who_requires_a_sandbox_does_nothing_without_a_whole_one() {
    let dir = tempfile::tempdir().unwrap();
    let media = without_landlock(dir.path());
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(built(program))
            .args(arguments)
            .arg("--media")
            .arg(&media)
            .env("MILLRACE_MODELS", dir.path())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, table, error) = run("millrace-worker", &["probe", "--sandbox", "required"]);
    assert_eq!(code, Some(3), "{table}{error}");
    assert!(table.contains("sandbox      absent: files: there is no Landlock"), "{table}");
    assert!(error.contains("is required"), "{error}");
    let (code, table, error) = run("millrace-worker", &["probe"]);
    assert_eq!(code, Some(0), "{table}{error}");
    let (code, json, _) = run("millrace-worker", &["probe", "--json"]);
    let offer: millrace_proto::offer::Offer = serde_json::from_str(&json).unwrap();
    assert!(code == Some(0) && !offer.sandbox.is_whole(), "{json}");

    let config = dir.path().join("strict.toml");
    fs::write(&config, "sandbox = \"required\"\n").unwrap();
    let data = dir.path().join("data").display().to_string();
    let (config, any) = (config.display().to_string(), "127.0.0.1:0");
    let (code, _, error) =
        run("millrace", &["serve", "--config", &config, "--data", &data, "--http", any, "--rtmp", any]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("the sandbox is required") && error.contains("docs/sandbox.md"), "{error}");
}
