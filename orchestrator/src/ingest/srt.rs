//! SRT in: takes connections, asks who may publish, and has the media child turn the transport streams that
//! publishers push into [`Event`](super::event::Event)s.
//!
//! Owns everything between the listening socket and the event channel, as `rtmp` does for TCP; whoever answers a
//! [`Publish`](super::event::Publish) decides. Never looks into the media. UDP does not wait: what the store or the
//! child can't take yet is held up to a limit, and a publisher beyond it is cut off; what came before goes its way.
//!
//! | file | what it owns |
//! |---|---|
//! | `server.rs` | accepting, the limits on connections, shutting down |
//! | `session.rs` | one connection: its key, its media child, its time limits, the event channel |
//! | `stream_id.rs` | the key in a stream id |
//! | `backlog.rs` | bytes that came and were not taken yet |
//!
//! # The crate
//! `rsrt` keeps nothing for a peer that has not returned its cookie, bounds packets, buffers and queues of a
//! connection, decrypts, and gets every frame of libsrt's callers over a lossy line. It takes IPv4 alone, and its
//! handshake ends before the stream id can be judged: a refused key is told by closing the connection at once, not by a
//! code; a wrong passphrase is told by libsrt's own. The others at hand:
//! - `srt-tokio` 0.4.4 keeps a session, without limit or end, for each address that any packet claims to come from, has
//!   an `unreachable!` that strangers reach, and gives its packet size as the MTU, so that libsrt sends less a packet;
//! - `srt-runtime` 0.6 refuses encrypted connections in its tokio adapter.

mod backlog;
mod config;
mod counters;
mod error;
mod server;
mod session;
mod stream_id;

pub use config::Config;
pub use counters::Counters;
pub use server::{Listener, serve};
