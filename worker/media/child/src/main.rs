//! `millrace-media`: does one media job, or one after the other, and ends. The only program that links FFmpeg, whisper.cpp and ONNX Runtime.
//!
//! Started by `millrace_media::Launcher`; talks over standard input and output as `millrace_media::wire` says.

mod allocator;
mod answers;
mod av;
mod card;
mod confine;
mod demux;
mod follow;
mod gauge;
mod inspect;
mod listen;
mod look;
mod mux;
mod portray;
mod probe;
mod stills;
mod transcode;
mod trouble;
mod warm;

use std::{io, process::ExitCode};

use millrace_media::{
    Failure,
    job::Job,
    wire::{self, Message, Request},
};
use millrace_proto::offer::Sandbox;

use answers::Answers;
use av::device::Device;

#[global_allocator]
static ALLOCATOR: allocator::Bounded = allocator::Bounded;

fn main() -> ExitCode {
    let hidden = confine::begin();
    let Ok(mut answers) = Answers::open() else { return ExitCode::FAILURE };
    answers.say(Message::Hello { version: wire::PROGRAM_VERSION.into(), protocol: wire::PROTOCOL_VERSION });
    let request = match Request::read(&mut io::stdin().lock()) {
        Ok(request) => request,
        Err(error) => {
            eprintln!("no job came in ({error}): millrace and millrace-worker start this program themselves");
            return ExitCode::FAILURE;
        }
    };
    let confined = hidden.and_then(|()| confine::confine(&request, || card::open(&request.job)));
    let done = confined.and_then(|(sandbox, device)| run(request.job, sandbox, device, &mut answers));
    let end = done.unwrap_or_else(Message::Failed);
    answers.say(end);
    ExitCode::SUCCESS
}

fn run(job: Job, sandbox: Sandbox, device: Option<Device>, answers: &mut Answers) -> Result<Message, Failure> {
    av::start()?;
    match job {
        Job::Transcode(job) => transcode::run(&job, device).map(Message::Transcoded),
        Job::Inspect(job) => inspect::run(&job).map(Message::Inspected),
        Job::Gauge(job) => gauge::run(&job).map(Message::Gauged),
        Job::Probe(job) => probe::run(&job).map(Message::Probed),
        Job::TryCard(_) => card::run(device).map(Message::Tried),
        Job::Stills(job) => stills::run(&job).map(Message::Stilled),
        Job::Mux(job) => mux::run(&job).map(|()| Message::Muxed),
        Job::Sandbox => Ok(Message::Confined(confine::prove(sandbox))),
        Job::Demux(job) => demux::run(&job, answers).map(|()| Message::End),
        Job::Listen(job) => listen::run(&job, device.as_ref(), answers).map(|()| Message::End),
        Job::Look(job) => look::run(&job, answers).map(|()| Message::End),
        Job::Portray(job) => portray::run(&job, answers).map(|()| Message::End),
        Job::Follow(job) => follow::run(&job, answers).map(|()| Message::End),
    }
}
