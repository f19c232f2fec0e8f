//! Bundles: what was fetched as one segment, of several files, kept as one: the video and, where that comes apart, its
//! sound. Made and read by ourselves alone.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncWriteExt},
};

/// Files in one bundle at most.
pub(in crate::ingest) const FILES_MAX: usize = 64;

/// What stands before files of these lengths: how many they are, and each one's length.
pub(in crate::ingest) fn head(lengths: &[u64]) -> Bytes {
    let mut head = BytesMut::new();
    head.put_u64(lengths.len() as u64);
    for length in lengths {
        head.put_u64(*length);
    }
    head.freeze()
}

/// Takes a bundle apart, into files beside it.
pub(super) async fn open(bundle: &Path) -> io::Result<Vec<PathBuf>> {
    let mut from = File::open(bundle).await?;
    let count = usize::try_from(from.read_u64().await?).unwrap_or(usize::MAX);
    if count == 0 || count > FILES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no bundle"));
    }
    let mut lengths = Vec::new();
    for _ in 0..count {
        lengths.push(from.read_u64().await?);
    }
    let mut files = Vec::new();
    for (at, length) in lengths.into_iter().enumerate() {
        let path = bundle.with_extension(at.to_string());
        let mut to = File::create(&path).await?;
        if tokio::io::copy(&mut (&mut from).take(length), &mut to).await? != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.flush().await?;
        files.push(path);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_come_out_as_they_went_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("push");
        std::fs::write(&path, [&head(&[3, 0, 2])[..], b"abcde"].concat()).unwrap();
        let files = open(&path).await.unwrap();
        let read: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
        assert_eq!(read, [&b"abc"[..], b"", b"de"]);
        for bad in [&b""[..], b"abc", &head(&[]), &head(&[5, 1]), &[&head(&[6])[..], b"abcde"].concat()] {
            std::fs::write(&path, bad).unwrap();
            assert!(open(&path).await.is_err(), "{bad:?}");
        }
    }
}
