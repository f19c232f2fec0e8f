//! The worker's program: wires the command line, the key, the probe, the agent and its driver together.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    thread,
};

use anyhow::Context;
use clap::Parser;
use millrace_proto::offer::{Lack, Offer};
use millrace_worker::{
    agent::{Agent, Config, Exit, Fault, Limits, Timing},
    cli::{self, Cli, Command, LogFormat, ModelsCommand},
    client::{self, Client},
    key::{self, Key},
    models::Shelf,
    probe::{self, Proven},
    run::{self, Worker},
    scratch::{self, Scratch},
    senses::Senses,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tracing_subscriber::EnvFilter;

const EXIT_FAILED: u8 = 1;
const EXIT_SETUP: u8 = 2;
const EXIT_NO_OFFER: u8 = 3;
const EXIT_REFUSED: u8 = 4;

/// An error for the person who started the program, and the exit code that goes with it.
struct Stop {
    code: u8,
    error: anyhow::Error,
}

impl Stop {
    fn with(code: u8) -> impl Fn(anyhow::Error) -> Self {
        move |error| Self { code, error }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self { code: EXIT_FAILED, error: error.into() }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match start_log(&cli) {
        Ok(()) => match cli.command {
            Command::Join(join) => self::join(join).await,
            Command::Probe(probe) => self::probe(probe).await,
            Command::Models(models) => self::models(models).await,
        },
        Err(error) => Err(Stop { code: EXIT_SETUP, error }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop { code, error }) => {
            eprintln!("error: {error:#}");
            ExitCode::from(code)
        }
    }
}

fn start_log(cli: &Cli) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&cli.log_filter)
        .with_context(|| format!("--log-filter {:?} is not right: use e.g. info", cli.log_filter))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match cli.log {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

fn cores() -> u32 {
    // Heeds the container's share and the allowed CPUs.
    thread::available_parallelism().map_or(1, |cores| cores.get() as u32)
}

async fn models(models: cli::Models) -> Result<(), Stop> {
    // Two providers may be linked; without this the first handshake panics.
    rustls::crypto::ring::default_provider().install_default().ok();
    let shelf = Shelf::open(&models.place).map_err(|error| Stop { code: EXIT_SETUP, error: error.into() })?;
    let (mut stdout, json) = (std::io::stdout(), models.json);
    match models.command {
        ModelsCommand::Fetch { ids } => shelf.fetch(&ids, json, &mut stdout).await?,
        ModelsCommand::List => shelf.list(json, &mut stdout)?,
        ModelsCommand::Verify { ids } => shelf.verify(&ids, json, &mut stdout)?,
    }
    Ok(())
}

async fn probe(probe: cli::Probe) -> Result<(), Stop> {
    let shelf = Shelf::open(&probe.place).map_err(|error| Stop { code: EXIT_SETUP, error: error.into() })?;
    let Proven { offer, .. } = probe::run(&probe.media.launcher(), &shelf, (cores(), cores()), &probe.media.gpu).await;
    let text = if probe.json { format!("{}\n", serde_json::to_string_pretty(&offer)?) } else { probe::table(&offer) };
    std::io::stdout().write_all(text.as_bytes())?;
    check(&offer, &probe.media)
}

/// Whether there is something to offer.
fn check(offer: &Offer, media: &cli::Media) -> Result<(), Stop> {
    let error = if media.requires_sandbox() && !offer.sandbox.is_whole() {
        anyhow::anyhow!("the sandbox that is required does not hold as a whole on this machine, see above")
    } else if offer.encoders.is_empty() {
        anyhow::anyhow!("no encoder runs on this machine, so there is nothing to offer")
    } else {
        return Ok(());
    };
    Err(Stop { code: EXIT_NO_OFFER, error })
}

async fn join(join: cli::Join) -> Result<(), Stop> {
    // Two providers may be linked; without this the first handshake panics.
    rustls::crypto::ring::default_provider().install_default().ok();
    let url = client::parse_url(&join.url).map_err(|error| Stop { code: EXIT_SETUP, error: error.into() })?;
    let key =
        Key::load_or_make(&key_path(join.key_file)?).map_err(|error| Stop { code: EXIT_SETUP, error: error.into() })?;
    let scratch = join.scratch.unwrap_or_else(scratch::default_root);
    let scratch = Scratch::new(&scratch)
        .with_context(|| format!("can't use the scratch folder {}", scratch.display()))
        .map_err(Stop::with(EXIT_SETUP))?;
    // From here on a signal is a drain, not the end.
    let drains = drains()?;

    let launcher = join.media.launcher();
    let shelf = Shelf::open(&join.place).map_err(|error| Stop { code: EXIT_SETUP, error: error.into() })?;
    let shares = (cores(), join.threads.unwrap_or_else(cores));
    let Proven { mut offer, cards, senses } = probe::run(&launcher, &shelf, shares, &join.media.gpu).await;
    let (slots, threads) = cli::slots_and_threads(join.slots, join.threads, offer.slots, cores());
    offer.slots = slots;
    let mut stdout = std::io::stdout();
    let made = if key.made { " (a new key)" } else { "" };
    write!(stdout, "worker {}{made}\n{}", key.secret.address(), probe::table(&offer))?;
    check(&offer, &join.media)?;
    for Lack { part, reason } in &offer.sandbox.absent {
        tracing::warn!(part = part.as_str(), reason, "a part of the sandbox does not hold: see docs/sandbox.md");
    }
    writeln!(stdout, "joining {url} with {slots} slots, of {threads} threads at most")?;
    stdout.flush()?;

    let config = Config {
        instance: format!("{:032x}", rand::random::<u128>()),
        slots,
        ahead: join.ahead,
        seed: rand::random(),
        timing: Timing { grace_ms: join.grace_s * 1_000, ..Timing::default() },
        limits: Limits { input_bytes_max: join.input_mib_max << 20, ..Limits::default() },
        cards: cards.iter().map(|(_, seats)| *seats).collect(),
        models: offer.models.clone(),
    };
    let worker = Worker {
        client: Client::new(url)?,
        senses: Senses::new(senses),
        launcher,
        secret: key.secret.clone(),
        offer,
        scratch,
        slots,
        threads_max: threads,
        cores: cores(),
        cards: cards.into_iter().map(|(used, _)| used).collect(),
    };
    match run::run(Agent::new(config), worker, drains).await {
        Exit::Drained => Ok(()),
        Exit::Refused(fault) => {
            let error = match &fault {
                Fault::Refused(error) | Fault::Unauthorized(error) | Fault::Gone(error) => {
                    anyhow::anyhow!("the orchestrator refused: {}; {} ({})", error.message, error.hint, error.code)
                }
                Fault::Away { .. } | Fault::Strange(_) | Fault::Spoiled(_) => anyhow::anyhow!(fault),
            };
            Err(Stop { code: EXIT_REFUSED, error })
        }
    }
}

fn key_path(given: Option<PathBuf>) -> Result<PathBuf, Stop> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    given.or_else(|| key::default_path(variable("XDG_CONFIG_HOME"), variable("HOME"))).ok_or_else(|| {
        let error = anyhow::anyhow!("there is no home folder to keep the key in: give --key-file");
        Stop { code: EXIT_SETUP, error }
    })
}

/// One message for each SIGTERM or SIGINT.
fn drains() -> Result<mpsc::Receiver<()>, Stop> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (tell, drains) = mpsc::channel(2);
    tokio::spawn(async move {
        loop {
            let asked = tokio::select! { asked = term.recv() => asked, asked = int.recv() => asked };
            if asked.is_none() || tell.send(()).await.is_err() {
                return;
            }
            tracing::info!("going away: no new leases; once more to hand back the running ones at once");
        }
    });
    Ok(drains)
}
