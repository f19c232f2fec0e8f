//! What a lease may ask of this worker. The orchestrator is somebody else's program: names become file
//! names here, sizes become memory and disk, so each is checked before anything is done.

use millrace_proto::{
    captions::language_name,
    outcome::{Failure, FailureKind},
    profile::is_model_id,
    task::{
        Captions, INIT, Input, Lease, Look, PREROLL_MAX, SEGMENT, SEGMENTS_MAX, Target, Transcode, Work, preroll_name,
        segment_name,
    },
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
        let bytes = lease.inputs.iter().fold(0_u64, |sum, input| sum.saturating_add(input.blob.bytes));
        if bytes > self.input_bytes_max {
            return limit(format!("the inputs have {bytes} bytes: this worker takes {}", self.input_bytes_max));
        }
        match &lease.work {
            Work::Transcode(work) => self.check_transcode(work, &lease.inputs),
            Work::Captions(work) => check_captions(work, &lease.inputs),
            Work::Look(work) => check_look(work, &lease.inputs),
        }
    }

    fn check_transcode(&self, work: &Transcode, inputs: &[Input]) -> Result<(), Failure> {
        let limit = |message: String| Err(Failure { kind: FailureKind::Limit, message });
        let preroll = inputs.len().saturating_sub(2);
        let names = [INIT.to_owned()].into_iter().chain((0..preroll).map(preroll_name)).chain([SEGMENT.to_owned()]);
        if preroll > PREROLL_MAX || !are_named(inputs, names) {
            return unsupported("the inputs of a transcode task are init, preroll-0 and so on, and segment".into());
        }
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

/// Most of the text before that is taken, in bytes.
const CONTEXT_BYTES_MAX: usize = 4_096;
/// Longest window, in milliseconds.
const WINDOW_MS_MAX: i64 = 120_000;

fn check_captions(work: &Captions, inputs: &[Input]) -> Result<(), Failure> {
    let segments = inputs.len().saturating_sub(1);
    let names = [INIT.to_owned()].into_iter().chain((0..segments).map(segment_name));
    if !(1..=SEGMENTS_MAX).contains(&segments) || !are_named(inputs, names) {
        return unsupported("the inputs of a captions task are init, segment-0 and so on".into());
    }
    if work.model.as_ref().is_some_and(|model| !is_model_id(model)) {
        return unsupported("the model that is asked for has no model's name".into());
    }
    if work.language.as_ref().is_some_and(|code| language_name(code).is_none()) {
        return unsupported("the language that is asked for is none".into());
    }
    let length_ms = work.end_ms.saturating_sub(work.start_ms);
    if !(0..=WINDOW_MS_MAX).contains(&length_ms) || work.context.len() > CONTEXT_BYTES_MAX {
        let message = format!("the window has {length_ms} ms and {} bytes of text before", work.context.len());
        return Err(Failure { kind: FailureKind::Limit, message });
    }
    Ok(())
}

/// Most pictures of a window, as [`millrace_proto::task::Look::pictures_max`] counts them.
const PICTURES_MAX: u32 = 1_000;
/// Most things of a picture that are looked at closely.
const CLOSELY_MAX: u32 = 64;

fn check_look(work: &Look, inputs: &[Input]) -> Result<(), Failure> {
    let preroll = work.preroll as usize;
    let segments = inputs.len().saturating_sub(1).saturating_sub(preroll);
    let names = [INIT.to_owned()].into_iter().chain((0..preroll).map(preroll_name));
    let names = names.chain((0..segments).map(segment_name));
    if preroll > PREROLL_MAX || !(1..=SEGMENTS_MAX).contains(&segments) || !are_named(inputs, names) {
        return unsupported("the inputs of a look task are init, preroll-0 and so on, segment-0 and so on".into());
    }
    if work.model.as_ref().is_some_and(|model| !is_model_id(model)) {
        return unsupported("the model that is asked for has no model's name".into());
    }
    let (length_ms, pictures) = (work.end_ms.saturating_sub(work.start_ms), work.pictures_max());
    if work.every_ms == 0 || length_ms < 0 || pictures > PICTURES_MAX || work.closely > CLOSELY_MAX {
        let message =
            format!("the window has {length_ms} ms and {pictures} pictures, {} looked at closely", work.closely);
        return Err(Failure { kind: FailureKind::Limit, message });
    }
    Ok(())
}

fn are_named(inputs: &[Input], names: impl Iterator<Item = String>) -> bool {
    names.eq(inputs.iter().map(|input| input.name.as_str()))
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

    fn transcode(lease: &mut Lease) -> &mut Transcode {
        match &mut lease.work {
            Work::Transcode(work) => work,
            Work::Captions(_) | Work::Look(_) => panic!("it is a transcode"),
        }
    }

    fn target(lease: &mut Lease) -> &mut Target {
        &mut transcode(lease).renditions[0]
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
            let work = transcode(l);
            work.renditions = vec![work.renditions[0].clone(); 17];
        };
        assert_eq!(refusal(many), Limit);
        let twice = |l: &mut Lease| {
            let work = transcode(l);
            work.renditions.push(work.renditions[0].clone());
        };
        assert_eq!(refusal(twice), Unsupported);
        let none = |l: &mut Lease| transcode(l).renditions.clear();
        assert_eq!(refusal(none), Limit);
    }

    #[test]
    fn what_a_window_may_not_ask() {
        use FailureKind::{Limit, Unsupported};
        let refused = |change: fn(&mut Captions, &mut Vec<Input>)| {
            let Lease { mut inputs, .. } = testing::window("l-1");
            let mut work = Captions { end_ms: 4_000, language: Some("en".into()), ..Captions::default() };
            assert_eq!(check_captions(&work, &inputs), Ok(()));
            change(&mut work, &mut inputs);
            check_captions(&work, &inputs).unwrap_err().kind
        };
        assert_eq!(refused(|_, inputs| inputs[1].name = "segment".into()), Unsupported);
        assert_eq!(refused(|_, inputs| inputs.truncate(1)), Unsupported);
        assert_eq!(refused(|work, _| work.model = Some("../x".into())), Unsupported);
        assert_eq!(refused(|work, _| work.language = Some("zz".into())), Unsupported);
        assert_eq!(refused(|work, _| work.end_ms = 1_000_000), Limit);
        assert_eq!(refused(|work, _| work.start_ms = 5_000), Limit);
        assert_eq!(refused(|work, _| work.context = "a".repeat(5_000)), Limit);
    }

    #[test]
    fn what_a_look_may_not_ask() {
        use FailureKind::{Limit, Unsupported};
        let refused = |change: fn(&mut Look, &mut Vec<Input>)| {
            let Lease { mut inputs, .. } = testing::window("l-1");
            let capability = millrace_proto::offer::Capability::Products;
            let (every_ms, preroll, closely, start_ms, end_ms) = (1_000, 0, 4, 0, 4_000);
            let mut work = Look { capability, model: None, every_ms, preroll, closely, start_ms, end_ms };
            assert_eq!(check_look(&work, &inputs), Ok(()));
            change(&mut work, &mut inputs);
            check_look(&work, &inputs).unwrap_err().kind
        };
        assert_eq!(refused(|work, _| work.preroll = 1), Unsupported);
        assert_eq!(refused(|work, _| work.preroll = u32::MAX), Unsupported);
        assert_eq!(refused(|_, inputs| inputs.truncate(1)), Unsupported);
        assert_eq!(refused(|work, _| work.model = Some("../x".into())), Unsupported);
        assert_eq!(refused(|work, _| work.every_ms = 0), Limit);
        assert_eq!(refused(|work, _| work.end_ms = i64::MAX), Limit);
        assert_eq!(refused(|work, _| work.start_ms = 5_000), Limit);
        assert_eq!(refused(|work, _| work.closely = 1_000), Limit);
    }
}
