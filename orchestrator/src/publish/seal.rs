//! Encrypts segments on their way out, as HLS's `METHOD=AES-128` has it: the whole segment by AES-128 in CBC mode,
//! padded as PKCS #7 says (RFC 8216bis, 4.4.4.4 and 5.2). [`cbcs`] has the other way.
//!
//! What is stored stays plain: workers, checks and renditions know nothing of it. The same segment always comes out as
//! the same bytes, so caches keep it like any other, and the orchestrator pays for it once each.

pub mod cbcs;

use std::ops::Range;

use aes::{
    Aes128,
    cipher::{BlockEncryptMut, KeyIvInit},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};

use crate::playback::ContentKey;

const BLOCK_BYTES: usize = 16;

/// The initialization vector of segment `seq`, which players take where the playlist gives none: its media sequence
/// number, which here is its own number.
fn iv(seq: u64) -> [u8; BLOCK_BYTES] {
    u128::from(seq).to_be_bytes()
}

/// How long `size` bytes become: padding is one byte at least.
pub fn sealed_size(size: u64) -> u64 {
    let block = BLOCK_BYTES as u64;
    (size / block + 1) * block
}

/// An encryption under way: takes bytes from the first on, gives those that are through.
trait Sealing: Send + 'static {
    /// Takes the next bytes.
    fn push(&mut self, bytes: &[u8]) -> Bytes;
    /// What is left when there are no more.
    fn finish(self) -> Bytes;
}

/// That of whole segments.
struct Padded {
    cbc: cbc::Encryptor<Aes128>,
    /// What does not fill a block yet.
    rest: Vec<u8>,
}

impl Padded {
    fn new(key: &ContentKey, seq: u64) -> Self {
        Self { cbc: cbc::Encryptor::new(key.into(), &iv(seq).into()), rest: Vec::with_capacity(BLOCK_BYTES) }
    }
}

impl Sealing for Padded {
    /// Takes the next bytes, gives the blocks that are whole.
    fn push(&mut self, bytes: &[u8]) -> Bytes {
        let mut out = std::mem::take(&mut self.rest);
        out.extend_from_slice(bytes);
        self.rest = out.split_off(out.len() / BLOCK_BYTES * BLOCK_BYTES);
        for block in out.chunks_exact_mut(BLOCK_BYTES) {
            let block: &mut [u8; BLOCK_BYTES] = block.try_into().expect("chunks are as long as blocks");
            self.cbc.encrypt_block_mut(block.into());
        }
        out.into()
    }

    /// The last block.
    fn finish(mut self) -> Bytes {
        let missing = BLOCK_BYTES - self.rest.len();
        let padding = vec![u8::try_from(missing).expect("a block is short"); missing];
        self.push(&padding)
    }
}

/// Encrypts segment `seq`, whose bytes from the first on come in `plain`, and gives those in `part` of what it becomes.
/// Each block needs all before it, so that a part costs as much as all up to its end.
pub fn seal<E: Send + 'static>(
    plain: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    key: &ContentKey,
    seq: u64,
    part: Range<u64>,
) -> impl Stream<Item = Result<Bytes, E>> + Send + 'static {
    through(plain, Padded::new(key, seq), part)
}

/// Those bytes in `part` of what `sealing` makes of `plain`.
fn through<E: Send + 'static>(
    plain: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    sealing: impl Sealing,
    part: Range<u64>,
) -> impl Stream<Item = Result<Bytes, E>> + Send + 'static {
    let state = (plain.boxed(), Some(sealing), 0);
    stream::unfold(state, move |(mut plain, sealing, mut at)| {
        let part = part.clone();
        async move {
            let mut sealing = sealing?;
            while at < part.end {
                let (out, going) = match plain.next().await {
                    Some(Ok(bytes)) => (sealing.push(&bytes), Some(sealing)),
                    Some(Err(error)) => return Some((Err(error), (plain, None, at))),
                    None => (sealing.finish(), None),
                };
                let (from, end) = (at, at + out.len() as u64);
                at = end;
                let first = part.start.clamp(from, end) - from;
                let last = part.end.clamp(from, end) - from;
                if first < last {
                    return Some((Ok(out.slice(first as usize..last as usize)), (plain, going, at)));
                }
                sealing = going?;
            }
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, pin::pin};

    use aes::cipher::{BlockDecryptMut, block_padding::Pkcs7};

    use super::*;

    const KEY: ContentKey = *b"0123456789abcdef";

    /// `plain`, handed in as pieces of `piece` bytes, sealed.
    async fn sealed(plain: &[u8], piece: usize, part: Range<u64>) -> Vec<u8> {
        let pieces: Vec<_> = plain.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let out = pin!(seal::<Infallible>(stream::iter(pieces), &KEY, 7, part));
        out.map(|bytes| bytes.unwrap().to_vec()).concat().await
    }

    #[tokio::test]
    async fn another_implementation_reads_it() {
        for length in [0, 1, 15, 16, 17, 1_000] {
            let plain: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let size = sealed_size(length);
            for piece in [1, 7, 16, 4_096] {
                let all = sealed(&plain, piece, 0..size).await;
                assert_eq!(all.len() as u64, size, "{length} in pieces of {piece}");
                let open = cbc::Decryptor::<Aes128>::new(&KEY.into(), &7_u128.to_be_bytes().into());
                assert_eq!(open.decrypt_padded_vec_mut::<Pkcs7>(&all).unwrap(), plain, "{length} in pieces of {piece}");
            }
        }
    }

    #[tokio::test]
    async fn a_part_is_that_part_of_the_whole() {
        let plain: Vec<u8> = (0..100).collect();
        let all = sealed(&plain, 9, 0..sealed_size(100)).await;
        for part in [0..1, 0..112, 15..17, 40..41, 50..112, 99..112, 111..112] {
            let wanted = &all[part.start as usize..part.end as usize];
            assert_eq!(sealed(&plain, 9, part.clone()).await, wanted, "{part:?}");
        }
    }

    #[tokio::test]
    async fn what_breaks_off_inside_is_told() {
        let pieces = [Ok(Bytes::from_static(&[0; 40])), Err("gone")];
        let out: Vec<_> = seal(stream::iter(pieces), &KEY, 0, 0..64).collect().await;
        assert!(matches!(&out[..], [Ok(first), Err("gone")] if first.len() == 32), "{out:?}");
    }
}
