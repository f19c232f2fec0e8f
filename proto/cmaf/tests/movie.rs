//! Movies made of segments, read back: times, edits, places and descriptions must be those of what went in.

use bytes::Bytes;
use millrace_cmaf::{
    Audio, Codec, ORIGIN_S, Sample, Track, Video, aac, init,
    movie::{Kind, Made, Movie},
    read, segment,
};
use mp4_atom::{Any, DecodeMaybe, Moov, Trak};

const SECOND_NS: u64 = 1_000_000_000;

fn video(timescale: u32) -> Track {
    let video = Video { width: 640, height: 360, pixel_aspect: (1, 1), rotation_deg: 0 };
    Track { timescale, codec: Codec::Vp8 { video } }
}

fn audio() -> Track {
    let audio = Audio { sample_rate: 48_000, channels: 2 };
    Track { timescale: 48_000, codec: Codec::Aac { audio, config: aac::config(audio).unwrap() } }
}

fn sample(pts: i64, key: bool, data: u8) -> Sample {
    Sample { pts, dts: pts, duration: 1_024, key, data: vec![data; 3].into() }
}

/// Two seconds of ten pictures a second from `start_s` on, reordered by one.
fn pictures(track: &Track, start_s: i64) -> Bytes {
    let tick = i64::from(track.timescale) / 10;
    let order = [0].into_iter().chain((0..9).flat_map(|pair| [pair * 2 + 2, pair * 2 + 1])).chain([19]);
    let first = (ORIGIN_S + start_s) * i64::from(track.timescale);
    let samples: Vec<_> = order.map(|at| sample(first + at * tick, at == 0, at as u8)).collect();
    segment(track, 1, &samples, first + 20 * tick).unwrap()
}

/// `count` packets from sample `start` on.
fn packets(start: i64, count: i64) -> Bytes {
    let first = ORIGIN_S * 48_000 + start;
    let samples: Vec<_> = (0..count).map(|at| sample(first + at * 1_024, true, 99)).collect();
    segment(&audio(), 1, &samples, first + count * 1_024).unwrap()
}

fn add(movie: &mut Movie, data: &mut Vec<u8>, kind: Kind, track: &Track, bytes: &Bytes) {
    let head = read::head(bytes).unwrap().unwrap();
    let range = movie.add(kind, &init(track).unwrap(), &head).unwrap();
    data.extend(&bytes[range.start as usize..range.end as usize]);
}

/// The movie's index, and its samples: bytes by track in decode order, found as the index says.
fn read_back(made: &Made, data: &[u8]) -> (Moov, Vec<Vec<u8>>) {
    let file = [&made.head[..], data].concat();
    let mut rest = &made.head[..];
    let moov = loop {
        match Any::decode_maybe(&mut rest).unwrap() {
            Some(Any::Moov(moov)) => break moov,
            Some(_) => {}
            None => panic!("no moov"),
        }
    };
    let first_bytes = |trak: &Trak| {
        let stbl = &trak.mdia.minf.stbl;
        let mp4_atom::StszSamples::Different { sizes } = &stbl.stsz.samples else { panic!("sizes") };
        let (mut found, mut sizes) = (Vec::new(), sizes.iter());
        for (at, place) in stbl.stco.as_ref().unwrap().entries.iter().enumerate() {
            let run = stbl.stsc.entries.iter().rfind(|run| run.first_chunk as usize <= at + 1).unwrap();
            let mut place = *place as usize;
            for size in sizes.by_ref().take(run.samples_per_chunk as usize) {
                found.push(file[place]);
                place += *size as usize;
            }
        }
        assert!(sizes.next().is_none(), "every sample is in a chunk");
        found
    };
    let samples = moov.trak.iter().map(first_bytes).collect();
    (moov, samples)
}

/// Media time at which the track starts, after how long an empty edit, and how long it is shown, in 90 kHz.
fn edit(trak: &Trak) -> (u64, u64, u64) {
    let edits = &trak.edts.as_ref().unwrap().elst.as_ref().unwrap().entries;
    let empty = edits.iter().filter(|edit| edit.media_time.is_none()).map(|edit| edit.segment_duration).sum();
    let last = edits.last().unwrap();
    (last.media_time.unwrap(), empty, last.segment_duration)
}

#[test]
fn a_cut_between_keyframes_keeps_what_is_needed_and_shows_what_is_wanted() {
    let track = video(90_000);
    let (mut movie, mut data) = (Movie::new(SECOND_NS / 2, Some(SECOND_NS * 5 / 2)), Vec::new());
    for start_s in [0, 2] {
        add(&mut movie, &mut data, Kind::Video, &track, &pictures(&track, start_s));
        add(&mut movie, &mut data, Kind::Audio, &audio(), &packets(start_s * 48_000, 94));
    }
    let made = movie.finish().unwrap();
    assert_eq!((made.start_ns, made.duration_ns), (SECOND_NS / 2, SECOND_NS * 2));
    let (moov, samples) = read_back(&made, &data);
    // The second segment's pictures 0 to 4 are shown; 6 comes before 5 in the file, and neither is needed.
    assert_eq!(samples[0].len(), 25, "{:?}", samples[0]);
    assert_eq!(samples[0][20..], [0, 2, 1, 4, 3]);
    let early = u64::from(90_000u32.div_ceil(8));
    assert_eq!(edit(&moov.trak[0]), (45_000 + early, 0, 180_000));
    // Sound: one packet more than is heard goes before.
    let before = SECOND_NS as f64 / 2e9 * 48_000.0 / 1_024.0;
    let skipped = before as u64 - 1;
    assert_eq!(edit(&moov.trak[1]), (24_000 - skipped * 1_024, 0, 180_000));
    assert_eq!(moov.mvhd.duration, 180_000);
}

#[test]
fn runs_with_other_headers_go_on_in_time_and_sound_is_not_heard_twice() {
    let (first, second) = (video(90_000), video(1_000));
    let (mut movie, mut data) = (Movie::new(0, None), Vec::new());
    add(&mut movie, &mut data, Kind::Video, &first, &pictures(&first, 0));
    add(&mut movie, &mut data, Kind::Audio, &audio(), &packets(0, 95));
    // A gap of two seconds, then another run; its sound begins while the last packet before is still heard.
    add(&mut movie, &mut data, Kind::Video, &second, &pictures(&second, 4));
    add(&mut movie, &mut data, Kind::Audio, &audio(), &packets(94 * 1_024, 94));
    let made = movie.finish().unwrap();
    assert_eq!(made.duration_ns, SECOND_NS * 6);
    let (moov, samples) = read_back(&made, &data);
    assert_eq!((samples[0].len(), samples[1].len()), (40, 95 + 93));
    let stbl = &moov.trak[0].mdia.minf.stbl;
    assert_eq!(stbl.stsd.codecs.len(), 2, "each run has its description");
    assert_eq!(stbl.stss.as_ref().unwrap().entries, [1, 21]);
    let length: u64 =
        stbl.stts.entries.iter().map(|run| u64::from(run.sample_count) * u64::from(run.sample_delta)).sum();
    assert!((540_000..=540_100).contains(&length), "{length} ticks: the gap is in it");
    let sound = &moov.trak[1].mdia.minf.stbl;
    assert!(sound.stss.is_none() && sound.ctts.is_none() && sound.stsd.codecs.len() == 1);
}

#[test]
fn sound_that_starts_late_is_heard_late_and_priming_is_cut() {
    let track = video(90_000);
    for (start, wanted) in [(24_000, (0, 45_000)), (0, (0, 0))] {
        let (mut movie, mut data) = (Movie::new(0, None), Vec::new());
        add(&mut movie, &mut data, Kind::Video, &track, &pictures(&track, 0));
        add(&mut movie, &mut data, Kind::Audio, &audio(), &packets(start, 40));
        let (moov, _) = read_back(&movie.finish().unwrap(), &data);
        let (media_time, empty, _) = edit(&moov.trak[1]);
        assert_eq!((media_time, empty), wanted);
    }
    // Pictures that start 1,024 samples after the encoder's first packet: the movie starts with them.
    let track = video(48_000);
    let late: Vec<_> = (0..5).map(|at| sample(48_000 + 1_024 + at * 4_800, at == 0, 0)).collect();
    let late = segment(&track, 1, &late, 48_000 + 1_024 + 24_000).unwrap();
    let (mut movie, mut data) = (Movie::new(0, None), Vec::new());
    add(&mut movie, &mut data, Kind::Video, &track, &late);
    add(&mut movie, &mut data, Kind::Audio, &audio(), &packets(0, 40));
    let (moov, _) = read_back(&movie.finish().unwrap(), &data);
    assert_eq!((edit(&moov.trak[0]).1, edit(&moov.trak[1]).0), (0, 1_024));
}

#[test]
fn nothing_is_no_movie() {
    assert_eq!(Movie::new(0, None).finish(), Err(millrace_cmaf::Error::Empty));
}
