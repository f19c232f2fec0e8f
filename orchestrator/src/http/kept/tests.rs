//! What is kept, for whom, and until when.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::{Router, extract::Path, routing::get};
use millrace_proto::{
    api::{Source, StreamState},
    profile::Choice,
};
use tower::ServiceExt;

use super::*;
use crate::store::{Move, record::Stream, sqlite::SqliteStore};

const LIMITS: Config = Config { bytes_max: 64 << 10, answer_bytes_max: 10_000 };

/// A server whose answers name how many were made.
struct Desk {
    store: Arc<dyn Store>,
    kept: Kept,
    router: Router,
    made: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Maker {
    store: Arc<dyn Store>,
    made: Arc<AtomicU64>,
}

/// `/hls/k3f9/NAME`, of as many bytes as a number in the name says. `changed` changes the stream while it is made,
/// `lost` is an error.
async fn make(State(maker): State<Maker>, Path(name): Path<String>, request: Parts) -> Response {
    let stream: StreamId = "k3f9".parse().unwrap();
    let revision = maker.store.revision(&stream).unwrap();
    let seen = Seen { stream: stream.clone(), revision, answer_bytes_max: LIMITS.answer_bytes_max };
    if name.starts_with("changed") {
        change(&maker.store).await;
    }
    let number = maker.made.fetch_add(1, Ordering::Relaxed);
    let length = name.split(['-', '.']).find_map(|part| part.parse().ok()).unwrap_or(8);
    let body = format!("{number:0>length$}");
    let whole = answer::Whole { kind: "video/mp4", cache: "public", etag: "\"tag\"".into(), size: body.len() as u64 };
    let part = answer::wanted(&request, &whole.etag, whole.size);
    let Ok(part) = part else { return StatusCode::RANGE_NOT_SATISFIABLE.into_response() };
    let mut answer = whole.answer(part, Body::from(body));
    if name.starts_with("lost") {
        *answer.status_mut() = StatusCode::NOT_FOUND;
    }
    Seen::keep(Some(seen), answer)
}

async fn change(store: &Arc<dyn Store>) {
    let from = &[StreamState::Waiting, StreamState::Live];
    let step = Move { from, to: StreamState::Live, reason: None, grace_ends_ms: 0, now_ms: 1 };
    assert!(store.move_stream(&"k3f9".parse().unwrap(), &step).await.unwrap());
}

async fn desk() -> Desk {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::in_memory().await.unwrap());
    let profile = Choice::default().resolve().unwrap();
    let stream = Stream::new("k3f9".parse().unwrap(), "", Source::Live, profile, 0);
    assert!(store.create_stream(&stream).await.unwrap());
    let (kept, made) = (Kept::new(&LIMITS, store.clone()), Arc::new(AtomicU64::new(0)));
    let router = Router::new()
        .route("/hls/k3f9/{name}", get(make))
        .layer(axum::middleware::from_fn_with_state(kept.clone(), serve))
        .with_state(Maker { store: store.clone(), made: made.clone() });
    Desk { store, kept, router, made }
}

impl Desk {
    async fn ask(&self, method: Method, address: &str, headers: &[(header::HeaderName, &str)]) -> Response {
        let mut request = Request::builder().method(method).uri(address);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn text(&self, address: &str) -> String {
        text(self.ask(Method::GET, address, &[]).await).await
    }

    fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }
}

async fn text(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn an_answer_stands_until_its_stream_changes() {
    let desk = desk().await;
    for _ in 0..3 {
        assert_eq!(desk.text("/hls/k3f9/0.m4s").await, "0");
    }
    change(&desk.store).await;
    assert_eq!(desk.text("/hls/k3f9/0.m4s").await, "1");
    assert_eq!(desk.text("/hls/k3f9/0.m4s").await, "1");
    assert!(desk.store.delete_stream(&"k3f9".parse().unwrap()).await.unwrap());
    assert_eq!(desk.text("/hls/k3f9/0.m4s").await, "2");
}

#[tokio::test]
async fn what_was_read_while_it_changed_is_not_kept_for_the_next_one() {
    let desk = desk().await;
    assert_eq!(desk.text("/hls/k3f9/changed.m3u8").await, "00000000");
    assert_eq!(desk.text("/hls/k3f9/changed.m3u8").await, "00000001");
}

#[tokio::test]
async fn what_depends_on_who_asks_is_made_for_each() {
    let desk = desk().await;
    for _ in 0..2 {
        desk.text("/hls/k3f9/index.m3u8?token=1").await;
        desk.text("/hls/k3f9/key").await;
        desk.ask(Method::HEAD, "/hls/k3f9/index.m3u8", &[]).await;
        assert_eq!(desk.ask(Method::GET, "/hls/k3f9/lost.m4s", &[]).await.status(), StatusCode::NOT_FOUND);
        desk.text(&format!("/hls/k3f9/{}.m4s", "long".repeat(100))).await;
        desk.ask(Method::GET, "/hls/k3f9/b.m3u8", &[(header::ACCEPT_ENCODING, &"gzip, ".repeat(50))]).await;
    }
    assert_eq!(desk.made(), 12);
    // Media is the same with a token, a text that is compressed is another.
    for address in ["/hls/k3f9/0.m4s?token=1", "/hls/k3f9/0.m4s?token=2", "/hls/k3f9/0.m4s"] {
        desk.text(address).await;
    }
    assert_eq!(desk.made(), 13);
    for encoding in ["gzip", "br", "gzip"] {
        desk.ask(Method::GET, "/hls/k3f9/a.m3u8", &[(header::ACCEPT_ENCODING, encoding)]).await;
    }
    assert_eq!(desk.made(), 15);
}

#[tokio::test]
async fn conditions_and_ranges_are_answered_from_memory() {
    let desk = desk().await;
    let whole = desk.text("/hls/k3f9/8.m4s").await;
    let ask = |name, value| desk.ask(Method::GET, "/hls/k3f9/8.m4s", Box::leak(Box::new([(name, value)])));
    let same = ask(header::IF_NONE_MATCH, "\"tag\"").await;
    assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
    assert!(same.headers().contains_key(header::ETAG) && !same.headers().contains_key(header::CONTENT_TYPE));
    assert_eq!(text(same).await, "");
    assert_eq!(text(ask(header::IF_NONE_MATCH, "\"other\"").await).await, whole);
    let part = ask(header::RANGE, "bytes=2-4").await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()[header::CONTENT_RANGE], "bytes 2-4/8");
    assert_eq!(part.headers()[header::CONTENT_LENGTH], "3");
    assert_eq!(text(part).await, whole[2..5]);
    assert_eq!(desk.made(), 1);
    // What is not there is not ours to refuse.
    assert_eq!(ask(header::RANGE, "bytes=9-").await.status(), StatusCode::RANGE_NOT_SATISFIABLE);
}

#[tokio::test]
async fn memory_is_bounded() {
    let desk = desk().await;
    let cache = desk.kept.answers.clone().unwrap();
    desk.text("/hls/k3f9/10001.m4s").await;
    assert_eq!(cache.len(), 0, "too long");
    desk.text("/hls/k3f9/10000.m4s").await;
    assert_eq!((cache.len(), cache.weight()), (1, 10_000 + ENTRY_BYTES));
    for number in 0..200 {
        desk.text(&format!("/hls/k3f9/a{number}-5000.m4s")).await;
        desk.text(&format!("/hls/k3f9/b{number}.m3u8")).await;
        assert!(cache.weight() <= LIMITS.bytes_max, "{} bytes", cache.weight());
    }
    assert!(cache.len() > 4, "{} are kept", cache.len());
}

#[test]
fn limits_that_keep_nothing_by_mistake_are_refused() {
    assert!(Config::default().check().is_ok() && LIMITS.check().is_ok());
    assert!(Config { bytes_max: 0, ..LIMITS }.check().is_ok());
    assert!(Config { bytes_max: 40_000, ..LIMITS }.check().unwrap_err().contains("bytes_max"));
}
