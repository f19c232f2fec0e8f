//! The queue of workers that wait for work. Memory only: a worker that is lost from it polls again.

use std::collections::BTreeMap;

use millrace_proto::{Address, offer::Offer, task::Lease, worker::LEASES_A_SLOT_MAX};
use tokio::sync::oneshot;

use crate::task::assign::Seat;

/// A worker that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub worker: Address,
    pub instance: String,
    pub offer: Offer,
    pub slots_free: u32,
    pub ahead_free: u32,
    pub held: u32,
    pub reply: oneshot::Sender<Vec<Lease>>,
}

/// Those who wait, by the number of their place.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    waiters: BTreeMap<u64, Waiter>,
    last: u64,
}

impl Waiting {
    /// Adds a waiter. An older place of the same program is given up: its connection may be gone unnoticed.
    pub(super) fn add(&mut self, waiter: Waiter) -> u64 {
        self.waiters.retain(|_, other| other.worker != waiter.worker || other.instance != waiter.instance);
        self.last += 1;
        self.waiters.insert(self.last, waiter);
        self.last
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Waiter> {
        self.waiters.remove(&number)
    }

    /// Who has this place, and how many leases it may hold: as many as it asked for beyond what it had then.
    pub(super) fn who(&self, number: u64) -> Option<(Address, String, u32)> {
        self.waiters.get(&number).map(|waiter| {
            let asked = waiter.held + waiter.slots_free + waiter.ahead_free;
            let most = asked.min(waiter.offer.slots.saturating_mul(LEASES_A_SLOT_MAX));
            (waiter.worker, waiter.instance.clone(), most)
        })
    }

    /// Those that want work and still listen, in the order they came.
    pub(super) fn seats(&mut self) -> Vec<(u64, Seat)> {
        self.waiters.retain(|_, waiter| !waiter.reply.is_closed());
        let open = self.waiters.iter().filter(|(_, waiter)| waiter.slots_free > 0 || waiter.ahead_free > 0);
        open.map(|(&number, waiter)| {
            let seat = Seat {
                worker: waiter.worker,
                slots_free: waiter.slots_free,
                ahead_free: waiter.ahead_free,
                held: waiter.held,
                held_windows: 0,
                offer: waiter.offer.clone(),
            };
            (number, seat)
        })
        .collect()
    }
}
