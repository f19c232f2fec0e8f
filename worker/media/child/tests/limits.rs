//! Every way in which a child can fail, and that none outlives its parent.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::common::{demux, ffmpeg, launcher, segments, target};
use millrace_media::{
    Failure, FailureKind, Launcher, Limits, Mode,
    job::{Demux, Demuxed, Job, Pair, Probe, Transcode},
    wire::Request,
};
use millrace_proto::profile::{Preset, VideoCodec};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

/// A child that is gone has no process; how long its end may take on a busy machine.
const END_WAIT: Duration = Duration::from_secs(20);

fn transcode(dir: &TempDir, pair: &Pair) -> Transcode {
    Transcode {
        source: pair.clone(),
        targets: vec![target("a", 1_280, 720), target("b", 640, 360)],
        out: dir.path().to_owned(),
        threads: 2,
        card: None,
    }
}

/// One segment of ten seconds of 720p with noise on it: seconds of work.
async fn hard_work(dir: &TempDir) -> Pair {
    let source = "-f lavfi -i testsrc2=size=1280x720:rate=30:duration=10,noise=alls=20:allf=t -pix_fmt yuv420p";
    let file = ffmpeg(dir.path(), &format!("{source} -c:v libx264 -preset ultrafast -g 1000"), "hard.mp4");
    let all = demux(&file).await.unwrap();
    segments(dir.path(), all.video_track.as_ref().unwrap(), &all.video).remove(0)
}

async fn fails(job: &Transcode, limits: Limits) -> Failure {
    launcher().transcode(job, &limits).await.unwrap_err()
}

#[tokio::test]
async fn each_limit_that_is_passed_is_told_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let pair = hard_work(&dir).await;
    let mut job = transcode(&dir, &pair);
    let limit = |failure: Failure| assert_eq!(failure.kind, FailureKind::Limit, "{failure}");
    // Enough to start and to read the segment, at several points of too little for the rest.
    for memory_mib in [150, 250, 300, 400] {
        limit(fails(&job, Limits { memory_bytes_max: memory_mib << 20, ..Limits::default() }).await);
    }
    limit(fails(&job, Limits { file_bytes_max: 10_000, ..Limits::default() }).await);
    limit(fails(&job, Limits { files_max: 4, ..Limits::default() }).await);
    for target in &mut job.targets {
        target.preset = Preset::Medium;
    }
    limit(fails(&job, Limits { cpu_s_max: 1, ..Limits::default() }).await);
}

#[tokio::test]
async fn a_child_that_takes_too_long_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let pair = hard_work(&dir).await;
    let started = Instant::now();
    let failure = fails(&transcode(&dir, &pair), Limits { wall_ms_max: 100, ..Limits::default() }).await;
    assert_eq!(failure.kind, FailureKind::TimedOut, "{failure}");
    assert!(started.elapsed() < END_WAIT);
}

#[tokio::test]
async fn noise_is_bad_input_and_a_missing_file_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let pair = Pair { init: dir.path().join("init"), segment: dir.path().join("segment"), ..Pair::default() };
    assert_eq!(fails(&transcode(&dir, &pair), Limits::default()).await.kind, FailureKind::Crashed);
    for bytes in [&b""[..], b"no video at all, whatever its name says", &[0; 1_000]] {
        fs::write(&pair.init, bytes).unwrap();
        fs::write(&pair.segment, bytes).unwrap();
        assert_eq!(fails(&transcode(&dir, &pair), Limits::default()).await.kind, FailureKind::BadInput);
    }
}

#[tokio::test]
async fn renditions_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let pair = Pair { init: dir.path().join("init"), segment: dir.path().join("segment"), ..Pair::default() };
    for (name, width, height) in [("../up", 640, 360), ("odd", 641, 360), ("zero", 0, 360), ("huge", 20_000, 360)] {
        let job = Transcode { targets: vec![target(name, width, height)], ..transcode(&dir, &pair) };
        assert_eq!(fails(&job, Limits::default()).await.kind, FailureKind::Unsupported, "{name}");
    }
}

#[tokio::test]
async fn a_killed_child_is_a_crash_and_readers_hold_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let source = "-f lavfi -i testsrc2=size=1280x720:rate=30:duration=4,noise=alls=20:allf=t -pix_fmt yuv420p";
    let file = ffmpeg(dir.path(), &format!("{source} -c:v libx264 -preset ultrafast"), "long.mkv");
    let mut reading = launcher().demux(&Demux { input: file }, &Limits::whole_file()).await.unwrap();
    assert!(matches!(reading.next().await, Ok(Some(Demuxed::Tracks { .. }))));
    // Far more than a pipe holds is still to come, so the child is there, waiting for its reader.
    let child = Pid::from_raw(reading.process_id().unwrap() as i32);
    kill(child, Signal::SIGKILL).unwrap();
    let failure = loop {
        match reading.next().await {
            Ok(next) => assert!(matches!(next, Some(Demuxed::Video(_)))),
            Err(failure) => break failure,
        }
    };
    assert_eq!(failure.kind, FailureKind::Crashed, "{failure}");
    assert!(failure.message.contains("signal 9"), "{failure}");
}

#[tokio::test]
async fn a_dropped_call_leaves_no_child() {
    let dir = tempfile::tempdir().unwrap();
    let source = "-f lavfi -i testsrc2=size=1280x720:rate=30:duration=4,noise=alls=20:allf=t -pix_fmt yuv420p";
    let file = ffmpeg(dir.path(), &format!("{source} -c:v libx264 -preset ultrafast"), "long.mkv");
    let mut reading = launcher().demux(&Demux { input: file }, &Limits::whole_file()).await.unwrap();
    reading.next().await.unwrap();
    let child = reading.process_id().unwrap() as i32;
    drop(reading);
    gone(child).await;
}

/// Waits until no process has this id, or only one that has ended.
async fn gone(child: i32) {
    let started = Instant::now();
    loop {
        let ended = match kill(Pid::from_raw(child), None) {
            Err(Errno::ESRCH) => true,
            _ => fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| stat.contains(") Z ")),
        };
        if ended {
            return;
        }
        assert!(started.elapsed() < END_WAIT, "process {child} is still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Starts a child by hand, as a parent that sends `parent` as its own id.
fn by_hand(parent: u32, input: PathBuf) -> std::process::Child {
    let request =
        Request { parent, limits: Limits::whole_file(), sandbox: Mode::Required, job: Job::Demux(Demux { input }) };
    let mut child = Command::new(env!("CARGO_BIN_EXE_millrace-media"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.as_mut().unwrap().write_all(&request.encode()).unwrap();
    child
}

#[tokio::test]
async fn a_child_whose_parent_closes_its_end_or_is_another_ends() {
    let dir = tempfile::tempdir().unwrap();
    let source = "-f lavfi -i testsrc2=size=1280x720:rate=30:duration=4,noise=alls=20:allf=t -pix_fmt yuv420p";
    let file = ffmpeg(dir.path(), &format!("{source} -c:v libx264 -preset ultrafast"), "long.mkv");
    // Nobody reads its output, so it never ends by itself.
    let mut child = by_hand(std::process::id(), file.clone());
    assert!(child.try_wait().unwrap().is_none());
    drop(child.stdin.take());
    gone(child.id() as i32).await;
    child.wait().unwrap();

    let mut child = by_hand(1, file);
    gone(child.id() as i32).await;
    child.wait().unwrap();
}

#[tokio::test]
async fn a_killed_parent_takes_its_child_along() {
    let dir = tempfile::tempdir().unwrap();
    let source = "-f lavfi -i testsrc2=size=1280x720:rate=30:duration=4,noise=alls=20:allf=t -pix_fmt yuv420p";
    let file = ffmpeg(dir.path(), &format!("{source} -c:v libx264 -preset ultrafast"), "long.mkv");
    // The parent is a shell; the child's input comes from us and stays open, so that only the kernel can tell
    // the child that its parent has died.
    let mut shell = Command::new("sh")
        .args(["-c", "exec 3<&0; \"$0\" <&3 & echo $! >&2; wait", env!("CARGO_BIN_EXE_millrace-media")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let request = Request {
        parent: shell.id(),
        limits: Limits::whole_file(),
        sandbox: Mode::Required,
        job: Job::Demux(Demux { input: file }),
    };
    let mut input = shell.stdin.take().unwrap();
    input.write_all(&request.encode()).unwrap();
    let mut line = String::new();
    BufReader::new(shell.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let child = line.trim().parse().unwrap();
    // It says hello, and then, bound to its parent, what it found; then it waits for us to read more.
    let mut output = shell.stdout.take().unwrap();
    let mut length = [0; 4];
    output.read_exact(&mut length).unwrap();
    output.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize]).unwrap();
    output.read_exact(&mut length).unwrap();
    shell.kill().unwrap();
    shell.wait().unwrap();
    gone(child).await;
    drop(input);
}

#[tokio::test]
async fn probing_measures_the_encoder() {
    let job = Probe { codec: VideoCodec::H264, threads: 2 };
    let probed = launcher().probe(&job, &Limits::default()).await.unwrap();
    assert_eq!(probed.encoder, "libx264");
    // A hundredth of real time at 240p would be less; a thousand times real time at 8K would be more.
    assert!((1e5..1e13).contains(&probed.pixels_per_s), "{}", probed.pixels_per_s);
}

#[tokio::test]
async fn a_child_gets_nothing_of_our_environment() {
    assert!(std::env::vars().any(|(name, _)| name.starts_with("CARGO")), "there is something to get");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("env");
    fs::write(&file, "#!/bin/sh\n/usr/bin/env >&2\n").unwrap();
    assert!(Command::new("chmod").arg("755").arg(&file).status().unwrap().success());
    let job = Probe { codec: VideoCodec::H264, threads: 1 };
    let failure = Launcher::new(&file).probe(&job, &Limits::default()).await.unwrap_err();
    // The shell adds a few of its own.
    assert!(failure.message.contains("SVT_LOG=1") && !failure.message.contains("CARGO"), "{failure}");
}

#[tokio::test]
async fn what_is_no_media_child_is_not_started() {
    let dir = tempfile::tempdir().unwrap();
    let script = |name: &str, text: &str| {
        let file = dir.path().join(name);
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        assert!(Command::new("chmod").arg("755").arg(&file).status().unwrap().success());
        file
    };
    let frame = |text: &str| {
        let [a, b, c, d] = (text.len() as u32 + 1).to_be_bytes();
        format!("printf '\\{a:03o}\\{b:03o}\\{c:03o}\\{d:03o}j%s' '{text}'; cat >/dev/null")
    };
    let programs = [
        (dir.path().join("missing"), "can't be started"),
        (script("silent", "echo dying words >&2"), "dying words"),
        (script("noisy", "echo GET / HTTP/1.1; cat >/dev/null"), "another program"),
        (script("older", &frame(r#"{"hello":{"version":"0.0.1","protocol":1}}"#)), "version 0.0.1"),
        (script("newer", &frame(r#"{"hello":{"version":"0.1.0","protocol":99}}"#)), "protocol 99"),
    ];
    for (program, says) in programs {
        let job = Probe { codec: VideoCodec::H264, threads: 1 };
        let failure = Launcher::new(&program).probe(&job, &Limits::default()).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotStarted, "{failure}");
        assert!(failure.message.contains(says), "{failure}");
    }
}
