//! Checks of retention: what is old goes, what is listed stays, and a half-done sweep is finished.

use bytes::Bytes;
use millrace_proto::{
    api::{Source, StreamState},
    profile::Choice,
};

use super::*;
use crate::{
    publish,
    store::{
        clips::Created,
        record::{Clip, Media, SegmentState},
        sqlite::SqliteStore,
    },
};

/// A live stream of `count` listed segments of two seconds, one arriving every two seconds from 0 on.
async fn stream(media: &MediaStore, count: u64, retention_s: Option<u32>) -> (Arc<dyn Store>, Stream) {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::in_memory().await.unwrap());
    let mut profile = Choice::Preset("passthrough".into()).resolve().unwrap();
    (profile.window_s, profile.retention_s) = (20, retention_s);
    let stream =
        Stream { state: StreamState::Live, ..Stream::new("s".parse().unwrap(), "n", Source::Live, profile, 0) };
    assert!(store.create_stream(&stream).await.unwrap());
    for seq in 0..count {
        let video = Media {
            name: "source".into(),
            init: media.put(&stream.id, Bytes::from_static(b"init")).await.unwrap(),
            segment: media.put(&stream.id, Bytes::from(format!("segment {seq}"))).await.unwrap(),
            codec: "avc1.64001f".into(),
            frames: 50,
            width: 640,
            height: 360,
            channels: 0,
            duration_ns: 2_000_000_000,
            preroll: 0,
            key_bytes: 1,
        };
        let segment = Segment {
            hold: None,
            stream: stream.id.clone(),
            seq,
            discontinuity: 0,
            start_ns: seq * 2_000_000_000,
            duration_ns: 2_000_000_000,
            wall_ms: Some(seq * 2_000),
            arrived_ms: seq * 2_000,
            video: Some(video),
            audio: None,
            state: SegmentState::Ready,
            renditions: vec![],
        };
        store.commit_segment(&segment, &[]).await.unwrap();
    }
    publish::advance(&store, &stream.id, 0).await.unwrap();
    let stream = store.stream(&stream.id).await.unwrap().unwrap();
    (store, stream)
}

async fn kept(store: &Arc<dyn Store>, media: &MediaStore, stream: &Stream) -> Vec<u64> {
    let segments = store.segments(&stream.id, 0, 1_000).await.unwrap();
    for segment in &segments {
        for blob in segment.video.iter().flat_map(|video| [video.init, video.segment]) {
            assert!(media.has(&stream.id, blob).await.unwrap(), "what is known is there");
        }
    }
    segments.iter().map(|segment| segment.seq).collect()
}

#[tokio::test]
async fn what_is_old_goes_and_the_window_stays() {
    let folder = tempfile::tempdir().unwrap();
    let media = MediaStore::local(folder.path()).unwrap();
    let (store, stream) = stream(&media, 100, Some(60)).await;
    // At 150 s, segments up to number 45 arrived a minute ago or earlier.
    assert_eq!(sweep(&store, &media, &stream, 150_000).await.unwrap(), 46);
    assert_eq!(kept(&store, &media, &stream).await, (46..100).collect::<Vec<_>>());
    // Long after its end, the ten segments of the window are still listed, and so still there.
    for _ in 0..2 {
        let stream = store.stream(&stream.id).await.unwrap().unwrap();
        sweep(&store, &media, &stream, 99_999_000).await.unwrap();
        assert_eq!(kept(&store, &media, &stream).await, (90..100).collect::<Vec<_>>());
    }
    let stream = store.stream(&stream.id).await.unwrap().unwrap();
    let vod = publish::covered(&store, &stream, publish::hls::Span::Vod).await.unwrap();
    assert_eq!((vod.len(), vod[0].seq), (10, 90), "no playlist names what was freed");
    let files = std::fs::read_dir(folder.path().join("s")).unwrap().count();
    assert_eq!(files, 11, "ten segments and their header");
}

#[tokio::test]
async fn without_retention_all_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let media = MediaStore::local(folder.path()).unwrap();
    let (store, stream) = stream(&media, 30, None).await;
    assert_eq!(sweep(&store, &media, &stream, u64::MAX / 2).await.unwrap(), 0);
    assert_eq!(kept(&store, &media, &stream).await.len(), 30);
}

#[tokio::test]
async fn a_sweep_that_was_cut_off_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let media = MediaStore::local(folder.path()).unwrap();
    let (store, stream) = stream(&media, 40, Some(60)).await;
    store.expire_segments(&stream.id, 7).await.unwrap();
    let stream = store.stream(&stream.id).await.unwrap().unwrap();
    // Nothing more has expired; the seven are freed all the same.
    assert_eq!(sweep(&store, &media, &stream, 60_000).await.unwrap(), 7);
    assert_eq!(kept(&store, &media, &stream).await[0], 7);
}

#[tokio::test]
async fn what_an_unlisted_segment_is_decoded_after_stays() {
    let folder = tempfile::tempdir().unwrap();
    let media = MediaStore::local(folder.path()).unwrap();
    let (store, stream) = stream(&media, 40, Some(60)).await;
    let oldest = store.segments(&stream.id, 0, 100).await.unwrap();
    let mut next = oldest[39].clone();
    next.seq = 40;
    assert_eq!(keep_from(&stream, &oldest, Some(&next), 99_999_000), 30, "the window alone counts");
    next.video.as_mut().unwrap().preroll = 14;
    assert_eq!(keep_from(&stream, &oldest, Some(&next), 99_999_000), 26);
}

#[tokio::test]
async fn an_ended_stream_expires_as_a_whole_but_for_its_clips() {
    let folder = tempfile::tempdir().unwrap();
    let media = MediaStore::local(folder.path()).unwrap();
    let (store, stream) = stream(&media, 40, Some(60)).await;
    let clip = |state| Clip {
        id: "c".parse().unwrap(),
        stream: stream.id.clone(),
        rendition: "source".into(),
        start_ns: 0,
        end_ns: 1,
        from_seq: 0,
        to_seq: 1,
        created_ms: 0,
        state,
        reason: None,
        bytes: 1,
    };
    media.put_asset(&stream.id, "clip-c.mp4", Bytes::from_static(b"clip")).await.unwrap();
    media.put_asset(&stream.id, "poster.jpg", Bytes::from_static(b"poster")).await.unwrap();
    media.put(&stream.id, Bytes::from_static(b"what a worker uploaded and was refused")).await.unwrap();
    assert_eq!(store.create_clip(&clip(ClipState::Pending), 9).await.unwrap(), Created::Done);
    let states = [StreamState::Live];
    let step = Move { from: &states, to: StreamState::Ended, reason: None, grace_ends_ms: 0, now_ms: 80_000 };
    assert!(store.move_stream(&stream.id, &step).await.unwrap());
    let now = || async { store.stream(&stream.id).await.unwrap().unwrap() };
    assert!(!expire(&store, &media, &now().await, 139_999).await.unwrap());
    assert_eq!(now().await.state, StreamState::Ended, "it is kept for 60 s from its end on");
    assert!(!expire(&store, &media, &now().await, 140_000).await.unwrap(), "a clip is being made");
    assert_eq!(now().await.state, StreamState::Expired);
    assert_eq!(kept(&store, &media, &stream).await.len(), 40);
    assert!(store.settle_clip(&clip(ClipState::Ready)).await.unwrap());
    // Media may be gone already where a sweep was cut off.
    media.delete_all_but_clips(&stream.id).await.unwrap();
    assert!(expire(&store, &media, &now().await, 150_000).await.unwrap());
    assert!(!expire(&store, &media, &now().await, 160_000).await.unwrap(), "there is nothing more to free");
    assert!(store.segments(&stream.id, 0, 9).await.unwrap().is_empty());
    let files: Vec<_> =
        std::fs::read_dir(folder.path().join("s")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["asset-clip-c.mp4"]);
}
