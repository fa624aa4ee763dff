//! The hot view: the last anomalies of each series, as rows, newest first.
//!
//! They are the series' own alarms, each held off for hours by the one before. Most of them were never
//! reported, because a series by itself does not report; they show what a series has been like.

use fettle_shared::catalogue::Catalogue;
use serde::{Deserialize, Serialize};

use super::findings::{entity_of, series_name};
use super::series::SeriesTable;
use crate::detect::series::{Anomaly, Severity};
use crate::second::KeyValue;

/// An anomaly of one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecentRow {
    /// The series, `process.rss_bytes{comm=db,pid=17}`.
    pub series: String,
    /// End of the second that was odd, microseconds since 1970.
    pub at_us: i64,
    /// The value, in the metric's unit (a counter's a second).
    pub value: f64,
    /// Lower end of what was expected.
    pub low: f32,
    /// Upper end of what was expected.
    pub high: f32,
    /// 0.5 ..= 1.
    pub score: f32,
    /// Share of the series' past that was as odd.
    pub tail: f64,
    /// How bad.
    pub severity: Severity,
    /// Why, in words.
    pub reason: String,
}

/// The last anomalies of all series, of one metric, or of one series.
pub(super) fn rows(
    table: &SeriesTable,
    series: Option<&str>,
    most: usize,
    catalogue: &Catalogue,
) -> Vec<RecentRow> {
    let metric_wanted = series.map(|series| series.split('{').next().unwrap_or(series));
    let mut found: Vec<(&Anomaly, usize, &[KeyValue], usize)> = Vec::new();
    for (at, family) in catalogue.families.iter().enumerate() {
        for (key, metric, monitor) in table.monitors(at) {
            let is_wanted = |wanted: &str| {
                let names = wanted.split_once('.');
                names == Some((family.name.as_str(), family.metrics[metric].name.as_str()))
            };
            if metric_wanted.is_some_and(|wanted| !is_wanted(wanted)) {
                continue;
            }
            let whole = series.filter(|series| series.contains('{'));
            let name = || series_name(&family.name, &family.metrics[metric].name, &entity_of(family, key));
            if whole.is_some_and(|whole| whole != name()) {
                continue;
            }
            found.extend(monitor.recent().map(|anomaly| (anomaly, at, key, metric)));
        }
    }
    // Equal times in the order of the series, so that the answer is the same twice.
    found.sort_unstable_by(|a, b| (b.0.at_us, a.1, a.2, a.3).cmp(&(a.0.at_us, b.1, b.2, b.3)));
    found.truncate(most);
    let row = |(anomaly, at, key, metric): (&Anomaly, usize, &[KeyValue], usize)| {
        let family = &catalogue.families[at];
        let verdict = &anomaly.verdict;
        RecentRow {
            series: series_name(&family.name, &family.metrics[metric].name, &entity_of(family, key)),
            at_us: anomaly.at_us.saturating_add(1_000_000),
            value: anomaly.value,
            low: verdict.low,
            high: verdict.high,
            score: verdict.score,
            tail: verdict.tail,
            severity: verdict.severity.unwrap_or(Severity::Low),
            reason: verdict.reason.to_string(),
        }
    };
    found.into_iter().map(row).collect()
}
