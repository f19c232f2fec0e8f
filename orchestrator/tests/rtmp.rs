//! The RTMP server with real publishers: ffmpeg, `GStreamer` with its own RTMP and with librtmp.

#[path = "rtmp/desk.rs"]
mod desk;
#[path = "rtmp/hostile.rs"]
mod hostile;
#[path = "rtmp/media.rs"]
mod media;
#[path = "rtmp/peer.rs"]
mod peer;

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use millrace_cmaf::{Audio, Sample, Track, Video};
use millrace_orchestrator::ingest::{
    event::{Event, Refusal},
    rtmp::Config,
};
use tokio::time::timeout;

use desk::{Desk, collect};
use media::{Clip, Packet, Publisher};

/// Frames and packets arrive as they are in the file: each once, with its bytes, its time and its key flag.
fn assert_arrived(clip: &Clip, events: &[Event]) {
    let Some((Event::Tracks { video: Some(video), audio: Some(audio) }, rest)) = events.split_first() else {
        panic!("began with {:?}", events.first())
    };
    assert_eq!(video.video(), Some(Video { width: 320, height: 180, pixel_aspect: (1, 1), rotation_deg: 0 }));
    assert_eq!(audio.audio(), Some(Audio { sample_rate: 44_100, channels: 1 }));
    assert_eq!(rest.last(), Some(&Event::End));
    assert!(!rest.iter().any(|event| matches!(event, Event::Tracks { .. })), "a discontinuity");
    let pick = |pick: fn(&Event) -> Option<&Sample>| rest.iter().filter_map(pick).collect::<Vec<_>>();
    let pictures = pick(|event| if let Event::Video(sample) = event { Some(sample) } else { None });
    let frames = pick(|event| if let Event::Audio(sample) = event { Some(sample) } else { None });

    let arrived: Vec<_> = pictures.iter().map(|sample| Packet::of(sample)).collect();
    assert_eq!(arrived, clip.video);
    assert!(arrived[0].key && arrived.iter().filter(|packet| packet.key).count() > 1);
    assert!(pictures.is_sorted_by(|one, next| one.dts < next.dts));

    let arrived: Vec<_> = frames.iter().map(|sample| Packet::of(sample).hash).collect();
    let pushed: Vec<_> = clip.audio.iter().map(|packet| packet.hash.clone()).collect();
    assert_eq!(arrived, pushed);
    assert!(frames.is_sorted_by(|one, next| next.pts - one.pts == 1_024), "counted, not stamped");
    for (sample, packet) in frames.iter().zip(&clip.audio) {
        assert!((sample.pts * 1_000 / 44_100 - packet.pts).abs() <= 2, "{} at {} ms", sample.pts, packet.pts);
        assert!(sample.key && sample.duration == 1_024);
    }
}

#[tokio::test]
async fn ffmpeg_arrives_whole() {
    let mut desk = Desk::open(Config::default()).await;
    let clip = Clip::encode("ffmpeg").await;
    assert_eq!(clip.video.len(), 100);
    let mut ffmpeg = Publisher::ffmpeg(&["-i", clip.path(), "-c", "copy"], &desk.url("a-key?user=me"));
    let (key, events) = desk.admit(64).await;
    assert_eq!(key, "a-key");
    assert_arrived(&clip, &collect(events).await);
    let (status, said) = ffmpeg.end().await;
    assert!(status.success(), "{said}");
    desk.close().await;
}

#[tokio::test]
async fn timestamps_beyond_24_bits_arrive_too() {
    const OFFSET_S: i64 = 16_775;
    let mut desk = Desk::open(Config::default()).await;
    // 2^24 ms is in the middle of it.
    let clip = Clip::encode("late").await.later(OFFSET_S * 1_000);
    let offset = OFFSET_S.to_string();
    let arguments = ["-copyts", "-i", clip.path(), "-c", "copy", "-output_ts_offset", &offset];
    let mut ffmpeg = Publisher::ffmpeg(&arguments, &desk.url("late"));
    let (_, events) = desk.admit(64).await;
    assert_arrived(&clip, &collect(events).await);
    assert!(ffmpeg.end().await.0.success());
    desk.close().await;
}

/// `GStreamer` pushes what it also writes to a file.
async fn gstreamer_arrives_whole(sink: &str) {
    let mut desk = Desk::open(Config::default()).await;
    let clip = Clip::empty(sink);
    let pipeline = format!(
        "flvmux name=mux streamable=true ! tee name=both ! queue ! filesink location={} \
         both. ! queue ! {sink} location={} \
         videotestsrc num-buffers=75 ! video/x-raw,width=320,height=180,framerate=25/1 \
         ! x264enc speed-preset=ultrafast key-int-max=25 bframes=2 ! video/x-h264,profile=main ! h264parse ! queue ! mux. \
         audiotestsrc num-buffers=130 samplesperbuffer=1024 ! audio/x-raw,rate=44100,channels=1 \
         ! avenc_aac ! aacparse ! queue ! mux.",
        clip.path(),
        desk.url("gst"),
    );
    let mut gst = Publisher::gst(&pipeline);
    let (key, events) = desk.admit(64).await;
    assert_eq!(key, "gst");
    let events = collect(events).await;
    let (status, said) = gst.end().await;
    assert!(status.success(), "{said}");
    let clip = clip.probe().await;
    assert_eq!(clip.video.len(), 75);
    assert_arrived(&clip, &events);
    desk.close().await;
}

#[tokio::test]
async fn gstreamer_rtmp2_arrives_whole() {
    gstreamer_arrives_whole("rtmp2sink").await;
}

#[tokio::test]
async fn librtmp_arrives_whole() {
    gstreamer_arrives_whole("rtmpsink").await;
}

#[tokio::test]
async fn one_track_alone_begins_too() {
    let mut desk = Desk::open(Config::default()).await;
    for (source, video) in
        [(["-f", "lavfi", "-i", "testsrc2=s=64x64:d=3"], true), (["-f", "lavfi", "-i", "sine=d=3"], false)]
    {
        let codec = ["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"];
        let mut ffmpeg = Publisher::ffmpeg(&[&source[..], &codec].concat(), &desk.url("one"));
        let (_, events) = desk.admit(64).await;
        let events = collect(events).await;
        let Event::Tracks { video: first, audio: second } = &events[0] else { panic!("{:?}", events[0]) };
        assert_eq!((first.is_some(), second.is_some()), (video, !video));
        assert!(events.len() > 70 && events.last() == Some(&Event::End));
        assert!(ffmpeg.end().await.0.success());
    }
    desk.close().await;
}

#[tokio::test]
async fn a_lost_publisher_leaves_no_end() {
    let mut desk = Desk::open(Config::default()).await;
    let mut ffmpeg = Publisher::ffmpeg(&media::endless("libx264", "aac"), &desk.url("lost"));
    let (_, mut events) = desk.admit(64).await;
    for _ in 0..40 {
        assert!(events.recv().await.is_some());
    }
    ffmpeg.kill().await;
    assert!(!collect(events).await.contains(&Event::End));
    desk.close().await;
}

#[tokio::test]
async fn a_refused_publisher_hears_why() {
    let config = Config { refusal_delay_ms: 200, ..Config::default() };
    let mut desk = Desk::open(config).await;
    for refusal in [Refusal::Busy, Refusal::WrongKey, Refusal::Ended, Refusal::Unavailable] {
        let mut ffmpeg = Publisher::ffmpeg(&media::endless("libx264", "aac"), &desk.url("key"));
        desk.refuse(refusal).await;
        let (status, said) = ffmpeg.end().await;
        assert!(!status.success());
        assert!(said.contains(&refusal.to_string()), "{said}");
    }
    let counters = desk.counters.clone();
    desk.close().await;
    for counter in
        [&counters.refused_busy, &counters.refused_wrong_key, &counters.refused_ended, &counters.refused_unavailable]
    {
        assert_eq!(counter.load(Relaxed), 1);
    }
    assert_eq!(counters.connections_open.load(Relaxed), 0);
}

#[tokio::test]
async fn a_second_publisher_is_refused_while_the_first_goes_on() {
    let mut desk = Desk::open(Config::default()).await;
    let mut first = Publisher::ffmpeg(&media::endless("libx264", "aac"), &desk.url("key"));
    let (_, mut events) = desk.admit(64).await;
    assert!(matches!(events.recv().await, Some(Event::Tracks { .. })));
    let mut second = Publisher::ffmpeg(&media::endless("libx264", "aac"), &desk.url("key"));
    // The first is read from while the second is turned away.
    let drained = tokio::spawn(async move { while events.recv().await.is_some() {} });
    desk.refuse(Refusal::Busy).await;
    let (status, said) = second.end().await;
    assert!(!status.success() && said.contains("another publisher is live"), "{said}");
    assert!(!drained.is_finished());
    first.kill().await;
    timeout(Duration::from_secs(10), drained).await.unwrap().unwrap();
    desk.close().await;
}

#[tokio::test]
async fn other_codecs_are_refused_by_name() {
    let mut desk = Desk::open(Config::default()).await;
    for (video, audio, name) in [("flv1", "aac", "Sorenson H.263 video"), ("libx264", "libmp3lame", "MP3 audio")] {
        let mut ffmpeg = Publisher::ffmpeg(&media::endless(video, audio), &desk.url("key"));
        let (_, events) = desk.admit(64).await;
        let events = collect(events).await;
        assert!(!events.contains(&Event::End));
        let (status, said) = ffmpeg.end().await;
        assert!(!status.success() && said.contains(&format!("{name} over RTMP is not supported")), "{said}");
    }
    assert_eq!(desk.counters.refused_unsupported.load(Relaxed), 2);
    desk.close().await;
}

#[tokio::test]
async fn players_are_refused() {
    let desk = Desk::open(Config::default()).await;
    let mut ffmpeg = Publisher::start("ffmpeg", &["-hide_banner", "-i", &desk.url("key"), "-f", "null", "-"]);
    let (status, said) = ffmpeg.end().await;
    assert!(!status.success() && said.contains("takes publishers only"), "{said}");
    desk.close().await;
}

#[tokio::test]
async fn a_stream_that_the_server_ends_is_told_so() {
    let mut desk = Desk::open(Config::default()).await;
    let mut ffmpeg = Publisher::ffmpeg(&media::endless("libx264", "aac"), &desk.url("key"));
    let (_, mut events) = desk.admit(4).await;
    let Some(Event::Tracks { video: Some(Track { timescale: 1_000, .. }), .. }) = events.recv().await else {
        panic!("no tracks")
    };
    drop(events);
    let (status, said) = ffmpeg.end().await;
    assert!(!status.success() && said.contains("closed by the server"), "{said}");
    desk.close().await;
}

#[tokio::test]
async fn shutting_down_closes_publishers_without_an_end() {
    let mut desk = Desk::open(Config::default()).await;
    let mut ffmpeg = Publisher::ffmpeg(&media::endless("libx264", "aac"), &desk.url("key"));
    let (_, mut events) = desk.admit(4).await;
    assert!(events.recv().await.is_some());
    // The channel is full by now or soon: the server must not wait for it.
    desk.close().await;
    assert!(!collect(events).await.contains(&Event::End));
    assert!(!ffmpeg.end().await.0.success());
}
