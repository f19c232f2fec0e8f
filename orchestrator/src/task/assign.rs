//! Assignment: waiting workers and ready tasks -> pairs. Pure: the same question gets the same answer.

use millrace_proto::{Address, task::Work};

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
    pub offer: millrace_proto::offer::Offer,
}

impl Seat {
    fn can(&self, work: &Work) -> bool {
        match work {
            Work::Transcode(transcode) => transcode.renditions.iter().all(|target| self.offer.encodes(target.codec)),
        }
    }
}

/// Pairs of indexes into `seats` and `tasks`.
///
/// Tasks that viewers wait for go first, then the oldest; a task goes to the able worker with the fewest leases
/// for its slots, and to one that has failed on it only if no other able worker is known (`others_online`).
pub fn pairs(seats: &[Seat], tasks: &[Task], others_online: impl Fn(&Task) -> bool) -> Vec<(usize, usize)> {
    let mut order: Vec<usize> = (0..tasks.len()).collect();
    order.sort_by_key(|&at| (!tasks[at].live, tasks[at].created_ms, tasks[at].seq));
    let mut taken = vec![0; seats.len()];
    let mut pairs = Vec::new();
    for at in order {
        let task = &tasks[at];
        let failed =
            |seat: &Seat| task.attempts.iter().any(|try_| try_.worker == seat.worker && try_.fault.is_strike());
        let open: Vec<usize> =
            (0..seats.len()).filter(|&s| taken[s] < seats[s].slots_free && seats[s].can(&task.work)).collect();
        let load = |&s: &usize| {
            let (busy, slots) = (seats[s].held + taken[s], seats[s].held + seats[s].slots_free);
            // Compares busy/slots without rounding to zero: 1,000 steps are finer than any slot count.
            (u64::from(busy) * 1_000 / u64::from(slots.max(1)), s)
        };
        let fresh = open.iter().copied().filter(|&s| !failed(&seats[s])).min_by_key(load);
        let choice = match fresh {
            Some(seat) => Some(seat),
            None if others_online(task) => None,
            None => open.iter().copied().min_by_key(load),
        };
        if let Some(seat) = choice {
            taken[seat] += 1;
            pairs.push((seat, at));
        }
    }
    pairs
}
