//! Publishers by SRT: real ffmpeg and GStreamer, over a good line, a lossy one and none, and those who are turned away.

mod line;

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use millrace_proto::api::{Stream, StreamState};
use serde_json::Value;

use crate::{
    clip::{live_source, text, times},
    house::House,
    live::{assert_every_frame, recording, small_ladder, until_playable},
    playlist::Media,
    program::Program,
    wait::{s, until},
    watch::Watch,
};
use line::Line;

/// What lets a house take SRT, for its configuration.
pub(crate) const LISTENS: &str = "[srt]\nlisten = \"127.0.0.1:0\"\n";

/// The same at a port that stays the same when the orchestrator starts anew.
fn at_one_port() -> String {
    let free =
        UdpSocket::bind("127.0.0.1:0").expect("a free port").local_addr().expect("a bound socket has an address");
    format!("[srt]\nlisten = \"{free}\"\n")
}

/// Where the house takes SRT.
#[track_caller]
fn listens(house: &House) -> SocketAddr {
    let run = fs::read(house.data().join("run.json")).expect("the orchestrator says where it listens");
    let run: Value = serde_json::from_slice(&run).expect("it is JSON");
    run["srt"].as_str().and_then(|at| at.parse().ok()).expect("it listens for SRT")
}

fn key(stream: &Stream) -> &str {
    let ingest = stream.ingest.as_ref().expect("a new live stream has an ingest address");
    ingest.stream_key.as_deref().expect("a new stream tells its key")
}

/// ffmpeg throws away what it has not sent yet when it closes, unless it is told to wait.
fn url(at: SocketAddr, stream_id: &str) -> String {
    format!("srt://{at}?streamid={stream_id}&pkt_size=1316&linger=10")
}

#[track_caller]
fn publish(house: &House, name: &str, url: &str, file: &Path) -> Program {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-hide_banner", "-loglevel", "info", "-nostats", "-nostdin", "-re", "-i", text(file)])
        .args(["-c", "copy", "-f", "mpegts", url]);
    Program::start(name, &mut command, house.log_path(name))
}

/// Pushes `file` once, in real time, as it is.
#[track_caller]
pub(crate) fn push_srt(house: &House, stream: &Stream, file: &Path) -> Program {
    publish(house, &format!("publisher-{}", stream.id), &url(listens(house), key(stream)), file)
}

#[track_caller]
fn assert_turned_away(house: &House, name: &str, url: &str) {
    let mut publisher = publish(house, name, url, &live_source(10));
    assert!(!publisher.wait(s(30)).success(), "{name} was taken: {}", publisher.log());
}

#[test]
fn an_encrypted_push_is_recorded_whole_and_no_log_tells_a_secret() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("passphrase");
    let passphrase = "correct-horse-battery";
    fs::write(&file, format!("{passphrase}\n")).expect("a file can be written");
    let mut house = House::configured(1, &format!("{LISTENS}passphrase_file = {:?}\n", text(&file)));
    house.log_everything();
    let source = live_source(10);
    let stream = house.api.create("live", &small_ladder());
    let told = stream.ingest.as_ref().and_then(|ingest| ingest.srt.clone());
    assert_eq!(told, Some(format!("srt://{}", listens(&house))));
    let at = listens(&house);
    let plain = url(at, &format!("#!::r={},m=publish", key(&stream)));
    assert_turned_away(&house, "without", &plain);
    assert_turned_away(&house, "wrong", &format!("{plain}&passphrase=wrong-horse-battery"));
    let mut publisher = publish(&house, "publisher", &format!("{plain}&passphrase={passphrase}"), &source);
    let status = publisher.wait(s(60));
    assert!(status.success(), "ffmpeg was turned away: {}", publisher.log());
    assert_every_frame(&recording(&house, &stream), &source);

    let log = house.log();
    assert!(log.contains("TRACE") && log.contains("srt publisher began"), "the log does not hold everything");
    let (_, secret) = key(&stream).rsplit_once('_').expect("a key is an id and a secret");
    for secret in [secret, passphrase] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "a secret is in the log");
    }
}

#[test]
fn a_publisher_that_comes_back_continues_and_others_are_turned_away() {
    let house = House::configured(1, LISTENS);
    let stream = house.api.create("live", &small_ladder());
    let watch = Watch::start(&house.api, &stream.playback.hls);
    let at = listens(&house);
    // Killed, so that it says no goodbye.
    let mut publisher = push_srt(&house, &stream, &live_source(62));
    until_playable(&house, &stream, 2);
    assert_turned_away(&house, "second", &url(at, key(&stream)));
    assert_turned_away(&house, "unknown", &url(at, &format!("{}x", key(&stream))));
    assert_turned_away(&house, "nameless", &format!("srt://{at}?linger=1"));
    assert_turned_away(&house, "player", &url(at, &format!("#!::r={},m=request", key(&stream))));
    assert!(publisher.ended().is_none(), "the first publisher goes on: {}", publisher.log());
    publisher.kill();
    house.api.until(&stream, StreamState::Interrupted, s(60));

    let mut publisher = publish(&house, "again", &url(at, &format!("publish:{}", key(&stream))), &live_source(10));
    house.api.until(&stream, StreamState::Live, s(20));
    assert!(publisher.wait(s(60)).success(), "{}", publisher.log());
    let recorded = recording(&house, &stream);
    for (url, seen) in watch.finish() {
        let marks = seen.values().filter(|segment| segment.discontinuity).count();
        assert_eq!(marks, 1, "discontinuities of {url}: {seen:#?}");
    }
    for rung in &recorded.rungs {
        let list = Media::fetch(&house.api, &rung.url).expect("a recording is there");
        let from = list.segments.iter().position(|segment| segment.discontinuity).expect("a discontinuity");
        let after_s: f64 = list.segments[from..].iter().map(|segment| segment.duration_s).sum();
        assert!((after_s - 10.0).abs() < 0.1, "the second push took {after_s} s:\n{}", list.text);
    }
    let refused = metric(&house, "millrace_srt_refused");
    assert!(refused >= 4.0, "{refused} were refused");
}

/// What `/metrics` says of `name`.
#[track_caller]
fn metric(house: &House, name: &str) -> f64 {
    let answer = house.api.send("GET", "/metrics", &[], None).expect("an answer");
    let text = answer.text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::to_owned);
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

#[test]
fn a_stream_by_srt_goes_on_after_kill_9_of_the_orchestrator() {
    let mut house = House::configured(1, &at_one_port());
    let stream = house.api.create("live", &small_ladder());
    let watch = Watch::start(&house.api, &stream.playback.hls);
    let mut publisher = push_srt(&house, &stream, &live_source(62));
    until_playable(&house, &stream, 2);
    let kept = house.api.stream(&stream.id).progress.segments;
    house.kill_orchestrator();
    until("the publisher to notice", s(30), || publisher.ended());
    house.start_orchestrator();
    let now = house.api.stream(&stream.id);
    assert!(now.progress.segments >= kept, "{kept} were durable, now {:?}", now.progress);
    let mut publisher = push_srt(&house, &stream, &live_source(10));
    assert!(publisher.wait(s(60)).success(), "{}", publisher.log());
    recording(&house, &stream);
    for (url, seen) in watch.finish() {
        let from = seen.values().rposition(|segment| segment.discontinuity).expect("a discontinuity");
        let after_s: f64 = seen.values().skip(from).map(|segment| segment.duration_s).sum();
        assert!((after_s - 10.0).abs() < 0.1, "{url}: the last push took {after_s} s");
    }
}

#[test]
fn a_lossy_line_loses_nothing_and_a_dead_one_only_its_time() {
    let house = House::configured(1, LISTENS);
    let source = live_source(10);
    // One packet in twelve, either way.
    let line = Line::to(listens(&house), 7, 12);
    let stream = house.api.create("live", &small_ladder());
    let address = format!("{}&latency=1000000", url(line.at, key(&stream)));
    let mut publisher = publish(&house, "lossy", &address, &source);
    assert!(publisher.wait(s(60)).success(), "{}", publisher.log());
    assert!(line.lost() > 50, "{} packets were lost", line.lost());
    assert_every_frame(&recording(&house, &stream), &source);

    let line = Line::to(listens(&house), 8, 1_000_000);
    let stream = house.api.create("live", &small_ladder());
    let mut publisher = publish(&house, "cut", &url(line.at, key(&stream)), &live_source(24));
    until_playable(&house, &stream, 1);
    line.cut_for(s(2));
    assert!(publisher.wait(s(60)).success(), "{}", publisher.log());
    let recorded = recording(&house, &stream);
    let wanted = times(text(&live_source(24)), "v:0").offsets_s();
    for rung in &recorded.rungs {
        let got = times(&rung.url, "v:0").offsets_s();
        let missing = wanted.len() - got.len();
        assert!((24..120).contains(&missing), "{missing} frames are missing");
        let strange = got.iter().find(|at| !wanted.iter().any(|told| (*at - told).abs() < 0.002));
        assert_eq!(strange, None, "a frame of {} is at a time of none", rung.url);
        let list = Media::fetch(&house.api, &rung.url).expect("a recording is there");
        assert!((list.length_s() - 24.0).abs() < 0.2, "{} s:\n{}", list.length_s(), list.text);
    }
    assert!(metric(&house, "millrace_srt_lost_packets") > 0.0);
}

#[test]
fn a_flood_of_packets_takes_no_memory_and_no_frame_of_others() {
    let mut house = House::configured(1, LISTENS);
    let source = live_source(24);
    let at = listens(&house);
    let stream = house.api.create("live", &small_ladder());
    let address = format!("{}&latency=2000000", url(at, key(&stream)));
    let mut publisher = publish(&house, "publisher", &address, &source);
    until_playable(&house, &stream, 1);
    let before = house.memory_bytes();
    let stop = Arc::new(AtomicBool::new(false));
    let flood = thread::spawn({
        let stop = stop.clone();
        move || flood(at, &stop)
    });
    let mut peak = 0;
    let status = until("the end of the push", s(60), || {
        peak = peak.max(house.memory_bytes());
        publisher.ended()
    });
    stop.store(true, Ordering::Relaxed);
    let sent = flood.join().expect("the flood ends");
    assert!(status.success(), "{}", publisher.log());
    println!("{sent} packets from 64 addresses; memory went from {before} to {peak} bytes");
    assert!(sent > 10_000, "{sent} packets are no flood");
    assert!(peak < before + (48 << 20), "memory went from {before} to {peak} bytes");
    assert_every_frame(&recording(&house, &stream), &source);
    house.assert_up();
}

/// Noise, first halves of handshakes and second ones with cookies that were never given, about 2,000 a second from 64
/// addresses. Returns how many.
fn flood(at: SocketAddr, stop: &AtomicBool) -> u64 {
    let sockets: Vec<_> = (0..64).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a free port")).collect();
    let mut noise = line::Noise::new(3);
    let mut sent = 0;
    let began = Instant::now();
    while !stop.load(Ordering::Relaxed) && began.elapsed() < s(60) {
        for _ in 0..20 {
            let mut packet: Vec<u8> = (0..16 + noise.below(1_400)).map(|_| noise.below(256) as u8).collect();
            let kind = noise.below(3);
            if kind > 0 {
                packet.resize(64, 0);
                // A control packet of type 0, a handshake, for socket 0 (draft-sharabayko-srt, 3.2).
                packet[..4].copy_from_slice(&[0x80, 0, 0, 0]);
                packet[12..16].fill(0);
                let asks: u32 = if kind == 1 { 1 } else { 0xffff_ffff };
                packet[16..20].copy_from_slice(&(if kind == 1 { 4_u32 } else { 5 }).to_be_bytes());
                packet[20..24].copy_from_slice(&[0, 0, 0, 2]);
                packet[28..32].copy_from_slice(&1_500_u32.to_be_bytes());
                packet[36..40].copy_from_slice(&asks.to_be_bytes());
            }
            let socket = &sockets[noise.below(64) as usize];
            // A full buffer of the kernel's is a flood too.
            sent += u64::from(socket.send_to(&packet, at).is_ok());
        }
        thread::sleep(Duration::from_millis(10));
    }
    sent
}

#[test]
fn gstreamers_srtsink_is_understood() {
    let house = House::configured(1, LISTENS);
    let source = live_source(10);
    let stream = house.api.create("live", &small_ladder());
    let address = format!("srt://{}?mode=caller&streamid={}", listens(&house), key(&stream));
    let pipeline = format!(
        "filesrc location={} ! qtdemux name=d  mpegtsmux name=m alignment=7 ! srtsink uri={address} \
         d.video_0 ! queue ! h264parse ! m. d.audio_0 ! queue ! aacparse ! m.",
        text(&source)
    );
    let mut command = Command::new("gst-launch-1.0");
    command.args(pipeline.split_whitespace());
    let mut publisher = Program::start("publisher", &mut command, house.log_path("publisher"));
    assert!(publisher.wait(s(60)).success(), "GStreamer was turned away: {}", publisher.log());
    let wanted = times(text(&source), "v:0").offsets_s();
    for rung in &recording(&house, &stream).rungs {
        let got = times(&rung.url, "v:0").offsets_s();
        // It closes without waiting for what is on its way.
        assert!(got.len() + 24 > wanted.len(), "{} frames of {} in {}", got.len(), wanted.len(), rung.url);
        assert!(got.iter().zip(&wanted).all(|(got, wanted)| (got - wanted).abs() < 0.002), "{}", rung.url);
    }
}
