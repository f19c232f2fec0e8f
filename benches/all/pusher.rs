//! A publisher of many streams at once, cheap enough to stand beside what it measures: one clip's FLV tags, their RTMP
//! chunks made once, sent to every connection at their times. Speaks enough RTMP for Millrace and nginx-rtmp.

use std::{collections::HashMap, fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use rtmp_rs::{
    amf::AmfValue,
    protocol::{Handshake, HandshakeRole, RtmpMessage, constants as rtmp, message},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::kit::{Kit, run};

/// As ffmpeg's default for what it sends.
const CHUNK_BYTES: usize = 60_000;
/// Connections begin so far apart in all: publishers don't start as one.
const RAMP: Duration = Duration::from_secs(4);

/// A clip as what goes over the wire, with the time of each message.
#[derive(Debug)]
pub(crate) struct Clip {
    messages: Vec<(u32, Bytes)>,
}

impl Clip {
    /// Reads the tags of `file`, remuxed to FLV (Adobe Flash Video File Format 10.1, annex E).
    pub(crate) fn read(kit: &Kit, file: &Path) -> Result<Self> {
        let flv = kit.folder("flv")?.join("clip.flv");
        let mut command = Command::new("ffmpeg");
        run(command.args(["-v", "error", "-nostdin", "-i"]).arg(file).args(["-c", "copy", "-f", "flv"]).arg(&flv))?;
        let bytes = Bytes::from(fs::read(flv)?);
        // The file's header, and the size of no tag.
        let mut at = 9 + 4;
        let mut messages = Vec::new();
        while let Some(head) = bytes.get(at..at + 11) {
            let size = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
            let time_ms = u32::from_be_bytes([head[7], head[4], head[5], head[6]]);
            ensure!(time_ms < 0xff_ffff, "the clip is too long");
            messages.push((time_ms, chunks(head[0], time_ms, &bytes[at + 11..at + 11 + size])));
            at += 11 + size + 4;
        }
        ensure!(messages.len() > 3, "{} holds no media", file.display());
        Ok(Self { messages })
    }

    /// Publishes to each address, `rtmp://HOST/APP/KEY`, for `length`; returns when all have ended.
    pub(crate) async fn publish(self: std::sync::Arc<Self>, addresses: Vec<String>, length: Duration) -> Result<()> {
        let apart = RAMP / addresses.len() as u32;
        let mut tasks = JoinSet::new();
        for (at, address) in addresses.into_iter().enumerate() {
            let (clip, begin) = (self.clone(), Instant::now() + apart * at as u32);
            tasks.spawn(async move {
                sleep_until(begin).await;
                clip.publish_one(&address, length).await.with_context(|| format!("publishing to {address}"))
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(())
    }

    async fn publish_one(&self, address: &str, length: Duration) -> Result<()> {
        let mut parts = address.strip_prefix("rtmp://").context("an RTMP address")?.splitn(3, '/');
        let (Some(host), Some(app), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            anyhow::bail!("an address has a host, an app and a key")
        };
        let (mut from, mut to) = greet(host).await?.into_split();
        to.write_all(&ask(app, key)).await?;
        // What the server says is of no interest, and must not fill its buffers.
        let reader = tokio::spawn(async move {
            let mut piece = vec![0; 4_096];
            while let Ok(1..) = from.read(&mut piece).await {}
        });
        let begun = Instant::now();
        for (time_ms, message) in &self.messages {
            let due = Duration::from_millis((*time_ms).into());
            if due > length {
                break;
            }
            sleep_until(begun + due).await;
            to.write_all(message).await?;
        }
        to.write_all(&command("deleteStream", AmfValue::Null, vec![AmfValue::Number(1.0)])).await?;
        to.shutdown().await?;
        // nginx-rtmp keeps the connection for a while; the stream has ended all the same.
        reader.abort();
        Ok(())
    }
}

async fn greet(host: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(host).await?;
    stream.set_nodelay(true)?;
    let mut handshake = Handshake::new(HandshakeRole::Client);
    let hello = handshake.generate_initial().context("a client speaks first")?;
    stream.write_all(&hello).await?;
    let mut answer = vec![0; 1 + 2 * 1_536];
    stream.read_exact(&mut answer).await?;
    let last = handshake.process(&mut Bytes::from(answer)).map_err(|error| anyhow::anyhow!("{error}"))?;
    stream.write_all(&last.context("there is an answer to it")?).await?;
    Ok(stream)
}

fn ask(app: &str, key: &str) -> Bytes {
    let mut out = BytesMut::new();
    out.extend(chunks(rtmp::MSG_SET_CHUNK_SIZE, 0, &(CHUNK_BYTES as u32).to_be_bytes()));
    let app = HashMap::from([("app".to_owned(), AmfValue::String(app.to_owned()))]);
    out.extend(command("connect", AmfValue::Object(app), vec![]));
    out.extend(command("createStream", AmfValue::Null, vec![]));
    let arguments = [key, "live"].map(|text| AmfValue::String(text.to_owned()));
    out.extend(command("publish", AmfValue::Null, arguments.into()));
    out.freeze()
}

fn command(name: &str, command_object: AmfValue, arguments: Vec<AmfValue>) -> Bytes {
    let command =
        message::Command { name: name.to_owned(), transaction_id: 1.0, command_object, arguments, stream_id: 1 };
    let (kind, payload) = RtmpMessage::Command(command).encode();
    chunks(kind, 0, &payload)
}

/// One message in chunks (RTMP 1.0, 5.3.1), with a whole first header.
fn chunks(kind: u8, time_ms: u32, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(body.len() + 32);
    // Chunk stream 2 is for the protocol itself; sound and picture have one each.
    let chunk_stream = match kind {
        0..8 => 2,
        8 => 4,
        9 => 6,
        _ => 3,
    };
    out.extend_from_slice(&[chunk_stream]);
    out.extend_from_slice(&time_ms.to_be_bytes()[1..]);
    out.extend_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind]);
    let stream = u32::from(matches!(kind, 8 | 9 | 18));
    out.extend_from_slice(&stream.to_le_bytes());
    // The first command and the size of chunks itself are shorter than any chunk.
    for (at, chunk) in body.chunks(CHUNK_BYTES).enumerate() {
        if at > 0 {
            out.extend_from_slice(&[0xc0 | chunk_stream]);
        }
        out.extend_from_slice(chunk);
    }
    out.freeze()
}
