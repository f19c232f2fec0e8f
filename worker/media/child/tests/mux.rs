//! Muxing: CMAF of pictures and sound as transport streams, each time where the source had it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use millrace_cmaf::Sample;
use millrace_media::{
    FailureKind, Limits,
    job::{Mux, Pair},
};

use crate::common::{Demuxing, demux, ffmpeg, launcher, probe, segments};

const CLIP: &str = "-f lavfi -i testsrc2=size=320x180:rate=30:duration=3 \
                    -f lavfi -i sine=frequency=440:sample_rate=48000:duration=3 -c:a aac";
const H264: &str = "-c:v libx264 -pix_fmt yuv420p -g 30 -keyint_min 30 -sc_threshold 0 -bf 2";

/// What a transport stream counts in: 33 bits.
const WRAP: i64 = 1 << 33;

/// Presentation times of a track, in order.
fn times(file: &Path, track: &str) -> Vec<i64> {
    let mut times: Vec<i64> = probe(file, track, "packet=pts").iter().map(|row| row[0].parse().unwrap()).collect();
    times.sort_unstable();
    times
}

fn first(samples: &[Sample]) -> i64 {
    samples.iter().map(|sample| sample.pts).min().unwrap()
}

/// The job for all of a clip: `numbers` of its segments, at the clip's own times.
fn job(dir: &Path, all: &Demuxing, numbers: std::ops::Range<usize>) -> Mux {
    let (pictures, sounds) = (dir.join("pictures"), dir.join("sounds"));
    for folder in [&pictures, &sounds] {
        fs::create_dir_all(folder).unwrap();
    }
    let pictures = segments(&pictures, all.video_track.as_ref().unwrap(), &all.video);
    let sound = crate::common::cut(&sounds, all.audio_track.as_ref().unwrap(), &all.audio, &[0]);
    Mux {
        videos: vec![pictures[numbers].to_vec()],
        audio: sound,
        video_start: Some(first(&all.video)),
        audio_start: Some(first(&all.audio)),
        out: dir.to_owned(),
    }
}

async fn mux(job: &Mux) -> PathBuf {
    launcher().mux(job, &Limits::default()).await.unwrap();
    job.out.join(Mux::file(0))
}

/// Decodes all of it; FFmpeg has nothing to say.
fn assert_plays(dir: &Path, file: &Path) {
    let raw = ffmpeg(dir, &format!("-xerror -i {} -f md5", file.display()), "md5");
    assert!(fs::read_to_string(raw).unwrap().starts_with("MD5="));
}

#[tokio::test]
async fn every_time_is_the_sources_own() {
    for codec in [H264, "-c:v libx265 -x265-params log-level=none:keyint=30:min-keyint=30:scenecut=0"] {
        let dir = tempfile::tempdir().unwrap();
        let source = ffmpeg(dir.path(), &format!("{CLIP} {codec}"), "in.ts");
        let all = demux(&source).await.unwrap();
        let made = mux(&job(dir.path(), &all, 0..3)).await;
        for track in ["v", "a"] {
            assert_eq!(times(&made, track), times(&source, track), "{codec}, {track}");
        }
        assert_eq!(probe(&made, "v", "stream=codec_name"), probe(&source, "v", "stream=codec_name"));
        assert_plays(dir.path(), &made);
    }
}

#[tokio::test]
async fn times_wrap_as_the_sources_do() {
    let dir = tempfile::tempdir().unwrap();
    let source = ffmpeg(dir.path(), &format!("{CLIP} {H264}"), "in.ts");
    let mut all = demux(&source).await.unwrap();
    let around = |times: Vec<i64>| times.into_iter().map(|time| time.rem_euclid(WRAP)).collect::<Vec<_>>();
    let wanted = around(times(&source, "v"));
    // The same times a turn later, in the middle of which the count begins anew, and before zero.
    for by in [WRAP, -WRAP] {
        all.video.iter_mut().for_each(|sample| sample.pts += by);
        let made = mux(&job(dir.path(), &all, 0..3)).await;
        assert_eq!(around(times(&made, "v")), wanted, "{by}");
        all.video.iter_mut().for_each(|sample| sample.pts -= by);
    }
    let second = times(&source, "v")[0] + 90_000;
    let mut job = job(dir.path(), &all, 0..3);
    (job.video_start, job.audio_start) = (Some(WRAP - 90_000), Some((WRAP - 90_000) * 48_000 / 90_000));
    let made = mux(&job).await;
    let got = around(times(&made, "v"));
    let over: Vec<_> = wanted.iter().map(|time| (time - second).rem_euclid(WRAP)).collect();
    let sorted = |mut times: Vec<i64>| {
        times.sort_unstable();
        times
    };
    assert_eq!(sorted(got), sorted(over));
    assert_plays(dir.path(), &made);
}

#[tokio::test]
async fn files_of_neighbours_are_one_stream() {
    let dir = tempfile::tempdir().unwrap();
    let source = ffmpeg(dir.path(), &format!("{CLIP} {H264}"), "in.ts");
    let all = demux(&source).await.unwrap();
    let mut bytes = Vec::new();
    let mut start = first(&all.video);
    for number in 0..3 {
        let mut job = job(dir.path(), &all, number..number + 1);
        job.audio.clear();
        job.video_start = Some(start);
        bytes.extend(fs::read(mux(&job).await).unwrap());
        start += 90_000;
    }
    let whole = dir.path().join("whole.ts");
    fs::write(&whole, bytes).unwrap();
    assert_eq!(times(&whole, "v"), times(&source, "v"));
    assert_plays(dir.path(), &whole);
    let flags = probe(&whole, "v", "packet=flags");
    assert!(flags.iter().all(|row| !row[0].contains('C')), "a packet counts as broken: {flags:?}");
}

#[tokio::test]
async fn sound_alone_is_a_stream_and_nonsense_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let source = ffmpeg(dir.path(), &format!("{CLIP} {H264}"), "in.ts");
    let all = demux(&source).await.unwrap();
    let mut job = job(dir.path(), &all, 0..1);
    job.videos.clear();
    let made = mux(&job).await;
    assert_eq!(times(&made, "a"), times(&source, "a"));
    assert!(probe(&made, "v", "packet=pts").is_empty());
    let junk = dir.path().join("junk");
    fs::write(&junk, [7; 1_000]).unwrap();
    job.videos = vec![vec![Pair { init: junk.clone(), preroll: Vec::new(), segment: junk }]];
    assert_eq!(launcher().mux(&job, &Limits::default()).await.unwrap_err().kind, FailureKind::BadInput);
}
