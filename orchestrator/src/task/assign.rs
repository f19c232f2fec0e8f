//! Assignment: waiting workers and ready tasks -> pairs. Pure: the same question gets the same answer.

use std::collections::{BTreeMap, BTreeSet};

use millrace_proto::{
    Address, StreamId,
    captions::language_name,
    offer::{Capability, Offer},
    profile::VideoCodec,
    task::Work,
};

use super::Task;

/// A worker that waits for work.
#[derive(Debug, Clone)]
pub struct Seat {
    /// Who waits.
    pub worker: Address,
    /// Leases it takes at most and works on at once.
    pub slots_free: u32,
    /// Leases it takes beyond, whose inputs it fetches while it works on others.
    pub ahead_free: u32,
    /// Leases it holds already.
    pub held: u32,
    /// Of these, those of windows.
    pub held_windows: u32,
    /// What it can do.
    pub offer: Offer,
}

/// What a task asks of the worker that gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// It encodes to all of these.
    pub codecs: BTreeSet<VideoCodec>,
    /// Its offer says that every part of its sandbox holds. The worker's word, no proof.
    pub sandboxed: bool,
    /// It has a model.
    pub model: Option<NeedsModel>,
}

/// What a task asks of the model that it is done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeedsModel {
    /// What it is for.
    pub capability: Capability,
    /// What it understands; absent: it finds out.
    pub language: Option<String>,
    /// Its name, if not any will do.
    pub id: Option<String>,
}

impl NeedsModel {
    /// Whether it is in an offer; with `warm`, loaded just now.
    fn is_met_by(&self, offer: &Offer, warm: bool) -> bool {
        let mut models = offer.models_for(self.capability, self.language.as_deref(), self.id.as_deref());
        models.any(|model| model.warm || !warm)
    }

    /// For people.
    fn told(&self) -> String {
        let what = self.capability.as_str();
        let which =
            self.id.as_ref().map_or_else(|| format!("a model for {what}"), |id| format!("the model {id} for {what}"));
        match self.language.as_deref().map(|code| language_name(code).unwrap_or(code)) {
            Some(language) => format!("{which} in {language}"),
            None if self.capability == Capability::Captions => format!("{which} in any language"),
            None => which,
        }
    }
}

impl Needs {
    /// What `task` asks.
    pub fn of(task: &Task) -> Self {
        let (mut codecs, mut model) = (BTreeSet::new(), None);
        match &task.work {
            Work::Transcode(transcode) => codecs.extend(transcode.renditions.iter().map(|target| target.codec)),
            Work::Captions(work) => {
                // To write in another language than is spoken takes a model of many.
                let language = work.language.clone().filter(|_| !work.translate);
                model = Some(NeedsModel { capability: Capability::Captions, language, id: work.model.clone() });
            }
            Work::Look(work) => {
                model = Some(NeedsModel { capability: work.capability, language: None, id: work.model.clone() });
            }
        }
        Self { codecs, sandboxed: task.sandboxed, model }
    }

    /// Whether a worker with this offer may get the task.
    pub fn are_met_by(&self, offer: &Offer) -> bool {
        let knows = |model: &NeedsModel| model.is_met_by(offer, false);
        (!self.sandboxed || offer.sandbox.is_whole())
            && self.codecs.iter().all(|codec| offer.encodes(*codec))
            && self.model.as_ref().is_none_or(knows)
    }

    /// The encoders that a worker with this offer uses for the task. Other encoders make other headers, which players
    /// are told of and can take, but which cost them an effort each time.
    pub fn hands(&self, offer: &Offer) -> Hands {
        self.codecs.iter().map(|codec| offer.encoder(*codec).unwrap_or_default().to_owned()).collect()
    }
}

/// Names of encoders, one for each of a task's codecs.
pub type Hands = Vec<String>;

/// What is missing for work with these needs where these are all offers that there are; nothing if someone is able.
pub fn lack(offers: &[&Offer], needs: &Needs) -> Option<String> {
    if offers.iter().any(|offer| needs.are_met_by(offer)) {
        return None;
    }
    if offers.is_empty() {
        return Some("no worker is online: join one".into());
    }
    let within: Vec<_> = offers.iter().filter(|offer| !needs.sandboxed || offer.sandbox.is_whole()).collect();
    if within.is_empty() {
        return Some(
            "no worker that is online says that its whole sandbox holds, as policy.sandboxed asks: join one that does"
                .into(),
        );
    }
    let who = if needs.sandboxed { "no sandboxed worker that is online" } else { "no worker that is online" };
    if let Some(model) = &needs.model {
        return Some(format!("{who} has {}: fetch one there with 'millrace-worker models fetch'", model.told()));
    }
    let strange = |codec: &&VideoCodec| !within.iter().any(|offer| offer.encodes(**codec));
    let names =
        |codecs: Vec<&VideoCodec>| codecs.into_iter().map(|codec| codec.as_str()).collect::<Vec<_>>().join(", ");
    let unknown: Vec<_> = needs.codecs.iter().filter(strange).collect();
    Some(if unknown.is_empty() {
        format!("{who} encodes all of {}: join one that does", names(needs.codecs.iter().collect()))
    } else {
        format!("{who} encodes {}: join one that does", names(unknown))
    })
}

/// A task waits at most so long after its last failure for a worker that has done it less harm, in milliseconds:
/// that one may never come.
const OTHERS_WAIT_MS: u64 = 10_000;

/// Leases of windows that a worker holds at once: half of its slots, so that segments never wait for all of them.
fn windows_max(seat: &Seat) -> u32 {
    (seat.offer.slots / 2).max(1)
}

/// Pairs of indexes into `seats` and `tasks`.
///
/// Tasks that viewers wait for go first, then the oldest; a task goes to the able worker that has failed on it
/// least, among those rather to one that uses the same encoders as whoever got its stream's last task (`hands_of`,
/// where that is known), and then to the one with the fewest leases for its slots: a new header is better than a late
/// segment, so nothing waits for the same encoders. While an able worker is online that has
/// a lower rank (`least_online`, see [`Task::rank_of`]) than all who wait, the task waits for it, for a time.
///
/// What is left when all slots are full is given ahead, so that no slot waits for inputs: recordings' pictures alone, since a
/// segment that viewers wait for goes to whichever slot is free first, and nothing that has failed before.
pub fn pairs(
    seats: &[Seat],
    tasks: &[Task],
    least_online: impl Fn(&Task) -> Option<u32>,
    hands_of: impl Fn(&StreamId) -> Option<Hands>,
    now_ms: u64,
) -> Vec<(usize, usize)> {
    let mut order: Vec<usize> = (0..tasks.len()).collect();
    // Pictures go first: what is said may come later.
    order.sort_by_key(|&at| (!tasks[at].live, tasks[at].link.is_some(), tasks[at].created_ms, tasks[at].seq));
    let mut taken = vec![0_u32; seats.len()];
    let mut windows: Vec<u32> = seats.iter().map(|seat| seat.held_windows).collect();
    let mut pairs = Vec::new();
    let mut hands: BTreeMap<&StreamId, Hands> = BTreeMap::new();
    for &at in &order {
        let task = &tasks[at];
        let needs = Needs::of(task);
        let load = |s: usize| {
            let (busy, slots) = (seats[s].held + taken[s], seats[s].held + seats[s].slots_free);
            // Compares busy/slots without rounding to zero: 1,000 steps are finer than any slot count.
            u64::from(busy) * 1_000 / u64::from(slots.max(1))
        };
        let before = hands.get(&task.stream).cloned().or_else(|| hands_of(&task.stream));
        let key = |&s: &usize| {
            let worker = seats[s].worker;
            let is_other = match &needs.model {
                // A model that is loaded begins at once.
                Some(model) => !model.is_met_by(&seats[s].offer, true),
                None => before.as_ref().is_some_and(|before| *before != needs.hands(&seats[s].offer)),
            };
            (task.rank_of(worker), task.tries_of(worker), is_other, load(s), s)
        };
        let has_room = |s: usize| task.link.is_none() || windows[s] < windows_max(&seats[s]);
        let open = (0..seats.len())
            .filter(|&s| taken[s] < seats[s].slots_free && has_room(s) && needs.are_met_by(&seats[s].offer));
        let Some(seat) = open.min_by_key(key) else { continue };
        let is_fresh = task.attempts.last().is_some_and(|last| now_ms < last.at_ms + OTHERS_WAIT_MS);
        let rank = task.rank_of(seats[seat].worker);
        if is_fresh && rank > 0 && least_online(task).is_some_and(|least| least < rank) {
            continue;
        }
        if task.link.is_some() {
            windows[seat] += 1;
        } else {
            hands.insert(&task.stream, needs.hands(&seats[seat].offer));
        }
        taken[seat] += 1;
        pairs.push((seat, at));
    }
    ahead(seats, tasks, &order, &taken, &mut pairs);
    pairs
}

/// Adds pairs for the seats that take more than they have slots for.
fn ahead(seats: &[Seat], tasks: &[Task], order: &[usize], taken: &[u32], pairs: &mut Vec<(usize, usize)>) {
    let mut open: Vec<u32> = seats.iter().map(|seat| seat.ahead_free).collect();
    if open.iter().all(|&open| open == 0) {
        return;
    }
    let given: BTreeSet<usize> = pairs.iter().map(|&(_, task)| task).collect();
    let may = |task: &Task| !task.live && task.link.is_none() && task.attempts.is_empty();
    for &at in order.iter().filter(|at| !given.contains(at) && may(&tasks[**at])) {
        let needs = Needs::of(&tasks[at]);
        let can = |&s: &usize| open[s] > 0 && taken[s] == seats[s].slots_free && needs.are_met_by(&seats[s].offer);
        // Who has least ahead waits least for the next.
        let Some(seat) = (0..seats.len()).filter(can).max_by_key(|&s| (open[s], std::cmp::Reverse(s))) else {
            continue;
        };
        open[seat] -= 1;
        pairs.push((seat, at));
    }
}

#[cfg(test)]
mod tests;
