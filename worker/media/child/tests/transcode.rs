//! Transcoding real segments: every frame, every time, in every rendition.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::common::{cut, demux, ffmpeg, joined, launcher, probe, segments, target};
use millrace_cmaf::Sample;
use millrace_media::{
    FailureKind, Limits,
    card::{Able, Card, Refusal, Tools, TryCard, Use},
    job::{Inspect, Inspection, Pair, Seen, Transcode, Transcoded},
};
use millrace_proto::{profile::VideoCodec, task::Target};
use tempfile::TempDir;

const MOVING: &str = "-f lavfi -i testsrc2=size=640x360:rate=25:duration=4,noise=alls=8:allf=t -pix_fmt yuv420p";

pub(crate) async fn transcode(dir: &TempDir, pair: &Pair, targets: Vec<Target>, threads: u32) -> Transcoded {
    let job = Transcode { source: pair.clone(), targets, out: dir.path().to_owned(), threads, card: None };
    launcher().transcode(&job, &Limits::default()).await.unwrap()
}

pub(crate) fn made(dir: &TempDir, name: &str) -> Pair {
    let part = |part: &str| dir.path().join(format!("{name}.{part}"));
    Pair { init: part("init"), segment: part("segment"), ..Pair::default() }
}

async fn inspect(pairs: Vec<Pair>) -> Vec<Inspection> {
    launcher().inspect(&Inspect { segments: pairs, decode_all: true }, &Limits::default()).await.unwrap()
}

pub(crate) async fn seen(pair: Pair) -> Seen {
    match inspect(vec![pair]).await.remove(0) {
        Inspection::Readable(seen) => seen,
        Inspection::Unreadable { message } => panic!("{message}"),
    }
}

/// A file's first segment, cut from its demuxed samples.
pub(crate) async fn source(dir: &TempDir, file: &std::path::Path) -> Vec<Pair> {
    let demuxed = demux(file).await.unwrap();
    segments(dir.path(), demuxed.video_track.as_ref().unwrap(), &demuxed.video)
}

#[tokio::test]
async fn every_frame_keeps_its_time_in_every_rendition_over_several_segments() {
    let dir = tempfile::tempdir().unwrap();
    let file = ffmpeg(
        dir.path(),
        &format!("{MOVING} -c:v libx264 -g 50 -sc_threshold 0 -bf 3 -video_track_timescale 90000"),
        "in.mp4",
    );
    let pairs = source(&dir, &file).await;
    assert_eq!(pairs.len(), 2);
    let targets = vec![target("360p", 640, 360), target("180p", 320, 180)];
    let mut parts = [Vec::<PathBuf>::new(), Vec::new()];
    let mut times = Vec::new();
    for pair in &pairs {
        let out = tempfile::tempdir().unwrap();
        let done = transcode(&out, pair, targets.clone(), 2).await;
        assert_eq!(done.frames_concealed, 0);
        let original = seen(pair.clone()).await;
        for (target, (made_one, parts)) in targets.iter().zip(done.renditions.iter().zip(&mut parts)) {
            assert_eq!((made_one.name.as_str(), made_one.frames), (target.name.as_str(), 50));
            let made = made(&out, &target.name);
            let got = seen(made.clone()).await;
            assert_eq!(got.pts, original.pts);
            assert_eq!((got.timescale, got.width, got.height), (90_000, target.width, target.height));
            assert!(got.key_first);
            assert_eq!((got.frames_decoded, got.codec.as_str(), &got.codec_string), (50, "h264", &made_one.codec));
            // The header is the same for every segment, so that playlists name it once.
            let header = dir.path().join(format!("{}.init", target.name));
            if parts.is_empty() {
                fs::copy(&made.init, &header).unwrap();
                parts.push(header);
            } else {
                assert_eq!(fs::read(&made.init).unwrap(), fs::read(header).unwrap());
            }
            let kept = dir.path().join(format!("{}-{}", target.name, parts.len()));
            fs::copy(&made.segment, &kept).unwrap();
            parts.push(kept);
        }
        times.extend(original.pts);
    }
    for (target, parts) in targets.iter().zip(&parts) {
        let file = joined(dir.path(), &format!("{}.mp4", target.name), parts);
        let frames: Vec<i64> = probe(&file, "v", "frame=pts").iter().map(|row| row[0].parse().unwrap()).collect();
        assert_eq!(frames, times, "joined segments play through");
        let dts: Vec<i64> = probe(&file, "v", "packet=dts").iter().map(|row| row[0].parse().unwrap()).collect();
        assert!(dts.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

#[tokio::test]
async fn equal_work_gives_equal_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let file = ffmpeg(dir.path(), &format!("{MOVING} -t 1 -c:v libx264"), "in.mp4");
    let pair = source(&dir, &file).await.remove(0);
    let targets = || vec![target("360p", 640, 360), target("180p", 320, 180)];
    for threads in [1, 2] {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        transcode(&first, &pair, targets(), threads).await;
        transcode(&second, &pair, targets(), threads).await;
        for name in ["360p", "180p"] {
            let (one, two) = (made(&first, name), made(&second, name));
            assert_eq!(fs::read(one.init).unwrap(), fs::read(two.init).unwrap());
            assert!(fs::read(one.segment).unwrap() == fs::read(two.segment).unwrap(), "{threads} threads");
        }
    }
}

#[tokio::test]
async fn variable_frame_rates_and_fine_clocks_survive() {
    let dir = tempfile::tempdir().unwrap();
    // Frames at uneven times, as screen recordings have them.
    let filter = "settb=1/1000000,setpts='(N+0.4*mod(N,3))/25/TB'";
    let arguments = format!("{MOVING} -vf {filter} -fps_mode vfr -enc_time_base 1/1000000 -t 1 -c:v libx264 -bf 2");
    let file = ffmpeg(dir.path(), &format!("{arguments} -video_track_timescale 1000000"), "in.mp4");
    let pair = source(&dir, &file).await.remove(0);
    transcode(&dir, &pair, vec![target("180p", 320, 180)], 2).await;
    let (original, got) = (seen(pair).await, seen(made(&dir, "180p")).await);
    let steps: Vec<_> = original.pts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps.iter().max() > steps.iter().min());
    assert_eq!((got.timescale, got.pts), (1_000_000, original.pts));
}

#[tokio::test]
async fn pictures_come_out_upright_and_with_square_pixels() {
    let dir = tempfile::tempdir().unwrap();
    // Red left, blue right; stored sideways and with wide pixels, as a phone and a DV camera would.
    let halves =
        "-f lavfi -i color=red:size=160x240:rate=25:duration=1 -f lavfi -i color=blue:size=160x240:rate=25:duration=1";
    let flat =
        ffmpeg(dir.path(), &format!("{halves} -filter_complex hstack -pix_fmt yuv420p -c:v libx264"), "flat.mp4");
    let wide = format!("-i {} -c copy -bsf:v h264_metadata=sample_aspect_ratio=4/3", flat.display());
    let turned = ffmpeg(dir.path(), &format!("{wide} -metadata:s:v rotate=270"), "turned.mp4");
    let demuxed = demux(&turned).await.unwrap();
    let track = demuxed.video_track.unwrap();
    let video = track.video().unwrap();
    assert_eq!((video.rotation_deg, video.pixel_aspect), (90, (4, 3)));
    let (width, height) = video.display_size();
    assert_eq!((width, height), (240, 426));
    let pair = segments(dir.path(), &track, &demuxed.video).remove(0);
    transcode(&dir, &pair, vec![target("up", width, height), target("small", 120, 160)], 2).await;
    for name in ["up", "small"] {
        let made = made(&dir, name);
        let file = joined(dir.path(), "up.mp4", &[made.init, made.segment]);
        let raw = ffmpeg(
            dir.path(),
            &format!("-i {} -frames:v 1 -vf scale=2:4 -pix_fmt rgb24 -f rawvideo", file.display()),
            "raw",
        );
        let pixels = fs::read(raw).unwrap();
        let top = &pixels[..3];
        let bottom = &pixels[pixels.len() - 3..];
        // What was left is above after a clockwise quarter turn.
        assert!(top[0] > 180 && top[2] < 80, "{name}: {pixels:?}");
        assert!(bottom[2] > 180 && bottom[0] < 80, "{name}: {pixels:?}");
    }
}

#[tokio::test]
async fn lost_frames_are_concealed_and_counted_and_a_ruin_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = ffmpeg(dir.path(), &format!("{MOVING} -t 2 -c:v libx264 -g 100 -sc_threshold 0 -bf 0"), "in.mp4");
    let demuxed = demux(&file).await.unwrap();
    let track = demuxed.video_track.unwrap();
    let spoil = |range: std::ops::Range<usize>| {
        let mut samples = demuxed.video.clone();
        for sample in &mut samples[range] {
            // No NAL unit type that a decoder knows.
            sample.data = vec![0, 0, 0, 2, 0x1f, 0xff].into();
        }
        samples
    };
    let pair = segments(dir.path(), &track, &spoil(20..25)).remove(0);
    let done = transcode(&dir, &pair, vec![target("180p", 320, 180)], 2).await;
    assert_eq!((done.frames_concealed, done.renditions[0].frames), (5, 50));
    assert_eq!(seen(made(&dir, "180p")).await.pts, {
        let Inspection::Readable(source) = inspect(vec![pair]).await.remove(0) else { panic!() };
        source.pts
    });

    for range in [10..50, 0..50] {
        let pair = segments(dir.path(), &track, &spoil(range)).remove(0);
        let job = Transcode {
            source: pair,
            targets: vec![target("180p", 320, 180)],
            out: dir.path().to_owned(),
            threads: 2,
            card: None,
        };
        let failure = launcher().transcode(&job, &Limits::default()).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::BadInput, "{failure}");
    }
}

#[tokio::test]
async fn a_segment_without_a_keyframe_is_decoded_after_those_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = ffmpeg(dir.path(), &format!("{MOVING} -c:v libx264 -g 100 -sc_threshold 0 -bf 2"), "in.mp4");
    let all = demux(&file).await.unwrap();
    // Every picture before the cut is shown before every picture behind it.
    let shown = |range: &[Sample]| range.iter().map(|sample| sample.pts).collect::<Vec<_>>();
    let parted = |at: &usize| shown(&all.video[..*at]).iter().max() < shown(&all.video[*at..]).iter().min();
    let cuts: Vec<usize> = [0, 30, 60].map(|from| (from..100).find(parted).unwrap()).to_vec();
    let pairs = cut(dir.path(), &all.video_track.unwrap(), &all.video, &cuts);
    assert_eq!(pairs[2].preroll.len(), 2);
    let original = seen(pairs[2].clone()).await;
    assert_eq!(original.frames_decoded as usize, 100 - cuts[2]);

    let done = transcode(&dir, &pairs[2], vec![target("360p", 640, 360)], 2).await;
    assert_eq!((done.frames_concealed, done.renditions[0].frames as usize), (0, 100 - cuts[2]));
    let made = made(&dir, "360p");
    let got = seen(made.clone()).await;
    assert!(got.key_first && got.pts == original.pts);
    let part = joined(dir.path(), "part.mp4", &[made.init, made.segment]);
    let ssim = ssim(&part, &file, cuts[2]);
    assert!(ssim > 0.95, "{ssim}");

    // Without them, nothing of it can be decoded.
    let alone = Pair { preroll: Vec::new(), ..pairs[2].clone() };
    assert!(matches!(inspect(vec![alone]).await[0], Inspection::Unreadable { .. }));
}

/// How alike `part` and `whole` from frame `from` on are, 0 to 1.
fn ssim(part: &Path, whole: &Path, from: usize) -> f64 {
    let graph = format!("[0]setpts=N/25/TB[a];[1]select=gte(n\\,{from}),setpts=N/25/TB[b];[a][b]ssim=shortest=1");
    let output = std::process::Command::new("ffmpeg")
        .args(["-hide_banner", "-nostdin", "-i"])
        .arg(part)
        .arg("-i")
        .arg(whole)
        .args(["-lavfi", &graph, "-f", "null", "-"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let (_, all) = text.rsplit_once("All:").unwrap_or_else(|| panic!("{text}"));
    all.split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn open_groups_are_decoded_after_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let args = "-c:v libx264 -g 27 -x264-params open-gop=1:bframes=3:b-adapt=0:scenecut=0";
    let all = demux(&ffmpeg(dir.path(), &format!("{MOVING} {args}"), "in.mkv")).await.unwrap();
    let keys: Vec<usize> = (0..all.video.len()).filter(|at| all.video[*at].key).collect();
    assert!(keys.len() > 3 && all.video[keys[2] + 1].pts < all.video[keys[2]].pts, "{keys:?}");
    // Behind the second group's keyframe and what is shown before that; then with a keyframe.
    let cuts = [0, keys[1] + 3, keys[2], keys[3]];
    let pairs = cut(dir.path(), &all.video_track.unwrap(), &all.video, &cuts);
    for number in [1, 2] {
        let preroll = pairs[..number].iter().map(|pair| pair.segment.clone()).collect();
        let pair = Pair { preroll, ..pairs[number].clone() };
        let original = seen(pair.clone()).await;
        assert_eq!(original.frames_decoded as usize, cuts[number + 1] - cuts[number]);
        let job = Inspect { segments: vec![pair.clone()], decode_all: false };
        let brief = launcher().inspect(&job, &Limits::default()).await.unwrap().remove(0);
        assert_eq!(brief, Inspection::Readable(Seen { frames_decoded: 1, ..original }));
        let done = transcode(&dir, &pair, vec![target("180p", 320, 180)], 2).await;
        assert_eq!(done.frames_concealed, 0);
    }
}

#[tokio::test]
async fn other_codecs_depths_and_ranges_become_plain_h264() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        ("hevc10.mp4", "-c:v libx265 -x265-params log-level=none -pix_fmt yuv420p10le -tag:v hvc1"),
        ("h264-422.mp4", "-c:v libx264 -pix_fmt yuv422p"),
        (
            "full-range.mp4",
            "-c:v libx264 -pix_fmt yuvj420p -color_range pc -colorspace bt709 -color_primaries bt709 -color_trc bt709",
        ),
        ("vp9.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 500k"),
        ("vp8.webm", "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 500k"),
        ("av1.mp4", "-c:v libsvtav1 -preset 12"),
    ];
    for (name, codec) in cases {
        let file = ffmpeg(dir.path(), &format!("{MOVING} -t 1 -g 25 {codec}"), name);
        let out = tempfile::tempdir().unwrap();
        let pair = source(&out, &file).await.remove(0);
        let original = seen(pair.clone()).await;
        assert!(original.key_first, "{name}: {original:?}");
        assert_eq!((original.width, original.height), (640, 360), "{name}");
        transcode(&out, &pair, vec![target("180p", 320, 180)], 2).await;
        let made = made(&out, "180p");
        let got = seen(made.clone()).await;
        assert_eq!(got.pts, original.pts, "{name}");
        let file = joined(out.path(), "out.mp4", &[made.init, made.segment]);
        let stream = &probe(&file, "v", "stream=codec_name,pix_fmt,color_range,color_space")[0];
        assert_eq!(stream[0], "h264");
        if name.starts_with("full") {
            assert_eq!(stream[1..], ["yuvj420p", "pc", "bt709"]);
        } else {
            assert_eq!(stream[1], "yuv420p", "{name}");
        }
    }
}

/// A card that is not there: the driver's absence is told with its type, nothing is made, nothing crashes; without the
/// card the same job goes well.
#[tokio::test]
async fn a_card_that_is_not_there_is_a_typed_refusal() {
    let dir = tempfile::tempdir().unwrap();
    let file = ffmpeg(dir.path(), "-f lavfi -i testsrc2=size=320x180:rate=25:duration=1 -c:v libx264 -g 50", "in.mp4");
    let pair = source(&dir, &file).await.remove(0);
    // No machine has as many.
    let card = Card { index: 77, minor: 77, uuid: None };
    let able = Able { decodes: vec![VideoCodec::H264], encodes: vec![(VideoCodec::H264, Tools::Full)] };
    let mut job = Transcode {
        source: pair,
        targets: vec![target("180p", 320, 180)],
        out: dir.path().to_owned(),
        threads: 1,
        card: Some(Use { card: card.clone(), able }),
    };
    let limits = Limits::default().with_card();
    let failure = launcher().transcode(&job, &limits).await.unwrap_err();
    assert_eq!(failure.card, Some(Refusal::Missing), "{failure}");
    assert_eq!(launcher().try_card(&TryCard { card }, &limits).await.unwrap_err().card, Some(Refusal::Missing));
    job.card = None;
    let done = launcher().transcode(&job, &limits).await.unwrap();
    assert_eq!((done.renditions[0].frames, done.card_unused), (25, None));
}
