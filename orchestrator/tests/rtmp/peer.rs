//! A publisher made of single messages, by the crate's own client half; for what real programs never do.

use std::{collections::HashMap, net::SocketAddr};

use bytes::{Bytes, BytesMut};
use rtmp_rs::{
    amf::AmfValue,
    protocol::{
        ChunkDecoder, ChunkEncoder, Handshake, HandshakeRole, RtmpMessage,
        chunk::RtmpChunk,
        message::{Command, DataMessage},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::desk::PATIENCE;

pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    encoder: ChunkEncoder,
    decoder: ChunkDecoder,
    read: BytesMut,
}

impl Peer {
    /// Connects and shakes hands.
    pub(crate) async fn greet(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut handshake = Handshake::new(HandshakeRole::Client);
        stream.write_all(&handshake.generate_initial().unwrap()).await.unwrap();
        let mut answer = vec![0; handshake.bytes_needed().max(1 + 2 * 1_536)];
        timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
        let last = handshake.process(&mut Bytes::from(answer)).unwrap().unwrap();
        stream.write_all(&last).await.unwrap();
        Self { stream, encoder: ChunkEncoder::new(), decoder: ChunkDecoder::new(), read: BytesMut::new() }
    }

    /// Greets and asks to publish with `key`.
    pub(crate) async fn publish(address: SocketAddr, key: &str) -> Self {
        let mut peer = Self::greet(address).await;
        let app = HashMap::from([("app".to_owned(), AmfValue::String("live".to_owned()))]);
        peer.command("connect", AmfValue::Object(app), vec![]).await;
        peer.command("createStream", AmfValue::Null, vec![]).await;
        let arguments = vec![AmfValue::String(key.to_owned()), AmfValue::String("live".to_owned())];
        peer.command("publish", AmfValue::Null, arguments).await;
        peer
    }

    pub(crate) async fn command(&mut self, name: &str, command_object: AmfValue, arguments: Vec<AmfValue>) {
        let command = Command { name: name.to_owned(), transaction_id: 1.0, command_object, arguments, stream_id: 0 };
        self.send(0, &RtmpMessage::Command(command)).await.unwrap();
    }

    pub(crate) async fn metadata(&mut self, name: &str) {
        let fields = AmfValue::EcmaArray(HashMap::from([(name.to_owned(), AmfValue::Number(7.0))]));
        let values = vec![AmfValue::String("onMetaData".to_owned()), fields];
        let data = DataMessage { name: "@setDataFrame".to_owned(), values, stream_id: 1 };
        self.send(0, &RtmpMessage::Data(data)).await.unwrap();
    }

    /// Sends one message; fails once the server has closed.
    pub(crate) async fn send(&mut self, timestamp: u32, message: &RtmpMessage) -> std::io::Result<()> {
        let (message_type, payload) = message.encode();
        let mut out = BytesMut::new();
        self.encoder.encode(&RtmpChunk { csid: 5, timestamp, message_type, stream_id: 1, payload }, &mut out);
        self.stream.write_all(&out).await
    }

    /// The next message from the server; `None` when it has closed.
    pub(crate) async fn next(&mut self) -> Option<RtmpMessage> {
        loop {
            let left = self.read.len();
            if let Some(chunk) = self.decoder.decode(&mut self.read).unwrap() {
                let message = RtmpMessage::from_chunk(&chunk).unwrap();
                if let RtmpMessage::SetChunkSize(bytes) = message {
                    self.decoder.set_chunk_size(bytes);
                }
                return Some(message);
            }
            // A chunk was taken, and more may stand behind it.
            if self.read.len() < left {
                continue;
            }
            if self.stream.read_buf(&mut self.read).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Waits for the command with this status code.
    pub(crate) async fn expect_status(&mut self, code: &str) {
        let wait = async {
            loop {
                match self.next().await.expect("the server closed") {
                    RtmpMessage::Command(command)
                        if command.arguments.iter().any(|info| info.get_string("code") == Some(code)) =>
                    {
                        return;
                    }
                    _ => {}
                }
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("no {code}"));
    }

    /// The status codes that come until the server closes.
    pub(crate) async fn statuses(&mut self) -> Vec<String> {
        let mut statuses = Vec::new();
        let wait = async {
            while let Some(message) = self.next().await {
                if let RtmpMessage::Command(command) = message {
                    statuses
                        .extend(command.arguments.iter().filter_map(|info| info.get_string("code")).map(str::to_owned));
                }
            }
        };
        timeout(PATIENCE, wait).await.expect("the server keeps the connection");
        statuses
    }

    /// Waits until the server closes.
    pub(crate) async fn expect_close(&mut self) {
        self.statuses().await;
    }
}
