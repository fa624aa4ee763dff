//! Flags of `fettle incidents`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::arguments::Server;

/// Flags of `fettle incidents`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    fettle incidents mark --host web-1 --from -20m --to -15m --kind cpu --note \"stress test\"\n  \
    fettle incidents list\n  \
    fettle incidents unmark 5d41402abc4b2a76\n\n\
    Marked incidents are what `fettle replay` compares with. They are rows of the table `incidents`.")]
pub(crate) struct IncidentsArguments {
    #[command(subcommand)]
    pub(crate) command: IncidentsCommand,
}

/// What to do with marked incidents.
#[derive(Debug, Subcommand)]
pub(crate) enum IncidentsCommand {
    /// Say that something was wrong on a host. The same host, begin and kind again changes the mark.
    Mark(MarkArguments),
    /// The marked incidents, the newest first.
    List(ListArguments),
    /// Take marks back.
    Unmark(UnmarkArguments),
}

/// Who may write.
#[derive(Debug, Clone, Args)]
pub(crate) struct Writer {
    #[command(flatten)]
    pub(crate) server: Server,
    /// State directory of `fettle up`, for the writer's password when no --user is given [default:
    /// $XDG_STATE_HOME/fettle or ~/.local/state/fettle].
    #[arg(long, value_name = "DIR", env = "FETTLE_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

/// Flags of `fettle incidents mark`.
#[derive(Debug, Args)]
pub(crate) struct MarkArguments {
    /// Host it happened on.
    #[arg(long, value_name = "HOST")]
    pub(crate) host: String,
    /// When it began: RFC 3339, now, or how long ago (-20m).
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) from: String,
    /// When it was over.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) to: String,
    /// What kind of trouble, in a word: cpu, memory, disk, deploy.
    #[arg(long, value_name = "WORD")]
    pub(crate) kind: String,
    /// What is to be said of it.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) note: String,
    #[command(flatten)]
    pub(crate) writer: Writer,
}

/// Flags of `fettle incidents list`.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only this host's.
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    #[command(flatten)]
    pub(crate) server: Server,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `fettle incidents unmark`.
#[derive(Debug, Args)]
pub(crate) struct UnmarkArguments {
    /// Ids, as `fettle incidents list` shows them.
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) writer: Writer,
}
