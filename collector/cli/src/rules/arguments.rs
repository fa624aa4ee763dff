//! The command line of `fettle rules`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Flags of `fettle rules`.
#[derive(Debug, Args)]
pub(crate) struct RulesArguments {
    #[command(subcommand)]
    pub(crate) command: RulesCommand,
}

/// What to do with rules.
#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// Read rules and say what is wrong with them, with line and column.
    Check(CheckArguments),
    /// Every rule in one line.
    List(ListRulesArguments),
    /// One rule as it stands in its file.
    Show(ShowArguments),
    /// Play unit tests of rules: input series and expected alerts.
    Test(TestArguments),
}

/// Flags of `fettle rules check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    fettle rules check                    the default pack\n  \
    fettle rules check /etc/fettle/rules  every .yaml and .yml file in a folder, with the default pack\n\n\
    Exits with 1 when something is wrong.")]
pub(crate) struct CheckArguments {
    /// A file of rules or a folder of them [default: the default pack alone].
    pub(crate) path: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `fettle rules list`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    fettle rules list\n  \
    fettle rules list --rules /etc/fettle/rules --json | jq '.[] | select(.enabled) | .name'")]
pub(crate) struct ListRulesArguments {
    /// Files or folders of rules besides the default pack.
    #[arg(long, value_name = "PATH")]
    pub(crate) rules: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `fettle rules show`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    fettle rules show disk_space_low\n  \
    fettle rules show mine --rules my-rules.yaml")]
pub(crate) struct ShowArguments {
    /// The rule's name.
    pub(crate) name: String,
    /// Files or folders of rules besides the default pack.
    #[arg(long, value_name = "PATH")]
    pub(crate) rules: Vec<PathBuf>,
}

/// Flags of `fettle rules test`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    fettle rules test my-rules.tests.yaml\n  \
    fettle rules test --rules /etc/fettle/rules tests/*.yaml --json\n\n\
    Without --rules the files that the tests name under `rules:` are tried, on top of the default pack.\n\
    Exits with 1 when a test fails, with 2 when a file cannot be read.")]
pub(crate) struct TestArguments {
    /// Files of tests.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Files or folders of rules that are tried.
    #[arg(long, value_name = "PATH")]
    pub(crate) rules: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
