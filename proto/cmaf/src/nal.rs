//! NAL units of H.264 and HEVC, between the form with start codes (Annex B: transport streams, encoders)
//! and the form with lengths (MP4, RTMP).

use bytes::{BufMut, Bytes, BytesMut};

/// The NAL units of `stream`, which has start codes (ISO/IEC 14496-10, Annex B). Units are without their start
/// codes and trailing zeros; empty ones are left out, and so is what stands before the first start code.
pub fn annex_b(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(stream);
    std::iter::from_fn(move || {
        loop {
            let current = rest?;
            let end = start_code(current).unwrap_or(current.len());
            rest = after_start_code(&current[end..]);
            let zeros = current[..end].iter().rev().take_while(|byte| **byte == 0).count();
            if end > zeros {
                return Some(&current[..end - zeros]);
            }
        }
    })
}

/// Where the next start code `00 00 01` begins.
fn start_code(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, &[0, 0, 1])
}

fn after_start_code(bytes: &[u8]) -> Option<&[u8]> {
    start_code(bytes).map(|at| &bytes[at + 3..])
}

/// The NAL units of `sample`, each behind its big-endian length of `length_bytes` (1 to 4) bytes. Ends at the
/// first length that points beyond the sample.
pub fn prefixed(sample: &[u8], length_bytes: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = sample;
    std::iter::from_fn(move || {
        let (prefix, body) = rest.split_at_checked(length_bytes)?;
        let length = prefix.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let (unit, after) = body.split_at_checked(length)?;
        rest = after;
        Some(unit)
    })
}

/// Puts NAL units behind 4-byte lengths, as MP4 stores them.
pub fn join<'a>(units: impl IntoIterator<Item = &'a [u8]>) -> Bytes {
    let mut sample = BytesMut::new();
    for unit in units {
        sample.put_u32(unit.len() as u32);
        sample.put_slice(unit);
    }
    sample.freeze()
}

/// Takes out the bytes that keep start codes from appearing by chance (ISO/IEC 14496-10 and
/// 23008-2, 7.3.1).
pub(crate) fn unescaped(payload: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(payload.len());
    let mut zeros = 0;
    for &byte in payload {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        plain.push(byte);
    }
    plain
}

/// How many bytes of `payload` make `count` bytes of what [`unescaped`] makes of it; nothing if it is shorter.
pub(crate) fn escaped_bytes(payload: &[u8], count: usize) -> Option<usize> {
    let (mut zeros, mut plain) = (0, 0);
    for (at, &byte) in payload.iter().enumerate() {
        if plain == count {
            return Some(at);
        }
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        plain += 1;
    }
    (plain == count).then_some(payload.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn start_codes_of_three_and_four_bytes_and_padding_are_removed() {
        let stream = [9, 0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3, 0, 0, 0, 0, 1, 0, 0, 1, 0x65];
        let units: Vec<_> = annex_b(&stream).collect();
        assert_eq!(units, [&[0x67, 1, 2][..], &[0x68, 3], &[0x65]]);
        assert_eq!(annex_b(&[1, 2, 3]).count(), 0);
        assert_eq!(annex_b(&[0, 0, 1]).count(), 0);
    }

    #[test]
    fn a_length_beyond_the_sample_ends_it() {
        assert_eq!(prefixed(&[0, 0, 0, 1, 7, 0, 0, 0, 9, 1], 4).collect::<Vec<_>>(), [&[7][..]]);
        assert_eq!(prefixed(&[1, 7, 2, 8, 9], 1).collect::<Vec<_>>(), [&[7][..], &[8, 9]]);
    }

    proptest! {
        #[test]
        fn units_survive_both_forms(units in proptest::collection::vec(proptest::collection::vec(1u8.., 1..40), 0..8)) {
            let stream: Vec<u8> = units.iter().flat_map(|unit| [&[0, 0, 0, 1], &unit[..]].concat()).collect();
            let joined = join(annex_b(&stream));
            let back: Vec<_> = prefixed(&joined, 4).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(back, units);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), length_bytes in 1usize..5) {
            let found: usize = annex_b(&bytes).chain(prefixed(&bytes, length_bytes)).map(<[u8]>::len).sum();
            prop_assert!(found <= 2 * bytes.len());
        }
    }
}
