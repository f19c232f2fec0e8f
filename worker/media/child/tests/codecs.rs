//! Renditions in every codec: the same frames at the same times, one header for all segments, one key frame each, and
//! codec strings that say what is in them.

use std::{fs, path::PathBuf};

use crate::{
    common::{ffmpeg, joined, launcher, probe, target},
    transcode::{made, seen, source, transcode},
};
use millrace_media::{
    Limits,
    job::{Gauge, Transcode},
};
use millrace_proto::{
    profile::{H264Profile, Preset, Rate, VideoCodec},
    task::Target,
};

/// Four seconds that are not easy, in two segments, with B-frames.
const FILM: &str = "-f lavfi -i testsrc2=size=320x180:rate=24:duration=4,noise=alls=12:allf=t -pix_fmt yuv420p \
                    -c:v libx264 -g 48 -sc_threshold 0 -bf 3 -crf 16 -video_track_timescale 24000";

fn of(codec: VideoCodec, name: &str, width: u32, height: u32) -> Target {
    Target { codec, preset: Preset::Superfast, ..target(name, width, height) }
}

/// How many pictures of a file are key frames.
fn keys(file: &std::path::Path) -> usize {
    probe(file, "v", "packet=flags").iter().filter(|row| row[0].starts_with('K')).count()
}

#[tokio::test]
async fn every_codec_makes_segments_that_join_under_one_header() {
    let dir = tempfile::tempdir().unwrap();
    let pairs = source(&dir, &ffmpeg(dir.path(), FILM, "in.mp4")).await;
    assert_eq!(pairs.len(), 2);
    let targets = vec![
        of(VideoCodec::H264, "h264", 320, 180),
        of(VideoCodec::Hevc, "hevc", 320, 180),
        of(VideoCodec::Av1, "av1", 160, 90),
    ];
    let mut parts = vec![Vec::<PathBuf>::new(); targets.len()];
    let mut times = Vec::new();
    for pair in &pairs {
        let out = tempfile::tempdir().unwrap();
        let done = transcode(&out, pair, targets.clone(), 2).await;
        let was = seen(pair.clone()).await;
        for ((target, told), parts) in targets.iter().zip(&done.renditions).zip(&mut parts) {
            let made = made(&out, &target.name);
            let got = seen(made.clone()).await;
            assert_eq!((&got.pts, got.timescale, got.key_first), (&was.pts, 24_000, true), "{}", target.name);
            assert_eq!((got.codec.as_str(), got.frames_decoded), (target.codec.as_str(), 48), "{}", target.name);
            assert_eq!(got.codec_string, told.codec);
            let header = dir.path().join(format!("{}.init", target.name));
            if parts.is_empty() {
                fs::copy(&made.init, &header).unwrap();
                parts.push(header);
            } else {
                assert_eq!(fs::read(&made.init).unwrap(), fs::read(header).unwrap(), "{}: one header", target.name);
            }
            let kept = dir.path().join(format!("{}-{}", target.name, parts.len()));
            fs::copy(&made.segment, &kept).unwrap();
            parts.push(kept);
        }
        times.extend(was.pts);
    }
    let says = [("h264", "avc1", "High"), ("hevc", "hvc1", "Main"), ("av1", "av01", "Main")];
    for ((target, parts), (codec, tag, profile)) in targets.iter().zip(&parts).zip(says) {
        let file = joined(dir.path(), &format!("{}.mp4", target.name), parts);
        let stream = &probe(&file, "v", "stream=codec_name,profile,codec_tag_string,pix_fmt")[0];
        assert_eq!(stream, &[codec, profile, tag, "yuv420p"]);
        let frames: Vec<i64> = probe(&file, "v", "frame=pts").iter().map(|row| row[0].parse().unwrap()).collect();
        assert_eq!(frames, times, "{codec}: joined segments play through");
        let dts: Vec<i64> = probe(&file, "v", "packet=dts").iter().map(|row| row[0].parse().unwrap()).collect();
        assert!(dts.windows(2).all(|pair| pair[0] < pair[1]), "{codec}");
        assert_eq!(keys(&file), 2, "{codec}: one key frame a segment");
    }
    // As RFC 6381 and the codecs' own bindings write it: profile, compatibility, tier and level; 8 bits.
    let strings: Vec<String> = {
        let out = tempfile::tempdir().unwrap();
        transcode(&out, &pairs[0], targets, 1).await.renditions.into_iter().map(|made| made.codec).collect()
    };
    assert!(strings[1].starts_with("hvc1.1.6.L63."), "{strings:?}");
    assert_eq!(strings[2], "av01.0.00M.08");
}

#[tokio::test]
async fn equal_work_gives_equal_bytes_and_one_frame_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let pairs = source(&dir, &ffmpeg(dir.path(), &format!("{FILM} -t 0.7"), "in.mp4")).await;
    let single = source(&dir, &ffmpeg(dir.path(), &format!("{FILM} -frames:v 1"), "one.mp4")).await;
    for codec in [VideoCodec::Hevc, VideoCodec::Av1] {
        let targets = || vec![of(codec, "a", 320, 180), of(codec, "b", 128, 72)];
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        transcode(&first, &pairs[0], targets(), 2).await;
        transcode(&second, &pairs[0], targets(), 2).await;
        for name in ["a", "b"] {
            let (one, two) = (made(&first, name), made(&second, name));
            assert!(fs::read(one.segment).unwrap() == fs::read(two.segment).unwrap(), "{codec:?} {name}");
        }
        let out = tempfile::tempdir().unwrap();
        let done = transcode(&out, &single[0], targets(), 1).await;
        assert_eq!(done.renditions[0].frames, 1);
        assert_eq!(seen(made(&out, "b")).await.frames_decoded, 1, "{codec:?}");
    }
}

#[tokio::test]
async fn every_nth_frame_is_kept_at_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let pairs = source(&dir, &ffmpeg(dir.path(), FILM, "in.mp4")).await;
    let targets: Vec<Target> =
        [(VideoCodec::H264, 2), (VideoCodec::Hevc, 1), (VideoCodec::Av1, 4), (VideoCodec::H264, 3)]
            .into_iter()
            .map(|(codec, fps_divisor)| Target { fps_divisor, ..of(codec, &format!("by-{fps_divisor}"), 192, 108) })
            .collect();
    for threads in [1, 2] {
        let out = tempfile::tempdir().unwrap();
        let done = transcode(&out, &pairs[1], targets.clone(), threads).await;
        let was = seen(pairs[1].clone()).await;
        for (target, told) in targets.iter().zip(&done.renditions) {
            let kept: Vec<i64> = was.pts.iter().copied().step_by(target.fps_divisor.into()).collect();
            let got = seen(made(&out, &target.name)).await;
            assert_eq!(got.pts, kept, "{}", target.name);
            assert_eq!((told.frames as usize, got.frames_decoded as usize), (kept.len(), kept.len()));
        }
    }
}

#[tokio::test]
async fn an_average_rate_is_met_and_a_cap_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let pairs = source(&dir, &ffmpeg(dir.path(), FILM, "in.mp4")).await;
    for codec in VideoCodec::ALL {
        let average = Target { rate: Rate::Average { bitrate_bps: 300_000 }, ..of(codec, "average", 320, 180) };
        // As fine as it can be: the cap alone holds it.
        let capped =
            Target { rate: Rate::Capped { crf: 10, bitrate_bps_max: 200_000 }, ..of(codec, "capped", 320, 180) };
        let (mut sum, mut peak) = (0, 0);
        for pair in &pairs {
            let out = tempfile::tempdir().unwrap();
            transcode(&out, pair, vec![average.clone(), capped.clone()], 2).await;
            let bits = |name: &str| fs::metadata(made(&out, name).segment).unwrap().len() * 8;
            sum += bits("average");
            peak = peak.max(bits("capped"));
        }
        println!("{codec:?}: {} and {} bits per second", sum / 4, peak / 2);
        assert!((220_000..370_000).contains(&(sum / 4)), "{codec:?}: {} bits per second on average", sum / 4);
        assert!(peak / 2 < 320_000, "{codec:?}: {} bits per second", peak / 2);
    }
}

#[tokio::test]
async fn an_h264_profile_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let pairs = source(&dir, &ffmpeg(dir.path(), &format!("{FILM} -t 0.5"), "in.mp4")).await;
    let profiles =
        [(H264Profile::Baseline, "avc1.42c0"), (H264Profile::Main, "avc1.4d40"), (H264Profile::High, "avc1.6400")];
    let targets =
        profiles.map(|(profile, _)| Target { profile, preset: Preset::Faster, ..target(profile.as_str(), 320, 180) });
    let done = transcode(&dir, &pairs[0], targets.to_vec(), 2).await;
    for (told, (_, start)) in done.renditions.iter().zip(profiles) {
        assert!(told.codec.starts_with(start), "{}", told.codec);
    }
}

#[tokio::test]
async fn hard_pictures_are_gauged_as_hard_and_quickly() {
    let dir = tempfile::tempdir().unwrap();
    let mut told = Vec::new();
    for (name, filter) in [("easy.mp4", "gblur=sigma=8"), ("hard.mp4", "noise=alls=30:allf=t")] {
        let film = format!(
            "-f lavfi -i testsrc2=size=640x360:rate=50:duration=3,{filter} -pix_fmt yuv420p -c:v libx264 \
             -preset ultrafast -g 200 -sc_threshold 0 -bf 2 -crf 12"
        );
        let pair = source(&dir, &ffmpeg(dir.path(), &film, name)).await.remove(0);
        let job = Gauge { source: pair, display: (640, 360), threads: 2 };
        let gauged = launcher().gauge(&job, &Limits::default()).await.unwrap();
        assert_eq!(gauged.pixels, 640 * 360);
        assert!((gauged.frames_per_s - 50.0).abs() < 2.0, "{gauged:?}");
        told.push(gauged.bitrate_bps);
    }
    assert!(told[0] > 10_000 && told[1] > told[0] * 5, "{told:?}");
}

#[tokio::test]
async fn a_ladder_of_av1_has_room() {
    let dir = tempfile::tempdir().unwrap();
    let film =
        "-f lavfi -i testsrc2=size=1920x1080:rate=25:duration=0.12 -pix_fmt yuv420p -c:v libx264 -preset ultrafast";
    let pair = source(&dir, &ffmpeg(dir.path(), film, "in.mp4")).await.remove(0);
    let sizes = [(1_920, 1_080), (1_280, 720), (854, 480), (640, 360)];
    let targets = sizes.map(|(width, height)| Target {
        preset: Preset::Ultrafast,
        ..of(VideoCodec::Av1, &format!("{height}p"), width, height)
    });
    let limits = Limits::transcode(&targets);
    let job = Transcode { source: pair, targets: targets.to_vec(), out: dir.path().to_owned(), threads: 2, card: None };
    let done = launcher().transcode(&job, &limits).await.unwrap();
    assert_eq!(done.renditions.len(), 4);
}
