//! How leases share the machine's cores. Pure; the driver tells what begins and ends, and asks when work begins. What is
//! handed in takes no core, and what is fetched ahead takes the place of what is worked on now.
//!
//! Segments on one thread each, as many at once as there are cores, are done soonest as a whole; one segment on all
//! threads is done soonest by itself. So every lease has its share of the cores, unless it is due before it could be
//! done with that share: then those that are due share the cores as if the others were not there.

use std::collections::BTreeMap;

use millrace_proto::{
    LeaseId,
    task::{Lease, Work},
};

/// The leases in hand, and how fast this machine is.
#[derive(Debug, Default)]
pub struct Shares {
    stakes: BTreeMap<LeaseId, Stake>,
    /// Milliseconds of one core for a pixel that is encoded for a second; none before the first lease is done.
    pace: Option<f64>,
}

#[derive(Debug, Clone, Copy)]
struct Stake {
    due_ms: Option<u64>,
    /// Pixels of all renditions, times the seconds they are shown.
    size: f64,
    threads: u32,
    is_over: bool,
}

impl Shares {
    /// A lease was taken.
    pub fn begin(&mut self, lease: &Lease, now_ms: u64) {
        let pixels: f64 = match &lease.work {
            Work::Transcode(work) => work.renditions.iter().map(|to| f64::from(to.width) * f64::from(to.height)).sum(),
            // How long it takes says nothing of pictures.
            Work::Captions(_) | Work::Look(_) => 0.0,
        };
        let due_ms = lease.due_ms.map(|due_ms| now_ms.saturating_add(due_ms));
        let stake = Stake { due_ms, size: pixels * lease.media_ms as f64 / 1e3, threads: 1, is_over: false };
        self.stakes.insert(lease.id.clone(), stake);
    }

    /// A lease is out of this worker's hands.
    pub fn end(&mut self, lease: &LeaseId) {
        self.stakes.remove(lease);
    }

    /// A lease's work took so long. Said again, it changes nothing.
    pub fn worked(&mut self, lease: &LeaseId, work_ms: u64) {
        let Some(stake) = self.stakes.get_mut(lease).filter(|stake| !stake.is_over) else { return };
        stake.is_over = true;
        if stake.size <= 0.0 {
            return;
        }
        let pace = work_ms as f64 * f64::from(stake.threads) / stake.size;
        // The last few count most: a machine's neighbours come and go.
        self.pace = Some(self.pace.map_or(pace, |before| 0.7 * before + 0.3 * pace));
    }

    /// Threads for a lease whose work begins now, where `slots` leases are worked on at once.
    pub fn threads(&mut self, lease: &LeaseId, slots: u32, threads_max: u32, cores: u32, now_ms: u64) -> u32 {
        let among = |leases: usize| cores / u32::try_from(leases).unwrap_or(u32::MAX).min(slots).max(1);
        let open = || self.stakes.values().filter(|stake| !stake.is_over);
        let mut share = among(open().count());
        let is_late = |stake: &Stake| {
            let due_ms = stake.due_ms?;
            let needed_ms = stake.size * self.pace? / f64::from(share.max(1));
            Some(needed_ms > due_ms.saturating_sub(now_ms) as f64)
        };
        if self.stakes.get(lease).and_then(is_late) == Some(true) {
            share = among(open().filter(|stake| stake.due_ms.is_some()).count());
        }
        let threads = share.clamp(1, threads_max.max(1));
        if let Some(stake) = self.stakes.get_mut(lease) {
            stake.threads = threads;
        }
        threads
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::testing;

    const CORES: u32 = 8;

    fn with(leases: &[(&str, Option<u64>)]) -> Shares {
        let mut shares = Shares::default();
        for (id, due_ms) in leases {
            shares.begin(&Lease { due_ms: *due_ms, media_ms: 2_000, ..testing::lease(id) }, 1_000);
        }
        shares
    }

    fn threads(shares: &mut Shares, id: &str) -> u32 {
        shares.threads(&id.parse().unwrap(), 100, CORES, CORES, 1_000)
    }

    /// A lease as long as the others took so long, on so many threads.
    fn took(shares: &mut Shares, work_ms: u64, threads: u32) {
        let id = "past".parse().unwrap();
        shares.begin(&Lease { media_ms: 2_000, ..testing::lease("past") }, 0);
        shares.stakes.get_mut(&id).unwrap().threads = threads;
        shares.worked(&id, work_ms);
        shares.end(&id);
    }

    #[test]
    fn one_lease_has_all_cores_and_full_slots_one_each() {
        assert_eq!(threads(&mut with(&[("a", None)]), "a"), CORES);
        let names: Vec<String> = (0..20).map(|at| format!("l-{at}")).collect();
        let all: Vec<_> = names.iter().map(|name| (name.as_str(), Some(0))).collect();
        for (count, expected) in [(3, 2), (8, 1), (20, 1)] {
            let mut shares = with(&all[..count]);
            assert_eq!(threads(&mut shares, "l-0"), expected, "{count} leases");
        }
    }

    #[test]
    fn the_operators_limit_holds() {
        let mut shares = with(&[("a", None)]);
        assert_eq!(shares.threads(&"a".parse().unwrap(), 1, 2, CORES, 1_000), 2);
        assert_eq!(shares.threads(&"a".parse().unwrap(), 0, 0, 0, 1_000), 1);
    }

    #[test]
    fn who_would_be_late_has_the_share_of_those_that_nobody_waits_for() {
        let recordings = [("a", None), ("b", None), ("c", None), ("live", Some(1_500))];
        let mut shares = with(&recordings);
        assert_eq!(threads(&mut shares, "live"), 2, "nothing is known of the pace");
        // On two threads one before it took a second: there is time.
        took(&mut shares, 1_000, 2);
        assert_eq!(threads(&mut shares, "live"), 2);
        assert_eq!(
            shares.threads(&"live".parse().unwrap(), 100, CORES, CORES, 2_400),
            CORES,
            "half of its time has gone"
        );
        assert_eq!(threads(&mut shares, "a"), 2);

        shares.begin(&Lease { due_ms: Some(10), media_ms: 2_000, ..testing::lease("second") }, 1_000);
        assert_eq!(threads(&mut shares, "second"), 4, "two are due");
        shares.end(&"live".parse().unwrap());
        assert_eq!(threads(&mut shares, "second"), CORES);
        assert_eq!(threads(&mut shares, "unknown"), 2);
    }

    #[test]
    fn the_pace_follows_the_machine() {
        let mut shares = with(&[("a", None), ("live", Some(1_500))]);
        assert_eq!(threads(&mut shares, "live"), 4);
        for _ in 0..20 {
            took(&mut shares, 4_000, 4);
        }
        assert_eq!(threads(&mut shares, "live"), CORES, "it has become slow");
        for _ in 0..20 {
            took(&mut shares, 100, 4);
        }
        assert_eq!(threads(&mut shares, "live"), 4);
    }

    #[test]
    fn what_is_over_and_what_is_ahead_take_no_core() {
        let id = |text: &str| text.parse().unwrap();
        let mut shares = with(&[("a", None), ("b", None), ("c", None)]);
        assert_eq!(shares.threads(&id("a"), 2, CORES, CORES, 1_000), 4, "the third waits for one of two slots");
        shares.worked(&id("a"), 1_000);
        shares.worked(&id("b"), 1_000);
        assert_eq!(shares.threads(&id("c"), 2, CORES, CORES, 1_000), CORES, "the others are handed in");
    }

    #[test]
    fn absurd_leases_do_no_harm() {
        let mut shares = Shares::default();
        for (id, due_ms, media_ms) in [("a", u64::MAX, u64::MAX), ("b", 0, 0)] {
            shares.begin(&Lease { due_ms: Some(due_ms), media_ms, ..testing::lease(id) }, u64::MAX);
            shares.worked(&id.parse().unwrap(), u64::MAX);
            assert!((1..=CORES).contains(&threads(&mut shares, id)));
        }
    }
}
