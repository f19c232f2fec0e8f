//! Segments that an app cut itself, pushed over HTTP by number: in any order, twice, over a crash, and as clients of
//! Livepeer's HTTP push do it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use millrace_proto::api::{Pushed, Stream, StreamState};

use crate::{
    api::Answer,
    clip::{Times, field, live_source, text, times, tool},
    house::House,
    live::{assert_every_frame, recording, small_ladder},
    playlist::{Master, Media},
    push::push,
    wait::s,
};

/// `source` cut by ffmpeg at its keyframes, every 2 s, as it is, with more of ffmpeg's arguments.
#[track_caller]
pub(crate) fn pieces(house: &House, source: &Path, format: &str, ending: &str, more: &str) -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir_in(house.scratch()).expect("a folder can be made");
    let names = folder.path().join(format!("%03d.{ending}"));
    let cut = ["-f", "segment", "-segment_time", "2", "-segment_format", format, text(&names)];
    let more: Vec<_> = more.split_whitespace().collect();
    let args = [&["-v", "error", "-nostdin", "-i", text(source), "-map", "0", "-c", "copy"], &more[..], &cut].concat();
    tool("ffmpeg", &args);
    let mut files: Vec<_> = fs::read_dir(&folder).expect("it is there").map(|file| file.unwrap().path()).collect();
    files.sort_unstable();
    files.iter().map(|file| fs::read(file).expect("it was written")).collect()
}

#[track_caller]
pub(crate) fn put(house: &House, stream: &Stream, number: usize, bytes: &[u8]) -> Answer {
    let key = fs::read_to_string(house.data().join("admin.key")).expect("the key is there");
    let key = format!("Bearer {}", key.trim());
    let path = format!("/v1/streams/{}/segments/{number}", stream.id);
    house.api.send("PUT", &path, &[("authorization", &key)], Some(bytes)).expect("the server answers")
}

#[track_caller]
pub(crate) fn put_all(house: &House, stream: &Stream, pieces: &[Vec<u8>], numbers: &[usize]) {
    for &number in numbers {
        let answer = put(house, stream, number, &pieces[number]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let told: Pushed = answer.json();
        assert_eq!((told.number, told.bytes), (number as u64, pieces[number].len() as u64));
    }
}

#[track_caller]
fn end(house: &House, stream: &Stream) -> Master {
    let answer = house.api.call("POST", &format!("/v1/streams/{}/end", stream.id), None);
    assert_eq!(answer.status, 200, "{}", answer.text());
    recording(house, stream)
}

/// The name in the address of Livepeer's form: the stream key.
fn key(stream: &Stream) -> String {
    stream.ingest.as_ref().and_then(|ingest| ingest.stream_key.clone()).expect("a new stream tells its key")
}

#[test]
fn segments_in_any_order_and_twice_are_one_unbroken_stream() {
    let house = House::with_workers(1);
    let source = live_source(10);
    let pieces = pieces(&house, &source, "mpegts", "ts", "");
    assert_eq!(pieces.len(), 5);
    let stream = house.api.create("live", &small_ladder());
    put_all(&house, &stream, &pieces, &[1, 0, 2, 2, 4]);
    assert_eq!(house.api.stream(&stream.id).state, StreamState::Live);
    put_all(&house, &stream, &pieces, &[0, 3]);
    assert_eq!(put(&house, &stream, 1, &pieces[0]).error(409).code, "different_segment");
    let recorded = end(&house, &stream);
    assert_every_frame(&recorded, &source);
    for url in recorded.all() {
        let list = Media::fetch(&house.api, url).expect("the playlist is there");
        assert_eq!(list.segments.len(), 5, "{}", list.text);
        assert!(list.segments.iter().skip(1).all(|segment| !segment.discontinuity), "{}", list.text);
    }
    let sounds = times(recorded.audio.as_ref().expect("it has sound"), "a:0").offsets_s();
    let gap = sounds.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    assert!(gap < 1_025.0 / 48_000.0, "a seam of {gap} s in the sound");
    assert_eq!(put(&house, &stream, 2, &pieces[2]).status, 200, "what is known stays known");
    assert_eq!(put(&house, &stream, 5, &pieces[2]).error(409).code, "stream_ended");
}

#[test]
fn what_was_acknowledged_outlives_kill_9_and_is_taken_once() {
    let mut house = House::with_workers(1);
    let source = live_source(24);
    let pieces = pieces(&house, &source, "mpegts", "ts", "");
    assert_eq!(pieces.len(), 12);
    let stream = house.api.create("live", &small_ladder());
    // At once after the answer, so in the middle of cutting; the second time with one that waits for a lower number.
    put_all(&house, &stream, &pieces, &[0, 1, 2, 3]);
    house.kill_orchestrator();
    house.start_orchestrator();
    put_all(&house, &stream, &pieces, &[3, 4, 6]);
    house.kill_orchestrator();
    house.start_orchestrator();
    put_all(&house, &stream, &pieces, &[5, 7, 8, 9]);
    house.kill_orchestrator();
    house.start_orchestrator();
    put_all(&house, &stream, &pieces, &[10, 11]);
    let recorded = end(&house, &stream);
    let wanted = times(text(&source), "v:0").pts.len();
    for rung in &recorded.rungs {
        assert_eq!(times(&rung.url, "v:0").pts.len(), wanted, "frames of {}", rung.url);
        let list = Media::fetch(&house.api, &rung.url).expect("the playlist is there");
        assert_eq!(list.segments.len(), 12, "{}", list.text);
    }
}

#[test]
fn a_segment_that_never_comes_is_a_discontinuity_and_bad_ones_are_told() {
    let house = House::with_workers(1);
    let pieces = pieces(&house, &live_source(10), "mp4", "mp4", "");
    let stream = house.api.create("live", &small_ladder());
    put_all(&house, &stream, &pieces, &[0, 1]);
    put_all(&house, &stream, &pieces, &[4]);
    assert_eq!(put(&house, &stream, 5, b"").error(400).code, "empty_segment");
    for bad in ["x", "-1", "1.5", "9007199254740992"] {
        let path = format!("/v1/streams/{}/segments/{bad}", stream.id);
        assert_eq!(house.api.call("PUT", &path, None).error(400).code, "bad_number");
    }
    let path = format!("/live/{}/5.ts", key(&stream));
    let answer = house.api.send("PUT", &path, &[("accept", "multipart/mixed")], Some(&[7; 4_096])).expect("an answer");
    assert_eq!(answer.error(400).code, "bad_segment");
    assert_eq!(put(&house, &stream, 2, &pieces[2]).error(409).code, "number_passed");
    // RTMP on the same key is turned away meanwhile, and the other way round.
    assert!(!push(&house, &stream, &live_source(10)).wait(s(30)).success());
    let recorded = end(&house, &stream);
    for rung in &recorded.rungs {
        let list = Media::fetch(&house.api, &rung.url).expect("the playlist is there");
        assert_eq!(list.segments.len(), 3, "{}", list.text);
        assert!(list.segments[2].discontinuity, "{}", list.text);
    }
    let other = house.api.create("live", &small_ladder());
    let mut publisher = push(&house, &other, &live_source(10));
    house.api.until(&other, StreamState::Live, s(20));
    assert_eq!(put(&house, &other, 0, &pieces[0]).error(409).code, "publisher_live");
    assert!(publisher.wait(s(60)).success(), "{}", publisher.log());
}

/// The parts of a `multipart/mixed` answer: headers as text, and the body.
#[track_caller]
fn parts(answer: &Answer) -> Vec<(String, Vec<u8>)> {
    let kind = answer.header("content-type");
    let boundary = kind.strip_prefix("multipart/mixed; boundary=").unwrap_or_else(|| panic!("{kind}"));
    let (open, mut rest) = (format!("--{boundary}\r\n"), &answer.body[..]);
    let mut parts = Vec::new();
    while let Some(part) = rest.strip_prefix(open.as_bytes()) {
        let at = part.windows(4).position(|four| four == b"\r\n\r\n").expect("headers end");
        let head = String::from_utf8(part[..at].to_vec()).expect("headers are text");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
        let (body, after) = part[at + 4..].split_at(length.parse().expect("a number"));
        parts.push((head, body.to_vec()));
        rest = after.strip_prefix(b"\r\n").expect("a part ends with its line");
    }
    assert_eq!(rest, format!("--{boundary}--\r\n").as_bytes());
    parts
}

/// Pushes `pieces` as Livepeer's clients do. Returns each rendition's parts, one behind the other, and the pieces'.
#[track_caller]
fn push_as_livepeers_clients_do(house: &House, stream: &Stream, pieces: &[Vec<u8>]) -> [PathBuf; 3] {
    let headers = [("accept", "multipart/mixed"), ("content-duration", "2000"), ("content-resolution", "640x360")];
    let mut whole = [Vec::new(), Vec::new(), pieces.concat()];
    for (number, piece) in pieces.iter().enumerate() {
        let path = format!("/live/{}/{number}.ts", key(stream));
        let method = if number % 2 == 0 { "PUT" } else { "POST" };
        let answer = house.api.send(method, &path, &headers, Some(piece)).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let parts = parts(&answer);
        assert_eq!(parts.len(), 2, "one for each rendition");
        for (at, name) in ["360p", "240p"].into_iter().enumerate() {
            let (head, body) = &parts[at];
            assert!(head.contains("Content-Type: video/mp2t\r\n"), "{head}");
            assert!(head.contains(&format!("Rendition-Name: {name}\r\n")), "{head}");
            let disposition = format!("Content-Disposition: attachment; filename=\"{name}_{number}.ts\"");
            assert!(head.contains(&disposition), "{head}");
            whole[at].extend(body);
        }
    }
    let mut names = ["360p.ts", "240p.ts", "source.ts"].into_iter().zip(whole);
    std::array::from_fn(|_| {
        let (name, bytes) = names.next().expect("there are three");
        let file = house.scratch().join(format!("{}-{name}", stream.id));
        fs::write(&file, bytes).expect("a file can be written");
        file
    })
}

/// A hash of each coded sound, in order.
#[track_caller]
fn sounds(file: &Path) -> Vec<String> {
    let copy = ["-v", "error", "-nostdin", "-i", text(file), "-map", "0:a", "-c", "copy", "-f", "framemd5", "-"];
    let lines = tool("ffmpeg", &copy);
    let rows = lines.lines().filter(|line| !line.starts_with('#'));
    rows.filter_map(|line| line.rsplit(',').next()).map(|hash| hash.trim().to_owned()).collect()
}

/// Decodes all of a file; ffmpeg has nothing to say.
#[track_caller]
fn assert_plays(file: &Path) {
    let said = tool("ffmpeg", &["-v", "error", "-nostdin", "-xerror", "-i", text(file), "-f", "null", "-"]);
    assert_eq!(said, "", "{}", file.display());
}

#[test]
fn clients_of_livepeers_http_push_get_transport_streams_at_their_own_times() {
    let house = House::with_workers(1);
    let source = live_source(10);
    let pieces = pieces(&house, &source, "mpegts", "ts", "");
    let stream = house.api.create("live", &small_ladder());
    let [large, small, sent] = push_as_livepeers_clients_do(&house, &stream, &pieces);
    for (file, height) in [(&large, "360"), (&small, "240")] {
        for track in ["v:0", "a:0"] {
            assert_eq!(times(text(file), track), times(text(&sent), track), "{track} of {}", file.display());
        }
        assert_eq!(field(text(file), "v:0", "height"), height);
        assert_eq!(sounds(file), sounds(&sent), "the sound is as it came");
        assert_plays(file);
    }
    // Asked for again, a segment is the same.
    let headers = [("accept", "multipart/mixed")];
    let path = format!("/live/{}/1.ts", key(&stream));
    let first = house.api.send("PUT", &path, &headers, Some(&pieces[1])).expect("an answer");
    let again = house.api.send("PUT", &path, &headers, Some(&pieces[1])).expect("an answer");
    assert_eq!(parts(&first), parts(&again));
    for wrong in [format!("{}_wrong", stream.id), "nobody_wrong".into()] {
        let answer = house.api.send("PUT", &format!("/live/{wrong}/9.ts"), &[], Some(&pieces[0])).expect("an answer");
        assert_eq!(answer.error(404).code, "unknown_stream");
    }
    let bare = house.api.send("PUT", &format!("/live/{}/9.ts", stream.id), &[], Some(&pieces[0])).expect("an answer");
    assert_eq!(bare.error(401).code, "unauthorized");
    assert_every_frame(&end(&house, &stream), &source);
}

#[test]
fn sound_that_is_no_aac_comes_back_in_sync() {
    let house = House::with_workers(1);
    let pieces = pieces(&house, &live_source(10), "mpegts", "ts", "-c:a mp2 -b:a 128k");
    let stream = house.api.create("live", &small_ladder());
    let [large, _, sent] = push_as_livepeers_clients_do(&house, &stream, &pieces);
    assert_eq!(times(text(&large), "v:0"), times(text(&sent), "v:0"));
    assert_eq!(field(text(&large), "a:0", "codec_name"), "aac");
    let (ours, theirs) = (times(text(&large), "a:0"), times(text(&sent), "a:0"));
    // One frame of an encoder that has to begin, and the ends.
    assert!((ours.start_s() - theirs.start_s()).abs() < 0.05, "{} {}", ours.start_s(), theirs.start_s());
    let end_s = |times: &Times| times.pts[times.pts.len() - 1] as f64 / times.timescale as f64;
    assert!((end_s(&ours) - end_s(&theirs)).abs() < 0.05, "{} {}", end_s(&ours), end_s(&theirs));
    assert_plays(&large);
}

#[test]
fn renditions_are_mp4_where_that_is_asked_for() {
    let house = House::with_workers(1);
    let source = live_source(10);
    let stream = house.api.create("live", &small_ladder());
    let pushed = pieces(&house, &source, "mpegts", "ts", "");
    let admin = fs::read_to_string(house.data().join("admin.key")).expect("the key is there");
    let admin = format!("Bearer {}", admin.trim());
    let ask = |path: &str, accept: &str| {
        let headers = [("authorization", &*admin), ("accept", accept)];
        let answer = house.api.send("PUT", path, &headers, Some(&pushed[0])).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        parts(&answer)
    };
    let (mine, livepeers) = (format!("/v1/streams/{}/segments/0", stream.id), format!("/live/{}/0", key(&stream)));
    for (path, accept) in [(&mine, "multipart/mixed"), (&format!("{livepeers}.mp4"), "multipart/mixed")] {
        let parts = ask(path, accept);
        for ((head, body), name) in parts.iter().zip(["360p", "240p"]) {
            assert!(head.contains("Content-Type: video/mp4\r\n"), "{head}");
            assert!(head.contains(&format!("filename=\"{name}_0.mp4\"")), "{head}");
            let file = house.scratch().join(format!("{name}_0.mp4"));
            fs::write(&file, body).expect("a file can be written");
            assert_eq!(times(text(&file), "v:0").pts.len(), 48, "frames in {name}");
        }
        assert!(parts[2].0.contains("Rendition-Name: audio\r\n"), "{}", parts[2].0);
    }
    let streams = ask(&mine, "multipart/mixed, video/mp2t");
    assert_eq!(streams, ask(&format!("{livepeers}.ts"), "multipart/mixed"));
}
