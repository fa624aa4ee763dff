//! The host's file as it is written: every key optional, unknown ones refused by name and line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use crate::config::units::{Size, Span};

pub(super) type Value<T> = Option<Spanned<T>>;
/// Tables by name.
pub(super) type Named<T> = BTreeMap<Spanned<String>, T>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    pub trusted_keys: Vec<Spanned<String>>,
    pub freeze_file: Value<PathBuf>,
    pub limits: RawLimits,
    pub host: RawAllowed,
    pub components: Named<RawComponent>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLimits {
    pub concurrent: Value<i64>,
    pub per_hour: Value<i64>,
    pub cooldown: Value<Span>,
    pub timeout: Value<Span>,
    pub local_per_hour: Value<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawComponent {
    pub runs: Value<RawRuns>,
    pub check: Value<RawCheck>,
    pub interval: Value<Span>,
    pub timeout: Value<Span>,
    pub failures: Value<i64>,
    pub depends_on: Vec<Spanned<String>>,
    pub critical: bool,
    pub allow: RawAllowed,
    pub local: Vec<Spanned<RawLocal>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRuns {
    pub command: Value<Vec<String>>,
    pub directory: Value<PathBuf>,
    pub environment: Named<String>,
    pub user: Value<String>,
    pub replicas: Value<i64>,
    pub replicas_min: Value<i64>,
    pub replicas_max: Value<i64>,
    pub stop_signal: Value<String>,
    pub stop_timeout: Value<Span>,
    pub unit: Value<String>,
    pub container: Value<String>,
    pub socket: Value<PathBuf>,
    pub pid_file: Value<PathBuf>,
    pub executable: Value<PathBuf>,
    pub name: Value<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCheck {
    pub process: Value<bool>,
    pub active: Value<bool>,
    pub tcp: Value<String>,
    pub http: Value<String>,
    pub status: Value<i64>,
    pub contains: Value<String>,
    pub exec: Value<Vec<String>>,
    pub user: Value<String>,
    pub file: Value<PathBuf>,
    pub oldest: Value<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAllowed {
    pub restart: bool,
    pub start: bool,
    pub stop: bool,
    pub signals: Vec<Spanned<String>>,
    pub nice: Value<(i64, i64)>,
    pub limits: Named<Spanned<(i64, i64)>>,
    pub cgroup: Value<PathBuf>,
    pub clean_up: Named<RawCleanUp>,
    pub drop_caches: bool,
    pub fix_permissions: Named<RawPermissions>,
    pub roll_back: Named<RawRollBack>,
    pub fail_over: Named<RawFailOver>,
    pub scale: Value<bool>,
    pub run: Named<RawCommand>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCleanUp {
    pub root: Value<PathBuf>,
    pub pattern: Value<String>,
    pub older_than: Value<Span>,
    pub keep: Value<Size>,
    pub most: Value<Size>,
    pub most_files: Value<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPermissions {
    pub path: Value<PathBuf>,
    pub mode: Value<String>,
    pub user: Value<String>,
    pub group: Value<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRollBack {
    pub link: Value<PathBuf>,
    pub releases: Value<PathBuf>,
    pub file: Value<PathBuf>,
    pub versions: Value<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawFailOver {
    pub link: Value<PathBuf>,
    pub candidates: Vec<Spanned<RawCandidate>>,
    pub hook: Option<RawCommand>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCandidate {
    pub name: String,
    pub target: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCommand {
    pub command: Value<Vec<String>>,
    pub user: Value<String>,
    pub directory: Value<PathBuf>,
}

/// A local rule: the action with its parameters side by side, and when.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLocal {
    pub action: Value<String>,
    pub after: Value<Span>,
    pub alone_for: Value<Span>,
    pub signal: Option<String>,
    pub nice: Option<i64>,
    pub resource: Option<String>,
    pub value: Option<i64>,
    pub policy: Option<String>,
    pub entry: Option<String>,
    pub to: Option<String>,
    pub replicas: Option<i64>,
    pub command: Option<String>,
}
