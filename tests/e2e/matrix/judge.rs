//! Judges one case: what a player makes of the recording, next to what a player makes of the source. Returns what
//! came out in words for the table, or all that is wrong.

use std::path::PathBuf;

use millrace_proto::api::Stream;

use super::{
    cases::{Case, Way},
    eye::{Seen, see},
    media::Media as Source,
};
use crate::{
    clip::{field, text, tool},
    conformance,
    house::House,
    playlist::{Master, Media},
};

/// RTMP counts in milliseconds, and ffmpeg rounds to them.
const RTMP_MS_OFF_MAX: f64 = 0.0021;
/// What ffmpeg tells is rounded to six digits.
const FILE_MS_OFF_MAX: f64 = 0.0011;
/// Behind a discontinuity all may be moved: what comes before it lasts as long as its longer track.
const BREAK_S_OFF_MAX: f64 = 0.1;
/// Sound comes in frames of 21 to 23 ms, and its decoder's first one may be missing.
const SYNC_S_OFF_MAX: f64 = 0.03;
/// Like the source by SSIM, in small pictures of quick encoders; one frame late they have 0.7.
const SSIM_MIN: f64 = 0.9;

/// What went wrong, one line each.
#[derive(Debug, Default)]
struct Faults(Vec<String>);

impl Faults {
    fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(what());
        }
    }
}

/// What came out of `case`, whose stream has ended.
pub(super) fn judge(house: &House, case: &Case, stream: &Stream, files: &[PathBuf]) -> Result<String, String> {
    let mut faults = Faults::default();
    let progress = stream.progress;
    faults.check(progress.segments == progress.segments_settled && progress.segments_failed == 0, || {
        format!("not every segment came out: {progress:?}")
    });
    let vod = stream.playback.vod.clone().unwrap_or_else(|| stream.playback.hls.clone());
    for finding in conformance::recording(&house.api, &vod) {
        faults.0.push(finding.to_string());
    }
    let Some(master) = Master::fetch(&house.api, &vod) else { return Err("there is no recording".into()) };
    let [rung] = &master.rungs[..] else { return Err(format!("the rungs are {:?}", master.rungs)) };
    let want = &case.want;
    let size = (rung.width, rung.height);
    faults.check(size == want.size, || format!("{size:?} pixels, not {:?}", want.size));

    let list = Media::fetch(&house.api, &rung.url).expect("the rung's playlist is there");
    let breaks = list.segments.iter().skip(1).filter(|segment| segment.discontinuity).count();
    faults.check(breaks == want.breaks, || format!("{breaks} discontinuities, not {}:\n{}", want.breaks, list.text));

    for url in master.all() {
        let text = Media::fetch(&house.api, url).expect("every playlist of a recording is there").text;
        faults.check(!text.contains("GAP"), || format!("a gap in {url}:\n{text}"));
    }
    let wanted = source(&case.media, files);
    let got = see(&resolved(house, &vod));
    times(case, &wanted, &got, &mut faults);
    let sound = sound(case, &master, &wanted, &got, &mut faults);
    if want.alike {
        let ssim = ssim(&rung.url, text(&files[0]), size);
        faults.check(ssim > SSIM_MIN, || format!("SSIM {ssim}"));
        println!("{}: SSIM {ssim}", case.name);
    }
    if !faults.0.is_empty() {
        return Err(faults.0.join("\n"));
    }
    let plural = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let marks = if breaks > 0 { format!(", {breaks} discontinuity") } else { String::new() };
    Ok(format!(
        "{}x{}, {}, {:.2}/s; {sound}; {}{marks}",
        size.0,
        size.1,
        plural(got.shown_s.len(), "frame"),
        rung.frame_rate,
        plural(list.segments.len(), "segment"),
    ))
}

fn resolved(house: &House, path: &str) -> String {
    crate::playlist::resolve(&format!("{}/", house.api.base), path)
}

/// What a player makes of the source: of all its files, each behind the other.
fn source(media: &Source, files: &[PathBuf]) -> Seen {
    let mut all = see(text(&files[0]));
    let start_s = all.shown_s[0];
    for file in &files[1..] {
        let one = see(text(file));
        let shift = start_s + f64::from(media.seconds) - one.shown_s[0];
        all.shown_s.extend(one.shown_s.iter().map(|at_s| at_s + shift));
        all.flashes_s.extend(one.flashes_s.iter().map(|at_s| at_s + shift));
        all.tones_s.extend(one.tones_s.iter().map(|at_s| at_s + shift));
    }
    all
}

/// Every frame is there, at its time, and shows what it should.
fn times(case: &Case, wanted: &Seen, got: &Seen, faults: &mut Faults) {
    let off_max = match case.way {
        _ if case.want.breaks > 0 || case.media.then.is_some() => BREAK_S_OFF_MAX,
        Way::Rtmp | Way::Tags(_) | Way::Enhanced => RTMP_MS_OFF_MAX,
        Way::File | Way::Segments | Way::Srt => FILE_MS_OFF_MAX,
    };
    let (frames, wanted_frames) = (got.shown_s.len(), wanted.shown_s.len());
    faults.check(frames == wanted_frames, || format!("{frames} frames, not {wanted_frames}"));
    let pairs: [(&str, &[f64], &[f64]); 2] =
        [("frames", &got.shown_s, &wanted.shown_s), ("flashes", &got.flashes_s, &wanted.flashes_s)];
    for (what, got_s, wanted_s) in pairs {
        let off = offsets(got_s, got.shown_s[0]).zip(offsets(wanted_s, wanted.shown_s[0]));
        let wrong = off.enumerate().find(|(_, (got, wanted))| (got - wanted).abs() > off_max);
        faults.check(got_s.len() == wanted_s.len() && wrong.is_none(), || {
            format!("{what}: {} of {}, {wrong:?}", got_s.len(), wanted_s.len())
        });
    }
}

fn offsets(times_s: &[f64], start_s: f64) -> impl Iterator<Item = f64> {
    times_s.iter().map(move |at_s| at_s - start_s)
}

/// The sound is what it should be, and heard when it should be.
fn sound(case: &Case, master: &Master, wanted: &Seen, got: &Seen, faults: &mut Faults) -> String {
    let Some(audio) = master.audio.as_deref() else {
        faults.check(case.want.sound.is_none(), || "there is no sound".into());
        return "no sound".into();
    };
    let number = |name| field(audio, "a:0", name).parse().unwrap_or(0_u32);
    let told = (number("sample_rate"), number("channels") as u16);
    faults.check(Some(told) == case.want.sound, || format!("sound of {told:?}, not {:?}", case.want.sound));
    let tones = (&got.tones_s, &wanted.tones_s);
    faults.check(tones.0.len() == tones.1.len(), || format!("tones at {tones:?}"));
    // Each tone with the flash that belongs to it: those that the source has, too.
    for tone_s in &got.tones_s {
        let off_s = got.flashes_s.iter().map(|flash_s| tone_s - flash_s).min_by(|a, b| a.abs().total_cmp(&b.abs()));
        let frame_s = (got.shown_s.last().unwrap_or(&0.0) - got.shown_s[0]) / got.shown_s.len() as f64;
        // The flash is shown with the first frame after the tone has begun.
        let right = off_s.is_some_and(|off_s| (-frame_s - SYNC_S_OFF_MAX..=SYNC_S_OFF_MAX).contains(&off_s));
        faults.check(right, || format!("a tone at {tone_s} is {off_s:?} s off its flash"));
    }
    let channels = match told.1 {
        1 => "mono".to_owned(),
        2 => "stereo".to_owned(),
        other => format!("{other} channels"),
    };
    format!("{} Hz {channels}, in sync", told.0)
}

/// How alike the rung's pictures and the source's are, by their number.
fn ssim(rung: &str, source: &str, (width, height): (u64, u64)) -> f64 {
    let graph = format!(
        "[0:v]setpts=N/25/TB,format=yuv420p[a];\
         [1:v]setpts=N/25/TB,scale={width}:{height}:flags=bicubic,format=yuv420p[b];[a][b]ssim"
    );
    let args = ["-hide_banner", "-nostdin", "-i", rung, "-i", source, "-filter_complex", &graph, "-f", "null", "-"];
    let log = tool("ffmpeg", &args);
    let all = log.rsplit_once("All:").and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
    all.unwrap_or_else(|| panic!("ffmpeg told no SSIM:\n{log}"))
}
