//! Of the suite: clips.

use millrace_proto::{StreamId, api::ClipState};

use super::{
    super::{Listing, Store, clips::Created, record::Clip},
    segment, stream,
};

pub(super) async fn keep_what_they_are_made_of_until_they_are_settled(store: impl Store) {
    let id: StreamId = "a".parse().unwrap();
    let clip = |name: &str, from_seq| Clip {
        id: name.parse().unwrap(),
        stream: id.clone(),
        rendition: "720p".into(),
        start_ns: 1,
        end_ns: 2,
        from_seq,
        to_seq: from_seq + 1,
        created_ms: from_seq,
        state: ClipState::Pending,
        reason: None,
        bytes: 0,
    };
    assert_eq!(store.create_clip(&clip("one", 0), 2).await.unwrap(), Created::Gone);
    store.create_stream(&stream("a", 1)).await.unwrap();
    for seq in 0..4 {
        store.commit_segment(&segment("a", seq), &[]).await.unwrap();
    }
    store.list_segments(&id, 0, 4, &Listing { target_duration_s: 2, ..Listing::default() }).await.unwrap();
    assert_eq!(store.expire_segments(&id, 1).await.unwrap(), 1);
    assert_eq!(store.create_clip(&clip("one", 0), 2).await.unwrap(), Created::Expired);
    assert_eq!(store.create_clip(&clip("one", 2), 2).await.unwrap(), Created::Done);
    assert_eq!(store.create_clip(&clip("two", 3), 2).await.unwrap(), Created::Done);
    assert_eq!(store.create_clip(&clip("three", 3), 2).await.unwrap(), Created::Full);
    assert_eq!(store.clips_pending(9).await.unwrap(), [clip("one", 2), clip("two", 3)]);
    assert_eq!(store.expire_segments(&id, 4).await.unwrap(), 2, "a pending clip needs 2");
    let ready = Clip { state: ClipState::Ready, bytes: 9, start_ns: 0, ..clip("one", 2) };
    assert!(store.settle_clip(&ready).await.unwrap());
    assert!(!store.settle_clip(&ready).await.unwrap(), "it is settled once");
    assert_eq!(store.clip(&id, &ready.id).await.unwrap(), Some(ready.clone()));
    assert_eq!(store.expire_segments(&id, 4).await.unwrap(), 3);
    assert_eq!(store.clips(&id).await.unwrap(), [clip("two", 3), ready.clone()]);
    assert!(store.delete_clip(&id, &clip("two", 3).id).await.unwrap());
    assert!(!store.delete_clip(&id, &clip("two", 3).id).await.unwrap());
    assert_eq!(store.expire_segments(&id, 4).await.unwrap(), 4);
    store.delete_stream(&id).await.unwrap();
    assert!(store.clips(&id).await.unwrap().is_empty(), "clips go with their stream");
}
