//! Waiting for something to become true, with a limit. Nothing here sleeps for a fixed time and hopes.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Between two looks; short next to everything that is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// Looks until `look` sees something, and returns that. Fails the test after `limit`.
#[track_caller]
pub(crate) fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < end, "waited {limit:?} in vain for {what}");
        thread::sleep(LOOK);
    }
}

/// Seconds, for limits.
pub(crate) const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
