//! The collector's configuration: raw as the file and the flags say it, settled as the rooms use it.
//! Unknown keys are refused by name and line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fettle_analysis::detect::series::{Classical, PanelConfig, SeriesConfig};
use fettle_analysis::live::LiveConfig;
use serde::Deserialize;

use crate::ingest::NatsSettings;
use crate::pipeline::operate::OperationsFiles;
use crate::pipeline::outlook::{OutlookSettings, RawOutlook};
use crate::store::{RawStoreConfig, StoreSettings};

/// The file, every key optional.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawConfig {
    /// Where NATS is.
    pub nats: RawNats,
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

/// `[nats]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawNats {
    /// `nats://127.0.0.1:4222` by default.
    pub url: Option<String>,
    /// Credentials file.
    pub credentials_file: Option<PathBuf>,
    /// Certificates that sign the server's.
    pub tls_ca_file: Option<PathBuf>,
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

/// `[analysis]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawAnalysis {
    /// Whether hosts are watched. True by default.
    pub enabled: Option<bool>,
    /// Series judged of one host at most. 12,000 by default.
    pub series_per_host: Option<usize>,
    /// Reports a day that a host with nothing wrong settles at. 0.5 by default.
    pub reports_a_day: Option<f32>,
    /// Seconds of a host before its series may be reported. 300 by default.
    pub learning_s: Option<u32>,
    /// Seconds of a host before its features may be reported. 900 by default.
    pub host_learning_s: Option<u32>,
    /// Seconds of calm after which a trouble is over and the next may be reported. 60 by default.
    pub calm_s: Option<u32>,
    /// By how many powers of ten each report of series raises what the next one needs. 0.5 by default.
    pub report_step: Option<f32>,
    /// Seconds for which an entity must be there before its series are judged. 60 by default.
    pub youngest_s: Option<u32>,
    /// Anomalies kept of each series in memory. 50 by default.
    pub kept_anomalies: Option<usize>,
    /// Seconds between two snapshots of a host. 60 by default.
    pub snapshot_interval_s: Option<u64>,
    /// The classical detector in place of the usual one.
    pub classical: Option<Classical>,
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
}

impl RawOperations {
    fn settle(self) -> Option<OperationsFiles> {
        let Self { enabled, rules, alerting, policies } = self;
        enabled.unwrap_or(true).then_some(OperationsFiles { rules, alerting, policies })
    }
}

/// What the collector runs with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// NATS.
    pub nats: NatsSettings,
    /// ClickHouse.
    pub store: StoreSettings,
    /// Alerts and mending; none: switched off.
    pub operations: Option<OperationsFiles>,
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
        let snapshot_interval = self.analysis.snapshot_interval()?;
        Ok(Settings {
            analysis: self.analysis.settle()?,
            snapshot_interval,
            nats: NatsSettings {
                url: self.nats.url.unwrap_or_else(|| "nats://127.0.0.1:4222".into()),
                credentials_file: self.nats.credentials_file,
                tls_ca_file: self.nats.tls_ca_file,
            },
            store: self.clickhouse.settle(EMBEDDED_URL)?,
            http: self.http.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8060))),
            state_dir: self.state_dir,
            operations: self.operations.settle(),
            partitions,
            batch_samples,
            recover_timeout: Duration::from_secs(self.ingest.recover_timeout_s.unwrap_or(900)),
            outlook: self.outlook.settle()?,
        })
    }
}

fn out_of_range(key: &'static str, value: impl std::fmt::Display, remedy: &'static str) -> ConfigError {
    ConfigError::Value { key, value: format!("{value}"), remedy }
}

impl RawAnalysis {
    fn snapshot_interval(&self) -> Result<Duration, ConfigError> {
        let seconds = self.snapshot_interval_s.unwrap_or(60);
        if !(1..=3600).contains(&seconds) {
            let remedy = "write a number from 1 to 3600";
            return Err(out_of_range("analysis.snapshot_interval_s", seconds, remedy));
        }
        Ok(Duration::from_secs(seconds))
    }

    fn settle(self) -> Result<Option<LiveConfig>, ConfigError> {
        let defaults = LiveConfig::default();
        let live = LiveConfig {
            series_per_host: self.series_per_host.unwrap_or(defaults.series_per_host),
            host_learning_s: self.host_learning_s.unwrap_or(defaults.host_learning_s),
            calm_s: self.calm_s.unwrap_or(defaults.calm_s),
            youngest_s: self.youngest_s.unwrap_or(defaults.youngest_s),
            panel: PanelConfig {
                reports_a_day: self.reports_a_day.unwrap_or(defaults.panel.reports_a_day),
                learning_s: self.learning_s.unwrap_or(defaults.panel.learning_s),
                calm_s: self.calm_s.map_or(defaults.panel.calm_s, |calm| calm as f32),
                step: self.report_step.unwrap_or(defaults.panel.step),
                ..defaults.panel
            },
            series: SeriesConfig {
                kept_anomalies: self.kept_anomalies.unwrap_or(defaults.series.kept_anomalies),
                classical: self.classical,
                ..defaults.series
            },
            ..defaults
        };
        if !(1..=200_000).contains(&live.series_per_host) {
            let remedy = "write a number from 1 to 200000";
            return Err(out_of_range("analysis.series_per_host", live.series_per_host, remedy));
        }
        if !(0.01..=100.0).contains(&live.panel.reports_a_day) {
            let remedy = "write a number from 0.01 to 100";
            return Err(out_of_range("analysis.reports_a_day", live.panel.reports_a_day, remedy));
        }
        if !(0.0..=5.0).contains(&live.panel.step) {
            let remedy = "write a number from 0 to 5";
            return Err(out_of_range("analysis.report_step", live.panel.step, remedy));
        }
        if !(1..=3600).contains(&live.calm_s) {
            return Err(out_of_range("analysis.calm_s", live.calm_s, "write a number from 1 to 3600"));
        }
        if live.panel.learning_s < 30 || live.host_learning_s < 30 {
            let least = live.panel.learning_s.min(live.host_learning_s);
            let remedy = "write at least 30 for analysis.learning_s and analysis.host_learning_s";
            return Err(out_of_range("the learning time", least, remedy));
        }
        if !(1..=1000).contains(&live.series.kept_anomalies) {
            let remedy = "write a number from 1 to 1000";
            return Err(out_of_range("analysis.kept_anomalies", live.series.kept_anomalies, remedy));
        }
        if let Some(classical) = live.series.classical {
            let threshold = classical.threshold_sigmas;
            if !(10..=10_000).contains(&classical.window_points) || !(0.1..=100.0).contains(&threshold) {
                let value = format!("{} points and {threshold} sigmas", classical.window_points);
                let remedy = "write 10 to 10000 window_points and 0.1 to 100 threshold_sigmas";
                return Err(out_of_range("analysis.classical", value, remedy));
            }
        }
        Ok(self.enabled.unwrap_or(true).then_some(live))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn mistakes_in_analysis_are_named_with_their_key() {
        for (text, words) in [
            ("[analysis]\nseries = 1", "series"),
            ("[analysis]\nseries_per_host = 0", "analysis.series_per_host"),
            ("[analysis]\nreports_a_day = 0.0", "analysis.reports_a_day"),
            ("[analysis]\nlearning_s = 1", "analysis.learning_s"),
            ("[analysis]\nkept_anomalies = 0", "analysis.kept_anomalies"),
            ("[analysis]\nsnapshot_interval_s = 0", "analysis.snapshot_interval_s"),
            ("[analysis.classical]\nwindow_points = 1", "analysis.classical"),
        ] {
            let error = settle(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
