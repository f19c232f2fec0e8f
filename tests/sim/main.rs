//! The seeded simulation: the real machines of orchestrator and worker in a world that does its worst.
//!
//! `MILLRACE_SIM_SEEDS` says how many seeds are run, `MILLRACE_SIM_SEED` runs one alone and shows its trace.

mod catalogs;
mod check;
mod desk;
mod eyes;
mod faults;
mod finale;
mod hearing;
mod holding;
mod house;
mod labour;
mod lies;
mod playlist;
mod publishers;
mod sabotage;
mod scenario;
mod step;
mod trace;
mod wire;
mod workers;
mod world;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use sabotage::Sabotage;
use scenario::Scenario;
use trace::Trace;
use world::World;

/// Seeds of a run that is not told otherwise.
const SEEDS: u64 = 2_000;

/// Lets one world happen. The objection, if there is one.
fn live(seed: u64, trace: &Trace, sabotage: Option<Sabotage>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime starts");
    let run = || {
        runtime.block_on(async {
            let mut world = World::new(Scenario::draw(seed), trace.clone(), sabotage).await;
            world.run().await;
        });
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(()) => trace.objection().map_or(Ok(()), Err),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err(format!("it panicked: {}", text.unwrap_or("without a word")))
        }
    }
}

/// Keeps a world and its store's thread on one core: they take turns, thousands of times, and waking a thread on
/// another core takes longer than what it then does.
fn stay_on_core(number: usize) {
    let all = sched_getaffinity(Pid::from_raw(0)).expect("a thread may ask where it runs");
    let cores: Vec<usize> = (0..CpuSet::count()).filter(|&core| all.is_set(core).unwrap_or(false)).collect();
    let mut own = CpuSet::new();
    own.set(cores[number % cores.len()]).expect("it was in a set");
    sched_setaffinity(Pid::from_raw(0), &own).expect("a thread may stay on a core that it may use");
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}: give a number")))
}

/// Writes the whole trace where a person finds it, and says what to do.
fn report(seed: u64, trace: &Trace, objection: &str) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sim-{seed}.trace"));
    let written = std::fs::write(&path, trace.lines().join("\n"));
    let at = if written.is_ok() { path.display().to_string() } else { "nowhere".into() };
    format!(
        "seed {seed}: {objection}\n{}\nThe whole trace is at {at}. Run it alone with\n  \
         MILLRACE_SIM_SEED={seed} cargo test -p millrace-tests --test sim -- nothing_is_lost\n",
        trace.tail()
    )
}

#[test]
fn nothing_is_lost_under_any_seed() {
    if let Some(seed) = number("MILLRACE_SIM_SEED") {
        let trace = Trace::default();
        let lived = live(seed, &trace, None);
        println!("{}", trace.lines().join("\n"));
        return lived.unwrap_or_else(|objection| panic!("{}", report(seed, &trace, &objection)));
    }
    let seeds = number("MILLRACE_SIM_SEEDS").unwrap_or(SEEDS);
    let (next, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let threads = thread::available_parallelism().map_or(2, std::num::NonZero::get);
    thread::scope(|scope| {
        for thread in 0..threads {
            let (next, failed) = (&next, &failed);
            scope.spawn(move || {
                stay_on_core(thread);
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let trace = Trace::default();
                    if let Err(objection) = live(seed, &trace, None) {
                        let mut failed = failed.lock().expect("no panic while held");
                        if failed.is_empty() {
                            eprintln!("{}", report(seed, &trace, &objection));
                        }
                        failed.push((seed, objection));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no panic while held");
    let lines: Vec<String> = failed.iter().map(|(seed, objection)| format!("seed {seed}: {objection}")).collect();
    assert!(failed.is_empty(), "{} of {seeds} seeds failed\n{}", failed.len(), lines.join("\n"));
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [1, 7, 43, 99] {
        let traces = [Trace::default(), Trace::default()];
        for trace in &traces {
            live(seed, trace, None).unwrap_or_else(|objection| panic!("{}", report(seed, trace, &objection)));
        }
        let [one, two] = traces.map(|trace| trace.lines());
        assert!(one.len() > 20, "seed {seed}: only {} lines", one.len());
        if let Some((a, b)) = one.iter().zip(&two).find(|(a, b)| a != b) {
            panic!("seed {seed}: {a}\nthe second time: {b}");
        }
        assert_eq!(one.len(), two.len(), "seed {seed}");
    }
}

/// Seeds within which each way of breaking the house is found: what takes a race is there in one of some dozens.
const SABOTAGE_SEEDS: u64 = 100;

/// A check that never objects checks nothing.
fn is_found(sabotage: Sabotage) {
    let found = (0..SABOTAGE_SEEDS).find_map(|seed| Some((seed, live(seed, &Trace::default(), Some(sabotage)).err()?)));
    let (seed, objection) = found.unwrap_or_else(|| panic!("{sabotage:?} passed {SABOTAGE_SEEDS} seeds"));
    println!("{sabotage:?} is found by seed {seed}: {objection}");
}

#[test]
fn a_lost_commit_is_found() {
    is_found(Sabotage::LoseCommits);
}

#[test]
fn a_playlist_that_goes_back_is_found() {
    is_found(Sabotage::ForgetListings);
}

#[test]
fn a_task_that_is_written_over_is_found() {
    is_found(Sabotage::OverwriteTasks);
}

#[test]
fn what_is_held_and_shown_is_found() {
    is_found(Sabotage::ForgetHolds);
}

#[test]
fn a_house_that_believes_its_workers_is_found() {
    is_found(Sabotage::BelieveWorkers);
}
