//! Every rule can fail: a stream without fault has no finding, and each fault, made alone, has its own.

use std::fmt::Write as _;

use bytes::Bytes;
use millrace_cmaf::{Sample, Track};

use super::{
    Book, Finding,
    list::{List, Multivariant, unix_ms},
    media::{Init, Piece},
    rules, serve, timing,
};

const MASTER: &str = "#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-INDEPENDENT-SEGMENTS\n\
    #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"A, or B\",DEFAULT=YES,URI=\"audio/i.m3u8\"\n\
    #EXT-X-STREAM-INF:BANDWIDTH=88000,AVERAGE-BANDWIDTH=88000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=640x360,\
    FRAME-RATE=25.000,AUDIO=\"audio\"\n360p/i.m3u8\n\
    #EXT-X-STREAM-INF:BANDWIDTH=88000,AVERAGE-BANDWIDTH=88000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=640x360,\
    FRAME-RATE=25.000,AUDIO=\"audio\"\n720p/i.m3u8\n";
const RENDITIONS: [&str; 3] = ["360p", "720p", "audio"];
/// Segments 0 to 3 are one run, 4 and 5 the next one, ten seconds later.
const RUN: u64 = 4;

/// A live playlist of segments `from..to`.
fn playlist(from: u64, to: u64) -> String {
    let mut text = format!("#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{from}\n");
    for number in from..to {
        if number == RUN {
            text += "#EXT-X-DISCONTINUITY\n";
        }
        let second = number * 2 + if number >= RUN { 10 } else { 0 };
        if number == from {
            text += "#EXT-X-MAP:URI=\"init.mp4\"\n";
        }
        let _ =
            write!(text, "#EXT-X-PROGRAM-DATE-TIME:2026-11-01T00:00:{second:02}.000Z\n#EXTINF:2.0,\n{number}.m4s\n");
    }
    text
}

/// A stream without fault, read twice while it slid.
fn good() -> Book {
    let mut book = Book { live: true, masters: vec![Multivariant::read("http://h/i.m3u8", MASTER)], ..Book::default() };
    for name in RENDITIONS {
        let url = format!("http://h/{name}/i.m3u8");
        book.lists.insert(url.clone(), [(0, 4), (1, 6)].map(|(from, to)| List::read(&url, &playlist(from, to))).into());
        let video = name != "audio";
        let (codec, size) = if video { ("avc1.64001f", Some((640, 360))) } else { ("mp4a.40.2", None) };
        let init = Init { timescale: 100, codec: codec.into(), size };
        book.inits.insert(format!("http://h/{name}/init.mp4"), Ok(init));
        for number in 0..6 {
            let start = 100 + number * 200;
            let piece = Piece {
                bytes: if video { 20_000 } else { 2_000 },
                decode_start: start - 12,
                decode_end: start + 200 - 12,
                shown: (0..50).map(|at| start as i64 + at * 4).collect(),
                starts_sync: true,
                slice: video.then_some(5),
            };
            book.pieces.insert(format!("http://h/{name}/{number}.m4s"), Ok(piece));
        }
    }
    book
}

/// The same when it is over.
fn recorded() -> Book {
    let mut book = good();
    book.live = false;
    for (url, states) in &mut book.lists {
        let text = playlist(0, 6).replace("#EXT-X-TARGET", "#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-TARGET");
        *states = vec![List::read(url, &(text + "#EXT-X-ENDLIST\n"))];
    }
    book
}

fn list<'a>(book: &'a mut Book, name: &str) -> &'a mut List {
    book.lists.get_mut(&format!("http://h/{name}/i.m3u8")).unwrap().last_mut().unwrap()
}

fn piece<'a>(book: &'a mut Book, name: &str, number: u64) -> &'a mut Piece {
    book.pieces.get_mut(&format!("http://h/{name}/{number}.m4s")).unwrap().as_mut().unwrap()
}

/// The rule is broken by what `fault` does to a good stream.
#[track_caller]
fn breaks(rule: &str, mut book: Book, fault: impl FnOnce(&mut Book)) {
    assert_eq!(book.judge(), [], "before the fault");
    fault(&mut book);
    let findings = book.judge();
    assert!(findings.iter().any(|finding| finding.rule == rule), "nothing of {rule} in {findings:?}");
}

#[test]
fn each_fault_of_one_playlist_is_found() {
    breaks(rules::TARGET, good(), |book| list(book, "720p").entries[2].duration_s = 2.6);
    breaks(rules::TARGET, good(), |book| list(book, "720p").target_s = None);
    breaks(rules::VERSION, good(), |book| list(book, "720p").version = 5);
    breaks(rules::VERSION, good(), |book| {
        let list = list(book, "720p");
        (list.version, list.entries[1].gap) = (7, true);
    });
    breaks(rules::MAP, good(), |book| list(book, "720p").entries[0].init = None);
    breaks(rules::DATE, good(), |book| list(book, "720p").entries[0].at_ms = None);
    breaks(rules::DATE, good(), |book| *list(book, "720p").entries[1].at_ms.as_mut().unwrap() += 3);
    breaks(rules::DATE, good(), |book| *list(book, "720p").entries[4].at_ms.as_mut().unwrap() -= 20_000);
    breaks(rules::WINDOW, good(), |book| list(book, "720p").entries.truncate(2));
    breaks(rules::TYPE, recorded(), |book| list(book, "720p").ended = false);
    breaks(rules::TYPE, recorded(), |book| list(book, "720p").kind = None);
}

#[test]
fn each_fault_over_time_is_found() {
    breaks(rules::TARGET, good(), |book| list(book, "720p").target_s = Some(3));
    let reread =
        |book: &mut Book, from, to| *list(book, "720p") = List::read("http://h/720p/i.m3u8", &playlist(from, to));
    breaks(rules::SEQUENCE, good(), |book| {
        book.lists.get_mut("http://h/720p/i.m3u8").unwrap().reverse();
    });
    breaks(rules::CHANGES, good(), |book| reread(book, 0, 3));
    breaks(rules::BREAKS, good(), |book| {
        book.lists.get_mut("http://h/720p/i.m3u8").unwrap()[0].discontinuity_sequence = 1;
    });
    breaks(rules::CHANGES, good(), |book| list(book, "720p").entries[0].url += "?2");
    breaks(rules::CHANGES, good(), |book| book.lists.get_mut("http://h/720p/i.m3u8").unwrap()[0].ended = true);
    breaks(rules::TYPE, good(), |book| {
        book.lists.get_mut("http://h/720p/i.m3u8").unwrap()[0].kind = Some("EVENT".into());
    });
}

#[test]
fn each_fault_between_renditions_is_found() {
    breaks(rules::ALIGNED, recorded(), |book| list(book, "360p").target_s = Some(3));
    breaks(rules::ALIGNED, recorded(), |book| list(book, "360p").entries[5].discontinuity = 2);
    breaks(rules::ALIGNED, recorded(), |book| list(book, "audio").entries[1].duration_s = 1.9);
    breaks(timing::SAME_TIMES, good(), |book| piece(book, "360p", 2).shown[1] += 1);
    breaks(timing::SAME_TIMES, good(), |book| piece(book, "360p", 2).shown.truncate(49));
}

#[test]
fn each_fault_of_what_is_told_is_found() {
    breaks(rules::INDEPENDENT, good(), |book| book.masters[0].independent = false);
    let init = |book: &mut Book, name: &str, change: fn(&mut Init)| {
        change(book.inits.get_mut(&format!("http://h/{name}/init.mp4")).unwrap().as_mut().unwrap());
    };
    breaks(rules::CODECS, good(), |book| init(book, "720p", |init| init.codec = "avc1.640020".into()));
    breaks(rules::CODECS, good(), |book| init(book, "audio", |init| init.codec = "mp4a.40.5".into()));
    breaks(rules::SIZE, good(), |book| init(book, "720p", |init| init.size = Some((638, 360))));
    breaks(rules::RATE, good(), |book| book.masters[0].variants[0].frame_rate = Some(25.03));
    breaks(rules::BITRATE, good(), |book| piece(book, "720p", 1).bytes = 20_010);
    breaks(rules::BITRATE, good(), |book| book.masters[0].variants[0].bandwidth = Some(87_000.0));
    breaks(rules::BITRATE, recorded(), |book| book.masters[0].variants[0].bandwidth = Some(99_000.0));
    breaks(rules::BITRATE, good(), |book| book.masters[0].variants[0].bandwidth_average = Some(70_000.0));
    breaks(rules::BITRATE, good(), |book| book.masters[0].variants[0].bandwidth_average = None);
}

#[test]
fn each_fault_of_segments_is_found() {
    breaks(timing::KEY, good(), |book| piece(book, "720p", 1).slice = Some(1));
    breaks(timing::KEY, good(), |book| piece(book, "720p", 1).starts_sync = false);
    breaks(timing::CONTINUOUS, good(), |book| piece(book, "audio", 1).decode_end += 1);
    breaks(timing::CONTINUOUS, good(), |book| piece(book, "720p", 3).decode_start -= 1);
    let late = |book: &mut Book| {
        for (name, number) in [("360p", 2), ("720p", 2)] {
            piece(book, name, number).shown.iter_mut().for_each(|pts| *pts += 9);
        }
    };
    breaks(timing::SUMS, good(), late);
    breaks(timing::LISTED, good(), |book| {
        *book.pieces.values_mut().next().unwrap() = Err("it is listed, and answered with 404".into());
    });
    breaks(rules::MAP, good(), |book| *book.inits.values_mut().next().unwrap() = Err("it can't be read".into()));
}

#[test]
fn segments_are_read_as_they_are() {
    let config = Bytes::from_static(&[
        1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 8, 0x67, 0x64, 0, 0x1f, 0xac, 0xd9, 0x40, 0x50, 1, 0, 4, 0x68, 0xeb, 0xe3,
        0xcb, 0xfd, 0xf8, 0xf8, 0,
    ]);
    let video = millrace_cmaf::Video { width: 640, height: 360, pixel_aspect: (1, 1), rotation_deg: 0 };
    let track = Track { timescale: 1_000, codec: millrace_cmaf::Codec::H264 { video, config } };
    let init = Init::read(&millrace_cmaf::init(&track).unwrap()).unwrap();
    assert_eq!(init, Init { timescale: 1_000, codec: "avc1.64001f".into(), size: Some((640, 360)) });
    let sample = |pts, kind: u8, key| Sample {
        pts,
        dts: pts,
        duration: 40,
        key,
        data: Bytes::from([[0, 0, 0, 2, 9, 0], [0, 0, 0, 2, kind, 0]].concat()),
    };
    let read = |kind, key| {
        let samples = [sample(1_000, kind, key), sample(1_080, 1, false), sample(1_040, 1, false)];
        Piece::read(&millrace_cmaf::segment(&track, 1, &samples, 1_120).unwrap()).unwrap()
    };
    let piece = read(0x65, true);
    assert_eq!((piece.starts_sync, piece.slice, &piece.shown[..]), (true, Some(5), &[1_000, 1_040, 1_080][..]));
    assert_eq!((piece.decode_start, piece.decode_end), (875, 995));
    let open = read(0x41, false);
    assert_eq!((open.starts_sync, open.slice), (false, Some(1)));
    assert!(Piece::read(b"nothing").is_err() && Init::read(b"").is_err());
}

#[test]
fn dates_are_read() {
    assert_eq!(unix_ms("1970-01-01T00:00:00.000Z"), Some(0));
    assert_eq!(unix_ms("2000-02-29T00:00:00.500Z"), Some(951_782_400_500));
    assert_eq!(unix_ms("2026-12-31T23:59:59.999Z"), Some(1_798_761_599_999));
    assert_eq!(unix_ms("yesterday"), None);
}

/// Right answers for a segment, or for a live playlist.
fn answers(segment: bool) -> serve::Asked {
    let (kind, cache) = if segment {
        ("video/mp4", "public, max-age=31536000, immutable")
    } else {
        ("application/vnd.apple.mpegurl", "public, max-age=1")
    };
    let reply = |status, body: std::ops::Range<u8>| {
        let headers = [
            ("content-type", kind.to_owned()),
            ("access-control-allow-origin", "*".into()),
            ("cache-control", cache.into()),
            ("etag", "\"a\"".into()),
            ("content-length", "100".into()),
            ("accept-ranges", "bytes".into()),
            ("content-range", format!("bytes {}-{}/100", body.start, body.end.saturating_sub(1))),
        ];
        serve::Reply { status, headers: headers.into(), body: body.collect() }
    };
    let mut gzip = reply(200, 0..0);
    gzip.body = vec![0x1f, 0x8b];
    gzip.headers.insert("content-encoding", "gzip".into());
    let mut beyond = reply(416, 0..0);
    beyond.headers.insert("content-range", "bytes */100".into());
    serve::Asked {
        url: "http://h/1".into(),
        kind,
        live: !segment,
        plain: reply(200, 0..100),
        head: reply(200, 0..0),
        same: reply(304, 0..0),
        other: reply(200, 0..100),
        gzip,
        part: reply(206, 1..11),
        tail: reply(206, 90..100),
        beyond,
    }
}

#[test]
fn each_fault_of_answers_is_found() {
    type Fault = fn(&mut serve::Asked);
    fn unset(reply: &mut serve::Reply, name: &str) {
        reply.headers.remove(name);
    }
    let both: [(&str, Fault); 8] = [
        (serve::TYPE, |asked| unset(&mut asked.plain, "content-type")),
        (serve::TYPE, |asked| asked.plain.status = 500),
        (serve::CORS, |asked| unset(&mut asked.plain, "access-control-allow-origin")),
        (serve::ETAG, |asked| unset(&mut asked.plain, "etag")),
        (serve::ETAG, |asked| asked.same.status = 200),
        (serve::ETAG, |asked| asked.other.status = 304),
        (serve::HEAD, |asked| asked.head.status = 405),
        (serve::CACHE, |asked| unset(&mut asked.plain, "cache-control")),
    ];
    let segment: [(&str, Fault); 6] = [
        (serve::HEAD, |asked| unset(&mut asked.head, "content-length")),
        (serve::RANGE, |asked| unset(&mut asked.plain, "accept-ranges")),
        (serve::RANGE, |asked| asked.part.status = 200),
        (serve::RANGE, |asked| asked.tail.body[0] = 0),
        (serve::RANGE, |asked| asked.beyond.status = 200),
        (serve::CACHE, |asked| drop(asked.plain.headers.insert("cache-control", "max-age=60".into()))),
    ];
    let live: [(&str, Fault); 3] = [
        (serve::GZIP, |asked| unset(&mut asked.gzip, "content-encoding")),
        (serve::GZIP, |asked| asked.gzip.body = b"#EXTM3U".to_vec()),
        (serve::CACHE, |asked| drop(asked.plain.headers.insert("cache-control", "max-age=60".into()))),
    ];
    let cases = [(true, &both[..]), (false, &both[..]), (true, &segment[..]), (false, &live[..])];
    for (is_segment, faults) in cases {
        for (rule, fault) in faults {
            let mut asked = answers(is_segment);
            assert_eq!(serve::rules(&asked), [], "before the fault");
            fault(&mut asked);
            let findings: Vec<Finding> = serve::rules(&asked);
            assert!(findings.iter().any(|finding| finding.rule == *rule), "nothing of {rule} in {findings:?}");
        }
    }
}
