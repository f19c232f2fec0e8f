//! Background loops: each keeps one thing true, takes no input, may run at any time, and is woken by a nudge or
//! a timer. What one of them misses in a crash, it finds again at the next turn.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::StreamExt;
use millrace_proto::{StreamId, api::StreamState};
use tokio::sync::{Semaphore, mpsc};

use crate::{
    assets::stills,
    clock::now_ms,
    house::House,
    ingest::{file, live, pull, push, rtmp, srt},
    portraits::upkeep,
    publish,
    store::{self, Move, record::SegmentState},
    task::State,
    uploads,
};

/// Streams whose segments are listed at once: what they write shares a sync of the disk.
const LISTED_AT_ONCE: usize = 16;

/// What is told by a nudge is looked for anew after so long: only a crash loses nudges. Each look asks the store, and a
/// server without work should have none.
const QUIET: Duration = Duration::from_secs(2);

/// Waits for a nudge, but not for long.
async fn nudge(nudged: &tokio::sync::Notify, at_most: Duration) {
    let _ = tokio::time::timeout(at_most, nudged.notified()).await;
}

fn tell(what: &str, result: store::Result<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, "{what} is tried again");
    }
}

/// Ready tasks are with workers that wait.
pub async fn assign(house: Arc<House>) {
    loop {
        nudge(&house.farm.assign, Duration::from_millis(250)).await;
        match house.farm.assign_once(now_ms()).await {
            Ok(assigned) => {
                house.metrics.leases_given.inc_by(assigned.leases as u64);
                for task in assigned.given_up {
                    tracing::warn!(task = %task.id, "given up");
                    house.committed(&task.stream);
                }
            }
            Err(error) => tell("giving out tasks", Err(error)),
        }
    }
}

/// Windows are planned when there is enough in them.
pub async fn windows(house: Arc<House>) {
    loop {
        nudge(&house.farm.plan, Duration::from_secs(1)).await;
        match house.farm.plan_once(&house.config.captions, now_ms()).await {
            // What went on may go on further, and what waited for it may be listed.
            Ok(planned) => planned.stepped.iter().for_each(|stream| house.committed(stream)),
            Err(error) => tell("planning windows", Err(error)),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Leases that ran out are taken back.
pub async fn expire(house: Arc<House>) {
    loop {
        let pause = if house.farm.is_quiet(now_ms()) { QUIET } else { Duration::from_millis(250) };
        tokio::time::sleep(pause).await;
        match house.farm.expire_once(now_ms()).await {
            Ok(tasks) => {
                for task in tasks {
                    house.metrics.leases_expired.inc();
                    tracing::info!(task = %task.id, "a lease ran out");
                    if matches!(task.state, State::Failed { .. }) {
                        house.committed(&task.stream);
                    }
                }
            }
            Err(error) => tell("taking leases back", Err(error)),
        }
    }
}

/// Outcomes are judged.
pub async fn check(house: Arc<House>) {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let at_once = if house.config.api.checks_max == 0 { cores } else { house.config.api.checks_max };
    let slots = Arc::new(Semaphore::new(at_once));
    let busy = Arc::new(Mutex::new(HashSet::new()));
    loop {
        nudge(&house.farm.check, QUIET).await;
        let tasks = match house.store.tasks_checking(256).await {
            Ok(tasks) => tasks,
            Err(error) => {
                tell("looking for outcomes", Err(error));
                continue;
            }
        };
        for task in tasks {
            if !busy.lock().expect("no panic while held").insert(task.id.clone()) {
                continue;
            }
            let (house, slots, busy) = (house.clone(), slots.clone(), busy.clone());
            tokio::spawn(async move {
                let _slot = slots.acquire().await;
                let id = task.id.clone();
                let is_judged = judge(&house, task).await;
                busy.lock().expect("no panic while held").remove(&id);
                if !is_judged {
                    house.farm.check.notify_one();
                }
            });
        }
    }
}

/// False if it has to be tried again.
async fn judge(house: &House, task: crate::task::Task) -> bool {
    let id = task.id.clone();
    // The list it came from may be older than a verdict on it.
    let task = match house.store.task(&id).await {
        Ok(Some(task)) => task,
        Ok(None) => return true,
        Err(error) => {
            tell("checking", Err(error));
            tokio::time::sleep(Duration::from_millis(500)).await;
            return false;
        }
    };
    let before = task.clone();
    match house.verifier.check(task, now_ms()).await {
        Ok(None) => true,
        Ok(Some(task)) => {
            time(house, &before, now_ms());
            let verdict = match &task.state {
                State::Accepted { .. } => "accepted",
                State::Failed { .. } => "failed",
                _ => "again",
            };
            house.metrics.verdicts.with_label_values(&[verdict]).inc();
            if let (Some(last), false) = (task.attempts.last(), verdict == "accepted") {
                tracing::warn!(task = %id, worker = %last.worker, verdict, why = last.message, "outcome not accepted");
            }
            house.committed(&task.stream);
            true
        }
        Err(error) => {
            tracing::warn!(task = %id, %error, "checking is tried again");
            tokio::time::sleep(Duration::from_millis(500)).await;
            false
        }
    }
}

/// How long each step of a live segment's task took that was being checked and has its verdict now.
fn time(house: &House, task: &crate::task::Task, now_ms: u64) {
    let (true, State::Checking { lease, since_ms, .. }) = (task.live && task.link.is_none(), &task.state) else {
        return;
    };
    let times = [task.created_ms, lease.given_ms, *since_ms, now_ms];
    for (step, pair) in ["wait", "work", "check"].into_iter().zip(times.windows(2)) {
        let ms = pair[1].saturating_sub(pair[0]);
        house.metrics.step_s.with_label_values(&[step]).observe(ms as f64 / 1e3);
        tracing::debug!(task = %task.id, step, ms, "step");
    }
}

/// What is settled is listed.
pub async fn publish(house: Arc<House>, mut nudges: mpsc::UnboundedReceiver<StreamId>) {
    let open = [StreamState::Live, StreamState::Interrupted, StreamState::Finishing];
    let mut nudged = Vec::new();
    loop {
        let streams = match tokio::time::timeout(Duration::from_secs(2), nudges.recv_many(&mut nudged, 256)).await {
            Ok(1..) => nudged.drain(..).collect::<BTreeSet<_>>(),
            Ok(0) => return,
            Err(_) => match house.store.streams_in(&open).await {
                Ok(streams) => streams.into_iter().map(|stream| stream.id).collect(),
                Err(error) => {
                    tell("looking for streams", Err(error));
                    continue;
                }
            },
        };
        let house = &house;
        futures_util::stream::iter(streams).for_each_concurrent(LISTED_AT_ONCE, |stream| list(house, stream)).await;
    }
}

async fn list(house: &Arc<House>, stream: StreamId) {
    match publish::advance(&house.store, &stream, now_ms()).await {
        Ok(advanced) => {
            told(house, &stream, &advanced);
            if advanced.ended {
                picture(house, &stream).await;
            }
        }
        Err(error) => tell("publishing", Err(error)),
    }
}

fn told(house: &House, stream: &StreamId, advanced: &publish::Advanced) {
    for segment in &advanced.listed {
        if let SegmentState::Failed { reason } = &segment.state {
            house.metrics.segments_failed.inc();
            tracing::warn!(%stream, seq = segment.seq, reason, "a gap is listed");
        } else {
            house.metrics.segments_published.inc();
        }
        let lag_ms = segment.wall_ms.map(|_| now_ms().saturating_sub(segment.arrived_ms));
        if let Some(lag_ms) = lag_ms {
            house.metrics.publish_latency_s.observe(lag_ms as f64 / 1e3);
        }
        tracing::debug!(%stream, seq = segment.seq, lag_ms, "listed");
    }
    if advanced.ended {
        tracing::info!(%stream, "stream ended");
    }
}

/// Makes the pictures of a stream that has ended, before someone asks. What a crash makes it miss is made when someone
/// does.
async fn picture(house: &Arc<House>, stream: &StreamId) {
    match house.store.stream(stream).await {
        Ok(Some(stream)) if stream.listed_seq > stream.failed_segments => drop(stills::begin(house, stream, false)),
        Ok(_) => {}
        Err(error) => tell("making pictures", Err(error)),
    }
}

/// Streams without a publisher are interrupted, and finished when their grace time is over.
pub async fn grace(house: Arc<House>) {
    for turn in 0_u64.. {
        tokio::time::sleep(Duration::from_millis(500)).await;
        // Publishers that leave say so; this is for those that a crash took along, and reads every live stream.
        if turn.is_multiple_of(4) {
            let recovered = live::recover(&house.store, &house.publishing, &house.config.ingest, now_ms()).await;
            tell("interrupting streams", recovered);
        }
        match live::end_overdue(&house.store, &house.publishing, now_ms()).await {
            Ok(ended) => ended.iter().for_each(|stream| house.committed(stream)),
            Err(error) => tell("ending streams", Err(error)),
        }
    }
}

/// No more video will come: what is there is worked off, then the stream ends.
pub async fn finish(house: &House, stream: &StreamId, from: &[StreamState]) -> store::Result<bool> {
    let step = Move { from, to: StreamState::Finishing, reason: None, grace_ends_ms: 0, now_ms: now_ms() };
    let done = house.store.move_stream(stream, &step).await?;
    house.committed(stream);
    Ok(done)
}

/// Complete uploads are read.
pub async fn files(house: Arc<House>) {
    loop {
        tell("looking for files", file::start_ready(&house).await);
        nudge(&house.file_complete, QUIET).await;
    }
}

/// Pushed segments that wait are cut, also those that came before a crash.
pub async fn pushes(house: Arc<House>) {
    loop {
        tell("looking for pushed segments", push::resume(&house).await);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Streams with a url are fetched, also those that a crash interrupted.
pub async fn pulls(house: Arc<House>) {
    loop {
        tell("looking for streams to fetch", pull::start_ready(&house).await);
        house.metrics.pulls_open.set(house.pulls.count() as i64);
        house.metrics.pushes_open.set(house.pushes.count() as i64);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The store knows when workers were last heard, and people when there is none for what waits.
pub async fn heard(house: Arc<House>) {
    let mut told = BTreeSet::new();
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let heard = house.farm.heard_at();
        house.metrics.workers_online.set(heard.len() as i64);
        tell("noting workers", house.store.hear_workers(&heard).await);
        match house.farm.stuck(now_ms()).await {
            Ok((count, reasons)) => {
                house.metrics.tasks_stuck.set(count as i64);
                for reason in reasons.difference(&told) {
                    tracing::warn!(reason, "tasks wait for a worker that can do them");
                }
                told = reasons;
            }
            Err(error) => tell("looking for tasks that nobody can do", Err(error)),
        }
    }
}

/// What has expired is freed.
pub async fn sweep(house: Arc<House>) {
    use StreamState::{Ended, Expired, Finishing, Interrupted, Live};
    let open = [Live, Interrupted, Finishing, Ended, Expired];
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let streams = match house.store.streams_in(&open).await {
            Ok(streams) => streams,
            Err(error) => {
                tell("looking for what has expired", Err(error));
                continue;
            }
        };
        for stream in streams.iter().filter(|stream| stream.profile.retention_s.is_some()) {
            match publish::retention::expire(&house.store, &house.media, stream, now_ms()).await {
                Ok(true) => tracing::info!(stream = %stream.id, "stream expired"),
                Ok(false) => {}
                Err(error) => tracing::warn!(stream = %stream.id, %error, "freeing the stream is tried again"),
            }
            if matches!(stream.state, Expired) {
                continue;
            }
            match publish::retention::sweep(&house.store, &house.media, stream, now_ms()).await {
                Ok(0) => {}
                Ok(count) => tracing::debug!(stream = %stream.id, count, "segments freed"),
                Err(error) => tracing::warn!(stream = %stream.id, %error, "freeing segments is tried again"),
            }
        }
    }
}

/// What workers uploaded and nobody needs is freed.
pub async fn uploads(house: Arc<House>) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        match uploads::sweep(&house.store, &house.media).await {
            Ok(0) => {}
            Ok(leases) => tracing::debug!(leases, "uploads freed"),
            Err(error) => tracing::warn!(%error, "freeing uploads is tried again"),
        }
    }
}

/// Pictures of products are looked at by today's model, and files that none has are freed. The turn after a start is the one
/// that finds something.
pub async fn pictures(house: Arc<House>) {
    loop {
        match upkeep::turn(&*house.store, &house.media, &house.portraits, now_ms()).await {
            Ok(turn) if turn == upkeep::Turn::default() => {}
            Ok(upkeep::Turn { portrayed, unreadable, swept }) => {
                tracing::info!(portrayed, unreadable, swept, "pictures of products were put in order");
            }
            Err(error) => tracing::warn!(%error, "putting pictures of products in order is tried again"),
        }
        tokio::time::sleep(Duration::from_hours(1)).await;
    }
}

/// Old events are forgotten.
pub async fn events(house: Arc<House>) {
    loop {
        let config = &house.config.events;
        let before_ms = now_ms().saturating_sub(config.keep_days.saturating_mul(86_400_000));
        match house.store.forget_events(before_ms, config.count_max).await {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "events forgotten"),
            Err(error) => tell("forgetting events", Err(error)),
        }
        tokio::time::sleep(Duration::from_mins(1)).await;
    }
}

/// The counts of the RTMP and SRT servers stand in the metrics.
pub async fn ingest_counters(house: Arc<House>, rtmp: Arc<rtmp::Counters>, srt: Arc<srt::Counters>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let metrics = &house.metrics;
        for (gauge, count) in [
            (&metrics.rtmp_connections, &rtmp.connections_open),
            (&metrics.rtmp_bytes, &rtmp.bytes_in),
            (&metrics.srt_connections, &srt.connections_open),
            (&metrics.srt_bytes, &srt.bytes_in),
            (&metrics.srt_packets_lost, &srt.packets_lost),
            (&metrics.srt_refused, &srt.refused),
            (&metrics.srt_overflows, &srt.overflows),
        ] {
            gauge.set(count.load(std::sync::atomic::Ordering::Relaxed) as i64);
        }
    }
}
