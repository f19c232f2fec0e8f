//! The task machine: every change a task can undergo, as pure functions of the task and the time.
//!
//! Each takes a task and returns the changed one, or why not. Nothing is written here: the caller writes the
//! result over the version it was made from, and acts only when that succeeded.

use millrace_proto::{Address, LeaseId, Sha256, outcome::FailureKind, outcome::Outcome, outcome::Result as Handed};

use super::{Attempt, Fault, Held, State, Task};

/// Time limits and tries; the defaults suit segments of a few seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// A lease ends this long after it was given or renewed. Short: a dead worker holds a live segment so long.
    pub lease_ms: u64,
    /// Work on a segment ends after this long and ...
    pub work_ms_min: u64,
    /// ... this many times the segment's playing time, whichever is longer.
    pub work_durations_max: u64,
    /// After so many failures that workers report our own media child looks at the input, and again after as many
    /// more: what it can't decode is bad, what it can is not the workers' to condemn.
    pub doubts: u32,
    /// A sound input is given up after so many tries that speak against worker or input ...
    pub strikes_max: u32,
    /// ... if every able worker that is online made so many of them (or three times as many that failed by the
    /// network) ...
    pub worker_strikes_max: u32,
    /// ... and the first is so long ago, ...
    pub patience_ms: u64,
    /// ... or after so many tries of any kind.
    pub attempts_max: u32,
    /// The pause after a worker's first try that failed; doubles with each of its.
    pub retry_ms: u64,
    /// The longest pause.
    pub retry_ms_max: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lease_ms: 5_000,
            work_ms_min: 60_000,
            work_durations_max: 20,
            doubts: 3,
            strikes_max: 6,
            worker_strikes_max: 2,
            patience_ms: 60_000,
            attempts_max: 100,
            retry_ms: 250,
            retry_ms_max: 8_000,
        }
    }
}

/// A window of a chain has this part of the patience, since all that comes after it waits for it.
const WINDOW_HASTE: u64 = 4;

/// Work on a window ends after so many times its playing time, or after so long, and after `work_ms_min` at the latest:
/// one who keeps it keeps all that come after it.
const WINDOW_DURATIONS: u64 = 4;
const WINDOW_WORK_MS: u64 = 20_000;

/// What a new lease is made of.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Its name.
    pub id: LeaseId,
    /// Hash of its token.
    pub token_sha256: Sha256,
    /// Who gets it.
    pub worker: Address,
    /// Which run of the worker's program.
    pub instance: String,
}

/// The lease is no longer open: it ran out, was lost, or its task is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// What became of an outcome.
#[expect(clippy::large_enum_variant, reason = "one at a time, and written at once")]
#[derive(Debug, Clone, PartialEq)]
pub enum Finish {
    /// It is taken: write this.
    Taken(Task),
    /// It had been taken before; nothing to write.
    Repeated,
    /// The lease is no longer open; nothing to write.
    Gone,
}

/// What checking made of an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is right.
    Accept,
    /// It is wrong, by the worker's fault.
    Refuse(String),
    /// The input can't be worked on by anyone.
    BadInput(String),
    /// The worker said that it failed, and nothing speaks against that.
    Retry(FailureKind, String),
}

/// Waiting -> Leased. `None` if the task is not waiting or not yet ready.
pub fn lease(mut task: Task, grant: Grant, policy: &Policy, now_ms: u64) -> Option<Task> {
    let State::Waiting { not_before_ms } = task.state else { return None };
    if now_ms < not_before_ms {
        return None;
    }
    let work_ms = match task.link {
        None => policy.work_ms_min.max(task.duration_ms * policy.work_durations_max),
        Some(_) => (task.duration_ms * WINDOW_DURATIONS).max(WINDOW_WORK_MS).min(policy.work_ms_min),
    };
    let held = Held {
        id: grant.id,
        token_sha256: grant.token_sha256,
        worker: grant.worker,
        instance: grant.instance,
        given_ms: now_ms,
        expires_ms: now_ms + policy.lease_ms,
        work_ends_ms: now_ms + work_ms,
    };
    task.state = State::Leased { leases: vec![held] };
    Some(changed(task))
}

/// Puts off a lease's end.
pub fn renew(mut task: Task, lease: &LeaseId, policy: &Policy, now_ms: u64) -> Result<Task, Gone> {
    let State::Leased { leases } = &mut task.state else { return Err(Gone) };
    let held = leases.iter_mut().find(|held| held.id == *lease).ok_or(Gone)?;
    if now_ms >= held.expires_ms || now_ms >= held.work_ends_ms {
        return Err(Gone);
    }
    held.expires_ms = (now_ms + policy.lease_ms).min(held.work_ends_ms);
    Ok(changed(task))
}

/// Leased -> Checking: takes an outcome in, if its lease is open. A second outcome, of a hedge, is not used.
pub fn finish(mut task: Task, lease: &LeaseId, outcome: Outcome, now_ms: u64) -> Finish {
    match &task.state {
        State::Leased { leases } => {
            // A lease past its end that nobody swept yet is still good: the work is there.
            let Some(held) = leases.iter().find(|held| held.id == *lease).cloned() else { return Finish::Gone };
            task.state = State::Checking { lease: held, outcome, since_ms: now_ms };
            Finish::Taken(changed(task))
        }
        State::Checking { lease: held, .. } if held.id == *lease => Finish::Repeated,
        State::Accepted { lease: done, .. } if done == lease => Finish::Repeated,
        _ => Finish::Gone,
    }
}

/// Takes back the leases that `lost` picks: Leased -> Waiting, or Failed after too many tries. `None` if
/// none is picked.
pub fn take_back(mut task: Task, policy: &Policy, now_ms: u64, lost: impl Fn(&Held) -> bool) -> Option<Task> {
    let State::Leased { leases } = &mut task.state else { return None };
    let (gone, kept): (Vec<_>, Vec<_>) = leases.drain(..).partition(lost);
    if gone.is_empty() {
        return None;
    }
    let mut pause_ms = 0;
    for held in gone {
        let ms = now_ms.saturating_sub(held.given_ms);
        let (fault, message) = if now_ms >= held.work_ends_ms {
            (Fault::Overdue, format!("nothing came back within {ms} ms"))
        } else {
            (Fault::Expired, format!("not heard of any more, {ms} ms after it was given"))
        };
        let attempt = Attempt { worker: held.worker, fault, message, at_ms: now_ms };
        pause_ms = pause_ms.max(failed(&mut task, attempt, policy));
    }
    if kept.is_empty() {
        wait_or_fail(&mut task, policy, now_ms + pause_ms);
    } else {
        task.state = State::Leased { leases: kept };
    }
    Some(changed(task))
}

/// Undoes a lease that never reached its worker. Counts as no try.
pub fn undeliver(mut task: Task, lease: &LeaseId, now_ms: u64) -> Option<Task> {
    let State::Leased { leases } = &mut task.state else { return None };
    let before = leases.len();
    leases.retain(|held| held.id != *lease);
    if leases.len() == before {
        return None;
    }
    if leases.is_empty() {
        task.state = State::Waiting { not_before_ms: now_ms };
    }
    Some(changed(task))
}

/// Checking -> Accepted, Waiting or Failed. `None` if the task is not being checked, or another outcome is.
pub fn decide(mut task: Task, lease: &LeaseId, verdict: Verdict, policy: &Policy, now_ms: u64) -> Option<Task> {
    let State::Checking { lease: held, .. } = &task.state else { return None };
    if held.id != *lease {
        return None;
    }
    let worker = held.worker;
    let (fault, message) = match verdict {
        Verdict::Accept => {
            task.state = State::Accepted { worker, lease: held.id.clone() };
            return Some(changed(task));
        }
        Verdict::BadInput(reason) => {
            task.state = State::Failed { reason: format!("bad input: {reason}") };
            return Some(changed(task));
        }
        Verdict::Refuse(message) => (Fault::Refused, message),
        Verdict::Retry(kind, message) => (Fault::Reported(kind), message),
    };
    let pause_ms = failed(&mut task, Attempt { worker, fault, message, at_ms: now_ms }, policy);
    wait_or_fail(&mut task, policy, now_ms + pause_ms);
    Some(changed(task))
}

/// What an outcome says about failure, if it does.
pub fn reported(outcome: &Outcome) -> Option<(FailureKind, &str)> {
    match &outcome.result {
        Handed::Done(_) => None,
        Handed::Failed(failure) => Some((failure.kind, &failure.message)),
    }
}

/// Whether a failure of this kind that a worker reports now makes us look at the input ourselves.
pub fn is_doubtful(task: &Task, kind: FailureKind, policy: &Policy) -> bool {
    let reported = |attempt: &&Attempt| matches!(attempt.fault, Fault::Reported(_)) && attempt.fault.is_strike();
    let count = task.attempts.iter().filter(reported).count() + 1;
    kind == FailureKind::BadInput
        || Fault::Reported(kind).is_strike() && count.is_multiple_of(policy.doubts.max(1) as usize)
}

/// Whether a waiting task is worth no further try. `least_online` is the lowest rank with it ([`Task::rank_of`])
/// of the able workers that are online; absent if none is.
///
/// Strikes alone say little: whoever wants to harm a stream can make them. It takes everyone's, and time.
pub fn is_hopeless(task: &Task, least_online: Option<u32>, policy: &Policy, now_ms: u64) -> bool {
    let first_ms = task.attempts.iter().find(|attempt| attempt.fault.is_strike()).map(|attempt| attempt.at_ms);
    // Captions come late or not at all: their chain goes on without the window.
    let patience_ms = if task.link.is_some() { policy.patience_ms / WINDOW_HASTE } else { policy.patience_ms };
    task.strikes(None) >= policy.strikes_max
        && least_online.is_some_and(|rank| rank >= policy.worker_strikes_max)
        && first_ms.is_some_and(|first_ms| now_ms.saturating_sub(first_ms) >= patience_ms)
}

/// Waiting -> Failed. `None` if the task is not waiting.
pub fn give_up(mut task: Task) -> Option<Task> {
    let State::Waiting { .. } = task.state else { return None };
    fail(&mut task);
    Some(changed(task))
}

/// Notes a try that failed; returns the pause that it calls for. A worker's first loss costs none: another one,
/// or the same, may take the task at once.
fn failed(task: &mut Task, attempt: Attempt, policy: &Policy) -> u64 {
    let before = task.tries_of(attempt.worker);
    let is_free = before == 0 && !attempt.fault.is_strike();
    task.attempts.push(attempt);
    if is_free { 0 } else { (policy.retry_ms << before.min(16)).min(policy.retry_ms_max) }
}

fn wait_or_fail(task: &mut Task, policy: &Policy, not_before_ms: u64) {
    if task.attempts.len() >= policy.attempts_max as usize {
        fail(task);
    } else {
        task.state = State::Waiting { not_before_ms };
    }
}

fn fail(task: &mut Task) {
    let mut workers: Vec<Address> = task.attempts.iter().map(|attempt| attempt.worker).collect();
    workers.sort_unstable();
    workers.dedup();
    let last = task.attempts.last().map_or("", |attempt| &attempt.message);
    let reason = format!("given up after {} tries of {} workers: {last}", task.attempts.len(), workers.len());
    task.state = State::Failed { reason };
}

fn changed(mut task: Task) -> Task {
    task.version += 1;
    task
}

#[cfg(test)]
mod tests;
