//! Who may play what is encrypted: content keys and playback tokens, both made of one secret by HMAC-SHA256.
//!
//! Nothing of it is stored with a stream: a key is made of the secret and the stream's id whenever it is needed, and a
//! token proves itself. So they hold over a restart, and cost the store nothing. Keys and tokens are never logged.

use std::fmt;

use hmac::{Hmac, Mac};
use millrace_cmaf::protect::Scheme;
use millrace_proto::StreamId;
use sha2::Sha256;

/// AES-128's key.
pub type ContentKey = [u8; 16];

/// What keys and tokens are made of. Whoever has it can make them, for every stream.
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret")
    }
}

/// Why a token does not open a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none.
    #[error("this needs a playback token")]
    Missing,
    /// It was not made here, or for another stream.
    #[error("the playback token is not one of this stream")]
    Wrong,
    /// Its time is over.
    #[error("the playback token has expired")]
    Expired,
}

impl Secret {
    /// Takes the text of the secret's file.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The key that a stream's segments are encrypted with.
    pub fn content_key(&self, stream: &StreamId) -> ContentKey {
        // One step of a key derivation in counter mode (NIST SP 800-108), cut to the length that is needed.
        let whole: [u8; 32] = self.mac(&format!("content key\n{stream}")).finalize().into_bytes().into();
        std::array::from_fn(|at| whole[at])
    }

    /// What names that key in public, and the constant IV that goes with it.
    pub fn scheme(&self, stream: &StreamId) -> Scheme {
        let whole: [u8; 32] = self.mac(&format!("key id and iv\n{stream}")).finalize().into_bytes().into();
        Scheme { key_id: std::array::from_fn(|at| whole[at]), iv: std::array::from_fn(|at| whole[16 + at]) }
    }

    /// A token that opens `stream` until `expires_s`, Unix time. It needs no escaping in URLs.
    pub fn token(&self, stream: &StreamId, expires_s: u64) -> String {
        let mac = self.mac(&Self::claim(stream, expires_s)).finalize().into_bytes();
        format!("{expires_s}.{}", hex::encode(mac))
    }

    /// Whether `token` opens `stream` at `now_ms`.
    pub fn check(&self, stream: &StreamId, token: &str, now_ms: u64) -> Result<(), Refused> {
        let (expires, mac) = token.split_once('.').ok_or(Refused::Wrong)?;
        let expires_s = expires.parse().map_err(|_| Refused::Wrong)?;
        let mac = hex::decode(mac).map_err(|_| Refused::Wrong)?;
        // In constant time.
        self.mac(&Self::claim(stream, expires_s)).verify_slice(&mac).map_err(|_| Refused::Wrong)?;
        if now_ms / 1_000 < expires_s { Ok(()) } else { Err(Refused::Expired) }
    }

    fn claim(stream: &StreamId, expires_s: u64) -> String {
        format!("playback token\n{stream}\n{expires_s}")
    }

    fn mac(&self, text: &str) -> Hmac<Sha256> {
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(self.0.as_bytes()).expect("a key of any length will do");
        mac.chain_update(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_its_stream_until_it_expires() {
        let (secret, other) = (Secret::new("one".into()), Secret::new("another".into()));
        let (stream, neighbour) = ("k3f9".parse().unwrap(), "k3f8".parse().unwrap());
        let token = secret.token(&stream, 1_000);
        assert_eq!(secret.check(&stream, &token, 999_999), Ok(()));
        assert_eq!(secret.check(&stream, &token, 1_000_000), Err(Refused::Expired));
        assert_eq!(secret.check(&neighbour, &token, 0), Err(Refused::Wrong));
        assert_eq!(other.check(&stream, &token, 0), Err(Refused::Wrong));
        // A later end that nobody signed.
        let longer = token.replacen("1000.", "9000.", 1);
        for wrong in [&longer, "", ".", "1000", "1000.", "1000.00", "x.y", &token[..token.len() - 2]] {
            assert_eq!(secret.check(&stream, wrong, 0), Err(Refused::Wrong), "{wrong:?}");
        }
    }

    #[test]
    fn each_stream_has_a_key_of_its_own_that_stays() {
        let secret = Secret::new("one".into());
        let (stream, neighbour) = ("k3f9".parse().unwrap(), "k3f8".parse().unwrap());
        assert_eq!(secret.content_key(&stream), Secret::new("one".into()).content_key(&stream));
        assert_ne!(secret.content_key(&stream), secret.content_key(&neighbour));
        assert_ne!(secret.content_key(&stream), Secret::new("two".into()).content_key(&stream));
        let public = secret.scheme(&stream);
        assert_eq!(public, Secret::new("one".into()).scheme(&stream));
        assert_ne!(public, secret.scheme(&neighbour));
        assert!(public.key_id != public.iv && secret.content_key(&stream) != public.key_id);
    }
}
