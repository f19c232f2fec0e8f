//! What every measurement needs: the release programs, clips, tools of others, a scratch folder.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

/// What every measurement needs.
#[derive(Debug)]
pub(crate) struct Kit {
    pub(crate) quick: bool,
    pub(crate) cores: usize,
    pub(crate) runtime: tokio::runtime::Runtime,
    programs: PathBuf,
    clips: PathBuf,
    tools: PathBuf,
    models: PathBuf,
    scratch: TempDir,
}

impl Kit {
    /// Builds the programs as they are shipped, and finds the rest.
    pub(crate) fn new(quick: bool) -> Result<Self> {
        let cache = match env::var_os("XDG_CACHE_HOME") {
            Some(folder) => PathBuf::from(folder),
            None => PathBuf::from(env::var_os("HOME").context("HOME is not set")?).join(".cache"),
        }
        .join("millrace");
        let clips = env::var_os("MILLRACE_CLIPS").map_or_else(|| cache.join("clips"), PathBuf::from);
        let programs = match env::var_os("MILLRACE_BIN_DIR") {
            Some(folder) => PathBuf::from(folder),
            None => build()?,
        };
        // On the disk that Cargo builds on, not in a /tmp that may be memory.
        let scratch = tempfile::Builder::new().prefix("bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let cores = std::thread::available_parallelism()?.get();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        Ok(Self {
            quick,
            cores,
            runtime,
            programs,
            clips,
            tools: cache.join("tools"),
            models: cache.join("models"),
            scratch,
        })
    }

    /// A program of this workspace.
    pub(crate) fn program(&self, name: &str) -> Result<PathBuf> {
        there(self.programs.join(name))
    }

    /// A real clip.
    pub(crate) fn clip(&self, name: &str) -> Result<PathBuf> {
        there(self.clips.join(name))
    }

    /// The ffmpeg that has libvmaf.
    pub(crate) fn ffmpeg_vmaf(&self) -> Result<PathBuf> {
        there(self.tools.join("ffmpeg-vmaf"))
    }

    /// Where this machine's models lie, each in a folder of its name.
    pub(crate) fn models(&self) -> &Path {
        &self.models
    }

    /// The Python that other programs that hear and see are installed in.
    pub(crate) fn python(&self) -> Result<PathBuf> {
        there(self.tools.join("peers/bin/python"))
    }

    /// Where tools and the weights of others lie.
    pub(crate) fn tools(&self) -> &Path {
        &self.tools
    }

    /// A new folder, gone at the end.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.scratch.path().join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// What it runs on, in a line.
    pub(crate) fn machine(&self) -> String {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        let model = model.trim_start_matches(['\t', ' ', ':']);
        let memory_kib = read("/proc/meminfo").split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok());
        let release = read("/etc/os-release");
        let system = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown");
        let memory_gib = memory_kib.unwrap_or(0) as f64 / f64::from(1 << 20);
        let (cores, system) = (self.cores, system.trim_matches('"'));
        format!(
            "{}: {model}, {cores} cores, {memory_gib:.0} GiB, {system}, Linux {}, load {} before.",
            today(),
            read("/proc/sys/kernel/osrelease").trim(),
            read("/proc/loadavg").split_whitespace().next().unwrap_or("unknown"),
        )
    }
}

fn today() -> String {
    let out = Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]).output();
    out.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default()
}

fn there(path: PathBuf) -> Result<PathBuf> {
    ensure!(path.is_file(), "{} is not there: benches/run fetches and installs all that is needed", path.display());
    Ok(path)
}

fn build() -> Result<PathBuf> {
    let packages = ["-p", "millrace-orchestrator", "-p", "millrace-worker", "-p", "millrace-media-child"];
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--release", "--locked"]).args(packages);
    // What Cargo told this program of itself would look like a change to build scripts, and all were built anew.
    let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_", "CARGO_PRIMARY_"];
    for (name, _) in env::vars_os().filter(|(name, _)| told.iter().any(|told| name.to_string_lossy().starts_with(told)))
    {
        command.env_remove(name);
    }
    let status = command.status()?;
    ensure!(status.success(), "the programs can't be built");
    // CARGO_TARGET_TMPDIR is target/tmp.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().context("a target folder")?;
    Ok(target.join("release"))
}

/// Runs a program to its end; what it said goes with the error if it fails.
pub(crate) fn run(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command.output().with_context(|| format!("{name} can't be started: benches/run installs it"))?;
    if !out.status.success() {
        bail!("{name} failed, {}: {}", out.status, String::from_utf8_lossy(&out.stderr));
    }
    Ok(out.stdout)
}
