//! A small orchestrator: the worker's protocol on a free port, its state in memory, death and return at will.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use millrace_proto::{
    Address, LeaseId, PROTOCOL_VERSION, api,
    identity::signer,
    outcome::Outcome,
    profile::{H264Profile, Preset, Rate, VideoCodec},
    task::{Blob, Input, Lease, Target, Transcode, Work},
    worker::{
        Challenge, ChallengeRequest, Finished, LEASE_HEADER, Poll, Polled, Renewed, SHA256_HEADER, Session,
        SessionRequest,
    },
};
use tokio::{net::TcpSocket, runtime::Runtime};

use crate::{PATIENCE, clip::Clip};

const LEASE_MS: u64 = 10_000;

/// What a lease's inputs are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inputs {
    Sound,
    OtherHash,
    TooLong,
    Missing,
    TooLarge,
    Garbage,
}

/// What was seen of workers.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    pub(crate) address: Option<Address>,
    pub(crate) sessions: u32,
    pub(crate) slots_free: u32,
    pub(crate) held: BTreeSet<LeaseId>,
    pub(crate) fetches: Vec<LeaseId>,
    pub(crate) tokens: u32,
    pub(crate) outputs: BTreeMap<(LeaseId, String), Vec<u8>>,
    pub(crate) outcomes: BTreeMap<LeaseId, Outcome>,
}

#[derive(Default)]
struct Mind {
    seen: Seen,
    instance: String,
    session: Option<String>,
    ready: VecDeque<Lease>,
    given: BTreeMap<LeaseId, Lease>,
    inputs: BTreeMap<(LeaseId, String), Vec<u8>>,
    leases: u32,
    hold_inputs: bool,
    refuse: bool,
}

struct Shared {
    clip: Clip,
    mind: Mutex<Mind>,
    changed: Condvar,
}

type Home = State<Arc<Shared>>;
type Answer<T> = Result<Json<T>, Refusal>;

pub(crate) struct House {
    shared: Arc<Shared>,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl House {
    pub(crate) fn start(clip: &Clip) -> Self {
        let shared = Arc::new(Shared { clip: clip.clone(), mind: Mutex::default(), changed: Condvar::new() });
        let address = "127.0.0.1:0".parse().unwrap();
        let mut house = Self { shared, address, runtime: None };
        house.rise();
        house
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Listens again, on the port it had.
    pub(crate) fn rise(&mut self) {
        let runtime = Runtime::new().unwrap();
        let shared = Arc::clone(&self.shared);
        let listener = runtime.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.bind(self.address).unwrap();
            socket.listen(64).unwrap()
        });
        self.address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, routes(shared)).await });
        self.runtime = Some(runtime);
    }

    /// Every connection breaks, and all sessions are forgotten.
    pub(crate) fn die(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
        self.shared.change(|mind| mind.session = None);
    }

    /// Refuses every challenge.
    pub(crate) fn refuse(&self, refuse: bool) {
        self.shared.change(|mind| mind.refuse = refuse);
    }

    /// Keeps whoever asks for an input waiting.
    pub(crate) fn hold_inputs(&self, hold: bool) {
        self.shared.change(|mind| mind.hold_inputs = hold);
    }

    /// Makes a lease for the next poll with a free slot.
    pub(crate) fn give(&self, inputs: Inputs) -> LeaseId {
        self.give_from(inputs, "")
    }

    /// The same, its inputs at another address.
    pub(crate) fn give_from(&self, inputs: Inputs, storage: &str) -> LeaseId {
        let clip = self.shared.clip.clone();
        let mut served = [clip.init, clip.segment];
        if inputs == Inputs::Garbage {
            served[1] = vec![7; 10_000];
        }
        let mut blobs = [Blob::of(&served[0]), Blob::of(&served[1])];
        match inputs {
            Inputs::Sound | Inputs::Garbage | Inputs::Missing => {}
            Inputs::OtherHash => served[1][100] ^= 1,
            Inputs::TooLong => served[1].push(0),
            Inputs::TooLarge => blobs[1].bytes = 1 << 40,
        }
        self.shared.change(|mind| {
            mind.leases += 1;
            let id: LeaseId = format!("l-{}", mind.leases).parse().unwrap();
            let names = ["init", "segment"];
            for (name, bytes) in names.iter().zip(served) {
                if inputs != Inputs::Missing {
                    mind.inputs.insert((id.clone(), (*name).to_owned()), bytes);
                }
            }
            let path = if storage.is_empty() { format!("/in/{id}") } else { format!("{storage}/storage") };
            let input = |(name, blob): (&str, Blob)| Input { name: name.into(), url: format!("{path}/{name}"), blob };
            mind.ready.push_back(Lease {
                token: format!("token-{id}"),
                task: format!("t-{}", mind.leases).parse().unwrap(),
                lease_ms: LEASE_MS,
                work_ms_max: 60_000,
                media_ms: 2_000,
                due_ms: None,
                work: Work::Transcode(Transcode { renditions: vec![target(180), target(90)] }),
                inputs: names.into_iter().zip(blobs).map(input).collect(),
                output_url: format!("/out/{id}/{{output}}"),
                id: id.clone(),
            });
            id
        })
    }

    /// Waits until something was seen.
    pub(crate) fn wait<T>(&self, look: impl Fn(&Seen) -> Option<T>) -> T {
        let begun = Instant::now();
        let mut mind = self.shared.mind.lock().unwrap();
        loop {
            if let Some(found) = look(&mind.seen) {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "it was not seen: {:?}", mind.seen);
            mind = self.shared.changed.wait_timeout(mind, Duration::from_millis(200)).unwrap().0;
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.die();
    }
}

impl Shared {
    fn change<T>(&self, act: impl FnOnce(&mut Mind) -> T) -> T {
        let answer = act(&mut self.mind.lock().unwrap());
        self.changed.notify_all();
        answer
    }
}

fn target(height: u32) -> Target {
    Target {
        name: format!("{height}p"),
        width: height * 16 / 9,
        height,
        codec: VideoCodec::H264,
        rate: Rate::Capped { crf: 30, bitrate_bps_max: 500_000 },
        preset: Preset::Ultrafast,
        profile: H264Profile::High,
        fps_divisor: 1,
    }
}

fn routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/worker/challenge", post(challenge))
        .route("/v1/worker/session", post(session))
        .route("/v1/worker/poll", post(poll))
        .route("/v1/worker/leases/{id}/renew", post(renew))
        .route("/v1/worker/leases/{id}/finish", post(finish))
        .route("/in/{id}/{name}", get(input))
        .route("/storage/{name}", get(storage))
        .route("/out/{id}/{name}", put(output))
        .with_state(shared)
}

/// A refusal: status, code and hint.
struct Refusal(StatusCode, &'static str, &'static str);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, code, hint) = self;
        (status, Json(api::Error { code: code.into(), message: "no".into(), hint: hint.into() })).into_response()
    }
}

async fn challenge(State(shared): Home, Json(request): Json<ChallengeRequest>) -> Answer<Challenge> {
    assert_eq!(request.protocol, PROTOCOL_VERSION);
    if shared.change(|mind| mind.refuse) {
        return Err(Refusal(StatusCode::BAD_REQUEST, "wrong_protocol", "install the worker of the server's version"));
    }
    Ok(Json(Challenge { text: format!("worker {} opens a session, nonce 1", request.address) }))
}

async fn session(State(shared): Home, Json(request): Json<SessionRequest>) -> Answer<Session> {
    assert_eq!(signer(&request.challenge, &request.signature), Ok(request.address));
    assert!(request.offer.encodes(VideoCodec::H264) && request.offer.slots == 1, "{:?}", request.offer);
    Ok(Json(shared.change(|mind| {
        mind.seen.address = Some(request.address);
        mind.seen.sessions += 1;
        let token = format!("session-{}", mind.seen.sessions);
        mind.session = Some(token.clone());
        Session { token }
    })))
}

/// Checks the session's token and, for a lease, the lease's.
fn admit(shared: &Shared, headers: &HeaderMap, lease: Option<&LeaseId>) -> Result<(), Refusal> {
    shared.change(|mind| {
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if mind.session.is_none() || bearer != mind.session.as_ref().map(|token| format!("Bearer {token}")).as_deref() {
            return Err(Refusal(StatusCode::UNAUTHORIZED, "no_session", "open a new one"));
        }
        mind.seen.tokens += 1;
        let Some(lease) = lease else { return Ok(()) };
        let token = headers.get(LEASE_HEADER).and_then(|value| value.to_str().ok());
        let held = mind.given.get(lease).map(|lease| lease.token.as_str());
        if held.is_some() && held == token { Ok(()) } else { Err(Refusal(StatusCode::GONE, "lease_gone", "forget it")) }
    })
}

async fn poll(State(shared): Home, headers: HeaderMap, Json(poll): Json<Poll>) -> Answer<Polled> {
    admit(&shared, &headers, None)?;
    let end = Instant::now() + Duration::from_millis(poll.wait_ms);
    shared.change(|mind| {
        mind.seen.slots_free = poll.slots_free;
        mind.seen.held.extend(poll.held.iter().cloned());
        if mind.instance != poll.instance {
            mind.instance.clone_from(&poll.instance);
            let lost = std::mem::take(&mut mind.given);
            mind.ready.extend(lost.into_values().filter(|lease| !poll.held.contains(&lease.id)));
        }
    });
    loop {
        let leases = shared.change(|mind| {
            let count = mind.ready.len().min(poll.slots_free as usize);
            let leases: Vec<Lease> = mind.ready.drain(..count).collect();
            mind.given.extend(leases.iter().map(|lease| (lease.id.clone(), lease.clone())));
            leases
        });
        if !leases.is_empty() || Instant::now() >= end {
            return Ok(Json(Polled { leases, revoked: vec![] }));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn renew(State(shared): Home, headers: HeaderMap, Path(id): Path<LeaseId>) -> Answer<Renewed> {
    admit(&shared, &headers, Some(&id))?;
    Ok(Json(Renewed { lease_ms: LEASE_MS }))
}

async fn finish(
    State(shared): Home,
    headers: HeaderMap,
    Path(id): Path<LeaseId>,
    Json(outcome): Json<Outcome>,
) -> Answer<Finished> {
    admit(&shared, &headers, Some(&id))?;
    shared.change(|mind| mind.seen.outcomes.insert(id, outcome));
    Ok(Json(Finished { taken: true }))
}

async fn input(
    State(shared): Home,
    headers: HeaderMap,
    Path((id, name)): Path<(LeaseId, String)>,
) -> Result<Vec<u8>, Refusal> {
    admit(&shared, &headers, Some(&id))?;
    let bytes = shared.change(|mind| {
        mind.seen.fetches.push(id.clone());
        mind.inputs.get(&(id, name)).cloned()
    });
    while shared.change(|mind| mind.hold_inputs) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bytes.ok_or(Refusal(StatusCode::NOT_FOUND, "unknown_input", "use the lease's own URLs"))
}

/// Somebody else's storage: no tokens are wanted here.
async fn storage(State(shared): Home, headers: HeaderMap, Path(name): Path<String>) -> Response {
    shared.change(|mind| {
        mind.seen.fetches.push("l-0".parse().unwrap());
        let tokens = headers.contains_key(header::AUTHORIZATION) || headers.contains_key(LEASE_HEADER);
        mind.seen.tokens += u32::from(tokens);
    });
    let clip = &shared.clip;
    if name == "init" { clip.init.clone() } else { clip.segment.clone() }.into_response()
}

async fn output(
    State(shared): Home,
    headers: HeaderMap,
    Path((id, name)): Path<(LeaseId, String)>,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    admit(&shared, &headers, Some(&id))?;
    assert_eq!(headers[SHA256_HEADER], Blob::of(&body).sha256.to_string());
    assert_eq!(headers[header::CONTENT_LENGTH], body.len().to_string());
    shared.change(|mind| mind.seen.outputs.insert((id, name), body.to_vec()));
    Ok(StatusCode::NO_CONTENT)
}
