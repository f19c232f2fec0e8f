//! What a player sees and hears of media, by ffmpeg: when each picture is shown, which of them are flashes, and when
//! a tone begins. The media of the matrix flash and sound together once a second.

use std::fs;

use crate::clip::{field, text, tool};

/// A flash is brighter than this on average, of 255; the pictures between are darker than half of it.
const FLASH_LUMA_MIN: f64 = 150.0;
/// Samples per second that sound is looked at.
const RATE_HZ: usize = 8_000;
/// A tone is louder than this; full scale is 1.
const TONE_MIN: f32 = 0.1;
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
}

/// Plays `media` to its end.
#[track_caller]
pub(super) fn see(media: &str) -> Seen {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let sound = folder.path().join("sound.f32");
    let has_sound = !field(media, "a:0", "codec_name").is_empty();
    // Every picture as it is, none doubled or left out for an even rate.
    let see = "-map 0:v:0 -fps_mode passthrough -vf scale=32:18:flags=area,format=gray,showinfo -f null -";
    // A hole in the sound is silence, so that a sample's number is its time.
    let hear = "-map 0:a:0 -af aresample=8000:async=1:min_hard_comp=0.01:first_pts=0 -ac 1 -f f32le";
    let mut args: Vec<&str> = ["-hide_banner", "-nostats", "-nostdin", "-y", "-i", media].into();
    args.extend(see.split(' '));
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
    Seen {
        shown_s: pictures.iter().map(|picture| picture.0).collect(),
        flashes_s,
        tones_s: if has_sound { tones_s(&fs::read(&sound).expect("ffmpeg wrote it")) } else { Vec::new() },
    }
}

/// Time and mean luma, from a line of ffmpeg's `showinfo`.
fn picture(line: &str) -> Option<(f64, f64)> {
    let (_, rest) = line.split_once("pts_time:")?;
    let (_, mean) = rest.split_once("mean:[")?;
    Some((rest.split_whitespace().next()?.parse().ok()?, mean.split([' ', ']']).next()?.parse().ok()?))
}

fn tones_s(sound: &[u8]) -> Vec<f64> {
    let loud = sound
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes(four.try_into().expect("four bytes")))
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
