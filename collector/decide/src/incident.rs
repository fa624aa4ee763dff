//! What is wrong, as the planner sees it: an alert, or a predicted failure, with its labels and where it
//! stands.

use fettle_alert::handoff::{fingerprint, Finding, Labels, Severity, Standing};
use fettle_shared::error_kind::ErrorKind;
use serde::{Deserialize, Serialize};

use crate::world::Place;

/// Name of the rule that predictions come under.
pub const PREDICTION_RULE: &str = "failure_predicted";

/// Something wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Names it: the alert's fingerprint, 16 hexadecimal digits.
    pub id: String,
    /// Rule.
    pub rule: String,
    /// Labels; `host` and `component` say where.
    pub labels: Labels,
    /// How bad.
    pub severity: Severity,
    /// The value that decided; of a prediction the probability.
    pub value: f64,
    /// Whether it holds now.
    pub firing: bool,
    /// Since when it holds, µs since 1970, by the data's clock.
    pub since_us: i64,
    /// Time of the data of the latest word, µs since 1970.
    pub at_us: i64,
    /// When the latest word came, µs since 1970, by the collector's clock.
    pub heard_us: i64,
    /// The policy's entry that the rule names.
    pub action: Option<String>,
    /// One line.
    pub summary: String,
    /// What the component's checks or actions last spoke of.
    pub pattern: Option<ErrorKind>,
}

/// A model's word on a component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Where.
    pub place: Place,
    /// Probability that it fails soon, 0 to 1.
    pub probability: f64,
    /// Time of the data, µs since 1970.
    pub at_us: i64,
    /// One line.
    pub summary: String,
}

impl Incident {
    /// An alert as an incident.
    pub fn from_finding(finding: &Finding, now_us: i64) -> Self {
        Self {
            id: format!("{:016x}", finding.fingerprint()),
            rule: finding.rule.clone(),
            labels: finding.labels.clone(),
            severity: finding.severity,
            value: finding.value,
            firing: finding.standing == Standing::Firing,
            since_us: finding.since_us,
            at_us: finding.at_us,
            heard_us: now_us,
            action: finding.action.clone(),
            summary: finding.summary.clone(),
            pattern: None,
        }
    }

    /// A prediction as an incident; it holds from `least` on.
    pub fn from_prediction(prediction: &Prediction, least: f64, now_us: i64) -> Self {
        let labels = Labels::from([
            ("host".to_owned(), prediction.place.host.clone()),
            ("component".to_owned(), prediction.place.component.clone()),
        ]);
        Self {
            id: format!("{:016x}", fingerprint(PREDICTION_RULE, &labels)),
            rule: PREDICTION_RULE.to_owned(),
            labels,
            severity: Severity::Medium,
            value: prediction.probability,
            firing: prediction.probability >= least,
            since_us: prediction.at_us,
            at_us: prediction.at_us,
            heard_us: now_us,
            action: None,
            summary: prediction.summary.clone(),
            pattern: None,
        }
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        let label = |name: &str| self.labels.get(name).cloned().unwrap_or_default();
        Place { host: label("host"), component: label("component") }
    }
}
