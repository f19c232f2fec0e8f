//! What encrypting costs stays within its two limits, and nobody gets other bytes for it.

use std::pin::pin;

use futures_util::{TryStreamExt, poll};
use millrace_cmaf::{Audio, Codec, Sample, Track};
use object_store::memory::InMemory;

use super::*;
use crate::{publish::hls::tests::segment, store::record::SegmentState};

/// Bytes of sound in the segment, of which the whole takes a little more.
const SOUND_BYTES: u64 = 9 * 1_024;
/// What one such segment takes of the budget.
const SHARE_BYTES: u64 = SOUND_BYTES + 2 * PERMIT_BYTES;

struct World {
    store: MediaStore,
    stream: StreamId,
    media: Media,
    plain: Bytes,
}

impl World {
    async fn new() -> Self {
        let store = MediaStore::over(Arc::new(InMemory::new()));
        let listed = segment(0, 0, SegmentState::Ready);
        let (stream, mut media) = (listed.stream, listed.audio.unwrap());
        let codec = Codec::Aac { audio: Audio { sample_rate: 48_000, channels: 2 }, config: vec![0x11, 0x90].into() };
        let track = Track { timescale: 48_000, codec };
        let samples = (0..9_u8).map(|at| Sample {
            pts: 48_000 + i64::from(at) * 1_024,
            dts: 0,
            duration: 1_024,
            key: true,
            data: vec![at; 1_024].into(),
        });
        let plain = millrace_cmaf::segment(&track, 1, &samples.collect::<Vec<_>>(), 0).unwrap();
        assert!((SOUND_BYTES..SHARE_BYTES).contains(&(plain.len() as u64)), "{}", plain.len());
        media.init = store.put(&stream, millrace_cmaf::init(&track).unwrap()).await.unwrap();
        media.segment = store.put(&stream, plain.clone()).await.unwrap();
        Self { store, stream, media, plain }
    }

    async fn segment(&self, seals: &Seals) -> Segment {
        seals.segment(&self.store, &self.stream, &self.media).await.unwrap()
    }

    /// All that goes out.
    async fn out(&self, segment: Segment) -> Result<Bytes, Error> {
        let (plain, _) = segment.open(&self.store, &self.stream, &self.media).await?;
        let pieces: Vec<Bytes> = plain.try_collect().await.unwrap();
        Ok(pieces.concat().into())
    }
}

#[tokio::test]
async fn no_more_segments_are_read_at_once_than_there_are_places() {
    let world = World::new().await;
    let seals = Seals::new(2, 10 * SHARE_BYTES);
    let first = seals.places.acquire().await.unwrap();
    // One place is left, and it is given back as soon as the segment is read, whatever comes of its bytes.
    let read = [world.segment(&seals).await, world.segment(&seals).await];
    let second = seals.places.acquire().await.unwrap();
    let mut third = pin!(world.segment(&seals));
    assert!(poll!(&mut third).is_pending());
    drop(second);
    assert_eq!(world.out(third.await).await.unwrap(), world.plain);
    drop((first, read));
    assert_eq!(seals.places.available_permits(), 2);
}

#[tokio::test]
async fn who_reads_slowly_keeps_no_more_than_the_budget_and_others_read_what_is_stored() {
    let world = World::new().await;
    let seals = Seals::new(4, 2 * SHARE_BYTES);
    let all = seals.room.available_permits();
    let slow = [world.segment(&seals).await, world.segment(&seals).await];
    let beyond = world.segment(&seals).await;
    assert!(slow.iter().all(|segment| segment.kept.is_some()) && beyond.kept.is_none());
    assert_eq!(world.out(beyond).await.unwrap(), world.plain, "from the store");
    // Who has been read out and who goes away gives the room back.
    let [one, other] = slow;
    world.store.delete(&world.stream, world.media.segment.sha256).await.unwrap();
    assert_eq!(world.out(one).await.unwrap(), world.plain, "from memory");
    drop(other);
    assert_eq!(seals.room.available_permits(), all);
}

#[tokio::test]
async fn a_segment_larger_than_the_budget_goes_out_all_the_same() {
    let world = World::new().await;
    let seals = Seals::new(1, 0);
    let segment = world.segment(&seals).await;
    assert!(segment.kept.is_none());
    assert_eq!(world.out(segment).await.unwrap(), world.plain);
}
