//! Of the suite: events.

use millrace_proto::{StreamId, api::StreamState, events::Event};

use super::{
    super::{Move, Settlement, Store, events::Happened},
    segment, stream, task,
};
use crate::task::{State, Task};

pub(super) async fn are_numbered_and_forgotten_in_order(store: impl Store) {
    for id in ["a", "b"] {
        store.create_stream(&stream(id, 1)).await.unwrap();
    }
    let ids = ["a", "b"].map(|id| id.parse::<StreamId>().unwrap());
    let step = |to, now_ms| Move {
        from: &[StreamState::Waiting, StreamState::Live],
        to,
        reason: None,
        grace_ends_ms: 0,
        now_ms,
    };
    for (at, id) in [(10, 0), (20, 1), (30, 0)] {
        assert!(store.move_stream(&ids[id], &step(StreamState::Live, at)).await.unwrap());
    }
    let failed = Move { reason: Some("no space".into()), ..step(StreamState::Failed, 40) };
    assert!(store.move_stream(&ids[1], &failed).await.unwrap());
    let none = Move { from: &[StreamState::Ended], ..step(StreamState::Live, 50) };
    assert!(!store.move_stream(&ids[0], &none).await.unwrap(), "what did not happen is not told");
    assert!(store.delete_stream(&ids[1]).await.unwrap());
    let told = |events: Vec<Event>| events.iter().map(|event| (event.number, event.kind.clone())).collect::<Vec<_>>();
    let live = |number| (number, "stream.live".to_owned());
    assert_eq!(told(store.events(0, Some(&ids[0]), 9).await.unwrap()), [live(1), live(3)]);
    assert_eq!(told(store.events(1, None, 2).await.unwrap()), [live(2), live(3)]);
    let last = store.events(3, None, 9).await.unwrap();
    assert_eq!(last[0].body, serde_json::json!({"reason": "no space"}));
    assert_eq!((last[0].kind.as_str(), last[0].created_ms, &last[0].stream), ("stream.failed", 40, &ids[1]));
    assert_eq!(store.forget_events(10, 4).await.unwrap(), 0);
    assert_eq!(store.forget_events(11, 4).await.unwrap(), 1);
    assert_eq!(store.forget_events(0, 2).await.unwrap(), 1);
    assert_eq!(store.oldest_event().await.unwrap(), Some(3));
    assert_eq!(store.forget_events(99, 9).await.unwrap(), 2);
    assert_eq!(store.oldest_event().await.unwrap(), None);
    assert!(store.move_stream(&ids[0], &step(StreamState::Live, 60)).await.unwrap());
    assert_eq!(told(store.events(0, None, 9).await.unwrap()), [live(5)], "no number is given twice");
}

pub(super) async fn come_with_what_they_tell_of(store: impl Store) {
    store.create_stream(&stream("a", 1)).await.unwrap();
    let open = task("a", 0, true, 10);
    store.commit_segment(&segment("a", 0), std::slice::from_ref(&open)).await.unwrap();
    let done = Task { version: 1, state: State::Failed { reason: "no".into() }, ..open.clone() };
    let events = vec![Happened::new("test.settled", &open.stream, 12, &"body")];
    let settlement = Settlement { events, ..Settlement::default() };
    let stale = Task { version: 5, ..done.clone() };
    assert!(!store.swap_task(&stale, &settlement).await.unwrap());
    assert_eq!(store.events(0, None, 9).await.unwrap(), []);
    assert!(store.swap_task(&done, &settlement).await.unwrap());
    let events = store.events(0, None, 9).await.unwrap();
    assert_eq!((events.len(), events[0].kind.as_str(), events[0].created_ms), (1, "test.settled", 12));
    assert_eq!(events[0].body, "body");
}
