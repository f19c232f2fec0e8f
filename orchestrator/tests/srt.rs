//! The SRT server against callers of its own protocol: who is let in, how many, what waits, and for how long.
//!
//! The media child is a stand-in that says hello and reads nothing, like one that is stuck; real media over SRT are in
//! the end-to-end tests.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use millrace_media::{
    Launcher,
    wire::{Frame, Message, PROGRAM_VERSION, PROTOCOL_VERSION},
};
use millrace_orchestrator::ingest::{
    event::{Event, Publish, Refusal},
    srt::{self, Config, Counters, Listener},
};
use rsrt::{CloseReason, SrtError, SrtOptions, SrtSocket};
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

/// Longest wait for anything; a passing test waits for none of it.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server on a free port, and who answers its publishers.
struct Desk {
    address: String,
    counters: Arc<Counters>,
    publishers: mpsc::Receiver<Publish>,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
    _dir: TempDir,
}

/// A program that greets as the media child does, and then neither reads nor says anything.
fn stuck_child(dir: &Path) -> Launcher {
    let hello = Frame::Message(Message::Hello { version: PROGRAM_VERSION.into(), protocol: PROTOCOL_VERSION });
    let (greeting, program) = (dir.join("hello"), dir.join("stuck"));
    fs::write(&greeting, hello.encode()).unwrap();
    let script = format!("#!/bin/sh\n/bin/cat {}\nexec /bin/sleep 300\n", greeting.display());
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Launcher::new(program)
}

impl Desk {
    async fn open(config: Config, passphrase: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind(at, passphrase.map(str::to_owned), &config).await.unwrap();
        let address = listener.local_addr().to_string();
        let counters = Arc::new(Counters::default());
        let (sender, publishers) = mpsc::channel(4);
        let shutdown = CancellationToken::new();
        let launcher = stuck_child(dir.path());
        let server = tokio::spawn(srt::serve(listener, config, counters.clone(), launcher, sender, shutdown.clone()));
        Self { address, counters, publishers, shutdown, server, _dir: dir }
    }

    async fn call(&self, stream_id: &str) -> SrtSocket {
        SrtSocket::connect(self.address.as_str(), SrtOptions::default().streamid(stream_id)).await.unwrap()
    }

    async fn next(&mut self) -> Publish {
        timeout(PATIENCE, self.publishers.recv()).await.expect("no publisher came").expect("the server is gone")
    }

    /// Lets the next publisher in.
    async fn admit(&mut self) -> (String, mpsc::Receiver<Event>) {
        let publish = self.next().await;
        let (sender, events) = mpsc::channel(4);
        publish.reply.send(Ok(sender)).expect("the publisher is gone");
        (publish.key, events)
    }
}

/// The server has closed this connection, and said so.
async fn assert_closed(socket: &mut SrtSocket) {
    let ended = timeout(PATIENCE, socket.recv()).await.expect("the connection stays open");
    assert!(matches!(ended, Ok(None)), "{ended:?}");
}

#[tokio::test]
async fn keys_are_asked_for_and_everything_else_is_closed_at_once() {
    let mut desk = Desk::open(Config::default(), None).await;
    for stream_id in ["", "#!::r=a-key,m=request", "read:a-key"] {
        assert_closed(&mut desk.call(stream_id).await).await;
    }
    let mut refused = desk.call("#!::r=a-key,m=publish").await;
    let publish = desk.next().await;
    assert_eq!(publish.key, "a-key");
    publish.reply.send(Err(Refusal::WrongKey)).unwrap();
    assert_closed(&mut refused).await;
    assert_eq!(desk.counters.refused.load(Relaxed), 4);

    let taken = desk.call("publish/another").await;
    let (key, mut events) = desk.admit().await;
    assert_eq!(key, "another");
    drop(taken);
    // It said goodbye, and sent nothing: the stuck child is waited for as long as it may be silent, no longer.
    assert!(events.try_recv().is_err());
    desk.shutdown.cancel();
    timeout(PATIENCE, desk.server).await.expect("the server goes on").unwrap();
    assert_eq!(events.recv().await, None, "a source that is lost, not one that said goodbye");
}

#[tokio::test]
async fn passphrases_have_to_agree() {
    let desk = Desk::open(Config::default(), Some("a right passphrase")).await;
    let call = async |passphrase: Option<&str>| {
        let options = SrtOptions::default().streamid("k");
        let options = passphrase.map_or(options.clone(), |passphrase| options.passphrase(passphrase));
        SrtSocket::connect(desk.address.as_str(), options).await
    };
    assert!(call(Some("a right passphrase")).await.is_ok());
    assert!(call(Some("a wrong passphrase")).await.is_err());
    assert!(matches!(call(None).await, Err(SrtError::EncryptionUnsupported)));
}

#[tokio::test]
async fn connections_have_a_limit() {
    let mut desk = Desk::open(Config { connections_max: 2, ..Config::default() }, None).await;
    let mut open = Vec::new();
    for key in ["one", "two"] {
        open.push(desk.call(key).await);
        open.last().unwrap().send(b"x").await.unwrap();
    }
    let kept = [desk.admit().await, desk.admit().await];
    assert_closed(&mut desk.call("three").await).await;
    assert_eq!(desk.counters.connections_over_limit.load(Relaxed), 1);
    // One that leaves makes room, as soon as its place is free.
    let [(_, first), _second] = kept;
    drop(first);
    drop(open.remove(0));
    desk.shutdown.cancel();
    timeout(PATIENCE, desk.server).await.expect("the server goes on").unwrap();
    assert_eq!(desk.counters.connections_open.load(Relaxed), 0);
}

#[tokio::test]
async fn a_publisher_that_nobody_answers_is_refused() {
    let mut desk = Desk::open(Config { answer_ms_max: 100, ..Config::default() }, None).await;
    let mut socket = desk.call("k").await;
    let _unanswered = desk.next().await;
    assert_closed(&mut socket).await;
    assert_eq!(desk.counters.refused.load(Relaxed), 1);
}

#[tokio::test]
async fn a_silent_publisher_is_closed_in_time() {
    let mut desk = Desk::open(Config { idle_ms_max: 200, ..Config::default() }, None).await;
    let mut socket = desk.call("k").await;
    let (_, mut events) = desk.admit().await;
    assert_closed(&mut socket).await;
    assert_eq!(timeout(PATIENCE, events.recv()).await.unwrap(), None);
}

#[tokio::test]
async fn what_nobody_takes_is_held_up_to_its_limit_and_then_the_publisher_is_cut_off() {
    let buffer_bytes_max = 1 << 20;
    let mut desk = Desk::open(Config { buffer_bytes_max, ..Config::default() }, None).await;
    let mut socket = desk.call("k").await;
    let (_, _events) = desk.admit().await;
    let message = vec![0x47; 1_316];
    // Ten MiB a second or so, up to ten times the limit.
    let mut sent = 0;
    let ended = loop {
        for _ in 0..8 {
            match socket.send(&message).await {
                Ok(()) => sent += message.len() as u64,
                Err(SrtError::Closed(reason)) => assert_eq!(reason, CloseReason::Shutdown),
                Err(error) => panic!("{error}"),
            }
        }
        if let Ok(ended) = timeout(Duration::from_millis(1), socket.recv()).await {
            break ended;
        }
        assert!(sent < 10 * buffer_bytes_max, "{sent} bytes were taken");
    };
    assert!(matches!(ended, Ok(None)), "{ended:?}");
    let taken = desk.counters.bytes_in.load(Relaxed);
    // Beside the limit, what the pipe to the child holds.
    assert!(taken < buffer_bytes_max + (256 << 10), "{taken} bytes were taken");
    assert_eq!(desk.counters.overflows.load(Relaxed), 1);
    desk.shutdown.cancel();
    timeout(PATIENCE, desk.server).await.expect("the server goes on").unwrap();
}
