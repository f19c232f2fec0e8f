//! What a lease may ask of this worker. The orchestrator is somebody else's program: names become file
//! names here, sizes become memory and disk, so each is checked before anything is done.

use millrace_proto::{
    outcome::{Failure, FailureKind},
    task::{INIT, Lease, PREROLL_MAX, SEGMENT, Target, Work, preroll_name},
};

/// What a lease may ask of this worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// All inputs of one lease together.
    pub input_bytes_max: u64,
    /// Renditions of one lease.
    pub targets_max: usize,
    /// Longer side of a rendition's picture.
    pub side_px_max: u32,
    /// Nothing is computed for longer, whatever the lease says.
    pub work_ms_max: u64,
    /// A lease shorter than this can't be kept alive over a real network.
    pub lease_ms_min: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            input_bytes_max: 512 * 1024 * 1024,
            targets_max: 16,
            side_px_max: 8_192,
            work_ms_max: 30 * 60 * 1_000,
            lease_ms_min: 1_000,
        }
    }
}

impl Limits {
    /// Whether the lease keeps within the limits; the failure to hand in if not.
    pub fn check(&self, lease: &Lease) -> Result<(), Failure> {
        let limit = |message: String| Err(Failure { kind: FailureKind::Limit, message });
        if lease.lease_ms < self.lease_ms_min {
            return limit(format!("the lease lasts {} ms: give at least {}", lease.lease_ms, self.lease_ms_min));
        }
        if !lease.output_url.contains("{output}") {
            return unsupported("the output URL has no {output} in it".into());
        }
        let preroll = lease.inputs.len().saturating_sub(2);
        let names = [INIT.to_owned()].into_iter().chain((0..preroll).map(preroll_name)).chain([SEGMENT.to_owned()]);
        if preroll > PREROLL_MAX || !names.eq(lease.inputs.iter().map(|input| input.name.as_str())) {
            return unsupported("the inputs of a transcode task are init, preroll-0 and so on, and segment".into());
        }
        let bytes = lease.inputs.iter().fold(0_u64, |sum, input| sum.saturating_add(input.blob.bytes));
        if bytes > self.input_bytes_max {
            return limit(format!("the inputs have {bytes} bytes: this worker takes {}", self.input_bytes_max));
        }
        let Work::Transcode(work) = &lease.work;
        if !(1..=self.targets_max).contains(&work.renditions.len()) {
            let asked = work.renditions.len();
            return limit(format!("{asked} renditions are asked for: this worker makes 1 to {}", self.targets_max));
        }
        for (at, target) in work.renditions.iter().enumerate() {
            self.check_target(target)?;
            if work.renditions[..at].iter().any(|other| other.name == target.name) {
                return unsupported(format!("two renditions are named {:?}", target.name));
            }
        }
        Ok(())
    }

    fn check_target(&self, target: &Target) -> Result<(), Failure> {
        let name = &target.name;
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !plain || !(1..=16).contains(&name.len()) {
            let name: String = name.chars().take(16).collect();
            return unsupported(format!("{name:?} can't name a rendition"));
        }
        let side = |px: u32| (2..=self.side_px_max).contains(&px) && px.is_multiple_of(2);
        if side(target.width) && side(target.height) {
            Ok(())
        } else {
            let (width, height, max) = (target.width, target.height, self.side_px_max);
            let message = format!("{name} is {width}x{height}: sides are even, 2 to {max} pixels");
            Err(Failure { kind: FailureKind::Limit, message })
        }
    }
}

fn unsupported(message: String) -> Result<(), Failure> {
    Err(Failure { kind: FailureKind::Unsupported, message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::testing;

    fn refusal(change: impl FnOnce(&mut Lease)) -> FailureKind {
        let mut lease = testing::lease("l-1");
        Limits::default().check(&lease).unwrap();
        change(&mut lease);
        Limits::default().check(&lease).unwrap_err().kind
    }

    fn target(lease: &mut Lease) -> &mut Target {
        let Work::Transcode(work) = &mut lease.work;
        &mut work.renditions[0]
    }

    #[test]
    fn what_a_lease_may_not_ask() {
        use FailureKind::{Limit, Unsupported};
        assert_eq!(refusal(|l| l.lease_ms = 10), Limit);
        assert_eq!(refusal(|l| l.output_url = "/x".into()), Unsupported);
        assert_eq!(refusal(|l| l.inputs[0].name = "../key".into()), Unsupported);
        assert_eq!(refusal(|l| drop(l.inputs.pop())), Unsupported);
        assert_eq!(refusal(|l| l.inputs[0].blob.bytes = u64::MAX), Limit);
        assert_eq!(refusal(|l| l.inputs.iter_mut().for_each(|i| i.blob.bytes = u64::MAX)), Limit);
        assert_eq!(refusal(|l| target(l).name = "../../x".into()), Unsupported);
        assert_eq!(refusal(|l| target(l).name = String::new()), Unsupported);
        assert_eq!(refusal(|l| target(l).width = 100_000), Limit);
        assert_eq!(refusal(|l| target(l).height = 3), Limit);
        let many = |l: &mut Lease| {
            let Work::Transcode(work) = &mut l.work;
            work.renditions = vec![work.renditions[0].clone(); 17];
        };
        assert_eq!(refusal(many), Limit);
        let twice = |l: &mut Lease| {
            let Work::Transcode(work) = &mut l.work;
            work.renditions.push(work.renditions[0].clone());
        };
        assert_eq!(refusal(twice), Unsupported);
        let none = |l: &mut Lease| {
            let Work::Transcode(work) = &mut l.work;
            work.renditions.clear();
        };
        assert_eq!(refusal(none), Limit);
    }
}
