//! Inspecting segments: what a stranger delivered is told as it is, whatever the container claims.

use std::fs;

use crate::common::{demux, ffmpeg, launcher, segments};
use millrace_cmaf::{Codec, Sample, Track, init, read, segment};
use millrace_media::{
    Limits,
    job::{Inspect, Inspection, Pair, Seen},
};
use tempfile::TempDir;

const MOVING: &str = "-f lavfi -i testsrc2=size=320x180:rate=25:duration=2 -pix_fmt yuv420p";

async fn inspect(segments: Vec<Pair>, decode_all: bool) -> Vec<Inspection> {
    launcher().inspect(&Inspect { segments, decode_all }, &Limits::default()).await.unwrap()
}

async fn seen(pair: Pair, decode_all: bool) -> Seen {
    match inspect(vec![pair], decode_all).await.remove(0) {
        Inspection::Readable(seen) => seen,
        Inspection::Unreadable { message } => panic!("{message}"),
    }
}

/// Track and samples of two seconds of H.264, on a timeline that starts at one second.
async fn film(dir: &TempDir) -> (Track, Vec<Sample>) {
    let codec = "-c:v libx264 -g 100 -sc_threshold 0 -bf 2 -video_track_timescale 25000";
    let all = demux(&ffmpeg(dir.path(), &format!("{MOVING} {codec}"), "in.mp4")).await.unwrap();
    let samples = all.video.into_iter().map(|s| Sample { pts: s.pts + 25_000, ..s }).collect();
    (all.video_track.unwrap(), samples)
}

fn write(dir: &TempDir, name: &str, header: &[u8], media: &[u8]) -> Pair {
    let file = |part: &str| dir.path().join(format!("{name}.{part}"));
    let pair = Pair { init: file("i"), segment: file("s"), ..Pair::default() };
    fs::write(&pair.init, header).unwrap();
    fs::write(&pair.segment, media).unwrap();
    pair
}

#[tokio::test]
async fn a_sound_segment_is_told_frame_by_frame() {
    let dir = tempfile::tempdir().unwrap();
    let (track, samples) = film(&dir).await;
    let pair = write(&dir, "a", &init(&track).unwrap(), &segment(&track, 1, &samples, 0).unwrap());
    let mut pts: Vec<_> = samples.iter().map(|sample| sample.pts).collect();
    pts.sort_unstable();
    for (decode_all, frames_decoded) in [(true, 50), (false, 1)] {
        let expected = Seen {
            codec: "h264".into(),
            codec_string: track.codec_string().unwrap(),
            timescale: 25_000,
            pts: pts.clone(),
            key_first: true,
            width: 320,
            height: 180,
            frames_decoded,
            // The header, and the length and bytes of the only key picture.
            key_bytes: read::fragment(&segment(&track, 1, &samples, 0).unwrap()).unwrap().key_bytes,
        };
        assert_eq!(seen(pair.clone(), decode_all).await, expected);
    }
}

#[tokio::test]
async fn a_false_key_flag_a_false_size_and_lost_frames_are_seen() {
    let dir = tempfile::tempdir().unwrap();
    let (track, mut samples) = film(&dir).await;
    let header = init(&track).unwrap();
    // A segment that begins in the middle, and says that it begins with a key frame.
    let mut headless = samples[10..].to_vec();
    headless[0].key = true;
    let pair = write(&dir, "headless", &header, &segment(&track, 1, &headless, 0).unwrap());
    match &inspect(vec![pair], true).await[0] {
        Inspection::Readable(seen) => assert!(!seen.key_first, "{seen:?}"),
        Inspection::Unreadable { message } => assert!(message.contains("decoded"), "{message}"),
    }
    // A header that says another size than the pictures have, and turns them.
    let Codec::H264 { mut video, config } = track.codec.clone() else { panic!() };
    (video.width, video.height, video.rotation_deg) = (1_920, 1_080, 90);
    let liar = Track { codec: Codec::H264 { video, config }, ..track };
    let pair = write(&dir, "liar", &init(&liar).unwrap(), &segment(&track, 1, &samples, 0).unwrap());
    let lie = seen(pair, false).await;
    assert_eq!((lie.width, lie.height), (180, 320));
    for sample in &mut samples[40..45] {
        sample.data = vec![0, 0, 0, 2, 0x1f, 0xff].into();
    }
    let pair = write(&dir, "holes", &header, &segment(&track, 1, &samples, 0).unwrap());
    let holes = seen(pair, true).await;
    assert_eq!((holes.pts.len(), holes.frames_decoded), (50, 45));
}

#[tokio::test]
async fn what_is_no_video_segment_is_told_beside_those_that_are() {
    let dir = tempfile::tempdir().unwrap();
    let (track, samples) = film(&dir).await;
    let (header, media) = (init(&track).unwrap(), segment(&track, 1, &samples, 0).unwrap());
    let sound = demux(&ffmpeg(dir.path(), "-f lavfi -i sine=duration=1 -c:a aac", "sound.mp4")).await.unwrap();
    let audio = sound.audio_track.unwrap();
    let heard: Vec<_> = sound.audio.iter().map(|s| Sample { pts: s.pts + 44_100, ..s.clone() }).collect();
    let audio_media = segment(&audio, 1, &heard, 0).unwrap();
    let undecodable: Vec<_> =
        samples.iter().map(|s| Sample { data: vec![0, 0, 0, 2, 0x1f, 0xff].into(), ..s.clone() }).collect();
    let noise = segment(&track, 1, &undecodable, 0).unwrap();
    let whole = fs::read(ffmpeg(dir.path(), &format!("{MOVING} -c:v libx264"), "whole.mp4")).unwrap();
    let pairs = vec![
        write(&dir, "good", &header, &media),
        write(&dir, "empty", b"", b""),
        write(&dir, "swapped", &media, &header),
        write(&dir, "cut", &header, &media[..media.len() - 1]),
        write(&dir, "twice", &header, &[&media[..], &media[..]].concat()),
        write(&dir, "sound", &init(&audio).unwrap(), &audio_media),
        write(&dir, "mixed", &header, &audio_media),
        write(&dir, "undecodable", &header, &noise),
        write(&dir, "plain-mp4", &whole, b""),
        write(&dir, "playlist", b"#EXTM3U\n#EXTINF:2,\ngood.s\n", &media),
    ];
    for decode_all in [false, true] {
        let told = inspect(pairs.clone(), decode_all).await;
        for (pair, inspection) in pairs.iter().zip(&told) {
            let good = pair.init.ends_with("good.i");
            assert_eq!(matches!(inspection, Inspection::Readable(_)), good, "{pair:?}: {inspection:?}");
        }
    }
}

#[tokio::test]
async fn segments_from_a_demux_and_their_wide_pixels_are_right() {
    let dir = tempfile::tempdir().unwrap();
    let file = ffmpeg(dir.path(), &format!("{MOVING} -vf setsar=4/3 -c:v libx264 -g 25 -sc_threshold 0"), "wide.mkv");
    let all = demux(&file).await.unwrap();
    let pairs = segments(dir.path(), all.video_track.as_ref().unwrap(), &all.video);
    assert_eq!(pairs.len(), 2);
    for inspection in inspect(pairs, true).await {
        let Inspection::Readable(seen) = inspection else { panic!("{inspection:?}") };
        assert_eq!((seen.width, seen.height, seen.frames_decoded, seen.key_first), (426, 180, 25, true));
    }
}
