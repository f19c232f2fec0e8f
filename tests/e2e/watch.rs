//! Follows a live stream's playlists as a player would, all the time, and checks that nothing ever changes its place.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    api::Api,
    playlist::{Master, Media, Segment, assert_whole},
};

/// Between two readings; well below a segment's length.
const LOOK: Duration = Duration::from_millis(300);

/// All segments that one media playlist ever listed, by media sequence number.
pub(crate) type Seen = BTreeMap<u64, Segment>;

/// A running watch. It reads until [`Watch::finish`]; a rule broken meanwhile fails the test there.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<BTreeMap<String, Followed>>>,
}

/// What is known of one media playlist.
#[derive(Debug, Default)]
struct Followed {
    seen: Seen,
    sequence: u64,
    discontinuity_sequence: u64,
    target_s: Option<u64>,
}

impl Watch {
    /// Follows the stream whose multivariant playlist is at `hls`. It may not be there yet.
    pub(crate) fn start(api: &Api, hls: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (api, hls, stop) = (api.clone(), hls.to_owned(), stop.clone());
            move || {
                let mut all = BTreeMap::<String, Followed>::new();
                loop {
                    // Read once more after the stop, so that what was published last is seen too.
                    let last = stop.load(Ordering::Relaxed);
                    if let Some(master) = Master::fetch(&api, &hls) {
                        for url in master.all() {
                            if let Some(list) = Media::fetch(&api, url) {
                                all.entry(url.to_owned()).or_default().take(url, list);
                            }
                        }
                    }
                    if last {
                        return all;
                    }
                    thread::sleep(LOOK);
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }

    /// Whether no rule was broken so far; the test may end early otherwise.
    #[track_caller]
    pub(crate) fn assert_holding(&self) {
        let over = self.thread.as_ref().is_some_and(JoinHandle::is_finished);
        assert!(!over, "the watch saw a broken rule (above)");
    }

    /// Stops reading. Returns what every playlist listed, by its address: not one number is missing.
    #[track_caller]
    pub(crate) fn finish(mut self) -> BTreeMap<String, Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("a watch is finished once");
        let all = thread.join().unwrap_or_else(|_| panic!("the watch saw a broken rule (above)"));
        assert!(!all.is_empty(), "the watch never saw a playlist");
        all.into_iter()
            .map(|(url, followed)| {
                let numbers: Vec<_> = followed.seen.keys().copied().collect();
                let (first, last) = (numbers[0], numbers[numbers.len() - 1]);
                assert_eq!(numbers.len() as u64, last - first + 1, "missing in {url}: {numbers:?}");
                (url, followed.seen)
            })
            .collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Followed {
    fn take(&mut self, url: &str, list: Media) {
        assert_whole(&list, url);
        assert!(list.sequence >= self.sequence, "the media sequence of {url} went back from {}", self.sequence);
        self.sequence = list.sequence;
        let before = self.discontinuity_sequence;
        assert!(list.discontinuity_sequence >= before, "the discontinuity sequence of {url} went back from {before}");
        self.discontinuity_sequence = list.discontinuity_sequence;
        let target_s = *self.target_s.get_or_insert(list.target_s);
        assert_eq!(list.target_s, target_s, "the target duration of {url} changed");
        if let Some((&newest, _)) = self.seen.last_key_value() {
            let end = list.sequence + list.segments.len() as u64;
            assert!(end > newest, "{url} lost its newest segments, to {newest}:\n{}", list.text);
        }
        for (at, segment) in list.segments.into_iter().enumerate() {
            if let Some(before) = self.seen.get(&segment.number) {
                assert_eq!(before.url, segment.url, "number {} of {url} is another segment now", segment.number);
                // The first one's mark may be in the discontinuity sequence instead.
                assert!(at == 0 || before.discontinuity == segment.discontinuity, "{segment:?} of {url}");
            } else {
                let twice = self.seen.values().find(|other| other.url == segment.url);
                assert!(twice.is_none(), "{url} lists {segment:?} again, after {twice:?}");
                self.seen.insert(segment.number, segment);
            }
        }
    }
}
