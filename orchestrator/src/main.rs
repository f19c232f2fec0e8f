//! The orchestrator's program: reads the configuration and runs the house until SIGINT or SIGTERM.

use std::{
    io::IsTerminal,
    net::{SocketAddr, SocketAddrV4},
    path::PathBuf,
};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use millrace_orchestrator::{config::Config, serve};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Takes video in, farms its segments out to workers, checks and publishes what comes back.
#[derive(Debug, Parser)]
#[command(name = "millrace", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How log lines look on standard error.
    #[arg(long, global = true, env = "MILLRACE_LOG_FORMAT", value_enum, default_value = "text", value_name = "FORMAT")]
    log: LogForm,
    /// What is logged: error, warn, info, debug, or filters like `millrace_orchestrator=debug`.
    #[arg(
        long,
        global = true,
        env = "MILLRACE_LOG",
        default_value = "info,rsrt=error,sqlx=warn,tower_http=warn",
        value_name = "FILTER"
    )]
    log_filter: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogForm {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the orchestrator.
    Serve(Serve),
    /// Print the configuration that `serve` would use, as TOML.
    Config(Serve),
}

#[derive(Debug, Args)]
struct Serve {
    /// Configuration file; deploy/orchestrator.toml shows every key.
    #[arg(long, env = "MILLRACE_CONFIG")]
    config: Option<PathBuf>,
    /// Folder of everything that is kept.
    #[arg(long, env = "MILLRACE_DATA")]
    data: Option<PathBuf>,
    /// Where HTTP listens, as ADDRESS:PORT; port 0 takes a free one.
    #[arg(long, env = "MILLRACE_HTTP")]
    http: Option<SocketAddr>,
    /// Where RTMP listens, as ADDRESS:PORT; port 0 takes a free one.
    #[arg(long, env = "MILLRACE_RTMP")]
    rtmp: Option<SocketAddr>,
    /// Where RTMPS listens, as ADDRESS:PORT, with `rtmps.cert` and `rtmps.key` of the configuration; port 0 takes a
    /// free one.
    #[arg(long, env = "MILLRACE_RTMPS")]
    rtmps: Option<SocketAddr>,
    /// Where SRT listens, as ADDRESS:PORT of IPv4 (UDP); port 0 takes a free one. Not at all unless given here or in the
    /// configuration, which also names a passphrase.
    #[arg(long, env = "MILLRACE_SRT")]
    srt: Option<SocketAddrV4>,
    /// The media child; beside this program unless given.
    #[arg(long, env = "MILLRACE_MEDIA")]
    media: Option<PathBuf>,
    /// Folder of models, for pictures of products. [default: ~/.cache/millrace/models]
    #[arg(long, env = "MILLRACE_MODELS", value_name = "DIR")]
    models: Option<PathBuf>,
    /// Folder of the page served at /.
    #[arg(long, env = "MILLRACE_WEB")]
    web: Option<PathBuf>,
}

impl Serve {
    fn config(self) -> Result<Config> {
        let mut config = match &self.config {
            Some(path) => Config::read(path)?,
            None => Config::default(),
        };
        config.data = self.data.unwrap_or(config.data);
        config.http = self.http.unwrap_or(config.http);
        config.rtmp = self.rtmp.unwrap_or(config.rtmp);
        config.rtmps.listen = self.rtmps.map_or(config.rtmps.listen, |at| at.to_string());
        config.srt.listen = self.srt.map_or(config.srt.listen, |at| at.to_string());
        config.media = self.media.unwrap_or(config.media);
        config.models = self.models.unwrap_or(config.models);
        config.web = self.web.unwrap_or(config.web);
        config.check()?;
        Ok(config)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    start_log(cli.log, &cli.log_filter)?;
    match cli.command {
        Command::Config(flags) => {
            print!("{}", toml::to_string(&flags.config()?)?);
            Ok(())
        }
        Command::Serve(flags) => {
            let stop = CancellationToken::new();
            let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
            let stopping = stop.clone();
            tokio::spawn(async move {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                tracing::info!("stopping");
                stopping.cancel();
            });
            serve::serve(flags.config()?, stop).await
        }
    }
}

fn start_log(form: LogForm, filter: &str) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .with_context(|| format!("{filter:?} is no log filter: use info, or NAME=debug"))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A log file is read by people and programs that make nothing of colours.
    let log = log.with_ansi(std::io::stderr().is_terminal());
    match form {
        LogForm::Text => log.init(),
        LogForm::Json => log.json().init(),
    }
    Ok(())
}
