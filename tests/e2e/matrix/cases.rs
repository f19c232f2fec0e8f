//! The cases: what comes, by which way, and what of it must come out.

use std::time::Duration;

use super::media::Media;
use crate::{rtmp::Tag, wait::s};

/// One case.
pub(super) struct Case {
    /// As the table says it; no two are the same.
    pub(super) name: &'static str,
    pub(super) way: Way,
    pub(super) media: Media,
    pub(super) want: Want,
}

/// How it comes in.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// Uploaded.
    File,
    /// Pushed by ffmpeg, as fast as it goes.
    Rtmp,
    /// Pushed message by message, changed on the way.
    Tags(fn(Vec<Tag>) -> Vec<Tag>),
    /// Pushed as Enhanced RTMP.
    Enhanced,
    /// Pushed by ffmpeg, in real time.
    Srt,
    /// Cut every two seconds and pushed over HTTP.
    Segments,
}

impl Way {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Rtmp | Self::Tags(_) => "RTMP",
            Self::Enhanced => "Enhanced RTMP",
            Self::Srt => "SRT",
            Self::Segments => "HTTP push",
        }
    }
}

/// What must come out. Every frame, at its time, in all cases.
#[derive(Debug, Clone)]
pub(super) struct Want {
    /// Size of the one rung.
    pub(super) size: (u64, u64),
    /// Samples per second and channels; none: no audio rendition.
    pub(super) sound: Option<(u32, u16)>,
    /// Discontinuities.
    pub(super) breaks: usize,
    /// Pictures are compared with the source's one by one.
    pub(super) alike: bool,
}

impl Case {
    fn new(name: &'static str, way: Way, ending: &'static str, args: &'static str) -> Self {
        let media = Media { ending, args, ..Media::default() };
        let want = Want { size: (214, 120), sound: media.sound, breaks: 0, alike: true };
        Self { name, way, media, want }
    }

    fn media(mut self, change: impl FnOnce(&mut Media)) -> Self {
        change(&mut self.media);
        self.want.sound = self.media.sound;
        self
    }

    fn want(mut self, change: impl FnOnce(&mut Want)) -> Self {
        change(&mut self.want);
        self
    }
}

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

/// All cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = pictures();
    cases.extend(rates());
    cases.extend(sounds());
    cases.extend(times());
    cases.extend(codecs());
    // Sound alone is in cuts.rs, rungs in HEVC and AV1 are in codecs.rs.
    cases
}

/// What the pictures are like.
fn pictures() -> Vec<Case> {
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
            .media(|media| media.copied = "-metadata:s:v rotate=90")
            .want(|want| want.size = (120, 214)),
        file("turned by 180 degrees", "mov", "").media(|media| media.copied = "-metadata:s:v rotate=180"),
        file("turned by 270 degrees", "mp4", "")
            .media(|media| media.copied = "-metadata:s:v rotate=270")
            .want(|want| want.size = (120, 214)),
        rtmp("upright, 9:16", "").media(|media| media.size = (180, 320)).want(|want| want.size = (120, 214)),
        file("4:2:2", "mp4", "-pix_fmt yuv422p"),
        file("10 bits", "mkv", "-pix_fmt yuv420p10le"),
        file("4:4:4, odd width and height", "mp4", "-pix_fmt yuv444p").media(|media| media.size = (321, 181)),
        file("interlaced", "ts", "-vf tinterlace=interleave_top,setfield=tff -flags +ilme+ildct -x264-params tff=1")
            .media(|media| media.rate = "60")
            .want(|want| want.alike = false),
        file("HDR10", "mp4", HDR10).want(|want| want.alike = false),
        file("pixels that are not square", "mp4", "-vf scale=240:180,setsar=4/3"),
        file("smaller than every rung", "mp4", "").media(|media| media.size = (128, 72)).want(|want| {
            want.size = (128, 72);
        }),
        file("one frame", "mp4", "-frames:v 1").media(|media| media.sound = None),
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
fn rates() -> Vec<Case> {
    vec![
        file("23.976 frames/s", "mp4", "").media(|media| media.rate = "24000/1001"),
        rtmp("29.97 frames/s by RTMP", "-g 30").media(|media| media.rate = "30000/1001"),
        file("59.94 frames/s", "mkv", "-g 60").media(|media| media.rate = "60000/1001"),
        rtmp("59.94 frames/s by RTMP", "-g 60").media(|media| media.rate = "60000/1001"),
        file("uneven frame rate", "mkv", r"-vf select='mod(n\,5)+eq(n\,0)' -fps_mode vfr"),
        rtmp("uneven frame rate by RTMP", r"-vf select='mod(n\,5)+eq(n\,0)' -fps_mode vfr"),
    ]
}

/// What the sound is like.
fn sounds() -> Vec<Case> {
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
        file("sound that is away for two seconds", "mkv", hole),
        rtmp("sound that is away for two seconds, by RTMP", hole),
    ]
}

/// What the clock does.
fn times() -> Vec<Case> {
    vec![
        tags("32 bits of milliseconds wrap", |tags| later(tags, u32::MAX - 1_800)),
        file("33 bits of ticks wrap", "ts", "-output_ts_offset 95441.7"),
        segments("33 bits of ticks wrap, over HTTP", "-output_ts_offset 95441.7"),
        srt("33 bits of ticks wrap, by SRT", "-output_ts_offset 95441.7"),
        tags("an hour forward", |tags| jump(tags, 3_600_000)).want(|want| want.breaks = 1),
        tags("an hour back", |tags| jump(later(tags, 7_200_000), 3_600_000_u32.wrapping_neg()))
            .want(|want| want.breaks = 1),
        tags("a publisher that stalls for four seconds", |tags| pause(tags, s(4))),
    ]
}

/// What it is coded in.
fn codecs() -> Vec<Case> {
    let x265 = "-c:v libx265 -preset ultrafast -x265-params log-level=error:keyint=25:bframes=2";
    vec![
        file("FLV", "flv", "-bf 2"),
        file("TS", "ts", "-bf 2"),
        srt("TS by SRT", "-bf 2"),
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
