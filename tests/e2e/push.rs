//! A publisher: real ffmpeg, pushing a file by RTMP at the speed of its own clock.

use std::{path::Path, process::Command};

use millrace_proto::api::Stream;

use crate::{clip::text, house::House, program::Program};

/// The address that an encoder is given: server and key.
pub(crate) fn address(stream: &Stream) -> String {
    let ingest = stream.ingest.as_ref().expect("a new live stream has an ingest address");
    format!("{}/{}", ingest.url, ingest.stream_key.as_ref().expect("a new stream tells its key"))
}

/// Pushes `file` once, in real time, as it is.
#[track_caller]
pub(crate) fn push(house: &House, stream: &Stream, file: &Path) -> Program {
    push_to(house, "publisher", &address(stream), &["-re", "-i", text(file), "-c", "copy"])
}

/// Pushes with ffmpeg's arguments `input` to `address`.
#[track_caller]
pub(crate) fn push_to(house: &House, name: &str, address: &str, input: &[&str]) -> Program {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-hide_banner", "-loglevel", "info", "-nostats", "-nostdin"])
        .args(input)
        .args(["-f", "flv", address]);
    Program::start(name, &mut command, house.log_path(name))
}
