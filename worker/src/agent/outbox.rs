//! What the agent's parts share: the time, fresh numbers, randomness, the cards, and the outputs in their order.

use std::collections::VecDeque;

use millrace_proto::{
    offer::Model,
    outcome::{Failure, FailureKind},
    task::Lease,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    Call, Output, Timing,
    cards::{Cards, Seats},
    models::Models,
};

pub(super) struct Outbox {
    pub(super) now_ms: u64,
    pub(super) timing: Timing,
    pub(super) cards: Cards,
    pub(super) models: Models,
    outputs: VecDeque<Output>,
    calls: u64,
    randomness: StdRng,
}

impl Outbox {
    pub(super) fn new(timing: Timing, seed: u64, cards: &[Seats], models: &[Model]) -> Self {
        Self {
            now_ms: 0,
            timing,
            cards: Cards::new(cards),
            models: Models::new(models),
            outputs: VecDeque::new(),
            calls: 0,
            randomness: StdRng::seed_from_u64(seed),
        }
    }

    pub(super) fn call(&mut self) -> Call {
        self.calls += 1;
        Call(self.calls)
    }

    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn abort(&mut self, call: Call) {
        self.push(Output::Abort { call });
    }

    /// Why a lease can't be worked on, if it takes a model that is not here.
    pub(super) fn lacks_model(&self, lease: &Lease) -> Option<Failure> {
        let message = self.models.choose(&lease.work).err()?;
        Some(Failure { kind: FailureKind::Unsupported, message })
    }

    /// Lets go of models that nothing has needed for a while.
    pub(super) fn cool(&mut self) {
        let outputs = self.models.cool(self.now_ms);
        self.outputs.extend(outputs);
    }

    pub(super) fn pop(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(super) fn after_ms(&self, delay_ms: u64) -> u64 {
        self.now_ms.saturating_add(delay_ms)
    }
}

/// Exponential back-off with jitter. Many workers that lost one orchestrator at once must not come back at
/// once, so half of every delay is random.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    tries: u32,
}

impl Backoff {
    pub(super) fn reset(&mut self) {
        self.tries = 0;
    }

    /// The time of the next try.
    pub(super) fn next_at_ms(&mut self, out: &mut Outbox, retry_after_ms: Option<u64>) -> u64 {
        let Timing { retry_ms_min, retry_ms_max, .. } = out.timing;
        let whole_ms = retry_ms_min.saturating_mul(1 << self.tries.min(20)).clamp(2, retry_ms_max.max(2));
        self.tries = self.tries.saturating_add(1);
        let delay_ms = whole_ms / 2 + out.randomness.random_range(0..=whole_ms / 2);
        // What the orchestrator asks for is honoured, within reason: it must not silence a worker for a day.
        let asked_ms = retry_after_ms.unwrap_or(0).min(4 * retry_ms_max);
        out.after_ms(delay_ms.max(asked_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_ceiling_and_are_never_nought() {
        let mut out = Outbox::new(Timing::default(), 7, &[], &[]);
        let mut backoff = Backoff::default();
        let delays: Vec<u64> = (0..40).map(|_| backoff.next_at_ms(&mut out, None)).collect();
        let Timing { retry_ms_min, retry_ms_max, .. } = out.timing;
        assert!((retry_ms_min / 2..=retry_ms_min).contains(&delays[0]), "{delays:?}");
        assert!(delays[30..].iter().all(|d| (retry_ms_max / 2..=retry_ms_max).contains(d)), "{delays:?}");
        assert_ne!(delays[30], delays[31], "jitter");
        backoff.reset();
        assert!(backoff.next_at_ms(&mut out, None) <= retry_ms_min);
    }

    #[test]
    fn the_orchestrator_may_ask_for_patience_within_reason() {
        let mut out = Outbox::new(Timing::default(), 7, &[], &[]);
        assert!(Backoff::default().next_at_ms(&mut out, Some(9_000)) >= 9_000);
        assert!(Backoff::default().next_at_ms(&mut out, Some(u64::MAX)) <= 4 * out.timing.retry_ms_max);
    }
}
