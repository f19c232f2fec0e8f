//! Sound in, words out: real speech, what is no speech, and everything that can go wrong.
//!
//! `millrace-worker models fetch whisper-tiny.en silero-vad onnxruntime` fetches what these take.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use millrace_cmaf::{ORIGIN_S, Sample, Track, init, segment};
use millrace_media::{
    FailureKind, Limits, Listener, Window,
    card::{Card, Refusal},
    job::Listen,
};
use millrace_models::{Cache, Catalog, default_root};
use millrace_proto::captions::{Heard, Word};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::common::{demux, ffmpeg, launcher};

/// Of the Debian package `pocketsphinx-testdata`.
const SPEECH: &str = "/usr/share/pocketsphinx/test/data/librivox";

/// Of the Debian package `asterisk-core-sounds-en-g722`.
const PROMPTS: &str = "/usr/share/asterisk/sounds/en_US_f_Allison";

fn job() -> Listen {
    job_of("whisper-tiny.en")
}

fn job_of(model: &str) -> Listen {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let folder =
        variable("MILLRACE_TEST_MODELS").or_else(|| default_root(variable("XDG_CACHE_HOME"), variable("HOME")));
    let (cache, catalog) = (Cache::new(folder.unwrap()), Catalog::built_in());
    let path = |id: &str| cache.check(catalog.get(id).unwrap()).unwrap_or_else(|error| panic!("{error}"));
    let dtw = catalog.get(model).unwrap().dtw.clone();
    let (runtime, voice, whisper) = (path("onnxruntime"), path("silero-vad"), path(model));
    Listen { runtime, voice, whisper, dtw, speech: 0.5, pause: 0.35, card: None }
}

fn listener() -> Listener {
    launcher().listen(job(), &limits())
}

fn limits() -> Limits {
    Limits { memory_bytes_max: 2 << 30, wall_ms_max: 240_000, ..Limits::default() }
}

fn window() -> Window {
    Window {
        start_ms: None,
        language: None,
        translate: false,
        context: String::new(),
        last: true,
        patience_ms: 12_000,
        draft: false,
        // Tests run beside each other.
        threads: 1,
    }
}

/// Sound as the orchestrator stores it: AAC, segments of two seconds, from `start_s` of the timeline on.
struct Stored {
    init: Bytes,
    segments: Vec<Bytes>,
}

async fn stored(dir: &Path, arguments: &str, start_s: i64) -> Stored {
    let file = ffmpeg(dir, &format!("{arguments} -vn -c:a aac -b:a 96k"), "sound.m4a");
    let all = demux(&file).await.unwrap();
    let track = all.audio_track.unwrap();
    Stored { init: init(&track).unwrap(), segments: cut(&track, &all.audio, start_s) }
}

fn cut(track: &Track, samples: &[Sample], start_s: i64) -> Vec<Bytes> {
    let scale = i64::from(track.timescale);
    let shift = (ORIGIN_S + start_s) * scale - samples[0].pts;
    let shifted: Vec<_> = samples
        .iter()
        .map(|sample| Sample { pts: sample.pts + shift, dts: sample.pts + shift, ..sample.clone() })
        .collect();
    let groups = shifted.chunk_by(|a, b| a.pts / (2 * scale) == b.pts / (2 * scale));
    let written = groups.enumerate().map(|(number, group)| {
        let last = group.last().unwrap();
        segment(track, number as u32 + 1, group, last.pts + i64::from(last.duration)).unwrap()
    });
    written.collect()
}

fn plain(words: &str) -> Vec<String> {
    let spoken = words.to_lowercase().replace(|letter: char| !letter.is_alphanumeric() && letter != '\'', " ");
    let written = |word: &str| if word == "mr" { "mister".into() } else { word.trim_matches('\'').to_owned() };
    spoken.split_whitespace().map(written).collect()
}

fn text(words: &[Word]) -> String {
    words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
}

/// Words that are wrong, missing or too many.
fn errors(said: &[String], heard: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (at, word) in said.iter().enumerate() {
        let mut corner = row[0];
        row[0] = at + 1;
        for (place, other) in heard.iter().enumerate() {
            let changed = corner + usize::from(word != other);
            corner = row[place + 1];
            row[place + 1] = changed.min(corner + 1).min(row[place] + 1);
        }
    }
    row[heard.len()]
}

/// What is said in each recording, by its file.
fn recordings() -> BTreeMap<PathBuf, Vec<String>> {
    let list = fs::read_to_string(format!("{SPEECH}/transcription"))
        .expect("install the Debian package pocketsphinx-testdata");
    let lines = list.lines().filter_map(|line| {
        let (words, name) = line.trim().strip_suffix(')')?.rsplit_once('(')?;
        let words = words.replace("<s>", " ").replace("</s>", " ");
        Some((PathBuf::from(format!("{SPEECH}/{name}.wav")), plain(&words)))
    });
    lines.collect()
}

fn hears_in_order(heard: &Heard) {
    for pair in heard.words.windows(2) {
        assert!(pair[0].end_ms <= pair[1].start_ms, "{pair:?}");
    }
    for word in &heard.words {
        assert!(
            word.start_ms >= heard.start_ms && word.end_ms <= heard.end_ms && word.start_ms <= word.end_ms,
            "{word:?}"
        );
        assert!((0.0..=1.0).contains(&word.confidence), "{word:?}");
    }
}

/// Whisper says now and then that a sentence ends where it begins. whisper.cpp went on from there with less sound than its
/// alignment takes, and aborted; it depends on hundredths of a second, so several windows are heard.
#[tokio::test]
async fn a_sentence_that_ends_as_it_begins_is_heard_to_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut listener = launcher().listen(job_of("whisper-base"), &limits());
    for (at, silence_ms) in [200, 250, 300, 350].into_iter().enumerate() {
        let dir = dir.path().join(at.to_string());
        fs::create_dir(&dir).unwrap();
        let prompts = format!(
            "-f g722 -i {PROMPTS}/confbridge-rest-list-vol-out.g722 -f g722 -i {PROMPTS}/demo-abouttotry.g722 \
             -filter_complex [0]adelay={silence_ms},apad=pad_dur=0.5[a];[1]atrim=end=2.75[b];[a][b]concat=v=0:a=1"
        );
        let stored = stored(&dir, &prompts, 0).await;
        let context = "You are currently the only participant in the conference. To remove the participant, who most \
                       recently joined the conference.";
        let live =
            Window { language: Some("en".into()), last: false, draft: true, context: context.into(), ..window() };
        let heard = listener.hear(&live, &stored.init, &stored.segments).await.unwrap();
        assert!(text(&heard.words).contains("the audio volume of the conference"), "{heard:?}");
        assert!(text(&heard.draft).contains("about to attempt"), "{heard:?}");
    }
}

#[tokio::test]
async fn speech_becomes_the_words_that_are_said() {
    let mut listener = listener();
    let (mut said, mut wrong) = (0, 0);
    for (file, words) in recordings() {
        let dir = tempfile::tempdir().unwrap();
        let sound = stored(dir.path(), &format!("-i {}", file.display()), 100).await;
        let heard = listener.hear(&window(), &sound.init, &sound.segments).await.unwrap();
        hears_in_order(&heard);
        assert_eq!((heard.start_ms, heard.language.as_deref()), (100_000, Some("en")));
        assert_eq!(heard.settled_ms, heard.end_ms);
        let got = plain(&text(&heard.words));
        if got != words {
            eprintln!("said: {}\nheard: {}", words.join(" "), got.join(" "));
        }
        wrong += errors(&words, &got);
        said += words.len();
    }
    // What workers try their models on.
    let sample = [Bytes::from_static(include_bytes!("../../../src/listen/speech.segment"))];
    let init = Bytes::from_static(include_bytes!("../../../src/listen/speech.init"));
    let heard = listener.hear(&window(), &init, &sample).await.unwrap();
    assert!(errors(&plain("he was not an ill disposed young man"), &plain(&text(&heard.words))) <= 3, "{heard:?}");
    eprintln!("{wrong} of {said} words are wrong");
    assert!(said > 60 && wrong * 100 <= said * 10, "{wrong} of {said} words are wrong");
}

/// All recordings, one after the other with a pause between.
async fn reading(dir: &Path, start_s: i64) -> (Stored, Vec<String>) {
    let all = recordings();
    let inputs: Vec<_> = all.keys().map(|file| format!("-i {} ", file.display())).collect();
    let padded: Vec<_> = (0..all.len()).map(|at| format!("[{at}]apad=pad_dur=0.6[p{at}];")).collect();
    let joined: Vec<_> = (0..all.len()).map(|at| format!("[p{at}]")).collect();
    let (inputs, padded, joined) = (inputs.concat(), padded.concat(), joined.concat());
    let filter = format!("{padded}{joined}concat=n={}:v=0:a=1", all.len());
    let sound = stored(dir, &format!("{inputs} -filter_complex {filter}"), start_s).await;
    (sound, all.into_values().flatten().collect())
}

/// Hears as a live stream is heard: whenever so many more segments have come, from where it is settled.
async fn hear_live(listener: &mut Listener, sound: &Stored, start_s: i64, each: usize, patience_ms: u32) -> Vec<Word> {
    let (mut words, mut settled_ms): (Vec<Word>, i64) = (Vec::new(), start_s * 1_000);
    let all = sound.segments.len();
    for come in (each..all).step_by(each).chain([all]) {
        let first = usize::try_from((settled_ms / 1_000 - start_s) / 2).unwrap().min(come - 1);
        let window =
            Window { start_ms: Some(settled_ms), context: text(&words), last: come == all, patience_ms, ..window() };
        let heard = listener.hear(&window, &sound.init, &sound.segments[first..come]).await.unwrap();
        hears_in_order(&heard);
        assert!(heard.settled_ms >= settled_ms && heard.settled_ms <= heard.end_ms, "{heard:?}");
        if let (Some(last), Some(next)) = (words.last(), heard.words.first()) {
            assert!(last.end_ms <= next.start_ms + 200, "{last:?} {next:?}");
        }
        settled_ms = heard.settled_ms;
        words.extend(heard.words);
    }
    words
}

#[tokio::test]
async fn windows_lose_and_double_no_word() {
    let dir = tempfile::tempdir().unwrap();
    let (sound, said) = reading(dir.path(), 40).await;
    let mut listener = listener();
    // Four seconds after the other, with pauses to settle at, and without the patience to wait for one.
    for patience_ms in [12_000, 5_000] {
        let words = hear_live(&mut listener, &sound, 40, 2, patience_ms).await;
        let wrong = errors(&said, &plain(&text(&words)));
        eprintln!("with a patience of {patience_ms} ms {wrong} of {} are wrong", said.len());
        assert!(wrong * 100 <= said.len() * 12, "{patience_ms}: {wrong} of {} are wrong: {}", said.len(), text(&words));
    }
}

#[tokio::test]
async fn nothing_is_invented_where_nobody_speaks() {
    let dir = tempfile::tempdir().unwrap();
    let clips = std::env::var("MILLRACE_CLIPS")
        .unwrap_or_else(|_| format!("{}/.cache/millrace/clips", std::env::var("HOME").unwrap()));
    let mut listener = listener();
    let sounds = [
        "-f lavfi -i anullsrc=r=48000:cl=stereo -t 20".to_owned(),
        "-f lavfi -i anoisesrc=r=48000:c=pink:a=0.3:seed=7 -t 20".into(),
        "-f lavfi -i anoisesrc=r=16000:c=white:a=0.8:seed=7 -t 10".into(),
        "-f lavfi -i sine=f=440:r=44100 -t 10".into(),
        format!("-i {clips}/trailer.mp4 -t 50"),
    ];
    for arguments in sounds {
        let sound = stored(dir.path(), &arguments, 0).await;
        let heard = listener.hear(&window(), &sound.init, &sound.segments).await.unwrap();
        assert_eq!((heard.words.as_slice(), heard.settled_ms), (&[][..], heard.end_ms), "{arguments}");
    }
}

#[tokio::test]
async fn a_card_that_is_not_there_is_refused_and_nothing_listens_in_its_place() {
    let card = Some(Card { index: 77, minor: 77, uuid: None });
    let mut listener = launcher().listen(Listen { card, ..job() }, &limits().with_cuda());
    let failure = listener.warm().await.unwrap_err();
    assert_eq!((failure.card, listener.is_warm()), (Some(Refusal::Missing), false), "{failure}");
}

#[tokio::test]
async fn what_can_not_be_heard_fails_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = recordings().into_keys().next().unwrap();
    let sound = stored(dir.path(), &format!("-i {}", file.display()), 0).await;
    let mut listener = listener();
    listener.warm().await.unwrap();
    let child = listener.process_id().unwrap();
    let fails = async |listener: &mut Listener, window: Window, init: &Bytes, segments: &[Bytes]| {
        listener.hear(&window, init, segments).await.unwrap_err().kind
    };
    let french = Window { language: Some("fr".into()), ..window() };
    let unknown = Window { language: Some("zz".into()), ..window() };
    let translated = Window { translate: true, ..window() };
    for asked in [french, unknown, translated] {
        assert_eq!(fails(&mut listener, asked, &sound.init, &sound.segments).await, FailureKind::Unsupported);
    }
    let noise = Bytes::from(vec![7; 5_000]);
    assert_eq!(fails(&mut listener, window(), &noise, &sound.segments).await, FailureKind::BadInput);
    assert_eq!(fails(&mut listener, window(), &sound.init, &[noise]).await, FailureKind::BadInput);
    assert_eq!(fails(&mut listener, window(), &sound.init, &[]).await, FailureKind::BadInput);
    let picture = ffmpeg(dir.path(), "-f lavfi -i testsrc2=size=64x64:duration=1 -c:v libx264", "picture.mp4");
    let picture = demux(&picture).await.unwrap();
    let track = picture.video_track.unwrap();
    let (header, pictures) = (init(&track).unwrap(), cut(&track, &picture.video, 0));
    assert_eq!(fails(&mut listener, window(), &header, &pictures).await, FailureKind::BadInput);
    // Sound that is damaged is heard as far as it goes.
    let mut damaged = sound.segments[0].to_vec();
    let half = damaged.len() / 2;
    damaged[half..].fill(0xa5);
    let segments = [&[damaged.into()], &sound.segments[1..]].concat();
    let heard = listener.hear(&window(), &sound.init, &segments).await;
    assert!(
        heard.as_ref().is_ok_and(|heard| heard.words.len() > 5)
            || heard.is_err_and(|why| why.kind == FailureKind::BadInput)
    );
    // Two threads, of which one decodes, hear and refuse as one does.
    let mut empty = sound.segments[0].to_vec();
    let media = empty.windows(4).position(|name| name == b"mdat").unwrap() + 4;
    empty[media..].fill(0xa5);
    let two = Window { threads: 2, ..window() };
    assert_eq!(fails(&mut listener, window(), &sound.init, &[empty.clone().into()]).await, FailureKind::BadInput);
    assert_eq!(fails(&mut listener, two.clone(), &sound.init, &[empty.into()]).await, FailureKind::BadInput);
    for start_ms in [None, Some(700)] {
        let [one, two] = [window(), two.clone()].map(|window| Window { start_ms, ..window });
        let by_one = listener.hear(&one, &sound.init, &sound.segments).await.unwrap();
        let by_two = listener.hear(&two, &sound.init, &sound.segments).await.unwrap();
        let placed = |heard: &Heard| (heard.start_ms, heard.settled_ms, heard.end_ms, heard.speech.clone());
        assert_eq!(placed(&by_one), placed(&by_two));
        assert_eq!(plain(&text(&by_one.words)), plain(&text(&by_two.words)));
    }
    // All that with one and the same child, which hears on.
    let heard = listener.hear(&window(), &sound.init, &sound.segments).await.unwrap();
    assert!(!heard.words.is_empty() && listener.process_id() == Some(child));
}

#[tokio::test]
async fn a_model_that_is_no_model_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let job = job();
    let bad = dir.path().join("bad");
    let mut weights = fs::read(&job.whisper).unwrap();
    let tries: [(&str, Vec<u8>); 3] = [
        ("cut", weights[..weights.len() / 2].to_vec()),
        ("flipped", {
            weights[1] ^= 1;
            weights
        }),
        ("text", b"no model".to_vec()),
    ];
    for (name, bytes) in tries {
        fs::write(&bad, bytes).unwrap();
        for job in [
            Listen { whisper: bad.clone(), ..job.clone() },
            Listen { voice: bad.clone(), ..job.clone() },
            Listen { runtime: bad.clone(), ..job.clone() },
        ] {
            let failure = launcher().listen(job, &limits()).warm().await.unwrap_err();
            assert!(
                failure.kind == FailureKind::Unsupported && failure.message.contains("can't be loaded"),
                "{name}: {failure}"
            );
        }
    }
    let missing = Listen { whisper: dir.path().join("none"), ..job };
    let failure = launcher().listen(missing, &limits()).warm().await.unwrap_err();
    assert!(failure.message.contains("none"), "{failure}");
}

#[tokio::test]
async fn a_child_that_dies_or_takes_too_long_costs_one_window() {
    let dir = tempfile::tempdir().unwrap();
    let file = recordings().into_keys().next().unwrap();
    let sound = stored(dir.path(), &format!("-i {}", file.display()), 0).await;
    let mut listener = listener();
    listener.warm().await.unwrap();
    let child = listener.process_id().unwrap();
    kill(Pid::from_raw(child as i32), Signal::SIGKILL).unwrap();
    // Whether it is found dead before or while it is asked, the window after it is heard by another one.
    if let Err(failure) = listener.hear(&window(), &sound.init, &sound.segments).await {
        assert_eq!(failure.kind, FailureKind::Crashed, "{failure}");
    }
    let heard = listener.hear(&window(), &sound.init, &sound.segments).await.unwrap();
    assert!(!heard.words.is_empty() && listener.process_id() != Some(child) && listener.is_warm());

    let mut small = launcher().listen(job(), &Limits { memory_bytes_max: 300 << 20, ..limits() });
    let failure = small.warm().await.unwrap_err();
    assert!([FailureKind::Limit, FailureKind::Crashed, FailureKind::Unsupported].contains(&failure.kind), "{failure}");
    assert!(!small.is_warm());
}
