//! RTMP in: takes connections, asks who may publish, turns what publishers push into [`Event`](super::event::Event)s.
//!
//! Owns everything between the listening socket and the event channel; knows neither streams nor stored keys:
//! [`serve`] asks for each publisher with a [`Publish`](super::event::Publish), and whoever answers decides.
//! Never decodes media. A window acknowledgement covers only bytes whose events their receiver is done with, and
//! while the event channel is full the socket is not read.
//!
//! | file | what it owns |
//! |---|---|
//! | `server.rs` | accepting, the limit on connections, shutting down |
//! | `tls.rs` | the certificate of RTMPS, which is the same within TLS |
//! | `conn.rs` | one connection: its time limits, the event channel |
//! | `socket.rs` | its socket, which rests while messages gather |
//! | `ack.rs` | which bytes may be acknowledged |
//! | `session.rs` | the protocol after the handshake, without I/O: commands in, answers and steps out |
//! | `chunk.rs`, `amf.rs` | bounded readers of chunks and of AMF0 values |
//! | `flv.rs` | media messages (FLV tag bodies) |
//! | `assemble.rs` | media messages to events: tracks, discontinuities, key frames |
//! | `clock.rs`, `audio_clock.rs` | timestamps |
//!
//! # The crate
//! `rtmp-rs` gives the handshake, the outgoing messages and chunks, and the AMF values. The inbound chunk and
//! AMF0 readers are ours, since none of the crates at hand bounds what a stranger can make it hold:
//! - `rtmp-rs` 0.6 reserves the declared length (16 MiB) for each of 65,599 chunk streams, and AMF0 references
//!   make its reader copy values without end;
//! - `rml_rtmp` 0.8 mixes up interleaved chunk streams, and panics on short commands and on lengths that shrink;
//! - `scuffle-rtmp` 0.2 doesn't advance time over header-less chunks and reserves what AMF0 arrays declare.
//!
//! Our programs abort on panic, so each of these would let one connection take all streams down.

mod ack;
mod amf;
mod assemble;
mod audio_clock;
mod chunk;
mod clock;
mod config;
mod conn;
pub(super) mod counters;
mod error;
mod flv;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod server;
mod session;
mod socket;
mod tls;

pub(super) use assemble::FORWARD_MS_MAX;
pub(super) use clock::{Kind, Place, Timeline};
pub use config::Config;
pub use counters::Counters;
pub use server::{serve, serve_tls};
pub use tls::{Error as TlsError, Tls};
