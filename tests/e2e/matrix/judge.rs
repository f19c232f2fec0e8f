//! Judges one case: what a player makes of the recording, next to what a player makes of the source. Returns what
//! came out in words for the table, or all that is wrong.

use std::path::PathBuf;

use millrace_proto::api::Stream;

use super::{
    cases::{Case, Rung},
    eye::{Seen, hear, see},
    media::Media as Source,
};
use crate::{
    clip::{field, text, times as packet_times, tool},
    conformance,
    house::House,
    playlist::{Master, Media, Rung as Told},
};

/// RTMP counts in milliseconds, and ffmpeg rounds to them.
const RTMP_MS_OFF_MAX: f64 = 0.0021;
/// What ffmpeg tells is rounded to six digits.
const FILE_MS_OFF_MAX: f64 = 0.0011;
/// Behind a discontinuity all may be moved: what comes before it lasts as long as its longer track.
const BREAK_S_OFF_MAX: f64 = 0.1;
/// Sound comes in frames of 21 to 23 ms, and its decoder's first one may be missing.
const SYNC_S_OFF_MAX: f64 = 0.03;
/// So much sound before the first picture is kept.
const SOUND_LEAD_S: f64 = 1.0;
/// Silence in place of sound is more than this; encoders' first and last frames are less.
const HUSH_S_OFF_MAX: f64 = 0.07;
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

/// What came out of `case`, whose stream has ended: by HLS, and by DASH.
pub(super) fn judge(house: &House, case: &Case, stream: &Stream, files: &[PathBuf]) -> Result<[String; 2], String> {
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
    let want = &case.want;
    let mut breaks = 0;
    let mut count = 0;
    for url in master.all() {
        let list = Media::fetch(&house.api, url).expect("every playlist of a recording is there");
        faults.check(!list.text.contains("GAP"), || format!("a gap in {url}:\n{}", list.text));
        breaks = list.segments.iter().skip(1).filter(|segment| segment.discontinuity).count();
        count = list.segments.len();
        faults
            .check(breaks == want.breaks, || format!("{breaks} discontinuities, not {}:\n{}", want.breaks, list.text));
    }
    let got = see(&resolved(house, &vod));
    let wanted = if want.frames_min.is_some() { got.clone() } else { source(&case.media, files) };
    let mut shown = rungs(case, &master, &wanted, &got, &mut faults);
    let (heard, packets) = sound(case, &master, &wanted, &got, &mut faults);
    shown.retain(|facts| !facts.is_empty());
    if want.alike
        && let [rung] = &master.rungs[..]
    {
        let ssim = ssim(&rung.url, text(&files[0]), (rung.width, rung.height));
        faults.check(ssim > SSIM_MIN, || format!("SSIM {ssim}"));
        println!("{}: SSIM {ssim}", case.name);
    }
    let frames: Vec<_> = want.rungs.iter().map(|rung| wanted.shown_s.len().div_ceil(rung.divisor)).collect();
    let dash = dash(house, stream, breaks, &frames, packets, &mut faults);
    if !faults.0.is_empty() {
        return Err(faults.0.join("\n"));
    }
    let marks = if breaks > 0 { format!(", {}", plural(breaks, "discontinuity")) } else { String::new() };
    shown.push(format!("{heard}; {}{marks}", plural(count, "segment")));
    Ok([shown.join("; "), dash])
}

fn plural(count: usize, what: &str) -> String {
    match (count, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        _ => format!("{count} {what}s"),
    }
}

/// The rungs are those that are wanted, each with the frames that it is to have; each in words.
fn rungs(case: &Case, master: &Master, wanted: &Seen, got: &Seen, faults: &mut Faults) -> Vec<String> {
    let told = |rung: &Told| Rung { size: (rung.width, rung.height), codec: codec(&rung.codecs), divisor: 1 };
    let mut found: Vec<_> = master.rungs.iter().map(told).collect();
    // Of rungs of one size the first one is for who can play nothing else; how the others follow is of no matter.
    let mut asked: Vec<_> = case.want.rungs.iter().map(|rung| Rung { divisor: 1, ..*rung }).collect();
    faults.check(found.first() == asked.first(), || format!("{found:?} are listed, not {asked:?}"));
    let order = |rung: &Rung| (rung.size, rung.codec);
    found.sort_by_key(order);
    asked.sort_by_key(order);
    faults.check(found == asked, || format!("{found:?} came out, not {asked:?}"));
    let one = master.rungs.len() == 1;
    let mut facts = Vec::new();
    for rung in &master.rungs {
        let shown = told(rung);
        let Some(want) = case.want.rungs.iter().find(|want| order(want) == order(&shown)) else { continue };
        let own;
        let seen = if one {
            got
        } else {
            own = see(&rung.url);
            &own
        };
        times(case, want.divisor, wanted, seen, faults);
        let codec = if one { String::new() } else { format!(" {}", shown.codec) };
        let (width, height) = shown.size;
        let frames = plural(seen.shown_s.len(), "frame");
        facts.push(format!("{width}x{height}{codec}, {frames}, {:.2}/s", rung.frame_rate));
    }
    facts
}

/// What a codec string begins with.
fn codec(codecs: &str) -> &'static str {
    ["avc1", "hvc1", "av01"].into_iter().find(|name| codecs.starts_with(name)).unwrap_or("another codec")
}

fn resolved(house: &House, path: &str) -> String {
    crate::playlist::resolve(&format!("{}/", house.api.base), path)
}

/// What a player makes of the source: of all its files, each behind the other.
fn source(media: &Source, files: &[PathBuf]) -> Seen {
    let see = if media.pictures { see } else { hear };
    let mut all = see(text(&files[0]));
    // Sound that is heard long before there is anything to see is left out.
    let first_s = all.shown_s.first().map_or(0.0, |first_s| first_s - SOUND_LEAD_S);
    all.tones_s.retain(|tone_s| *tone_s >= first_s);
    let start_s = all.shown_s.first().copied().unwrap_or_default();
    for file in &files[1..] {
        let one = see(text(file));
        let shift = start_s + f64::from(media.seconds) - one.shown_s[0];
        all.hush_s += one.hush_s;
        all.shown_s.extend(one.shown_s.iter().map(|at_s| at_s + shift));
        all.flashes_s.extend(one.flashes_s.iter().map(|at_s| at_s + shift));
        all.tones_s.extend(one.tones_s.iter().map(|at_s| at_s + shift));
    }
    all
}

/// Every frame is there, at its time, and shows what it should; of `divisor` frames the first.
fn times(case: &Case, divisor: usize, wanted: &Seen, got: &Seen, faults: &mut Faults) {
    let off_max = match case.way {
        _ if case.want.breaks > 0 || case.media.then.is_some() => BREAK_S_OFF_MAX,
        way if way.rounds() => RTMP_MS_OFF_MAX,
        _ => FILE_MS_OFF_MAX,
    };
    if let Some(frames_min) = case.want.frames_min {
        let frames = got.shown_s.len();
        faults.check(frames >= frames_min, || format!("{frames} frames, not {frames_min} at least"));
        return;
    }
    let wanted_s: Vec<_> = wanted.shown_s.iter().copied().step_by(divisor).collect();
    let (frames, wanted_frames) = (got.shown_s.len(), wanted_s.len());
    faults.check(frames == wanted_frames, || format!("{frames} frames, not {wanted_frames}"));
    let (Some(start_s), Some(wanted_start_s)) = (got.shown_s.first(), wanted_s.first()) else { return };
    let flashes_s: Vec<_> = wanted.flashes_s.iter().map(|flash_s| shown_from(&wanted_s, *flash_s)).collect();
    let pairs: [(&str, &[f64], &[f64]); 2] =
        [("frames", &got.shown_s, &wanted_s), ("flashes", &got.flashes_s, &flashes_s)];
    for (what, got_s, wanted_s) in pairs {
        let off = offsets(got_s, *start_s).zip(offsets(wanted_s, *wanted_start_s));
        let wrong = off.enumerate().find(|(_, (got, wanted))| (got - wanted).abs() > off_max);
        faults.check(got_s.len() == wanted_s.len() && wrong.is_none(), || {
            format!("{what}: {} of {}, {wrong:?}", got_s.len(), wanted_s.len())
        });
    }
}

/// When the first of these frames is shown that is not before `at_s`.
fn shown_from(frames_s: &[f64], at_s: f64) -> f64 {
    frames_s.iter().copied().find(|frame_s| *frame_s >= at_s - 1e-6).unwrap_or(at_s)
}

fn offsets(times_s: &[f64], start_s: f64) -> impl Iterator<Item = f64> {
    times_s.iter().map(move |at_s| at_s - start_s)
}

/// The sound is what it should be, without a seam, and heard when it should be. In words, and how many packets it is.
fn sound(case: &Case, master: &Master, wanted: &Seen, got: &Seen, faults: &mut Faults) -> (String, usize) {
    let Some(audio) = master.audio.as_deref() else {
        faults.check(case.want.sound.is_none(), || "there is no sound".into());
        return ("no sound".into(), 0);
    };
    let number = |name| field(audio, "a:0", name).parse().unwrap_or(0_u32);
    let told = (number("sample_rate"), number("channels") as u16);
    faults.check(Some(told) == case.want.sound, || format!("sound of {told:?}, not {:?}", case.want.sound));
    let packets = packet_times(audio, "a:0");
    let packets_s = packets.offsets_s();
    let gap_s = packets_s.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    // Packets of 1,024 samples, and a tick that is rounded; silence that is put in leaves less than one of them.
    let packets_max = if wanted.hush_s > 0.5 { 2.0 } else { 1.0 };
    let seam = case.want.breaks == 0 && gap_s > (packets_max * 1_024.0 + 2.0) / f64::from(told.0.max(1));
    faults.check(!seam, || format!("a seam of {gap_s} s in the sound"));
    let (tones_s, wanted_s) = (&got.tones_s, &wanted.tones_s);
    faults.check(tones_s.len() == wanted_s.len(), || format!("tones at {tones_s:?}, not {wanted_s:?}"));
    let more_s = got.hush_s - wanted.hush_s;
    // Behind a discontinuity both tracks begin anew together.
    let off_max_s = HUSH_S_OFF_MAX + case.want.breaks as f64 * BREAK_S_OFF_MAX;
    faults.check(more_s.abs() < off_max_s, || format!("{more_s} s more of silence than in the source"));
    let in_sync = if got.shown_s.is_empty() {
        let (start_s, wanted_start_s) = (tones_s.first().unwrap_or(&0.0), wanted_s.first().unwrap_or(&0.0));
        let off = offsets(tones_s, *start_s).zip(offsets(wanted_s, *wanted_start_s));
        let wrong = off.enumerate().find(|(_, (got, wanted))| (got - wanted).abs() > SYNC_S_OFF_MAX);
        faults.check(wrong.is_none(), || format!("tones at {tones_s:?}, not {wanted_s:?}"));
        "alone"
    } else {
        if !wanted.flashes_s.is_empty() {
            together(got, faults);
        }
        "in sync"
    };
    let channels = match told.1 {
        1 => "mono".to_owned(),
        2 => "stereo".to_owned(),
        other => format!("{other} channels"),
    };
    (format!("{} Hz {channels}, {in_sync}", told.0), packets.pts.len())
}

/// Each tone is heard with the flash that belongs to it.
fn together(got: &Seen, faults: &mut Faults) {
    let first_s = got.shown_s.first().copied().unwrap_or_default();
    for tone_s in got.tones_s.iter().filter(|tone_s| **tone_s >= first_s) {
        let off_s = got.flashes_s.iter().map(|flash_s| tone_s - flash_s).min_by(|a, b| a.abs().total_cmp(&b.abs()));
        let frame_s = (got.shown_s.last().unwrap_or(&0.0) - got.shown_s[0]) / got.shown_s.len() as f64;
        // The flash is shown with the first frame after the tone has begun.
        let right = off_s.is_some_and(|off_s| (-frame_s - SYNC_S_OFF_MAX..=SYNC_S_OFF_MAX).contains(&off_s));
        faults.check(right, || format!("a tone at {tone_s} is {off_s:?} s off its flash"));
    }
}

/// What FFmpeg's DASH demuxer makes of the recording, in words. It reads one period only.
fn dash(
    house: &House,
    stream: &Stream,
    breaks: usize,
    frames: &[usize],
    packets: usize,
    faults: &mut Faults,
) -> String {
    let Some(url) = &stream.playback.dash else {
        faults.0.push("there is no DASH manifest".into());
        return String::new();
    };
    let text = house.api.get(url).text();
    let periods = text.matches("<Period ").count();
    faults.check(periods == breaks + 1, || format!("{periods} periods for {breaks} discontinuities: {text}"));
    faults.check(text.contains("type=\"static\""), || format!("it has ended: {text}"));
    if breaks > 0 {
        return plural(periods, "period");
    }
    let url = resolved(house, url);
    let count = |track: String| crate::dash::packets(&url, &track);
    let mut shown: Vec<_> = (0..frames.len()).map(|at| count(format!("v:{at}"))).collect();
    let mut frames = frames.to_vec();
    frames.sort_unstable();
    shown.sort_unstable();
    let heard = if packets > 0 { count("a:0".into()) } else { 0 };
    let right = (&shown, heard) == (&frames, packets);
    faults.check(right, || format!("DASH brings {shown:?} and {heard}, not {frames:?} and {packets}"));
    "the same".into()
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
