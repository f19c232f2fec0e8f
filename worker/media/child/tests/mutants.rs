//! Media broken in many ways under a seed, and bombs: every job ends with an answer or a typed failure, soon.
//!
//! `MILLRACE_MUTANTS` says how many of each kind; a failing one is named by format and number, and is the same each time.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use millrace_media::{
    Failure, FailureKind, Limits,
    job::{Demux, Gauge, Inspect, Pair, Size, Stills, Transcode},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::timeout;

use crate::common::{demux, ffmpeg, launcher, segments, target};

/// Longest that a job may take on a clip of half a second, whatever became of it; a busy machine has its share.
const PATIENCE: Duration = Duration::from_mins(1);

fn mutants() -> u64 {
    env::var("MILLRACE_MUTANTS").map_or(20, |count| count.parse().expect("MILLRACE_MUTANTS is a number"))
}

/// Half a second of moving picture and sound.
const CLIP: &str = "-f lavfi -i testsrc2=size=128x72:rate=20:duration=0.5 -f lavfi -i sine=duration=0.5";

/// What comes in: name and ffmpeg's arguments.
const FORMATS: [(&str, &str); 8] = [
    ("h264.mp4", "-pix_fmt yuv420p -c:v libx264 -preset ultrafast -g 5 -bf 2 -c:a aac"),
    ("h264.ts", "-pix_fmt yuv420p -c:v libx264 -preset ultrafast -g 5 -c:a aac"),
    ("h264.flv", "-pix_fmt yuv420p -c:v libx264 -preset ultrafast -g 5 -c:a aac -ar 44100"),
    ("mpeg2.ts", "-pix_fmt yuv420p -c:v mpeg2video -g 5 -c:a ac3"),
    ("hevc.mkv", "-pix_fmt yuv420p -c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=5 -c:a mp3"),
    ("vp9.webm", "-pix_fmt yuv420p -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 5 -c:a libopus"),
    ("av1.mkv", "-pix_fmt yuv420p -c:v libsvtav1 -preset 12 -g 5 -c:a libvorbis"),
    ("prores.mov", "-c:v prores_ks -c:a pcm_s16le"),
];

/// Breaks `bytes`, the same way for the same number.
fn mutant(bytes: &[u8], number: u64) -> Vec<u8> {
    let mut luck = StdRng::seed_from_u64(number);
    let mut bytes = bytes.to_vec();
    for _ in 0..luck.random_range(1..=3) {
        let end = bytes.len().max(2);
        let (from, span) = (luck.random_range(0..end - 1), luck.random_range(1..=end.min(4_096)));
        let to = (from + span).min(bytes.len());
        match luck.random_range(0..7) {
            // Cut short.
            0 => bytes.truncate(from),
            // Single bits.
            1 | 2 => {
                for _ in 0..luck.random_range(1..=64) {
                    let at = luck.random_range(0..end).min(bytes.len().saturating_sub(1));
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << luck.random_range(0..8);
                    }
                }
            }
            // A piece of noise, or of the extreme numbers that sizes and times have.
            3 => bytes[from..to].iter_mut().for_each(|byte| *byte = luck.random()),
            4 => {
                let value = [0, 0x7f, 0x80, 0xff][luck.random_range(0..4)];
                let to = (from + 8).min(bytes.len());
                bytes[from..to].fill(value);
            }
            // A piece out, or in again elsewhere.
            5 => drop(bytes.drain(from..to)),
            _ => {
                let piece = bytes[from..to].to_vec();
                let at = luck.random_range(0..=bytes.len());
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

/// Whether a job ended as a job may. What broken input may be answered with: anything but silence.
fn ended<T>(what: &str, result: Result<Result<T, Failure>, tokio::time::error::Elapsed>, tally: &mut Tally) {
    match result {
        Err(elapsed) => panic!("{what}: no end after {PATIENCE:?}: {elapsed}"),
        Ok(Ok(_)) => tally.answered += 1,
        Ok(Err(failure)) => match failure.kind {
            FailureKind::BadInput | FailureKind::Unsupported => tally.refused += 1,
            FailureKind::Limit => tally.limited += 1,
            FailureKind::Crashed => {
                // FFmpeg's fault, and of no harm to the parent; worth a line.
                println!("{what}: {failure}");
                tally.crashed += 1;
            }
            FailureKind::TimedOut | FailureKind::NotStarted => panic!("{what}: {failure}"),
        },
    }
}

#[derive(Debug, Default)]
struct Tally {
    answered: u64,
    refused: u64,
    limited: u64,
    crashed: u64,
}

impl Tally {
    fn told(&self, what: &str) {
        println!("{what}: {self:?}");
        let all = self.answered + self.refused + self.limited + self.crashed;
        assert!(self.crashed * 20 <= all, "{what}: too many crashes to be chance: {self:?}");
    }
}

#[tokio::test]
async fn broken_files_of_every_kind_are_demuxed_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (name, arguments) in FORMATS {
        let sound = fs::read(ffmpeg(dir.path(), &format!("{CLIP} {arguments}"), name)).unwrap();
        let mut tally = Tally::default();
        for number in 0..mutants() {
            let file = dir.path().join(format!("broken-{name}"));
            fs::write(&file, mutant(&sound, number)).unwrap();
            ended(&format!("{name} {number}"), timeout(PATIENCE, demux(&file)).await, &mut tally);
        }
        tally.told(name);
    }
}

/// A source's first segment, its header in a file of its own.
async fn source(dir: &Path, name: &str, arguments: &str) -> Pair {
    let file = ffmpeg(dir, &format!("{CLIP} {arguments}"), name);
    let all = demux(&file).await.unwrap();
    segments(dir, all.video_track.as_ref().unwrap(), &all.video).remove(0)
}

#[tokio::test]
async fn broken_segments_end_every_job_that_reads_them() {
    for (name, arguments) in [FORMATS[0], FORMATS[4], FORMATS[6]] {
        let dir = tempfile::tempdir().unwrap();
        let pair = source(dir.path(), name, arguments).await;
        let parts = [fs::read(&pair.init).unwrap(), fs::read(&pair.segment).unwrap()];
        let out = dir.path().join("out");
        fs::create_dir(&out).unwrap();
        let mut tally = Tally::default();
        for number in 0..mutants() {
            // One in four has a broken header, the others broken media under a sound one.
            let broken = usize::from(number % 4 != 0);
            let files: [PathBuf; 2] = ["init", "segment"].map(|part| dir.path().join(part));
            for (at, file) in files.iter().enumerate() {
                let bytes = if at == broken { mutant(&parts[at], number) } else { parts[at].clone() };
                fs::write(file, bytes).unwrap();
            }
            let [init, segment] = files;
            let pair = Pair { init, segment, ..Pair::default() };
            let what = format!("{name} {number}");
            read_by_all(&what, &pair, &out, &mut tally).await;
        }
        tally.told(name);
    }
}

/// Runs every job that reads segments.
async fn read_by_all(what: &str, pair: &Pair, out: &Path, tally: &mut Tally) {
    let (launcher, limits) = (launcher(), Limits::default());
    let inspect = Inspect { segments: vec![pair.clone()], decode_all: true };
    ended(&format!("{what}, inspect"), timeout(PATIENCE, launcher.inspect(&inspect, &limits)).await, tally);
    let targets = vec![target("a", 128, 72)];
    let transcode = Transcode { source: pair.clone(), targets, out: out.to_owned(), threads: 1, card: None };
    ended(&format!("{what}, transcode"), timeout(PATIENCE, launcher.transcode(&transcode, &limits)).await, tally);
    let gauge = Gauge { source: pair.clone(), display: (128, 72), threads: 1 };
    ended(&format!("{what}, gauge"), timeout(PATIENCE, launcher.gauge(&gauge, &limits)).await, tally);
    let stills = Stills {
        candidates: vec![pair.clone()],
        poster: Some(Size { width: 128, height: 72 }),
        thumbnails: vec![],
        grid: None,
        out: out.to_owned(),
    };
    ended(&format!("{what}, stills"), timeout(PATIENCE, launcher.stills(&stills, &limits)).await, tally);
}

/// A box of ISO/IEC 14496-12: size, name, content.
fn boxed(name: [u8; 4], content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32 + 8).to_be_bytes()[..], &name, content].concat()
}

/// Where a box of this name is, from its size on, at the first place that looks like it.
fn place(file: &[u8], name: [u8; 4]) -> std::ops::Range<usize> {
    let at = file.windows(4).position(|window| window == name).expect("the box is there") - 4;
    let size = u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    at..at + size
}

#[tokio::test]
async fn bombs_end_within_their_limits() {
    let dir = tempfile::tempdir().unwrap();
    let sound = ffmpeg(dir.path(), &format!("{CLIP} {} -movflags +faststart", FORMATS[0].1), "sound.mp4");
    let sound = fs::read(sound).unwrap();
    let (ftyp, moov, trak) = (place(&sound, *b"ftyp"), place(&sound, *b"moov"), place(&sound, *b"trak"));
    // A hundred thousand tracks.
    let tracks = sound[trak.clone()].repeat(100_000);
    let header = &sound[moov.start + 8..trak.start];
    let tracks = [&sound[ftyp.clone()], &boxed(*b"moov", &[header, &tracks].concat()), &sound[moov.end..]].concat();
    // A million boxes that say nothing before the first that does.
    let nothing = [&sound[ftyp.clone()], &boxed(*b"free", b"").repeat(1_000_000), &sound[ftyp.end..]].concat();
    // Boxes within boxes.
    let nested = (0..5_000).fold(Vec::new(), |inner, _| boxed(*b"moov", &inner));
    let nested = [&sound[ftyp.clone()], &nested[..]].concat();
    // Sample tables that speak of four thousand million samples, each of the longest time there is.
    let mut samples = sound.clone();
    let stts = place(&samples, *b"stts").start;
    samples[stts + 16..stts + 24].fill(0xff);
    let stsz = place(&samples, *b"stsz").start;
    samples[stsz + 12..stsz + 20].copy_from_slice(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]);
    // A playlist and a program for other protocols, in the coat of a video.
    let playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n".to_vec();
    let concat = b"ffconcat version 1.0\nfile /etc/passwd\n".to_vec();
    let cases: [(&str, Vec<u8>); 6] = [
        ("tracks", tracks),
        ("nothing", nothing),
        ("nested", nested),
        ("samples", samples),
        ("playlist", playlist),
        ("concat", concat),
    ];
    for (name, bytes) in cases {
        let file = dir.path().join(name);
        fs::write(&file, bytes).unwrap();
        let limits = Limits { cpu_s_max: 20, wall_ms_max: 50_000, ..Limits::whole_file() };
        let reading = async {
            let mut reading = launcher().demux(&Demux { input: file }, &limits).await?;
            let mut count = 0_u64;
            while reading.next().await?.is_some() {
                count += 1;
            }
            Ok::<_, Failure>(count)
        };
        match timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("{name}: no end")) {
            Ok(count) => {
                println!("{name}: {count} events");
                assert!(!matches!(name, "playlist" | "concat"), "{name} was followed");
                assert!(count < 10_000, "{name}: {count} events of half a second");
            }
            Err(failure) => {
                println!("{name}: {failure}");
                assert!(matches!(failure.kind, FailureKind::BadInput | FailureKind::Limit), "{name}: {failure:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_picture_of_144_million_pixels_is_refused_or_done_within_its_memory() {
    let dir = tempfile::tempdir().unwrap();
    let huge = "-f lavfi -i color=size=16000x9000:rate=1:duration=1 -pix_fmt yuv420p";
    let file = ffmpeg(dir.path(), &format!("{huge} -c:v libx264 -preset ultrafast -threads 1"), "huge.mp4");
    let all = demux(&file).await;
    let Ok(all) = all else {
        return assert!(matches!(all.unwrap_err().kind, FailureKind::BadInput | FailureKind::Unsupported));
    };
    let pair = segments(dir.path(), all.video_track.as_ref().unwrap(), &all.video).remove(0);
    let mut tally = Tally::default();
    read_by_all("huge", &pair, dir.path(), &mut tally).await;
    println!("{tally:?}");
    assert_eq!(tally.crashed, 0, "{tally:?}");
}
