//! Steps: the orchestrator's calls as futures that the world moves on one await at a time.
//!
//! Every wait that matters passes a [`Gate`]: there the step is parked, and the world may let others go first, or
//! drop it for good, as a kill or a cut connection would. Between two gates a step runs through.

use std::{
    future::{self, Future},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
};

/// Where a step is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Park {
    /// Before or after a call of the store: it goes on when it is its turn.
    Turn,
    /// It sleeps until this time.
    Until(u64),
}

/// The place where steps are parked, and the world's clock.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    parked: Arc<Mutex<Option<Park>>>,
    now_ms: Arc<AtomicU64>,
}

impl Gate {
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn set_now_ms(&self, now_ms: u64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Lets others go first.
    pub(crate) async fn turn(&self) {
        self.park(Park::Turn).await;
    }

    pub(crate) async fn sleep(&self, ms: u64) {
        self.park(Park::Until(self.now_ms() + ms)).await;
    }

    fn park(&self, park: Park) -> impl Future<Output = ()> + use<'_> {
        let mut was_here = false;
        future::poll_fn(move |_| {
            if was_here {
                return Poll::Ready(());
            }
            was_here = true;
            *self.parked.lock().unwrap() = Some(park);
            Poll::Pending
        })
    }
}

/// A call under way.
pub(crate) struct Step<T>(Pin<Box<dyn Future<Output = T> + Send>>);

/// How far a step came.
pub(crate) enum Progress<T> {
    Done(T),
    Parked(Park),
}

impl<T> Step<T> {
    pub(crate) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Box::pin(future))
    }

    /// Runs to the next gate or to the end. Waits of the store itself are waited out.
    pub(crate) async fn advance(&mut self, gate: &Gate) -> Progress<T> {
        future::poll_fn(|context| match self.0.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Progress::Done(value)),
            Poll::Pending => match gate.parked.lock().unwrap().take() {
                Some(park) => Poll::Ready(Progress::Parked(park)),
                None => Poll::Pending,
            },
        })
        .await
    }
}
