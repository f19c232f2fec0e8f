//! What the embedded store takes: segments through all that is written of them, in a new database and in one that holds
//! a million, in turns. Media is not stored here.

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::{Context, Result, ensure};
use millrace_orchestrator::{
    publish,
    store::{
        Commit, Settlement, Store,
        record::{Media, Segment, SegmentState, Stream},
        sqlite::SqliteStore,
    },
    task::{
        Task,
        machine::{self, Finish, Grant, Policy, Verdict},
        plan::{self, Subject},
    },
    verify::settle,
};
use millrace_proto::{
    Address, Sha256, StreamId,
    api::Source,
    outcome::{Done, Outcome, Rendition, Result as Handed},
    profile::{Choice, Profile},
    task::Blob,
};
use sqlx::{Connection, SqliteConnection};

use crate::{
    kit::Kit,
    measure::{median, spread},
    report::Table,
};

/// Segments of one round.
const ROUND: u64 = 300;

/// Seconds for each step of [`ROUND`] segments.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_field_names, reason = "the steps' names, with their unit")]
struct Took {
    commit_s: f64,
    lease_s: f64,
    rest_s: f64,
}

impl Took {
    fn segment_ms(self) -> f64 {
        (self.commit_s + self.lease_s + self.rest_s) * 1e3 / ROUND as f64
    }
}

pub(crate) fn run(kit: &Kit) -> Result<Table> {
    let (rounds, many) = if kit.quick { (2, 50_000) } else { (7, 1_000_000) };
    let folder = kit.folder("store")?;
    let (small, large) = (folder.join("small.db"), folder.join("large.db"));
    let took = kit.runtime.block_on(async {
        let mut few = Life::begin(&small).await?;
        let mut lots = Life::begin(&large).await?;
        // What the large one is filled with was written by the store itself.
        few.round().await?;
        lots.round().await?;
        let begun = Instant::now();
        lots = lots.fill(&large, many).await?;
        eprintln!("  filled the store in {:.0} s", begun.elapsed().as_secs_f64());
        // The first round after opening reads what later ones find in memory; the new one has had that, too.
        few.round().await?;
        lots.round().await?;
        let mut took = Vec::new();
        for _ in 0..rounds {
            took.push((few.round().await?, lots.round().await?));
        }
        anyhow::Ok(took)
    })?;
    let bytes = std::fs::metadata(&large)?.len();
    let mut table =
        Table::new(&["database", "segments committed a second", "leases a second", "ms a segment, all steps"]);
    let (few, lots): (Vec<Took>, Vec<Took>) = took.into_iter().unzip();
    for (name, took) in [("new", &few), (&*format!("with {many} segments"), &lots)] {
        let per_s =
            |step: fn(&Took) -> f64| median(&took.iter().map(|took| ROUND as f64 / step(took)).collect::<Vec<_>>());
        let each: Vec<f64> = took.iter().map(|took| took.segment_ms()).collect();
        let (low, high) = spread(&each);
        table.row([
            name.to_owned(),
            format!("{:.0}", per_s(|took| took.commit_s)),
            format!("{:.0}", per_s(|took| took.lease_s)),
            format!("{:.2} ({low:.2} to {high:.2})", median(&each)),
        ]);
    }
    let ratios: Vec<f64> = few.iter().zip(&lots).map(|(few, lots)| lots.segment_ms() / few.segment_ms()).collect();
    table.at_most(&format!("cost of a segment with {many} there, beside a new database"), 1.2, &ratios);
    table.remark(format!(
        "Commit of segment and task, lease, outcome, verdict and listing, one after the other, each durable \
         (`synchronous = FULL`); {ROUND} segments of three rungs a round, medians of {rounds} rounds in turns. The large \
         database was filled by copying rows that the store had written; it takes {:.0} bytes a segment.",
        bytes as f64 / many as f64
    ));
    Ok(table)
}

/// A store with one stream, and the next number.
struct Life {
    store: Arc<dyn Store>,
    id: StreamId,
    profile: Profile,
    next: u64,
}

impl Life {
    async fn begin(path: &Path) -> Result<Self> {
        let store = SqliteStore::open(path).await?;
        let profile = Choice::default().resolve().context("the default profile")?;
        let id: StreamId = "measured".parse().map_err(|error| anyhow::anyhow!("{error}"))?;
        let mut stream = Stream::new(id.clone(), "measured", Source::Live, profile.clone(), 0);
        stream.rungs = plan::rungs(&profile, (1_280, 720));
        ensure!(store.create_stream(&stream).await?, "the stream is there already");
        Ok(Self { store: Arc::new(store), id, profile, next: 0 })
    }

    /// [`ROUND`] segments through all steps, a step at a time.
    async fn round(&mut self) -> Result<Took> {
        let rungs = plan::rungs(&self.profile, (1_280, 720));
        let now_ms = self.next + 1;
        let mut took = Took::default();
        let begun = Instant::now();
        let mut segments = Vec::new();
        for seq in self.next..self.next + ROUND {
            let subject = Subject {
                stream: &self.id,
                seq,
                live: true,
                duration_ms: 2_000,
                display: Some((1_280, 720)),
                policy: self.profile.policy,
            };
            let segment = segment(&self.id, seq);
            let tasks = plan::tasks(&rungs, &subject, now_ms);
            ensure!(self.store.commit_segment(&segment, &tasks).await? == Commit::Done, "the segment is not taken");
            segments.push(segment);
        }
        took.commit_s = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        let mut leased = Vec::new();
        for _ in 0..ROUND {
            // As the farm does: it looks anew for each that it gives.
            let task = self.store.tasks_ready(now_ms, 1).await?.pop().context("a task is ready")?;
            leased.push(self.lease(task, now_ms).await?);
        }
        took.lease_s = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        for task in leased {
            self.settle(task, now_ms).await?;
        }
        publish::advance(&self.store, &self.id, now_ms).await?;
        took.rest_s = begun.elapsed().as_secs_f64();
        self.next += ROUND;
        let stream = self.store.stream(&self.id).await?.context("the stream")?;
        ensure!(stream.listed_seq == self.next, "{} of {} are listed", stream.listed_seq, self.next);
        Ok(took)
    }

    async fn lease(&self, task: Task, now_ms: u64) -> Result<Task> {
        let id = format!("{}-00000000", task.id).parse().map_err(|error| anyhow::anyhow!("{error}"))?;
        let worker: Address = format!("0x{}", "07".repeat(20)).parse()?;
        let grant = Grant { id, token_sha256: Sha256::of(b"token"), worker, instance: "measured".into() };
        let leased = machine::lease(task, grant, &Policy::default(), now_ms).context("it waits")?;
        ensure!(self.store.swap_task(&leased, &Settlement::default()).await?, "someone else changed it");
        Ok(leased)
    }

    async fn settle(&self, task: Task, now_ms: u64) -> Result<()> {
        let lease = task.leases().first().context("it is leased")?.id.clone();
        let renditions = ["720p", "480p", "360p"].map(media);
        let told = renditions.iter().map(|media| Rendition {
            name: media.name.clone(),
            init: media.init,
            segment: media.segment,
            codec: media.codec.clone(),
            frames: media.frames,
        });
        let result = Handed::Done(Done { renditions: told.collect(), report: None, frames_concealed: 0, work_ms: 900 });
        let outcome = Outcome { result, signature: "0".repeat(130) };
        let Finish::Taken(checking) = machine::finish(task, &lease, outcome, now_ms) else {
            anyhow::bail!("the outcome is not taken")
        };
        ensure!(self.store.swap_task(&checking, &Settlement::default()).await?, "someone else changed it");
        let policy = Policy::default();
        let decided = machine::decide(checking, &lease, Verdict::Accept, &policy, now_ms).context("a verdict")?;
        let settlement = settle(&decided, 0, renditions.into());
        ensure!(self.store.swap_task(&decided, &settlement).await?, "someone else changed it");
        Ok(())
    }

    /// Copies what is there until there are `many` segments.
    async fn fill(self, path: &Path, many: u64) -> Result<Self> {
        let Self { store, id, profile, next } = self;
        drop(store);
        let mut connection = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await?;
        for sql in [
            "PRAGMA synchronous = OFF",
            "CREATE TEMP TABLE steps (n INTEGER PRIMARY KEY)",
            "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ?1 / ?2) INSERT INTO steps SELECT n FROM c",
            "INSERT INTO segments SELECT stream, seq + n * ?2, discontinuity, start_ns + n * ?2 * 2000000000, duration_ns,
                 wall_ms, arrived_ms, video, audio, state, renditions FROM steps, segments WHERE seq + n * ?2 < ?1",
            "INSERT INTO tasks SELECT stream || '-' || (seq + n * ?2) || '-transcode', stream, version, live, created_ms,
                 seq + n * ?2, ready_ms, due_ms, checking_ms, record FROM steps, tasks WHERE seq + n * ?2 < ?1",
            "UPDATE streams SET next_seq = ?1, listed_seq = ?1",
            "PRAGMA wal_checkpoint(TRUNCATE)",
        ] {
            let mut query = sqlx::query(sql);
            if sql.contains("?1") {
                query = query.bind(many as i64);
            }
            if sql.contains("?2") {
                query = query.bind(next as i64);
            }
            query.execute(&mut connection).await.with_context(|| sql.to_owned())?;
        }
        let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM tasks").fetch_one(&mut connection).await?;
        ensure!(count as u64 == many, "{count} tasks instead of {many}");
        connection.close().await?;
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(path).await?);
        Ok(Self { store, id, profile, next: many })
    }
}

fn media(name: &str) -> Media {
    Media {
        name: name.into(),
        init: Blob::of(name.as_bytes()),
        segment: Blob::of(name.as_bytes()),
        codec: "avc1.64001f".into(),
        frames: 48,
        width: 1_280,
        height: 720,
        channels: 0,
        duration_ns: 2_000_000_000,
        preroll: 0,
        key_bytes: 40_000,
    }
}

fn segment(id: &StreamId, seq: u64) -> Segment {
    Segment {
        hold: None,
        stream: id.clone(),
        seq,
        discontinuity: 0,
        start_ns: seq * 2_000_000_000,
        duration_ns: 2_000_000_000,
        wall_ms: Some(1_700_000_000_000 + seq * 2_000),
        arrived_ms: 1_700_000_002_000 + seq * 2_000,
        video: Some(media("source")),
        audio: Some(media("audio")),
        state: SegmentState::Pending,
        renditions: Vec::new(),
    }
}

/// Names of header and media of every segment's source, in a database that an orchestrator left.
pub(crate) fn sources(path: &Path) -> Result<Vec<(String, String)>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await?;
        let sql = "SELECT json_extract(video, '$.init.sha256'), json_extract(video, '$.segment.sha256')
                   FROM segments ORDER BY seq";
        Ok(sqlx::query_as(sql).fetch_all(&mut connection).await?)
    })
}
