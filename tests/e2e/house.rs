//! A whole Millrace of a test's own: orchestrator and workers, in a temporary folder, on free ports of the loopback.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use nix::{sys::signal::Signal, unistd::geteuid};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    api::Api,
    program::Program,
    wait::{s, until},
};

/// What of a log is shown when a test fails.
const LINES_SHOWN: usize = 60;

/// Orchestrator and workers. All of it is killed when this is dropped; a failing test shows what they wrote.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) api: Api,
    /// Host and port of the HTTP server.
    pub(crate) http: String,
    /// Host and port of the RTMP server.
    pub(crate) rtmp: String,
    orchestrator: Option<Program>,
    workers: Vec<Program>,
    disk_bytes: Option<u64>,
    /// What the orchestrator logs, if not what it does by itself.
    log_filter: Option<&'static str>,
    dir: TempDir,
}

/// A program of this workspace, where deploy/test built it.
pub(crate) fn built(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let dir = env::var_os("MILLRACE_BIN_DIR").map_or_else(|| root.join("target/debug"), PathBuf::from);
    let path = dir.join(name);
    assert!(path.is_file(), "{} is not built: run deploy/test, or cargo build --workspace", path.display());
    path
}

/// Where deploy/test fetches models to.
pub(crate) fn model_folder() -> PathBuf {
    let variable = |name| env::var_os(name).map(PathBuf::from);
    let cache = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    let all = variable("MILLRACE_TEST_MODELS").or_else(|| Some(cache?.join("millrace/models")));
    all.expect("HOME is set")
}

impl House {
    /// An orchestrator and `workers` workers, all of them online.
    #[track_caller]
    pub(crate) fn with_workers(workers: usize) -> Self {
        Self::configured(workers, "")
    }

    /// The same, with what `config` sets, in TOML.
    #[track_caller]
    pub(crate) fn configured(workers: usize, config: &str) -> Self {
        let mut house = Self::start(None, config);
        for _ in 0..workers {
            house.add_worker(&format!("http://{}", house.http));
        }
        house.until_online(workers);
        house
    }

    /// An orchestrator whose data is on a disk of its own with this many bytes, with what `config` sets.
    #[track_caller]
    pub(crate) fn on_small_disk(disk_bytes: u64, config: &str) -> Self {
        Self::start(Some(disk_bytes), config)
    }

    #[track_caller]
    fn start(disk_bytes: Option<u64>, config: &str) -> Self {
        let dir = TempDir::new().expect("a temporary folder can be made");
        fs::write(dir.path().join("orchestrator.toml"), config).expect("a file can be written");
        fs::create_dir(dir.path().join("data")).expect("a folder can be made");
        let mut house = Self {
            api: Api::new("", ""),
            http: "127.0.0.1:0".into(),
            rtmp: "127.0.0.1:0".into(),
            orchestrator: None,
            workers: Vec::new(),
            disk_bytes,
            log_filter: None,
            dir,
        };
        house.start_orchestrator();
        house
    }

    /// Starts the orchestrator, at the addresses that it had before if it ran before.
    #[track_caller]
    pub(crate) fn start_orchestrator(&mut self) {
        let data = self.dir.path().join("data");
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../orchestrator/web/dist");
        assert!(page.join("index.html").is_file(), "the page is not built: run deploy/test");
        let mut serve = vec![built("millrace").into_os_string(), "serve".into()];
        serve.extend(["--config".into(), self.dir.path().join("orchestrator.toml").into()]);
        serve.extend(["--data".into(), data.clone().into(), "--web".into(), page.into()]);
        serve.extend(["--http".into(), self.http.clone().into(), "--rtmp".into(), self.rtmp.clone().into()]);
        let _ = fs::remove_file(data.join("run.json"));
        let mut command = match self.disk_bytes {
            None => {
                let mut command = Command::new(&serve[0]);
                command.args(&serve[1..]);
                command
            }
            Some(bytes) => {
                // A mount that this one program sees; it goes when the program ends.
                let mount = format!("mount -t tmpfs -o size={bytes} tmpfs \"$0\" && exec \"$@\"");
                let mut command = Command::new("unshare");
                // Root may mount as it is; others are root in a user namespace of their own.
                let user: &[&str] = if geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
                command.args(user).args(["--mount", "sh", "-c", &mount]).arg(&data).args(&serve);
                command
            }
        };
        if let Some(filter) = self.log_filter {
            command.env("MILLRACE_LOG", filter);
        }
        let mut program = Program::start("orchestrator", &mut command, self.log_path("orchestrator"));
        let seen = self.data_of(&program);
        let run: Value = until("the orchestrator to listen", s(30), || {
            assert!(program.ended().is_none(), "the orchestrator ended as it started:\n{}", program.log());
            let run = fs::read(seen.join("run.json")).ok()?;
            serde_json::from_slice(&run).ok().filter(|run: &Value| run["pid"] == program.pid())
        });
        run["http"].as_str().expect("run.json has http").clone_into(&mut self.http);
        run["rtmp"].as_str().expect("run.json has rtmp").clone_into(&mut self.rtmp);
        let key = fs::read_to_string(seen.join("admin.key")).expect("the key is made before run.json");
        self.api = Api::new(&self.http, key.trim());
        self.orchestrator = Some(program);
        until("the orchestrator to be ready", s(30), || {
            self.api.send("GET", "/readyz", &[], None).ok().filter(|answer| answer.status == 200)
        });
    }

    /// Where the data folder is for us: a disk of the orchestrator's own is seen through its process.
    fn data_of(&self, program: &Program) -> PathBuf {
        let data = self.dir.path().join("data");
        match self.disk_bytes {
            None => data,
            Some(_) => PathBuf::from(format!("/proc/{}/root{}", program.pid(), data.display())),
        }
    }

    /// The orchestrator's data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.data_of(self.orchestrator())
    }

    /// A folder for what the test makes.
    pub(crate) fn scratch(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn log_path(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.log"))
    }

    fn orchestrator(&self) -> &Program {
        self.orchestrator.as_ref().expect("the orchestrator was started")
    }

    /// What the orchestrator has written so far.
    pub(crate) fn log(&self) -> String {
        self.orchestrator().log()
    }

    /// Starts the orchestrator again, with everything in its log that any part of it has to say.
    #[track_caller]
    pub(crate) fn log_everything(&mut self) {
        self.stop_orchestrator();
        self.log_filter = Some("trace");
        self.start_orchestrator();
    }

    /// Memory that the orchestrator has in use, in bytes: `VmRSS` of proc(5).
    pub(crate) fn memory_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.orchestrator().pid())).unwrap_or_default();
        let told = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
        told.and_then(|kib| kib.trim().parse::<u64>().ok()).expect("a running program has memory") << 10
    }

    /// Fails the test if the orchestrator has ended by itself.
    #[track_caller]
    pub(crate) fn assert_up(&mut self) {
        let ended = self.orchestrator.as_mut().and_then(Program::ended);
        assert!(ended.is_none(), "the orchestrator ended by itself: {ended:?}");
    }

    /// `kill -9` of the orchestrator.
    pub(crate) fn kill_orchestrator(&mut self) {
        self.orchestrator.as_mut().expect("the orchestrator was started").kill();
    }

    /// Asks the orchestrator to stop, as `deploy/down` does.
    pub(crate) fn stop_orchestrator(&mut self) {
        let program = self.orchestrator.as_mut().expect("the orchestrator was started");
        program.signal(Signal::SIGTERM);
        let status = program.wait(s(20));
        assert!(status.success(), "the orchestrator stopped with {status}");
    }

    /// Starts one more worker; `url` is the orchestrator's, or that of something before it.
    pub(crate) fn add_worker(&mut self, url: &str) {
        let worker = self.spawn_worker(self.workers.len(), url, &built("millrace-media"));
        self.workers.push(worker);
    }

    /// The same, with another media child.
    pub(crate) fn add_worker_with(&mut self, media: &Path) {
        let worker = self.spawn_worker(self.workers.len(), &format!("http://{}", self.http), media);
        self.workers.push(worker);
    }

    /// Starts one more worker, which has these models.
    pub(crate) fn add_hearing_worker(&mut self, models: &[&str]) {
        let (all, own) = (model_folder(), self.dir.path().join("models"));
        fs::create_dir_all(&own).expect("a folder can be made");
        for model in models.iter().chain(&["onnxruntime", "silero-vad"]) {
            let model_path = all.join(model);
            assert!(model_path.is_dir(), "{} is not there: run deploy/test, which fetches it", model_path.display());
            // Another one may have it as well.
            if !own.join(model).exists() {
                symlink(model_path, own.join(model)).expect("a link can be made");
            }
        }
        // Threads that hear spin: beside other tests more than one would take the time of both.
        let at = self.workers.len();
        let url = format!("http://{}", self.http);
        let worker = self.spawn(at, &url, &built("millrace-media"), &["--slots", "2", "--threads", "1"], &own);
        self.workers.push(worker);
    }

    /// `kill -9` of a worker, and starts it again with the same key.
    pub(crate) fn replace_worker(&mut self, at: usize) {
        self.workers[at].kill();
        self.workers[at] = self.spawn_worker(at, &format!("http://{}", self.http), &built("millrace-media"));
    }

    fn spawn_worker(&self, at: usize, url: &str, media: &Path) -> Program {
        // Two cores and more than one worker: each does one thing at a time. Models take seconds to be tried at each
        // start, and most streams ask for none.
        self.spawn(at, url, media, &["--slots", "1", "--threads", "1"], &self.dir.path().join("no-models"))
    }

    fn spawn(&self, at: usize, url: &str, media: &Path, share: &[&str], models: &Path) -> Program {
        let name = format!("worker-{at}");
        let mut command = Command::new(built("millrace-worker"));
        command.args(["join", url, "--key-file"]).arg(self.dir.path().join(format!("{name}.key")));
        command.args(share).arg("--media").arg(media).arg("--models").arg(models);
        Program::start(&name, &mut command, self.log_path(&name))
    }

    pub(crate) fn worker(&mut self, at: usize) -> &mut Program {
        &mut self.workers[at]
    }

    /// Waits until `count` workers are online.
    #[track_caller]
    pub(crate) fn until_online(&mut self, count: usize) {
        until(&format!("{count} workers online"), s(60), || {
            for worker in &mut self.workers {
                assert!(worker.ended().is_none(), "{} ended as it started:\n{}", worker.name, worker.log());
            }
            (self.api.workers().iter().filter(|worker| worker.online).count() >= count).then_some(())
        });
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        let programs = self.orchestrator.iter().chain(&self.workers);
        for program in programs {
            let log = program.log();
            let lines: Vec<_> = log.lines().collect();
            let shown = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n");
            println!("--- {} (the last {LINES_SHOWN} of {} lines)\n{shown}", program.name, lines.len());
        }
    }
}
