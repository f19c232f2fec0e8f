//! How leases share the machine's cores. Pure; the driver asks when a lease's work begins.
//!
//! Segments on one thread each, as many at once as there are cores, are done soonest as a whole; one segment on all
//! threads is done soonest by itself. Which of both is wanted shows in how many leases are in hand: a backlog fills
//! every slot, and a live stream, whose segments come one at a time, leaves a lease alone with its deadline.

/// Threads for one more lease when so many are in hand, itself among them.
pub fn threads(leases: usize, threads_max: u32, cores: u32) -> u32 {
    let share = cores as usize / leases.max(1);
    u32::try_from(share).unwrap_or(u32::MAX).clamp(1, threads_max.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lease_has_all_cores_and_full_slots_one_each() {
        for cores in 1..=64 {
            assert_eq!(threads(1, cores, cores), cores);
            assert_eq!(threads(cores as usize, cores, cores), 1);
        }
    }

    #[test]
    fn no_more_is_taken_than_there_is_and_never_nothing() {
        for (cores, leases) in (1..=16_u32).flat_map(|cores| (0..=20).map(move |leases| (cores, leases))) {
            let each = threads(leases, cores, cores);
            assert!(each >= 1 && (each == 1 || each as usize * leases.max(1) <= cores as usize), "{cores} {leases}");
        }
        assert_eq!(threads(1, 2, 8), 2, "the operator's limit holds");
        assert_eq!(threads(3, 8, 8), 2);
    }
}
