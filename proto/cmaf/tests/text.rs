//! Captions as `WebVTT` in CMAF: read back, and by ffprobe.

use std::{fs, process::Command};

use bytes::Bytes;
use millrace_cmaf::{
    Error, read,
    text::{CODEC, Cue, init, segment},
};
use mp4_atom::{Codec, Decode, FourCC, Ftyp, Moov};
use proptest::prelude::*;

const TIMESCALE: u32 = 1_000_000;

fn cue(start: i64, end: i64, text: &str) -> Cue {
    Cue { start, end, text: text.into() }
}

/// The boxes of these bytes: names, and what is in them.
fn boxes(mut bytes: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let size = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
        found.push((&bytes[4..8], &bytes[8..size]));
        bytes = &bytes[size..];
    }
    found
}

/// Each sample: from when to when, and the cues in it.
fn shown(segment: &Bytes) -> Vec<(i64, i64, Vec<String>)> {
    let head = read::head(segment).unwrap().expect("it is whole");
    let (mut at, mut data) = (head.decode_start as i64, &segment[head.data_at as usize..]);
    let mut all = Vec::new();
    for sample in &head.samples {
        assert!(sample.key && sample.offset == 0, "{sample:?}");
        let (own, behind) = data.split_at(sample.bytes as usize);
        data = behind;
        let cues = boxes(own).into_iter().filter_map(|(kind, inner)| match kind {
            b"vtte" => None,
            b"vttc" => {
                let [(b"payl", text)] = boxes(inner)[..] else { panic!("{inner:?}") };
                Some(String::from_utf8(text.to_vec()).unwrap())
            }
            other => panic!("{other:?}"),
        });
        let end = at + i64::from(sample.duration);
        all.push((at, end, cues.collect()));
        at = end;
    }
    assert!(data.is_empty(), "every byte belongs to a sample");
    all
}

#[test]
fn a_header_says_that_it_is_text() {
    let bytes = init(TIMESCALE).unwrap();
    assert_eq!(bytes, init(TIMESCALE).unwrap());
    let mut rest = &bytes[..];
    let brands = Ftyp::decode(&mut rest).unwrap().compatible_brands;
    assert!([b"cmfc", b"cwvt"].iter().all(|brand| brands.contains(&FourCC::new(brand))), "{brands:?}");
    let moov = Moov::decode(&mut rest).unwrap();
    let mdia = &moov.trak[0].mdia;
    assert_eq!((mdia.hdlr.handler, mdia.mdhd.timescale), (FourCC::new(b"text"), TIMESCALE));
    assert!(mdia.minf.nmhd.is_some() && mdia.minf.vmhd.is_none() && mdia.minf.smhd.is_none());
    let [Codec::Wvtt(entry)] = &mdia.minf.stbl.stsd.codecs[..] else { panic!("{mdia:?}") };
    assert_eq!(entry.config.config, "WEBVTT");
    assert_eq!(init(0), Err(Error::Format("0 ticks per second".into())));
    // What workers deliver is pictures or sound.
    assert!(read::header(&bytes).is_err());
}

#[test]
fn a_cue_over_a_border_is_in_both_segments_and_time_has_no_holes() {
    let cues = [cue(500, 1_500, "one"), cue(1_500, 3_000, "two\nlines"), cue(3_500, 4_000, "three")];
    let of = |time| shown(&segment(1, &cues, time).unwrap());
    let said = |text: &str| vec![text.to_owned()];
    assert_eq!(of(0..2_000), [(0, 500, vec![]), (500, 1_500, said("one")), (1_500, 2_000, said("two\nlines"))]);
    assert_eq!(
        of(2_000..4_000),
        [(2_000, 3_000, said("two\nlines")), (3_000, 3_500, vec![]), (3_500, 4_000, said("three"))]
    );
    assert_eq!(of(4_000..6_000), [(4_000, 6_000, vec![])], "what ends where it begins is not in it");
    let both = segment(1, &[cue(0, 20, "a"), cue(10, 30, "b")], 0..30).unwrap();
    assert_eq!(shown(&both), [(0, 10, said("a")), (10, 20, vec!["a".into(), "b".into()]), (20, 30, said("b"))]);
    assert_eq!(segment(1, &cues, 5..5), Err(Error::Empty));
    assert!(matches!(segment(1, &cues, -1..5), Err(Error::NegativeTime { .. })));
    assert!(matches!(segment(1, &[], 0..1 << 33), Err(Error::TooLong { .. })));
}

proptest! {
    #[test]
    fn segments_in_a_row_show_each_cue_for_all_of_its_time(
        cues in proptest::collection::vec((0i64..10_000, 1i64..4_000, "[a-zé日]{1,9}"), 0..20),
        cuts in proptest::collection::btree_set(1i64..15_000, 1..8),
    ) {
        let cues: Vec<Cue> = cues.iter().map(|(start, length, text)| cue(*start, start + length, text)).collect();
        let borders: Vec<i64> = [0].into_iter().chain(cuts).chain([15_000]).collect();
        let mut at = 0;
        for pair in borders.windows(2) {
            for (start, end, texts) in shown(&segment(1, &cues, pair[0]..pair[1]).unwrap()) {
                prop_assert!(start == at && end > start);
                at = end;
                let wanted = cues.iter().filter(|cue| cue.start < end && cue.end > start);
                prop_assert!(wanted.clone().all(|cue| cue.start <= start && cue.end >= end), "one sample, one state");
                prop_assert_eq!(wanted.map(|cue| cue.text.clone()).collect::<Vec<_>>(), texts);
            }
        }
        prop_assert_eq!(at, 15_000);
    }
}

/// FFmpeg 5.1 knows no such codec: it reads the boxes, and tells no durations.
#[test]
fn ffprobe_reads_the_track() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("captions.mp4");
    let cues = [cue(1_200_000, 3_500_000, "a <b>word</b>")];
    let parts = [
        init(TIMESCALE).unwrap(),
        segment(1, &cues, 1_000_000..3_000_000).unwrap(),
        segment(2, &cues, 3_000_000..5_000_000).unwrap(),
    ];
    fs::write(&file, parts.concat()).unwrap();
    let probe = |entries: &str| {
        let output = Command::new("ffprobe")
            .args(["-v", "error", "-of", "csv=p=0", "-show_entries", entries])
            .arg(&file)
            .output()
            .expect("ffprobe can be started: install ffmpeg");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(probe("stream=codec_tag_string,time_base").trim(), format!("{CODEC},1/{TIMESCALE}"));
    assert_eq!(
        probe("packet=pts,size,flags").lines().collect::<Vec<_>>(),
        ["1000000,8,K_", "1200000,29,K_", "3000000,29,K_", "3500000,8,K_"]
    );
}
