//! A publisher's socket, which rests while messages gather.
//!
//! The runtime is woken by every packet that comes over a socket that it watches, whoever waits for it or not. A socket
//! that rests is not watched, and what gathered meanwhile is read at once; it is watched again as soon as there is
//! nothing to read.

use std::{
    io::{self, ErrorKind, Read},
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

/// Most that is read from a socket that rests; more is read once it is watched.
const READ_BYTES: usize = 32 << 10;

/// A connection whose socket can rest.
pub(super) trait Rest {
    /// Nobody is woken by what comes until it is read, or written to, again.
    fn rest(&mut self);
}

/// A socket.
#[derive(Debug)]
pub(super) enum Socket {
    Watched(TcpStream),
    Resting(std::net::TcpStream),
    /// The runtime could not take it or give it back.
    Lost,
}

impl Rest for Socket {
    fn rest(&mut self) {
        *self = match mem::replace(self, Self::Lost) {
            Self::Watched(stream) => stream.into_std().map_or(Self::Lost, Self::Resting),
            other => other,
        };
    }
}

impl<S: Rest> Rest for TlsStream<S> {
    fn rest(&mut self) {
        self.get_mut().0.rest();
    }
}

impl Socket {
    fn watched(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if let Self::Resting(_) = self {
            let Self::Resting(stream) = mem::replace(self, Self::Lost) else {
                return Err(ErrorKind::NotConnected.into());
            };
            *self = Self::Watched(TcpStream::from_std(stream)?);
        }
        match self {
            Self::Watched(stream) => Ok(Pin::new(stream)),
            Self::Resting(_) | Self::Lost => Err(ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Self::Resting(stream) = this {
            let piece = buffer.initialize_unfilled_to(READ_BYTES.min(buffer.remaining()));
            let (room, read) = (piece.len(), stream.read(piece));
            match read {
                Ok(bytes) => {
                    buffer.advance(bytes);
                    if bytes == room {
                        // There may be more without end: the runtime sees to it that others have their turn.
                        this.watched()?;
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        this.watched()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().watched()?.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Watched(stream) => Pin::new(stream).poll_flush(context),
            // Nothing was written since it was flushed.
            Self::Resting(_) | Self::Lost => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().watched()?.poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    async fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Socket::Watched(listener.accept().await.unwrap().0), peer)
    }

    #[tokio::test]
    async fn what_came_while_it_rested_is_read_and_what_comes_wakes_again() {
        let (mut socket, mut peer) = pair().await;
        let mut buffer = vec![0; 100];
        for _ in 0..3 {
            socket.rest();
            peer.write_all(b"gathered").await.unwrap();
            // It is there, or its coming wakes.
            let read = socket.read(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..read], b"gathered");
        }
        socket.rest();
        let (read, ()) = tokio::join!(socket.read(&mut buffer), async {
            tokio::task::yield_now().await;
            peer.write_all(b"later").await.unwrap();
        });
        assert_eq!(&buffer[..read.unwrap()], b"later");
        assert!(matches!(socket, Socket::Watched(_)));
    }

    #[tokio::test]
    async fn it_writes_ends_and_reads_much_after_a_rest() {
        let (mut socket, mut peer) = pair().await;
        socket.rest();
        socket.write_all(b"answer").await.unwrap();
        let mut answer = [0; 6];
        peer.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
        socket.rest();
        let much = vec![7; 300_000];
        let (sent, read) = tokio::join!(
            async {
                peer.write_all(&much).await.unwrap();
                peer.shutdown().await.unwrap();
                much.len()
            },
            async {
                let mut all = Vec::new();
                socket.read_to_end(&mut all).await.unwrap()
            }
        );
        assert_eq!(sent, read);
        socket.rest();
        assert_eq!(socket.read(&mut answer).await.unwrap(), 0, "its end is told again");
    }
}
