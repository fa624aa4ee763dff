//! What a second of a host came to: rows as they are stored.

use std::collections::BTreeMap;

use fettle_shared::catalogue::Family;
use serde::{Deserialize, Serialize};

use crate::detect::series::Severity;
use crate::health::Health;
use crate::second::KeyValue;

/// Who found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnomalyKind {
    /// One series, named by the host's panel.
    Series,
    /// The features of the host together.
    Host,
    /// What moved together in an incident.
    Together,
}

impl AnomalyKind {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Series => "series",
            Self::Host => "host",
            Self::Together => "together",
        }
    }
}

/// A metric that a finding names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// Its name, such as `cpu.user_share`.
    pub name: String,
    /// Its share of the oddness, 0..=1.
    pub share: f32,
    /// What was seen.
    pub seen: f64,
    /// What was expected.
    pub expected: f64,
}

/// One anomaly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnomalyRow {
    /// End of the second that was odd, microseconds since 1970; for `together`, the moment it was said.
    pub at_us: i64,
    /// Agent's name.
    pub host: String,
    /// Who found it.
    pub kind: AnomalyKind,
    /// Family of the series; empty but for `series`.
    pub family: String,
    /// Metric of the series; empty but for `series`.
    pub metric: String,
    /// Key of the entity, by column.
    pub entity: BTreeMap<String, String>,
    /// The value that was odd, in the metric's unit (a counter's a second).
    pub value: Option<f64>,
    /// Lower end of what was expected.
    pub low: Option<f64>,
    /// Upper end of what was expected.
    pub high: Option<f64>,
    /// 0..=1.
    pub score: f32,
    /// Share of the past that was as odd.
    pub tail: f64,
    /// How bad.
    pub severity: Severity,
    /// Why, in words.
    pub reason: String,
    /// What made it odd, most first.
    pub names: Vec<Named>,
    /// The incident it belongs to: host and the second it began.
    pub incident: String,
}

impl AnomalyRow {
    /// The series in one text: `process.rss_bytes{comm=db,pid=17}`; empty for a whole host.
    #[must_use]
    pub fn series(&self) -> String {
        if self.family.is_empty() {
            return String::new();
        }
        series_name(&self.family, &self.metric, &self.entity)
    }
}

/// The key of an entity, by column.
pub(super) fn entity_of(family: &Family, key: &[KeyValue]) -> BTreeMap<String, String> {
    family.entity.iter().zip(key).map(|(column, value)| (column.name.clone(), value.to_string())).collect()
}

/// A series in one text: `process.rss_bytes{comm=db,pid=17}`.
pub(super) fn series_name(family: &str, metric: &str, entity: &BTreeMap<String, String>) -> String {
    let mut text = format!("{family}.{metric}");
    for (at, (column, value)) in entity.iter().enumerate() {
        text.push(if at == 0 { '{' } else { ',' });
        text.push_str(column);
        text.push('=');
        text.push_str(value);
    }
    if !entity.is_empty() {
        text.push('}');
    }
    text
}

/// One health score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthRow {
    /// End of the second it was made in, microseconds since 1970.
    pub at_us: i64,
    /// Agent's name.
    pub host: String,
    /// The score with its reasons.
    pub health: Health,
}

/// What one second came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// New anomalies.
    pub anomalies: Vec<AnomalyRow>,
    /// The health score, when it was time for one.
    pub health: Option<HealthRow>,
    /// Series that are judged.
    pub series: usize,
    /// Series that would be judged if there were room.
    pub left_out: usize,
    /// Anomalies beyond the most that are named in a second.
    pub unnamed: usize,
}
