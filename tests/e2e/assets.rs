//! What is made of segments besides playlists, as those who fetch it see it: I-frames, movies, pictures.

use std::{fs, path::Path};

use millrace_proto::api::{Stream, StreamState};

use crate::{
    api::Answer,
    clip::{clip, field, text, times, tool},
    house::House,
    live::small_ladder,
    playlist::resolve,
    table::outputs::{self, RECORDED},
    wait::s,
};

/// A recording of the trailer's first 22 s: it starts black, its sound is encoded anew, its key frames are far apart.
#[track_caller]
fn recorded(house: &House) -> (Stream, std::path::PathBuf) {
    let source = crate::clip::made("assets.mp4", &["-i", text(&clip("trailer.mp4"))], "-t 22 -c copy");
    let stream = house.api.create("file", &small_ladder());
    assert_eq!((stream.playback.dash.as_deref(), stream.playback.mp4.len()), (None, 0), "nothing is there yet");
    house.api.upload_all(&stream, &fs::read(&source).expect("the clip can be read"));
    (house.api.until(&stream, StreamState::Ended, s(90)), source)
}

#[track_caller]
fn fetched(house: &House, url: &str, to: &Path) -> Answer {
    let answer = house.api.get(url);
    assert_eq!(answer.status, 200, "{url}: {}", answer.text());
    fs::write(to, &answer.body).expect("a file can be written");
    answer
}

/// Every frame at its time, counted from the first one. Returns how many they are.
#[track_caller]
fn assert_same_frames(got: &str, wanted: &str) -> usize {
    let (got, wanted) = (times(got, "v:0").offsets_s(), times(wanted, "v:0").offsets_s());
    assert_eq!(got.len(), wanted.len(), "frames");
    let off_s = got.iter().zip(&wanted).map(|(got, wanted)| (got - wanted).abs()).fold(0.0, f64::max);
    assert!(off_s < 0.000_1, "a frame is {off_s} s off");
    got.len()
}

/// How late the sound of a file is after its pictures, in seconds, as its index says.
#[track_caller]
fn late_s(file: &str) -> f64 {
    let start = |track| field(file, track, "start_time").parse::<f64>().expect("a time is a number");
    start("a:0") - start("v:0")
}

#[test]
fn a_recording_has_i_frames_one_file_for_each_rung_a_poster_and_thumbnails() {
    let house = House::with_workers(2);
    let (stream, source) = recorded(&house);
    let i_frames = assert_i_frames(&house, &stream);
    let [rung, original] = assert_file(&house, &stream, &source);
    let [poster, sprites] = assert_pictures(&house, &stream);
    outputs::tell(&[
        ("I-frame playlists", RECORDED, i_frames),
        ("MP4 of a rung", RECORDED, rung),
        ("MP4 of the source", RECORDED, original),
        ("poster", RECORDED, poster),
        ("sprites and WebVTT", RECORDED, sprites),
    ]);
    // All of it goes with the stream.
    assert_eq!(house.api.call("DELETE", &format!("/v1/streams/{}", stream.id), None).status, 204);
    for name in ["360p.mp4", "poster.jpg", "sprite-0.jpg"] {
        assert_eq!(house.api.get(&format!("/hls/{}/{name}", stream.id)).error(404).code, "unknown_stream");
    }
    let left = fs::read_dir(house.data().join("media").join(stream.id.as_str()));
    assert!(left.is_err() || left.is_ok_and(|mut files| files.next().is_none()), "files are left");
}

/// Each I-frame is the start of a segment, and one picture that decodes by itself.
#[track_caller]
fn assert_i_frames(house: &House, stream: &Stream) -> String {
    let at = |name: &str| house.scratch().join(name);
    let master = house.api.get(&stream.playback.hls).text();
    let uris: Vec<_> = master.lines().filter_map(|line| line.strip_prefix("#EXT-X-I-FRAME-STREAM-INF:")).collect();
    assert_eq!(uris.len(), 2, "{master}");
    let uri = uris[0].rsplit_once("URI=\"").expect("it has an address").1.trim_end_matches('"');
    let list_url = resolve(&stream.playback.hls, uri);
    let list = house.api.get(&list_url).text();
    assert!(list.contains("#EXT-X-I-FRAMES-ONLY\n") && list.ends_with("#EXT-X-ENDLIST\n"), "{list}");
    let map = list.split_once("#EXT-X-MAP:URI=\"").expect("a header").1.split_once('"').expect("its end").0;
    let init = house.api.get(&resolve(&list_url, map)).body;
    let mut ranges = list.lines().filter_map(|line| line.strip_prefix("#EXT-X-BYTERANGE:"));
    let files = list.lines().filter(|line| !line.starts_with('#'));
    let (mut count, mut bits_max) = (0, 0.0_f64);
    let lengths = list.lines().filter_map(|line| line.strip_prefix("#EXTINF:")?.trim_end_matches(',').parse().ok());
    for (file, length_s) in files.zip(lengths.collect::<Vec<f64>>()) {
        let range = ranges.next().expect("every entry has a range");
        let bytes: u64 = range.strip_suffix("@0").expect("it is a start").parse().expect("a number");
        let asked = format!("bytes=0-{}", bytes - 1);
        let part = house.api.send("GET", &resolve(&list_url, file), &[("range", &asked)], None).expect("an answer");
        assert_eq!((part.status, part.body.len() as u64), (206, bytes), "{file}");
        fs::write(at("i.mp4"), [&init[..], &part.body].concat()).expect("a file can be written");
        let args = ["-v", "fatal", "-read_intervals", "%+#1", "-show_entries", "frame=pict_type,key_frame"];
        let seen = tool("ffprobe", &[&args[..], &["-of", "csv=p=0", text(&at("i.mp4"))]].concat());
        assert!(seen.starts_with("1,I"), "{file}: {seen}");
        bits_max = bits_max.max(bytes as f64 * 8.0 / length_s);
        count += 1;
    }
    let segments = stream.progress.segments;
    assert!(count == segments && count > 2, "{count} I-frames of {segments} segments:\n{list}");
    let told: f64 = uris[0].split_once("BANDWIDTH=").unwrap().1.split(',').next().unwrap().parse().unwrap();
    assert!((told - bits_max).abs() < 2.0, "{told} bit/s are told, {bits_max} come");
    format!("{}, of {count} pictures for {segments} segments; each decodes by itself", uris.len())
}

/// One file has the source's frames and sound, its index first, and is served at any place.
#[track_caller]
fn assert_file(house: &House, stream: &Stream, source: &Path) -> [String; 2] {
    let at = |name: &str| house.scratch().join(name);
    assert_eq!(stream.playback.mp4.keys().collect::<Vec<_>>(), ["240p", "360p", "source"]);
    let url = &stream.playback.mp4["360p"];
    let whole = fetched(house, url, &at("360p.mp4"));
    assert_eq!((whole.header("content-type"), whole.header("accept-ranges")), ("video/mp4", "bytes"));
    assert!(whole.header("content-disposition").contains("a test-360p.mp4"), "{whole:?}");
    let moov = whole.body.windows(4).position(|four| four == b"moov").expect("an index");
    assert!(moov < 64, "the index is at {moov}");
    let file = at("360p.mp4");
    let frames = assert_same_frames(text(&file), text(source));
    let (late, wanted) = (late_s(text(&file)), late_s(text(source)));
    println!("the sound is {late} s late, {wanted} s in the source");
    assert!((late - wanted).abs() < 0.03, "the sound is {late} s late, not {wanted} s");
    let errors = tool("ffmpeg", &["-v", "warning", "-nostdin", "-i", text(&file), "-f", "null", "-"]);
    assert!(errors.is_empty(), "ffmpeg complains: {errors}");
    let (length, etag) = (whole.body.len(), whole.header("etag").to_owned());
    let send = |method: &str, headers: &[(&str, &str)]| house.api.send(method, url, headers, None).expect("an answer");
    for (range, wanted) in [
        ("bytes=0-9".to_owned(), 0..10),
        (format!("bytes={}-{}", moov, length / 2), moov..length / 2 + 1),
        ("bytes=-1000".to_owned(), length - 1_000..length),
        (format!("bytes={}-", length / 2), length / 2..length),
    ] {
        let part = send("GET", &[("range", &range)]);
        assert_eq!(part.status, 206, "{range}");
        assert!(part.body == whole.body[wanted.clone()], "{range}");
        assert_eq!(part.header("content-range"), format!("bytes {}-{}/{length}", wanted.start, wanted.end - 1));
    }
    assert_eq!(send("GET", &[("range", &format!("bytes={length}-"))]).status, 416);
    let stale = send("GET", &[("range", "bytes=0-9"), ("if-range", "\"other\"")]);
    assert_eq!((stale.status, stale.body.len()), (200, length));
    assert_eq!(send("GET", &[("if-none-match", &etag)]).status, 304);
    let head = send("HEAD", &[]);
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, &*length.to_string(), 0));
    // The source is not for everyone.
    let refused = house.api.get(&stream.playback.mp4["source"]).error(401).code;
    assert_eq!(refused, "unauthorized");
    let original = house.api.call("GET", &format!("/hls/{}/source.mp4", stream.id), None);
    assert!(original.header("cache-control").contains("private"), "{original:?}");
    fs::write(at("source.mp4"), &original.body).expect("a file can be written");
    let of_source = assert_same_frames(text(&at("source.mp4")), text(source));
    assert_eq!(house.api.get(&format!("/hls/{}/144p.mp4", stream.id)).error(404).code, "unknown_rendition");
    [
        format!("{frames} frames at the source's times, its sound in sync; the index is at byte {moov}; in ranges"),
        format!("{of_source} frames at their times; without the key 401 `{refused}`"),
    ]
}

/// The poster is not black though the clip starts so, and every thumbnail is on its sheet.
#[track_caller]
fn assert_pictures(house: &House, stream: &Stream) -> [String; 2] {
    let at = |name: &str| house.scratch().join(name);
    let poster = fetched(house, stream.playback.poster.as_deref().expect("a poster"), &at("poster.jpg"));
    assert_eq!(poster.header("content-type"), "image/jpeg");
    assert_eq!(field(text(&at("poster.jpg")), "v:0", "width,height"), "640,360");
    let stats = tool(
        "ffmpeg",
        &["-nostdin", "-i", text(&at("poster.jpg")), "-vf", "signalstats,metadata=print", "-f", "null", "-"],
    );
    let bright: f64 = stats.split_once("YAVG=").expect("a mean").1.split_whitespace().next().unwrap().parse().unwrap();
    assert!(bright > 40.0, "the poster's mean luma is {bright}");
    let thumbnails = stream.playback.thumbnails.as_deref().expect("thumbnails");
    let vtt = house.api.get(thumbnails);
    assert_eq!(vtt.header("content-type"), "text/vtt; charset=utf-8");
    let vtt = vtt.text();
    fetched(house, &resolve(thumbnails, "sprite-0.jpg"), &at("sprite-0.jpg"));
    let size = field(text(&at("sprite-0.jpg")), "v:0", "width,height");
    let (width, height) = size.split_once(',').expect("a size");
    let (width, height): (u32, u32) = (width.parse().unwrap(), height.parse().unwrap());
    let places: Vec<_> = vtt.lines().filter_map(|line| line.strip_prefix("sprite-0.jpg#xywh=")).collect();
    assert!(places.len() > 2 && vtt.starts_with("WEBVTT\n"), "{vtt}");
    for place in &places {
        let sides: Vec<u32> = place.split(',').map(|side| side.parse().expect("a number")).collect();
        assert!(sides[0] + sides[2] <= width && sides[1] + sides[3] <= height, "{place} is not on {size}");
    }
    assert_eq!(house.api.get(&resolve(thumbnails, "sprite-9.jpg")).error(404).code, "unknown_picture");
    ["640x360, not black though the stream begins so".into(), format!("{} pictures, each on its sheet", places.len())]
}
