//! Sound that is packed into a file of its own without a container (RFC 8216, 3.4): when it starts. Pure.

use std::io::{Read, Seek};

/// FFmpeg's names of what may be packed so.
pub(super) const FORMATS: [&str; 4] = ["aac", "mp3", "ac3", "eac3"];

/// Who owns the frame that holds the time.
const OWNER: &[u8] = b"com.apple.streaming.transportStreamTimestamp\0";

/// Largest tag that is looked at, in bytes.
const TAG_BYTES_MAX: u64 = 64 << 10;

/// Ticks per second of the time, which has 33 bits as in transport streams.
pub(super) const TIMESCALE: i32 = 90_000;
const TICKS_MAX: u64 = (1 << 33) - 1;

/// When the first sample of `file` is heard, if that is told. Leaves the file at its start.
pub(super) fn start(file: &mut (impl Read + Seek)) -> std::io::Result<Option<i64>> {
    let mut head = Vec::new();
    file.by_ref().take(TAG_BYTES_MAX).read_to_end(&mut head)?;
    file.rewind()?;
    Ok(told(&head))
}

/// The time in the ID3 tag (version 2.3 or 2.4) that `head` begins with.
fn told(head: &[u8]) -> Option<i64> {
    let tag = head.strip_prefix(b"ID3")?;
    let (version, flags) = (*tag.first()?, *tag.get(2)?);
    let size = synchsafe(tag.get(3..7)?)?;
    let mut frames = tag.get(7..)?;
    frames = frames.get(..size).unwrap_or(frames);
    // An extended header comes first; its size counts itself in version 2.4.
    if flags & 0x40 != 0 {
        let size = if version >= 4 { synchsafe(frames.get(..4)?)? } else { plain(frames.get(..4)?)? + 4 };
        frames = frames.get(size..)?;
    }
    while let Some((name, rest)) = frames.split_first_chunk::<4>() {
        let size = rest.get(..4)?;
        let size = if version >= 4 { synchsafe(size)? } else { plain(size)? };
        let body = rest.get(6..)?.get(..size)?;
        if name == b"PRIV"
            && let Some(time) = body.strip_prefix(OWNER)
        {
            let ticks = u64::from_be_bytes(time.get(..8)?.try_into().ok()?);
            return i64::try_from(ticks & TICKS_MAX).ok();
        }
        frames = &rest[6 + size..];
    }
    None
}

/// Seven bits of each byte count (ID3v2.4.0, 6.2).
fn synchsafe(bytes: &[u8]) -> Option<usize> {
    bytes.iter().try_fold(0, |sum, byte| (byte & 0x80 == 0).then_some(sum << 7 | usize::from(*byte)))
}

fn plain(bytes: &[u8]) -> Option<usize> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(version: u8, frames: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, bytes) in frames {
            body.extend_from_slice(*name);
            body.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
            body.extend_from_slice(&[0, 0]);
            body.extend_from_slice(bytes);
        }
        let size = [0, 0, (body.len() >> 7) as u8, (body.len() & 0x7f) as u8];
        [&b"ID3"[..], &[version, 0, 0], &size, &body].concat()
    }

    fn time(ticks: u64) -> Vec<u8> {
        [OWNER, &ticks.to_be_bytes()].concat()
    }

    #[test]
    fn the_time_is_found_and_has_33_bits() {
        for version in [3, 4] {
            let known = tag(version, &[(b"TIT2", b"title"), (b"PRIV", b"another\0owner"), (b"PRIV", &time(900_000))]);
            assert_eq!(told(&known), Some(900_000));
            assert_eq!(told(&[&known[..], b"sound"].concat()), Some(900_000));
        }
        assert_eq!(told(&tag(4, &[(b"PRIV", &time(u64::MAX))])), Some((1 << 33) - 1));
    }

    #[test]
    fn whatever_else_comes_tells_none() {
        let known = tag(4, &[(b"PRIV", &time(7))]);
        assert_eq!(told(&tag(4, &[(b"TIT2", b"title")])), None);
        for end in 0..known.len() {
            assert_eq!(told(&known[..end]), None, "{end} bytes");
        }
        let mut wrong = known;
        for at in 3..wrong.len() {
            let before = std::mem::replace(&mut wrong[at], 0xff);
            let _ = told(&wrong);
            wrong[at] = before;
        }
    }
}
