//! A rule, settled: everything checked, every unit resolved, nothing left to guess.

use std::collections::BTreeMap;

use crate::handoff::{Labels, Severity};

use super::expression::Expression;
use super::level::Ladder;
use super::quantity::Unit;
use super::select::Matcher;
use super::template::Templates;
use super::window::Over;

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name, unique in the set.
    pub name: String,
    /// Whether it is in force.
    pub enabled: bool,
    /// What is added to every finding's labels.
    pub labels: Labels,
    /// Where to read on.
    pub runbook: Option<String>,
    /// Name of the policy's entry that mends it.
    pub action: Option<String>,
    /// The file it came from.
    pub file: String,
    /// The line it begins at.
    pub line: u32,
    pub(crate) hosts: Matcher,
    pub(crate) templates: Templates,
    pub(crate) kind: Kind,
    pub(crate) ladder: Ladder,
    /// The same for rules that say the same: state is kept over a reload when it did not change.
    pub(crate) digest: u64,
}

/// What a rule looks at.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Threshold(Threshold),
    Anomaly(AnomalyRule),
    Forecast(ForecastRule),
    Prediction(PredictionRule),
    Absence(Absence),
    Sql(SqlRule),
}

/// Values of a family's entities against limits.
#[derive(Debug, Clone)]
pub(crate) struct Threshold {
    pub(crate) expression: Expression,
    /// The expression as it was written.
    pub(crate) text: String,
    /// Position of the family whose entities are looked at.
    pub(crate) family: usize,
    /// Its name.
    pub(crate) family_name: String,
    /// Which of a second's figures is taken, per operand of the expression.
    pub(crate) fields: Vec<Field>,
    /// Names of its key columns.
    pub(crate) columns: Vec<String>,
    /// Per key column that is selected by: its position and what is let through.
    pub(crate) select: Vec<(usize, Matcher)>,
    pub(crate) over: Over,
    pub(crate) group: Option<Group>,
    /// Unit of what is compared.
    pub(crate) unit: Unit,
}

/// Which of a second's figures is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Last,
    Mean,
    Min,
    Max,
}

/// Entities taken together before they are looked at.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) take: Take,
    /// Positions of the key columns that stay; none: the host as a whole.
    pub(crate) by: Vec<usize>,
}

/// What entities' values become together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    Sum,
    Mean,
    Min,
    Max,
    /// Entities with a value.
    Count,
}

/// Alarms of the anomaly detectors.
#[derive(Debug, Clone)]
pub(crate) struct AnomalyRule {
    pub(crate) is_host: bool,
    /// Over `family.metric`; of series only.
    pub(crate) metrics: Matcher,
    pub(crate) select: BTreeMap<String, Matcher>,
    /// After which time without another anomaly it is over, µs.
    pub(crate) quiet_us: i64,
}

/// Resources that run out.
#[derive(Debug, Clone)]
pub(crate) struct ForecastRule {
    pub(crate) resources: Matcher,
    pub(crate) select: BTreeMap<String, Matcher>,
    /// How probable it must be, 0 to 1.
    pub(crate) probability: f64,
    /// After which time without another forecast it is over, µs.
    pub(crate) quiet_us: i64,
}

/// Hosts that will probably fail.
#[derive(Debug, Clone)]
pub(crate) struct PredictionRule {
    /// After which time without another prediction it is over, µs.
    pub(crate) quiet_us: i64,
}

/// Hosts or entities that are silent.
#[derive(Debug, Clone)]
pub(crate) struct Absence {
    /// Position of the family whose entities are missed; `None`: the host itself.
    pub(crate) family: Option<usize>,
    /// Its name.
    pub(crate) family_name: String,
    pub(crate) columns: Vec<String>,
    pub(crate) select: Vec<(usize, Matcher)>,
    /// Positions of the key columns that make an identity.
    pub(crate) by: Vec<usize>,
    /// After which silence nobody waits any more, µs.
    pub(crate) forget_us: i64,
}

/// A question to the database; each row of the answer is something wrong.
#[derive(Debug, Clone)]
pub struct SqlRule {
    /// The rule's name.
    pub name: String,
    /// What to ask.
    pub query: String,
    /// How often, µs.
    pub interval_us: i64,
    /// Column that holds the value.
    pub(crate) value: String,
    /// Columns that become labels; `None`: every other column.
    pub(crate) labels: Option<Vec<String>>,
}

impl Rule {
    /// Its kind, as it is written in a file.
    pub fn kind(&self) -> &'static str {
        match &self.kind {
            Kind::Threshold(_) => "threshold",
            Kind::Anomaly(_) => "anomaly",
            Kind::Forecast(_) => "forecast",
            Kind::Prediction(_) => "prediction",
            Kind::Absence(_) => "absence",
            Kind::Sql(_) => "sql",
        }
    }

    /// The severities it can have, the mildest first.
    pub fn severities(&self) -> Vec<Severity> {
        self.ladder.levels.iter().map(|level| level.severity).collect()
    }

    /// What it asks, in one line for people.
    pub fn condition(&self) -> String {
        let limits: Vec<String> = self.ladder.levels.iter().map(|level| number(level.enter)).collect();
        let limits = format!("{} {}", self.ladder.compare.words(), limits.join(" / "));
        match &self.kind {
            Kind::Threshold(rule) => {
                let group = match &rule.group {
                    Some(group) => format!("{:?} of ", group.take).to_lowercase(),
                    None => String::new(),
                };
                let window = if rule.over.seconds > 1 {
                    format!(", {:?} over {} s", rule.over.reduce, rule.over.seconds).to_lowercase()
                } else {
                    String::new()
                };
                format!("{group}{}{window} {limits}", rule.text)
            }
            Kind::Anomaly(rule) if rule.is_host => "the host behaves oddly".into(),
            Kind::Anomaly(_) => "a series behaves oddly".into(),
            Kind::Forecast(rule) => {
                format!("seconds until full {limits}, probability at least {}", rule.probability)
            }
            Kind::Prediction(_) => format!("probability of failure {limits}"),
            Kind::Absence(rule) => match rule.family {
                None => format!("host silent, seconds {limits}"),
                Some(_) => format!("entity missing, seconds {limits}"),
            },
            Kind::Sql(rule) => format!("every {} s: {}", rule.interval_us / 1_000_000, rule.query.trim()),
        }
    }
}

/// A number without needless digits.
fn number(value: f64) -> String {
    let rounded = (value * 1e6).round() / 1e6;
    rounded.to_string()
}
