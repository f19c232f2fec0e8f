//! The driver: performs what the agent says, tells the agent what came of it.
//!
//! Owns the clock, the tasks behind calls and steps, and the leases' folders. Decides nothing. Called by
//! `main`.

mod sense;
mod step;

use std::{
    collections::HashMap,
    future::{self, Future},
    sync::Arc,
    time::{Duration, Instant},
};

use millrace_media::{Launcher, card::Use};
use millrace_proto::{identity::Secret, offer::Offer, outcome, task::Lease};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::sleep_until,
};
use tracing::{info, warn};

use crate::{
    agent::{Agent, Call, Exit, Fault, Input, Job, Output},
    client::Client,
    scratch::Scratch,
    senses::Senses,
    share::Shares,
    sign,
};
use step::{Bench, Means, Spoilt};

/// What a worker works with.
#[derive(Debug)]
pub struct Worker {
    /// Speaks with the orchestrator.
    pub client: Client,
    /// Starts media children.
    pub launcher: Launcher,
    /// Listen and look.
    pub senses: Senses,
    /// Signs challenges and outcomes.
    pub secret: Secret,
    /// What is offered.
    pub offer: Offer,
    /// Where files go.
    pub scratch: Scratch,
    /// Leases that are worked on at once.
    pub slots: u32,
    /// Most threads of one lease.
    pub threads_max: u32,
    /// Cores of this machine.
    pub cores: u32,
    /// Cards, in the order of the agent's [`crate::agent::Config::cards`].
    pub cards: Vec<Use>,
}

/// Drives the agent to its end. Each message of `drains` is one request to go away.
pub async fn run(agent: Agent, worker: Worker, mut drains: mpsc::Receiver<()>) -> Exit {
    let (inputs, mut answers) = mpsc::unbounded_channel();
    let mut driver = Driver {
        agent,
        worker: Arc::new(worker),
        begun: Instant::now(),
        calls: HashMap::new(),
        tasks: JoinSet::new(),
        jobs: HashMap::new(),
        shares: Shares::default(),
        inputs,
    };
    let mut input = Input::Wake;
    loop {
        if let Some(exit) = driver.handle(input) {
            // Steps that were aborted give their folders back before the scratch folder goes.
            driver.tasks.shutdown().await;
            return exit;
        }
        let wake_ms = driver.agent.wake_ms();
        input = tokio::select! {
            Some(answer) = answers.recv() => answer,
            () = driver.sleep_until(wake_ms) => Input::Wake,
            Some(()) = drains.recv() => Input::Drain,
        };
    }
}

struct Driver {
    agent: Agent,
    worker: Arc<Worker>,
    begun: Instant,
    calls: HashMap<Call, AbortHandle>,
    tasks: JoinSet<()>,
    jobs: HashMap<Job, Arc<Bench>>,
    shares: Shares,
    inputs: mpsc::UnboundedSender<Input>,
}

impl Driver {
    fn handle(&mut self, input: Input) -> Option<Exit> {
        while self.tasks.try_join_next().is_some() {}
        self.calls.retain(|_, task| !task.is_finished());
        log_fault(&input);
        let now_ms = self.now_ms();
        self.agent.handle(input, now_ms);
        while let Some(output) = self.agent.poll_output() {
            if let Output::Exit(exit) = output {
                return Some(exit);
            }
            self.perform(output);
        }
        None
    }

    fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    fn sleep_until(&self, wake_ms: Option<u64>) -> impl Future<Output = ()> + use<> {
        // Rounded up: a wake-up before its time would come again and again.
        let at = wake_ms.and_then(|ms| self.begun.checked_add(Duration::from_millis(ms)));
        async move {
            match at {
                Some(at) => sleep_until(at.into()).await,
                None => future::pending().await,
            }
        }
    }

    fn perform(&mut self, output: Output) {
        let worker = Arc::clone(&self.worker);
        match output {
            Output::Challenge { call } => {
                self.spawn(call, Input::Challenged, async move { worker.client.challenge(&worker.secret).await });
            }
            Output::Open { call, challenge } => {
                let opened = async move { worker.client.open(&worker.secret, challenge, &worker.offer).await };
                self.spawn(call, Input::Opened, async move { opened.await.inspect(|_| info!("session open")) });
            }
            Output::Poll { call, session, poll } => {
                self.spawn(call, Input::Polled, async move { worker.client.poll(&session, &poll).await });
            }
            Output::Renew { call, session, lease } => {
                self.spawn(call, Input::Renewed, async move { worker.client.renew(&session, &lease).await });
            }
            Output::Finish { call, session, lease, result } => {
                log_result(&lease, &result);
                let outcome = sign::outcome(&worker.secret, &lease.id, result);
                self.spawn(
                    call,
                    Input::Finished,
                    async move { worker.client.finish(&session, &lease, &outcome).await },
                );
            }
            Output::Begin { job, lease } => {
                info!(lease = %lease.id, task = %lease.task, "lease taken");
                self.jobs.insert(job, Arc::default());
                self.shares.begin(&lease, self.now_ms());
            }
            Output::Fetch { call, job, session, lease } => {
                let Some(bench) = self.jobs.get(&job).cloned() else { return };
                self.spawn(
                    call,
                    Input::Fetched,
                    async move { step::fetch(&worker, &bench, job, &session, &lease).await },
                );
            }
            Output::Warm { model } => drop(self.tasks.spawn(async move { worker.senses.warm(&model).await })),
            Output::Cool { model } => drop(self.tasks.spawn(async move { worker.senses.cool(&model).await })),
            Output::Work { call, job, lease, time_ms_max, card, model } => {
                let Some(bench) = self.jobs.get(&job).cloned() else { return };
                let Worker { slots, threads_max, cores, .. } = *worker;
                let threads = self.shares.threads(&lease.id, slots, threads_max, cores, self.now_ms());
                self.spawn(call, worked, async move {
                    let card = card.and_then(|at| worker.cards.get(at));
                    step::work(&worker, &bench, &lease, Means { threads, time_ms_max, card, model: model.as_deref() })
                        .await
                });
            }
            Output::Upload { call, job, session, lease, done } => {
                self.shares.worked(&lease.id, done.work_ms);
                let Some(bench) = self.jobs.get(&job).cloned() else { return };
                self.spawn(call, Input::Uploaded, async move {
                    step::upload(&worker, &bench, &session, &lease, &done).await
                });
            }
            Output::Abort { call } => {
                if let Some(task) = self.calls.remove(&call) {
                    task.abort();
                }
            }
            Output::End { job, lease, ending } => {
                info!(%lease, ?ending, "lease over");
                self.jobs.remove(&job);
                self.shares.end(&lease);
            }
            Output::Ignored { lease } => warn!(%lease, "the orchestrator sent a lease that was not asked for"),
            Output::Exit(_) => unreachable!("handled by the caller"),
        }
    }

    fn spawn<T: Send + 'static>(
        &mut self,
        call: Call,
        input: fn(Call, T) -> Input,
        work: impl Future<Output = T> + Send + 'static,
    ) {
        let inputs = self.inputs.clone();
        let task = self.tasks.spawn(async move {
            // The receiver is gone only when the program ends.
            let _ = inputs.send(input(call, work.await));
        });
        self.calls.insert(call, task);
    }
}

fn worked(call: Call, done: Result<outcome::Done, Spoilt>) -> Input {
    match done {
        Ok(done) => Input::Worked(call, Ok(done)),
        Err(Spoilt::Work(failure)) => Input::Worked(call, Err(failure)),
        Err(Spoilt::Card(refusal)) => Input::CardRefused(call, refusal),
    }
}

fn log_result(lease: &Lease, result: &outcome::Result) {
    match result {
        outcome::Result::Done(done) => info!(lease = %lease.id, work_ms = done.work_ms, "handing in"),
        outcome::Result::Failed(failure) => {
            warn!(lease = %lease.id, kind = ?failure.kind, message = failure.message, "handing in a failure");
        }
    }
}

fn log_fault(input: &Input) {
    let (what, fault) = match input {
        Input::Challenged(_, Err(fault)) | Input::Opened(_, Err(fault)) => ("join", fault),
        Input::Polled(_, Err(fault)) => ("poll", fault),
        Input::Renewed(_, Err(fault)) => ("renew", fault),
        Input::Finished(_, Err(fault)) => ("finish", fault),
        Input::Fetched(_, Err(fault)) => ("fetch", fault),
        Input::Uploaded(_, Err(fault)) => ("upload", fault),
        _ => return,
    };
    match fault {
        Fault::Refused(error) | Fault::Unauthorized(error) | Fault::Gone(error) => {
            warn!(what, code = error.code, message = error.message, hint = error.hint, "the orchestrator refused");
        }
        Fault::Away { .. } | Fault::Strange(_) | Fault::Spoiled(_) => warn!(what, reason = %fault, "it did not work"),
    }
}
