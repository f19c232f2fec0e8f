//! Checks of long playlists: whole, a page at a time, and never cut short in silence.

use axum::http::{Request, StatusCode, header};
use futures_util::TryStreamExt;
use millrace_proto::api::StreamState;

use super::*;
use crate::{
    publish::hls::{
        MediaLines,
        iframes::IframeLines,
        tests::{segment, stream},
    },
    store::{
        record::{SegmentState, Variant},
        sqlite::SqliteStore,
    },
};

/// An ended stream of so many segments, all alike.
pub(in crate::http) async fn recording(store: &SqliteStore, count: u64) -> Stream {
    let one = segment(0, 0, SegmentState::Ready);
    let mut stream = stream(StreamState::Ended);
    (stream.id, stream.next_seq, stream.listed_seq, stream.first_seq) = (one.stream.clone(), 0, 0, 0);
    stream.variants = vec![Variant { name: "720p".into(), width: 1, key_bytes: 1, ..Variant::default() }];
    assert!(store.create_stream(&stream).await.unwrap());
    store.fill(&one, count).await.unwrap();
    store.stream(&stream.id).await.unwrap().unwrap()
}

fn request() -> Parts {
    Request::get("/hls/s/720p/vod.m3u8").body(()).unwrap().into_parts().0
}

/// The answer's text, and its largest piece in bytes.
async fn read(answer: Response) -> Result<(String, usize), axum::Error> {
    assert_eq!(answer.status(), StatusCode::OK);
    let pieces: Vec<Bytes> = answer.into_body().into_data_stream().try_collect().await?;
    let largest = pieces.iter().map(Bytes::len).max().unwrap_or(0);
    Ok((String::from_utf8(pieces.concat()).unwrap(), largest))
}

/// The numbers of the segments that a playlist names, in its order.
fn seqs(text: &str) -> impl Iterator<Item = u64> {
    text.lines().filter_map(|line| line.strip_suffix(".m4s")?.parse().ok())
}

#[tokio::test]
async fn a_week_is_in_one_playlist_and_never_in_memory() {
    let store = SqliteStore::in_memory().await.unwrap();
    let stream = recording(&store, 200_000).await;
    let store: Arc<dyn Store> = Arc::new(store);
    let lines = MediaLines::new(stream.clone(), "720p", Span::Vod, None);
    let whole = answer(&store, &stream, Span::Vod, lines, &request()).await.unwrap();
    let tag = whole.headers()[header::ETAG].clone();
    let (text, largest) = read(whole).await.unwrap();
    assert!(seqs(&text).eq(0..200_000));
    assert_eq!(text.matches("#EXTINF:2.000000,\n").count(), 200_000);
    assert_eq!((text.matches("#EXTM3U").count(), text.matches("#EXT-X-MAP").count()), (1, 1));
    assert!(text.ends_with("199999.m4s\n#EXT-X-ENDLIST\n"));
    assert!(largest < 200 * publish::PAGE_SEGMENTS as usize, "{largest} bytes at once");
    let lines = IframeLines::new(stream.clone(), "720p");
    let (text, _) = read(answer(&store, &stream, Span::Vod, lines, &request()).await.unwrap()).await.unwrap();
    assert!(seqs(&text).eq(0..200_000));
    // Who has it already is told so, and nothing is read.
    let mut known = request();
    known.headers.insert(header::IF_NONE_MATCH, tag.clone());
    let lines = || MediaLines::new(stream.clone(), "720p", Span::Vod, None);
    let same = answer(&store, &stream, Span::Vod, lines(), &known).await.unwrap();
    assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
    let grown = Stream { listed_seq: stream.listed_seq - 1, ..stream.clone() };
    let other = answer(&store, &grown, Span::Vod, lines(), &known).await.unwrap();
    assert_ne!(other.headers()[header::ETAG], tag);
}

#[tokio::test]
async fn pages_join_without_a_seam() {
    for count in [1, 999, 1_000, 1_001, 2_000, 2_001] {
        let store = SqliteStore::in_memory().await.unwrap();
        let stream = recording(&store, count).await;
        let store: Arc<dyn Store> = Arc::new(store);
        let lines = || MediaLines::new(stream.clone(), "720p", Span::Vod, None);
        let (text, _) = read(answer(&store, &stream, Span::Vod, lines(), &request()).await.unwrap()).await.unwrap();
        let segments = publish::covered(&store, &stream, Span::Vod).await.unwrap();
        assert_eq!(segments.len() as u64, count);
        assert_eq!(text, publish::hls::whole(lines(), &segments), "{count}");
    }
}

#[tokio::test]
async fn a_playlist_whose_segments_are_freed_meanwhile_breaks_off() {
    let store = SqliteStore::in_memory().await.unwrap();
    let stream = recording(&store, 3_000).await;
    let store: Arc<dyn Store> = Arc::new(store);
    let lines = MediaLines::new(stream.clone(), "720p", Span::Vod, None);
    let answer = answer(&store, &stream, Span::Vod, lines, &request()).await.unwrap();
    store.expire_segments(&stream.id, 1_500).await.unwrap();
    store.forget_segments(&stream.id, 1_500).await.unwrap();
    assert!(read(answer).await.is_err(), "nobody takes a part for the whole");
}
