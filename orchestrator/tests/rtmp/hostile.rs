//! What strangers and broken publishers do.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::Bytes;
use millrace_orchestrator::ingest::{
    event::{Event, Refusal},
    rtmp::Config,
};
use rtmp_rs::protocol::RtmpMessage;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    desk::{Desk, PATIENCE, collect},
    peer::Peer,
};

/// Parameter sets of 128x96, baseline.
const SPS: [u8; 23] =
    [0x67, 0x42, 0xc0, 0x0a, 0xd9, 0x02, 0x0d, 0xb0, 0x11, 0, 0, 3, 0, 1, 0, 0, 3, 0, 0x32, 0x0f, 0x12, 0x26, 0x48];
const PPS: [u8; 5] = [0x68, 0xcb, 0x83, 0xcb, 0x20];

fn config() -> RtmpMessage {
    let record = millrace_cmaf::h264::config([&SPS[..], &PPS]).unwrap();
    video(&[&[0x17, 0, 0, 0, 0], &record[..]].concat())
}

/// A key frame of about `bytes`.
fn key_frame(bytes: usize) -> RtmpMessage {
    let slice = [&[0x65][..], &vec![1; bytes]].concat();
    video(&[&[0x17, 1, 0, 0, 0], &millrace_cmaf::nal::join([&slice[..]])[..]].concat())
}

fn video(body: &[u8]) -> RtmpMessage {
    RtmpMessage::Video { timestamp: 0, data: Bytes::copy_from_slice(body) }
}

/// Waits until a counter says `count`.
async fn until(counter: &AtomicU64, count: u64) {
    let wait = async {
        while counter.load(Relaxed) != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{} instead of {count}", counter.load(Relaxed)));
}

/// Waits until the server closes a plain socket.
async fn expect_close(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset is a close too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the server keeps the connection");
}

#[tokio::test]
async fn garbage_is_closed_at_once() {
    let desk = Desk::open(Config { handshake_ms_max: 3_600_000, ..Config::default() }).await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x06], &[0xff; 5_000]] {
        let mut stream = TcpStream::connect(desk.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        expect_close(&mut stream).await;
    }
    assert_eq!(desk.counters.closed_protocol.load(Relaxed), 3);
    desk.close().await;
}

#[tokio::test]
async fn silence_is_closed_in_every_state() {
    let times = Config { handshake_ms_max: 1_000, publish_ms_max: 1_500, idle_ms_max: 2_000, ..Config::default() };
    let mut desk = Desk::open(times).await;
    let mut half_open = TcpStream::connect(desk.address).await.unwrap();
    let mut slow = TcpStream::connect(desk.address).await.unwrap();
    slow.write_all(&[3, 0, 0]).await.unwrap();
    let mut greeted = Peer::greet(desk.address).await;
    let mut publisher = Peer::publish(desk.address, "key").await;
    let (_, events) = desk.admit(4).await;
    publisher.expect_close().await;
    greeted.expect_close().await;
    expect_close(&mut half_open).await;
    expect_close(&mut slow).await;
    assert!(collect(events).await.is_empty());
    until(&desk.counters.closed_timeout, 4).await;
    desk.close().await;
}

#[tokio::test]
async fn a_trickle_is_silence() {
    let mut desk = Desk::open(Config { idle_ms_max: 500, ..Config::default() }).await;
    let mut publisher = Peer::publish(desk.address, "key").await;
    let (_, _events) = desk.admit(4).await;
    publisher.expect_status("NetStream.Publish.Start").await;
    // The header of a message whose bytes come one by one.
    publisher.stream.write_all(&[6, 0, 0, 0, 0, 0xff, 0xff, 9, 1, 0, 0, 0]).await.unwrap();
    let trickle = async {
        while publisher.stream.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, trickle).await.expect("the server keeps the connection");
    assert_eq!(desk.counters.closed_timeout.load(Relaxed), 1);
    desk.close().await;
}

#[tokio::test]
async fn messages_above_the_limit_close_the_connection() {
    let mut desk = Desk::open(Config { message_bytes_max: 1 << 20, ..Config::default() }).await;
    let mut stranger = Peer::greet(desk.address).await;
    // 16 KiB and a byte.
    stranger.stream.write_all(&[6, 0, 0, 0, 0, 0x40, 1, 20, 0, 0, 0, 0]).await.unwrap();
    stranger.expect_close().await;
    let mut publisher = Peer::publish(desk.address, "key").await;
    let (_, events) = desk.admit(4).await;
    publisher.expect_status("NetStream.Publish.Start").await;
    publisher.stream.write_all(&[6, 0, 0, 0, 0x10, 0, 1, 9, 1, 0, 0, 0]).await.unwrap();
    publisher.expect_close().await;
    assert!(collect(events).await.is_empty());
    assert_eq!(desk.counters.closed_protocol.load(Relaxed), 2);
    desk.close().await;
}

#[tokio::test]
async fn connections_above_the_limit_are_closed_and_make_room_when_they_go() {
    let desk = Desk::open(Config { connections_max: 2, ..Config::default() }).await;
    let first = Peer::greet(desk.address).await;
    let _second = Peer::greet(desk.address).await;
    let mut third = TcpStream::connect(desk.address).await.unwrap();
    expect_close(&mut third).await;
    assert_eq!(desk.counters.connections_over_limit.load(Relaxed), 1);
    drop(first);
    until(&desk.counters.connections_open, 1).await;
    Peer::greet(desk.address).await;
    desk.close().await;
}

#[tokio::test]
async fn guessing_keys_is_slow_and_bounded() {
    let config = Config { refusal_delay_ms: 2_000, refusals_waiting_max: 1, ..Config::default() };
    let mut desk = Desk::open(config).await;
    let began = Instant::now();
    let mut first = Peer::publish(desk.address, "a").await;
    desk.refuse(Refusal::WrongKey).await;
    until(&desk.counters.refused_wrong_key, 1).await;
    let mut second = Peer::publish(desk.address, "b").await;
    desk.refuse(Refusal::WrongKey).await;
    // One waits already: it is closed without a word.
    assert!(!second.statuses().await.contains(&"NetStream.Publish.Unauthorized".to_owned()));
    assert_eq!(first.statuses().await.last().unwrap(), "NetStream.Publish.Unauthorized");
    assert!(began.elapsed() >= Duration::from_secs(2));
    desk.close().await;
}

#[tokio::test]
async fn a_desk_that_does_not_answer_refuses() {
    let config = Config { answer_ms_max: 100, refusal_delay_ms: 0, ..Config::default() };
    let desk = Desk::open(config).await;
    let mut publisher = Peer::publish(desk.address, "key").await;
    publisher.expect_status("NetStream.Failed").await;
    assert_eq!(desk.counters.refused_unavailable.load(Relaxed), 1);
    desk.close().await;
}

#[tokio::test]
async fn only_what_is_settled_is_acknowledged_and_a_full_channel_stops_reading() {
    const FRAME_BYTES: usize = 100_000;
    let mut desk = Desk::open(Config::default()).await;
    let mut publisher = Peer::publish(desk.address, "key").await;
    let (_, mut events) = desk.admit(1).await;
    publisher.expect_status("NetStream.Publish.Start").await;
    publisher.send(0, &RtmpMessage::WindowAckSize(1)).await.unwrap();
    publisher.metadata("videocodecid").await;
    publisher.send(0, &config()).await.unwrap();

    // Sends until nothing more fits: the socket's buffers are full, since nobody reads.
    let mut sent = 0;
    let frame = key_frame(FRAME_BYTES);
    while timeout(Duration::from_secs(1), publisher.send(40 * sent, &frame)).await.is_ok_and(|done| done.is_ok()) {
        sent += 1;
        assert!(sent < 10_000, "a full channel doesn't stop the publisher");
    }
    // The channel holds the tracks; the first frame waits for it to have room.
    let bytes_in = desk.counters.bytes_in.load(Relaxed);
    assert!(bytes_in < 3 * FRAME_BYTES as u64, "{bytes_in} bytes were read");

    // The tracks, and the frame behind them: the tracks are settled.
    assert!(events.recv().await.is_some());
    assert!(events.recv().await.is_some());
    for frames in 1..4 {
        assert!(matches!(events.recv().await, Some(Event::Video(_))));
        let acknowledged = async {
            loop {
                if let RtmpMessage::Acknowledgement { sequence } = publisher.next().await.unwrap()
                    && sequence as usize >= frames * FRAME_BYTES
                {
                    return sequence as usize;
                }
            }
        };
        // One frame more than before, and not the one that was taken just now.
        let sequence = timeout(PATIENCE, acknowledged).await.unwrap();
        assert!(sequence < (frames + 1) * FRAME_BYTES, "{sequence} after {frames}");
    }
    drop(publisher);
    assert!(collect(events).await.iter().all(|event| matches!(event, Event::Video(_))));
    desk.close().await;
}

#[tokio::test]
async fn the_time_for_media_stands_still_while_the_channel_is_full() {
    let mut desk = Desk::open(Config { idle_ms_max: 700, ..Config::default() }).await;
    let mut publisher = Peer::publish(desk.address, "key").await;
    let (_, mut events) = desk.admit(1).await;
    publisher.metadata("videocodecid").await;
    publisher.send(0, &config()).await.unwrap();
    publisher.send(0, &key_frame(10)).await.unwrap();
    publisher.send(40, &key_frame(10)).await.unwrap();
    // Much longer than a publisher may be silent.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(desk.counters.closed_timeout.load(Relaxed), 0);
    assert!(matches!(events.recv().await, Some(Event::Tracks { .. })));
    assert!(matches!(events.recv().await, Some(Event::Video(_))));
    assert!(matches!(events.recv().await, Some(Event::Video(_))));
    publisher.expect_close().await;
    assert_eq!(desk.counters.closed_timeout.load(Relaxed), 1);
    desk.close().await;
}
