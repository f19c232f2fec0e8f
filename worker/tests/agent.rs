//! The agent under random inputs, and in a small random world: what must hold whatever comes.

#[path = "agent/watch.rs"]
mod watch;
#[path = "agent/world.rs"]
mod world;

use millrace_media::card::Refusal;
use millrace_proto::{
    api, outcome,
    worker::{Challenge, Finished, Polled, Renewed, Session},
};
use millrace_worker::agent::{Agent, Call, Config, Fault, Input, Limits, Seats, Timing};
use proptest::prelude::*;
use watch::Watch;
use world::{Wire, World};

fn config(slots: u32, seed: u64) -> Config {
    // Fewer places than leases: some are worked on in software from the first.
    let cards = vec![Seats { slots: 1, sessions: 4 }, Seats { slots: 1, sessions: 0 }];
    Config {
        instance: "i-1".into(),
        slots,
        ahead: 1,
        seed,
        timing: Timing::default(),
        limits: Limits::default(),
        cards,
        models: vec![],
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    let error = || api::Error { code: "c".into(), message: "m".into(), hint: "h".into() };
    prop_oneof![
        4 => any::<Option<u64>>().prop_map(|retry_after_ms| Fault::Away { message: "a".into(), retry_after_ms }),
        1 => Just(Fault::Strange("s".into())),
        2 => Just(Fault::Unauthorized(error())),
        2 => Just(Fault::Gone(error())),
        1 => Just(Fault::Refused(error())),
        1 => Just(Fault::Spoiled("s".into())),
    ]
}

fn answer<T: Clone + std::fmt::Debug + 'static>(
    good: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Result<T, Fault>> {
    prop_oneof![3 => good.prop_map(Ok), 1 => fault().prop_map(Err)]
}

/// Calls that may be under way, are over, or will come: numbers are given in order.
fn call() -> impl Strategy<Value = Call> {
    (0_u64..400).prop_map(Call)
}

/// Times an orchestrator may send, sane or not.
fn any_ms() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), 0..120_000_u64, any::<u64>()]
}

fn lease() -> impl Strategy<Value = millrace_proto::task::Lease> {
    (0..40_u32, any_ms(), any_ms(), any::<bool>()).prop_map(|(id, lease_ms, work_ms_max, sane)| {
        let mut lease = world::lease(id);
        if !sane {
            (lease.lease_ms, lease.work_ms_max) = (lease_ms, work_ms_max);
        }
        lease
    })
}

fn polled() -> impl Strategy<Value = Polled> {
    let revoked = (0..40_u32).prop_map(|id| world::lease(id).id);
    (prop::collection::vec(lease(), 0..5), prop::collection::vec(revoked, 0..3))
        .prop_map(|(leases, revoked)| Polled { leases, revoked })
}

fn failure() -> outcome::Failure {
    outcome::Failure { kind: outcome::FailureKind::Crashed, message: "m".into() }
}

/// An input, and whether it goes to a call that is under way rather than to any call.
fn input() -> impl Strategy<Value = Input> {
    let done = prop_oneof![Just(Ok(world::done())), Just(Err(failure()))];
    let refusal = prop_oneof![Just(Refusal::Full), Just(Refusal::Unsupported), Just(Refusal::Lost)];
    prop_oneof![
        20 => Just(Input::Wake),
        4 => (call(), answer(Just(Challenge { text: "t".into() }))).prop_map(|(c, a)| Input::Challenged(c, a)),
        4 => (call(), answer(Just(Session { token: "t".into() }))).prop_map(|(c, a)| Input::Opened(c, a)),
        4 => (call(), answer(polled())).prop_map(|(c, a)| Input::Polled(c, a)),
        4 => (call(), answer(any_ms().prop_map(|lease_ms| Renewed { lease_ms }))).prop_map(|(c, a)| Input::Renewed(c, a)),
        4 => (call(), answer(any::<bool>().prop_map(|taken| Finished { taken }))).prop_map(|(c, a)| Input::Finished(c, a)),
        4 => (call(), answer(Just(()))).prop_map(|(c, a)| Input::Fetched(c, a)),
        4 => (call(), done).prop_map(|(c, a)| Input::Worked(c, a)),
        2 => (call(), refusal).prop_map(|(c, a)| Input::CardRefused(c, a)),
        4 => (call(), answer(Just(()))).prop_map(|(c, a)| Input::Uploaded(c, a)),
        1 => Just(Input::Drain),
    ]
}

/// Puts the number of a call under way into an answer of its kind, so that random answers go deep.
fn aim(input: Input, watch: &Watch, at: usize) -> Input {
    let aimed = |call: Call, kind: &str| watch.under_way(kind, at).unwrap_or(call);
    match input {
        Input::Challenged(call, answer) => Input::Challenged(aimed(call, "challenge"), answer),
        Input::Opened(call, answer) => Input::Opened(aimed(call, "open"), answer),
        Input::Polled(call, answer) => Input::Polled(aimed(call, "poll"), answer),
        Input::Renewed(call, answer) => Input::Renewed(aimed(call, "renew"), answer),
        Input::Finished(call, answer) => Input::Finished(aimed(call, "finish"), answer),
        Input::Fetched(call, answer) => Input::Fetched(aimed(call, "fetch"), answer),
        Input::Worked(call, answer) => Input::Worked(aimed(call, "work"), answer),
        Input::CardRefused(call, refusal) => Input::CardRefused(aimed(call, "work"), refusal),
        Input::Uploaded(call, answer) => Input::Uploaded(aimed(call, "upload"), answer),
        other @ (Input::Wake | Input::Drain) => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any input in any state: no panic, and `Watch` sees every rule kept.
    #[test]
    fn every_input_is_safe_in_every_state(
        slots in 0..4_u32,
        seed in any::<u64>(),
        steps in prop::collection::vec((input(), any::<bool>(), 0..8_usize, any_ms()), 1..200),
    ) {
        let mut watch = Watch::new(Agent::new(config(slots, seed)), slots.max(1));
        let mut now_ms: u64 = 0;
        for (input, aimed, at, delay_ms) in steps {
            // Mostly to where something happens, sometimes far beyond, sometimes back.
            now_ms = match (at, watch.agent.wake_ms()) {
                (0, _) => now_ms.saturating_add(delay_ms),
                (1, _) => now_ms.saturating_sub(delay_ms % 10_000),
                (2..=4, Some(wake_ms)) => wake_ms,
                _ => now_ms.saturating_add(delay_ms % 50),
            };
            let input = if aimed { aim(input, &watch, at) } else { input };
            watch.put(input, now_ms);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// A reachable orchestrator, however slow and however often it says things twice: no lease ever runs out,
    /// every task is done once. Lost sessions don't change that, though a lease may be given for nothing: its
    /// answer is on its way when the session is found lost, or when its poll is taken back for one that asks for more.
    #[test]
    fn while_reachable_every_lease_is_kept_and_finished(seed in any::<u64>(), slots in 1..5_u32, forgets: bool) {
        let wire = Wire { loss: 0.0, twice: 0.2, delay_ms_max: 400 };
        let mut world = World::new(config(slots, seed), slots, wire, seed);
        world.server.forgets_sessions = forgets;
        world.run_until(3_600_000, |world| world.server.all_done());
        prop_assert!(world.server.all_done(), "{:?}", world.server);
        prop_assert_eq!(world.server.expired, 0);
        prop_assert!(forgets || world.server.given <= world::TASKS + world.polls_aborted, "{:?}", world.server);
    }

    /// A wire that loses much: the rules hold, and once it is well again everything is done, and a drain ends.
    #[test]
    fn a_bad_wire_delays_but_loses_nothing(seed in any::<u64>(), slots in 1..5_u32, loss in 0.05..0.6_f64) {
        let wire = Wire { loss, twice: 0.2, delay_ms_max: 3_000 };
        let mut world = World::new(config(slots, seed), slots, wire, seed);
        world.server.forgets_sessions = true;
        world.run_until(120_000, |world| world.server.all_done());
        world.wire.loss = 0.0;
        world.run_until(3_600_000, |world| world.server.all_done());
        prop_assert!(world.server.all_done(), "{:?}", world.server);
        let drained_ms = world.now_ms;
        world.drain();
        world.run_until(drained_ms + 40_000, |world| world.watch.exited);
        prop_assert!(world.watch.exited);
    }

    /// SIGTERM at any moment, over any wire: the agent is gone within its grace and farewell times, with every
    /// lease ended.
    #[test]
    fn a_drain_always_ends(seed in any::<u64>(), slots in 1..5_u32, at_ms in 0..60_000_u64, loss in 0.0..1.0_f64) {
        let wire = Wire { loss, twice: 0.2, delay_ms_max: 3_000 };
        let mut world = World::new(config(slots, seed), slots, wire, seed);
        world.run_until(at_ms, |_| false);
        world.drain();
        let Timing { grace_ms, farewell_ms, .. } = Timing::default();
        world.run_until(at_ms + grace_ms + farewell_ms + 1, |world| world.watch.exited);
        prop_assert!(world.watch.exited);
    }
}
