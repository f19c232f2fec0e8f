//! libFuzzer's entry: hands its bytes to the target that `MILLRACE_FUZZ` names. See `tests/fuzz/run`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use millrace_orchestrator::fuzz::TARGETS;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("MILLRACE_FUZZ").unwrap_or_default();
    match TARGETS.into_iter().find(|(target, _)| *target == name) {
        Some((_, target)) => target,
        None => panic!("set MILLRACE_FUZZ to one of {:?}", TARGETS.map(|(target, _)| target)),
    }
});

fuzz_target!(|bytes: &[u8]| TARGET(bytes));
