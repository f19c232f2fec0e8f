//! Of the suite: segments that are held back.

use millrace_proto::api::HoldState;

use super::{
    super::{Listing, Store, events::Happened, holds::Decision, record::Hold},
    segment, stream,
};

pub(super) async fn are_listed_and_decided_once(store: impl Store) {
    let a = stream("a", 1);
    store.create_stream(&a).await.unwrap();
    for seq in 0..4 {
        store.commit_segment(&segment("a", seq), &[]).await.unwrap();
    }
    let hold = Hold { state: HoldState::Held, reason: "rude".into(), since_ms: 5 };
    let listing = Listing {
        held: [0, 2, 3].map(|seq| (seq, hold.clone())).into(),
        events: vec![Happened::new("moderation.held", &a.id, 5, &1)],
        ..Listing::default()
    };
    assert!(!store.list_segments(&a.id, 1, 4, &listing).await.unwrap());
    assert_eq!(store.held(&a.id, 0, 9).await.unwrap(), [], "nothing is held that was not listed");
    assert!(store.list_segments(&a.id, 0, 4, &listing).await.unwrap());
    let states = async || {
        let held = store.held(&a.id, 1, 9).await.unwrap();
        let withheld = store.stream(&a.id).await.unwrap().unwrap().withheld_segments;
        let told: Vec<_> = held.iter().map(|one| (one.seq, one.hold.clone().unwrap().state)).collect();
        (told, withheld)
    };
    assert_eq!(states().await, (vec![(2, HoldState::Held), (3, HoldState::Held)], 3));
    // Segments are of two seconds: a place between two is in one of them alone.
    let decided = async |from_s: u64, to_s: u64, state| {
        let decision = Decision { from_ns: from_s * 1_000_000_000, to_ns: to_s * 1_000_000_000, state, now_ms: 9 };
        let found = store.decide(&a.id, decision).await.unwrap();
        found.iter().map(|one| (one.seq, one.hold.clone().unwrap().state)).collect::<Vec<_>>()
    };
    assert_eq!(decided(2, 4, HoldState::Approved).await, [], "it is not held");
    assert_eq!(decided(3, 6, HoldState::Approved).await, [(2, HoldState::Approved)]);
    assert_eq!(decided(3, 6, HoldState::Approved).await, [(2, HoldState::Approved)]);
    assert_eq!(states().await, (vec![(2, HoldState::Approved), (3, HoldState::Held)], 2));
    let both = [(2, HoldState::Approved), (3, HoldState::Rejected)];
    assert_eq!(decided(4, 8, HoldState::Rejected).await, both, "what was decided stays");
    assert_eq!(states().await, (both.into(), 2));
    let kinds: Vec<_> =
        store.events(0, None, 9).await.unwrap().into_iter().map(|event| (event.kind, event.body)).collect();
    let body =
        |seq: u64| serde_json::json!({"segments": [seq], "start_ms": seq * 2_000, "end_ms": seq * 2_000 + 2_000});
    let told = [("moderation.held", 1.into()), ("moderation.approved", body(2)), ("moderation.rejected", body(3))];
    assert_eq!(kinds, told.map(|(kind, body)| (kind.to_owned(), body)), "each is told once");
}
