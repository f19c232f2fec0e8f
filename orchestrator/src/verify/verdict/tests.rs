//! Checks of the verdict: each way in which an outcome can be wrong is found.

use millrace_proto::{
    outcome::Rendition,
    profile::{H264Profile, Preset, Rate},
    task::Blob,
};

use super::*;

fn good() -> (Transcode, Done, Seen, Vec<Inspection>) {
    let target = Target {
        name: "360p".into(),
        width: 640,
        height: 360,
        codec: VideoCodec::H264,
        rate: Rate::Capped { crf: 23, bitrate_bps_max: 730_000 },
        preset: Preset::Veryfast,
        profile: H264Profile::High,
        fps_divisor: 1,
    };
    let blob = Blob::of(b"x");
    let claimed = Rendition { name: "360p".into(), init: blob, segment: blob, codec: "avc1.64001e".into(), frames: 3 };
    let source = Seen {
        key_bytes: 1,
        codec: "hevc".into(),
        codec_string: "hvc1".into(),
        timescale: 1_000,
        pts: vec![0, 33, 67],
        key_first: true,
        width: 1_280,
        height: 720,
        frames_decoded: 1,
    };
    let seen =
        Seen { codec: "h264".into(), codec_string: "avc1.64001e".into(), width: 640, height: 360, ..source.clone() };
    let done = Done { renditions: vec![claimed], report: None, frames_concealed: 0, work_ms: 1 };
    (Transcode { renditions: vec![target] }, done, source, vec![Inspection::Readable(seen)])
}

fn refusal(spoil: impl Fn(&mut Done, &mut Seen)) -> String {
    let (task, mut done, source, mut made) = good();
    if let Inspection::Readable(seen) = &mut made[0] {
        spoil(&mut done, seen);
    }
    transcode(&task, &done, &source, &made).unwrap_err()
}

#[test]
fn what_was_asked_for_passes() {
    let (task, done, source, made) = good();
    assert_eq!(transcode(&task, &done, &source, &made), Ok(()));
}

#[test]
fn every_difference_is_refused_and_named() {
    assert!(refusal(|done, _| done.renditions.clear()).contains("0 renditions"));
    assert!(refusal(|done, _| done.renditions[0].name = "720p".into()).contains("\"720p\""));
    assert!(refusal(|_, seen| seen.codec = "mpeg4".into()).contains("codec is mpeg4"));
    assert!(refusal(|_, seen| seen.codec_string = "avc1.6e001e".into()).contains("avc1.6e001e"), "10 bits");
    assert!(refusal(|_, seen| seen.width = 320).contains("320x360"));
    assert!(refusal(|_, seen| seen.key_first = false).contains("keyframe"));
    assert!(refusal(|_, seen| seen.pts.truncate(2)).contains("2 frames"));
    assert!(refusal(|done, _| done.renditions[0].frames = 4).contains("claims 4"));
    assert!(refusal(|_, seen| seen.timescale = 90_000).contains("timescale"));
    assert!(refusal(|_, seen| seen.pts[1] = 34).contains("frame 1 is at 34"));
}

#[test]
fn unreadable_output_is_refused() {
    let (task, done, source, _) = good();
    let made = [Inspection::Unreadable { message: "no moov".into() }];
    assert_eq!(transcode(&task, &done, &source, &made), Err("360p: no moov".into()));
}

#[test]
fn each_codec_is_held_to_what_was_asked() {
    let judged = |codec, profile, seen_codec: &str, codec_string: &str| {
        let (mut task, done, source, mut made) = good();
        (task.renditions[0].codec, task.renditions[0].profile) = (codec, profile);
        if let Inspection::Readable(seen) = &mut made[0] {
            (seen.codec, seen.codec_string) = (seen_codec.into(), codec_string.into());
        }
        transcode(&task, &done, &source, &made).is_ok()
    };
    let (high, main) = (H264Profile::High, H264Profile::Main);
    assert!(judged(VideoCodec::H264, main, "h264", "avc1.4d401e"));
    assert!(judged(VideoCodec::H264, high, "h264", "avc1.42c01e"), "less than allowed");
    assert!(!judged(VideoCodec::H264, main, "h264", "avc1.64001e"), "more than allowed");
    assert!(judged(VideoCodec::Hevc, high, "hevc", "hvc1.1.6.L90.90"));
    assert!(!judged(VideoCodec::Hevc, high, "hevc", "hvc1.2.4.L90.90"), "Main 10");
    assert!(judged(VideoCodec::Av1, high, "av1", "av01.0.04M.08"));
    assert!(!judged(VideoCodec::Av1, high, "av1", "av01.0.04M.10"));
    for (asked, made, string) in [
        (VideoCodec::H264, "hevc", "hvc1.1.6.L90.90"),
        (VideoCodec::Hevc, "h264", "avc1.64001e"),
        (VideoCodec::Av1, "h264", "avc1.64001e"),
        (VideoCodec::Hevc, "av1", "av01.0.04M.08"),
    ] {
        assert!(!judged(asked, high, made, string), "{made} for {asked:?}");
    }
}

#[test]
fn every_nth_frame_is_counted_from_the_segments_first() {
    let (mut task, mut done, source, mut made) = good();
    task.renditions[0].fps_divisor = 2;
    let all = transcode(&task, &done, &source, &made).unwrap_err();
    assert!(all.contains("has 3 frames") && all.contains("has 2"), "{all}");
    if let Inspection::Readable(seen) = &mut made[0] {
        seen.pts = vec![0, 67];
    }
    done.renditions[0].frames = 2;
    assert_eq!(transcode(&task, &done, &source, &made), Ok(()));
    if let Inspection::Readable(seen) = &mut made[0] {
        seen.pts = vec![0, 33];
    }
    assert!(transcode(&task, &done, &source, &made).unwrap_err().contains("frame 1 is at 33"));
}
