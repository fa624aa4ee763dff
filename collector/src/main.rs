//! `fettle-collector`: takes frames from NATS, stores them in ClickHouse, answers for it over HTTP.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use fettle_collector::config::RawConfig;
use fettle_collector::{footprint, service};
use fettle_shared::address::without_user;
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::watch;

/// Stores every sample of a fleet in ClickHouse, each exactly once.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  fettle-collector run --nats nats://127.0.0.1:4222\n  \
                  fettle-collector run --config /etc/fettle/collector.toml\n  \
                  fettle-collector check --config /etc/fettle/collector.toml"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the collector until SIGTERM or SIGINT.
    Run(RunArgs),
    /// Checks the configuration and exits.
    Check(RunArgs),
    /// Signs the state of operations that a version before signatures left; once, at an upgrade, before a collector
    /// is started.
    AdoptState(RunArgs),
}

/// Flags win over the file.
#[derive(Debug, Args)]
struct RunArgs {
    /// Configuration file (TOML); everything has a default.
    #[arg(long)]
    config: Option<PathBuf>,
    /// NATS address.
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// File with the nkey seed to log in to NATS with.
    #[arg(long, value_name = "FILE")]
    nats_nkey_file: Option<PathBuf>,
    /// ClickHouse's HTTP address.
    #[arg(long, value_name = "URL")]
    clickhouse_url: Option<String>,
    /// ClickHouse user.
    #[arg(long, value_name = "USER")]
    clickhouse_user: Option<String>,
    /// File that holds the ClickHouse password.
    #[arg(long, value_name = "FILE")]
    clickhouse_password_file: Option<PathBuf>,
    /// Address of the HTTP interface.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Where the collector keeps its own files.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// File in which a supervisor writes the states of its processes.
    #[arg(long, value_name = "FILE")]
    supervisor: Option<PathBuf>,
    /// Logs as one JSON object a line.
    #[arg(long)]
    log_json: bool,
}

impl RunArgs {
    fn raw(&self) -> anyhow::Result<RawConfig> {
        let mut raw = match &self.config {
            Some(path) => RawConfig::read(path)?,
            None => RawConfig::default(),
        };
        let text = |flag: &Option<String>, key: &mut Option<String>| {
            if flag.is_some() {
                key.clone_from(flag);
            }
        };
        text(&self.nats, &mut raw.nats.url);
        raw.nats = raw.nats.with_nkey_file(self.nats_nkey_file.as_deref());
        text(&self.clickhouse_url, &mut raw.clickhouse.url);
        text(&self.clickhouse_user, &mut raw.clickhouse.user);
        raw.clickhouse.password_file = self.clickhouse_password_file.clone().or(raw.clickhouse.password_file);
        raw.http = self.http.or(raw.http);
        raw.state_dir = self.state_dir.clone().or(raw.state_dir);
        Ok(raw)
    }
}

fn main() -> ExitCode {
    footprint::tune_allocator();
    match command(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fettle-collector: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn command(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run(args) => run(&args),
        Command::AdoptState(args) => adopt_state(&args),
        Command::Check(args) => {
            let settings = args.raw()?.settle()?;
            if let Some(files) = &settings.operations {
                fettle_collector::pipeline::operate::check(files).map_err(anyhow::Error::msg)?;
            }
            eprintln!(
                "the configuration is good: NATS {}, ClickHouse {}",
                settings.nats.shown(),
                without_user(&settings.store.url)
            );
            Ok(())
        }
    }
}

fn run(args: &RunArgs) -> anyhow::Result<()> {
    start_logs(args.log_json);
    let settings = args.raw()?.settle()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime cannot start; the process may have too few threads")?;
    runtime.block_on(async {
        let (stop, stopped) = watch::channel(false);
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping: the batch in hand is finished first");
            let _ = stop.send(true);
        });
        Ok(service::run(settings, args.supervisor.clone(), stopped).await?)
    })
}

fn adopt_state(args: &RunArgs) -> anyhow::Result<()> {
    start_logs(args.log_json);
    let settings = args.raw()?.settle()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let adopted = runtime.block_on(service::adopt_state(&settings))?;
    eprintln!(
        "the state is signed: {} alerts, {} silences, {} plans under way, audit up to record {}; start a \
         collector, look at `fettle plans list`, then run `fettle unfreeze`",
        adopted.alerts, adopted.silences, adopted.plans, adopted.audit
    );
    Ok(())
}

fn start_logs(json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("FETTLE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    if json {
        logs.json().init();
    } else {
        logs.init();
    }
}
