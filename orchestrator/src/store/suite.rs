//! The contract's suite: the same bodies run on every implementation of [`Store`].
//!
//! `suite!` makes one module of tests for an implementation, from an expression that opens a fresh store
//! and what must live as long as it.

mod catalogs;
mod clips;
mod events;
mod holds;
mod workers;

use millrace_proto::{
    Sha256, StreamId,
    api::{Source, StreamState},
    identity::Secret,
    offer::{Offer, Sandbox},
    profile::{Captions, Choice},
    task::{Blob, Transcode, Work},
    timeline::Entry,
};

use super::{
    Commit, Listing, Move, Noted, Settlement, Store,
    marks::Mark,
    record::{Fetched, Media, Pushed, Segment, SegmentState, Starts, Stream, Tail},
    reports::{Chain, Found, Of, Report},
};
use crate::task::{Held, Link, State, Task};

fn stream(id: &str, created_ms: u64) -> Stream {
    let profile = Choice::default().resolve().unwrap();
    Stream {
        listed: true,
        key_sha256: Some(Sha256::of(b"secret")),
        ..Stream::new(id.parse().unwrap(), "Ünïcode \"name\"", Source::Live, profile, created_ms)
    }
}

fn segment(id: &str, seq: u64) -> Segment {
    Segment {
        stream: id.parse().unwrap(),
        seq,
        discontinuity: 0,
        start_ns: seq * 2_000_000_000,
        duration_ns: 2_000_000_000,
        wall_ms: Some(5),
        arrived_ms: 6,
        video: Some(media("source")),
        audio: None,
        state: SegmentState::Pending,
        renditions: vec![],
        hold: None,
    }
}

fn media(name: &str) -> Media {
    Media {
        name: name.into(),
        init: Blob::of(b"init"),
        segment: Blob::of(b"segment"),
        codec: "avc1.64001f".into(),
        frames: 50,
        width: 1_280,
        height: 720,
        channels: 0,
        duration_ns: 2_000_000_000,
        preroll: 0,
        key_bytes: 1,
    }
}

fn task(id: &str, seq: u64, live: bool, created_ms: u64) -> Task {
    Task {
        id: format!("{id}-{seq}-transcode").parse().unwrap(),
        stream: id.parse().unwrap(),
        seq,
        live,
        duration_ms: 2_000,
        version: 0,
        work: Work::Transcode(Transcode { renditions: vec![] }),
        link: None,
        sandboxed: false,
        created_ms,
        state: State::Waiting { not_before_ms: created_ms },
        attempts: vec![],
    }
}

fn leased(mut task: Task, expires_ms: u64) -> Task {
    task.version += 1;
    task.state = State::Leased {
        leases: vec![Held {
            id: "l".parse().unwrap(),
            token_sha256: Sha256::of(b"t"),
            worker: worker(),
            instance: "i".into(),
            given_ms: 0,
            expires_ms,
            work_ends_ms: 99_999,
        }],
    };
    task
}

fn worker() -> millrace_proto::Address {
    Secret::from_hex(&"1".repeat(64)).unwrap().address()
}

fn offer(slots: u32) -> Offer {
    Offer {
        version: "1".into(),
        slots,
        cores: 2,
        encoders: vec![],
        absent: vec![],
        sandbox: Sandbox::default(),
        models: vec![],
        cards: vec![],
    }
}

async fn streams_are_kept_and_paged(store: impl Store) {
    for (id, created_ms) in [("a", 1), ("b", 2), ("c", 2)] {
        assert!(store.create_stream(&stream(id, created_ms)).await.unwrap());
    }
    assert!(!store.create_stream(&stream("a", 9)).await.unwrap(), "an id is taken once");
    assert_eq!(store.stream(&"a".parse().unwrap()).await.unwrap(), Some(stream("a", 1)));
    assert_eq!(store.stream(&"x".parse().unwrap()).await.unwrap(), None);
    let ids = |streams: Vec<Stream>| streams.iter().map(|stream| stream.id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(store.streams(None, 2).await.unwrap()), ["c", "b"]);
    assert_eq!(ids(store.streams(Some(&"b".parse().unwrap()), 2).await.unwrap()), ["a"]);
    assert!(store.delete_stream(&"b".parse().unwrap()).await.unwrap());
    assert!(!store.delete_stream(&"b".parse().unwrap()).await.unwrap());
}

async fn states_move_only_from_where_they_may(store: impl Store) {
    let id = "a".parse().unwrap();
    store.create_stream(&stream("a", 1)).await.unwrap();
    let step =
        |from: &'static [StreamState], to| Move { from, to, reason: Some("why".into()), grace_ends_ms: 7, now_ms: 8 };
    assert!(!store.move_stream(&id, &step(&[StreamState::Live], StreamState::Ended)).await.unwrap());
    assert!(
        store.move_stream(&id, &step(&[StreamState::Live, StreamState::Waiting], StreamState::Live)).await.unwrap()
    );
    let now = store.stream(&id).await.unwrap().unwrap();
    assert_eq!(
        (now.state, now.state_since_ms, now.grace_ends_ms, now.reason.as_deref()),
        (StreamState::Live, 8, 7, Some("why"))
    );
    assert_eq!(store.streams_in(&[StreamState::Live]).await.unwrap().len(), 1);
    assert!(store.streams_in(&[StreamState::Waiting, StreamState::Ended]).await.unwrap().is_empty());
    assert!(!store.note_upload(&id, 5, None).await.unwrap(), "a live stream takes no upload");
    let file = Stream { source: Source::File, key_sha256: None, ..stream("f", 1) };
    store.create_stream(&file).await.unwrap();
    assert!(store.note_upload(&file.id, 5, Some(9)).await.unwrap());
    let file = store.stream(&file.id).await.unwrap().unwrap();
    assert_eq!((file.source_bytes, file.source_bytes_total), (5, Some(9)));
}

async fn what_a_url_turned_out_to_be_is_kept(store: impl Store) {
    let url = Some("https://name:word@example.org/clip.mp4?token=1".to_owned());
    let stream = Stream { source: Source::Url, url, key_sha256: None, ..stream("u", 1) };
    let fetched = Fetched::File { version: Some("\"v1\"".into()) };
    assert!(!store.note_fetched(&stream.id, &fetched).await.unwrap(), "it is not there");
    store.create_stream(&stream).await.unwrap();
    assert_eq!(store.stream(&stream.id).await.unwrap().as_ref(), Some(&stream));
    assert!(!store.note_upload(&stream.id, 5, None).await.unwrap(), "nobody knows that it is a file");
    assert!(store.note_fetched(&stream.id, &fetched).await.unwrap());
    assert!(store.note_upload(&stream.id, 5, Some(9)).await.unwrap());
    let now = store.stream(&stream.id).await.unwrap().unwrap();
    assert_eq!((now.source_bytes, now.fetched.as_ref()), (5, Some(&fetched)));
    assert!(now.is_file() && !now.is_live());
}

async fn segments_are_committed_once_and_in_order(store: impl Store) {
    let id = "a".parse().unwrap();
    assert_eq!(store.commit_segment(&segment("a", 0), &[]).await.unwrap(), Commit::Stale, "no such stream");
    store.create_stream(&stream("a", 1)).await.unwrap();
    assert_eq!(store.commit_segment(&segment("a", 1), &[]).await.unwrap(), Commit::Stale, "0 is missing");
    let tasks = [task("a", 0, true, 1)];
    assert_eq!(store.commit_segment(&segment("a", 0), &tasks).await.unwrap(), Commit::Done);
    assert_eq!(store.commit_segment(&segment("a", 0), &tasks).await.unwrap(), Commit::Repeated);
    assert_eq!(store.commit_segment(&segment("a", 1), &[]).await.unwrap(), Commit::Done);
    let now = store.stream(&id).await.unwrap().unwrap();
    assert_eq!(
        (now.next_seq, now.tail),
        (2, Some(Tail { discontinuity: 0, end_ns: 4_000_000_000, wall_end_ms: 2_005, channels: 0 }))
    );
    assert_eq!(store.segment(&id, 0).await.unwrap(), Some(segment("a", 0)));
    assert_eq!(store.segment(&id, 2).await.unwrap(), None);
    assert_eq!(store.segments(&id, 1, 9).await.unwrap(), [segment("a", 1)]);
    assert_eq!(store.task(&tasks[0].id).await.unwrap().as_ref(), Some(&tasks[0]));
}

async fn listing_goes_on_from_where_it_was(store: impl Store) {
    let id = "a".parse().unwrap();
    store.create_stream(&stream("a", 1)).await.unwrap();
    store.commit_segment(&segment("a", 0), &[]).await.unwrap();
    let listing = Listing { target_duration_s: 3, failed: 1, ..Listing::default() };
    assert!(!store.list_segments(&id, 0, 2, &listing).await.unwrap(), "what is not committed can't be listed");
    assert!(store.list_segments(&id, 0, 1, &listing).await.unwrap());
    assert!(!store.list_segments(&id, 0, 1, &listing).await.unwrap(), "nothing is listed twice");
    let now = store.stream(&id).await.unwrap().unwrap();
    assert_eq!((now.listed_seq, now.target_duration_s, now.failed_segments), (1, 3, 1));
    let ladder = Choice::default().resolve().unwrap().ladder;
    assert_eq!(store.fix_rungs(&id, &ladder[..1]).await.unwrap(), ladder[..1]);
    assert_eq!(store.fix_rungs(&id, &ladder[1..]).await.unwrap(), ladder[..1], "rungs are fixed once");
    assert_eq!(store.stream(&id).await.unwrap().unwrap().rungs, ladder[..1]);
    assert_eq!(store.fix_rungs(&"gone".parse().unwrap(), &ladder).await.unwrap(), []);
}

async fn tasks_are_found_by_what_they_wait_for(store: impl Store) {
    store.create_stream(&stream("a", 1)).await.unwrap();
    let (old, new, live) = (task("a", 0, false, 10), task("a", 1, false, 20), task("a", 2, true, 30));
    for (seq, task) in [(0, &old), (1, &new), (2, &live)] {
        store.commit_segment(&segment("a", seq), std::slice::from_ref(task)).await.unwrap();
    }
    assert_eq!(store.tasks_ready(15, 9).await.unwrap(), std::slice::from_ref(&old));
    assert_eq!(store.tasks_ready(30, 9).await.unwrap(), [live.clone(), old.clone(), new.clone()]);
    assert_eq!(store.tasks_open(&old.stream).await.unwrap(), 3);
    let given = leased(old.clone(), 50);
    assert!(store.swap_task(&given, &Settlement::default()).await.unwrap());
    assert!(!store.swap_task(&given, &Settlement::default()).await.unwrap(), "a version is written once");
    assert_eq!(store.tasks_held(worker()).await.unwrap(), std::slice::from_ref(&given));
    assert!(store.tasks_due(49, 9).await.unwrap().is_empty());
    assert_eq!(store.tasks_due(50, 9).await.unwrap(), std::slice::from_ref(&given));
    assert_eq!(store.tasks_ready(99, 9).await.unwrap(), [live, new]);
    let outcome = millrace_proto::outcome::Outcome {
        result: millrace_proto::outcome::Result::Failed(millrace_proto::outcome::Failure {
            kind: millrace_proto::outcome::FailureKind::Crashed,
            message: String::new(),
        }),
        signature: String::new(),
    };
    let mut checking = given.clone();
    checking.version += 1;
    checking.state = State::Checking { lease: given.leases()[0].clone(), outcome, since_ms: 60 };
    assert!(store.swap_task(&checking, &Settlement::default()).await.unwrap());
    assert_eq!(store.tasks_checking(9).await.unwrap(), [checking]);
    assert!(store.tasks_held(worker()).await.unwrap().is_empty());
    assert!(store.tasks_due(99, 9).await.unwrap().is_empty());
}

async fn a_settlement_is_written_with_its_task(store: impl Store) {
    store.create_stream(&stream("a", 1)).await.unwrap();
    store.greet_worker(worker(), &offer(1), 3).await.unwrap();
    let open = task("a", 0, true, 10);
    store.commit_segment(&segment("a", 0), std::slice::from_ref(&open)).await.unwrap();
    let mut done = open.clone();
    done.version = 1;
    done.state = State::Accepted { worker: worker(), lease: "l".parse().unwrap() };
    let settlement = Settlement {
        segment: Some((SegmentState::Ready, vec![media("720p")])),
        accepted: Some(worker()),
        failed: vec![worker()],
        ..Settlement::default()
    };
    let stale = Task { version: 5, ..done.clone() };
    assert!(!store.swap_task(&stale, &settlement).await.unwrap());
    assert_eq!(store.segment(&open.stream, 0).await.unwrap().unwrap().state, SegmentState::Pending);
    assert!(store.swap_task(&done, &settlement).await.unwrap());
    let segment = store.segment(&open.stream, 0).await.unwrap().unwrap();
    assert_eq!((segment.state, segment.renditions), (SegmentState::Ready, vec![media("720p")]));
    assert_eq!(store.tasks_open(&open.stream).await.unwrap(), 0);
    let workers = store.workers(9).await.unwrap();
    assert_eq!((workers[0].accepted, workers[0].failed), (1, 1));
    assert!(store.delete_stream(&open.stream).await.unwrap());
    assert_eq!(store.task(&open.id).await.unwrap(), None, "a stream goes with all that is its");
    assert!(!store.swap_task(&done, &settlement).await.unwrap());
}

fn push(number: u64) -> Pushed {
    Pushed::new("a".parse().unwrap(), number, Blob::of(b"bytes"), 6)
}

async fn pushes_are_noted_once_and_taken_in_order(store: impl Store) {
    let id = "a".parse().unwrap();
    assert_eq!(store.note_push(&push(5), 3).await.unwrap(), Noted::Gone);
    store.create_stream(&stream("a", 1)).await.unwrap();
    assert_eq!(store.pushes_open(&id).await.unwrap(), (0, vec![]));
    for number in [7, 5, 9] {
        assert_eq!(store.note_push(&push(number), 3).await.unwrap(), Noted::Done);
    }
    let other = Pushed { sha256: Sha256::of(b"other"), ..push(5) };
    assert_eq!(store.note_push(&other, 3).await.unwrap(), Noted::Known(push(5)), "the first bytes stand");
    assert_eq!(store.note_push(&push(6), 3).await.unwrap(), Noted::Full);
    assert_eq!(store.pushes_open(&id).await.unwrap(), (0, vec![push(5), push(7), push(9)]));
    assert_eq!(store.streams_pushed().await.unwrap(), std::slice::from_ref(&id));

    let tail = Some(Tail { discontinuity: 1, end_ns: 2, wall_end_ms: 3, channels: 2 });
    assert!(!store.begin_push(&id, 7, 0, tail).await.unwrap(), "5 comes first");
    assert!(store.begin_push(&id, 5, 3, tail).await.unwrap());
    assert!(!store.begin_push(&id, 5, 4, None).await.unwrap(), "it is begun once");
    let begun = Pushed { first_seq: Some(3), tail, ..push(5) };
    assert_eq!(store.pushes_open(&id).await.unwrap(), (6, vec![begun.clone(), push(7), push(9)]));
    assert_eq!(store.note_push(&push(4), 9).await.unwrap(), Noted::Passed);
    let starts = Starts { video: Some(-3), audio: None };
    let settled = Pushed { end_seq: Some(4), reason: Some("why".into()), starts, ..begun };
    store.settle_push(&settled).await.unwrap();
    store.settle_push(&Pushed { end_seq: Some(9), reason: None, ..settled.clone() }).await.unwrap();
    assert_eq!(store.pushed(&id, 5).await.unwrap(), Some(settled), "it is settled once");
    assert_eq!(store.note_push(&push(6), 3).await.unwrap(), Noted::Done, "there is room again");
    store.delete_stream(&id).await.unwrap();
    assert_eq!(store.pushed(&id, 5).await.unwrap(), None);
    assert!(store.streams_pushed().await.unwrap().is_empty());
}

async fn chains_go_on_window_by_window(store: impl Store) {
    let id: StreamId = "a".parse().unwrap();
    let mut asked = stream("a", 1);
    asked.profile.captions = Some(Captions { translate: true, ..Captions::default() });
    store.create_stream(&asked).await.unwrap();
    store.create_stream(&stream("b", 2)).await.unwrap();
    store.commit_segment(&segment("a", 0), &[]).await.unwrap();
    let chains = store.chains(&id).await.unwrap();
    assert_eq!(chains.iter().map(|chain| chain.track.as_str()).collect::<Vec<_>>(), ["captions", "english"]);
    assert_eq!(store.chains_open().await.unwrap(), chains, "b asks for none");
    let chain = &chains[0];
    let link = Link { kind: chain.kind, track: chain.track.clone(), number: 0 };
    let window = Task { id: chain.task_id(), link: Some(link), ..task("a", 0, true, 5) };
    assert!(!store.plan_window(&Chain { number: 1, ..chain.clone() }, &window).await.unwrap());
    assert!(store.plan_window(chain, &window).await.unwrap());
    assert!(!store.plan_window(chain, &window).await.unwrap(), "it is planned once");

    let carry = Some("a cup".to_owned());
    let next = Chain { carry, number: 1, position_ms: 3_000, label: Some("en".into()), ..chain.clone() };
    let blob = Blob::of(b"heard");
    let found = Found { blob, model: "base".into(), version: "1".into(), worker: worker(), words: Some((0, 2)) };
    let report = |number, start_ms, end_ms| Report {
        stream: id.clone(),
        kind: chain.kind,
        track: chain.track.clone(),
        number,
        start_ms,
        end_ms,
        created_ms: 7,
        found: Some(found.clone()),
        reason: None,
    };
    let given = (next.clone(), report(0, 0, 3_000));
    let mark = |number, changed, start_ms, end_ms| Mark {
        stream: id.clone(),
        number,
        changed,
        entry: Entry { label: Some("cup".into()), ..Entry::blank(chain.kind, &chain.track, start_ms, end_ms) },
        looks: vec![-128, 127],
    };
    let first = vec![mark(0, 0, 500, 1_000), mark(1, 0, 2_000, 3_000)];
    let settlement = Settlement { report: Some(given), marks: first, ..Settlement::default() };
    let (lease, done) = ("a-0-captions-1".parse().unwrap(), worker());
    let taken = Task { version: 1, state: State::Accepted { worker: done, lease }, ..window };
    assert!(store.swap_task(&taken, &settlement).await.unwrap());
    assert_eq!(store.chains(&id).await.unwrap()[0], next);
    let skipped = Report { found: None, reason: Some("no sound".into()), ..report(1, 3_000, 5_000) };
    let marks = [mark(1, 1, 2_000, 5_000), mark(2, 1, 4_000, 5_000)];
    let after = Chain { number: 2, position_ms: 5_000, label: None, carry: None, open: false, ..next.clone() };
    assert!(!store.step_chain(0, &after, Some(&skipped), &[]).await.unwrap(), "it has gone on");
    assert!(store.step_chain(1, &after, Some(&skipped), &marks).await.unwrap());
    let kept = Chain { label: Some("en".into()), carry: next.carry.clone(), ..after };
    assert_eq!(store.chains(&id).await.unwrap()[0], kept, "the language stays, and what is carried");
    assert_eq!(store.chains_open().await.unwrap(), chains[1..], "this one is closed");

    let of = Of { stream: &id, kind: chain.kind, track: &chain.track };
    assert_eq!(store.reports(of, 0, 9_000, 9).await.unwrap(), [report(0, 0, 3_000), skipped.clone()]);
    assert_eq!(store.reports(of, 3_000, 9_000, 9).await.unwrap(), std::slice::from_ref(&skipped));
    assert_eq!(store.reports(of, 0, 3_000, 9).await.unwrap(), [report(0, 0, 3_000)]);
    assert_eq!(store.reports_over(&id, 3_000, 9).await.unwrap(), [report(0, 0, 3_000)]);
    store.forget_report(&report(0, 0, 3_000)).await.unwrap();
    assert_eq!(store.reports(of, 0, 9_000, 9).await.unwrap(), [skipped]);
    assert_eq!(store.marks(of, 1_000, 4_000, 9).await.unwrap(), [mark(0, 0, 500, 1_000), marks[0].clone()]);
    assert_eq!(store.marks(of, 1_001, 9_000, 1).await.unwrap(), marks[..1]);
    assert_eq!(store.marks_changed(of, 1, 9).await.unwrap(), marks);
    store.forget_marks(&id, 1_000).await.unwrap();
    assert_eq!(store.marks_changed(of, 0, 9).await.unwrap(), marks);
    store.delete_stream(&id).await.unwrap();
    assert!(store.marks(of, 0, 9_000, 9).await.unwrap().is_empty());
    assert!(store.chains(&id).await.unwrap().is_empty() && store.reports(of, 0, 9_000, 9).await.unwrap().is_empty());
}

macro_rules! suite {
    ($name:ident, $open:expr) => {
        mod $name {
            #[tokio::test]
            async fn streams_are_kept_and_paged() {
                let (store, _folder) = $open;
                super::streams_are_kept_and_paged(store).await;
            }
            #[tokio::test]
            async fn states_move_only_from_where_they_may() {
                let (store, _folder) = $open;
                super::states_move_only_from_where_they_may(store).await;
            }
            #[tokio::test]
            async fn what_a_url_turned_out_to_be_is_kept() {
                let (store, _folder) = $open;
                super::what_a_url_turned_out_to_be_is_kept(store).await;
            }
            #[tokio::test]
            async fn segments_are_committed_once_and_in_order() {
                let (store, _folder) = $open;
                super::segments_are_committed_once_and_in_order(store).await;
            }
            #[tokio::test]
            async fn listing_goes_on_from_where_it_was() {
                let (store, _folder) = $open;
                super::listing_goes_on_from_where_it_was(store).await;
            }
            #[tokio::test]
            async fn tasks_are_found_by_what_they_wait_for() {
                let (store, _folder) = $open;
                super::tasks_are_found_by_what_they_wait_for(store).await;
            }
            #[tokio::test]
            async fn a_settlement_is_written_with_its_task() {
                let (store, _folder) = $open;
                super::a_settlement_is_written_with_its_task(store).await;
            }
            #[tokio::test]
            async fn pushes_are_noted_once_and_taken_in_order() {
                let (store, _folder) = $open;
                super::pushes_are_noted_once_and_taken_in_order(store).await;
            }
            #[tokio::test]
            async fn clips_keep_what_they_are_made_of_until_they_are_settled() {
                let (store, _folder) = $open;
                super::clips::keep_what_they_are_made_of_until_they_are_settled(store).await;
            }
            #[tokio::test]
            async fn chains_go_on_window_by_window() {
                let (store, _folder) = $open;
                super::chains_go_on_window_by_window(store).await;
            }
            #[tokio::test]
            async fn events_and_holds_come_with_what_they_tell_of() {
                let (store, _folder) = $open;
                super::events::are_numbered_and_forgotten_in_order(store).await;
                let (store, _folder) = $open;
                super::events::come_with_what_they_tell_of(store).await;
                let (store, _folder) = $open;
                super::holds::are_listed_and_decided_once(store).await;
            }
            #[tokio::test]
            async fn catalogs_have_products_and_what_their_pictures_look_like() {
                let (store, _folder) = $open;
                super::catalogs::have_products_and_what_their_pictures_look_like(store).await;
            }
            #[tokio::test]
            async fn workers_are_kept() {
                let (store, _folder) = $open;
                super::workers::are_kept(store).await;
            }
        }
    };
}

suite!(sqlite_in_memory, (crate::store::sqlite::SqliteStore::in_memory().await.unwrap(), ()));
suite!(sqlite_on_disk, {
    let folder = tempfile::tempdir().unwrap();
    (crate::store::sqlite::SqliteStore::open(&folder.path().join("db")).await.unwrap(), folder)
});
