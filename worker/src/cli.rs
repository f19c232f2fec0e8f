//! The command line: what can be said to the program, with defaults, and what its exit codes mean.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use millrace_media::{Launcher, Mode};

use crate::cards::Wanted;

const AFTER_HELP: &str = "\
Exit codes:
  0  went away as asked (SIGTERM, SIGINT), with every lease finished or handed back
  1  something failed; the last line says what
  2  the command line, the key file or the scratch folder is not right
  3  this machine can't encode, or not in a whole sandbox with '--sandbox required': see 'millrace-worker probe'
  4  the orchestrator does not want this worker";

/// Joins a Millrace orchestrator and transcodes the video segments it is given.
#[derive(Debug, Parser)]
#[command(name = "millrace-worker", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Form of the log on the standard error output.
    #[arg(long, global = true, env = "MILLRACE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log: LogFormat,
    /// What is logged: error, warn, info, debug, or filters like `millrace_worker=debug`.
    #[arg(long, global = true, env = "MILLRACE_LOG", default_value = "info", value_name = "FILTER")]
    pub log_filter: String,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Join an orchestrator and work for it until SIGTERM or SIGINT.
    ///
    /// The worker only dials out: it needs no open port. A first SIGTERM lets running leases finish within
    /// the grace time, a second one hands them back at once.
    Join(Join),
    /// Run every encoder and model once and print what this machine can do.
    Probe(Probe),
    /// Fetch, list and check the models that captions and the like are made with.
    Models(Models),
}

/// Models: what to do with them.
#[derive(Debug, Args)]
pub struct Models {
    /// What to do.
    #[command(subcommand)]
    pub command: ModelsCommand,
    /// Where they are.
    #[command(flatten)]
    pub place: Place,
    /// Print one JSON object a line.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do with models.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Fetch models, unless they are there; what broke off goes on.
    Fetch {
        /// Their names. [default: those that the catalogue calls default]
        ids: Vec<String>,
    },
    /// List what the catalogue knows, and what of it is there.
    List,
    /// Read models that are there as a whole and compare them with the catalogue.
    Verify {
        /// Their names. [default: all that are there]
        ids: Vec<String>,
    },
}

/// Where models lie, and what is known of them.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// Folder of models. [default: ~/.cache/millrace/models]
    #[arg(long = "models", env = "MILLRACE_MODELS", value_name = "DIR", global = true)]
    pub folder: Option<PathBuf>,
    /// Entries beside the built-in ones: a file, or a folder of them. models/catalog.toml says what is in one.
    #[arg(long, env = "MILLRACE_CATALOG", value_name = "PATH", global = true)]
    pub catalog: Option<PathBuf>,
}

/// How to join.
#[derive(Debug, Args)]
pub struct Join {
    /// The orchestrator's address, e.g. `https://millrace.example.org`
    #[arg(env = "MILLRACE_URL")]
    pub url: String,
    /// The worker's key; made if absent. [default: ~/.config/millrace/worker.key]
    #[arg(long, env = "MILLRACE_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Leases worked on at once. [default: as many as the cards take, or the cores]
    #[arg(long, env = "MILLRACE_SLOTS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub slots: Option<u32>,
    /// Leases of recordings held beyond the slots, fetched while others are worked on; as many as slots at most.
    #[arg(long, env = "MILLRACE_AHEAD", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(..=256))]
    pub ahead: u32,
    /// Most threads of one lease; it has fewer beside others. [default: the cores]
    #[arg(long, env = "MILLRACE_THREADS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: Option<u32>,
    /// Folder for the files of running leases. [default: below the system's temporary folder]
    #[arg(long, env = "MILLRACE_SCRATCH", value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// How long running leases may go on after SIGTERM, in seconds.
    #[arg(long, env = "MILLRACE_GRACE_S", value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub grace_s: u64,
    /// Models.
    #[command(flatten)]
    pub place: Place,
    /// Largest input taken, in MiB.
    #[arg(long, env = "MILLRACE_INPUT_MIB_MAX", value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub input_mib_max: u64,
    /// The media child.
    #[command(flatten)]
    pub media: Media,
}

/// What to print.
#[derive(Debug, Args)]
pub struct Probe {
    /// Print the offer as JSON, as an orchestrator gets it.
    #[arg(long)]
    pub json: bool,
    /// Models.
    #[command(flatten)]
    pub place: Place,
    /// The media child.
    #[command(flatten)]
    pub media: Media,
}

/// The media child: where it is, and how strict its sandbox.
#[derive(Debug, Args)]
pub struct Media {
    /// The media child. [default: millrace-media beside this program]
    #[arg(long = "media", env = "MILLRACE_MEDIA", value_name = "PATH")]
    path: Option<PathBuf>,
    /// What to do where the kernel lacks a part of the sandbox that media is decoded in: see 'millrace-worker probe'.
    #[arg(long, env = "MILLRACE_SANDBOX", value_enum, default_value_t = Sandbox::BestEffort, value_name = "MODE")]
    sandbox: Sandbox,
    /// Graphics cards (NVIDIA's) to decode and encode on: auto, off, or numbers of device files as in 0,1. What they
    /// can't do is done in software.
    #[arg(long, env = "MILLRACE_GPU", default_value = "auto", value_name = "CARDS")]
    pub gpu: Wanted,
}

/// What to do where the kernel lacks a part of the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Sandbox {
    /// Decode nothing.
    Required,
    /// Decode in what there is, and say in the offer what that is.
    BestEffort,
}

impl Media {
    /// Starts the media child as asked.
    pub fn launcher(&self) -> Launcher {
        Launcher::new(self.path()).with_sandbox(match self.sandbox {
            Sandbox::Required => Mode::Required,
            Sandbox::BestEffort => Mode::BestEffort,
        })
    }

    /// Nothing may be decoded without a whole sandbox.
    pub fn requires_sandbox(&self) -> bool {
        self.sandbox == Sandbox::Required
    }

    fn path(&self) -> PathBuf {
        let beside = || std::env::current_exe().ok()?.parent().map(|folder| folder.join("millrace-media"));
        self.path.clone().or_else(beside).unwrap_or_else(|| "millrace-media".into())
    }
}

/// Slots, and the most threads of one lease, for a machine with `cores` that does best with so many slots: a backlog is
/// done soonest with one segment a core (benches/README.md), and `crate::share` gives a lease that is alone all of them.
pub fn slots_and_threads(slots: Option<u32>, threads: Option<u32>, best: u32, cores: u32) -> (u32, u32) {
    (slots.unwrap_or(best).max(1), threads.unwrap_or(cores).max(1))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_use_every_core() {
        let defaults: Vec<_> = [1, 2, 3, 8].map(|cores| slots_and_threads(None, None, cores, cores)).into();
        assert_eq!(defaults, [(1, 1), (2, 2), (3, 3), (8, 8)]);
        assert_eq!(slots_and_threads(Some(4), None, 2, 2), (4, 2));
        assert_eq!(slots_and_threads(Some(2), Some(1), 8, 8), (2, 1));
        assert_eq!(slots_and_threads(None, None, 16, 4), (16, 4), "cards take more than there are cores");
    }
}
