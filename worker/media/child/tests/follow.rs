//! Following a transport stream that has no end yet: frames as they come, wraps, damage, tracks that change.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use millrace_cmaf::Sample;
use millrace_media::{
    Failure, FailureKind, Following, Limits,
    job::{Demuxed, Follow},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::common::{Demuxing, demux, ffmpeg, joined, launcher};

const PICTURE: &str = "-f lavfi -i testsrc2=size=320x180:rate=30:duration=4";
const SOUND: &str = "-f lavfi -i sine=frequency=440:sample_rate=48000:duration=4";
const H264: &str = "-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 30 -bf 2";
const JOB: Follow = Follow { look_ms_max: 1_500 };

/// Bytes of one transport packet.
const PACKET: usize = 188;

async fn rest(mut following: Following) -> Result<Demuxing, Failure> {
    let mut all = Demuxing::default();
    while let Some(next) = following.next().await? {
        match next {
            Demuxed::Tracks { video, audio } => {
                all.tracks_told += 1;
                (all.video_track, all.audio_track) = (video, audio);
            }
            Demuxed::Video(sample) => all.video.push(sample),
            Demuxed::Audio(sample) => all.audio.push(sample),
            Demuxed::Ignored(_) | Demuxed::End => {}
        }
    }
    Ok(all)
}

/// Everything that comes of these bytes, in pieces as SRT delivers them.
async fn follow(bytes: Vec<u8>) -> Result<Demuxing, Failure> {
    let (mut feed, following) = launcher().follow(&JOB, &Limits::live()).await?;
    let writer = tokio::spawn(async move {
        for piece in bytes.chunks(7 * PACKET) {
            // A child that is gone is told by its other half.
            if feed.write(piece).await.is_err() {
                return;
            }
        }
    });
    let all = rest(following).await;
    writer.await.unwrap();
    all
}

fn made(dir: &Path, arguments: &str, name: &str) -> Vec<u8> {
    fs::read(ffmpeg(dir, arguments, name)).unwrap()
}

fn times(samples: &[Sample]) -> Vec<(i64, i64)> {
    samples.iter().map(|sample| (sample.pts, sample.dts)).collect()
}

#[tokio::test]
async fn what_is_followed_is_what_is_read_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let sounds = ["-c:a aac", "-c:a ac3", "-c:a mp2", "-c:a aac -f mpegts -mpegts_flags latm", "-an"];
    for (at, sound) in sounds.into_iter().enumerate() {
        let name = format!("{at}.ts");
        let bytes = made(dir.path(), &format!("{PICTURE} {SOUND} {H264} {sound}"), &name);
        let file = demux(&dir.path().join(&name)).await.unwrap();
        let all = follow(bytes).await.unwrap();
        assert_eq!(all.tracks_told, 1, "{sound}");
        assert_eq!(all.video_track, file.video_track, "{sound}");
        assert_eq!(all.audio_track, file.audio_track, "{sound}");
        assert_eq!(all.video.len(), 120, "{sound}");
        assert_eq!(times(&all.video), times(&file.video), "{sound}");
        assert_eq!(times(&all.audio), times(&file.audio), "{sound}");
    }
}

#[tokio::test]
async fn hevc_and_sound_alone_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let hevc = "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=30:bframes=2 -pix_fmt yuv420p";
    let all = follow(made(dir.path(), &format!("{PICTURE} {SOUND} {hevc} -c:a aac"), "hevc.ts")).await.unwrap();
    assert!(all.video_track.unwrap().codec_string().unwrap().starts_with("hvc1."));
    assert_eq!(all.video.len(), 120);
    let all = follow(made(dir.path(), &format!("{SOUND} -c:a aac"), "sound.ts")).await.unwrap();
    assert!(all.video_track.is_none());
    let lasts: u32 = all.audio.iter().map(|sample| sample.duration).sum();
    assert!(lasts >= 4 * 48_000, "{lasts}");
}

#[tokio::test]
async fn a_frame_is_out_soon_after_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    // Paced by the clock of its own times, so that bytes come when a live source sends them.
    let bytes = made(dir.path(), &format!("{PICTURE} {SOUND} {H264} -tune zerolatency -c:a aac"), "paced.ts");
    let (mut feed, mut following) = launcher().follow(&JOB, &Limits::live()).await.unwrap();
    let began = Instant::now();
    let lasts = Duration::from_secs(4);
    let writer = tokio::spawn(async move {
        let pieces: Vec<_> = bytes.chunks(7 * PACKET).map(<[u8]>::to_vec).collect();
        let count = pieces.len() as u32;
        for (at, piece) in pieces.into_iter().enumerate() {
            tokio::time::sleep_until((began + lasts * at as u32 / count).into()).await;
            feed.write(&piece).await.unwrap();
        }
        // The stream is not over: what is out now is out without its end.
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(feed);
        Instant::now()
    });
    let mut seen = Vec::new();
    while let Some(next) = following.next().await.unwrap() {
        if let Demuxed::Video(_) = next {
            seen.push(Instant::now());
        }
    }
    let dropped = writer.await.unwrap();
    assert_eq!(seen.len(), 120);
    let early = seen.iter().filter(|at| **at + Duration::from_millis(100) < dropped).count();
    assert!(early >= 117, "{early} of 120 frames were out before the end");
    let first = seen[0] - began;
    assert!(first < Duration::from_millis(2_500), "the first frame took {first:?}");
}

#[tokio::test]
async fn times_count_on_over_the_wrap() {
    let dir = tempfile::tempdir().unwrap();
    // 2^33 ticks are 95,443.7 s: the wrap comes in the middle.
    let arguments = format!("{PICTURE} {SOUND} {H264} -c:a aac -output_ts_offset 95440.3");
    let all = follow(made(dir.path(), &arguments, "wrap.ts")).await.unwrap();
    assert_eq!((all.tracks_told, all.video.len()), (1, 120));
    let mut pts: Vec<_> = all.video.iter().map(|sample| sample.pts).collect();
    pts.sort_unstable();
    assert!(pts.windows(2).all(|pair| pair[1] - pair[0] == 3_000), "{pts:?}");
    assert!(pts[0] < 1 << 33 && pts[119] > 1 << 33);
    assert!(all.audio.windows(2).all(|pair| pair[0].pts + i64::from(pair[0].duration) == pair[1].pts));
}

#[tokio::test]
async fn lost_packets_lose_whole_frames_and_move_none() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = made(dir.path(), &format!("{PICTURE} {SOUND} {H264} -c:a aac -b:v 4M"), "lossy.ts");
    let whole = follow(bytes.clone()).await.unwrap();
    // One message of seven packets in forty is lost.
    let kept =
        bytes.chunks(7 * PACKET).enumerate().filter(|(at, _)| at % 40 != 33).flat_map(|(_, piece)| piece.to_vec());
    let all = follow(kept.collect()).await.unwrap();
    assert_eq!(all.tracks_told, 1);
    let lost = whole.video.len() - all.video.len();
    assert!((5..60).contains(&lost), "{lost} of {} frames were left out", whole.video.len());
    for sample in &all.video {
        let same = whole.video.iter().find(|other| other.pts == sample.pts).expect("no time is another");
        assert_eq!(sample.data, same.data, "what is passed on is whole, at {}", sample.pts);
    }
}

#[tokio::test]
async fn late_sound_and_another_program_are_new_tracks() {
    let dir = tempfile::tempdir().unwrap();
    let late = made(
        dir.path(),
        &format!("{PICTURE} -itsoffset 2.5 {SOUND} {H264} -c:a aac -t 6 -flush_packets 1 -muxdelay 0 -muxpreload 0"),
        "late.ts",
    );
    let all = follow(late).await.unwrap();
    assert!(all.audio_track.is_some() && all.audio.len() > 50, "{} sounds", all.audio.len());
    assert!(all.video.len() >= 100, "{}", all.video.len());
    // A picture alone on other identifiers, then the same with sound.
    let one = ffmpeg(dir.path(), &format!("{PICTURE} {H264} -an"), "one.ts");
    let two = "-streamid 0:401 -streamid 1:402 -mpegts_service_id 7 -mpegts_pmt_start_pid 0x1000 -output_ts_offset 4";
    let two = ffmpeg(dir.path(), &format!("{PICTURE} {SOUND} {H264} -vf scale=640:360 -c:a mp2 {two}"), "two.ts");
    let both = fs::read(joined(dir.path(), "both.ts", &[one, two])).unwrap();
    let all = follow(both).await.unwrap();
    assert_eq!(all.video_track.unwrap().video().unwrap().width, 640);
    assert!(all.audio_track.is_some());
    assert!(all.video.len() >= 180, "{}", all.video.len());
}

#[tokio::test]
async fn what_is_no_stream_is_bad_input() {
    let noise: Vec<_> = (0..300_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for bytes in [Vec::new(), noise, vec![0x47; 300_000]] {
        let failure = follow(bytes).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::BadInput, "{failure}");
    }
}

#[tokio::test]
async fn a_killed_child_is_a_crash_and_one_that_works_too_hard_is_stopped() {
    let (_feed, mut following) = launcher().follow(&JOB, &Limits::live()).await.unwrap();
    let child = Pid::from_raw(following.process_id().unwrap() as i32);
    kill(child, Signal::SIGKILL).unwrap();
    assert_eq!(following.next().await.unwrap_err().kind, FailureKind::Crashed);

    let dir = tempfile::tempdir().unwrap();
    let bytes = made(dir.path(), &format!("{PICTURE} {SOUND} {H264} -c:a ac3"), "busy.ts");
    // No time at all in a window: whatever a child does is too much.
    let limits = Limits { cpu_s_max: 0, cpu_window_s: 1, ..Limits::live() };
    let (mut feed, mut following) = launcher().follow(&JOB, &limits).await.unwrap();
    let writer = tokio::spawn(async move { while feed.write(&bytes).await.is_ok() {} });
    let failure = loop {
        match following.next().await {
            Ok(_) => {}
            Err(failure) => break failure,
        }
    };
    assert_eq!(failure.kind, FailureKind::Limit, "{failure}");
    writer.await.unwrap();
}

#[tokio::test]
async fn a_dropped_following_leaves_no_child() {
    let (feed, following) = launcher().follow(&JOB, &Limits::live()).await.unwrap();
    let child = Pid::from_raw(following.process_id().unwrap() as i32);
    drop(following);
    for _ in 0..500 {
        if kill(child, None).is_err() {
            drop(feed);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the child lives on");
}
