//! The store's configuration: raw as the file says it, settled as the store uses it.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::StoreError;

/// `[clickhouse]` as the file says it. Every key is optional; unknown keys are refused.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawStoreConfig {
    /// `http://host:8123` or `https://host:8443`; none means the engine that Fettle brings.
    pub url: Option<String>,
    /// User to sign in as.
    pub user: Option<String>,
    /// Password; `password_file` is the better place.
    pub password: Option<String>,
    /// File that holds the password and nothing else.
    pub password_file: Option<PathBuf>,
    /// Database of all tables.
    pub database: Option<String>,
    /// Cluster name: makes Replicated and Distributed tables.
    pub cluster: Option<String>,
    /// `process` (survives any crash of a process) or `power` (fsync; survives loss of power).
    pub durability: Option<String>,
    /// How long rows are kept.
    pub ttl: RawTtl,
    /// Longest one request may take, in seconds.
    pub timeout_s: Option<u64>,
}

/// `[clickhouse.ttl]`: whole numbers with a unit: `24h`, `7d`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawTtl {
    /// Raw rows.
    pub raw: Option<String>,
    /// 10-second windows.
    pub ten_seconds: Option<String>,
    /// One-minute windows.
    pub minute: Option<String>,
    /// One-hour windows.
    pub hour: Option<String>,
    /// Ledger rows, intents and the roll-up log.
    pub ledger: Option<String>,
}

/// What the store works with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// Where ClickHouse answers.
    pub url: String,
    /// User, if any.
    pub user: Option<String>,
    /// Password, if any.
    pub password: Option<String>,
    /// Database of all tables.
    pub database: String,
    /// Cluster, if any.
    pub cluster: Option<String>,
    /// What a confirmed write survives.
    pub durability: Durability,
    /// How long rows are kept.
    pub ttl: Ttl,
    /// Longest one request may take.
    pub timeout: Duration,
}

/// What a confirmed write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The death of any process.
    Process,
    /// Loss of power: parts are fsynced, on a cluster a quorum has them.
    Power,
}

/// How long rows are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl {
    /// Raw rows.
    pub raw: Duration,
    /// 10-second windows.
    pub ten_seconds: Duration,
    /// One-minute windows.
    pub minute: Duration,
    /// One-hour windows.
    pub hour: Duration,
    /// Ledger rows, intents and the roll-up log.
    pub ledger: Duration,
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

impl Default for Ttl {
    fn default() -> Self {
        Self {
            raw: Duration::from_secs(24 * HOUR),
            ten_seconds: Duration::from_secs(7 * DAY),
            minute: Duration::from_secs(90 * DAY),
            hour: Duration::from_secs(730 * DAY),
            ledger: Duration::from_secs(30 * DAY),
        }
    }
}

impl StoreSettings {
    /// Defaults for a server at this address: database `fettle`, no user, no cluster.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            user: None,
            password: None,
            database: "fettle".into(),
            cluster: None,
            durability: Durability::Process,
            ttl: Ttl::default(),
            timeout: Duration::from_secs(60),
        }
    }
}

impl RawStoreConfig {
    /// Checks the values and reads the password file. `embedded_url` is used when no url is given.
    ///
    /// # Errors
    /// [`StoreError::Config`] with the key and the remedy.
    pub fn settle(self, embedded_url: &str) -> Result<StoreSettings, StoreError> {
        let _ = embedded_url;
        Err(StoreError::Config { key: "clickhouse".into(), cause: "not yet built".into() })
    }
}
