//! Who a worker is: a secp256k1 key, named by its Ethereum-style address.
//!
//! Messages are signed as EIP-191 personal messages, so any Ethereum wallet can make or check one and the
//! same key can later be paid on a chain. Keys are read and written elsewhere; nothing here does I/O.

use std::{fmt, str::FromStr};

use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha3::{Digest, Keccak256};

/// Why a key, an address or a signature was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not 32 bytes of hexadecimal text, or not a valid scalar of the curve.
    #[error("the key is not 64 hexadecimal digits of a secp256k1 secret")]
    Key,
    /// Not `0x` and 40 hexadecimal digits.
    #[error("an address is 0x and 40 hexadecimal digits")]
    Address,
    /// Not `0x` and 130 hexadecimal digits, or no key could have made it.
    #[error("a signature is 0x and 130 hexadecimal digits (r, s, v)")]
    Signature,
}

/// The last 20 bytes of the Keccak-256 of a public key (Ethereum yellow paper, appendix F).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address([u8; 20]);

impl Address {
    fn of(key: &VerifyingKey) -> Self {
        let point = key.to_encoded_point(false);
        let digest = Keccak256::digest(&point.as_bytes()[1..]);
        Self(digest[12..].try_into().expect("32 - 12 = 20 bytes"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for Address {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut bytes = [0; 20];
        let digits = text.strip_prefix("0x").ok_or(Error::Address)?;
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| Error::Address)?;
        Ok(Self(bytes))
    }
}
impl TryFrom<String> for Address {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}
impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

/// A worker's secret key. Its text never appears in `Debug`.
#[derive(Clone)]
pub struct Secret(SigningKey);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.address())
    }
}

impl Secret {
    /// A new key from the operating system's randomness.
    pub fn generate() -> Self {
        loop {
            // About one in 2^128 draws is no valid scalar; the loop ends at once.
            if let Ok(key) = SigningKey::from_slice(&rand::random::<[u8; 32]>()) {
                return Self(key);
            }
        }
    }

    /// Reads 64 hexadecimal digits, with or without `0x`.
    pub fn from_hex(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let bytes = hex::decode(text.strip_prefix("0x").unwrap_or(text)).map_err(|_| Error::Key)?;
        SigningKey::from_slice(&bytes).map(Self).map_err(|_| Error::Key)
    }

    /// The key as 64 hexadecimal digits, for its file.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0.to_bytes())
    }

    /// The name that others know this key by.
    pub fn address(&self) -> Address {
        Address::of(self.0.verifying_key())
    }

    /// Signs `message` as EIP-191 version 0x45 does; `0x` and r, s, v in hexadecimal.
    pub fn sign(&self, message: &str) -> String {
        let (signature, recovery) =
            self.0.sign_prehash_recoverable(&eip191(message)).expect("a 32-byte digest can always be signed");
        let mut bytes = signature.to_bytes().to_vec();
        bytes.push(27 + recovery.to_byte());
        format!("0x{}", hex::encode(bytes))
    }
}

/// The address whose key signed `message`.
pub fn signer(message: &str, signature: &str) -> Result<Address, Error> {
    let bytes = signature.strip_prefix("0x").and_then(|digits| hex::decode(digits).ok()).ok_or(Error::Signature)?;
    let (rs, v) = bytes.split_at_checked(64).ok_or(Error::Signature)?;
    let &[v @ 27..=28] = v else { return Err(Error::Signature) };
    let signature = Signature::from_slice(rs).map_err(|_| Error::Signature)?;
    let recovery = RecoveryId::from_byte(v - 27).ok_or(Error::Signature)?;
    let key = VerifyingKey::recover_from_prehash(&eip191(message), &signature, recovery);
    key.map(|key| Address::of(&key)).map_err(|_| Error::Signature)
}

fn eip191(message: &str) -> [u8; 32] {
    let mut hash = Keccak256::new();
    hash.update(format!("\x19Ethereum Signed Message:\n{}", message.len()));
    hash.update(message);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_and_signature_agree_with_ethereum() {
        // Key, address and signature of the worked example in web3.js's documentation of
        // `eth.accounts.sign("Some data", key)`.
        let key = Secret::from_hex("0x4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318").unwrap();
        assert_eq!(key.address().to_string(), "0x2c7536e3605d9c16a7a3d7b1898e529396a65c23");
        let signature = key.sign("Some data");
        assert_eq!(
            signature,
            "0xb91467e570a6466aa9e9876cbcd013baba02900b8979d43fe208a4a4f339f5fd\
             6007e74cd82e037b800186422fc2da167c747ef045e5d18a5f5d4300f8e1a0291c"
        );
        assert_eq!(signer("Some data", &signature), Ok(key.address()));
        assert_ne!(signer("Other data", &signature), Ok(key.address()));
    }

    #[test]
    fn malformed_signatures_are_refused() {
        for bad in ["", "0x", "0x00", &format!("0x{}", "00".repeat(65)), &format!("0x{}", "ff".repeat(66))] {
            assert_eq!(signer("x", bad), Err(Error::Signature), "{bad}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let key = Secret::generate();
        assert!(!format!("{key:?}").contains(&key.to_hex()));
        assert_eq!(Secret::from_hex(&key.to_hex()).unwrap().address(), key.address());
    }
}
