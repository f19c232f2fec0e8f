//! One lease's way through the agent, and what can come between.

use millrace_proto::{
    outcome::{self, FailureKind},
    task::Lease,
    worker::{Challenge, Finished, Polled, Renewed, Session},
};

use super::{testing::*, *};

struct World {
    agent: Agent,
    now_ms: u64,
}

fn away() -> Fault {
    Fault::Away { message: "connection refused".into(), retry_after_ms: None }
}

impl World {
    fn new(slots: u32) -> Self {
        Self::with_cards(slots, Vec::new())
    }

    fn with_cards(slots: u32, cards: Vec<Seats>) -> Self {
        let (timing, limits) = (Timing::default(), Limits::default());
        let config = Config { instance: "i-1".into(), slots, ahead: 1, seed: 1, timing, limits, cards, models: vec![] };
        Self { agent: Agent::new(config), now_ms: 1_000 }
    }

    fn put(&mut self, input: Input) -> Vec<Output> {
        self.agent.handle(input, self.now_ms);
        let wake_ms = self.agent.wake_ms();
        assert!(wake_ms.is_none_or(|at_ms| at_ms > self.now_ms), "busy at {}: {wake_ms:?}", self.now_ms);
        std::iter::from_fn(|| self.agent.poll_output()).collect()
    }

    /// Goes to the next wake-up.
    fn sleep(&mut self) -> Vec<Output> {
        self.now_ms = self.agent.wake_ms().expect("asleep for ever");
        self.put(Input::Wake)
    }

    /// Wakes until an output is there.
    fn until_output(&mut self) -> Vec<Output> {
        loop {
            let outputs = self.sleep();
            if !outputs.is_empty() {
                return outputs;
            }
        }
    }

    fn join(&mut self) -> Vec<Output> {
        let outputs = self.put(Input::Wake);
        self.answer_join(&outputs)
    }

    fn answer_join(&mut self, outputs: &[Output]) -> Vec<Output> {
        let [Output::Challenge { call }] = outputs else { panic!("{outputs:?}") };
        let outputs = self.put(Input::Challenged(*call, Ok(Challenge { text: "sign me".into() })));
        let [Output::Open { call, challenge }] = &outputs[..] else { panic!("{outputs:?}") };
        assert_eq!(challenge.text, "sign me");
        self.put(Input::Opened(*call, Ok(Session { token: "secret".into() })))
    }

    /// Joined, and one lease taken: its fetch.
    fn with_lease(lease: Lease) -> (Self, Job, Call) {
        let mut world = Self::new(1);
        let outputs = world.join();
        let polled = Polled { leases: vec![lease], revoked: vec![] };
        let outputs = world.put(Input::Polled(poll(&outputs).0, Ok(polled)));
        let [Output::Begin { job, .. }, Output::Fetch { call, .. }] = outputs[..] else { panic!("{outputs:?}") };
        (world, job, call)
    }

    fn work(&mut self, fetch: Call) -> Call {
        let outputs = self.put(Input::Fetched(fetch, Ok(())));
        let [Output::Work { call, .. }] = outputs[..] else { panic!("{outputs:?}") };
        call
    }

    fn finish(&mut self, fetch: Call) -> Call {
        let work = self.work(fetch);
        let outputs = self.put(Input::Worked(work, Ok(done())));
        let [Output::Upload { call, .. }, ..] = outputs[..] else { panic!("{outputs:?}") };
        let outputs = self.put(Input::Uploaded(call, Ok(())));
        let (call, result) = finish(&outputs);
        assert_eq!(result, outcome::Result::Done(done()));
        call
    }
}

fn poll(outputs: &[Output]) -> (Call, u32, Vec<String>) {
    let [Output::Poll { call, poll, session }] = outputs else { panic!("{outputs:?}") };
    assert_eq!((&**session, poll.instance.as_str()), ("secret", "i-1"));
    (*call, poll.slots_free, poll.held.iter().map(ToString::to_string).collect())
}

fn finish(outputs: &[Output]) -> (Call, outcome::Result) {
    let found = outputs.iter().find_map(|output| match output {
        Output::Finish { call, result, .. } => Some((*call, result.clone())),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("{outputs:?}"))
}

fn failed(outputs: &[Output]) -> (Call, FailureKind) {
    match finish(outputs) {
        (call, outcome::Result::Failed(failure)) => (call, failure.kind),
        other => panic!("{other:?}"),
    }
}

fn ending(outputs: &[Output]) -> Option<Ending> {
    outputs.iter().find_map(|output| if let Output::End { ending, .. } = output { Some(*ending) } else { None })
}

#[test]
fn a_lease_goes_all_the_way_and_the_next_is_asked_for() {
    let (mut world, job, fetch) = World::with_lease(lease("l-1"));
    let work = world.work(fetch);
    let outputs = world.put(Input::Worked(work, Ok(done())));
    let [Output::Upload { call, .. }, ..] = outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(poll(&outputs[1..]).1, 1, "the slot is free");
    let (call, _) = finish(&world.put(Input::Uploaded(call, Ok(()))));
    let outputs = world.put(Input::Finished(call, Ok(Finished { taken: true })));
    assert_eq!(outputs, [Output::End { job, lease: "l-1".parse().unwrap(), ending: Ending::Taken }]);
}

#[test]
fn nothing_is_polled_for_while_the_slots_are_full_and_empty_answers_do_not_spin() {
    let (mut world, ..) = World::with_lease(lease("l-1"));
    let outputs = world.sleep();
    assert!(matches!(outputs[..], [Output::Renew { .. }]), "{outputs:?}");

    let mut world = World::new(2);
    let outputs = world.join();
    let (call, slots_free, _) = poll(&outputs);
    assert_eq!(slots_free, 2);
    let outputs = world.put(Input::Polled(call, Ok(Polled { leases: vec![], revoked: vec![] })));
    assert_eq!(outputs, []);
    let before_ms = world.now_ms;
    poll(&world.sleep());
    assert_eq!(world.now_ms - before_ms, Timing::default().poll_gap_ms);
}

#[test]
fn leases_that_were_not_asked_for_are_ignored() {
    let mut world = World::new(1);
    let outputs = world.join();
    let leases = vec![lease("l-1"), lease("l-2"), lease("l-1")];
    let outputs = world.put(Input::Polled(poll(&outputs).0, Ok(Polled { leases, revoked: vec![] })));
    let begun = outputs.iter().filter(|output| matches!(output, Output::Begin { .. })).count();
    let ignored = outputs.iter().filter(|output| matches!(output, Output::Ignored { .. })).count();
    assert_eq!((begun, ignored), (1, 2));
}

#[test]
fn a_lease_beyond_the_limits_is_handed_back_undone() {
    let mut world = World::new(1);
    let outputs = world.join();
    let mut greedy = lease("l-1");
    greedy.inputs[0].blob.bytes = u64::MAX;
    let outputs = world.put(Input::Polled(poll(&outputs).0, Ok(Polled { leases: vec![greedy], revoked: vec![] })));
    assert_eq!(failed(&outputs).1, FailureKind::Limit);
    assert!(!outputs.iter().any(|output| matches!(output, Output::Fetch { .. })));
}

#[test]
fn renewals_come_at_a_third_and_lost_ones_are_tried_again_before_the_lease_ends() {
    let (mut world, ..) = World::with_lease(lease("l-1"));
    let given_ms = world.now_ms;
    let outputs = world.sleep();
    let [Output::Renew { call, .. }] = outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(world.now_ms - given_ms, 5_000);
    assert_eq!(world.put(Input::Renewed(call, Ok(Renewed { lease_ms: 15_000 }))), []);
    let renewed_ms = world.now_ms;
    // From now on nobody answers.
    let mut tries = 0;
    let outputs = loop {
        let outputs = world.until_output();
        if ending(&outputs).is_some() {
            break outputs;
        }
        tries += outputs.iter().filter(|output| matches!(output, Output::Renew { .. })).count();
    };
    assert_eq!(ending(&outputs), Some(Ending::Expired));
    assert!(outputs.iter().any(|output| matches!(output, Output::Abort { .. })), "the fetch is stopped: {outputs:?}");
    assert_eq!(world.now_ms - renewed_ms, 15_000);
    assert!(tries >= 3, "{tries}");
}

#[test]
fn a_revoked_lease_is_dropped_at_once_but_not_one_whose_outcome_is_on_its_way() {
    let (mut world, _, fetch) = World::with_lease(lease("l-1"));
    let work = world.work(fetch);
    let outputs = world.sleep();
    let [Output::Renew { call, .. }] = outputs[..] else { panic!("{outputs:?}") };
    let outputs = world.put(Input::Renewed(call, Err(Fault::Gone(error("lease_gone")))));
    assert_eq!(outputs[0], Output::Abort { call: work });
    assert_eq!(ending(&outputs), Some(Ending::Revoked));

    let (mut world, _, fetch) = World::with_lease(lease("l-1"));
    let finish = world.finish(fetch);
    let outputs = world.sleep();
    let [Output::Renew { call, .. }] = outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(world.put(Input::Renewed(call, Err(Fault::Gone(error("lease_gone"))))), []);
    let outputs = world.put(Input::Finished(finish, Ok(Finished { taken: true })));
    assert_eq!(ending(&outputs), Some(Ending::Taken));
}

#[test]
fn work_that_takes_too_long_is_stopped_and_told_while_the_lease_lasts() {
    let (mut world, _, fetch) = World::with_lease(lease("l-1"));
    let given_ms = world.now_ms;
    let work = world.work(fetch);
    let outputs = loop {
        let outputs = world.until_output();
        if let [Output::Renew { call, .. }] = outputs[..] {
            world.put(Input::Renewed(call, Ok(Renewed { lease_ms: 15_000 })));
        } else {
            break outputs;
        }
    };
    assert_eq!(outputs[0], Output::Abort { call: work });
    assert_eq!(failed(&outputs).1, FailureKind::TimedOut);
    assert!((50_000..60_000).contains(&(world.now_ms - given_ms)));
    assert_eq!(world.put(Input::Worked(work, Ok(done()))), [], "too late");
}

#[test]
fn a_lost_session_is_made_anew_and_what_is_held_is_told() {
    let (mut world, _, fetch) = World::with_lease(lease("l-1"));
    let outputs = world.put(Input::Fetched(fetch, Err(Fault::Unauthorized(error("session_unknown")))));
    assert_eq!(outputs, []);
    let outputs = world.sleep();
    let outputs = world.answer_join(&outputs);
    assert!(matches!(outputs[0], Output::Fetch { .. }), "{outputs:?}");
    let (_, slots_free, held) = poll(&outputs[1..]);
    assert_eq!((slots_free, held), (0, vec!["l-1".to_owned()]));
}

#[test]
fn transfers_are_tried_again_for_a_while_and_then_fail_the_lease() {
    let (mut world, _, mut fetch) = World::with_lease(lease("l-1"));
    let begun_ms = world.now_ms;
    loop {
        let outputs = world.put(Input::Fetched(fetch, Err(away())));
        if !outputs.is_empty() {
            assert_eq!(failed(&outputs).1, FailureKind::Transfer);
            break;
        }
        fetch = loop {
            let outputs = world.sleep();
            match outputs[..] {
                [Output::Fetch { call, .. }] => break call,
                [Output::Renew { call, .. }] => {
                    world.put(Input::Renewed(call, Ok(Renewed { lease_ms: 15_000 })));
                }
                _ => panic!("{outputs:?}"),
            }
        };
    }
    assert!((20_000..50_000).contains(&(world.now_ms - begun_ms)));

    let (mut world, _, fetch) = World::with_lease(lease("l-1"));
    let outputs = world.put(Input::Fetched(fetch, Err(Fault::Spoiled("wrong hash".into()))));
    assert_eq!(failed(&outputs).1, FailureKind::Transfer);
}

#[test]
fn an_outcome_is_handed_in_again_until_it_is_answered() {
    let (mut world, _, fetch) = World::with_lease(lease("l-1"));
    let mut call = world.finish(fetch);
    for _ in 0..3 {
        assert_eq!(world.put(Input::Finished(call, Err(away()))), []);
        let (again, result) = finish(&world.until_output());
        assert_ne!(again, call);
        assert_eq!(result, outcome::Result::Done(done()));
        call = again;
    }
    let outputs = world.put(Input::Finished(call, Ok(Finished { taken: false })));
    assert_eq!(ending(&outputs), Some(Ending::Refused));
}

#[test]
fn a_drain_lets_work_finish_then_says_goodbye() {
    let (mut world, _, fetch) = World::with_lease(lease("l-1"));
    let outputs = world.put(Input::Drain);
    let (call, slots_free, held) = poll(&outputs);
    assert_eq!((slots_free, held.len()), (0, 1));
    world.put(Input::Polled(call, Ok(Polled { leases: vec![lease("l-2")], revoked: vec![] })));
    assert_eq!(world.agent.leases_held(), 1, "no new lease");
    let call = world.finish(fetch);
    let outputs = world.put(Input::Finished(call, Ok(Finished { taken: true })));
    assert_eq!(outputs.last(), Some(&Output::Exit(Exit::Drained)));
    assert_eq!(world.agent.wake_ms(), None);
    assert_eq!(world.put(Input::Drain), []);
}

#[test]
fn a_drain_hands_back_what_outlasts_its_grace() {
    let (mut world, _, fetch) = World::with_lease(lease("l-1"));
    let begun_ms = world.now_ms;
    let work = world.work(fetch);
    let outputs = world.put(Input::Drain);
    world.put(Input::Polled(poll(&outputs).0, Ok(Polled { leases: vec![], revoked: vec![] })));
    let (call, kind) = loop {
        let outputs = world.until_output();
        if let [Output::Renew { call, .. }] = outputs[..] {
            world.put(Input::Renewed(call, Ok(Renewed { lease_ms: 15_000 })));
        } else {
            assert_eq!(outputs[0], Output::Abort { call: work });
            break failed(&outputs);
        }
    };
    assert_eq!((kind, world.now_ms - begun_ms), (FailureKind::Released, 30_000));
    let outputs = world.put(Input::Finished(call, Ok(Finished { taken: true })));
    assert_eq!(outputs.last(), Some(&Output::Exit(Exit::Drained)));
}

#[test]
fn a_second_drain_hands_back_at_once_and_nobody_at_home_does_not_keep_it() {
    let (mut world, _, fetch) = World::with_lease(lease("l-1"));
    world.work(fetch);
    world.put(Input::Drain);
    assert_eq!(failed(&world.put(Input::Drain)).1, FailureKind::Released);
    let begun_ms = world.now_ms;
    let last = loop {
        let outputs = world.until_output();
        if let Some(exit @ Output::Exit(_)) = outputs.last() {
            assert_eq!(ending(&outputs), Some(Ending::Left));
            break exit.clone();
        }
    };
    assert_eq!(last, Output::Exit(Exit::Drained));
    assert_eq!(world.now_ms - begun_ms, Timing::default().farewell_ms);
}

#[test]
fn an_idle_worker_drains_at_once_even_if_nobody_is_there() {
    let mut world = World::new(1);
    world.put(Input::Wake);
    let outputs = world.put(Input::Drain);
    assert_eq!(outputs.last(), Some(&Output::Exit(Exit::Drained)));
}

#[test]
fn a_refusal_before_the_first_session_ends_the_program_and_an_absence_never_does() {
    let mut world = World::new(1);
    let mut outputs = world.put(Input::Wake);
    for _ in 0..50 {
        let [Output::Challenge { call }] = outputs[..] else { panic!("{outputs:?}") };
        assert_eq!(world.put(Input::Challenged(call, Err(away()))), []);
        outputs = world.sleep();
    }
    let [Output::Challenge { call }] = outputs[..] else { panic!("{outputs:?}") };
    let refusal = Fault::Refused(error("protocol_version"));
    let outputs = world.put(Input::Challenged(call, Err(refusal.clone())));
    assert_eq!(outputs, [Output::Exit(Exit::Refused(refusal))]);
}

/// Joined, with one card; leases come and are fetched. What is to be worked on.
fn works_on_a_card(world: &mut World, name: &str, outputs: &[Output]) -> (Call, u64, Option<usize>) {
    let polled = Polled { leases: vec![lease(name)], revoked: vec![] };
    let outputs = world.put(Input::Polled(poll(outputs).0, Ok(polled)));
    let [Output::Begin { .. }, Output::Fetch { call, .. }, ..] = outputs[..] else { panic!("{outputs:?}") };
    let outputs = world.put(Input::Fetched(call, Ok(())));
    let [Output::Work { call, time_ms_max, card, .. }] = outputs[..] else { panic!("{outputs:?}") };
    (call, time_ms_max, card)
}

#[test]
fn what_a_card_refuses_is_done_in_software_within_the_lease() {
    use millrace_media::card::Refusal;
    let mut world = World::with_cards(1, vec![Seats { slots: 1, sessions: 8 }]);
    let outputs = world.join();
    let (call, time_ms_max, card) = works_on_a_card(&mut world, "l-1", &outputs);
    assert_eq!(card, Some(0));
    let cut_ms = time_ms_max * 2;
    world.now_ms += 2_000;
    let outputs = world.put(Input::CardRefused(call, Refusal::Full));
    let [Output::Work { call: again, time_ms_max, card: None, .. }] = outputs[..] else { panic!("{outputs:?}") };
    assert!(time_ms_max.abs_diff(cut_ms - 2_000) <= 1, "all that is left of its time: {time_ms_max} of {cut_ms}");
    assert!(world.put(Input::CardRefused(call, Refusal::Full)).is_empty(), "an answer to what is over");
    assert!(world.put(Input::Worked(call, Ok(done()))).is_empty(), "so is this");
    let outputs = world.put(Input::Worked(again, Ok(done())));
    assert!(matches!(outputs[..], [Output::Upload { .. }, ..]), "{outputs:?}");
}

#[test]
fn a_refusal_by_no_card_is_a_failure_and_not_waited_out() {
    use millrace_media::card::Refusal;
    let mut world = World::with_cards(1, vec![]);
    let outputs = world.join();
    let (call, _, card) = works_on_a_card(&mut world, "l-1", &outputs);
    assert_eq!(card, None);
    let outputs = world.put(Input::CardRefused(call, Refusal::Full));
    let is_failure = |output: &Output| matches!(output, Output::Finish { result: outcome::Result::Failed(_), .. });
    assert!(outputs.iter().any(is_failure), "{outputs:?}");
}

/// Leases come, as the answer to the poll among `outputs`.
fn given(world: &mut World, outputs: &[Output], names: &[&str]) -> Vec<Output> {
    let asked =
        outputs.iter().find_map(|output| if let Output::Poll { call, .. } = output { Some(*call) } else { None });
    let leases = names.iter().map(|name| lease(name)).collect();
    world.put(Input::Polled(asked.expect("a poll"), Ok(Polled { leases, revoked: vec![] })))
}

fn asks(outputs: &[Output]) -> Option<(u32, u32)> {
    outputs.iter().find_map(|output| match output {
        Output::Poll { poll, .. } => Some((poll.slots_free, poll.ahead_free)),
        _ => None,
    })
}

fn works_on(outputs: &[Output]) -> Option<(Call, String)> {
    outputs.iter().find_map(|output| match output {
        Output::Work { call, lease, .. } => Some((*call, lease.id.to_string())),
        _ => None,
    })
}

/// One slot: the first lease is handed in, the second worked on and the third fetched.
fn one_of_each() -> (World, Call, Call) {
    let (mut world, _, fetch) = World::with_lease(lease("l-1"));
    let work = world.work(fetch);
    let outputs = world.put(Input::Worked(work, Ok(done())));
    let upload = outputs.iter().find_map(|o| if let Output::Upload { call, .. } = o { Some(*call) } else { None });
    assert_eq!(asks(&outputs), Some((1, 1)), "the slot is free while what was made goes up: {outputs:?}");
    let outputs = given(&mut world, &outputs, &["l-2", "l-3"]);
    let calls: Vec<Call> =
        outputs.iter().filter_map(|o| if let Output::Fetch { call, .. } = o { Some(*call) } else { None }).collect();
    let outputs = world.put(Input::Fetched(calls[0], Ok(())));
    let (work, name) = works_on(&outputs).expect("a slot is free");
    assert_eq!(name, "l-2");
    let outputs = world.put(Input::Fetched(calls[1], Ok(())));
    assert_eq!(outputs, [], "it waits for the slot, and nothing more is asked for");
    (world, upload.expect("an upload"), work)
}

#[test]
fn a_slot_goes_on_at_once_with_what_was_fetched_ahead() {
    let (mut world, _, work) = one_of_each();
    let outputs = world.put(Input::Worked(work, Ok(done())));
    assert_eq!(works_on(&outputs).expect("it is there").1, "l-3");
    assert_eq!(asks(&outputs), None, "two are handed in for one slot: the line is slower than the work");
}

#[test]
fn what_is_slow_takes_nothing_ahead() {
    let (mut world, _, fetch) = World::with_lease(lease("l-1"));
    let work = world.work(fetch);
    let outputs = world.put(Input::Worked(work, Ok(outcome::Done { work_ms: 16_000, ..done() })));
    assert_eq!(asks(&outputs), Some((1, 0)), "more than a quarter of its 60 s");
    let mut world = World::new(1);
    let outputs = world.join();
    assert_eq!(asks(&outputs), Some((1, 0)), "nothing is known yet");
}

#[test]
fn a_free_slot_is_told_even_while_a_lease_ahead_is_waited_for() {
    let (mut world, upload, work) = one_of_each();
    let (finishing, _) = finish(&world.put(Input::Uploaded(upload, Ok(()))));
    let outputs = world.put(Input::Finished(finishing, Ok(Finished { taken: true })));
    assert_eq!(ending(&outputs), Some(Ending::Taken));
    let outputs = world.put(Input::Worked(work, Ok(done())));
    let (work, _) = works_on(&outputs).expect("l-3 is there");
    let [Output::Upload { call: upload, .. }, .., Output::Poll { call: asked, .. }] = outputs[..] else {
        panic!("{outputs:?}")
    };
    assert_eq!(asks(&outputs), Some((0, 1)));
    let (finishing, _) = finish(&world.put(Input::Uploaded(upload, Ok(()))));
    world.put(Input::Finished(finishing, Ok(Finished { taken: true })));
    // Nobody has one yet, and the slot is free.
    let outputs = world.put(Input::Worked(work, Ok(done())));
    assert!(outputs.contains(&Output::Abort { call: asked }), "{outputs:?}");
    assert_eq!(asks(&outputs), Some((1, 1)));
}

#[test]
fn a_drain_hands_back_what_waits_for_a_slot() {
    let (mut world, ..) = one_of_each();
    let (_, kind) = failed(&world.put(Input::Drain));
    assert_eq!(kind, FailureKind::Released);
}
