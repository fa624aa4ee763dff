//! Flags of `fettle replay`.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::Args;

use crate::arguments::Server;

/// Flags of `fettle replay`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    fettle replay --from -2h                        what would have been found in the last two hours\n  \
    fettle replay --from -1d --detectors try.toml   the same day with other settings\n  \
    fettle replay --from 2026-11-22T08:00:00Z --to 2026-11-22T09:00:00Z --host web-1 --json\n  \
    fettle replay --from -1d --incidents marked.csv compared with incidents of a file\n  \
    fettle replay --from -1d --calibrate            does 1 in 10,000 mean it\n  \
    fettle replay --from -30d --policies mine.yaml  what a policy would have done last month\n  \
    fettle replay --from -30d --policies built-in --assume-helps --json\n\n\
    The detectors are those of the collector, with its settings or those of --detectors (a TOML file with\n\
    the keys of the collector's [analysis]; more in docs/replay.md); they begin with nothing learned, --warm-up before --from. The\n\
    clock is the data's. What is found is compared with the incidents of `fettle incidents`, or of a CSV\n\
    file with the columns host,begin,end,kind. Times are RFC 3339, now, or how long ago: -90s, -15m, -2h.\n\n\
    With --policies the alerts, components, silences and freezes that are stored drive the collector's own planner\n\
    and operator, and what agents really did stands beside what the policy would have done. Nothing is sent. Whether\n\
    an action that nobody took would have helped cannot be known. Assumed is that it changed nothing: a step is\n\
    verified by what really happened, an alert's real end and its component's real state, which gives the most\n\
    orders there could be; with --assume-helps each order ends the alert it was for, which gives the fewest. Also\n\
    assumed: orders take a second; nobody approves or denies; what hosts' files allow and what components need is\n\
    what the collector at --http knows today; metrics that conditions name are unknown.")]
pub(crate) struct ReplayArguments {
    /// Where it begins.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) from: String,
    /// Where it ends.
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true)]
    pub(crate) to: String,
    /// Settings of the detectors (TOML).
    #[arg(long, value_name = "FILE")]
    pub(crate) detectors: Option<PathBuf>,
    /// Say what this policy would have done instead (YAML, or built-in).
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["detectors", "incidents", "warm_up", "lead", "calibrate", "threads"]
    )]
    pub(crate) policies: Option<PathBuf>,
    /// With --policies: take each order to have ended the alert it was for.
    #[arg(long, requires = "policies")]
    pub(crate) assume_helps: bool,
    /// With --policies: rules whose `action` names entries, on top of the default pack; files or folders.
    #[arg(long, value_name = "PATH", requires = "policies")]
    pub(crate) rules: Vec<PathBuf>,
    /// With --policies: the collector that is asked what hosts' files allow.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8060", env = "FETTLE_HTTP")]
    pub(crate) http: SocketAddr,
    /// Only this host; may be given several times.
    #[arg(long = "host", value_name = "HOST")]
    pub(crate) hosts: Vec<String>,
    /// Compare with the incidents of this CSV file instead of the stored ones.
    #[arg(long, value_name = "FILE")]
    pub(crate) incidents: Option<PathBuf>,
    /// Seconds before --from in which the detectors learn and say nothing.
    #[arg(long, value_name = "SECONDS", default_value = "0")]
    pub(crate) warm_up: u32,
    /// An alarm this many seconds before the marked begin of an incident is early, not false.
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    pub(crate) lead: u32,
    /// Say how often scores claimed to be rare, against how often they should have.
    #[arg(long)]
    pub(crate) calibrate: bool,
    /// Hosts replayed at the same time.
    #[arg(long, value_name = "N", default_value = "2")]
    pub(crate) threads: NonZeroU32,
    #[command(flatten)]
    pub(crate) server: Server,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
