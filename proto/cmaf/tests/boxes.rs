//! Segments read back with a box parser: times, sizes and flags for any samples in any order.

use bytes::Bytes;
use millrace_cmaf::{Audio, Codec, Error, Sample, Track, Video, aac, init, lead, read as reader, segment};
use mp4_atom::{Decode, DecodeMaybe, Ftyp, Mdat, Moof, Moov, Styp};
use proptest::prelude::*;

fn video_track() -> Track {
    Track {
        timescale: 90_000,
        codec: Codec::Vp8 { video: Video { width: 640, height: 360, pixel_aspect: (1, 1), rotation_deg: 0 } },
    }
}

fn sample(pts: i64, key: bool, data: Vec<u8>) -> Sample {
    Sample { pts, dts: pts, duration: 0, key, data: data.into() }
}

/// A sample as a player computes it.
#[derive(Debug, PartialEq)]
struct Read {
    decode_time: i64,
    pts: i64,
    duration: i64,
    key: bool,
    data: Vec<u8>,
}

fn read(bytes: &Bytes) -> (u32, Vec<Read>) {
    let mut rest = &bytes[..];
    Styp::decode(&mut rest).unwrap();
    let moof_at = bytes.len() - rest.len();
    let moof = Moof::decode(&mut rest).unwrap();
    let mdat_at = bytes.len() - rest.len();
    let mdat = Mdat::decode_maybe(&mut rest).unwrap().unwrap();
    assert!(rest.is_empty(), "nothing stands behind mdat");
    let traf = &moof.traf[0];
    let run = &traf.trun[0];
    assert_eq!(moof_at + run.data_offset.unwrap() as usize, mdat_at + 8, "the run points at its data");
    let mut decode_time = traf.tfdt.as_ref().unwrap().base_media_decode_time as i64;
    let mut data = &mdat.data[..];
    let mut samples = Vec::new();
    for entry in &run.samples {
        let (own, behind) = data.split_at(entry.size.unwrap() as usize);
        data = behind;
        let duration = i64::from(entry.duration.unwrap());
        let key = entry.flags.is_none_or(|flags| flags & 0x1_0000 == 0);
        let pts = decode_time + entry.cts.unwrap_or(0);
        samples.push(Read { decode_time, pts, duration, key, data: own.to_vec() });
        decode_time += duration;
    }
    assert!(data.is_empty(), "every byte belongs to a sample");
    (moof.mfhd.sequence_number, samples)
}

proptest! {
    #[test]
    fn every_sample_comes_back(
        start in 0i64..1 << 40,
        steps in proptest::collection::vec((1i64..100_000, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..50), any::<u32>()), 1..40),
        rest in 1i64..100_000,
    ) {
        // Strictly increasing times, then any decode order.
        let mut pts = start;
        let mut samples: Vec<_> = steps.into_iter().map(|(step, key, data, order)| {
            pts += step;
            (order, sample(pts, key, data))
        }).collect();
        samples.sort_by_key(|(order, _)| *order);
        let samples: Vec<_> = samples.into_iter().map(|(_, sample)| sample).collect();
        let end = pts + rest;
        let bytes = segment(&video_track(), 7, &samples, end).unwrap();
        let (sequence, read) = read(&bytes);
        prop_assert_eq!(sequence, 7);
        for (sample, read) in samples.iter().zip(&read) {
            prop_assert_eq!((sample.pts, sample.key, &sample.data[..]), (read.pts, read.key, &read.data[..]));
            prop_assert!(read.duration > 0);
        }
        // The segment's decode times end where those of the next one start.
        let last = read.last().unwrap();
        prop_assert_eq!(last.decode_time + last.duration, (end - lead(90_000)).max(last.decode_time + 1));
        let header = reader::header(&init(&video_track()).unwrap()).unwrap();
        let fragment = reader::fragment(&bytes).unwrap();
        prop_assert_eq!((fragment.sequence, fragment.samples), (7, samples.len()));
        prop_assert!(fragment.end(header) >= end);
        let first = samples.iter().map(|sample| sample.pts).min().unwrap();
        let room = samples.len() as i64 + lead(90_000);
        if first >= room {
            prop_assert!(read.iter().all(|read| read.decode_time <= read.pts), "no negative offset");
            prop_assert_eq!(fragment.end(header), end);
        }
    }

    #[test]
    fn frames_reordered_by_two_as_encoders_do_keep_an_even_decode_clock(
        start in 20_000i64..1 << 40, step in 1i64..5_000, groups in 1i64..20,
    ) {
        // I, then P B b b with a pyramid.
        let order = [0].into_iter().chain((0..groups).flat_map(|group| [4, 2, 1, 3].map(|at| group * 4 + at)));
        let samples: Vec<_> = order.map(|shown| sample(start + shown * step, shown == 0, vec![1])).collect();
        let (_, read) = read(&segment(&video_track(), 1, &samples, start + (groups * 4 + 1) * step).unwrap());
        prop_assert_eq!(read[0].decode_time, start - lead(90_000));
        prop_assert!(read.iter().all(|read| read.duration == step && read.decode_time <= read.pts));
    }
}

#[test]
fn the_last_sample_lasts_until_the_next_segment_or_as_long_as_the_one_before() {
    let samples = [sample(90_000, true, vec![1]), sample(93_000, false, vec![2])];
    let durations = |end| {
        let (_, read) = read(&segment(&video_track(), 1, &samples, end).unwrap());
        read.iter().map(|sample| sample.duration).collect::<Vec<_>>()
    };
    assert_eq!(durations(99_000), [3_000, 6_000]);
    assert_eq!(durations(93_000), [3_000, 3_000]);
    assert_eq!(durations(-1), [3_000, 3_000]);
    let alone = [Sample { duration: 40, ..sample(90_000, true, vec![]) }];
    assert_eq!(read(&segment(&video_track(), 1, &alone, 0).unwrap()).1[0].duration, 40);
}

#[test]
fn a_timeline_that_starts_at_zero_keeps_its_times() {
    let samples = [0, 4, 2, 1, 3].map(|shown| sample(shown * 3_600, shown == 0, vec![]));
    let (_, read) = read(&segment(&video_track(), 1, &samples, 5 * 3_600).unwrap());
    assert_eq!(read.iter().map(|sample| sample.pts).collect::<Vec<_>>(), [0, 14_400, 7_200, 3_600, 10_800]);
    assert!(read.iter().all(|sample| sample.decode_time <= sample.pts));
}

#[test]
fn what_can_not_be_written_is_refused_by_name() {
    let write = |samples: &[Sample], end| segment(&video_track(), 1, samples, end);
    assert_eq!(write(&[], 1), Err(Error::Empty));
    let negative = [sample(0, true, vec![]), sample(-5, false, vec![])];
    assert_eq!(write(&negative, 1), Err(Error::NegativeTime { sample: 1, pts: -5 }));
    let twice = [sample(5, true, vec![]), sample(9, false, vec![]), sample(5, false, vec![])];
    assert_eq!(write(&twice, 99), Err(Error::RepeatedTime { pts: 5 }));
    let far = [sample(0, true, vec![]), sample(1 << 33, false, vec![])];
    assert!(matches!(write(&far, 0), Err(Error::TooLong { .. })));
    assert!(matches!(write(&far[..1], i64::MAX), Err(Error::TooLong { .. })));
}

#[test]
fn headers_are_the_same_for_the_same_track_and_say_how_to_turn_it() {
    let mut track = video_track();
    if let Codec::Vp8 { video } = &mut track.codec {
        *video = Video { width: 720, height: 576, pixel_aspect: (16, 11), rotation_deg: 90 };
    }
    let bytes = init(&track).unwrap();
    assert_eq!(bytes, init(&track).unwrap());
    let mut rest = &bytes[..];
    assert!(Ftyp::decode(&mut rest).unwrap().compatible_brands.contains(&b"cmfc".into()));
    let moov = Moov::decode(&mut rest).unwrap();
    assert!(rest.is_empty());
    assert_eq!(moov.trak[0].mdia.mdhd.timescale, 90_000);
    let matrix = &moov.trak[0].tkhd.matrix;
    assert_eq!((matrix.a, matrix.b, matrix.c, matrix.d), (0, 1 << 16, -(1 << 16), 0));
    assert_eq!(moov.mvex.unwrap().trex[0].track_id, 1);
}

#[test]
fn the_reader_takes_what_was_written_and_nothing_cut_or_swapped() {
    let header = init(&video_track()).unwrap();
    let media = segment(&video_track(), 3, &[sample(90_000, true, vec![1, 2, 3])], 93_000).unwrap();
    assert_eq!(reader::header(&header), Ok(reader::Header { timescale: 90_000, video: true }));
    assert_eq!(reader::fragment(&media).unwrap().end(reader::header(&header).unwrap()), 93_000);
    assert!(reader::header(&media).is_err() && reader::fragment(&header).is_err());
    assert!(reader::fragment(&[&media[..], &media[..]].concat()).is_err());
    for cut in 0..media.len() {
        assert!(reader::fragment(&media[..cut]).is_err(), "{cut} bytes of it");
    }
    for cut in 0..header.len() {
        assert!(reader::header(&header[..cut]).is_err(), "{cut} bytes of it");
    }
}

proptest! {
    #[test]
    fn a_flipped_byte_never_panics_the_reader(at in any::<proptest::sample::Index>(), to: u8) {
        let mut header = init(&video_track()).unwrap().to_vec();
        let place = at.index(header.len());
        header[place] = to;
        let _ = reader::header(&header);
        let samples = [sample(90_000, true, vec![1, 2, 3]), sample(93_000, false, vec![4])];
        let mut media = segment(&video_track(), 3, &samples, 96_000).unwrap().to_vec();
        let place = at.index(media.len());
        media[place] = to;
        let _ = reader::fragment(&media);
    }
}

#[test]
fn audio_headers_carry_the_configuration_untouched() {
    let audio = Audio { sample_rate: 96_000, channels: 2 };
    let config = aac::config(audio).unwrap();
    let track = Track { timescale: 96_000, codec: Codec::Aac { audio, config: config.clone() } };
    assert_eq!(track.codec_string().as_deref(), Ok("mp4a.40.2"));
    let bytes = init(&track).unwrap();
    assert!(bytes.windows(config.len()).any(|window| window == config));
    let broken = Track { timescale: 48_000, codec: Codec::Aac { audio, config: Bytes::new() } };
    assert!(matches!(init(&broken), Err(Error::Config { .. })));
}

#[test]
fn tracks_that_mp4_has_no_field_for_are_refused() {
    for (width, height) in [(0, 360), (640, 70_000)] {
        let video = Video { width, height, pixel_aspect: (1, 1), rotation_deg: 0 };
        assert!(matches!(init(&Track { timescale: 1, codec: Codec::Vp8 { video } }), Err(Error::Format(_))));
    }
    assert!(matches!(init(&Track { timescale: 0, ..video_track() }), Err(Error::Format(_))));
}

/// `sgpd` of which each entry takes no bytes, where it stands in the wild and alone: a parser that believes the count
/// fills the memory with forty bytes.
#[test]
fn counts_without_bytes_are_refused_before_they_are_believed() {
    let boxed = |kind: &[u8; 4], body: &[u8]| [&(8 + body.len() as u32).to_be_bytes()[..], kind, body].concat();
    // Version 0, an unknown grouping, as many entries as a count can say.
    let bomb = boxed(b"sgpd", &[&[0, 0, 0, 0][..], b"none", &[0xff; 4]].concat());
    let sound = init(&video_track()).unwrap();
    let ftyp = &sound[..sound.windows(4).position(|kind| kind == b"moov").unwrap() - 4];
    let nest = |kinds: &[&[u8; 4]]| kinds.iter().rev().fold(bomb.clone(), |body, kind| boxed(kind, &body));
    let deep = nest(&[b"moov", b"trak", b"mdia", b"minf", b"stbl"]);
    // In a box whose content nobody needs, and behind the fields of a sample entry.
    let aside = nest(&[b"moov", b"trak", b"mdia", b"dinf", b"stbl"]);
    let entry = boxed(b"avc1", &[&[0; 78], &bomb[..]].concat());
    let entries = boxed(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1], &entry[..]].concat());
    let around: [&[u8; 4]; 5] = [b"stbl", b"minf", b"mdia", b"trak", b"moov"];
    let within = around.iter().fold(entries, |body, kind| boxed(kind, &body));
    for deep in [&aside, &within] {
        assert!(matches!(reader::header(&[ftyp, deep].concat()), Err(Error::Config { .. })));
    }
    for header in [bomb.clone(), deep.clone(), [ftyp, &deep].concat(), [ftyp, &bomb].concat()] {
        assert!(matches!(reader::header(&header), Err(Error::Config { .. })));
    }
    let styp = boxed(b"styp", b"msdh\0\0\0\0msdh");
    for segment in [bomb.clone(), nest(&[b"moof", b"traf"]), [styp, nest(&[b"moof", b"traf"])].concat()] {
        assert!(matches!(reader::head(&segment), Err(Error::Config { .. })));
    }
    // Containers in containers without an end.
    let tower: Vec<u8> =
        (1..100_000_u32).rev().flat_map(|left| [(8 * left).to_be_bytes(), *b"moov"].concat()).collect();
    assert!(reader::header(&tower).is_err());
}
