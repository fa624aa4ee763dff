//! What detection tells the rules besides seconds: plain data, made by whoever runs the detectors.

use fettle_analysis::detect::series::Severity as Detected;
use fettle_analysis::forecast::Resource;
use serde::{Deserialize, Serialize};

use crate::handoff::{Labels, Severity};

/// One alarm of an anomaly detector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnomalySignal {
    /// Agent's name.
    pub host: String,
    /// Time of the data, µs since 1970.
    pub at_us: i64,
    /// How strong.
    pub severity: Severity,
    /// The detector's score, 0 to 1; the finding's value.
    pub score: f64,
    /// The series it is about; `None`: the host as a whole.
    pub series: Option<SeriesName>,
    /// What is odd, in words.
    pub words: String,
}

/// Names one series of a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesName {
    /// Family.
    pub family: String,
    /// Metric, without the family.
    pub metric: String,
    /// Key columns and their values.
    pub entity: Labels,
}

/// What a forecast says of one resource, whenever it is made: also that there is no danger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForecastSignal {
    /// Agent's name.
    pub host: String,
    /// Time of the data, µs since 1970.
    pub at_us: i64,
    /// What runs out.
    pub resource: Resource,
    /// Of which entity: key columns and values; empty for the host's own.
    pub entity: Labels,
    /// Expected time until it is exhausted, seconds; `None`: not within the horizon.
    pub eta_s: Option<f64>,
    /// Lower end of the 80 % interval, seconds.
    pub low_s: Option<f64>,
    /// Upper end of the 80 % interval, seconds.
    pub high_s: Option<f64>,
    /// Probability that it is exhausted within the horizon, 0 to 1.
    pub probability: f64,
    /// The forecast in words.
    pub words: String,
}

/// The probability that a host fails.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictionSignal {
    /// Agent's name.
    pub host: String,
    /// Time of the data, µs since 1970.
    pub at_us: i64,
    /// Probability of failing within the horizon, 0 to 1.
    pub probability: f64,
    /// The horizon, seconds.
    pub horizon_s: f64,
    /// What speaks for it, in words.
    pub words: String,
}

impl From<Detected> for Severity {
    fn from(detected: Detected) -> Self {
        match detected {
            Detected::Low => Self::Low,
            Detected::Medium => Self::Medium,
            Detected::High => Self::High,
            Detected::Critical => Self::Critical,
        }
    }
}
