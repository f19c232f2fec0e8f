//! The cases, by part: what comes, by which way, and what of it must come out. Whatever is not said is as in
//! [`Case::new`]: five seconds of a small moving picture and a tone, and one small rung.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    cases::{Case, Rung, Way},
    hls::{Form, Packing, Sound},
    media::{Damage, Media},
};
use crate::{rtmp::Tag, wait::s};

fn file(name: &'static str, ending: &'static str, args: &'static str) -> Case {
    Case::new(name, Way::File, ending, args)
}

fn rtmp(name: &'static str, args: &'static str) -> Case {
    Case::new(name, Way::Rtmp, "flv", args)
}

fn tags(name: &'static str, change: fn(Vec<Tag>) -> Vec<Tag>) -> Case {
    Case::new(name, Way::Tags(change), "flv", "-bf 2")
}

fn srt(name: &'static str, args: &'static str) -> Case {
    Case::new(name, Way::Srt, "ts", args)
}

fn segments(name: &'static str, args: &'static str) -> Case {
    Case::new(name, Way::Segments, "ts", args)
}

fn hls(name: &'static str, packing: Packing) -> Case {
    Case::new(name, Way::Hls(packing), "mp4", "-bf 2")
}

/// How it comes in.
pub(super) fn ways() -> Vec<Case> {
    let ts = Packing::TS;
    let live = Packing { live: true, ..ts };
    vec![
        Case::new("a file", Way::File, "mp4", "-bf 2"),
        Case::new("a file by its URL", Way::Url, "mp4", "-bf 2"),
        rtmp("a push", "-bf 2"),
        Case::new("a push within TLS", Way::Rtmps, "flv", "-bf 2"),
        srt("a push by SRT", "-bf 2"),
        segments("segments that the app cut", "-bf 2"),
        file("sound alone, a file", "m4a", "").media(|media| media.pictures = false),
        rtmp("sound alone, pushed", "").media(|media| media.pictures = false),
        segments("sound alone, in segments", "").media(|media| media.pictures = false),
        hls("TS, the best of two versions", ts),
        hls("fMP4, the sound in a playlist of its own", Packing { form: Form::Mp4, sound: Sound::Apart, ..ts }),
        hls("TS, the sound packed as ADTS", Packing { sound: Sound::Packed, ..ts }),
        hls("byte ranges of one file", Packing { form: Form::Ranges, ..ts }),
        hls("AES-128", Packing { encrypted: true, ..ts }),
        hls("a discontinuity", ts).media(go_on).want(|want| (want.alike, want.breaks) = (false, 1)),
        hls("a broadcast in TS", live),
        hls(
            "a broadcast in fMP4, the sound in a playlist of its own",
            Packing { form: Form::Mp4, sound: Sound::Apart, ..live },
        ),
    ]
}

/// A second piece, whose times begin as those of the first did.
fn go_on(media: &mut Media) {
    media.seconds = 4;
    media.then = Some(Box::new(media.clone()));
}

/// What the pictures are like.
pub(super) fn pictures() -> Vec<Case> {
    vec![
        file("B-frames, as references too", "mp4", "-preset veryfast -bf 3 -x264-params b-pyramid=normal"),
        rtmp("B-frames by RTMP", "-preset veryfast -bf 3 -x264-params b-pyramid=normal"),
        srt("B-frames by SRT", "-preset veryfast -bf 3 -x264-params b-pyramid=normal"),
        file("open groups of pictures", "mkv", "-preset veryfast -bf 3 -x264-params open-gop=1"),
        file("one key frame in ten seconds", "mp4", "-g 250").media(|media| media.seconds = 20),
        rtmp("one key frame in ten seconds, by RTMP", "-g 250").media(|media| media.seconds = 20),
        file("another size in mid-stream", "ts", "").media(change_size).want(|want| {
            (want.alike, want.breaks) = (false, 1);
        }),
        tags("another size in mid-stream, by RTMP", |tags| tags).media(change_size).want(|want| {
            (want.alike, want.breaks) = (false, 1);
        }),
        file("turned by 90 degrees, as telephones do", "mp4", "")
            .media(|media| media.copied = "-c copy -metadata:s:v rotate=90")
            .sized(120, 214),
        file("turned by 180 degrees", "mov", "").media(|media| media.copied = "-c copy -metadata:s:v rotate=180"),
        file("turned by 270 degrees", "mp4", "")
            .media(|media| media.copied = "-c copy -metadata:s:v rotate=270")
            .sized(120, 214),
        rtmp("upright, 9:16", "").media(|media| media.size = (180, 320)).sized(120, 214),
        file("4:2:2", "mp4", "-pix_fmt yuv422p"),
        file("10 bits", "mkv", "-pix_fmt yuv420p10le"),
        file("4:4:4, odd width and height", "mp4", "-pix_fmt yuv444p").media(|media| media.size = (321, 181)),
        file("interlaced", "ts", "-vf tinterlace=interleave_top,setfield=tff -flags +ilme+ildct -x264-params tff=1")
            .media(|media| media.rate = "60")
            .want(|want| want.alike = false),
        file("HDR10", "mp4", HDR10).want(|want| want.alike = false),
        file("pixels that are not square", "mp4", "-vf scale=240:180,setsar=4/3"),
        file("smaller than every rung", "mp4", "").media(|media| media.size = (128, 72)).sized(128, 72),
        file("turned, odd width and height", "mp4", "-pix_fmt yuv444p")
            .media(|media| (media.size, media.copied) = ((321, 181), "-c copy -metadata:s:v rotate=90"))
            .sized(120, 214),
        file("3840x2160", "mp4", "").media(|media| (media.size, media.seconds) = ((3840, 2160), 1)),
        file("one frame", "mp4", "-frames:v 1").media(|media| media.sound = None),
        rtmp("one frame by RTMP", "-frames:v 1").media(|media| media.sound = None),
    ]
}

/// Ten bits in the curve of SMPTE ST 2084, which our decoders' pictures have to be brought down from.
const HDR10: &str = "-c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -color_primaries bt2020 -color_trc smpte2084 \
                     -colorspace bt2020nc -x265-params log-level=error:keyint=25:colorprim=bt2020:transfer=smpte2084:\
                     colormatrix=bt2020nc";

fn change_size(media: &mut Media) {
    media.seconds = 3;
    media.then = Some(Box::new(Media { size: (640, 360), ..media.clone() }));
}

/// How often they come.
pub(super) fn rates() -> Vec<Case> {
    vec![
        file("23.976 frames/s", "mp4", "").media(|media| media.rate = "24000/1001"),
        rtmp("29.97 frames/s by RTMP", "-g 30").media(|media| media.rate = "30000/1001"),
        file("59.94 frames/s", "mkv", "-g 60").media(|media| media.rate = "60000/1001"),
        rtmp("59.94 frames/s by RTMP", "-g 60").media(|media| media.rate = "60000/1001"),
        file("1 frame/s", "mp4", "-g 1").media(|media| media.rate = "1"),
        rtmp("1 frame/s by RTMP", "-g 1").media(|media| media.rate = "1"),
        file("120 frames/s", "mp4", "-g 120").media(|media| media.rate = "120"),
        file("uneven frame rate", "mkv", r"-vf select='mod(n\,5)+eq(n\,0)' -fps_mode vfr"),
        rtmp("uneven frame rate by RTMP", r"-vf select='mod(n\,5)+eq(n\,0)' -fps_mode vfr"),
    ]
}

/// What the sound is like.
pub(super) fn sounds() -> Vec<Case> {
    let hole = r"-af aselect='lt(t\,1.2)+gte(t\,3.2)'";
    vec![
        file("no sound", "mp4", "").media(|media| media.sound = None),
        rtmp("no sound, by RTMP", "").media(|media| media.sound = None),
        rtmp("mono, 44.1 kHz", "").media(|media| media.sound = Some((44_100, 1))),
        rtmp("stereo, 48 kHz", "").media(|media| media.sound = Some((48_000, 2))),
        file("5.1", "mp4", "").media(|media| media.sound = Some((48_000, 6))),
        rtmp("5.1 by RTMP", "").media(|media| media.sound = Some((48_000, 6))),
        srt("stereo, 44.1 kHz, in MP2, by SRT", "-c:a mp2").media(|media| media.sound = Some((44_100, 2))),
        file("5.1 in AC-3", "ts", "-c:a ac3").media(|media| media.sound = Some((48_000, 6))).want(|want| {
            want.sound = Some((48_000, 2));
        }),
        file("sound that starts two seconds late", "mp4", "").media(|media| media.sound_late_s = 2),
        rtmp("sound that starts two seconds late, by RTMP", "").media(|media| media.sound_late_s = 2),
        file("sound that starts eight seconds late", "mkv", "")
            .media(|media| (media.seconds, media.sound_late_s) = (11, 8)),
        file("pictures that start four seconds late", "mp4", "-fps_mode vfr").media(|media| media.picture_late_s = 4),
        rtmp("pictures that start four seconds late, by RTMP", "").media(|media| media.picture_late_s = 4),
        file("sound that is away for two seconds", "mkv", hole),
        rtmp("sound that is away for two seconds, by RTMP", hole),
    ]
}

/// What the clock does.
pub(super) fn times() -> Vec<Case> {
    vec![
        tags("32 bits of milliseconds wrap", |tags| later(tags, u32::MAX - 1_800)),
        file("33 bits of ticks wrap", "ts", "-output_ts_offset 95441.7"),
        segments("33 bits of ticks wrap, over HTTP", "-output_ts_offset 95441.7"),
        srt("33 bits of ticks wrap, by SRT", "-output_ts_offset 95441.7"),
        tags("an hour forward", |tags| jump(tags, 3_600_000)).want(|want| want.breaks = 1),
        tags("an hour back", |tags| jump(later(tags, 7_200_000), 3_600_000_u32.wrapping_neg()))
            .want(|want| want.breaks = 1),
        file("times that begin anew", "ts", "")
            .media(|media| {
                go_on(media);
                media.anew = true;
            })
            .want(|want| (want.alike, want.breaks) = (false, 1)),
        tags("a publisher that stalls for four seconds", |tags| pause(tags, s(4))),
        tags("ten seconds of silence, then on with what came then", |tags| pause(jump(tags, 11_000), s(10)))
            .want(|want| want.breaks = 1),
    ]
}

/// What else is in it, and what is not.
pub(super) fn contents() -> Vec<Case> {
    let words = ("words.srt", "1\n00:00:00,000 --> 00:00:02,000\nwords\n");
    vec![
        file("two sounds: the first", "mp4", "-map 0:v -map 1:a -map 1:a -ar:a:1 44100"),
        file("subtitles and a time code", "mov", "").media(|media| {
            media.beside = Some(words);
            media.copied = "-map 0 -map 1 -c copy -c:s mov_text -timecode 00:00:00:00";
        }),
        file("sound with a cover picture", "m4a", "").media(|media| {
            media.pictures = false;
            media.copied = "-f lavfi -i color=red:s=64x64:d=1:r=1 -map 0 -map 1 -c:a copy -c:v mjpeg -frames:v 1 \
                            -disposition:v attached_pic";
        }),
        file("sound in ADTS", "aac", "").media(|media| media.pictures = false),
        file("5,000 bytes of a transport stream overwritten", "ts", "-bf 2")
            .media(|media| media.damage = Some(Damage::Overwritten))
            .want(|want| (want.alike, want.frames_min) = (false, Some(75))),
        file("half of a transport stream", "ts", "-bf 2")
            .media(|media| media.damage = Some(Damage::Halved))
            .want(|want| (want.alike, want.frames_min) = (false, Some(50))),
    ]
}

/// What it is coded in.
pub(super) fn codecs() -> Vec<Case> {
    let x265 = "-c:v libx265 -preset ultrafast -x265-params log-level=error:keyint=25:bframes=2";
    vec![
        file("FLV", "flv", "-bf 2"),
        file("TS", "ts", "-bf 2"),
        file("HEVC", "mp4", x265),
        file("VP8 and Vorbis", "webm", "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 1M -c:a libvorbis -ac 2")
            .want(|want| want.sound = Some((48_000, 2))),
        file("VP9 and Opus", "webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 1M -c:a libopus"),
        file("AV1 and Opus", "mkv", "-c:v libsvtav1 -preset 12 -c:a libopus"),
        file("MPEG-2 and MP2", "ts", "-c:v mpeg2video -b:v 2M -bf 2 -c:a mp2"),
        file("MPEG-2 and AC-3", "mkv", "-c:v mpeg2video -b:v 2M -c:a ac3"),
        file("ProRes and PCM", "mov", "-c:v prores_ks -profile:v 2 -pix_fmt yuv422p10le -c:a pcm_s16le"),
        file("MP3", "mp4", "-c:a libmp3lame"),
        Case::new("HEVC with B-frames, pushed", Way::Enhanced, "mp4", x265),
        Case::new("AV1, pushed", Way::Enhanced, "mp4", "-c:v libsvtav1 -preset 12"),
    ]
}

/// What it is made into.
pub(super) fn ladders() -> Vec<Case> {
    let rung = Rung::new(320, 180);
    vec![
        file("rungs in H.264 at half the rate, HEVC and AV1", "mp4", "-bf 2").profile(
            codec_ladder,
            &[
                Rung { divisor: 2, ..rung },
                Rung { codec: "hvc1", ..rung },
                Rung { codec: "av01", ..rung },
                Rung { codec: "hvc1", ..Rung::new(160, 90) },
            ],
        ),
        rtmp("rungs in H.264 at half the rate, HEVC and AV1, by RTMP", "-bf 2").profile(
            codec_ladder,
            &[
                Rung { divisor: 2, ..rung },
                Rung { codec: "hvc1", ..rung },
                Rung { codec: "av01", ..rung },
                Rung { codec: "hvc1", ..Rung::new(160, 90) },
            ],
        ),
        file("`auto`", "mp4", "-g 50").media(|media| (media.size, media.rate) = ((640, 480), "50")).profile(
            auto,
            &[
                Rung::new(640, 480),
                Rung { divisor: 2, ..Rung::new(480, 360) },
                Rung { divisor: 2, ..Rung::new(320, 240) },
            ],
        ),
    ]
}

fn codec_ladder() -> Value {
    let rung = |name: &str, codec: &str, divisor: u32| {
        json!({"name": name, "short_side_px": 180, "codec": codec, "bitrate_bps_max": 600_000, "crf": 18,
            "preset": "superfast", "fps_divisor": divisor})
    };
    let average = json!({"name": "low", "short_side_px": 90, "codec": "hevc", "bitrate_bps": 100_000});
    json!({"ladder": [rung("hevc", "hevc", 1), rung("av1", "av1", 1), rung("h264", "h264", 2), average]})
}

fn auto() -> Value {
    json!("auto")
}

/// All times `by_ms` later, modulo 2^32 as they wrap.
fn later(mut tags: Vec<Tag>, by_ms: u32) -> Vec<Tag> {
    for tag in &mut tags {
        tag.time_ms = tag.time_ms.wrapping_add(by_ms);
    }
    tags
}

/// The first tag of the key frame in the middle, and so of all that comes after it.
fn middle(tags: &[Tag]) -> usize {
    let key = |tag: &Tag| tag.kind == 9 && tag.body[0] >> 4 == 1 && !tag.is_header();
    let keys: Vec<_> = tags.iter().enumerate().filter(|(_, tag)| key(tag)).map(|(at, _)| at).collect();
    keys[keys.len() / 2]
}

/// From the middle on all times are `by_ms` later.
fn jump(mut tags: Vec<Tag>, by_ms: u32) -> Vec<Tag> {
    let rest = tags.split_off(middle(&tags));
    tags.extend(later(rest, by_ms));
    tags
}

fn pause(mut tags: Vec<Tag>, pause: Duration) -> Vec<Tag> {
    let at = middle(&tags);
    tags[at].pause = pause;
    tags
}
