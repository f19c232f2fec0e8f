//! The view of the file system, by Landlock: libraries, and the job's own files.
//!
//! Landlock does not hide that a file is there (`stat`), and knows nothing of modes and owners: the filter of system
//! calls refuses to change those.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use millrace_media::View;

/// The newest that this was tried with. Older kernels do what they know; what they lack beside files, the filter of
/// system calls refuses too.
const NEWEST: ABI = ABI::V7;

/// Read by all: what libraries load late, and what codecs ask of the machine (how many processors, where).
const COMMON: [&str; 12] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/proc/cpuinfo",
    "/proc/sys/vm/overcommit_memory",
    "/dev/null",
    "/dev/urandom",
];

/// Restricts this thread, and all that it starts, to `view`; or tells what the kernel lacks. An error is that this view
/// can't be had on a kernel that lacks nothing: no job is to run without it then, since others did not.
pub(super) fn restrict(view: &View<'_>) -> Result<Result<(), String>, RulesetError> {
    let status = match enforce(view) {
        Ok(status) => status,
        Err(error @ (RulesetError::CreateRuleset(_) | RulesetError::RestrictSelf(_))) => {
            return Ok(Err(format!("Landlock refuses: {error}")));
        }
        Err(error) => return Err(error),
    };
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced, _) => Ok(()),
        (RulesetStatus::NotEnforced, LandlockStatus::NotEnabled) => {
            Err("Landlock is not enabled: add landlock to the kernel's parameter lsm=".into())
        }
        (RulesetStatus::NotEnforced, _) => {
            Err("there is no Landlock: Linux before 5.13, or a container that forbids it".into())
        }
    })
}

fn enforce(view: &View<'_>) -> Result<landlock::RestrictionStatus, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    // No links, pipes, devices or folders: the parent reads what it finds there.
    let write = read | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg;
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    let card = view.card.as_ref();
    // Where buses keep their devices: what /sys/bus/pci/devices points into.
    let places = if card.is_some() { pci_roots() } else { Vec::new() };
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(COMMON, read))?
        .add_rules(path_beneath_rules(&view.read, read))?
        .add_rules(path_beneath_rules(view.write, write))?
        .add_rules(path_beneath_rules(card.map(|card| &card.read).into_iter().flatten(), read))?
        .add_rules(path_beneath_rules(places, AccessFs::ReadDir | AccessFs::ReadFile))?
        .add_rules(path_beneath_rules(card.map(|card| &card.devices).into_iter().flatten(), device))?
        .restrict_self()
}

fn pci_roots() -> Vec<PathBuf> {
    let found = std::fs::read_dir("/sys/devices").into_iter().flatten().flatten();
    found.filter(|entry| entry.file_name().to_string_lossy().starts_with("pci")).map(|entry| entry.path()).collect()
}
