//! Of the suite: workers.

use super::{super::Store, offer, worker};

pub(super) async fn are_kept(store: impl Store) {
    store.greet_worker(worker(), &offer(1), 3).await.unwrap();
    store.greet_worker(worker(), &offer(2), 5).await.unwrap();
    store.hear_workers(&[(worker(), 4)]).await.unwrap();
    let workers = store.workers(9).await.unwrap();
    assert_eq!((workers.len(), workers[0].offer.slots, workers[0].seen_ms), (1, 2, 5), "time does not go back");
    store.ready().await.unwrap();
}
