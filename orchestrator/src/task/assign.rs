//! Assignment: waiting workers and ready tasks -> pairs. Pure: the same question gets the same answer.

use std::collections::BTreeSet;

use millrace_proto::{Address, offer::Offer, profile::VideoCodec, task::Work};

use super::Task;

/// A worker that waits for work.
#[derive(Debug, Clone)]
pub struct Seat {
    /// Who waits.
    pub worker: Address,
    /// Leases it takes at most.
    pub slots_free: u32,
    /// Leases it holds already.
    pub held: u32,
    /// What it can do.
    pub offer: Offer,
}

impl Seat {
    fn can(&self, work: &Work) -> bool {
        is_able(&self.offer, &codecs(work))
    }
}

/// The codecs that a worker must encode to for `work`.
pub fn codecs(work: &Work) -> BTreeSet<VideoCodec> {
    match work {
        Work::Transcode(transcode) => transcode.renditions.iter().map(|target| target.codec).collect(),
    }
}

/// Whether a worker with this offer encodes to all of `codecs`.
pub fn is_able(offer: &Offer, codecs: &BTreeSet<VideoCodec>) -> bool {
    codecs.iter().all(|codec| offer.encodes(*codec))
}

/// What is missing for work in `codecs` where these are all offers that there are; nothing if someone is able.
pub fn lack(offers: &[&Offer], codecs: &BTreeSet<VideoCodec>) -> Option<String> {
    if offers.iter().any(|offer| is_able(offer, codecs)) {
        return None;
    }
    if offers.is_empty() {
        return Some("no worker is online: join one".into());
    }
    let strange = |codec: &&VideoCodec| !offers.iter().any(|offer| offer.encodes(**codec));
    let names =
        |codecs: Vec<&VideoCodec>| codecs.into_iter().map(|codec| codec.as_str()).collect::<Vec<_>>().join(", ");
    let unknown: Vec<_> = codecs.iter().filter(strange).collect();
    Some(if unknown.is_empty() {
        format!("no worker that is online encodes all of {}: join one that does", names(codecs.iter().collect()))
    } else {
        format!("no worker that is online encodes {}: join one that does", names(unknown))
    })
}

/// A task waits at most so long after its last failure for a worker that has done it less harm, in milliseconds:
/// that one may never come.
const OTHERS_WAIT_MS: u64 = 10_000;

/// Pairs of indexes into `seats` and `tasks`.
///
/// Tasks that viewers wait for go first, then the oldest; a task goes to the able worker that has failed on it
/// least, and among those to the one with the fewest leases for its slots. While an able worker is online that has
/// a lower rank (`least_online`, see [`Task::rank_of`]) than all who wait, the task waits for it, for a time.
pub fn pairs(
    seats: &[Seat],
    tasks: &[Task],
    least_online: impl Fn(&Task) -> Option<u32>,
    now_ms: u64,
) -> Vec<(usize, usize)> {
    let mut order: Vec<usize> = (0..tasks.len()).collect();
    order.sort_by_key(|&at| (!tasks[at].live, tasks[at].created_ms, tasks[at].seq));
    let mut taken = vec![0; seats.len()];
    let mut pairs = Vec::new();
    for at in order {
        let task = &tasks[at];
        let load = |s: usize| {
            let (busy, slots) = (seats[s].held + taken[s], seats[s].held + seats[s].slots_free);
            // Compares busy/slots without rounding to zero: 1,000 steps are finer than any slot count.
            u64::from(busy) * 1_000 / u64::from(slots.max(1))
        };
        let key = |&s: &usize| {
            let worker = seats[s].worker;
            (task.rank_of(worker), task.tries_of(worker), load(s), s)
        };
        let open = (0..seats.len()).filter(|&s| taken[s] < seats[s].slots_free && seats[s].can(&task.work));
        let Some(seat) = open.min_by_key(key) else { continue };
        let is_fresh = task.attempts.last().is_some_and(|last| now_ms < last.at_ms + OTHERS_WAIT_MS);
        let rank = task.rank_of(seats[seat].worker);
        if is_fresh && rank > 0 && least_online(task).is_some_and(|least| least < rank) {
            continue;
        }
        taken[seat] += 1;
        pairs.push((seat, at));
    }
    pairs
}

#[cfg(test)]
mod tests;
