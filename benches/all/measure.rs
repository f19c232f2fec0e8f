//! Medians and their spread, and what the kernel says that a program took.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};

/// Ticks of a second in `/proc/PID/stat`; a constant of Linux's interface (`USER_HZ`).
const TICKS_PER_S: f64 = 100.0;

/// The middle one, or the mean of the two in the middle; 0 of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which the part `q` of all lies, between neighbours in proportion.
pub(crate) fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = q * (sorted.len().saturating_sub(1)) as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    match (sorted.get(low), sorted.get(high)) {
        (Some(below), Some(above)) => below + (above - below) * place.fract(),
        _ => 0.0,
    }
}

/// The lowest and the highest.
pub(crate) fn spread(values: &[f64]) -> (f64, f64) {
    (values.iter().copied().fold(f64::INFINITY, f64::min), values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}

/// CPU seconds, user and system, of all children that have ended and were waited for.
pub(crate) fn children_cpu_s() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the kernel tells what children took");
    (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6
}

/// What a running program has taken so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// User and system, of its ended children too.
    pub(crate) cpu_s: f64,
    pub(crate) memory_mib: f64,
    pub(crate) threads: u64,
}

/// Looks at process `pid`.
pub(crate) fn usage(pid: u32) -> Result<Usage> {
    let folder = Path::new("/proc").join(pid.to_string());
    let stat = fs::read_to_string(folder.join("stat")).with_context(|| format!("process {pid} is gone"))?;
    let (_, fields) = stat.rsplit_once(')').context("stat has a name in brackets")?;
    let ticks: f64 = fields.split_whitespace().skip(11).take(4).filter_map(|text| text.parse::<f64>().ok()).sum();
    let status = fs::read_to_string(folder.join("status"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    Ok(Usage { cpu_s: ticks / TICKS_PER_S, memory_mib: field("VmRSS:") as f64 / 1_024.0, threads: field("Threads:") })
}

/// Processes that threads of `parent` started and that nobody has waited for. Reads a few small files: whoever looks often
/// must not take what is measured. Needs `CONFIG_PROC_CHILDREN`, which distributions' kernels have.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else { return Vec::new() };
    let started = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children")).unwrap_or_default();
    let numbers = |text: String| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>();
    threads.flatten().map(started).flat_map(numbers).collect()
}
