//! Flags of the commands that speak to operations: alerts, silences, components, plans, freezes, the audit.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::arguments::Server;

/// Which collector, as whom, and how to print.
#[derive(Debug, Clone, Args)]
pub(crate) struct Collector {
    /// Address of the collector's HTTP interface.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8060", env = "FETTLE_HTTP", global = true)]
    pub(crate) http: SocketAddr,
    /// File with the token that changes need [default: collector/api.token in the state directory of `fettle up`].
    #[arg(long, value_name = "FILE", env = "FETTLE_TOKEN_FILE", global = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// State directory of `fettle up` [default: $XDG_STATE_HOME/fettle or ~/.local/state/fettle].
    #[arg(long, value_name = "DIR", env = "FETTLE_STATE_DIR", global = true)]
    pub(crate) state_dir: Option<PathBuf>,
    /// Who you are, for the audit [default: $USER].
    #[arg(long, value_name = "NAME", env = "FETTLE_AUTHOR", global = true)]
    pub(crate) author: Option<String>,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// Flags of `fettle alerts`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    fettle alerts list\n  \
    fettle alerts why 3f0c2a9d11e07b42            why people were told, or were not\n  \
    fettle alerts ack 3f0c2a9d11e07b42 --reason 'on it'\n  \
    fettle alerts unack 3f0c2a9d11e07b42          somebody else must look\n  \
    fettle alerts resolve 3f0c2a9d11e07b42 --reason 'known, harmless'\n  \
    fettle alerts incidents\n  \
    fettle alerts test-channel oncall")]
pub(crate) struct AlertsArguments {
    #[command(subcommand)]
    pub(crate) command: AlertsCommand,
    #[command(flatten)]
    pub(crate) collector: Collector,
}

/// What about alerts.
#[derive(Debug, Subcommand)]
pub(crate) enum AlertsCommand {
    /// Alerts that are pending, firing or lately resolved.
    List,
    /// Every decision about one alert, each with its named reason.
    Why {
        /// The alert's id.
        id: String,
    },
    /// Take care of an alert: nobody else is told, escalation stops.
    Ack(AlertWord),
    /// Give an alert back that somebody took: reminders and escalation go on.
    Unack(AlertWord),
    /// Call an alert over; it comes back when its condition begins anew. Mending goes by the condition itself.
    Resolve(AlertWord),
    /// Alerts that belong together, with the probable cause.
    Incidents,
    /// Send a test notification to a channel.
    TestChannel {
        /// The channel's name.
        name: String,
    },
}

/// An alert and why.
#[derive(Debug, Clone, Args)]
pub(crate) struct AlertWord {
    /// The id of an alert or an incident.
    pub(crate) id: String,
    /// Why, for the history.
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
}

/// Flags of `fettle silences`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    fettle silences add host=web-1 --for 2h --reason 'disk is being swapped'\n  \
    fettle silences add 'rule=disk*' 'severity=!critical' --for 30m --reason 'known'\n  \
    fettle silences list\n  \
    fettle silences end s7")]
pub(crate) struct SilencesArguments {
    #[command(subcommand)]
    pub(crate) command: SilencesCommand,
    #[command(flatten)]
    pub(crate) collector: Collector,
}

/// What about silences.
#[derive(Debug, Subcommand)]
pub(crate) enum SilencesCommand {
    /// All silences.
    List,
    /// Tell nobody about matching alerts for a while.
    Add {
        /// Matchers, all of which must fit: label=pattern, where a pattern is a text with * and |, or !pattern.
        #[arg(required = true)]
        matchers: Vec<String>,
        /// For how long, such as 90m, 2h, 1d.
        #[arg(long = "for", value_name = "TIME", default_value = "2h")]
        length: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// End a silence now.
    End {
        /// The silence's id.
        id: String,
        /// Why, for the audit.
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// Flags of `fettle plans`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    fettle plans list\n  \
    fettle plans show 9c21ab\n  \
    fettle plans approve 9c21ab --reason 'release is known bad'\n  \
    fettle plans retry 9c21ab --reason 'the disk was changed'\n  \
    fettle plans now                             what would be done now, and why nothing else\n\n\
    Approving, denying, cancelling, rolling back and retrying are written into the audit with your name.")]
pub(crate) struct PlansArguments {
    #[command(subcommand)]
    pub(crate) command: PlansCommand,
    #[command(flatten)]
    pub(crate) collector: Collector,
}

/// A plan and why.
#[derive(Debug, Clone, Args)]
pub(crate) struct PlanWord {
    /// The plan's id.
    pub(crate) id: String,
    /// Why, for the audit.
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
}

/// What about plans.
#[derive(Debug, Subcommand)]
pub(crate) enum PlansCommand {
    /// Plans, newest first.
    List,
    /// One plan: its steps, what became of them, what was left out and why.
    Show {
        /// The plan's id.
        id: String,
    },
    /// What would be done now.
    Now,
    /// Let a plan run that waits for it.
    Approve(PlanWord),
    /// Never run it.
    Deny(PlanWord),
    /// Stop it after the step it is in.
    Cancel(PlanWord),
    /// Undo what it did.
    RollBack(PlanWord),
    /// Think again about what the plan was for, as if nothing had been tried: after it gave up, was denied or cancelled.
    Retry(PlanWord),
}

/// Flags of commands that only ask or give one word.
#[derive(Debug, Args)]
pub(crate) struct WordArguments {
    /// Why, for the audit.
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) collector: Collector,
}

/// Flags of `fettle status` and `fettle components`.
#[derive(Debug, Args)]
pub(crate) struct LookArguments {
    #[command(flatten)]
    pub(crate) collector: Collector,
}

/// Flags of `fettle health`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    fettle health                                all hosts, the worst first\n  \
    fettle health web-1                          what web-1 loses points for, and what to do\n  \
    fettle health web-1 --json")]
pub(crate) struct HealthArguments {
    /// Host; without one, the fleet.
    pub(crate) host: Option<String>,
    #[command(flatten)]
    pub(crate) collector: Collector,
}

/// Flags of `fettle audit`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    fettle audit list --since -2h                what was wanted and done in the last two hours\n  \
    fettle audit list --host web-1 --kind outcome\n  \
    fettle audit list --plan 9c21 --json\n  \
    fettle audit verify                          is the chain whole, up to what the collector remembers?\n  \
    fettle sql \"SELECT ts, who, what FROM audit ORDER BY seq DESC LIMIT 20\"")]
pub(crate) struct AuditArguments {
    #[command(subcommand)]
    pub(crate) command: AuditCommand,
}

/// What about the audit.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Records, newest first.
    List(AuditListArguments),
    /// Checks every hash from the first record to the newest.
    Verify {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        collector: Collector,
    },
}

/// Which records of the audit.
#[derive(Debug, Args)]
pub(crate) struct AuditListArguments {
    /// From this time on: 2026-11-22T08:30:00Z, or how long ago, such as -90m, -2h, -1d.
    #[arg(long, value_name = "TIME", default_value = "-1d", allow_hyphen_values = true)]
    pub(crate) since: String,
    /// Only what is about this host.
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Only this kind, such as planned, intent, outcome, verified, ended, held, frozen.
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// Only this plan; the beginning of its id will do.
    #[arg(long, value_name = "ID")]
    pub(crate) plan: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) server: Server,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
