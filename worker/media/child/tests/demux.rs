//! Demuxing whole files: every frame of every container, audio in one continuous run.

use std::{fs, path::Path};

use crate::common::{Demuxing, demux, ffmpeg, joined, probe, segments};
use bytes::Bytes;
use millrace_cmaf::{Codec, Sample, init, segment};
use millrace_media::{Failure, FailureKind};

const PICTURE: &str = "-f lavfi -i testsrc2=size=320x180:rate=30:duration=3";
const SOUND: &str = "-f lavfi -i sine=frequency=440:sample_rate=44100:duration=3";
const H264: &str = "-c:v libx264 -pix_fmt yuv420p -g 30 -bf 2";

/// The audio samples follow each other without a hole, and last about `seconds`.
fn assert_continuous(all: &Demuxing, seconds: f64) {
    let rate = f64::from(all.audio_track.as_ref().unwrap().timescale);
    assert!(all.audio.windows(2).all(|pair| pair[0].pts + i64::from(pair[0].duration) == pair[1].pts));
    let lasts: u32 = all.audio.iter().map(|sample| sample.duration).sum();
    assert!((f64::from(lasts) / rate - seconds).abs() < 0.1, "{} s", f64::from(lasts) / rate);
}

/// Video and audio start and end together, within a frame or two.
fn assert_together(all: &Demuxing) {
    let video_scale = f64::from(all.video_track.as_ref().unwrap().timescale);
    let audio_scale = f64::from(all.audio_track.as_ref().unwrap().timescale);
    let first = all.video.iter().map(|sample| sample.pts).min().unwrap() as f64 / video_scale;
    let apart = all.audio[0].pts as f64 / audio_scale - first;
    assert!(apart.abs() < 0.1, "{apart} s");
}

/// The audio as a file, checked by decoding all of it: the tone must be there, with nothing broken.
fn assert_plays(dir: &Path, all: &Demuxing) {
    let track = all.audio_track.as_ref().unwrap();
    let first = all.audio[0].pts;
    let samples: Vec<_> = all.audio.iter().map(|s| Sample { pts: s.pts - first, ..s.clone() }).collect();
    let parts = [init(track).unwrap(), segment(track, 1, &samples, 0).unwrap()];
    fs::write(dir.join("audio.mp4"), parts.concat()).unwrap();
    let raw = ffmpeg(dir, &format!("-i {} -ac 1 -ar 8000 -f s16le", dir.join("audio.mp4").display()), "audio.raw");
    let sound: Vec<_> = fs::read(raw).unwrap().chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
    // 440 Hz cross zero 880 times a second; the second second is far from both ends.
    let second = &sound[8_000..16_000];
    let crossings = second.windows(2).filter(|pair| (pair[0] < 0) != (pair[1] < 0)).count();
    assert!((860..=900).contains(&crossings), "{crossings} crossings");
}

#[tokio::test]
async fn every_container_gives_every_frame_and_copied_aac() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        ("in.mp4", "-video_track_timescale 30000", 30_000),
        ("in.mov", "-video_track_timescale 600", 600),
        ("in.mkv", "", 1_000),
        ("in.ts", "", 90_000),
        ("in.flv", "", 1_000),
    ];
    for (name, options, timescale) in cases {
        let file = ffmpeg(dir.path(), &format!("{PICTURE} {SOUND} {H264} -c:a aac {options}"), name);
        let all = demux(&file).await.unwrap();
        assert_eq!(all.tracks_told, 1, "{name}");
        let track = all.video_track.as_ref().unwrap();
        assert_eq!(track.timescale, timescale, "{name}");
        assert!(track.codec_string().unwrap().starts_with("avc1.64"), "{name}");
        assert_eq!(all.video.len(), 90, "{name}");
        assert_eq!(all.video.iter().filter(|sample| sample.key).count(), 3, "{name}");
        let mut pts: Vec<_> = all.video.iter().map(|sample| sample.pts).collect();
        let mut told: Vec<i64> = probe(&file, "v", "packet=pts").iter().map(|row| row[0].parse().unwrap()).collect();
        pts.sort_unstable();
        told.sort_unstable();
        assert_eq!(pts, told, "{name}: the container's own times");
        assert_eq!(all.audio_track.as_ref().unwrap().codec_string().unwrap(), "mp4a.40.2");
        assert_eq!(all.audio_track.as_ref().unwrap().timescale, 44_100);
        assert_continuous(&all, 3.0);
        assert_together(&all);
        assert_plays(dir.path(), &all);
        // What came out is a whole film again.
        let pairs = segments(dir.path(), track, &all.video);
        let mut parts = vec![pairs[0].init.clone()];
        parts.extend(pairs.into_iter().map(|pair| pair.segment));
        let whole = joined(dir.path(), "film.mp4", &parts);
        assert_eq!(probe(&whole, "v", "frame=pts").len(), 90, "{name}");
    }
}

#[tokio::test]
async fn other_audio_becomes_stereo_aac_in_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        ("mp3.mp4", "-c:a libmp3lame", 44_100),
        ("opus.mkv", "-c:a libopus -b:a 96k", 48_000),
        ("vorbis.webm", "-c:v libvpx -deadline realtime -cpu-used 8 -c:a libvorbis", 44_100),
        ("ac3.ts", "-c:a ac3 -ac 6", 44_100),
        ("pcm.mov", "-c:a pcm_s16le -ar 96000", 48_000),
        ("mp2.ts", "-c:a mp2 -ar 32000", 32_000),
        ("mono.flv", "-c:a libmp3lame -ac 1", 44_100),
    ];
    for (name, codec, rate) in cases {
        let file = ffmpeg(dir.path(), &format!("{PICTURE} {SOUND} {H264} {codec}"), name);
        let all = demux(&file).await.unwrap();
        let track = all.audio_track.as_ref().unwrap();
        assert_eq!(track.timescale, rate, "{name}");
        let channels = if name.starts_with("ac3") { 2 } else { 1 };
        assert_eq!(track.audio().unwrap().channels, channels, "{name}");
        assert_continuous(&all, 3.0);
        assert_together(&all);
        assert_plays(dir.path(), &all);
    }
}

#[tokio::test]
async fn other_video_keeps_its_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let hevc = "-c:v libx265 -x265-params log-level=none:keyint=30 -pix_fmt yuv420p";
    let cases = [
        ("hevc.mp4", format!("{hevc} -tag:v hvc1"), "hvc1.1.6.L"),
        ("hevc.mkv", hevc.to_owned(), "hvc1.1.6.L"),
        ("hevc.ts", hevc.to_owned(), "hvc1.1.6.L"),
        ("vp9.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 30".to_owned(), "vp09.00."),
        ("vp9.mp4", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 30".to_owned(), "vp09.00."),
        ("vp8.webm", "-c:v libvpx -deadline realtime -cpu-used 8 -g 30".to_owned(), "vp08.00."),
        ("av1.mkv", "-c:v libsvtav1 -preset 12 -g 30".to_owned(), "av01.0."),
        ("mpeg2.ts", "-c:v mpeg2video -g 30 -bf 2".to_owned(), "m2v1"),
        ("mpeg2.mkv", "-c:v mpeg2video -g 30".to_owned(), "m2v1"),
        ("prores.mov", "-c:v prores_ks -profile:v 3".to_owned(), "apch"),
        ("prores.mkv", "-c:v prores_ks -profile:v 0".to_owned(), "apco"),
    ];
    for (name, codec, string) in cases {
        let file = ffmpeg(dir.path(), &format!("{PICTURE} {codec}"), name);
        let all = demux(&file).await.unwrap();
        assert!(all.audio_track.is_none() && all.audio.is_empty());
        let track = all.video_track.unwrap();
        assert!(track.codec_string().unwrap().starts_with(string), "{name}: {}", track.codec_string().unwrap());
        assert!(all.video.len() >= 90, "{name}");
        let pairs = segments(dir.path(), &track, &all.video);
        let whole = joined(dir.path(), "film.mp4", &[pairs[0].init.clone(), pairs[0].segment.clone()]);
        assert_eq!(probe(&whole, "v", "frame=key_frame").first().unwrap(), &["1"], "{name}");
    }
}

#[tokio::test]
async fn a_gap_in_the_audio_stays_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    // Half a second of audio is missing after the first second.
    let select = "-af aselect='lt(t,1)+gt(t,1.5)'";
    for (name, codec) in [("aac.mkv", "-c:a aac"), ("mp3.mkv", "-c:a libmp3lame")] {
        let file = ffmpeg(dir.path(), &format!("{PICTURE} {SOUND} {H264} {select} {codec}"), name);
        let all = demux(&file).await.unwrap();
        let (first, last) = (&all.audio[0], all.audio.last().unwrap());
        let spans = (last.pts + i64::from(last.duration) - first.pts) as f64 / 44_100.0;
        assert!((spans - 3.0).abs() < 0.15, "{name}: {spans}");
        assert!(all.audio.windows(2).all(|pair| pair[0].pts + i64::from(pair[0].duration) <= pair[1].pts));
    }
}

#[tokio::test]
async fn a_picture_that_changes_in_a_transport_stream_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let one = ffmpeg(dir.path(), &format!("{PICTURE} -t 1 {H264}"), "one.ts");
    let two = ffmpeg(dir.path(), &format!("{PICTURE} -t 1 -vf scale=640x360 -output_ts_offset 1 {H264}"), "two.ts");
    let both = joined(dir.path(), "both.ts", &[one, two]);
    let all = demux(&both).await.unwrap();
    assert_eq!(all.tracks_told, 2);
    let video = all.video_track.unwrap().video().unwrap();
    assert_eq!((video.width, video.height), (640, 360), "the later one");
    assert_eq!(all.video.len(), 60);
}

#[tokio::test]
async fn a_file_without_sound_or_picture_is_told_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let sound = demux(&ffmpeg(dir.path(), &format!("{SOUND} -c:a aac"), "sound.mp4")).await.unwrap();
    assert!(sound.video_track.is_none() && sound.video.is_empty());
    assert_continuous(&sound, 3.0);
    // A cover picture is no video.
    let cover = ffmpeg(dir.path(), "-f lavfi -i color=red:size=64x64 -frames:v 1", "cover.png");
    let arguments =
        format!("{SOUND} -i {} -map 0 -map 1 -c:a aac -c:v png -disposition:v attached_pic", cover.display());
    let with_cover = demux(&ffmpeg(dir.path(), &arguments, "cover.mp4")).await.unwrap();
    assert!(with_cover.video_track.is_none());
}

async fn refused(file: &Path) -> Failure {
    demux(file).await.unwrap_err()
}

#[tokio::test]
async fn what_is_no_video_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let file = dir.path().join(name);
        fs::write(&file, bytes).unwrap();
        file
    };
    let noise: Vec<_> = (0..100_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for (name, bytes) in [("noise.mp4", &noise[..]), ("empty.mp4", &[]), ("text.mp4", b"hello, this is no video")] {
        let failure = refused(&write(name, bytes)).await;
        assert_eq!(failure.kind, FailureKind::BadInput, "{name}: {failure}");
    }
    let subtitles = write("a.srt", b"1\n00:00:00,000 --> 00:00:01,000\nhi\n");
    let only_text = ffmpeg(dir.path(), &format!("-i {} -c:s mov_text", subtitles.display()), "text-track.mp4");
    assert_eq!(refused(&only_text).await.kind, FailureKind::BadInput);
    let mpeg4 = ffmpeg(dir.path(), &format!("{PICTURE} -c:v mpeg4"), "mpeg4.mp4");
    let failure = refused(&mpeg4).await;
    assert_eq!(failure.kind, FailureKind::Unsupported);
    assert!(failure.message.contains("mpeg4"), "{failure}");
}

#[tokio::test]
async fn playlists_and_lists_open_no_other_file() {
    let dir = tempfile::tempdir().unwrap();
    let secret = ffmpeg(dir.path(), &format!("{PICTURE} {H264}"), "secret.ts");
    let name = secret.file_name().unwrap().to_str().unwrap();
    let whole = secret.display();
    let lists = [
        (
            "a.m3u8",
            format!(
                "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{name}\n#EXTINF:3,\nfile://{whole}\n#EXT-X-ENDLIST\n"
            ),
        ),
        ("a.mp4", format!("ffconcat version 1.0\nfile {whole}\n")),
        ("a.mov", format!("#EXTM3U\n#EXTINF:3,\n{whole}\n")),
        ("a.mpd", format!("<?xml version=\"1.0\"?><MPD><Period><BaseURL>file://{whole}</BaseURL></Period></MPD>")),
        ("a.sdp", "v=0\nm=video 5004 RTP/AVP 96\n".to_owned()),
    ];
    for (name, text) in lists {
        let file = dir.path().join(name);
        fs::write(&file, text).unwrap();
        assert_eq!(refused(&file).await.kind, FailureKind::BadInput, "{name}");
    }
}

#[tokio::test]
async fn a_file_that_is_cut_off_gives_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["cut.ts", "cut.mkv", "cut.flv"] {
        let file = ffmpeg(dir.path(), &format!("{PICTURE} {SOUND} {H264} -c:a aac"), name);
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        let all = demux(&file).await.unwrap();
        assert!((30..80).contains(&all.video.len()), "{name}: {}", all.video.len());
        assert!(!all.audio.is_empty());
    }
    // The index of an MP4 stands at its end: without it there is nothing to be read.
    let file = ffmpeg(dir.path(), &format!("{PICTURE} {H264}"), "cut.mp4");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(refused(&file).await.kind, FailureKind::BadInput);
}

#[tokio::test]
async fn a_damaged_transport_stream_loses_only_what_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let file = ffmpeg(dir.path(), &format!("{PICTURE} {SOUND} {H264} -c:a aac"), "damaged.ts");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 5_000].fill(0x5a);
    fs::write(&file, bytes).unwrap();
    let all = demux(&file).await.unwrap();
    assert!(all.video.len() > 75, "{}", all.video.len());
    assert!(all.audio.windows(2).all(|pair| pair[0].pts < pair[1].pts));
    let Codec::H264 { config, .. } = &all.video_track.unwrap().codec else { panic!() };
    assert_ne!(config, &Bytes::new());
}
