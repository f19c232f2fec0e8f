//! `cargo bench -p millrace-benches`: runs the measurements named, or all, one after the other, and prints a table for
//! each. Owns the command line; what is measured is in the files beside it. `benches/run` installs what it needs first.

mod clips;
mod cold;
mod gpu;
mod hear;
mod house;
mod ingest;
mod kit;
mod live;
mod look;
mod measure;
mod nginx;
mod origin;
mod peers;
mod pusher;
mod report;
mod speech;
mod store;
mod transcode;
mod vmaf;
mod whole;
mod words;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;

use kit::Kit;
use report::Table;

type Bench = fn(&Kit) -> Result<Table>;

/// By the names that the command line takes, in the order in which they run.
const BENCHES: [(&str, Bench); 11] = [
    ("transcode", transcode::run),
    ("whole", whole::run),
    ("live", live::run),
    ("ingest", ingest::run),
    ("origin", origin::run),
    ("store", store::run),
    ("words", words::run),
    ("hear", hear::run),
    ("look", look::run),
    ("cold", cold::run),
    (CARD, gpu::run),
];

/// Runs where it is named alone: most machines have no card.
const CARD: &str = "gpu";

/// Measures Millrace beside other programs.
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct Cli {
    /// What to measure: all of it if nothing is named.
    names: Vec<String>,
    /// Shorter runs, for a look; their figures are not kept.
    #[arg(long)]
    quick: bool,
    /// Print JSON, one object a measurement, in place of tables.
    #[arg(long)]
    json: bool,
    /// Write the tables into benches/README.md.
    #[arg(long, conflicts_with = "quick")]
    write: bool,
    /// Cargo says this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let known = BENCHES.map(|(name, _)| name);
    if let Some(name) = cli.names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("nothing is measured under the name {name:?}: use {}", known.join(", "));
    }
    let kit = Kit::new(cli.quick)?;
    eprintln!("{}", kit.machine());
    for (name, bench) in BENCHES {
        let is_asked = cli.names.iter().any(|asked| asked == name);
        if !is_asked && (name == CARD || !cli.names.is_empty()) {
            continue;
        }
        eprintln!("measuring {name} ...");
        let begun = std::time::Instant::now();
        let table = bench(&kit).with_context(|| format!("measuring {name}"))?;
        eprintln!("measured {name} in {:.0} s", begun.elapsed().as_secs_f64());
        if cli.json {
            println!("{}", table.json(name));
        } else {
            println!("\n## {name}\n{}", table.markdown());
        }
        if cli.write {
            report::write(name, &table, &kit.machine())?;
        }
    }
    Ok(())
}
