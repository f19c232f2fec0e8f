//! That the bytes come out right, however they come in. That players read them, the end-to-end tests show.

use std::convert::Infallible;

use aes::cipher::BlockDecryptMut;
use futures_util::{StreamExt, stream};
use millrace_cmaf::{Audio, Codec, Sample, Track, init, protect, segment};

use super::*;

const KEY: ContentKey = *b"0123456789abcdef";
const SCHEME: Scheme = Scheme { key_id: [1; 16], iv: [2; 16] };

/// Sound of packets of uneven lengths: its header and segment.
fn sound() -> (Bytes, Bytes) {
    let samples: Vec<_> = (0..9_u8)
        .map(|at| Sample {
            pts: 48_000 + i64::from(at) * 1_024,
            dts: 0,
            duration: 1_024,
            key: true,
            data: vec![at; usize::from(at) * 9].into(),
        })
        .collect();
    let config = vec![0x11, 0x90].into();
    let codec = Codec::Aac { audio: Audio { sample_rate: 48_000, channels: 2 }, config };
    let track = Track { timescale: 48_000, codec };
    (init(&track).unwrap(), segment(&track, 1, &samples, 0).unwrap())
}

async fn sealed(protected: &Protected, plain: &[u8], piece: usize, part: Range<u64>) -> Vec<u8> {
    let pieces: Vec<_> = plain.chunks(piece).map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece))).collect();
    let out = std::pin::pin!(seal(stream::iter(pieces), &KEY, &SCHEME, protected.clone(), part));
    out.map(|bytes| bytes.unwrap().to_vec()).concat().await
}

#[tokio::test]
async fn each_sample_is_a_chain_of_its_own_and_its_end_stays_clear() {
    let (header, plain) = sound();
    let protected = protect::segment(&header, &plain).unwrap();
    let size = sealed_size(&protected, plain.len() as u64);
    let whole = sealed(&protected, &plain, plain.len(), 0..size).await;
    for piece in [1, 7, 16, 100] {
        assert_eq!(sealed(&protected, &plain, piece, 0..size).await, whole, "in pieces of {piece}");
    }
    for part in [0..1, 10..100, size - 1..size, size - 40..size - 3] {
        let wanted = &whole[part.start as usize..part.end as usize];
        assert_eq!(sealed(&protected, &plain, 9, part.clone()).await, wanted, "{part:?}");
    }
    assert_eq!(whole.len() as u64, size);
    let mut open = whole.clone();
    for range in &protected.ranges {
        let mut chain = cbc::Decryptor::<Aes128>::new(&KEY.into(), &SCHEME.iv.into());
        let data = &mut open[range.start as usize..range.end as usize];
        for block in data.chunks_exact_mut(16) {
            let block: &mut [u8; 16] = block.try_into().unwrap();
            chain.decrypt_block_mut(block.into());
        }
    }
    assert_eq!(open, plain);
    assert!(whole != plain && whole[..protected.replaces as usize] == plain[..protected.replaces as usize]);
}
