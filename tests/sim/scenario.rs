//! Scenarios: what a seed stands for. Drawn once, before anything runs.
//!
//! Every world has a wild part and, from `calm_ms` on, a calm one: the wire and the stores work, the orchestrator
//! lives, one honest worker is there. Liars stay what they are.

use millrace_proto::{
    outcome::FailureKind,
    profile::{Action, Captions, Moderation, Policy, Products},
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::{faults::Odds, labour::Taint, lies::Lie};

/// What a seed stands for.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) streams: Vec<StreamPlan>,
    pub(crate) workers: Vec<WorkerPlan>,
    pub(crate) wire: WirePlan,
    pub(crate) store: Odds,
    pub(crate) media: Odds,
    /// How often the checker's media child can't be started, or dies by itself.
    pub(crate) child: Odds,
    /// The orchestrator is killed when its steps have passed so many gates since its start, one after the other.
    pub(crate) kills_turns: Vec<u64>,
    /// How long it stays away.
    pub(crate) down_ms: (u64, u64),
    /// How long one call of the store takes at most.
    pub(crate) turn_ms_max: u64,
    /// Period of the orchestrator's loops.
    pub(crate) loop_ms: u64,
    pub(crate) calm_ms: u64,
    /// All must be published by then.
    pub(crate) end_ms: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct StreamPlan {
    pub(crate) live: bool,
    pub(crate) audio: bool,
    /// What is said is written down.
    pub(crate) captions: Option<Captions>,
    pub(crate) products: Option<Products>,
    /// What is flagged is held back.
    pub(crate) moderation: Option<Moderation>,
    pub(crate) passthrough: bool,
    /// Which workers may get its segments.
    pub(crate) policy: Policy,
    pub(crate) segment_ms: u32,
    pub(crate) window_s: u32,
    pub(crate) retention_s: Option<u32>,
    pub(crate) frame_ms: u32,
    /// Frames between two keyframes.
    pub(crate) gop_frames: u32,
    /// When it begins.
    pub(crate) start_ms: u64,
    /// A publisher's connections, one after the other; a file has one.
    pub(crate) connections: Vec<Connection>,
}

#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) frames: u32,
    /// It says goodbye at its end; otherwise it is cut.
    pub(crate) goodbye: bool,
    /// How long the publisher waits before the next one.
    pub(crate) pause_ms: u64,
    /// Groups of pictures that something is wrong with.
    pub(crate) taints: Vec<(u32, Taint)>,
}

#[derive(Debug, Clone)]
pub(crate) struct WorkerPlan {
    pub(crate) nature: Nature,
    pub(crate) slots: u32,
    /// It says that its whole sandbox holds.
    pub(crate) sandboxed: bool,
    /// It has models for captions, products and moderation.
    pub(crate) hears: bool,
    /// How long a segment's work takes.
    pub(crate) work_ms: (u64, u64),
    pub(crate) start_ms: u64,
    /// Times at which it is killed or asked to leave.
    pub(crate) ends: Vec<End>,
    /// Times between which nothing goes through between it and the orchestrator.
    pub(crate) cuts: Vec<(u64, u64)>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    pub(crate) at_ms: u64,
    /// Asked to leave, rather than killed.
    pub(crate) asked: bool,
    /// A new instance comes so long after; none: never.
    pub(crate) back_ms: Option<u64>,
    /// The new instance has another key.
    pub(crate) new_key: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Nature {
    Honest,
    /// Fails with this kind, this often.
    Flaky(FailureKind, f64),
    /// Lies this often.
    Liar(Lie, f64),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct WirePlan {
    /// Part of the messages, each way, that are lost.
    pub(crate) loss: f64,
    /// Part of the requests that arrive twice.
    pub(crate) twice: f64,
    /// Part of the messages that take long.
    pub(crate) late: f64,
    pub(crate) delay_ms_max: u64,
    pub(crate) late_ms_max: u64,
    /// Part of the ends of connections that the orchestrator does not notice.
    pub(crate) half_open: f64,
}

/// Longest work on a segment of a worker that is not slow.
const WORK_MS_MAX: u64 = 2_500;

const KINDS: [FailureKind; 7] = [
    FailureKind::BadInput,
    FailureKind::Limit,
    FailureKind::TimedOut,
    FailureKind::Crashed,
    FailureKind::Unsupported,
    FailureKind::Transfer,
    FailureKind::Released,
];

impl Scenario {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut r = StdRng::seed_from_u64(seed);
        let rough = r.random_bool(0.8);
        let streams: Vec<_> = (0..r.random_range(1..=3)).map(|_| stream(&mut r)).collect();
        let calm_ms = streams.iter().map(StreamPlan::end_ms).max().unwrap_or(0) + r.random_range(0..10_000);
        let odds = |r: &mut StdRng, part: f64| {
            let some = rough && r.random_bool(0.5);
            let outage_from_ms = r.random_range(0..calm_ms);
            let outage_ms = if rough && r.random_bool(0.2) { r.random_range(100..8_000) } else { 0 };
            let part = if some { r.random_range(0.0..part) } else { 0.0 };
            let outage_ms = (outage_from_ms, (outage_from_ms + outage_ms).min(calm_ms));
            Odds { before: part, after: part, outage_ms, calm_ms }
        };
        let (store, media, child) = (odds(&mut r, 0.04), odds(&mut r, 0.04), odds(&mut r, 0.1));
        let kills = if rough && r.random_bool(0.6) { r.random_range(1..=4) } else { 0 };
        let workers = workers(&mut r, calm_ms);
        Self {
            seed,
            wire: wire(&mut r, rough),
            store,
            media,
            child,
            kills_turns: (0..kills).map(|_| r.random_range(1..900)).collect(),
            down_ms: (50, *[500, 3_000, 10_000].choose(&mut r).unwrap()),
            turn_ms_max: *[0, 1, 5, 40].choose(&mut r).unwrap(),
            loop_ms: *[500, 1_000, 1_000].choose(&mut r).unwrap(),
            calm_ms,
            end_ms: calm_ms + patience_ms(&streams, &workers),
            streams,
            workers,
        }
    }
}

/// How long after the wild part all must be published: grace times and what is left to do, longer with workers that
/// keep leases for the whole time that the work may take, and with inputs that only time condemns.
fn patience_ms(streams: &[StreamPlan], workers: &[WorkerPlan]) -> u64 {
    let taints = streams.iter().flat_map(|stream| &stream.connections).flat_map(|connection| &connection.taints);
    let count = |taint| taints.clone().filter(|(_, its)| *its == taint).count() as u64;
    let is_slow =
        |worker: &&WorkerPlan| matches!(worker.nature, Nature::Liar(Lie::Hoard, _)) || worker.work_ms.1 > WORK_MS_MAX;
    let slow = workers.iter().filter(is_slow).count() as u64;
    let poison_ms = if count(Taint::Poison) > 0 { 120_000 + 60_000 * workers.len() as u64 } else { 0 };
    // One worker with one slot may be all there is.
    let length_ms: u64 = streams.iter().map(StreamPlan::length_ms).sum();
    // A window comes after the other, and each may meet everyone who fails.
    let captions_ms = if streams.iter().any(StreamPlan::has_windows) { 30_000 * workers.len() as u64 } else { 0 };
    captions_ms + 100_000 + 5 * length_ms + 90_000 * slow + 35_000 * count(Taint::Deadly) + poison_ms
}

fn stream(r: &mut StdRng) -> StreamPlan {
    let live = r.random_bool(0.65);
    let frame_ms = *[100, 200, 250].choose(r).unwrap();
    let gop_frames = *[4, 5, 8, 25].choose(r).unwrap();
    let count = if live { r.random_range(1..=3) } else { 1 };
    let bad = r.random_bool(0.25);
    let connection = |r: &mut StdRng| {
        let frames = r.random_range(3..70);
        let groups: u32 = frames / gop_frames + 1;
        let odds = if bad { 0.08 } else { 0.0 };
        let kinds = [Taint::Rubbish, Taint::Rubbish, Taint::Torn, Taint::Poison, Taint::Deadly];
        let mut taints = Vec::new();
        for group in 0..groups {
            if r.random_bool(odds) {
                taints.push((group, *kinds.choose(r).unwrap()));
            }
        }
        // Longer than either grace time now and then: the stream has ended then.
        let pause_ms = if r.random_bool(0.1) { 40_000 } else { r.random_range(50..4_500) };
        Connection { frames, goodbye: r.random_bool(0.5), pause_ms, taints }
    };
    StreamPlan {
        live,
        audio: r.random_bool(0.5),
        captions: r.random_bool(0.4).then(|| Captions { translate: r.random_bool(0.3), ..Captions::default() }),
        products: r
            .random_bool(0.3)
            .then(|| Products { every_ms: *[500, 1_000, 5_000].choose(r).unwrap(), ..Products::default() }),
        moderation: r.random_bool(0.15).then(|| Moderation {
            every_ms: *[500, 1_000].choose(r).unwrap(),
            action: Action::Hold,
            ..Moderation::default()
        }),
        passthrough: r.random_bool(0.3),
        policy: Policy { sandboxed: r.random_bool(0.3) },
        segment_ms: *[1_000, 2_000].choose(r).unwrap(),
        window_s: *[6, 12, 60].choose(r).unwrap(),
        retention_s: (live && r.random_bool(0.3)).then(|| r.random_range(2..15)),
        frame_ms,
        gop_frames,
        start_ms: r.random_range(0..5_000),
        connections: (0..count).map(|_| connection(r)).collect(),
    }
}

impl StreamPlan {
    fn has_windows(&self) -> bool {
        self.captions.is_some() || self.products.is_some() || self.moderation.is_some()
    }

    /// How long its video plays.
    fn length_ms(&self) -> u64 {
        self.connections.iter().map(|of| u64::from(of.frames * self.frame_ms)).sum()
    }

    /// When its publisher is through, if nothing comes between.
    fn end_ms(&self) -> u64 {
        let pauses_ms: u64 = self.connections.iter().map(|of| of.pause_ms.min(5_000)).sum();
        self.start_ms + self.length_ms() + pauses_ms
    }
}

fn workers(r: &mut StdRng, calm_ms: u64) -> Vec<WorkerPlan> {
    // The first is the anchor: honest, and there in the calm part whatever was before.
    let mut natures = vec![Nature::Honest];
    // Now and then it is alone among many liars.
    let (others, honest_of_10) = if r.random_bool(0.1) { (12, 0) } else { (r.random_range(0..=5), 5) };
    for _ in 0..others {
        let part = *[0.1, 0.5, 1.0].choose(r).unwrap();
        natures.push(match r.random_range(0..10) {
            number if number >= honest_of_10 => Nature::Liar(*Lie::ALL.choose(r).unwrap(), part),
            0..2 => Nature::Flaky(*KINDS.choose(r).unwrap(), part * 0.6),
            _ => Nature::Honest,
        });
    }
    natures.into_iter().enumerate().map(|(number, nature)| worker(r, number, nature, calm_ms)).collect()
}

fn worker(r: &mut StdRng, number: usize, nature: Nature, calm_ms: u64) -> WorkerPlan {
    let anchor = number == 0;
    let ends = if r.random_bool(0.5) { r.random_range(1..=4) } else { 0 };
    let end = |r: &mut StdRng| End {
        at_ms: r.random_range(0..calm_ms),
        asked: r.random_bool(0.25),
        back_ms: (anchor || r.random_bool(0.8)).then(|| r.random_range(100..9_000)),
        new_key: r.random_bool(0.2),
    };
    let mut ends: Vec<End> = (0..ends).map(|_| end(r)).collect();
    ends.sort_by_key(|end| end.at_ms);
    let cuts = if r.random_bool(0.4) { r.random_range(1..=3) } else { 0 };
    let cut = |r: &mut StdRng| {
        let from_ms = r.random_range(0..calm_ms);
        (from_ms, (from_ms + r.random_range(500..25_000)).min(calm_ms))
    };
    let slow = r.random_bool(0.15);
    WorkerPlan {
        nature,
        slots: if matches!(nature, Nature::Liar(..)) { r.random_range(1..=16) } else { r.random_range(1..=3) },
        // Somebody has to be there for each stream.
        sandboxed: anchor || r.random_bool(0.6),
        hears: anchor || r.random_bool(0.5),
        work_ms: if slow && !anchor { (3_000, 70_000) } else { (50, WORK_MS_MAX) },
        start_ms: r.random_range(0..3_000),
        ends,
        cuts: (0..cuts).map(|_| cut(r)).collect(),
    }
}

fn wire(r: &mut StdRng, rough: bool) -> WirePlan {
    let part = |r: &mut StdRng, most: f64| if rough && r.random_bool(0.6) { r.random_range(0.0..most) } else { 0.0 };
    WirePlan {
        loss: part(r, 0.15),
        twice: part(r, 0.05),
        late: part(r, 0.05),
        delay_ms_max: *[5, 50, 400].choose(r).unwrap(),
        late_ms_max: *[3_000, 30_000].choose(r).unwrap(),
        half_open: part(r, 0.5),
    }
}
