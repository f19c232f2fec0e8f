//! Checks of uploads: bounded, swept, and never lost once accepted, wherever the program is killed.

use std::{
    path::Path as Folder,
    sync::atomic::{AtomicI64, Ordering},
};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use millrace_media::job::{Gauged, Inspection, Seen};
use millrace_proto::{
    Address,
    api::Source,
    identity::Secret,
    outcome::{Done, Outcome, Rendition, Result as Handed},
    profile::Choice,
};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, memory::InMemory, path::Path,
};

use super::*;
use crate::{
    store::{
        Commit, Settlement,
        record::{Media, Segment, SegmentState, Stream},
        sqlite::SqliteStore,
    },
    task::{
        State,
        machine::{self, Finish, Grant, Policy},
        plan::{self, Subject},
        source::Decodable,
    },
    verify::{self, Look, Placed, Verifier},
};

const INIT: &[u8] = b"a header";
const SEGMENT: &[u8] = b"a segment";

/// A stream with one segment, whose task a worker has a lease of.
struct World {
    store: Arc<dyn Store>,
    media: MediaStore,
    task: Task,
    lease: LeaseId,
    worker: Address,
}

fn video(blob: Blob) -> Media {
    Media {
        name: "source".into(),
        init: blob,
        segment: blob,
        codec: "avc1.64001f".into(),
        frames: 1,
        width: 640,
        height: 360,
        channels: 0,
        duration_ns: 2_000_000_000,
        preroll: 0,
        key_bytes: 1,
    }
}

impl World {
    async fn new(media: MediaStore) -> Self {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::in_memory().await.unwrap());
        let profile = Choice::Preset("mobile".into()).resolve().unwrap();
        let rungs = profile.ladder[..1].to_vec();
        let stream = Stream::new("s".parse().unwrap(), "n", Source::Live, profile, 0);
        assert!(store.create_stream(&stream).await.unwrap());
        let segment = Segment {
            hold: None,
            stream: stream.id.clone(),
            seq: 0,
            discontinuity: 0,
            start_ns: 0,
            duration_ns: 2_000_000_000,
            wall_ms: None,
            arrived_ms: 0,
            video: Some(video(media.put(&stream.id, Bytes::from_static(b"source")).await.unwrap())),
            audio: None,
            state: SegmentState::Pending,
            renditions: Vec::new(),
        };
        let subject = Subject {
            stream: &stream.id,
            seq: 0,
            live: true,
            duration_ms: 2_000,
            display: Some((640, 360)),
            policy: stream.profile.policy,
        };
        let tasks = plan::tasks(&rungs, &subject, 0);
        assert_eq!(store.commit_segment(&segment, &tasks).await.unwrap(), Commit::Done);
        let worker = Secret::generate().address();
        let lease: LeaseId = format!("{}-0123abcd", tasks[0].id).parse().unwrap();
        let grant = Grant { id: lease.clone(), token_sha256: Sha256::of(b""), worker, instance: "i".into() };
        let task = machine::lease(tasks[0].clone(), grant, &Policy::default(), 0).unwrap();
        let world = Self { store, media, task, lease, worker };
        assert!(world.store.swap_task(&world.task, &Settlement::default()).await.unwrap());
        world
    }

    async fn upload(&self, output: &str, bytes: &[u8]) -> media::Result<Option<Blob>> {
        let body = stream::iter([Ok::<_, std::io::Error>(Bytes::copy_from_slice(bytes))]);
        Uploads::default().receive(&self.media, &self.task, &self.lease, output, Sha256::of(bytes), body).await
    }

    /// The worker uploads what it made and hands it in.
    async fn hand_in(&mut self) {
        let Work::Transcode(work) = &self.task.work else { panic!("it is a transcode") };
        let name = work.renditions[0].name.clone();
        let init = self.upload(&format!("{name}.init"), INIT).await.unwrap().unwrap();
        let segment = self.upload(&format!("{name}.segment"), SEGMENT).await.unwrap().unwrap();
        let made = Rendition { name, init, segment, codec: "avc1.42001f".into(), frames: 1 };
        let done = Done { renditions: vec![made], report: None, frames_concealed: 0, work_ms: 1 };
        let outcome = Outcome { result: Handed::Done(done), signature: String::new() };
        let Finish::Taken(task) = machine::finish(self.task.clone(), &self.lease, outcome, 1) else {
            panic!("the lease is open")
        };
        assert!(self.store.swap_task(&task, &Settlement::default()).await.unwrap());
        self.task = task;
    }

    fn verifier(&self, media: &MediaStore, good: bool) -> Verifier {
        let eyes = Arc::new(Eyes { media: media.clone(), good, task: self.task.clone() });
        Verifier { store: self.store.clone(), media: media.clone(), eyes, policy: Policy::default() }
    }

    async fn state(&self) -> State {
        self.store.task(&self.task.id).await.unwrap().unwrap().state
    }

    /// Which of the two made files are with the stream.
    async fn is_published(&self) -> [bool; 2] {
        let stream = &self.task.stream;
        let blobs = [INIT, SEGMENT].map(Blob::of);
        [self.media.has(stream, blobs[0]).await.unwrap(), self.media.has(stream, blobs[1]).await.unwrap()]
    }
}

/// Sees what it was made for, or nothing readable.
#[derive(Debug)]
struct Eyes {
    media: MediaStore,
    good: bool,
    task: Task,
}

#[async_trait]
impl Look for Eyes {
    async fn has(&self, lease: &LeaseId, blob: Blob) -> Result<bool, verify::Error> {
        Ok(self.media.has(lease, blob).await?)
    }

    async fn inspect(&self, segments: &[Placed<'_>], _: bool) -> Result<Vec<Inspection>, verify::Error> {
        let Work::Transcode(work) = &self.task.work else { panic!("it is a transcode") };
        let target = &work.renditions[0];
        let seen = Seen {
            codec: "h264".into(),
            codec_string: "avc1.42001f".into(),
            timescale: 1_000,
            pts: vec![0],
            key_first: true,
            width: target.width,
            height: target.height,
            frames_decoded: 1,
            key_bytes: 1,
        };
        let made = if self.good { Inspection::Readable(seen.clone()) } else { unreadable() };
        Ok([Inspection::Readable(seen), made][..segments.len()].to_vec())
    }

    async fn gauge(&self, _: &StreamId, _: &Decodable, _: (u32, u32)) -> Result<Gauged, verify::Error> {
        Err(verify::Error::NoChild("nobody asks".into()))
    }
}

fn unreadable() -> Inspection {
    Inspection::Unreadable { message: "rubbish".into() }
}

/// Does so many things, and nothing after that: as if the program were killed.
#[derive(Debug)]
struct Dying {
    inner: Arc<InMemory>,
    left: AtomicI64,
}

impl std::fmt::Display for Dying {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dying")
    }
}

impl Dying {
    fn step(&self) -> object_store::Result<()> {
        if self.left.fetch_sub(1, Ordering::Relaxed) > 0 {
            return Ok(());
        }
        Err(object_store::Error::Generic { store: "dying", source: "killed".into() })
    }
}

#[async_trait]
impl ObjectStore for Dying {
    async fn put_opts(&self, at: &Path, bytes: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        self.step()?;
        self.inner.put_opts(at, bytes, options).await
    }
    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.step()?;
        self.inner.put_multipart_opts(at, options).await
    }
    async fn get_opts(&self, at: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.step()?;
        self.inner.get_opts(at, options).await
    }
    fn delete_stream(
        &self,
        at: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        match self.step() {
            Ok(()) => self.inner.delete_stream(at),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.step()?;
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_worker_that_uploads_without_end_is_bounded() {
    let world = World::new(MediaStore::over(Arc::new(InMemory::new()))).await;
    let Work::Transcode(work) = &world.task.work else { panic!("it is a transcode") };
    let output = format!("{}.segment", work.renditions[0].name);
    assert!(world.upload("other.segment", b"x").await.unwrap().is_none(), "the task has no such output");
    let most = output_bytes_max(&world.task, &output).unwrap();
    assert_eq!(world.upload(&output, &vec![0; most as usize + 1]).await.unwrap_err().kind, media::Kind::TooLarge(most));
    let limit = lease_bytes_max(&world.task);
    let mut refused = 0;
    for number in 0..50_u8 {
        let mut bytes = vec![number; most as usize / 3];
        bytes[0] = 7;
        match world.upload(&output, &bytes).await {
            Ok(taken) => drop(taken.unwrap()),
            Err(error) => {
                assert_eq!(error.kind, media::Kind::TooLarge(limit));
                refused += 1;
            }
        }
        assert!(world.media.uploaded_bytes(&world.lease).await.unwrap() <= limit);
    }
    assert!(refused > 40, "{refused}");
    // What is on its way counts as well, until it is over.
    let uploads = Uploads::default();
    let first = uploads.room(&world.lease, 5);
    assert_eq!((first.1, uploads.room(&world.lease, 7).1), (5, 12));
    drop(first);
    assert!(uploads.0.lock().unwrap().is_empty());
}

/// All files below a folder.
fn files(folder: &Folder) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

#[tokio::test]
async fn what_an_open_lease_needs_stays_and_what_is_given_up_goes() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(MediaStore::local(folder.path()).unwrap()).await;
    let Work::Transcode(work) = &world.task.work else { panic!("it is a transcode") };
    let output = format!("{}.segment", work.renditions[0].name);
    // Somebody else's bytes have the same hash: they stay, whatever becomes of the lease.
    world.media.put(&world.task.stream, Bytes::from_static(SEGMENT)).await.unwrap();
    world.upload(&output, SEGMENT).await.unwrap();
    world.upload(&output, b"more").await.unwrap();
    let broken = stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]);
    let broke = world.media.receive(&world.lease, Sha256::of(b""), 9, broken).await;
    assert_eq!(broke.unwrap_err().kind, media::Kind::BrokenOff);
    assert_eq!(sweep(&world.store, &world.media).await.unwrap(), 0, "the lease is open");
    assert_eq!(files(folder.path()).len(), 4);
    let lost = machine::take_back(world.task.clone(), &Policy::default(), 9, |_| true).unwrap();
    assert!(world.store.swap_task(&lost, &Settlement::default()).await.unwrap());
    assert_eq!(sweep(&world.store, &world.media).await.unwrap(), 1);
    let mut left = files(folder.path());
    left.sort();
    let mut wanted = [b"source" as &[u8], SEGMENT].map(|bytes| Sha256::of(bytes).to_string());
    wanted.sort();
    assert_eq!(left, wanted);
    assert!(!folder.path().join("_uploads").exists(), "no empty folders are left");
    // A killed program's half-written files are gone when it starts again; so are the folders of leases that were.
    let lease = folder.path().join("_uploads/s-0-transcode-ffffffff");
    std::fs::create_dir_all(&lease).unwrap();
    std::fs::write(lease.join("0a#1"), b"half").unwrap();
    std::fs::create_dir_all(folder.path().join("_uploads/s-0-transcode-eeeeeeee")).unwrap();
    let media = MediaStore::local(folder.path()).unwrap();
    assert_eq!(files(folder.path()).len(), 2);
    std::fs::create_dir_all(&lease).unwrap();
    assert_eq!(sweep(&world.store, &media).await.unwrap(), 1, "an empty folder, of an upload that broke off");
    assert_eq!(sweep(&world.store, &media).await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_accepted_stays_and_what_is_refused_goes() {
    for good in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let mut world = World::new(MediaStore::local(folder.path()).unwrap()).await;
        world.hand_in().await;
        assert_eq!(sweep(&world.store, &world.media).await.unwrap(), 0, "it is being checked");
        assert_eq!(world.is_published().await, [false; 2], "nobody is shown what is not accepted");
        let task = world.verifier(&world.media, good).check(world.task.clone(), 2).await.unwrap().unwrap();
        assert_eq!(matches!(task.state, State::Accepted { worker, .. } if worker == world.worker), good);
        assert_eq!(sweep(&world.store, &world.media).await.unwrap(), 1);
        assert_eq!(world.is_published().await, [good; 2]);
        assert!(!folder.path().join("_uploads").exists());
    }
}

#[tokio::test]
async fn a_kill_at_any_step_of_accepting_loses_nothing_and_leaves_nothing() {
    let mut outcomes = [0; 2];
    for steps in 0.. {
        let disk = Arc::new(InMemory::new());
        let mut world = World::new(MediaStore::over(disk.clone())).await;
        world.hand_in().await;
        let dying = MediaStore::over(Arc::new(Dying { inner: disk, left: AtomicI64::new(steps) }));
        let first = world.verifier(&dying, true).check(world.task.clone(), 2).await;
        let whole = first.is_ok();
        if !whole {
            // The next life may see it otherwise; if it was accepted, it is.
            assert_eq!(sweep(&world.store, &world.media).await.unwrap(), 0);
            assert!(world.verifier(&world.media, false).check(world.task.clone(), 3).await.unwrap().is_some());
        }
        let accepted = matches!(world.state().await, State::Accepted { .. });
        outcomes[usize::from(accepted)] += 1;
        assert!(accepted || !whole);
        assert_eq!(sweep(&world.store, &world.media).await.unwrap(), 1);
        assert!(world.media.leases_uploaded().await.unwrap().is_empty());
        assert_eq!(world.is_published().await, [accepted; 2], "after {steps} steps");
        if whole {
            break;
        }
    }
    assert!(outcomes.iter().all(|count| *count > 2), "{outcomes:?}");
}

#[tokio::test]
async fn what_is_accepted_behind_a_streams_end_goes_with_it() {
    let mut world = World::new(MediaStore::over(Arc::new(InMemory::new()))).await;
    world.hand_in().await;
    let task = world.task.clone();
    assert!(world.store.delete_stream(&task.stream).await.unwrap());
    world.media.delete_stream(&task.stream).await.unwrap();
    // As if a check that had begun before went on now.
    for blob in [INIT, SEGMENT].map(Blob::of) {
        world.media.promote(&world.lease, &task.stream, blob).await.unwrap();
    }
    assert_eq!(world.is_published().await, [true; 2]);
    assert_eq!(sweep(&world.store, &world.media).await.unwrap(), 1);
    assert_eq!(world.is_published().await, [false; 2]);
}
