//! Checks of the task machine: every way through it, and that no other way exists.

use millrace_proto::{
    identity::Secret,
    outcome::{Done, Failure, Result as Handed},
    task::{Transcode, Work},
};
use proptest::prelude::*;

use super::*;

fn worker(byte: u8) -> Address {
    Secret::from_hex(&format!("{byte:064x}")).unwrap().address()
}

fn task() -> Task {
    Task {
        id: "s-0-transcode".parse().unwrap(),
        stream: "s".parse().unwrap(),
        seq: 0,
        live: true,
        duration_ms: 2_000,
        version: 0,
        work: Work::Transcode(Transcode { renditions: vec![] }),
        link: None,
        sandboxed: false,
        created_ms: 0,
        state: State::Waiting { not_before_ms: 0 },
        attempts: vec![],
    }
}

fn id(text: &str) -> LeaseId {
    text.parse().unwrap()
}

fn grant(name: &str, by: u8) -> Grant {
    Grant { id: id(name), token_sha256: Sha256::of(b"t"), worker: worker(by), instance: "i".into() }
}

fn outcome(result: Handed) -> Outcome {
    Outcome { result, signature: String::new() }
}

fn done() -> Outcome {
    outcome(Handed::Done(Done { renditions: vec![], report: None, frames_concealed: 0, work_ms: 1 }))
}

fn taken(finish: Finish) -> Task {
    match finish {
        Finish::Taken(task) => task,
        other => panic!("{other:?}"),
    }
}

const POLICY: Policy = Policy {
    lease_ms: 1_000,
    work_ms_min: 5_000,
    work_durations_max: 1,
    doubts: 3,
    strikes_max: 4,
    worker_strikes_max: 2,
    patience_ms: 1_000,
    attempts_max: 20,
    retry_ms: 100,
    retry_ms_max: 400,
};

#[test]
fn the_straight_way() {
    let task = lease(task(), grant("l", 1), &POLICY, 10).unwrap();
    assert_eq!(task.due_ms(), Some(1_010));
    let task = renew(task, &id("l"), &POLICY, 1_009).unwrap();
    assert_eq!(task.due_ms(), Some(2_009));
    let task = taken(finish(task, &id("l"), done(), 1_500));
    assert_eq!(finish(task.clone(), &id("l"), done(), 1_501), Finish::Repeated);
    let task = decide(task, &id("l"), Verdict::Accept, &POLICY, 1_600).unwrap();
    assert!(matches!(task.state, State::Accepted { .. }));
    assert_eq!(finish(task.clone(), &id("l"), done(), 1_700), Finish::Repeated, "a late repeat gets the same answer");
    assert_eq!(finish(task.clone(), &id("other"), done(), 1_700), Finish::Gone);
    assert_eq!(lease(task.clone(), grant("m", 2), &POLICY, 9_999), None);
    assert_eq!(task.version, 4, "every change counts");
}

#[test]
fn renewals_end_with_the_lease_and_with_the_work() {
    let open = lease(task(), grant("l", 1), &POLICY, 0).unwrap();
    assert_eq!(renew(open.clone(), &id("l"), &POLICY, 1_000), Err(Gone));
    assert_eq!(renew(open.clone(), &id("m"), &POLICY, 1), Err(Gone));
    let mut task = open;
    for now_ms in (900..5_000).step_by(900) {
        task = renew(task, &id("l"), &POLICY, now_ms).unwrap();
        assert!(task.due_ms().unwrap() <= 5_000, "no lease outlives the work's end");
    }
    assert_eq!(renew(task, &id("l"), &POLICY, 5_000), Err(Gone));
}

#[test]
fn a_lost_worker_gives_the_task_back_at_once() {
    let task = lease(task(), grant("l", 1), &POLICY, 0).unwrap();
    assert_eq!(take_back(task.clone(), &POLICY, 999, |held| held.expires_ms <= 999), None);
    let task = take_back(task, &POLICY, 1_000, |held| held.expires_ms <= 1_000).unwrap();
    assert_eq!(task.state, State::Waiting { not_before_ms: 1_000 });
    assert_eq!(task.attempts[0].fault, Fault::Expired);
    assert_eq!(finish(task, &id("l"), done(), 1_001), Finish::Gone);
}

#[test]
fn an_undelivered_lease_is_no_try() {
    let task = lease(task(), grant("l", 1), &POLICY, 0).unwrap();
    assert_eq!(undeliver(task.clone(), &id("m"), 5), None);
    let task = undeliver(task, &id("l"), 5).unwrap();
    assert_eq!((task.state, task.attempts.len()), (State::Waiting { not_before_ms: 5 }, 0));
}

fn failed(mut task: Task, by: u8, verdict: Verdict, now_ms: u64) -> Task {
    task.state = State::Waiting { not_before_ms: 0 };
    let task = lease(task, grant("l", by), &POLICY, now_ms).unwrap();
    let failure = Failure { kind: FailureKind::Crashed, message: String::new() };
    let task = taken(finish(task, &id("l"), outcome(Handed::Failed(failure)), now_ms));
    decide(task, &id("l"), verdict, &POLICY, now_ms).unwrap()
}

#[test]
fn pauses_grow_with_the_failures_of_one_worker() {
    let crash = || Verdict::Retry(FailureKind::Crashed, "crash".into());
    let first = failed(task(), 1, crash(), 0);
    assert_eq!(first.state, State::Waiting { not_before_ms: 100 });
    let second = failed(first.clone(), 1, crash(), 0);
    assert_eq!(second.state, State::Waiting { not_before_ms: 200 });
    let fourth = failed(failed(second, 1, crash(), 0), 1, crash(), 0);
    assert_eq!(fourth.state, State::Waiting { not_before_ms: 400 }, "up to the limit");
    let other = failed(first, 2, crash(), 0);
    assert_eq!(other.state, State::Waiting { not_before_ms: 100 }, "another worker's is its own first");
    let release = || Verdict::Retry(FailureKind::Released, "bye".into());
    let released = failed(task(), 1, release(), 7);
    assert_eq!(released.state, State::Waiting { not_before_ms: 7 });
    assert_eq!(failed(released, 1, release(), 7).state, State::Waiting { not_before_ms: 207 });
}

#[test]
fn a_worker_that_loses_leases_again_and_again_is_paused_too() {
    let lose = |task: Task, now_ms| {
        let task = lease(Task { state: State::Waiting { not_before_ms: 0 }, ..task }, grant("l", 1), &POLICY, now_ms);
        take_back(task.unwrap(), &POLICY, now_ms, |_| true).unwrap()
    };
    assert_eq!(lose(lose(task(), 5), 5).state, State::Waiting { not_before_ms: 205 });
}

#[test]
fn a_worker_that_keeps_a_lease_to_the_end_of_its_time_is_not_just_lost() {
    let mut open = lease(task(), grant("l", 1), &POLICY, 0).unwrap();
    for now_ms in (900..5_000).step_by(900) {
        open = renew(open, &id("l"), &POLICY, now_ms).unwrap();
    }
    let over = take_back(open, &POLICY, 5_000, |held| held.expires_ms <= 5_000).unwrap();
    assert_eq!((over.attempts[0].fault, over.rank_of(worker(1))), (Fault::Overdue, 1));
}

#[test]
fn strikes_alone_do_not_fail_a_segment() {
    let mut open = task();
    for now_ms in 0..4 {
        open = failed(open, 1 + (now_ms % 2) as u8, Verdict::Refuse("no".into()), now_ms);
    }
    assert!(matches!(open.state, State::Waiting { .. }));
    assert!(!is_hopeless(&open, Some(2), &POLICY, 999), "too soon");
    assert!(!is_hopeless(&open, Some(1), &POLICY, 2_000), "someone may still do it");
    assert!(!is_hopeless(&open, None, &POLICY, 2_000), "nobody is here");
    assert!(is_hopeless(&open, Some(2), &POLICY, 2_000));
    let State::Failed { reason } = give_up(open.clone()).unwrap().state else { panic!("it is given up") };
    assert_eq!(reason, "given up after 4 tries of 2 workers: no");
    assert_eq!(give_up(lease(open, grant("l", 1), &POLICY, 9_999).unwrap()), None);
}

#[test]
fn tries_of_any_kind_end_some_day() {
    let mut open = task();
    let release = || Verdict::Retry(FailureKind::Released, "bye".into());
    for _ in 0..19 {
        open = failed(open, 1, release(), 0);
        assert!(matches!(open.state, State::Waiting { .. }));
    }
    assert!(matches!(failed(open, 1, release(), 0).state, State::Failed { .. }));
}

#[test]
fn reported_failures_raise_doubts_of_the_input() {
    let doubtful = |task: &Task, kind| is_doubtful(task, kind, &POLICY);
    assert!(doubtful(&task(), FailureKind::BadInput), "that is said of the input at once");
    let crash = || Verdict::Retry(FailureKind::Crashed, "crash".into());
    let twice = failed(failed(task(), 1, crash(), 0), 2, crash(), 0);
    assert!(!doubtful(&failed(task(), 1, crash(), 0), FailureKind::Crashed));
    assert!(doubtful(&twice, FailureKind::TimedOut));
    assert!(!doubtful(&twice, FailureKind::Transfer), "the network's failures say nothing of it");
    let refused = failed(failed(task(), 1, Verdict::Refuse("no".into()), 0), 2, crash(), 0);
    assert!(!doubtful(&refused, FailureKind::Crashed), "neither do lies");
}

#[test]
fn a_bad_input_fails_with_its_reason() {
    let bad = failed(task(), 1, Verdict::BadInput("no keyframe".into()), 0);
    assert_eq!(bad.state, State::Failed { reason: "bad input: no keyframe".into() });
    assert!(bad.attempts.is_empty(), "that is no one's fault");
}

proptest! {
    /// Whatever comes in whatever order: versions count by one, a settled task stays settled, and only the holder
    /// of an open lease brings an outcome in.
    #[test]
    fn no_order_of_events_breaks_a_task(steps in prop::collection::vec((0_u8..8, 0_u8..4, 0_u64..3_000), 1..80)) {
        let (mut now_ms, mut task) = (0, task());
        for (step, by, wait_ms) in steps {
            now_ms += wait_ms;
            let before = task.clone();
            let name = id(&format!("l{by}"));
            let next = match step {
                0 | 1 => lease(before.clone(), grant(&format!("l{by}"), by + 1), &POLICY, now_ms),
                2 => renew(before.clone(), &name, &POLICY, now_ms).ok(),
                3 => match finish(before.clone(), &name, done(), now_ms) {
                    Finish::Taken(task) => {
                        prop_assert!(before.leases().iter().any(|held| held.id == name));
                        Some(task)
                    }
                    _ => None,
                },
                4 => take_back(before.clone(), &POLICY, now_ms, |held| held.expires_ms <= now_ms),
                5 => decide(before.clone(), &name, Verdict::Accept, &POLICY, now_ms),
                6 => decide(before.clone(), &name, Verdict::Refuse("no".into()), &POLICY, now_ms),
                _ => undeliver(before.clone(), &name, now_ms),
            };
            if let Some(next) = next {
                prop_assert_eq!(next.version, before.version + 1);
                let settled = matches!(before.state, State::Accepted { .. } | State::Failed { .. });
                prop_assert!(!settled, "a settled task changed: {:?}", before);
                prop_assert!(next.leases().iter().all(|held| held.expires_ms <= held.work_ends_ms));
                task = next;
            }
        }
    }
}
