//! AES-128 in CBC mode with PKCS7 padding, as it comes (RFC 8216, 4.3.2.4 and 5.2). Pure.

use aes::Aes128;
use cbc::{
    Decryptor,
    cipher::{BlockDecryptMut, KeyIvInit},
};

const BLOCK: usize = 16;

/// It was encrypted with another key, or otherwise, or is not all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it can't be decrypted with the key that its playlist names")]
pub(super) struct Undecipherable;

/// One segment on its way through.
pub(super) struct Decipher {
    cipher: Decryptor<Aes128>,
    /// What is not decrypted yet: up to a block, since the last one holds the padding.
    held: Vec<u8>,
}

impl Decipher {
    pub(super) fn new(key: [u8; BLOCK], iv: [u8; BLOCK]) -> Self {
        Self { cipher: Decryptor::new(&key.into(), &iv.into()), held: Vec::new() }
    }

    /// What can be told by now.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let whole = self.held.len().saturating_sub(1) / BLOCK * BLOCK;
        let rest = self.held.split_off(whole);
        let mut plain = std::mem::replace(&mut self.held, rest);
        self.decrypt(&mut plain);
        plain
    }

    /// The last block, without its padding.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, Undecipherable> {
        let mut plain = std::mem::take(&mut self.held);
        if plain.len() != BLOCK {
            return Err(Undecipherable);
        }
        self.decrypt(&mut plain);
        let padding = usize::from(plain[BLOCK - 1]);
        let fits = (1..=BLOCK).contains(&padding);
        if !fits || plain[BLOCK - padding..].iter().any(|byte| usize::from(*byte) != padding) {
            return Err(Undecipherable);
        }
        plain.truncate(BLOCK - padding);
        Ok(plain)
    }

    fn decrypt(&mut self, blocks: &mut [u8]) {
        for block in blocks.chunks_exact_mut(BLOCK) {
            self.cipher.decrypt_block_mut(block.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use cbc::cipher::{BlockEncryptMut, block_padding::Pkcs7};

    use super::*;

    /// NIST SP 800-38A, F.2.2: key, IV and the first two blocks.
    const KEY: &str = "2b7e151628aed2a6abf7158809cf4f3c";
    const IV: &str = "000102030405060708090a0b0c0d0e0f";
    const CIPHER: &str = "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2";
    const PLAIN: &str = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51";

    fn sixteen(text: &str) -> [u8; BLOCK] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    #[test]
    fn blocks_come_out_however_they_come_in() {
        for size in [1, 7, 16, 17, 33] {
            let mut decipher = Decipher::new(sixteen(KEY), sixteen(IV));
            let mut plain = Vec::new();
            for part in hex::decode(CIPHER).unwrap().chunks(size) {
                plain.extend(decipher.feed(part));
            }
            // The last block waits, since it may hold the padding; this one holds none.
            assert_eq!(hex::encode(plain), &PLAIN[..32]);
            assert_eq!(decipher.finish(), Err(Undecipherable));
        }
    }

    #[test]
    fn padding_goes_and_broken_padding_is_told() {
        let encrypted = |plain: &[u8]| {
            let mut block = [plain, &[0; BLOCK]].concat();
            let encryptor = cbc::Encryptor::<Aes128>::new(&sixteen(KEY).into(), &sixteen(IV).into());
            encryptor.encrypt_padded_mut::<Pkcs7>(&mut block, plain.len()).unwrap().to_vec()
        };
        for length in [0, 1, 15, 16, 31, 32] {
            let plain: Vec<u8> = (0..length).collect();
            let mut decipher = Decipher::new(sixteen(KEY), sixteen(IV));
            let mut out = decipher.feed(&encrypted(&plain));
            out.extend(decipher.finish().unwrap());
            assert_eq!(out, plain);
        }
        let mut wrong = Decipher::new(sixteen(IV), sixteen(IV));
        wrong.feed(&encrypted(b"plain"));
        assert_eq!(wrong.finish(), Err(Undecipherable));
        assert_eq!(Decipher::new(sixteen(KEY), sixteen(IV)).finish(), Err(Undecipherable));
    }
}
