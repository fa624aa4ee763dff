//! `fettle-agent`: the command line of the agent.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use fettle_agent::config::{Host, Overrides, Settings};
use fettle_agent::sample_once::{render_json, render_table, sample_once};
use fettle_agent::{act, pipeline, spool, telemetry};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

mod actions_view;
mod components;
mod spool_view;

/// Samples this host and publishes what it sees over NATS.
///
/// Every frame of samples is kept in a spool on disk until the collector says that ClickHouse has
/// it, so nothing is lost while NATS or the collector is away.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Check the configuration, print it with every value settled, and exit.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    options: Options,
}

const EXAMPLES: &str = "\
Examples:
  fettle-agent run                                   sample this host, publish to nats://127.0.0.1:4222
  fettle-agent run --nats tls://nats.example:4222    publish somewhere else
  fettle-agent check --config agent.toml             is this file right, and what does it come to?
  fettle-agent sample --once --format table          what would be sampled, for a person
  fettle-agent components                            what is declared, what is allowed, how is it now?
  fettle-agent spool status                          how much is waiting to be stored?";

#[derive(Debug, Subcommand)]
enum Command {
    /// Sample, keep and publish until told to stop.
    Run(Options),
    /// Check the configuration and print it with every value settled.
    Check(Options),
    /// Sample this host once and print what there is to see.
    Sample(SampleOptions),
    /// Show the components that the host's file declares, what may be done to them, and one round of checks.
    Components(components::Options),
    /// Look into a spool; the agent may be running.
    Spool {
        #[command(subcommand)]
        what: SpoolCommand,
    },
    /// List what was done, refused and is waiting to be reported; the agent may be running.
    Actions(ActionsOptions),
}

#[derive(Debug, Args)]
struct ActionsOptions {
    /// Directory of the agent's state [default: what the configuration says].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only receipts the collector does not have.
    #[arg(long)]
    waiting: bool,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Options {
    /// Configuration file [default: /etc/fettle/agent.toml, if it exists].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// NATS servers, comma separated [default: nats://127.0.0.1:4222].
    #[arg(long, value_name = "URL", env = "FETTLE_NATS_URL")]
    nats: Option<String>,
    /// File with the nkey seed to log in to NATS with.
    #[arg(long, value_name = "FILE")]
    nats_nkey_file: Option<PathBuf>,
    /// Directory of the spool.
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// Name of this agent [default: the host's name].
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Where /metrics is served, or "off" [default: 127.0.0.1:8061].
    #[arg(long, value_name = "ADDR")]
    metrics: Option<String>,
}

#[derive(Debug, Args)]
struct SampleOptions {
    /// Take one scan: the only way there is, said for clearness.
    #[arg(long)]
    once: bool,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = SampleFormat::Table)]
    format: SampleFormat,
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SampleFormat {
    /// For a person.
    Table,
    /// For a program.
    Json,
}

#[derive(Debug, Subcommand)]
enum SpoolCommand {
    /// Sum up what the spool holds.
    Status(SpoolOptions),
    /// List its frames, oldest first.
    List(SpoolOptions),
}

#[derive(Debug, Args)]
struct SpoolOptions {
    /// Directory of the spool [default: what the configuration says].
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        None if cli.check => check(cli.options),
        None => {
            eprintln!("say what to do, for instance `fettle-agent run`; `fettle-agent --help` lists it all");
            return ExitCode::from(2);
        }
        Some(Command::Run(options)) => run(options),
        Some(Command::Check(options)) => check(options),
        Some(Command::Sample(options)) => sample(options),
        Some(Command::Components(options)) => components::show(&options),
        Some(Command::Spool { what }) => look(&what),
        Some(Command::Actions(options)) => actions(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fettle-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn settings(options: Options) -> anyhow::Result<Settings> {
    let Options { config, nats, nats_nkey_file, spool, agent, metrics } = options;
    let overrides = Overrides { agent, nats, nats_nkey_file, spool, metrics };
    Ok(Settings::load(config.as_deref(), &overrides, &this_host())?)
}

/// What the defaults depend on; raises the limit of open files as far as this user may.
fn this_host() -> Host {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let home = |dir: &str| std::env::var_os(dir).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state_dir = if rustix::process::geteuid().is_root() {
        PathBuf::from("/var/lib")
    } else {
        home("XDG_STATE_HOME")
            .or_else(|| Some(home("HOME")?.join(".local/state")))
            .unwrap_or_else(std::env::temp_dir)
    };
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Refused: then the sampler keeps fewer files open.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    let open_files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    Host { name, state_dir, open_files: usize::try_from(open_files).unwrap_or(usize::MAX) }
}

fn check(options: Options) -> anyhow::Result<()> {
    let settings = settings(options)?;
    print(&settings.render())?;
    components::check(&settings.act)
}

fn run(options: Options) -> anyhow::Result<()> {
    let settings = settings(options)?;
    telemetry::start_logs(&settings.log);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime could not be started; raise the limit of open files")?;
    runtime.block_on(async {
        let stop = told_to_stop().context("signals cannot be received")?;
        pipeline::run(settings, stop).await?;
        Ok(())
    })
}

fn told_to_stop() -> std::io::Result<impl std::future::Future<Output = ()>> {
    use tokio::signal::unix::{signal, SignalKind};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Width of a table where no terminal says how wide it is.
const TABLE_WIDTH: usize = 120;

fn sample(options: SampleOptions) -> anyhow::Result<()> {
    let SampleOptions { once: _, format, config } = options;
    let settings = Settings::load(config.as_deref(), &Overrides::default(), &this_host())?;
    let snapshot = sample_once(settings.sample)?;
    match format {
        SampleFormat::Json => print(&(render_json(&snapshot) + "\n")),
        SampleFormat::Table => {
            let terminal = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
            let width = terminal.map(|size| usize::from(size.ws_col)).filter(|width| *width > 0);
            print(&render_table(&snapshot, width.unwrap_or(TABLE_WIDTH)))
        }
    }
}

fn look(what: &SpoolCommand) -> anyhow::Result<()> {
    let (SpoolCommand::Status(options) | SpoolCommand::List(options)) = what;
    let overrides = Overrides { spool: options.spool.clone(), ..Overrides::default() };
    let settings = Settings::load(options.config.as_deref(), &overrides, &this_host())?;
    let dir = &settings.spool.dir;
    match what {
        SpoolCommand::Status(options) => {
            let status = spool::status(dir)?;
            print(&spool_view::status(dir, &status, options.json)?)
        }
        SpoolCommand::List(options) => spool_view::list(dir, options.json, print),
    }
}

fn actions(options: &ActionsOptions) -> anyhow::Result<()> {
    let settings = Settings::load(options.config.as_deref(), &Overrides::default(), &this_host())?;
    let state_dir = options.state.as_deref().unwrap_or(&settings.act.state_dir);
    let mut entries = act::list(&state_dir.join(act::DIRECTORY))?;
    entries.retain(|entry| !options.waiting || entry.is_waiting());
    print(&actions_view::render(&entries, options.json)?)
}

/// Prints to standard output; a reader that has enough (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => Ok(written?),
    }
}
