//! `millrace-media-escape`: tries to get out of the media child's sandbox. A test's program, built beside the child from
//! the same code; never started by anything else.
//!
//! `confined SCRATCH LIMITS TRY [ARGUMENT]` confines itself like the child does for a job whose input is
//! `SCRATCH/input` and whose results go to `SCRATCH/out`, with `LIMITS` as JSON, then tries and says what came of it:
//! `done`, an error's name, or nothing if it was ended. `carded` does it as for a job with a graphics card. `free` does the same without the sandbox, to show that the try is
//! a real one. `lacking PART PROGRAM` makes this kernel look like one without Landlock or seccomp, and becomes PROGRAM;
//! `landlock` says this kernel's version of Landlock, less than 1 if it has none.
#![allow(unsafe_code)]

#[allow(dead_code, unused_imports)]
#[path = "../../src/confine.rs"]
mod confine;
mod old;
mod tries;

use std::{env, path::Path, process::ExitCode, sync::mpsc, thread};

use millrace_media::{
    Mode,
    card::{Able, Card, Use},
    job::{Job, Pair, Transcode},
    wire::Request,
};

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["landlock"] => {
            println!("{}", old::landlock_version());
            ExitCode::SUCCESS
        }
        ["lacking", part, program] => old::become_program(part, program),
        [way, scratch, limits, attempt, ref argument @ ..] => {
            let argument = argument.first().copied().unwrap_or_default();
            let said = match way {
                "confined" => {
                    confine(Path::new(scratch), limits, None, || ());
                    tries::run(attempt, argument)
                }
                "carded" => carded(Path::new(scratch), limits, attempt, argument),
                _ => tries::run(attempt, argument),
            };
            println!("{said}");
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("this program is for tests");
            ExitCode::FAILURE
        }
    }
}

/// Tries from a thread like those that a card's driver starts: half-way through the confining.
fn carded(scratch: &Path, limits: &str, attempt: &str, argument: &str) -> String {
    let (go, wait) = mpsc::channel::<()>();
    let (attempt, argument) = (attempt.to_owned(), argument.to_owned());
    let run = move || {
        let _ = wait.recv();
        tries::run(&attempt, &argument)
    };
    // No machine has as many.
    let card = Card { index: 77, minor: 77, uuid: None };
    let used = Use { card, able: Able::default() };
    let thread = confine(scratch, limits, Some(used), || thread::spawn(run));
    go.send(()).expect("it waits");
    thread.join().expect("no try panics")
}

fn confine<T>(scratch: &Path, limits: &str, card: Option<Use>, open: impl FnOnce() -> T) -> T {
    let source = Pair { init: scratch.join("input"), preroll: Vec::new(), segment: scratch.join("input") };
    let request = Request {
        parent: nix::unistd::getppid().as_raw().unsigned_abs(),
        limits: serde_json::from_str(limits).expect("limits in JSON"),
        sandbox: Mode::BestEffort,
        job: Job::Transcode(Transcode { source, targets: Vec::new(), out: scratch.join("out"), threads: 1, card }),
    };
    confine::begin().expect("the sandbox begins");
    confine::confine(&request, || Ok(open())).expect("the sandbox is built").1
}
