//! A child that looks at pictures of products, one after the other, and tells what each looks like: what things of videos
//! are compared with.

use std::path::PathBuf;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Failure, FailureKind, Launcher, Limits, Loaded, job::Job, look::Embed, warm::Warm, wire::Message};

/// Pixels of the largest picture that is decoded: 8K.
pub const PIXELS_MAX: u64 = 35_651_584;

/// What a picture of a product is, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// ITU-T T.81.
    Jpeg,
    /// ISO/IEC 15948.
    Png,
}

impl Kind {
    /// None where it is neither.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            _ => None,
        }
    }

    /// Its media type.
    pub fn mime(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
        }
    }
}

/// What a picture of a product shows: as a whole, which is compared with things that were cut out of videos. Cutting the
/// surest thing out of it first, by a detector, was tried and found no more of them (`tests/e2e/products/fit.py`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Portrait {
    /// Of the picture, upright, in pixels; larger ones are made smaller first.
    pub width: u32,
    /// The same.
    pub height: u32,
    /// What it looks like, see [`millrace_proto::vision::Thing::looks`].
    pub looks: Vec<i8>,
}

/// Loads what looks closely at pictures of products, until the parent closes the pipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Portray {
    /// ONNX Runtime's library.
    pub runtime: PathBuf,
    /// What looks at each picture.
    pub embedding: Embed,
    /// Threads at most.
    pub threads: u32,
}

/// A child that looks at pictures of products, kept warm. Dropping it kills the child.
#[derive(Debug)]
pub struct Portrayer(Warm);

impl Portrayer {
    pub(crate) fn new(launcher: Launcher, job: Portray, limits: Limits) -> Self {
        Self(Warm::new(launcher, Job::Portray(job), limits))
    }

    /// Lets the child go, with what it has loaded; the next call starts another one. False if there was none.
    pub fn cool(&mut self) -> bool {
        self.0.cool()
    }

    /// Starts the child and loads its models, unless they are.
    pub async fn warm(&mut self) -> Result<Loaded, Failure> {
        self.0.warm().await
    }

    /// Looks at a JPEG or PNG. One that can't be read fails alone, as [`FailureKind::BadInput`].
    ///
    /// # Cancel safety
    /// A call that is dropped half-way has its child killed: the answer to it would be taken for the next one's.
    pub async fn portray(&mut self, picture: Bytes) -> Result<Portrait, Failure> {
        if Kind::of(&picture).is_none() {
            return Err(Failure::new(FailureKind::BadInput, "it is neither JPEG nor PNG"));
        }
        let expected = |message| match message {
            Message::Portrayed(portrait) => Some(portrait),
            _ => None,
        };
        self.0.ask((), &Bytes::new(), &[picture], expected).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_known_by_their_first_bytes() {
        assert_eq!(Kind::of(b"\xff\xd8\xff\xe0\0\x10JFIF"), Some(Kind::Jpeg));
        assert_eq!(Kind::of(b"\x89PNG\r\n\x1a\n\0"), Some(Kind::Png));
        for other in [&b""[..], b"GIF89a", b"\xff\xd8", b"\x89PNG\n", b"<svg/>"] {
            assert_eq!(Kind::of(other), None);
        }
    }
}
