//! The store's configuration: raw as the file says it, settled as the store uses it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::StoreError;
use crate::secret_file;

/// `[clickhouse]` as the file says it. Every key is optional; unknown keys are refused.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawStoreConfig {
    /// `http://host:8123` or `https://host:8443`; none means the engine that Fettle brings.
    pub url: Option<String>,
    /// User to sign in as.
    pub user: Option<String>,
    /// Password; `password_file` is the better place.
    pub password: Option<Secret>,
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

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
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
    /// Anomalies.
    pub anomalies: Option<String>,
    /// Health scores.
    pub health: Option<String>,
}

/// What the store works with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// Where ClickHouse answers.
    pub url: String,
    /// User, if any.
    pub user: Option<String>,
    /// Password, if any.
    pub password: Option<Secret>,
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
    /// Anomalies.
    pub anomalies: Duration,
    /// Health scores.
    pub health: Duration,
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
            anomalies: Duration::from_secs(90 * DAY),
            health: Duration::from_secs(730 * DAY),
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
        let url = self.url.unwrap_or_else(|| embedded_url.to_owned());
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            return Err(wrong("url", format!("{url:?} does not begin with http:// or https://")));
        }
        let password = match (self.password, self.password_file) {
            (Some(_), Some(_)) => {
                return Err(wrong("password", "it stands beside password_file; keep one of them"));
            }
            (password, None) => password,
            (None, Some(path)) => Some(read_password(&path)?),
        };
        if password.is_some() && self.user.is_none() {
            return Err(wrong("user", "a password is given and no user; name the user"));
        }
        let durability = match self.durability.as_deref() {
            None | Some("process") => Durability::Process,
            Some("power") => Durability::Power,
            Some(other) => {
                return Err(wrong("durability", format!("{other:?} is neither \"process\" nor \"power\"")));
            }
        };
        let timeout = match self.timeout_s {
            Some(0) => return Err(wrong("timeout_s", "0 leaves no time; write at least 1")),
            Some(seconds) => Duration::from_secs(seconds),
            None => Duration::from_secs(60),
        };
        Ok(StoreSettings {
            url: url.trim_end_matches('/').to_owned(),
            user: self.user,
            password,
            database: name("database", self.database)?.unwrap_or_else(|| "fettle".into()),
            cluster: name("cluster", self.cluster)?,
            durability,
            ttl: self.ttl.settle()?,
            timeout,
        })
    }
}

impl RawTtl {
    fn settle(&self) -> Result<Ttl, StoreError> {
        let or = |key: &str, text: &Option<String>, default: Duration| match text {
            None => Ok(default),
            Some(text) => span(text).ok_or_else(|| {
                wrong(
                    &format!("ttl.{key}"),
                    format!("{text:?} is not a span from 1h to 10000d, such as \"24h\""),
                )
            }),
        };
        let defaults = Ttl::default();
        let ttl = Ttl {
            raw: or("raw", &self.raw, defaults.raw)?,
            ten_seconds: or("ten_seconds", &self.ten_seconds, defaults.ten_seconds)?,
            minute: or("minute", &self.minute, defaults.minute)?,
            hour: or("hour", &self.hour, defaults.hour)?,
            ledger: or("ledger", &self.ledger, defaults.ledger)?,
            anomalies: or("anomalies", &self.anomalies, defaults.anomalies)?,
            health: or("health", &self.health, defaults.health)?,
        };
        if ttl.ledger < Duration::from_secs(2 * DAY) || ttl.ledger < ttl.raw {
            return Err(wrong("ttl.ledger", "it must be at least 2d and no shorter than ttl.raw"));
        }
        Ok(ttl)
    }
}

fn wrong(key: &str, cause: impl Into<String>) -> StoreError {
    StoreError::Config { key: key.into(), cause: cause.into() }
}

/// A database or cluster name: the usual letters only, so that it reads the same everywhere.
fn name(key: &str, value: Option<String>) -> Result<Option<String>, StoreError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match value {
        Some(text) if text.is_empty() || !text.chars().all(plain) => {
            Err(wrong(key, format!("{text:?} is not a name of letters, digits, _ and -")))
        }
        other => Ok(other),
    }
}

fn read_password(path: &Path) -> Result<Secret, StoreError> {
    let text = secret_file::read(path)
        .map_err(|cause| wrong("password_file", format!("{} cannot be used: {cause}", path.display())))?;
    Ok(Secret(text))
}

/// `24h`, `7d`, `90m`: at least an hour, at most 10,000 days.
fn span(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit = match unit {
        "m" => 60,
        "h" => HOUR,
        "d" => DAY,
        _ => return None,
    };
    let seconds = number.parse::<u64>().ok()?.checked_mul(unit)?;
    (HOUR..=10_000 * DAY).contains(&seconds).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(text: &str) -> Result<StoreSettings, String> {
        let raw: RawStoreConfig = toml::from_str(text).map_err(|e| e.to_string())?;
        raw.settle("http://127.0.0.1:8123").map_err(|e| e.to_string())
    }

    #[test]
    fn nothing_said_means_the_engine_that_comes_along() {
        assert_eq!(settle("").unwrap(), StoreSettings::new("http://127.0.0.1:8123"));
    }

    #[test]
    fn everything_can_be_said() {
        let text = r#"
            url = "https://ch.example:8443/"
            user = "u"
            password = "p"
            database = "metrics"
            cluster = "main"
            durability = "power"
            timeout_s = 5
            ttl = { raw = "48h", ten_seconds = "14d", ledger = "60d" }
        "#;
        let settings = settle(text).unwrap();
        assert_eq!(settings.url, "https://ch.example:8443");
        assert_eq!(settings.ttl.raw, Duration::from_secs(48 * HOUR));
        assert_eq!(settings.ttl.minute, Ttl::default().minute);
        assert_eq!(settings.durability, Durability::Power);
        assert!(!format!("{settings:?}").contains("\"p\""), "the password is not printed");
    }

    #[test]
    fn mistakes_are_named_with_their_key() {
        for (text, words) in [
            ("urll = 1", "urll"),
            ("url = \"tcp://x\"", "clickhouse.url"),
            ("password = \"x\"", "clickhouse.user"),
            ("database = \"a b\"", "clickhouse.database"),
            ("ttl = { raw = \"5 years\" }", "clickhouse.ttl.raw"),
            ("ttl = { raw = \"90d\" }", "clickhouse.ttl.ledger"),
            ("durability = \"none\"", "clickhouse.durability"),
            ("timeout_s = 0", "clickhouse.timeout_s"),
            ("user = \"u\"\npassword_file = \"/nowhere/at/all\"", "clickhouse.password_file"),
        ] {
            let error = settle(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
