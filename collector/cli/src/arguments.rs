//! The command line: every subcommand and flag, with help that teaches by example.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::incidents::arguments::IncidentsArguments;
use crate::operations::arguments::{
    AlertsArguments, AuditArguments, HealthArguments, LookArguments, PlansArguments, SilencesArguments,
    WordArguments,
};
use crate::replay::arguments::ReplayArguments;

/// Keeps a fleet of Linux hosts in good order: samples, stores, answers in SQL.
#[derive(Debug, Parser)]
#[command(
    name = "fettle",
    version,
    after_help = "Examples:\n  \
        fettle up                                   start everything on this machine\n  \
        fettle sql \"SELECT count() FROM process\"    ask it something\n  \
        fettle sql                                  ask many things\n  \
        fettle metrics list --family process        what is measured\n  \
        fettle eval nab --data eval/nab --out out   how good the detectors are\n  \
        fettle rules check my-rules                 are my rules sound?\n  \
        fettle replay --from -2h                    what the detectors find in history\n  \
        fettle doctor                               what this machine lacks"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start NATS, ClickHouse, the collector and an agent, and keep them running.
    Up(UpArguments),
    /// Let another agent log in to the NATS of `fettle up`.
    Login(LoginArguments),
    /// The ClickHouse that comes along.
    Clickhouse(ClickhouseArguments),
    /// Ask in ClickHouse SQL: one question, a file, or a prompt.
    Sql(SqlArguments),
    /// What is measured.
    Metrics(MetricsArguments),
    /// Run the detectors and forecasters over labelled data, for its scorers.
    Eval(EvalArguments),
    /// What is wrong, why people were told or not, and who takes care of it.
    Alerts(AlertsArguments),
    /// Tell nobody about some alerts for a while.
    Silences(SilencesArguments),
    /// The services that hosts declare, and how they are.
    Components(LookArguments),
    /// What is done to mend things: list, approve, deny, cancel, roll back.
    Plans(PlansArguments),
    /// Do nothing to any host until `fettle unfreeze`.
    Freeze(WordArguments),
    /// Go on after `fettle freeze`.
    Unfreeze(WordArguments),
    /// How operations are: freezes, channels, breakers, the public key, the audit's head.
    Status(LookArguments),
    /// How healthy hosts are: a score, what it lost points for, and what to do.
    Health(HealthArguments),
    /// The audit: what was wanted and what became of it.
    Audit(AuditArguments),
    /// Check, list and try the rules that say what is wrong.
    Rules(crate::rules::RulesArguments),
    /// Run the live detectors over stored history, and say what they would have found.
    Replay(ReplayArguments),
    /// Mark what went wrong, for `fettle replay` to compare with.
    Incidents(IncidentsArguments),
    /// Check what Fettle needs from this machine, and say how to fix what is missing.
    Doctor(DoctorArguments),
    /// Run a program that dies with its parent (used by `fettle up`).
    #[command(hide = true)]
    Part(PartArguments),
}

/// Flags of `fettle up`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    fettle up\n  \
    fettle up --state-dir /srv/fettle --http 0.0.0.0:8060\n  \
    fettle up --sql 127.0.0.1:9123 --nats 127.0.0.1:9222\n\n\
    Port 0 picks a free port. Ctrl-C or SIGTERM stops everything in order and loses nothing; a second\n\
    Ctrl-C stops at once. Each part's log is STATE_DIR/logs/PART.log.")]
pub(crate) struct UpArguments {
    /// Where everything is kept [default: $XDG_STATE_HOME/fettle or ~/.local/state/fettle].
    #[arg(long, value_name = "DIR", env = "FETTLE_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Address of the HTTP interface: health, metrics.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8060")]
    pub(crate) http: SocketAddr,
    /// Address of ClickHouse's HTTP interface.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8123")]
    pub(crate) sql: SocketAddr,
    /// Address of NATS, for agents on other hosts.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4222")]
    pub(crate) nats: SocketAddr,
    /// Address of the agent's own metrics (Prometheus).
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8061")]
    pub(crate) agent_metrics: SocketAddr,
    /// Name of the agent on this host [default: the host's name].
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// Configuration file of the agent (TOML).
    #[arg(long, value_name = "FILE")]
    pub(crate) agent_config: Option<PathBuf>,
    /// Configuration file of the collector (TOML).
    #[arg(long, value_name = "FILE")]
    pub(crate) collector_config: Option<PathBuf>,
    /// Show the parts' logs here too.
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

/// Flags of `fettle login`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    fettle login web-1        then copy the file it names to web-1, for nats.nkey_file of its agent\n\n\
    The agent may send what is its own and hear what is meant for it, and nothing else (docs/agent.md). Delete the\n\
    file and start `fettle up` anew to shut it out.")]
pub(crate) struct LoginArguments {
    /// Name of the agent.
    pub(crate) name: String,
    /// State directory of `fettle up` [default: $XDG_STATE_HOME/fettle or ~/.local/state/fettle].
    #[arg(long, value_name = "DIR", env = "FETTLE_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

/// Flags of `fettle clickhouse`.
#[derive(Debug, Args)]
pub(crate) struct ClickhouseArguments {
    #[command(subcommand)]
    pub(crate) command: ClickhouseCommand,
}

/// What to do with the ClickHouse that comes along.
#[derive(Debug, Subcommand)]
pub(crate) enum ClickhouseCommand {
    /// Answer ClickHouse's HTTP interface over libchdb, the engine as a library.
    Serve(ServeArguments),
}

/// Flags of `fettle clickhouse serve`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    fettle clickhouse serve --path /srv/clickhouse --listen 127.0.0.1:8123\n  \
    curl 'http://127.0.0.1:8123/?query=SELECT+version()'\n\n\
    People ask as user `default`, without a password, and may only read. The user `fettle` writes; its\n\
    password is made on the first start and kept in the password file.")]
pub(crate) struct ServeArguments {
    /// Directory of the data; made when absent.
    #[arg(long, value_name = "DIR")]
    pub(crate) path: PathBuf,
    /// Address to answer on; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8123")]
    pub(crate) listen: SocketAddr,
    /// File with the writer's password [default: PATH/writer.password].
    #[arg(long, value_name = "FILE")]
    pub(crate) writer_password_file: Option<PathBuf>,
    /// libchdb.so to load [default: looked for in the usual places].
    #[arg(long, value_name = "FILE", env = "FETTLE_LIBCHDB")]
    pub(crate) library: Option<PathBuf>,
    /// Most memory all queries together may take, in MiB.
    #[arg(long, value_name = "MIB")]
    pub(crate) max_memory: Option<u64>,
    /// Most threads one query may use.
    #[arg(long, value_name = "N")]
    pub(crate) max_threads: Option<usize>,
}

/// Which ClickHouse to ask, and as whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct Server {
    /// ClickHouse's HTTP address.
    #[arg(long, value_name = "URL", env = "FETTLE_SQL_URL", default_value = "http://127.0.0.1:8123")]
    pub(crate) url: String,
    /// User to ask as.
    #[arg(long, value_name = "NAME", env = "FETTLE_SQL_USER", default_value = "default")]
    pub(crate) user: String,
    /// The user's password.
    #[arg(
        long,
        value_name = "TEXT",
        env = "FETTLE_SQL_PASSWORD",
        hide_env_values = true,
        default_value = ""
    )]
    pub(crate) password: String,
    /// Database that unqualified names are looked up in.
    #[arg(long, value_name = "NAME", env = "FETTLE_SQL_DATABASE", default_value = "fettle")]
    pub(crate) database: String,
}

/// Flags of `fettle sql`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    fettle sql \"SELECT comm, rss_bytes FROM process ORDER BY ts DESC, rss_bytes DESC LIMIT 10\"\n  \
    fettle sql --format CSVWithNames \"SELECT * FROM cpu LIMIT 100\" > cpu.csv\n  \
    fettle sql < questions.sql\n  \
    fettle sql                 the prompt: end a question with `;`, \\d lists tables, \\q leaves\n\n\
    Tables are for reading: they show the first 10,000 rows. For programs use --format or --json, which\n\
    stream all of them.")]
pub(crate) struct SqlArguments {
    /// The question; without one it is read from standard input, or asked for at a prompt.
    pub(crate) query: Option<String>,
    #[command(flatten)]
    pub(crate) server: Server,
    /// Print in this ClickHouse format instead of a table.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Print one JSON object a row (--format JSONEachRow).
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
    /// Leave out the line with rows and time.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// Flags of `fettle metrics`.
#[derive(Debug, Args)]
pub(crate) struct MetricsArguments {
    #[command(subcommand)]
    pub(crate) command: MetricsCommand,
}

/// What to do with the catalogue of metrics.
#[derive(Debug, Subcommand)]
pub(crate) enum MetricsCommand {
    /// Every metric with its unit, kind and meaning.
    List(ListArguments),
}

/// Flags of `fettle metrics list`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    fettle metrics list\n  \
    fettle metrics list --family process\n  \
    fettle metrics list --json | jq '.[].metrics[].name'\n  \
    fettle metrics list --markdown > docs/metrics.md\n\n\
    A family is a table, a metric is a column: process.rss_bytes is column rss_bytes of table process.")]
pub(crate) struct ListArguments {
    /// Only this family.
    #[arg(long, value_name = "NAME")]
    pub(crate) family: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the page that is docs/metrics.md.
    #[arg(long, conflicts_with = "json")]
    pub(crate) markdown: bool,
}

/// Flags of `fettle eval`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    fettle eval nab --data eval/nab --out out/nab\n  \
    fettle eval hosts --data eval/hosts --out out/hosts\n  \
    fettle eval failure --data eval/failure --out out/failure.csv\n  \
    fettle eval forecast --data eval/forecast --out out/forecast\n\n\
    Rows are given to the code that judges live samples, one by one, with the settings that are shipped;\n\
    labels, truths and what comes later are not read. A score of 0.5 and more is an alarm.")]
pub(crate) struct EvalArguments {
    #[command(subcommand)]
    pub(crate) command: EvalCommand,
}

/// What to evaluate.
#[derive(Debug, Subcommand)]
pub(crate) enum EvalCommand {
    /// Anomalies in single series: CSV files with timestamp and value.
    #[command(after_help = "Examples:\n  \
        fettle eval nab --data eval/nab --out out/nab\n  \
        score.py --detections out/nab\n\n\
        --data: every CSV file in it and below it, or below DIR/data where there is such a folder, is a\n\
        series with the columns timestamp (2014-04-01 00:00:00) and value.\n\
        --out: a folder; each series gets a file at the same place with timestamp,anomaly_score, one row a\n\
        row. Higher is odder; 0 while nothing is known yet.")]
    Nab(EvalPaths),
    /// Anomalies of hosts: CSV files with a column a metric.
    #[command(after_help = "Examples:\n  \
        fettle eval hosts --data eval/hosts --out out/hosts\n  \
        score_hosts.py --detections out/hosts\n\n\
        --data: HOST.csv with the columns sample (0, 1, 2, …) and one a metric; labels.json names the hosts\n\
        and says where scoring begins (scored_from) and how far samples lie apart (seconds). Its incidents\n\
        are not read. Without labels.json every CSV file is a host and all of its rows are written.\n\
        --out: a folder; each host gets HOST.csv with sample,anomaly_score, and reports/HOST.csv with sample,voice:\n\
        the rows that the live watch would have reported, and whether its series or its host detector did.")]
    Hosts(EvalHostsArguments),
    /// Failures to come: units that ran to failure, and units that still run.
    #[command(after_help = "Examples:\n  \
        fettle eval failure --data eval/failure --out out/failure.csv\n  \
        score_failure.py --predictions out/failure.csv\n\n\
        --data: train.csv and test.csv with the columns unit, cycle and one a sensor, the rows of a unit\n\
        together and in order. The last row of a unit in train.csv is its failure.\n\
        --out: a file with unit,cycle,rul,risk for every row of test.csv: cycles left, and the probability\n\
        of failing within 30 cycles.")]
    Failure(EvalPaths),
    /// Forecasts, and times until a limit is reached.
    #[command(after_help = "Examples:\n  \
        fettle eval forecast --data eval/forecast --out out/forecast\n  \
        score_forecast.py --forecasts out/forecast/forecasts.csv --exhaustion out/forecast/exhaustion.csv\n\n\
        --data: tasks.json (series, season, horizon, history, origins), exhaustion.json (series, origin,\n\
        limit, horizon) or both, and series/NAME.csv with the column value. The true eta is not read.\n\
        --out: a folder for forecasts.csv (series,origin,step,value,lower,upper; 80 % intervals) and\n\
        exhaustion.csv (series,origin,eta,lower,upper,probability; times in rows, or never).")]
    Forecast(EvalPaths),
}

/// Where the data of an evaluation lies and where the answer goes.
#[derive(Debug, Args)]
pub(crate) struct EvalPaths {
    /// Folder of the data.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Where the answer goes; made when absent.
    #[arg(long, value_name = "PATH")]
    pub(crate) out: PathBuf,
}

/// Flags of `fettle eval hosts`.
#[derive(Debug, Args)]
pub(crate) struct EvalHostsArguments {
    #[command(flatten)]
    pub(crate) paths: EvalPaths,
    /// Seconds between two samples, where labels.json does not say.
    #[arg(long, value_name = "N", default_value = "300")]
    pub(crate) seconds: NonZeroU32,
}

/// Flags of `fettle doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    fettle doctor\n  \
    fettle doctor --json | jq '.checks[] | select(.status != \"ok\")'\n\n\
    Exits with 1 when something fails; a warning costs a feature, not the work.")]
pub(crate) struct DoctorArguments {
    /// State directory of `fettle up` [default: $XDG_STATE_HOME/fettle or ~/.local/state/fettle].
    #[arg(long, value_name = "DIR", env = "FETTLE_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Address of the HTTP interface.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8060")]
    pub(crate) http: SocketAddr,
    /// Address of NATS.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4222")]
    pub(crate) nats: SocketAddr,
    #[command(flatten)]
    pub(crate) server: Server,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of the hidden `fettle part`.
#[derive(Debug, Args)]
pub(crate) struct PartArguments {
    /// The process this one dies with.
    #[arg(long)]
    pub(crate) parent: u32,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}
