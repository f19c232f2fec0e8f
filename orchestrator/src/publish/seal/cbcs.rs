//! Encrypts samples on their way out, as Common Encryption's scheme `cbcs` has it (ISO/IEC 23001-7:2016, 10.4): for HLS
//! and DASH alike. `millrace_cmaf::protect` says which bytes, and writes the boxes that tell of it.
//!
//! The map of a segment is made of all of it; the bytes themselves go through as they come, so that who reads slowly
//! costs no memory but the map's.

use std::{ops::Range, vec};

use aes::{
    Aes128,
    cipher::{BlockEncryptMut, KeyIvInit},
};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use millrace_cmaf::protect::{BLOCK_BYTES, Protected, Scheme};

use super::{Sealing, through};
use crate::playback::ContentKey;

/// How long a segment of `size` bytes becomes.
pub fn sealed_size(protected: &Protected, size: u64) -> u64 {
    size - protected.replaces + protected.head.len() as u64
}

/// Encrypts the segment that `protected` is the map of, whose bytes from the first on come in `plain`, and gives those in
/// `part` of what it becomes.
pub fn seal<E: Send + 'static>(
    plain: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    key: &ContentKey,
    scheme: &Scheme,
    protected: Protected,
    part: Range<u64>,
) -> impl Stream<Item = Result<Bytes, E>> + Send + 'static {
    through(plain, Samples::new(key, scheme, protected), part)
}

/// An encryption of samples under way. Places are those in the plain segment.
struct Samples {
    key: ContentKey,
    iv: [u8; BLOCK_BYTES as usize],
    /// The boxes, until they are out.
    head: Option<Bytes>,
    /// Where what was handed in last ends, and what of it is to be encrypted and not whole yet.
    at: u64,
    rest: BytesMut,
    /// Blocks to encrypt, each with whether it starts a chain.
    blocks: std::iter::Peekable<Blocks>,
    chain: cbc::Encryptor<Aes128>,
    replaces: u64,
}

/// The encrypted blocks of all ranges.
struct Blocks {
    protected: Protected,
    ranges: vec::IntoIter<Range<u64>>,
    of_range: Option<Box<dyn Iterator<Item = u64> + Send>>,
}

impl Iterator for Blocks {
    type Item = (u64, bool);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(at) = self.of_range.as_mut().and_then(Iterator::next) {
                return Some((at, false));
            }
            let mut blocks = self.protected.blocks(&self.ranges.next()?);
            if let Some(first) = blocks.next() {
                self.of_range = Some(Box::new(blocks));
                return Some((first, true));
            }
        }
    }
}

impl Samples {
    fn new(key: &ContentKey, scheme: &Scheme, mut protected: Protected) -> Self {
        let ranges = std::mem::take(&mut protected.ranges).into_iter();
        Self {
            key: *key,
            iv: scheme.iv,
            head: Some(std::mem::take(&mut protected.head)),
            at: 0,
            rest: BytesMut::new(),
            replaces: protected.replaces,
            blocks: Blocks { protected, ranges, of_range: None }.peekable(),
            chain: cbc::Encryptor::new(key.into(), &scheme.iv.into()),
        }
    }
}

impl Sealing for Samples {
    fn push(&mut self, bytes: &[u8]) -> Bytes {
        let mut data = std::mem::take(&mut self.rest);
        data.extend_from_slice(bytes);
        let start = self.at;
        let end = start + data.len() as u64;
        let mut through = end;
        while let Some(&(block, first)) = self.blocks.peek()
            && block < end
        {
            if block + BLOCK_BYTES > end {
                through = block;
                break;
            }
            if first {
                self.chain = cbc::Encryptor::new((&self.key).into(), &self.iv.into());
            }
            let from = (block - start) as usize;
            let whole: &mut [u8; BLOCK_BYTES as usize] =
                (&mut data[from..from + BLOCK_BYTES as usize]).try_into().expect("a range as long as a block");
            self.chain.encrypt_block_mut(whole.into());
            self.blocks.next();
        }
        self.rest = data.split_off((through - start) as usize);
        self.at = through;
        // The plain boxes are left out.
        let before = self.replaces.clamp(start, through) - start;
        let rest = data.freeze().slice(before as usize..);
        match self.head.take() {
            None => rest,
            Some(head) => [&head[..], &rest].concat().into(),
        }
    }

    fn finish(self) -> Bytes {
        self.rest.freeze()
    }
}

#[cfg(test)]
#[path = "cbcs/tests.rs"]
mod tests;
