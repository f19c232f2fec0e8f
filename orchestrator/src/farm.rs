//! The farm: gives tasks to workers, takes outcomes in, takes leases back.
//!
//! The store holds what is leased; here are only hints that may be lost: who is connected and who waits. The
//! rules are in `task/`; this module drives them, for the HTTP handlers and the loops alike, and is handed the
//! time. Nothing here looks at media.

pub mod sessions;
mod waiting;
mod windows;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use millrace_proto::{
    Address, LeaseId, Sha256, StreamId, TaskId,
    offer::Offer,
    outcome::Outcome,
    task::{Blob, Input, Lease, Work},
    worker::Poll,
};
use tokio::sync::{Notify, oneshot};

use crate::{
    store::{self, Store},
    task::{
        Held, State, Task, assign,
        machine::{self, Finish, Gone, Grant, Policy},
        source,
    },
    verify::settle,
};
use sessions::Session;
use waiting::{Waiter, Waiting};
pub use windows::Planned;

/// Tasks looked at in one step.
const STEP_TASKS: u32 = 256;

/// A worker that was not heard for so long is not counted on, in milliseconds.
pub const ONLINE_MS: u64 = 45_000;

/// After so long without a lease given or renewed it is quiet, in milliseconds.
const QUIET_MS: u64 = 30_000;

/// Streams whose encoders are remembered.
const HANDS_MAX: usize = 10_000;

/// The farm.
#[derive(Debug)]
pub struct Farm {
    store: Arc<dyn Store>,
    policy: Policy,
    waiting: Mutex<Waiting>,
    online: Mutex<HashMap<Address, (Offer, u64)>>,
    /// Which encoders the newest task of a stream went to.
    hands: Mutex<HashMap<StreamId, assign::Hands>>,
    /// When this run first looked for work to give.
    begun_ms: OnceLock<u64>,
    /// When a lease was given or renewed last, or may have been: before this run, or by another.
    leased_ms: AtomicU64,
    /// Woken when a task may be ready or a worker waits.
    pub assign: Notify,
    /// Woken when an outcome came in.
    pub check: Notify,
    /// Woken when a chain of windows may go on.
    pub plan: Notify,
}

/// A worker's place in the queue.
#[derive(Debug)]
pub struct Ticket {
    /// Brings the leases. May bring none, when a newer poll took its place.
    pub leases: oneshot::Receiver<Vec<Lease>>,
    /// What the worker holds and should drop.
    pub revoked: Vec<LeaseId>,
    number: u64,
}

/// What became of a look at the ready tasks.
#[derive(Debug, Default)]
pub struct Assigned {
    /// Leases given.
    pub leases: usize,
    /// Tasks that were given up.
    pub given_up: Vec<Task>,
}

/// Why a call on a lease was turned away.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is not open, or not this worker's, or the token is wrong: one answer for all.
    #[error("the lease has ended")]
    Gone,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl From<Gone> for Refused {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl Farm {
    /// A farm over `store`.
    pub fn new(store: Arc<dyn Store>, policy: Policy) -> Self {
        Self {
            store,
            policy,
            waiting: Mutex::default(),
            online: Mutex::default(),
            hands: Mutex::default(),
            begun_ms: OnceLock::new(),
            leased_ms: AtomicU64::new(u64::MAX),
            assign: Notify::new(),
            check: Notify::new(),
            plan: Notify::new(),
        }
    }

    /// A worker was heard.
    pub fn heard(&self, session: &Session, now_ms: u64) {
        let mut online = self.online.lock().expect("no panic while held");
        online.insert(session.address, (session.offer.clone(), now_ms));
        online.retain(|_, (_, seen_ms)| now_ms.saturating_sub(*seen_ms) < ONLINE_MS);
    }

    /// Who was heard when.
    pub fn heard_at(&self) -> Vec<(Address, u64)> {
        let online = self.online.lock().expect("no panic while held");
        online.iter().map(|(&address, &(_, seen_ms))| (address, seen_ms)).collect()
    }

    /// What keeps work with these needs from being done by those who are online; nothing if someone can do it.
    pub fn lack(&self, needs: &assign::Needs, now_ms: u64) -> Option<String> {
        let online = self.online.lock().expect("no panic while held");
        let here = online.values().filter(|(_, seen_ms)| now_ms.saturating_sub(*seen_ms) < ONLINE_MS);
        assign::lack(&here.map(|(offer, _)| offer).collect::<Vec<_>>(), needs)
    }

    /// How many of the tasks that are ready nobody who is online can do, and why not.
    pub async fn stuck(&self, now_ms: u64) -> store::Result<(usize, BTreeSet<String>)> {
        let tasks = self.store.tasks_ready(now_ms, STEP_TASKS).await?;
        let lacks: Vec<String> = tasks.iter().filter_map(|task| self.lack(&assign::Needs::of(task), now_ms)).collect();
        Ok((lacks.len(), lacks.into_iter().collect()))
    }

    /// A worker asks for work: puts it in the queue. What the store says it holds and it does not know of was
    /// lost on the way to it, and is taken back.
    pub async fn poll(&self, session: &Session, poll: &Poll, now_ms: u64) -> store::Result<Ticket> {
        self.heard(session, now_ms);
        let worker = session.address;
        let tasks = self.store.tasks_held(worker).await?;
        let mine = |held: &Held| held.worker == worker && held.instance == poll.instance;
        let mut open = Vec::new();
        for task in tasks {
            let lost = |held: &Held| mine(held) && !poll.held.contains(&held.id);
            open.extend(task.leases().iter().filter(|held| mine(held) && !lost(held)).map(|held| held.id.clone()));
            self.take_back(task, now_ms, lost).await?;
        }
        let revoked: Vec<LeaseId> = poll.held.iter().filter(|id| !open.contains(id)).cloned().collect();
        let (reply, leases) = oneshot::channel();
        let waiter = Waiter {
            worker,
            instance: poll.instance.clone(),
            offer: warmed(session.offer.clone(), &poll.warm),
            slots_free: poll.slots_free.min(session.offer.slots),
            ahead_free: poll.ahead_free.min(session.offer.slots),
            held: u32::try_from(open.len()).unwrap_or(u32::MAX),
            reply,
        };
        let number = self.waiting.lock().expect("no panic while held").add(waiter);
        self.assign.notify_one();
        Ok(Ticket { leases, revoked, number })
    }

    /// A worker's place in the queue ends; leases that were given to it meanwhile are returned.
    pub fn leave(&self, mut ticket: Ticket) -> Vec<Lease> {
        self.waiting.lock().expect("no panic while held").remove(ticket.number);
        ticket.leases.try_recv().unwrap_or_default()
    }

    /// A worker went away while leases were on the way to it: they are given to others.
    pub async fn undeliver(&self, leases: &[Lease], now_ms: u64) -> store::Result<()> {
        for lease in leases {
            let Some(task) = self.store.task(&lease.task).await? else { continue };
            if let Some(back) = machine::undeliver(task, &lease.id, now_ms) {
                self.store.swap_task(&back, &store::Settlement::default()).await?;
            }
        }
        self.assign.notify_one();
        Ok(())
    }

    /// Gives ready tasks to waiting workers, and gives up those that nobody could do.
    pub async fn assign_once(&self, now_ms: u64) -> store::Result<Assigned> {
        let mut done = Assigned::default();
        let seats = self.waiting.lock().expect("no panic while held").seats();
        if seats.is_empty() {
            return Ok(done);
        }
        let mut tasks = self.store.tasks_ready(now_ms, STEP_TASKS).await?;
        let online = Online::new(self, now_ms);
        for task in tasks.extract_if(.., |task| online.is_hopeless(task)) {
            let tries = task.attempts.len();
            let Some(failed) = machine::give_up(task) else { continue };
            if self.store.swap_task(&failed, &settle(&failed, tries, Vec::new())).await? {
                done.given_up.push(failed);
            }
        }
        let mut plain: Vec<assign::Seat> = seats.iter().map(|(_, seat)| seat.clone()).collect();
        if tasks.iter().any(|task| task.link.is_some()) {
            for seat in plain.iter_mut().filter(|seat| !seat.offer.models.is_empty()) {
                // A worker asks while it hands in: what its poll counted, it may hold no more.
                let held = self.store.tasks_held(seat.worker).await?;
                let windows = held.iter().filter(|task| task.link.is_some()).count();
                seat.held_windows = u32::try_from(windows).unwrap_or(u32::MAX);
            }
        }
        let pairs =
            assign::pairs(&plain, &tasks, |task| online.least_rank(task), |stream| self.hands_of(stream), now_ms);
        let mut grants: BTreeMap<u64, Vec<Lease>> = BTreeMap::new();
        for (seat, task) in pairs {
            let number = seats[seat].0;
            if let Some(lease) = self.lease(number, &tasks[task], now_ms).await? {
                self.went_to(&tasks[task], &plain[seat].offer);
                grants.entry(number).or_default().push(lease);
            }
        }
        done.leases = grants.values().map(Vec::len).sum();
        for (number, leases) in grants {
            let waiter = self.waiting.lock().expect("no panic while held").remove(number);
            let unsent = match waiter {
                Some(waiter) => waiter.reply.send(leases).err(),
                None => Some(leases),
            };
            if let Some(leases) = unsent {
                self.undeliver(&leases, now_ms).await?;
            }
        }
        Ok(done)
    }

    fn hands_of(&self, stream: &StreamId) -> Option<assign::Hands> {
        self.hands.lock().expect("no panic while held").get(stream).cloned()
    }

    /// Notes which encoders a stream's newest task went to. A hint, so forgetting all of them does little harm.
    fn went_to(&self, task: &Task, offer: &Offer) {
        if task.link.is_some() {
            return;
        }
        let mut hands = self.hands.lock().expect("no panic while held");
        if hands.len() >= HANDS_MAX {
            hands.clear();
        }
        hands.insert(task.stream.clone(), assign::Needs::of(task).hands(offer));
    }

    async fn lease(&self, number: u64, task: &Task, now_ms: u64) -> store::Result<Option<Lease>> {
        let Some((worker, instance, most)) = self.waiting.lock().expect("no panic while held").who(number) else {
            return Ok(None);
        };
        // What a poll says is free may be old: the answer to an earlier one can still be on its way.
        let held = self.store.tasks_held(worker).await?;
        let open = held.iter().flat_map(Task::leases).filter(|held| held.worker == worker && held.instance == instance);
        if open.count() >= most as usize {
            return Ok(None);
        }
        let Some(segment) = self.store.segment(&task.stream, task.seq).await? else { return Ok(None) };
        let Some(named) = source::inputs(&*self.store, task).await? else {
            // What a window is decoded after may be freed before anyone has it.
            if let Some(failed) = machine::give_up(task.clone()).filter(|task| task.link.is_some()) {
                self.store.swap_task(&failed, &settle(&failed, task.attempts.len(), Vec::new())).await?;
            }
            return Ok(None);
        };
        let token = hex::encode(rand::random::<[u8; 16]>());
        let id = lease_id(&task.id);
        let grant = Grant { id: id.clone(), token_sha256: Sha256::of(token.as_bytes()), worker, instance };
        let Some(leased) = machine::lease(task.clone(), grant, &self.policy, now_ms) else { return Ok(None) };
        if !self.store.swap_task(&leased, &store::Settlement::default()).await? {
            return Ok(None);
        }
        self.leased_ms.store(now_ms, Ordering::Relaxed);
        let work_ms_max = leased.leases().first().map_or(0, |held| held.work_ends_ms - now_ms);
        // Players run on, a segment at a time: it is wanted when the next one has come in.
        // Who hears a window leaves the cores to what is due.
        let is_due = leased.live && matches!(leased.work, Work::Transcode(_));
        let due_ms = is_due.then(|| (segment.arrived_ms + leased.duration_ms).saturating_sub(now_ms));
        Ok(Some(Lease {
            token,
            task: leased.id,
            lease_ms: self.policy.lease_ms,
            work_ms_max,
            media_ms: leased.duration_ms,
            due_ms,
            work: leased.work,
            inputs: inputs(&id, named),
            output_url: format!("/v1/worker/leases/{id}/output/{{output}}"),
            id,
        }))
    }

    /// The task that an open lease of this worker is for.
    pub async fn open(&self, worker: Address, lease: &LeaseId, token: &str) -> Result<Task, Refused> {
        let task = self.store.task(&task_of(lease).ok_or(Refused::Gone)?).await?.ok_or(Refused::Gone)?;
        let held = task.leases().iter().find(|held| held.id == *lease);
        if held.is_some_and(|held| held.worker == worker && token_fits(held, token)) {
            Ok(task)
        } else {
            Err(Refused::Gone)
        }
    }

    /// Puts off a lease's end; returns for how long.
    pub async fn renew(&self, worker: Address, lease: &LeaseId, token: &str, now_ms: u64) -> Result<u64, Refused> {
        loop {
            let task = self.open(worker, lease, token).await?;
            let renewed = machine::renew(task, lease, &self.policy, now_ms)?;
            if self.store.swap_task(&renewed, &store::Settlement::default()).await? {
                self.leased_ms.store(now_ms, Ordering::Relaxed);
                let end_ms =
                    renewed.leases().iter().find(|held| held.id == *lease).map_or(now_ms, |held| held.expires_ms);
                return Ok(end_ms.saturating_sub(now_ms));
            }
        }
    }

    /// Takes an outcome in. Returns whether it is used.
    pub async fn finish(
        &self,
        worker: Address,
        lease: &LeaseId,
        token: &str,
        outcome: Outcome,
        now_ms: u64,
    ) -> Result<bool, Refused> {
        loop {
            let Some(id) = task_of(lease) else { return Ok(false) };
            let Some(task) = self.store.task(&id).await? else { return Ok(false) };
            let proven = match &task.state {
                State::Leased { leases } => {
                    leases.iter().any(|held| held.id == *lease && held.worker == worker && token_fits(held, token))
                }
                State::Checking { lease: held, .. } => held.worker == worker && token_fits(held, token),
                State::Accepted { worker: done, .. } => *done == worker,
                State::Waiting { .. } | State::Failed { .. } => false,
            };
            if !proven {
                return Ok(false);
            }
            match machine::finish(task, lease, outcome.clone(), now_ms) {
                Finish::Repeated => return Ok(true),
                Finish::Gone => return Ok(false),
                Finish::Taken(taken) => {
                    if self.store.swap_task(&taken, &store::Settlement::default()).await? {
                        self.check.notify_one();
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Whether no lease was given or renewed for long, as far as this run knows: then none is about to run out. A hint.
    pub fn is_quiet(&self, now_ms: u64) -> bool {
        // It is not known of the time before this run.
        let _ = self.leased_ms.compare_exchange(u64::MAX, now_ms, Ordering::Relaxed, Ordering::Relaxed);
        now_ms.saturating_sub(self.leased_ms.load(Ordering::Relaxed)) > QUIET_MS.max(2 * self.policy.lease_ms)
    }

    /// Takes back the leases that have run out. Returns how many tasks changed.
    pub async fn expire_once(&self, now_ms: u64) -> store::Result<Vec<Task>> {
        let mut changed = Vec::new();
        for task in self.store.tasks_due(now_ms, STEP_TASKS).await? {
            changed.extend(self.take_back(task, now_ms, |held| held.expires_ms <= now_ms).await?);
        }
        Ok(changed)
    }

    async fn take_back(&self, task: Task, now_ms: u64, lost: impl Fn(&Held) -> bool) -> store::Result<Option<Task>> {
        let tries = task.attempts.len();
        let Some(back) = machine::take_back(task, &self.policy, now_ms, lost) else { return Ok(None) };
        if !self.store.swap_task(&back, &settle(&back, tries, Vec::new())).await? {
            return Ok(None);
        }
        self.assign.notify_one();
        Ok(Some(back))
    }
}

/// Who is online, as far as this run of the program knows.
struct Online<'a> {
    workers: HashMap<Address, (Offer, u64)>,
    policy: &'a Policy,
    /// Whether everyone who is here has had the time to say so.
    is_complete: bool,
    now_ms: u64,
}

impl<'a> Online<'a> {
    fn new(farm: &'a Farm, now_ms: u64) -> Self {
        let workers = farm.online.lock().expect("no panic while held").clone();
        let begun_ms = *farm.begun_ms.get_or_init(|| now_ms);
        Self { workers, policy: &farm.policy, is_complete: now_ms.saturating_sub(begun_ms) >= ONLINE_MS, now_ms }
    }

    /// The lowest rank that a worker that can do `task` has with it.
    fn least_rank(&self, task: &Task) -> Option<u32> {
        let needs = assign::Needs::of(task);
        let able = self.workers.iter().filter(|(_, (offer, _))| needs.are_met_by(offer));
        let ranks = able.map(|(&worker, _)| task.rank_of(worker));
        ranks.min()
    }

    fn is_hopeless(&self, task: &Task) -> bool {
        self.is_complete && machine::is_hopeless(task, self.least_rank(task), self.policy, self.now_ms)
    }
}

fn inputs(lease: &LeaseId, named: Vec<(String, Blob)>) -> Vec<Input> {
    let input = |(name, blob)| Input { url: format!("/v1/worker/leases/{lease}/input/{name}"), name, blob };
    named.into_iter().map(input).collect()
}

/// An offer, with what the worker says of its models just now.
fn warmed(mut offer: Offer, warm: &[String]) -> Offer {
    for model in &mut offer.models {
        model.warm = warm.contains(&model.id);
    }
    offer
}

/// A lease's name starts with its task's, so that the task is found without a further index.
fn lease_id(task: &TaskId) -> LeaseId {
    let text = format!("{task}-{}", hex::encode(rand::random::<[u8; 4]>()));
    LeaseId::try_from(text).expect("task ids leave room for the suffix")
}

pub(crate) fn task_of(lease: &LeaseId) -> Option<TaskId> {
    lease.as_str().rsplit_once('-').and_then(|(task, _)| task.parse().ok())
}

fn token_fits(held: &Held, token: &str) -> bool {
    use subtle::ConstantTimeEq;
    let (have, want) = (Sha256::of(token.as_bytes()).to_string(), held.token_sha256.to_string());
    bool::from(have.as_bytes().ct_eq(want.as_bytes()))
}
