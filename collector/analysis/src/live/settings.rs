//! The settings of detection as a file says them: the collector's `[analysis]`, and the same keys in what
//! `fettle replay --detectors` reads, so that what was tried on the past is shipped as it was tried.
//!
//! The keys that are usually set stand at the top; everything else of the detectors can be set in the tables
//! `[series]`, `[panel]`, `[host]`, `[surge]` and `[together]`. Where both say something, the key at the top counts.

use std::fmt;
use std::ops::RangeInclusive;

use serde::Deserialize;

use super::config::LiveConfig;
use crate::detect::correlate;
use crate::detect::host::{HostConfig, SurgeConfig};
use crate::detect::series::{Classical, PanelConfig, SeriesConfig};

/// The section, every key optional.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawAnalysis {
    /// Whether hosts are watched; a replay always does. True by default.
    pub enabled: Option<bool>,
    /// Series judged of one host at most. 12,000 by default.
    pub series_per_host: Option<usize>,
    /// Reports a day that a host with nothing wrong settles at. 0.5 by default.
    pub reports_a_day: Option<f32>,
    /// Seconds of a host before its series may be reported. 300 by default.
    pub learning_s: Option<u32>,
    /// Seconds of a host before its features may be reported. 3,500 by default.
    pub host_learning_s: Option<u32>,
    /// Seconds of calm after which a trouble is over and the next may be reported. 60 by default.
    pub calm_s: Option<u32>,
    /// By how many powers of ten (of a surge: doublings) each report raises what the next one needs. 0.5 by default.
    pub report_step: Option<f32>,
    /// Seconds for which an entity must be there before its series are judged. 60 by default.
    pub youngest_s: Option<u32>,
    /// Anomalies kept of each series in memory. 50 by default.
    pub kept_anomalies: Option<usize>,
    /// Seconds between two snapshots of a host; a replay makes none. 60 by default.
    pub snapshot_interval_s: Option<u64>,
    /// Series named in one report at most. 20 by default.
    pub named: Option<usize>,
    /// Age of an incident at which is said what moved together, in seconds. 20 by default.
    pub together_after_s: Option<u32>,
    /// Seconds between two health scores. 10 by default.
    pub health_every_s: Option<u32>,
    /// The classical detector in place of the usual one.
    pub classical: Option<Classical>,
    /// Everything else of how one series is judged.
    pub series: SeriesConfig,
    /// Everything else of when the series of a host together are a report.
    pub panel: PanelConfig,
    /// How the features of a host are judged.
    pub host: HostConfig,
    /// When a sudden change of the features is a report.
    pub surge: SurgeConfig,
    /// What counts as having moved in an incident.
    pub together: correlate::Settings,
}

/// What the section comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// Whether hosts are watched.
    pub enabled: bool,
    /// How.
    pub live: LiveConfig,
    /// Seconds between two snapshots of a host.
    pub snapshot_interval_s: u64,
}

/// A value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnalysisError {
    /// Its key within the section.
    pub key: &'static str,
    /// What was written.
    pub value: String,
    /// What to write instead.
    pub remedy: String,
}

impl fmt::Display for AnalysisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}; {}", self.key, self.value, self.remedy)
    }
}

impl std::error::Error for AnalysisError {}

fn within(key: &'static str, value: f64, range: RangeInclusive<f64>) -> Result<(), AnalysisError> {
    if range.contains(&value) {
        return Ok(());
    }
    // As decimal numbers, whatever was written: 0.01, not 0.009999999776482582.
    let value = format!("{}", value as f32);
    Err(AnalysisError {
        key,
        value,
        remedy: format!("write a number from {} to {}", range.start(), range.end()),
    })
}

impl RawAnalysis {
    /// Checks every value and fills in the defaults.
    ///
    /// # Errors
    /// The first key that is out of range, and what to write instead.
    pub fn settle(self) -> Result<Analysis, AnalysisError> {
        let enabled = self.enabled.unwrap_or(true);
        let snapshot_interval_s = self.snapshot_interval_s.unwrap_or(60);
        within("snapshot_interval_s", snapshot_interval_s as f64, 1.0..=3_600.0)?;
        let live = self.live();
        check(&live)?;
        check_detectors(&live)?;
        Ok(Analysis { enabled, live, snapshot_interval_s })
    }

    fn live(self) -> LiveConfig {
        let defaults = LiveConfig::default();
        let calm_s = self.calm_s.unwrap_or(defaults.calm_s);
        LiveConfig {
            series_per_host: self.series_per_host.unwrap_or(defaults.series_per_host),
            host_learning_s: self.host_learning_s.unwrap_or(defaults.host_learning_s),
            youngest_s: self.youngest_s.unwrap_or(defaults.youngest_s),
            named: self.named.unwrap_or(defaults.named),
            together_after_s: self.together_after_s.unwrap_or(defaults.together_after_s),
            health_every_s: self.health_every_s.unwrap_or(defaults.health_every_s),
            calm_s,
            panel: PanelConfig {
                reports_a_day: self.reports_a_day.unwrap_or(self.panel.reports_a_day),
                learning_s: self.learning_s.unwrap_or(self.panel.learning_s),
                calm_s: self.calm_s.map_or(self.panel.calm_s, |calm| calm as f32),
                step: self.report_step.unwrap_or(self.panel.step),
                ..self.panel
            },
            series: SeriesConfig {
                kept_anomalies: self.kept_anomalies.unwrap_or(self.series.kept_anomalies),
                classical: self.classical.or(self.series.classical),
                ..self.series
            },
            host: self.host,
            surge: SurgeConfig {
                reports_a_day: self.reports_a_day.unwrap_or(self.surge.reports_a_day),
                learning_s: self.learning_s.unwrap_or(self.surge.learning_s),
                calm_s: self.calm_s.unwrap_or(self.surge.calm_s),
                step: self.report_step.unwrap_or(self.surge.step),
                ..self.surge
            },
            together: self.together,
        }
    }
}

/// The keys at the top.
fn check(live: &LiveConfig) -> Result<(), AnalysisError> {
    within("series_per_host", live.series_per_host as f64, 1.0..=200_000.0)?;
    within("reports_a_day", f64::from(live.panel.reports_a_day), 0.01..=100.0)?;
    within("report_step", f64::from(live.panel.step), 0.0..=5.0)?;
    within("calm_s", f64::from(live.calm_s), 1.0..=3_600.0)?;
    within("learning_s", f64::from(live.panel.learning_s), 30.0..=1e6)?;
    within("host_learning_s", f64::from(live.host_learning_s), 30.0..=1e6)?;
    within("named", live.named as f64, 1.0..=1_000.0)?;
    within("together_after_s", f64::from(live.together_after_s), 1.0..=3_600.0)?;
    within("health_every_s", f64::from(live.health_every_s), 1.0..=3_600.0)?;
    within("kept_anomalies", live.series.kept_anomalies as f64, 1.0..=1_000.0)?;
    let Some(Classical { window_points, threshold_sigmas }) = live.series.classical else { return Ok(()) };
    if (10..=10_000).contains(&window_points) && (0.1..=100.0).contains(&threshold_sigmas) {
        return Ok(());
    }
    Err(AnalysisError {
        key: "classical",
        value: format!("{window_points} points and {threshold_sigmas} sigmas"),
        remedy: "write 10 to 10000 window_points and 0.1 to 100 threshold_sigmas".into(),
    })
}

/// What in the tables would be no detector at all, or one without bounds.
fn check_detectors(live: &LiveConfig) -> Result<(), AnalysisError> {
    let (series, panel, host) = (&live.series, &live.panel, &live.host);
    within("series.level_points", f64::from(series.level_points), 1.0..=1e6)?;
    within("series.short_points", f64::from(series.short_points), 1.0..=1e6)?;
    within("series.moves_short_points", f64::from(series.moves_short_points), 1.0..=1e6)?;
    within("series.moves_long_points", f64::from(series.moves_long_points), 1.0..=1e6)?;
    within("series.week_points", f64::from(series.week_points), 1.0..=1e6)?;
    within("series.day_points", f64::from(series.day_points), 1.0..=1e6)?;
    within("series.season_spread_points", f64::from(series.season_spread_points), 1.0..=1e6)?;
    within("series.alarm_evidence", f64::from(series.alarm_evidence), 1.0..=100.0)?;
    within("series.hold_off_s", f64::from(series.hold_off_s), 0.0..=1e7)?;
    within("panel.start", f64::from(panel.start), 0.0..=100.0)?;
    within("panel.least", f64::from(panel.least), 0.0..=100.0)?;
    within("panel.most", f64::from(panel.most), 0.0..=100.0)?;
    within("panel.calm_s", f64::from(panel.calm_s), 1.0..=3_600.0)?;
    within("panel.adopt_after_s", f64::from(panel.adopt_after_s), 0.0..=1e6)?;
    within("panel.false_share", f64::from(panel.false_share), 0.0..=1.0)?;
    let surge = &live.surge;
    within("surge.start", f64::from(surge.start), 0.0..=100.0)?;
    within("surge.least", f64::from(surge.least), 0.0..=100.0)?;
    within("surge.most", f64::from(surge.most), 0.0..=1_000.0)?;
    within("surge.young_s", f64::from(surge.young_s), 0.0..=1e7)?;
    within("surge.clip", f64::from(surge.clip), 0.1..=100.0)?;
    within("surge.adopt_after_s", f64::from(surge.adopt_after_s), 1.0..=1e6)?;
    within("host.neurons", host.neurons as f64, 1.0..=500.0)?;
    within("host.trees", host.trees as f64, 1.0..=1_000.0)?;
    within("host.tree_rows", host.tree_rows as f64, 2.0..=10_000.0)?;
    within("host.kept_rows", host.kept_rows as f64, host.tree_rows as f64..=100_000.0)?;
    within("host.burst", f64::from(host.burst), 0.001..=1.0)?;
    within("host.smooth", f64::from(host.smooth), 0.001..=1.0)?;
    within("host.alarm", f64::from(host.alarm), 0.001..=1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_is_what_is_shipped() {
        let settled = RawAnalysis::default().settle().unwrap();
        let shipped = Analysis { enabled: true, live: LiveConfig::default(), snapshot_interval_s: 60 };
        assert_eq!(settled, shipped);
    }

    #[test]
    fn a_key_at_the_top_counts_before_the_table() {
        let raw = RawAnalysis {
            calm_s: Some(10),
            panel: PanelConfig { calm_s: 99.0, start: 8.0, learning_s: 77, ..PanelConfig::default() },
            ..RawAnalysis::default()
        };
        let live = raw.settle().unwrap().live;
        assert_eq!((live.calm_s, live.panel.calm_s), (10, 10.0));
        assert_eq!((live.panel.start, live.panel.learning_s), (8.0, 77));
    }

    #[test]
    fn what_is_out_of_range_is_named_with_what_to_write() {
        let said = |raw: RawAnalysis| raw.settle().unwrap_err().to_string();
        let raw = RawAnalysis { reports_a_day: Some(0.0), ..RawAnalysis::default() };
        assert_eq!(said(raw), "reports_a_day is 0; write a number from 0.01 to 100");
        let host = HostConfig { trees: 0, ..HostConfig::default() };
        assert!(said(RawAnalysis { host, ..RawAnalysis::default() }).starts_with("host.trees is 0"));
        let panel = PanelConfig { start: f32::NAN, ..PanelConfig::default() };
        assert!(said(RawAnalysis { panel, ..RawAnalysis::default() }).starts_with("panel.start"));
    }
}
