//! Pictures as they come: interlaced, of high dynamic range, with more bits or colour than the ladder has, of odd
//! sizes. Each is compared with what it was made from.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use millrace_proto::{profile::Rate, task::Target};
use tempfile::TempDir;

use crate::{
    common::{demux, ffmpeg, joined, probe, segments, target},
    transcode::{made, seen, source, transcode},
};

/// A second and a half that moves, all colours and fine detail, at so many frames per second.
fn moving(rate: u32) -> String {
    format!("-f lavfi -i testsrc2=size=320x240:rate={rate}:duration=1.5,scroll=horizontal=0.01")
}

/// A rendition without much loss of its own.
fn fine(width: u32, height: u32) -> Target {
    Target { rate: Rate::Capped { crf: 15, bitrate_bps_max: 20_000_000 }, ..target("fine", width, height) }
}

/// The first segment of `file` at this size, as a file. Every frame is at its source's time.
async fn transcoded(dir: &TempDir, file: &Path, (width, height): (u32, u32)) -> PathBuf {
    let pair = source(dir, file).await.remove(0);
    let done = transcode(dir, &pair, vec![fine(width, height)], 2).await;
    assert_eq!(done.frames_concealed, 0);
    let made = made(dir, "fine");
    let (was, got) = (seen(pair).await, seen(made.clone()).await);
    assert_eq!(got.pts, was.pts);
    assert_eq!((got.width, got.height), (width, height));
    joined(dir.path(), "fine.mp4", &[made.init, made.segment])
}

/// How alike two films are, frame by frame whatever their times: 1 is the same. `filter` changes the second first.
fn likeness(one: &Path, two: &Path, filter: &str) -> f64 {
    let graph = format!("[0:v]setpts=N/25/TB,format=yuv420p[a];[1:v]{filter},setpts=N/25/TB[b];[a][b]ssim");
    let output = Command::new("ffmpeg")
        .args(["-v", "info", "-nostdin", "-i"])
        .arg(one)
        .arg("-i")
        .arg(two)
        .args(["-filter_complex", &graph, "-f", "null", "-"])
        .output()
        .expect("ffmpeg can be started: install it");
    let text = String::from_utf8_lossy(&output.stderr);
    let all = text.rsplit_once("All:").and_then(|(_, rest)| rest.split_whitespace().next());
    all.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

/// The luma of the middle of the first picture, from 0 for black to 255 for white.
fn middle(dir: &Path, file: &Path) -> u8 {
    let pick = format!("-i {} -frames:v 1 -vf crop=2:2 -pix_fmt gray -f rawvideo", file.display());
    std::fs::read(ffmpeg(dir, &pick, "luma")).unwrap()[0]
}

#[tokio::test]
async fn interlaced_pictures_become_progressive_frame_for_frame() {
    for (mode, order) in [("interleave_top", "tff=1"), ("interleave_bottom", "bff=1")] {
        let dir = tempfile::tempdir().unwrap();
        let original = ffmpeg(dir.path(), &format!("{} -pix_fmt yuv420p -c:v libx264 -qp 0", moving(50)), "film.mp4");
        let camera = format!("-i {} -vf tinterlace={mode} -flags +ildct+ilme", original.display());
        let codec = format!("-c:v libx264 -x264-params {order} -crf 12 -bf 2 -g 100 -sc_threshold 0");
        let file = ffmpeg(dir.path(), &format!("{camera} {codec}"), "in.mp4");
        assert!(probe(&file, "v", "frame=interlaced_frame").iter().all(|row| row[0] == "1"), "{mode}");
        let ours = transcoded(&dir, &file, (320, 240)).await;
        // What the camera saw when the first field of each frame was taken.
        let first = "select='not(mod(n,2))',format=yuv420p";
        let (woven, clean) = (likeness(&file, &original, first), likeness(&ours, &original, first));
        assert!(clean > 0.94 && clean > woven + 0.1, "{mode}: {clean}, and {woven} if left as it is");
        assert!(probe(&ours, "v", "frame=interlaced_frame").iter().all(|row| row[0] == "0"), "{mode}");
    }
}

/// The parameter sets of an `avcC` with one of each, as a sample begins with them.
fn parameter_sets(config: &[u8]) -> Vec<u8> {
    let set = |at: usize| {
        let length = usize::from(u16::from_be_bytes([config[at], config[at + 1]]));
        ([&[0, 0], &config[at..at + 2 + length]].concat(), at + 2 + length)
    };
    let (sps, behind) = set(6);
    [sps, set(behind + 1).0].concat()
}

#[tokio::test]
async fn progressive_and_interlaced_frames_may_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let codec = "-pix_fmt yuv420p -c:v libx264 -g 100 -sc_threshold 0 -crf 12 -video_track_timescale 12800";
    let plain = demux(&ffmpeg(dir.path(), &format!("{} -t 0.6 {codec}", moving(25)), "a.mp4")).await.unwrap();
    let fields = format!("{} -t 0.6 {codec} -flags +ildct+ilme -x264-params tff=1", moving(25));
    let woven = demux(&ffmpeg(dir.path(), &fields, "b.mp4")).await.unwrap();
    let (track, Some(other)) = (plain.video_track.unwrap(), woven.video_track) else { panic!() };
    let millrace_cmaf::Codec::H264 { config, .. } = &other.codec else { panic!() };
    // Fifteen frames of one kind, then of the other, then of the first again.
    let mut samples = Vec::new();
    for (turn, part) in [&plain.video, &woven.video, &plain.video].into_iter().enumerate() {
        for (at, sample) in part.iter().enumerate() {
            let mut sample = sample.clone();
            if at == 0 && turn > 0 {
                let millrace_cmaf::Codec::H264 { config: first, .. } = &track.codec else { panic!() };
                let sets = parameter_sets(if turn == 1 { config } else { first });
                sample.data = [&sets[..], &sample.data[..]].concat().into();
                sample.key = false;
            }
            sample.pts += turn as i64 * 15 * 512;
            samples.push(sample);
        }
    }
    let pair = segments(dir.path(), &track, &samples).remove(0);
    let whole = joined(dir.path(), "turns.mp4", &[pair.init.clone(), pair.segment.clone()]);
    let flags: Vec<bool> = probe(&whole, "v", "frame=interlaced_frame").iter().map(|row| row[0] == "1").collect();
    assert_eq!(flags, [vec![false; 15], vec![true; 15], vec![false; 15]].concat());
    let done = transcode(&dir, &pair, vec![fine(320, 240)], 2).await;
    assert_eq!((done.frames_concealed, done.renditions[0].frames), (0, 45));
    let got = seen(made(&dir, "fine")).await;
    assert_eq!(got.pts, seen(pair).await.pts);
}

/// From SDR to HDR: white becomes so many candela per square metre. The converse of what the child does.
fn to_hdr(transfer: &str, white_nits: u32) -> String {
    format!(
        "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=limited,zscale=t=linear,\
         format=gbrpf32le,zscale=p=bt2020:t={transfer}:m=bt2020nc:r=limited:npl={white_nits},format=yuv420p10le"
    )
}

#[tokio::test]
async fn hdr_becomes_sdr_of_the_same_look() {
    for (transfer, name) in [("smpte2084", "smpte2084"), ("arib-std-b67", "arib-std-b67")] {
        let dir = tempfile::tempdir().unwrap();
        let codec = format!(
            "-c:v libx265 -preset ultrafast -x265-params log-level=none:crf=8:keyint=100 -tag:v hvc1 \
             -color_primaries bt2020 -color_trc {name} -colorspace bt2020nc -color_range tv"
        );
        // Nothing brighter than where the curve begins to bend.
        let dim = "lutyuv=y='16+(val-16)*0.5':u='128+(val-128)*0.5':v='128+(val-128)*0.5'";
        let base =
            ffmpeg(dir.path(), &format!("{} -t 1 -vf format=yuv420p,{dim} -c:v libx264 -qp 0", moving(25)), "base.mp4");
        let bright = format!("-i {} -vf {} {codec}", base.display(), to_hdr(transfer, 203));
        let file = ffmpeg(dir.path(), &bright, "in.mp4");
        let ours = transcoded(&dir, &file, (160, 120)).await;
        let tags = &probe(&ours, "v", "stream=pix_fmt,color_range,color_space,color_transfer,color_primaries")[0];
        assert_eq!(tags, &["yuv420p", "tv", "bt709", "bt709", "bt709"], "{name}");
        let small = "scale=160:120:flags=bicubic,format=yuv420p";
        let (mapped, unmapped) = (likeness(&ours, &base, small), likeness(&file, &base, "format=yuv420p"));
        assert!(mapped > 0.95 && mapped > unmapped, "{name}: {mapped}, and {unmapped} if left as it is");
        // White stays below the brightest light, which is all that SDR has.
        let mut luma = Vec::new();
        for nits in [100, 203, 1_000] {
            let plane = "-f lavfi -i color=white:size=64x64:rate=25:duration=0.2 -vf format=yuv420p";
            let file = ffmpeg(dir.path(), &format!("{plane},{} {codec}", to_hdr(transfer, nits)), "white.mp4");
            let out = tempfile::tempdir().unwrap();
            luma.push(middle(dir.path(), &transcoded(&out, &file, (64, 64)).await));
        }
        let [grey, white, light] = luma[..] else { panic!() };
        assert!((175..195).contains(&grey) && (210..225).contains(&white) && light >= 250, "{luma:?}");
    }
}

#[tokio::test]
async fn more_bits_more_colour_and_odd_sizes_come_out_as_they_look() {
    let cases = [
        ("422", "320x240", "-c:v libx264 -pix_fmt yuv422p10le", (320, 240)),
        ("444", "320x240", "-c:v libx264 -pix_fmt yuv444p", (160, 120)),
        ("10", "320x240", "-c:v libx265 -x265-params log-level=none -pix_fmt yuv420p10le -tag:v hvc1", (320, 240)),
        ("odd", "321x241", "-c:v libx264 -pix_fmt yuv444p", (322, 242)),
        (
            "odd-420",
            "321x241",
            "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 10 -b:v 0 -pix_fmt yuv420p",
            (322, 242),
        ),
        ("upright", "216x384", "-c:v libx264 -pix_fmt yuv420p", (108, 192)),
    ];
    for (name, size, codec, (width, height)) in cases {
        let dir = tempfile::tempdir().unwrap();
        let original = format!("-f lavfi -i testsrc2=size={size}:rate=25:duration=1 -crf 10 -g 50 {codec}");
        let ending = if codec.contains("vp9") { "in.webm" } else { "in.mp4" };
        let file = ffmpeg(dir.path(), &original, ending);
        let ours = transcoded(&dir, &file, (width, height)).await;
        let like = likeness(&ours, &file, &format!("scale={width}:{height}:flags=bicubic,format=yuv420p"));
        assert!(like > 0.97, "{name}: {like}");
        assert_eq!(probe(&ours, "v", "stream=pix_fmt")[0], ["yuv420p"], "{name}");
    }
}
