//! An hour in one file: neither memory nor scratch space grows with a file's length.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use millrace_proto::api::StreamState;
use serde_json::json;

use super::media::{Media, joined};
use crate::{conformance, house::House, live::recording, playlist, wait::s};

const LENGTH_S: u32 = 3_600;
/// Resident memory of the orchestrator, in bytes. The hour has 18 MB of media.
const MEMORY_BYTES_MAX: u64 = 64 << 20;
/// Beside the upload, which is removed, and the media that is published: jobs' own files.
const SCRATCH_BYTES_MAX: u64 = 16 << 20;
/// Between two looks at the disk.
const LOOK: Duration = Duration::from_millis(200);

/// Uploads an hour, and looks at memory and disk until it has come out.
pub(super) fn run(house: &House) -> Result<String, String> {
    let media = Media {
        size: (128, 72),
        rate: "2",
        seconds: LENGTH_S,
        sound: Some((16_000, 1)),
        args: "-g 20 -b:a 16k",
        ..Media::default()
    };
    let file = joined(&media.files());
    let profile = json!({"segment_ms": 10_000, "ladder": [{"name": "72p", "short_side_px": 72,
        "bitrate_bps_max": 100_000, "preset": "ultrafast"}]});
    let stream = house.api.create("file", &profile);
    let stop = AtomicBool::new(false);
    let scratch = house.data().join("scratch");
    let (memory, disk) = thread::scope(|scope| {
        let look = scope.spawn(|| {
            let (mut memory, mut disk) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                memory = house.memory_bytes().max(memory);
                disk = bytes_in(&scratch).max(disk);
                thread::sleep(LOOK);
            }
            (memory, disk)
        });
        house.api.upload_all(&stream, &file);
        house.api.until(&stream, StreamState::Ended, s(180));
        stop.store(true, Ordering::Relaxed);
        look.join().expect("the look does not panic")
    });
    println!("an hour of {} bytes: {memory} bytes of memory, {disk} of scratch", file.len());
    let left = house.data().join("uploads").join(stream.id.as_str());
    let recorded = recording(house, &stream);
    let list = playlist::Media::fetch(&house.api, &recorded.rungs[0].url).expect("the playlist is there");
    let faults: Vec<String> = [
        (memory > MEMORY_BYTES_MAX, format!("{memory} bytes of memory")),
        (disk > SCRATCH_BYTES_MAX, format!("scratch took {disk} bytes")),
        (left.exists(), format!("{} is left behind", left.display())),
        ((list.length_s() - f64::from(LENGTH_S)).abs() > 0.1, format!("{} s came out", list.length_s())),
    ]
    .into_iter()
    .filter_map(|(wrong, what)| wrong.then_some(what))
    .chain(conformance::recording(&house.api, &stream.playback.hls).iter().map(ToString::to_string))
    .collect();
    if !faults.is_empty() {
        return Err(faults.join("\n"));
    }
    Ok(format!(
        "{} segments; the orchestrator stays below {} MiB of memory and {} MiB of scratch files",
        list.segments.len(),
        MEMORY_BYTES_MAX >> 20,
        SCRATCH_BYTES_MAX >> 20
    ))
}

/// Bytes of all files in a folder and below. Files that go meanwhile count nothing.
fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(about) if about.is_dir() => bytes_in(&entry.path()),
            Ok(about) => about.len(),
            Err(_) => 0,
        })
        .sum()
}
