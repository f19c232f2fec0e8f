//! What a player sees and hears of media, by ffmpeg: when each picture is shown, which of them are flashes, and when
//! a tone begins, and for how long nothing at all is heard. The media of the matrix flash and sound together once a
//! second, over a hum.

use std::fs;

use crate::clip::{field, text, tool};

/// A flash is brighter than this on average, of 255; the pictures between are darker than half of it.
const FLASH_LUMA_MIN: f64 = 150.0;
/// Samples per second that sound is looked at.
const RATE_HZ: usize = 8_000;
/// A tone is louder than this; full scale is 1.
const TONE_MIN: f32 = 0.1;
/// The hum is louder than this.
const HUM_MIN: f32 = 0.004;
/// Sound is looked at for silence in pieces of so many samples, which is less than a period of the hum and a half.
const LOOK_SAMPLES: usize = RATE_HZ / 100;
/// So long a silence parts two tones.
const SILENCE_S: f64 = 0.2;

/// Seconds, from where the media starts.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_field_names, reason = "units stand last in names")]
pub(super) struct Seen {
    /// When each picture is shown.
    pub(super) shown_s: Vec<f64>,
    /// The first picture of each flash.
    pub(super) flashes_s: Vec<f64>,
    /// The beginning of each tone.
    pub(super) tones_s: Vec<f64>,
    /// How long nothing is heard.
    pub(super) hush_s: f64,
}

/// Plays `media` to its end: its first track of pictures, and of sound.
#[track_caller]
pub(super) fn see(media: &str) -> Seen {
    let has_pictures = !field(media, "v:0", "codec_name").is_empty();
    look(media, has_pictures)
}

/// The same of its sound alone; what else is there is not looked at.
#[track_caller]
pub(super) fn hear(media: &str) -> Seen {
    look(media, false)
}

#[track_caller]
fn look(media: &str, has_pictures: bool) -> Seen {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let sound = folder.path().join("sound.f32");
    let has_sound = !field(media, "a:0", "codec_name").is_empty();
    // Every picture as it is, none doubled or left out for an even rate.
    let see = "-map 0:v:0 -fps_mode passthrough -vf scale=32:18:flags=area,format=gray,showinfo -f null -";
    // A hole in the sound is silence, so that a sample's number is its time.
    let hear = "-map 0:a:0 -af aresample=8000:async=1:min_hard_comp=0.01:first_pts=0 -ac 1 -f f32le";
    let mut args: Vec<&str> = ["-hide_banner", "-nostats", "-nostdin", "-y"].into();
    if media.starts_with("http") {
        // Otherwise the ffmpeg program moves all but the first picture of HLS where decode times lead by over 0.1 s and
        // pictures come at more than 40 a second. Demuxed times are right.
        args.extend(["-copyts", "-start_at_zero"]);
    }
    args.extend(["-i", media]);
    if has_pictures {
        args.extend(see.split(' '));
    }
    if has_sound {
        args.extend(hear.split(' '));
        args.push(text(&sound));
    }
    let log = tool("ffmpeg", &args);
    for bad in ["Invalid data", "corrupt", "Non-monoton", "non monoton", "error while decoding", "HTTP error"] {
        assert!(!log.contains(bad), "ffmpeg complains of {media}:\n{log}");
    }
    let pictures: Vec<(f64, f64)> = log.lines().filter_map(picture).collect();
    let mut flashes_s = Vec::new();
    let mut dark = true;
    for (at_s, luma) in &pictures {
        if dark && *luma > FLASH_LUMA_MIN {
            flashes_s.push(*at_s);
        }
        dark = *luma <= FLASH_LUMA_MIN;
    }
    let sound = if has_sound { samples(&fs::read(&sound).expect("ffmpeg wrote it")) } else { Vec::new() };
    let quiet = |piece: &&[f32]| piece.iter().all(|sample| sample.abs() < HUM_MIN);
    let hush = sound.chunks_exact(LOOK_SAMPLES).filter(quiet).count() * LOOK_SAMPLES;
    Seen {
        shown_s: pictures.iter().map(|picture| picture.0).collect(),
        flashes_s,
        tones_s: tones_s(&sound),
        hush_s: hush as f64 / RATE_HZ as f64,
    }
}

fn samples(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().expect("four bytes"))).collect()
}

/// Time and mean luma, from a line of ffmpeg's `showinfo`.
fn picture(line: &str) -> Option<(f64, f64)> {
    let (_, rest) = line.split_once("pts_time:")?;
    let (_, mean) = rest.split_once("mean:[")?;
    Some((rest.split_whitespace().next()?.parse().ok()?, mean.split([' ', ']']).next()?.parse().ok()?))
}

fn tones_s(sound: &[f32]) -> Vec<f64> {
    let loud = sound
        .iter()
        .enumerate()
        .filter(|(_, sample)| sample.abs() > TONE_MIN)
        .map(|(at, _)| at as f64 / RATE_HZ as f64);
    let mut tones_s = Vec::new();
    let mut last_s = f64::NEG_INFINITY;
    for at_s in loud {
        if at_s - last_s > SILENCE_S {
            tones_s.push(at_s);
        }
        last_s = at_s;
    }
    tones_s
}
