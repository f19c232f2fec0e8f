//! What ffmpeg encoded, protected by our map and AES, decrypted by ffmpeg: every frame must come out as it went in.

use std::{fs, path::Path, process::Command};

use aes::cipher::{BlockEncryptMut, KeyIvInit};
use millrace_cmaf::{
    Audio, Codec, Error, Sample, Track, h264, init, nal,
    protect::{self, BLOCK_BYTES, Scheme},
    segment,
};

const KEY: [u8; 16] = *b"0123456789abcdef";
const SCHEME: Scheme = Scheme { key_id: [7; 16], iv: *b"fedcba9876543210" };

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().expect("it can be started: install ffmpeg");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A moving picture from x264, with its settings `params`, as a header and one segment.
fn film(dir: &Path, params: &str) -> (Vec<u8>, Vec<u8>) {
    let raw = dir.join("in.h264");
    let filter = "testsrc2=size=320x180:rate=25:duration=1,fade=in:0:12";
    let params = format!("aud=1:keyint=250:{params}");
    run(
        "ffmpeg",
        &[
            "-v",
            "error",
            "-y",
            "-f",
            "lavfi",
            "-i",
            filter,
            "-pix_fmt",
            "yuv420p",
            "-c:v",
            "libx264",
            "-x264-params",
            &params,
            raw.to_str().unwrap(),
        ],
    );
    let bytes = fs::read(raw).unwrap();
    let config = h264::config(nal::annex_b(&bytes)).unwrap();
    let mut pictures: Vec<Vec<&[u8]>> = Vec::new();
    for unit in nal::annex_b(&bytes) {
        match unit[0] & 0x1f {
            9 => pictures.push(vec![unit]),
            _ => pictures.last_mut().expect("a delimiter is first").push(unit),
        }
    }
    let samples = pictures.into_iter().enumerate().map(|(at, units)| {
        let data = nal::join(units);
        let pts = 1_000 + at as i64 * 40;
        Sample { pts, dts: pts, duration: 40, key: h264::is_idr(&data), data }
    });
    let track = Track { timescale: 1_000, codec: Codec::H264 { video: h264::picture(&config).unwrap(), config } };
    let samples: Vec<_> = samples.collect();
    (init(&track).unwrap().to_vec(), segment(&track, 1, &samples, 0).unwrap().to_vec())
}

/// Protects a segment and encrypts what is to be encrypted; also how much that is.
fn sealed(header: &[u8], plain: &[u8]) -> (Vec<u8>, usize) {
    let protected = protect::segment(header, plain).unwrap();
    let (mut data, mut count) = (plain.to_vec(), 0);
    for range in &protected.ranges {
        let mut chain = cbc::Encryptor::<aes::Aes128>::new(&KEY.into(), &SCHEME.iv.into());
        for at in protected.blocks(range) {
            let block: &mut [u8; 16] = (&mut data[at as usize..(at + BLOCK_BYTES) as usize]).try_into().unwrap();
            chain.encrypt_block_mut(block.into());
            count += 16;
        }
    }
    ([&protected.head, &data[protected.replaces as usize..]].concat(), count)
}

/// A digest of each decoded frame, or packet if `copy`.
fn digests(file: &Path, key: Option<&str>, copy: bool) -> String {
    // Packets of any content are no sound, and ffmpeg says so while it looks at them.
    let mut args = vec!["-v", if copy { "quiet" } else { "error" }];
    args.extend(key.map(|key| ["-decryption_key", key]).into_iter().flatten());
    args.extend(["-i", file.to_str().unwrap()]);
    args.extend(if copy { &["-c", "copy"][..] } else { &[] });
    run("ffmpeg", &[&args[..], &["-f", "framemd5", "-"]].concat())
}

fn assert_opens(dir: &Path, header: &[u8], plain: &[u8], copy: bool) -> usize {
    let (open, closed) = (dir.join("open.mp4"), dir.join("closed.mp4"));
    fs::write(&open, [header, plain].concat()).unwrap();
    let (segment, encrypted) = sealed(header, plain);
    fs::write(&closed, [&protect::header(header, &SCHEME).unwrap()[..], &segment].concat()).unwrap();
    let key = KEY.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    assert_eq!(digests(&closed, Some(&key), copy), digests(&open, None, copy));
    encrypted
}

#[test]
fn ffmpeg_decrypts_every_kind_of_slice() {
    let dir = tempfile::tempdir().unwrap();
    for params in ["slices=4:bframes=0:weightp=2", "cabac=0:bframes=0:ref=4", "bframes=0:no-deblock=1:8x8dct=0"] {
        let (header, plain) = film(dir.path(), params);
        let encrypted = assert_opens(dir.path(), &header, &plain, false);
        // A block of ten, of all but headers and short slices.
        assert!(encrypted * 14 > plain.len() && encrypted * 10 < plain.len() + 4_000, "{encrypted} of {}", plain.len());
        // Pictures are encrypted, not only told to be.
        let (segment, _) = sealed(&header, &plain);
        let file = dir.path().join("wrong.mp4");
        fs::write(&file, [&protect::header(&header, &SCHEME).unwrap()[..], &segment].concat()).unwrap();
        let wrong =
            ["-v", "quiet", "-decryption_key", &"00".repeat(16), "-i", file.to_str().unwrap(), "-f", "framemd5", "-"];
        assert_ne!(run("ffmpeg", &wrong), digests(&dir.path().join("open.mp4"), None, false), "{params}");
    }
}

#[test]
fn slice_headers_stay_clear_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    let (header, plain) = film(dir.path(), "slices=2:bframes=0");
    let protected = protect::segment(&header, &plain).unwrap();
    assert!(protected.ranges.len() >= 25, "{} ranges of 25 pictures", protected.ranges.len());
    let units: Vec<_> = protected.ranges.iter().map(|range| range.start).collect();
    for start in units {
        // Behind length and type, a slice header of x264 is longer than two bytes and shorter than forty.
        let before = &plain[start as usize - 44..start as usize];
        let unit = (4..42).find(|at| {
            let length = u64::from(u32::from_be_bytes(before[at - 4..*at].try_into().unwrap()));
            let end = start - 44 + *at as u64 + length;
            matches!(before[*at] & 0x1f, 1 | 5)
                && protected.ranges.iter().any(|range| range.start == start && range.end == end)
        });
        assert!(unit.is_some(), "a slice starts before {start}");
    }
}

#[test]
fn ffmpeg_decrypts_sound() {
    let dir = tempfile::tempdir().unwrap();
    // Packets of any content will do, since they are compared as packets; some are shorter than a block.
    let samples = (0..20_u8).map(|at| Sample {
        pts: 48_000 + i64::from(at) * 1_024,
        dts: 48_000 + i64::from(at) * 1_024,
        duration: 1_024,
        key: true,
        data: vec![at; usize::from(at) * 7 + 1].into(),
    });
    let config = vec![0x11, 0x90].into();
    let track =
        Track { timescale: 48_000, codec: Codec::Aac { audio: Audio { sample_rate: 48_000, channels: 2 }, config } };
    let samples: Vec<_> = samples.collect();
    let (header, plain) = (init(&track).unwrap(), segment(&track, 1, &samples, 0).unwrap());
    let encrypted = assert_opens(dir.path(), &header, &plain, true);
    assert_eq!(encrypted, samples.iter().map(|sample| sample.data.len() / 16 * 16).sum::<usize>());
}

#[test]
fn what_is_broken_or_unknown_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (header, plain) = film(dir.path(), "bframes=0");
    assert!(matches!(protect::header(&plain, &SCHEME), Err(Error::Config { .. })));
    assert!(matches!(protect::segment(&header, &plain[..plain.len() - 1]), Err(Error::Config { .. })));
    assert!(matches!(protect::segment(&plain, &plain), Err(Error::Config { .. })));
    let renamed: Vec<u8> = header
        .windows(4)
        .position(|four| four == b"avc1")
        .map(|at| {
            let mut header = header.clone();
            header[at..at + 4].copy_from_slice(b"xxxx");
            header
        })
        .unwrap();
    assert!(protect::header(&renamed, &SCHEME).is_err() && protect::segment(&renamed, &plain).is_err());
}
