//! A Millrace of a measurement's own: orchestrator and workers as they are shipped, in a scratch folder, on free ports
//! of the loopback. What is measured of them is the callers' business.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use millrace_proto::api::Stream;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::kit::Kit;

/// A program that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    pub(crate) fn start(name: &str, command: &mut Command, log: PathBuf) -> Result<Self> {
        let out = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = command.spawn().with_context(|| format!("{name} can't be started: benches/run installs it"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until `there` has something.
    pub(crate) fn until<T>(
        &mut self,
        what: &str,
        limit_s: u64,
        mut there: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let deadline = Instant::now() + Duration::from_secs(limit_s);
        loop {
            if let Some(found) = there()? {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended, {status}, before {what}:\n{}", self.name, tail(&self.log()));
            }
            ensure!(Instant::now() < deadline, "{what} took more than {limit_s} s:\n{}", tail(&self.log()));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGTERM, and its end.
    pub(crate) fn stop(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            kill(Pid::from_raw(self.pid() as i32), Signal::SIGTERM)?;
            self.child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// What a [`House`] is made of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan<'a> {
    /// In TOML.
    pub(crate) config: &'a str,
    /// What the orchestrator logs.
    pub(crate) log: &'a str,
    /// Arguments of each worker.
    pub(crate) workers: &'a [&'a [&'a str]],
    /// What each worker finds of this machine's models, beside those that others need; none if none are named.
    pub(crate) models: &'a [&'a str],
}

/// Orchestrator and workers, killed when this is dropped.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) workers: Vec<Program>,
    pub(crate) orchestrator: Program,
    /// Host and port.
    pub(crate) http: String,
    /// Host and port.
    pub(crate) rtmp: String,
    pub(crate) folder: PathBuf,
    key: String,
    agent: ureq::Agent,
}

impl House {
    pub(crate) fn start(kit: &Kit, name: &str, plan: &Plan) -> Result<Self> {
        let folder = kit.folder(name)?;
        let (data, config) = (folder.join("data"), folder.join("orchestrator.toml"));
        fs::write(&config, plan.config)?;
        let mut command = Command::new(kit.program("millrace")?);
        command.arg("serve").arg("--config").arg(&config).arg("--data").arg(&data);
        command.args(["--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0"]);
        command.env("MILLRACE_LOG_FORMAT", "json").env("MILLRACE_LOG", plan.log);
        let mut orchestrator = Program::start("millrace", &mut command, folder.join("orchestrator.log"))?;
        let run: Value = orchestrator.until("it listens", 30, || {
            let text = fs::read(data.join("run.json")).ok();
            Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
        })?;
        let address = |name: &str| run[name].as_str().map(str::to_owned).context("run.json has addresses");
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_mins(10))).build();
        let mut house = Self {
            workers: Vec::new(),
            http: address("http")?,
            rtmp: address("rtmp")?,
            key: fs::read_to_string(data.join("admin.key"))?.trim().to_owned(),
            orchestrator,
            folder,
            agent: config.into(),
        };
        house.shelve(kit, plan.models)?;
        for (at, arguments) in plan.workers.iter().enumerate() {
            house.join(kit, &format!("worker-{at}"), arguments)?;
        }
        Ok(house)
    }

    /// The models that workers are to find.
    fn shelve(&self, kit: &Kit, models: &[&str]) -> Result<()> {
        let shelf = self.folder.join("models");
        fs::create_dir_all(&shelf)?;
        if models.is_empty() {
            return Ok(());
        }
        for id in models.iter().chain(&["onnxruntime", "silero-vad"]) {
            symlink(kit.models().join(id), shelf.join(id))?;
        }
        Ok(())
    }

    /// Starts a worker and waits until it is there.
    pub(crate) fn join(&mut self, kit: &Kit, name: &str, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(kit.program("millrace-worker")?);
        command.args(["join", &format!("http://{}", self.http)]).args(arguments);
        command.arg("--key-file").arg(self.folder.join(format!("{name}.key")));
        command.arg("--scratch").arg(&self.folder);
        command.arg("--models").arg(self.folder.join("models"));
        let mut worker = Program::start(name, &mut command, self.folder.join(format!("{name}.log")))?;
        let before = self.online()?;
        worker.until("it is online", 180, || Ok((self.online()? > before).then_some(())))?;
        self.workers.push(worker);
        Ok(())
    }

    fn online(&self) -> Result<usize> {
        let workers = self.call("GET", "/v1/workers", None)?;
        let workers = workers.as_array().cloned().or_else(|| workers["items"].as_array().cloned()).unwrap_or_default();
        Ok(workers.iter().filter(|worker| worker["online"] == true).count())
    }

    /// Calls the API with the administrator's key.
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let request = ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", self.http));
        let request = request.header("authorization", format!("Bearer {}", self.key));
        let answer = match body {
            Some(body) => self.agent.run(request.header("content-type", "application/json").body(body.to_string())?)?,
            None => self.agent.run(request.body(())?)?,
        };
        Ok(serde_json::from_reader(answer.into_body().into_reader())?)
    }

    /// GET as players do.
    pub(crate) fn bytes(&self, path: &str) -> Result<Vec<u8>> {
        Ok(self.agent.get(format!("http://{}{path}", self.http)).call()?.into_body().read_to_vec()?)
    }

    /// As [`House::bytes`].
    pub(crate) fn text(&self, path: &str) -> Result<String> {
        Ok(String::from_utf8(self.bytes(path)?)?)
    }

    pub(crate) fn create(&self, source: &str, profile: &Value) -> Result<Stream> {
        let ask = json!({"name": "measured", "source": source, "profile": profile});
        Ok(serde_json::from_value(self.call("POST", "/v1/streams", Some(&ask))?)?)
    }

    pub(crate) fn stream(&self, id: &str) -> Result<Stream> {
        Ok(serde_json::from_value(self.call("GET", &format!("/v1/streams/{id}"), None)?)?)
    }

    pub(crate) fn upload(&self, id: &str, file: &Path) -> Result<()> {
        let url = format!("http://{}/v1/streams/{id}/source", self.http);
        let request = self.agent.put(url).header("authorization", format!("Bearer {}", self.key));
        request.send(File::open(file)?).context("the upload")?;
        Ok(())
    }
}
