//! Captions through the whole house: how many words are wrong, recorded and live, beside other programs with the same
//! weights that hear the file as a whole; how late words are shown live; and whether anything is written where nobody
//! speaks.

use std::{
    collections::BTreeMap,
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use millrace_proto::api::{Stream, Transcript};
use serde_json::{Value, json};

use crate::{
    house::{House, Plan, Program},
    kit::Kit,
    measure::quantile,
    peers,
    report::Table,
    speech::{Speech, filmed, text},
};

/// What is heard with, and how many rounds of the speech go live.
const MODELS: [&str; 2] = ["whisper-base", "whisper-tiny.en"];
/// Three segments of two seconds.
const LAG_S_MAX: f64 = 6.0;
/// One point.
const WORSE_MAX: f64 = 0.01;
/// What nobody says.
const SILENT: [(&str, &str); 3] = [
    ("silence", "anullsrc=r=48000:cl=stereo"),
    ("pink noise", "anoisesrc=r=48000:color=pink:amplitude=0.3"),
    ("white noise", "anoisesrc=r=48000:color=white:amplitude=0.1"),
];

pub(crate) fn run(kit: &Kit) -> Result<Table> {
    let times = if kit.quick { 1 } else { 4 };
    let models = if kit.quick { &MODELS[..1] } else { &MODELS[..] };
    let (speech, short) = (Speech::read(kit, times)?, Speech::read(kit, 1)?);
    let mut table = Table::new(&[
        "model",
        "way",
        "words wrong",
        "word error rate",
        "from word, p50/p95 s",
        "from segment, p50/p95 s",
    ]);
    let film = filmed(kit, "speech", &["-i", text(&speech.wav)], speech.seconds)?;
    let (mut worse, mut lags) = (Vec::new(), Vec::new());
    for model in models {
        let mut row = |way: &str, of: &Speech, heard: &str, lag: Option<&Lag>| {
            let (wrong, lag) = (of.errors(heard), |of: fn(&Lag) -> &Vec<f64>| {
                lag.map_or_else(String::new, |lag| {
                    format!("{:.1}/{:.1}", quantile(of(lag), 0.5), quantile(of(lag), 0.95))
                })
            });
            table.row([
                (*model).to_owned(),
                way.to_owned(),
                format!("{wrong} of {}", of.words.len()),
                format!("{:.1} %", 100.0 * of.rate(wrong)),
                lag(|lag| &lag.words_s),
                lag(|lag| &lag.segments_s),
            ]);
            of.rate(wrong)
        };
        let workers: &[&[&str]] = &[&[]];
        let plan = Plan { log: "warn", workers, models: &[model], ..Plan::default() };
        let house = House::start(kit, "words-house", &plan)?;
        let (heard, lag) = live(&house, &film, speech.seconds)?;
        let rate = row("live", &speech, &heard, Some(&lag));
        lags.push(quantile(&lag.words_s, 0.95));
        let recorded = {
            let stream = house.create("file", &profile())?;
            house.upload(stream.id.as_str(), &film)?;
            row("recorded", &speech, &complete(&house, &stream)?, None)
        };
        // The same recording again and again is nothing that others should have to hear.
        let whole = {
            let mut peer = peers::whisper_cpp(kit, model, kit.cores)?;
            row("pywhispercpp, whole file", &short, &peers::written(&mut peer, &short)?, None)
        };
        if let Some(mut peer) = peers::faster_whisper(kit, model, kit.cores, false)? {
            row("faster-whisper int8, whole file", &short, &peers::written(&mut peer, &short)?, None);
        }
        worse.push(rate.max(recorded) - whole);
        if *model == MODELS[0] {
            for (name, heard) in silent(kit, &house)? {
                let count = heard.split_whitespace().count();
                table.row([*model, &format!("recorded {name}, 24 s"), &count.to_string(), "", "", ""]);
                ensure!(count == 0, "of {name} it writes {heard:?}");
            }
        }
    }
    for ((model, worse), lag) in models.iter().zip(&worse).zip(&lags) {
        let what = format!("word error rate above the whole file's by pywhispercpp, the worse way: {model}");
        table.at_most(&what, WORSE_MAX, &[*worse]);
        let what = format!("p95 of the lag from a spoken word to its cue being listed, seconds: {model}");
        table.at_most(&what, LAG_S_MAX, &[*lag]);
    }
    table.remark(format!(
        "Five sentences of LibriVox, {times} times one after the other, {:.0} s, beside 640x360 pictures of Big Buck \
         Bunny; two rungs, segments of 2 s, one worker with its default slots and threads on the same {} cores. Live by \
         RTMP in real time: a word's lag counts from its end by `EXT-X-PROGRAM-DATE-TIME` until a segment with it is in \
         the playlist of captions, a segment's from its own end. Other programs hear the five sentences once, as one \
         file.",
        speech.seconds, kit.cores
    ));
    Ok(table)
}

fn profile() -> Value {
    let rung = |name: &str, px: u32, bps: u32| json!({"name": name, "short_side_px": px, "bitrate_bps_max": bps});
    json!({"ladder": [rung("360p", 360, 800_000), rung("240p", 240, 400_000)], "captions": {"language": "en"}})
}

/// What is written where nobody speaks.
fn silent(kit: &Kit, house: &House) -> Result<Vec<(&'static str, String)>> {
    let music = kit.clip("trailer.mp4")?;
    let mut all = Vec::new();
    for (name, source) in SILENT {
        all.push((name, vec!["-f", "lavfi", "-i", source]));
    }
    all.push(("music", vec!["-i", text(&music)]));
    let streams = all.into_iter().map(|(name, sound)| {
        let film = filmed(kit, "silent", &sound, 24.0)?;
        let stream = house.create("file", &profile())?;
        house.upload(stream.id.as_str(), &film)?;
        Ok((name, stream))
    });
    let streams = streams.collect::<Result<Vec<_>>>()?;
    streams.into_iter().map(|(name, stream)| Ok((name, complete(house, &stream)?))).collect()
}

fn transcript(house: &House, stream: &Stream) -> Result<Transcript> {
    Ok(serde_json::from_slice(&house.bytes(&format!("/hls/{}/captions.json", stream.id))?)?)
}

/// All words, once no more come.
fn complete(house: &House, stream: &Stream) -> Result<String> {
    let deadline = Instant::now() + Duration::from_mins(4);
    loop {
        match transcript(house, stream) {
            Ok(all) if all.complete => return Ok(written(&all)),
            Err(error) if Instant::now() > deadline => return Err(error),
            _ => {}
        }
        ensure!(Instant::now() < deadline, "captions of {} are not complete after four minutes", stream.id);
        thread::sleep(Duration::from_millis(200));
    }
}

fn written(all: &Transcript) -> String {
    let words = all.windows.iter().flat_map(|window| &window.words);
    words.map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
}

/// Seconds until shown, of each word and of each segment.
#[derive(Debug, Default)]
struct Lag {
    words_s: Vec<f64>,
    segments_s: Vec<f64>,
}

/// A segment of the playlist of captions: where it is on the stream's timeline, when its end was said, and when it was seen.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "seconds, all of them")]
struct Seen {
    from_s: f64,
    to_s: f64,
    spoken_s: f64,
    listed_s: f64,
}

fn live(house: &House, film: &std::path::Path, seconds: f64) -> Result<(String, Lag)> {
    let stream = house.create("live", &profile())?;
    let key = stream.ingest.as_ref().and_then(|ingest| ingest.stream_key.clone()).unwrap_or_default();
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-re", "-i"]).arg(film).args(["-c", "copy", "-f", "flv"]);
    command.arg(format!("rtmp://{}/live/{key}", house.rtmp));
    let mut publisher = Program::start("ffmpeg", &mut command, house.folder.join("publisher.log"))?;
    let path = format!("/hls/{}/captions/index.m3u8", stream.id);
    let mut seen: BTreeMap<u64, Seen> = BTreeMap::new();
    let deadline = Instant::now() + Duration::from_secs_f64(seconds + 90.0);
    loop {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        // There is none before a first segment is settled.
        if let Ok(list) = house.text(&path) {
            look(&list, now_s, &mut seen)?;
            if list.contains("#EXT-X-ENDLIST") {
                break;
            }
        }
        ensure!(Instant::now() < deadline, "the live stream's captions came to no end; {} segments", seen.len());
        thread::sleep(Duration::from_millis(50));
    }
    publisher.stop()?;
    complete(house, &stream)?;
    let all = transcript(house, &stream)?;
    let mut lag =
        Lag { segments_s: seen.values().map(|seen| seen.listed_s - seen.spoken_s).collect(), ..Lag::default() };
    for word in all.windows.iter().flat_map(|window| &window.words) {
        let (start_s, end_s) = (word.start_ms as f64 / 1e3, word.end_ms as f64 / 1e3);
        if let Some(of) = seen.values().find(|of| (of.from_s..of.to_s).contains(&start_s)) {
            lag.words_s.push(of.listed_s - of.spoken_s + (of.to_s - end_s).max(0.0));
        }
    }
    ensure!(lag.words_s.len() > 10, "only {} words were shown", lag.words_s.len());
    Ok((written(&all), lag))
}

/// Notes what a playlist has that was not seen before.
fn look(list: &str, now_s: f64, seen: &mut BTreeMap<u64, Seen>) -> Result<()> {
    // The first segment is listed before it is settled: it counts from when there is another behind it.
    if seen.is_empty() && list.matches("#EXTINF:").count() < 2 {
        return Ok(());
    }
    // The last date, and how much has been played since.
    let (mut date, mut since_s, mut length_s) = (None, 0.0, 0.0);
    for line in list.lines() {
        if let Some(told) = line.strip_prefix("#EXT-X-PROGRAM-DATE-TIME:") {
            (date, since_s) = (Some(told), 0.0);
        } else if let Some(rest) = line.strip_prefix("#EXTINF:") {
            length_s = rest.trim_end_matches(',').split(',').next().unwrap_or_default().parse()?;
        } else if let Some(number) = line.split('?').next().and_then(|name| name.strip_suffix(".vtt")) {
            let number = number.parse()?;
            since_s += length_s;
            if seen.contains_key(&number) {
                continue;
            }
            let from_s = seen.range(..number).next_back().map_or(0.0, |(_, before): (_, &Seen)| before.to_s);
            let spoken_s = unix_s(date.context("segments without a date")?)? + since_s;
            seen.insert(number, Seen { from_s, to_s: from_s + length_s, spoken_s, listed_s: now_s });
        }
    }
    Ok(())
}

/// Seconds since 1970 of an RFC 3339 date, by `date`.
fn unix_s(date: &str) -> Result<f64> {
    let out = Command::new("date").args(["-u", "+%s.%N", "-d", date]).output()?;
    let text = String::from_utf8(out.stdout)?;
    match text.trim().parse() {
        Ok(seconds) => Ok(seconds),
        Err(_) => bail!("{date:?} is no date"),
    }
}
