//! Wiring: builds the house from a configuration, opens its doors, runs until told to stop.

mod doors;

use std::{
    fs,
    io::Write,
    net::SocketAddr,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use millrace_media::{Launcher, Limits, Mode};
use millrace_models::default_root;
use millrace_proto::{StreamId, offer::Lack};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    assets::clips,
    clock::now_ms,
    config::Config,
    farm::{Farm, sessions::Sessions},
    house::{Busy, House},
    http,
    ingest::{event::Publish, fetch::Fetcher, live, pull::Pulls, push::Pushes},
    loops,
    media::MediaStore,
    metrics::Metrics,
    playback::Secret,
    portraits::Portraits,
    store::{Store, sqlite::SqliteStore},
    uploads::Uploads,
    verify::{Verifier, child::Child},
};
use doors::{At, Counters, Doors};

/// The first start of the media child may have to read it from a slow disk, in milliseconds.
const SANDBOX_MS_MAX: u64 = 60_000;
/// Publishers that may wait for an answer at once.
const PUBLISHERS_WAITING_MAX: usize = 64;

/// Runs an orchestrator until `stop`.
pub async fn serve(config: Config, stop: CancellationToken) -> Result<()> {
    config.check()?;
    raise_files_max();
    let data = config.data.clone();
    for folder in ["", "uploads"] {
        fs::create_dir_all(data.join(folder)).with_context(|| format!("can't make {}", data.display()))?;
    }
    let _lock = lock(&data)?;
    // Nothing in it outlives the program that made it.
    let scratch = data.join("scratch");
    if scratch.exists() {
        fs::remove_dir_all(&scratch).context("can't empty the scratch folder")?;
    }
    fs::create_dir_all(&scratch)?;
    let admin_key = secret(&data.join("admin.key"))?;
    let playback = Secret::new(secret(&data.join("playback.key"))?);
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&data.join("millrace.db")).await?);
    let media = MediaStore::local(&data.join("media"))?;
    let launcher = launcher(&config).await?;
    let http_listener = listen("HTTP", config.http).await?;
    let doors = Doors::open(&config).await?;
    let (http_at, at) = (http_listener.local_addr()?, doors.at()?);
    let metrics = Metrics::default();
    let fetcher = Fetcher::new(&config.ingest.fetch, metrics.fetched_bytes.clone(), metrics.fetch_failures.clone())
        .context("can't prepare for fetching")?;
    let (publish, listings) = mpsc::unbounded_channel();
    let house = Arc::new(House {
        http_url: url(&config.public_http_url, || format!("http://{http_at}")),
        rtmp_url: url(&config.public_rtmp_url, || format!("rtmp://{}/live", at.rtmp)),
        rtmp_at: at.rtmp,
        srt: at.srt.map(|at| (at, url(&config.public_srt_url, || format!("srt://{at}")))),
        admin_key,
        playback,
        portraits: Portraits::new(launcher.clone(), &models(&config)),
        farm: Farm::new(store.clone(), config.tasks),
        uploads: Uploads::default(),
        sessions: Sessions::default(),
        verifier: Verifier {
            store: store.clone(),
            media: media.clone(),
            eyes: Arc::new(Child { media: media.clone(), launcher: launcher.clone(), scratch }),
            policy: config.tasks,
        },
        publishing: Busy::default(),
        pushes: Pushes::default(),
        pulls: Pulls::new(fetcher),
        reading: Busy::default(),
        uploading: Busy::default(),
        clips: Notify::new(),
        file_complete: Notify::new(),
        picturing: Busy::default(),
        asset_places: Semaphore::new(config.assets.jobs_max),
        mux_places: Semaphore::new(config.ingest.push_mux_max),
        seals: http::sealed::Seals::new(config.api.seals_max, config.api.seal_bytes_max),
        files: Arc::new(Semaphore::new(config.ingest.files_max)),
        metrics,
        publish,
        store,
        media,
        launcher,
        config,
    });
    live::recover(&house.store, &house.publishing, &house.config.ingest, now_ms()).await?;
    let (publishers, requests) = mpsc::channel(PUBLISHERS_WAITING_MAX);
    let counters = Counters::default();
    let background = background(&house, listings, counters.clone(), requests);
    let publishing = tokio::spawn(doors.take(house.clone(), counters, publishers, stop.clone()));
    write_run_file(&data.join("run.json"), http_at, at)?;
    tracing::info!(http = %http_at, ?at, data = %data.display(), "listening");
    let serving = stop.clone();
    let connections = house.config.api.connections.clone();
    let server =
        http::server::serve(http_listener, http::router(house.clone()), connections, house.metrics.clone(), serving);
    tokio::select! {
        () = server => {}
        // Long polls and slow uploads end with the program: whoever sent them sends again.
        () = async { stop.cancelled().await; tokio::time::sleep(std::time::Duration::from_secs(2)).await } => {}
    }
    // Publishers' last pictures are committed before the end.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(3), publishing).await;
    house.pulls.stop_all();
    house.pushes.stop();
    settle_publishers(&house).await;
    for task in background {
        task.abort();
    }
    let _ = fs::remove_file(data.join("run.json"));
    Ok(())
}

/// Starts the loops.
fn background(
    house: &Arc<House>,
    listings: mpsc::UnboundedReceiver<StreamId>,
    counters: Counters,
    requests: mpsc::Receiver<Publish>,
) -> Vec<JoinHandle<()>> {
    vec![
        tokio::spawn(loops::assign(house.clone())),
        tokio::spawn(loops::windows(house.clone())),
        tokio::spawn(loops::expire(house.clone())),
        tokio::spawn(loops::check(house.clone())),
        tokio::spawn(loops::publish(house.clone(), listings)),
        tokio::spawn(loops::grace(house.clone())),
        tokio::spawn(loops::files(house.clone())),
        tokio::spawn(loops::pushes(house.clone())),
        tokio::spawn(loops::pulls(house.clone())),
        tokio::spawn(loops::heard(house.clone())),
        tokio::spawn(loops::sweep(house.clone())),
        tokio::spawn(loops::uploads(house.clone())),
        tokio::spawn(loops::pictures(house.clone())),
        tokio::spawn(loops::events(house.clone())),
        tokio::spawn(clips::run(house.clone())),
        tokio::spawn(loops::ingest_counters(house.clone(), counters.rtmp, counters.srt)),
        tokio::spawn(live::desk(house.clone(), requests)),
    ]
}

/// Waits, but not for long, until the last segments of those who pushed are durable.
async fn settle_publishers(house: &House) {
    for _ in 0..50 {
        if !house.publishing.any() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// Connections and files take a descriptor each, and most systems start programs with 1,024 of them.
fn raise_files_max() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most).map(|()| most));
    match raised {
        Ok(files_max) => tracing::debug!(files_max, "descriptors"),
        Err(error) => tracing::warn!("can't raise the limit of open files: {error}"),
    }
}

async fn listen(what: &str, at: std::net::SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(at).await.with_context(|| {
        format!(
            "can't listen for {what} at {at}: stop what uses the port, or choose another with --{}",
            what.to_lowercase()
        )
    })
}

fn url(configured: &str, own: impl FnOnce() -> String) -> String {
    if configured.is_empty() { own() } else { configured.trim_end_matches('/').to_owned() }
}

/// Where models lie: the same folder as a worker of the same user has.
fn models(config: &Config) -> std::path::PathBuf {
    let variable = |name| std::env::var_os(name).map(std::path::PathBuf::from);
    let own = || default_root(variable("XDG_CACHE_HOME"), variable("HOME")).unwrap_or_else(|| "models".into());
    if config.models.as_os_str().is_empty() { own() } else { config.models.clone() }
}

fn media_child(config: &Config) -> Result<std::path::PathBuf> {
    let path = if config.media.as_os_str().is_empty() {
        std::env::current_exe()?.with_file_name("millrace-media")
    } else {
        config.media.clone()
    };
    if !path.is_file() {
        bail!(
            "the media child is not at {}: build it (package millrace-media-child) or say where with --media",
            path.display()
        );
    }
    Ok(path)
}

/// What starts media children; says what holds of the sandbox that strangers' media is decoded in.
async fn launcher(config: &Config) -> Result<Launcher> {
    let launcher = Launcher::new(media_child(config)?).with_sandbox(config.sandbox);
    let mode = config.sandbox;
    let limits = Limits { wall_ms_max: SANDBOX_MS_MAX, ..Limits::default() };
    let told = launcher.sandbox(&limits).await.context("can't find out what the sandbox of the media child does")?;
    for Lack { part, reason } in &told.absent {
        tracing::warn!(part = part.as_str(), reason, "a part of the sandbox does not hold: see docs/sandbox.md");
    }
    if mode == Mode::Required && !told.is_whole() {
        bail!(
            "the sandbox is required and does not hold as a whole here: see docs/sandbox.md, or set sandbox = \"best_effort\""
        );
    }
    let holds: Vec<_> = told.holds.iter().map(|part| part.as_str()).collect();
    tracing::info!(
        holds = holds.join(","),
        whole = told.is_whole(),
        mode = mode.as_str(),
        "media is decoded in a sandbox"
    );
    Ok(launcher)
}

/// Two programs on one folder would both write it.
fn lock(data: &Path) -> Result<fs::File> {
    let path = data.join("lock");
    let file = fs::OpenOptions::new().create(true).write(true).truncate(false).open(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            bail!("another orchestrator runs on {}: stop it, or choose another folder with --data", data.display())
        }
        Err(fs::TryLockError::Error(error)) => Err(error).with_context(|| format!("can't lock {}", path.display())),
    }
}

/// Reads a secret, the administrator's key or that of playback; makes it at the first start.
fn secret(path: &Path) -> Result<String> {
    if !path.exists() {
        let key = hex::encode(rand::random::<[u8; 24]>());
        // Written beside and renamed: a kill in between leaves no half a key.
        let fresh = path.with_extension("key.new");
        let _ = fs::remove_file(&fresh);
        let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&fresh)?;
        writeln!(file, "{key}")?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
    }
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!("others can read {}: run 'chmod 600 {}'", path.display(), path.display());
    }
    let key = fs::read_to_string(path)?.trim().to_owned();
    if key.len() < 16 {
        bail!("the key in {} is shorter than 16 characters: delete the file to have a new one made", path.display());
    }
    Ok(key)
}

/// Tells scripts where the program listens.
fn write_run_file(path: &Path, http: SocketAddr, doors: At) -> Result<()> {
    let mut told = serde_json::json!({ "pid": std::process::id(), "http": http, "rtmp": doors.rtmp });
    let others = [("rtmps", doors.rtmps), ("srt", doors.srt)];
    for (name, at) in others.into_iter().filter_map(|(name, at)| Some((name, at?))) {
        told[name] = serde_json::json!(at);
    }
    let fresh = path.with_extension("json.new");
    fs::write(&fresh, told.to_string())?;
    Ok(fs::rename(&fresh, path)?)
}
