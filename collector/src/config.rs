//! The collector's configuration: raw as the file and the flags say it, settled as the rooms use it.
//! Unknown keys are refused by name and line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fettle_analysis::live::{AnalysisError, LiveConfig, RawAnalysis};
use fettle_shared::access::{Access, AccessError, RawAccess};
use fettle_shared::signing::key_from_text;
use serde::Deserialize;

use crate::pipeline::operate::OperationsFiles;
use crate::pipeline::outlook::{OutlookSettings, RawOutlook};
use crate::store::{RawStoreConfig, StoreSettings};

/// The file, every key optional.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawConfig {
    /// Where NATS is.
    pub nats: RawAccess,
    /// Where ClickHouse is and what it keeps.
    pub clickhouse: RawStoreConfig,
    /// How frames are taken.
    pub ingest: RawIngest,
    /// What is made of the samples.
    pub analysis: RawAnalysis,
    /// How often is looked ahead.
    pub outlook: RawOutlook,
    /// Alerts and mending.
    pub operations: RawOperations,
    /// Where HTTP listens, `127.0.0.1:8060` by default.
    pub http: Option<SocketAddr>,
    /// Where the collector keeps its own files.
    pub state_dir: Option<PathBuf>,
}

/// `[ingest]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawIngest {
    /// Partitions of the metrics subjects; must equal the agents' `nats.partitions`. 1 by default.
    pub partitions: Option<u16>,
    /// Samples at which a batch is closed before its second is over. 6,000,000 by default.
    pub batch_samples: Option<u64>,
    /// Seconds a restart waits for the frames of an interrupted batch. 900 by default.
    pub recover_timeout_s: Option<u64>,
}

/// `[operations]`. Paths are files in YAML; without them the built-in rules and policies are in force and
/// notifications go to the log.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawOperations {
    /// Whether alerts and mending run at all; true by default.
    pub enabled: Option<bool>,
    /// A file, or a directory of files, of rules on top of the default pack.
    pub rules: Option<PathBuf>,
    /// Routes, channels and escalations.
    pub alerting: Option<PathBuf>,
    /// Policies, in place of the built-in one.
    pub policies: Option<PathBuf>,
    /// Public keys of other collectors, whose saved state is taken over.
    pub trusted_keys: Vec<String>,
}

impl RawOperations {
    fn keys(&self) -> Result<Vec<[u8; 32]>, ConfigError> {
        let read = |text: &String| {
            key_from_text(text).map_err(|_| ConfigError::Value {
                key: "operations.trusted_keys",
                value: text.clone(),
                remedy: "write the 64 hexadecimal digits that `fettle status` of that collector shows",
            })
        };
        self.trusted_keys.iter().map(read).collect()
    }

    fn settle(self) -> Option<OperationsFiles> {
        let Self { enabled, rules, alerting, policies, trusted_keys: _ } = self;
        enabled.unwrap_or(true).then_some(OperationsFiles { rules, alerting, policies })
    }
}

/// What the collector runs with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// NATS.
    pub nats: Access,
    /// ClickHouse.
    pub store: StoreSettings,
    /// Alerts and mending; none: switched off.
    pub operations: Option<OperationsFiles>,
    /// Public keys of other collectors, whose saved state is taken over.
    pub trusted_keys: Vec<[u8; 32]>,
    /// HTTP address.
    pub http: SocketAddr,
    /// Own files.
    pub state_dir: Option<PathBuf>,
    /// Number of partitions.
    pub partitions: u16,
    /// Samples that close a batch early.
    pub batch_samples: u64,
    /// How long a restart waits for the frames of an interrupted batch.
    pub recover_timeout: Duration,
    /// How hosts are watched; none: they are not.
    pub analysis: Option<LiveConfig>,
    /// How often a snapshot of each host's detection is saved.
    pub snapshot_interval: Duration,
    /// How often is looked ahead.
    pub outlook: OutlookSettings,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path} cannot be read ({cause}); check --config")]
    Read {
        /// Path.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// The file does not parse; the cause names key and line.
    #[error("{path} is not a valid configuration: {cause}")]
    Parse {
        /// Path.
        path: PathBuf,
        /// What and where.
        cause: String,
    },
    /// A value is out of range.
    #[error("{key} is {value}; {remedy}")]
    Value {
        /// Key.
        key: &'static str,
        /// Value.
        value: String,
        /// What to write instead.
        remedy: &'static str,
    },
    /// `[nats]` is wrong.
    #[error(transparent)]
    Nats(#[from] AccessError),
    /// `[analysis]` is wrong.
    #[error("analysis.{0}")]
    Analysis(#[from] AnalysisError),
    /// `[clickhouse]` is wrong.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

/// Address of the ClickHouse that Fettle brings.
pub const EMBEDDED_URL: &str = "http://127.0.0.1:8123";

impl RawConfig {
    /// Reads a TOML file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| ConfigError::Read { path: path.into(), cause: e.to_string() })?;
        toml::from_str(&text)
            .map_err(|e| ConfigError::Parse { path: path.into(), cause: e.to_string().trim_end().into() })
    }

    /// Checks every value and fills in the defaults.
    pub fn settle(self) -> Result<Settings, ConfigError> {
        let partitions = self.ingest.partitions.unwrap_or(1);
        if partitions == 0 || partitions > 1024 {
            let value = partitions.to_string();
            let remedy = "write a number from 1 to 1024, the same as the agents'";
            return Err(ConfigError::Value { key: "ingest.partitions", value, remedy });
        }
        let batch_samples = self.ingest.batch_samples.unwrap_or(16_000_000);
        if !(100_000..=100_000_000).contains(&batch_samples) {
            let value = batch_samples.to_string();
            let remedy = "write a number from 100000 to 100000000";
            return Err(ConfigError::Value { key: "ingest.batch_samples", value, remedy });
        }
        let analysis = self.analysis.settle()?;
        Ok(Settings {
            analysis: analysis.enabled.then_some(analysis.live),
            snapshot_interval: Duration::from_secs(analysis.snapshot_interval_s),
            nats: self.nats.settle()?,
            store: self.clickhouse.settle(EMBEDDED_URL)?,
            http: self.http.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8060))),
            state_dir: self.state_dir,
            trusted_keys: self.operations.keys()?,
            operations: self.operations.settle(),
            partitions,
            batch_samples,
            recover_timeout: Duration::from_secs(self.ingest.recover_timeout_s.unwrap_or(900)),
            outlook: self.outlook.settle()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_analysis::detect::series::Classical;

    fn settle(text: &str) -> Result<Settings, String> {
        let raw: RawConfig = toml::from_str(text).map_err(|e| e.to_string())?;
        raw.settle().map_err(|e| e.to_string())
    }

    #[test]
    fn hosts_are_watched_unless_it_is_switched_off() {
        assert_eq!(settle("").unwrap().analysis, Some(LiveConfig::default()));
        assert_eq!(settle("[analysis]\nenabled = false").unwrap().analysis, None);
        let classical = settle("[analysis.classical]\nthreshold_sigmas = 3.0").unwrap().analysis.unwrap();
        let wanted = Classical { window_points: 100, threshold_sigmas: 3.0 };
        assert_eq!(classical.series.classical, Some(wanted));
    }

    #[test]
    fn nats_is_logged_in_to_in_every_way_the_agent_can() {
        use fettle_shared::access::Credentials;
        let login = |text: &str| settle(&format!("[nats]\n{text}")).unwrap().nats.credentials;
        assert_eq!(login("nkey_file = \"n\""), Credentials::NkeyFile("n".into()));
        let user = Credentials::User { name: "u".into(), password_file: "p".into() };
        assert_eq!(login("user = \"u\"\npassword_file = \"p\""), user);
        for (text, words) in [
            ("user = \"u\"", "nats.user: user needs password_file"),
            ("url = \"http://u:secret@h\"", "\"http://h\" is not a NATS address"),
        ] {
            let error = settle(&format!("[nats]\n{text}")).unwrap_err();
            assert!(error.contains(words) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn keys_of_other_collectors_are_read_or_refused() {
        let key = "ab".repeat(32);
        let settled = settle(&format!("[operations]\ntrusted_keys = [\"{key}\"]")).unwrap();
        assert_eq!(settled.trusted_keys, [[0xab; 32]]);
        let error = settle("[operations]\ntrusted_keys = [\"ab\"]").unwrap_err();
        assert!(error.contains("operations.trusted_keys is ab"), "{error}");
    }

    #[test]
    fn mistakes_in_analysis_are_named_with_their_key() {
        for (text, words) in [
            ("[analysis]\nseries = 1", "series"),
            ("[analysis]\nseries_per_host = 0", "analysis.series_per_host"),
            ("[analysis]\nreports_a_day = 0.0", "analysis.reports_a_day"),
            ("[analysis]\nlearning_s = 1", "analysis.learning_s"),
            ("[analysis]\nkept_anomalies = 0", "analysis.kept_anomalies"),
            ("[analysis]\nsnapshot_interval_s = 0", "analysis.snapshot_interval_s"),
            ("[analysis.classical]\nwindow_points = 1", "analysis.classical"),
            ("[analysis.host]\ntrees = 0", "analysis.host.trees is 0"),
        ] {
            let error = settle(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
