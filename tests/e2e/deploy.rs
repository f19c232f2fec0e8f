//! The two commands that start and stop a house on one machine: `deploy/up` and `deploy/down`.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::{house::built, program::Program, wait::s};

/// A data folder, and the sure end of what was started in it.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: TempDir::new().expect("a temporary folder can be made") }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// `deploy/{script}` on this folder, with the programs that are built already.
    fn command(&self, script: &str, args: &[&str]) -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let programs = built("millrace").with_file_name("");
        let mut command = Command::new(root.join("deploy").join(script));
        command.arg("--data").arg(self.data()).args(args);
        command.env("MILLRACE_PACKAGES", "no").env("MILLRACE_PROGRAMS", programs);
        command
    }

    fn run(&self, script: &str, args: &[&str]) -> Output {
        self.command(script, args).output().expect("the script can be started")
    }

    /// Pids that the scripts remember.
    fn pids(&self) -> Vec<String> {
        let files = fs::read_dir(self.data().join("run")).expect("there is a folder of pids").flatten();
        let pids = files.filter(|file| file.path().extension().is_some_and(|ending| ending == "pid"));
        pids.map(|file| fs::read_to_string(file.path()).unwrap().split(' ').next().unwrap().to_owned()).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.data().exists() {
            self.run("down", &[]);
        }
    }
}

fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

fn is_running(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn up_starts_everything_once_and_down_leaves_no_process() {
    let place = Place::new();
    let up = ["--detach", "--no-demo", "--no-models", "--http", "0", "--rtmp", "0", "--srt", "0", "--workers", "2"];
    let out = place.run("up", &up);
    let said = text(&out);
    assert!(out.status.success(), "{said}");
    let pids = place.pids();
    assert_eq!(pids.len(), 3, "an orchestrator and two workers: {pids:?}\n{said}");
    assert!(pids.iter().all(|pid| is_running(pid)), "{said}");
    let told = |label: &str| {
        let line = said.lines().find(|line| line.trim_start().starts_with(label));
        line.unwrap_or_else(|| panic!("no {label}:\n{said}")).split_whitespace().last().unwrap().to_owned()
    };
    assert!(told("push to").starts_with("rtmp://127.0.0.1:"), "{said}");
    assert!(told("or by SRT").starts_with("srt://127.0.0.1:"), "{said}");
    assert!(told("playback").ends_with("/index.m3u8"), "{said}");
    let page = ureq::get(told("page")).call().expect("the page is there");
    assert_eq!(page.status(), 200);

    // The key it told opens the stream it told.
    let address = format!("{}/{}", told("push to"), told("stream key"));
    let source = crate::clip::live_source(10);
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-i", crate::clip::text(&source), "-c", "copy", "-f", "flv", &address]);
    let mut publisher = Program::start("publisher", &mut ffmpeg, place.dir.path().join("publisher.log"));
    assert!(publisher.wait(s(30)).success(), "{}", publisher.log());

    let again = place.run("up", &up);
    assert!(again.status.success() && text(&again).contains("already running"), "{}", text(&again));
    assert_eq!(place.pids(), pids, "nothing was started twice");

    let down = place.run("down", &[]);
    assert!(down.status.success(), "{}", text(&down));
    assert!(!pids.iter().any(|pid| is_running(pid)), "left running: {pids:?}\n{}", text(&down));
    let down = place.run("down", &[]);
    assert!(down.status.success() && text(&down).contains("nothing is running"), "{}", text(&down));
}

#[test]
fn up_names_the_port_that_is_taken_and_leaves_nothing_behind() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let out = place.run("up", &["--detach", "--no-demo", "--no-models", "--http", &port, "--rtmp", "0", "--srt", "0"]);
    assert!(!out.status.success());
    assert!(text(&out).contains(&format!("port {port} is in use")), "{}", text(&out));
    assert!(place.pids().is_empty(), "{:?}", place.pids());
}

#[test]
fn down_spares_a_stranger_with_a_remembered_pid() {
    let place = Place::new();
    fs::create_dir_all(place.data().join("run")).expect("a folder can be made");
    let mut sleep = Command::new("sleep");
    let mut stranger = Program::start("stranger", sleep.arg("60"), place.dir.path().join("stranger.log"));
    // As if the orchestrator had ended long ago, and its number had been given away.
    let remembered = format!("{} 1\n", stranger.pid());
    fs::write(place.data().join("run/orchestrator.pid"), remembered).expect("a file can be written");
    let down = place.run("down", &[]);
    assert!(down.status.success(), "{}", text(&down));
    assert!(stranger.ended().is_none(), "a process that is not ours was killed");
}
