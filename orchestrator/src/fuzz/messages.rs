//! What workers and media children say.

use bytes::Bytes;
use millrace_media::wire::{Frame, Request};
use millrace_proto::{
    api::{CreateClip, CreateStream, CreateToken},
    outcome::Outcome,
    worker::{ChallengeRequest, Poll, Polled, SessionRequest},
};
use serde::{Serialize, de::DeserializeOwned};

/// JSON of workers and apps, and of the orchestrator to workers. The first byte says which.
pub(super) fn worker(bytes: &[u8]) {
    let Some((kind, json)) = bytes.split_first() else { return };
    match kind % 8 {
        0 => drop(again::<ChallengeRequest>(json)),
        1 => drop(again::<SessionRequest>(json)),
        2 => drop(again::<Poll>(json)),
        3 => drop(again::<Outcome>(json)),
        4 => drop(again::<Polled>(json)),
        5 => drop(again::<CreateClip>(json)),
        6 => drop(again::<CreateToken>(json)),
        _ => {
            if let Some(asked) = again::<CreateStream>(json) {
                let _ = asked.profile.resolve();
            }
        }
    }
}

/// Reads a message; what could be read can be written and read again.
fn again<T: Serialize + DeserializeOwned>(json: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(json).ok()?;
    let text = serde_json::to_vec(&read).expect("a message that was read");
    serde_json::from_slice::<T>(&text).expect("a message that we wrote");
    Some(read)
}

/// A frame of a media child, which may have been taken over by what it decodes.
pub(super) fn child(bytes: &[u8]) {
    if let Ok(frame) = Frame::decode(Bytes::copy_from_slice(bytes)) {
        let written = Bytes::from(frame.encode());
        Frame::decode(written.slice(4..)).expect("a frame that we wrote");
    }
    let _ = Request::read(&mut &bytes[..]);
}
