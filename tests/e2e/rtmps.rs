//! RTMP within TLS, by real ffmpeg; and that no log tells the keys that came in.

use std::{fs, path::Path};

use millrace_proto::api::Stream;
use serde_json::Value;

use crate::{
    clip::{live_source, text},
    house::House,
    live::{assert_every_frame, recording, small_ladder},
    push::{self, push_to},
    wait::s,
};

/// What makes a house listen for RTMPS, with a certificate of its own in `folder`.
#[track_caller]
pub(crate) fn config(folder: &Path) -> String {
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate can be made");
    fs::write(&cert, made.cert.pem()).expect("a file can be written");
    fs::write(&key, made.signing_key.serialize_pem()).expect("a file can be written");
    format!("[rtmps]\nlisten = \"127.0.0.1:0\"\ncert = {:?}\nkey = {:?}\n", text(&cert), text(&key))
}

/// The address within TLS that an encoder is given.
#[track_caller]
pub(crate) fn address(house: &House, stream: &Stream) -> String {
    let plain = push::address(stream);
    let stream_key = plain.rsplit('/').next().expect("an address ends with its key");
    let run = fs::read(house.data().join("run.json")).expect("the orchestrator says where it listens");
    let run: Value = serde_json::from_slice(&run).expect("it is JSON");
    format!("rtmps://{}/live/{stream_key}", run["rtmps"].as_str().expect("it listens for RTMPS"))
}

#[test]
fn a_push_within_tls_arrives_and_no_log_tells_a_key() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut house = House::configured(1, &config(folder.path()));
    house.log_everything();

    let source = live_source(10);
    let stream = house.api.create("live", &small_ladder());
    let plain = push::address(&stream);
    let stream_key = plain.rsplit('/').next().expect("an address ends with its key");
    let secure = address(&house, &stream);
    let file = ["-i", text(&source), "-c", "copy"];
    let mut publisher = push_to(&house, "secure", &secure, &file);
    let status = publisher.wait(s(60));
    assert!(status.success(), "ffmpeg was turned away: {}", publisher.log());
    assert_every_frame(&recording(&house, &stream), &source);

    // By all other ways, which are over for this stream.
    assert!(!push_to(&house, "plain", &plain, &file).wait(s(60)).success());
    let answer = house.api.send("PUT", &format!("/live/{stream_key}/0.ts"), &[], Some(b"late")).expect("an answer");
    assert_eq!(answer.error(409).code, "stream_ended");
    // Without TLS on the port for it.
    let bare = secure.replace("rtmps://", "rtmp://");
    assert!(!push_to(&house, "bare", &bare, &file).wait(s(60)).success());

    let log = house.log();
    assert!(log.contains("TRACE") && log.contains("DEBUG request"), "the log does not hold everything");
    let (_, secret) = stream_key.rsplit_once('_').expect("a key is an id and a secret");
    let admin = fs::read_to_string(house.data().join("admin.key")).expect("the key is there");
    for secret in [secret, admin.trim()] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "a secret is in the log");
    }
}
