//! `fettle-bench`: whole-system measurements of Fettle, each beside a peer in the same run. Every
//! subcommand prints a table and writes a dated result. `benchmarks/run NAME` builds and calls it.

mod agent;
mod alerts;
mod calm;
mod chaos;
mod child;
mod compare;
mod delay;
mod disk;
mod failure;
mod floor;
mod http;
mod ingest;
mod insight;
mod lag;
mod lines;
mod machine;
mod outage;
mod peers;
mod plan;
mod recording;
mod report;
mod scrape;
mod settings;
mod sink;
mod soak;
mod sql;
mod stack;
mod suites;
mod usage;
mod victoria;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use settings::Settings;

/// Measures Fettle on this machine.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The agent: CPU, memory, jitter, next to the bare reads, netdata and node_exporter.
    Agent(Settings),
    /// Bytes per metric of this host's frames.
    Wire(Settings),
    /// Records this host's frames, for `ingest` and `soak`.
    Record(Replay),
    /// The whole path at full speed, next to VictoriaMetrics.
    Ingest {
        #[command(flatten)]
        replay: Replay,
        /// Agents that are replayed.
        #[arg(long, default_value_t = 6)]
        agents: usize,
        /// Leave VictoriaMetrics out.
        #[arg(long)]
        alone: bool,
    },
    /// The whole path in real time, and whether its memory stays flat.
    Soak {
        #[command(flatten)]
        replay: Replay,
        /// Agents that are replayed.
        #[arg(long, default_value_t = 10)]
        agents: usize,
    },
    /// How soon a sample can be queried.
    Lag(Settings),
    /// What is claimed and reported of a host with nothing wrong.
    Calm {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        recorded: calm::Recorded,
    },
    /// How soon a fault is an anomaly that can be asked for.
    Delay {
        #[command(flatten)]
        settings: Settings,
        /// How many faults.
        #[arg(long, default_value_t = 22)]
        faults: usize,
    },
    /// Fault to notification, a storm of alerts, and one notification each whoever is killed.
    Alerts {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        scale: alerts::Scale,
    },
    /// Everything killed with -9, again and again.
    Crash {
        #[command(flatten)]
        settings: Settings,
        /// How many kills.
        #[arg(long, default_value_t = 104)]
        kills: u64,
        /// Repeats a run.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Parts away, quotas reached, disks full and failing.
    Away(Settings),
    /// Real faults, mended by nobody but Fettle, next to Monit.
    Chaos {
        #[command(flatten)]
        settings: Settings,
        /// Runs of each kind.
        #[arg(long, default_value_t = 10)]
        runs: u64,
        /// Kinds, by comma.
        #[arg(long, default_value = "all")]
        kinds: String,
    },
    /// Real faults, foretold by models that never saw their kind.
    Failure(Settings),
    /// Uses something up until it fails (used by `failure`).
    #[command(hide = true)]
    Victim(failure::victim::Life),
    /// Reads files at their paces and prints what that took (used by `agent`).
    #[command(hide = true)]
    Floor {
        /// Lines of an interval in microseconds and a path.
        #[arg(long)]
        plan: PathBuf,
        /// For how long.
        #[arg(long)]
        seconds: u64,
    },
    /// Runs a program that dies with its parent.
    #[command(hide = true)]
    Part {
        /// The process this one dies with.
        #[arg(long)]
        parent: u32,
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

/// A benchmark over recorded frames.
#[derive(Debug, Args)]
struct Replay {
    #[command(flatten)]
    settings: Settings,
    /// The recording [default: bench/host.frames in Fettle's cache directory].
    #[arg(long, value_name = "FILE")]
    recording: Option<PathBuf>,
}

impl Replay {
    fn recording(&self) -> PathBuf {
        self.recording.clone().unwrap_or_else(recording::default_path)
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "fettle-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    // One thread only: a process that is started dies with the thread that started it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot start")?;
    match Cli::parse().command {
        Command::Part { parent, command } => child::become_part(parent, &command),
        Command::Floor { plan, seconds } => agent::floor(&plan, seconds),
        Command::Victim(life) => std::process::exit(i32::from(failure::victim::live(&life)?)),
        command => runtime.block_on(measure(command)),
    }
}

async fn measure(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Agent(settings) => agent::agent(&settings).await,
        Command::Wire(settings) => agent::wire(&settings).await,
        Command::Record(replay) => recording::record(&replay.settings, &replay.recording()).await,
        Command::Ingest { replay, agents, alone } => {
            let scale = compare::Scale { agents, alone };
            compare::ingest(&replay.settings, &replay.recording(), scale).await
        }
        Command::Soak { replay, agents } => soak::soak(&replay.settings, &replay.recording(), agents).await,
        Command::Lag(settings) => lag::lag(&settings).await,
        Command::Calm { settings, recorded } => calm::calm(&settings, &recorded).await,
        Command::Delay { settings, faults } => delay::delay(&settings, faults).await,
        Command::Alerts { settings, scale } => alerts::alerts(&settings, &scale).await,
        Command::Crash { settings, kills, seed } => suites::crash(&settings, kills, seed).await,
        Command::Away(settings) => suites::away(&settings).await,
        Command::Chaos { settings, runs, kinds } => chaos::chaos(&settings, runs, &kinds).await,
        Command::Failure(settings) => failure::failure(&settings).await,
        Command::Floor { .. } | Command::Part { .. } | Command::Victim(_) => Ok(()),
    }
}
