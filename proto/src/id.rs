//! Names of things: streams, tasks, leases, and immutable bytes by their hash.
//!
//! Ids come from outside as text and are used in paths and URLs, so each is checked where it is parsed.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::Digest;

/// Why a text is not a valid id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {noun}: use {rule}")]
pub struct Invalid {
    noun: &'static str,
    text: String,
    rule: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $noun:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text: 1 to 64 characters of `a-z`, `0-9` and `-`, safe in paths and URLs.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $name {
            type Err = Invalid;
            fn from_str(text: &str) -> Result<Self, Invalid> {
                let fits = (1..=64).contains(&text.len())
                    && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
                if fits {
                    Ok(Self(text.to_owned()))
                } else {
                    let text = text.chars().take(64).collect();
                    Err(Invalid { noun: $noun, text, rule: "1 to 64 characters of a-z, 0-9 and '-'" })
                }
            }
        }
        impl TryFrom<String> for $name {
            type Error = Invalid;
            fn try_from(text: String) -> Result<Self, Invalid> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

text_id!(
    /// One live broadcast or one recorded asset.
    StreamId, "stream id"
);
text_id!(
    /// One unit of work; made from the stream, the segment and the kind, so planning twice names it once.
    TaskId, "task id"
);
text_id!(
    /// A piece of a stream that was cut out as one file.
    ClipId, "clip id"
);
text_id!(
    /// A catalogue of an app's products.
    CatalogId, "catalogue id"
);
text_id!(
    /// One task in one worker's hands.
    LeaseId, "lease id"
);

/// The SHA-256 of some immutable bytes; their name in the media store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// Hashes `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Takes a digest that was computed piece by piece.
    pub fn from_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}
impl FromStr for Sha256 {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest).map(|()| Self(digest)).map_err(|_| Invalid {
            noun: "sha256",
            text: text.chars().take(64).collect(),
            rule: "64 hexadecimal digits",
        })
    }
}
impl TryFrom<String> for Sha256 {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}
impl From<Sha256> for String {
    fn from(hash: Sha256) -> String {
        hash.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_leave_their_folder_are_refused() {
        for bad in ["", "..", "a/b", "A", "a b", &"a".repeat(65)] {
            assert!(bad.parse::<StreamId>().is_err(), "{bad:?}");
        }
        assert_eq!("abc-1".parse::<StreamId>().unwrap().as_str(), "abc-1");
        assert!(serde_json::from_str::<StreamId>("\"../etc\"").is_err());
    }

    #[test]
    fn a_hash_survives_its_text_form() {
        let hash = Sha256::of(b"abc");
        // The digest of "abc" is the first example of FIPS 180-2, appendix B.
        assert_eq!(hash.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hash.to_string().parse::<Sha256>().unwrap(), hash);
        assert!("ba78".parse::<Sha256>().is_err());
    }
}
