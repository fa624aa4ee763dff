//! Unit tests of rules, in YAML: what a host shows second by second, and which alerts there must be when.
//!
//! A trial runs the same [`Evaluator`](super::Evaluator) as the collector, over made-up seconds. `docs/rules.md`
//! describes the files.

mod notation;
mod read;
mod run;

use serde::Serialize;

use crate::handoff::{Labels, Severity, Standing};

use super::evaluator::SqlRow;
use super::signals::{AnomalySignal, ForecastSignal, PredictionSignal};

pub use read::read;
pub use run::run;

/// The longest trial, in seconds.
pub const MOST_SECONDS: u32 = 86_400;

/// What a file of trials holds.
#[derive(Debug, Clone)]
pub struct TrialFile {
    /// Files of rules that are tried besides the default pack, relative to this file.
    pub rules: Vec<String>,
    /// The trials, in order.
    pub trials: Vec<Trial>,
}

/// One trial.
#[derive(Debug, Clone)]
pub struct Trial {
    /// What it shows.
    pub name: String,
    /// The line it begins at.
    pub line: u32,
    /// The only rule in force; `None`: all of them.
    pub rule: Option<String>,
    pub(crate) series: Vec<Series>,
    pub(crate) signals: Vec<(u32, Signal)>,
    pub(crate) expects: Vec<Expect>,
}

/// Values of one metric of one entity, one a second.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) host: String,
    pub(crate) family: usize,
    pub(crate) metric: usize,
    pub(crate) key: Vec<fettle_analysis::second::KeyValue>,
    pub(crate) values: notation::Values,
}

#[derive(Debug, Clone)]
pub(crate) enum Signal {
    Anomaly(AnomalySignal),
    Forecast(ForecastSignal),
    Prediction(PredictionSignal),
    Sql { rule: String, rows: Vec<SqlRow> },
}

/// What must be so at one time.
#[derive(Debug, Clone)]
pub(crate) struct Expect {
    pub(crate) at: u32,
    pub(crate) line: u32,
    pub(crate) alerts: Vec<ExpectedAlert>,
}

#[derive(Debug, Clone)]
pub(crate) struct ExpectedAlert {
    pub(crate) rule: String,
    pub(crate) labels: Labels,
    pub(crate) severity: Option<Severity>,
    pub(crate) standing: Standing,
    pub(crate) summary: Option<String>,
}

/// What came of one trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The trial's name.
    pub name: String,
    /// The line it begins at.
    pub line: u32,
    /// What was not as expected, one sentence each; none: it passed.
    pub failures: Vec<String>,
    /// Rules that had a firing alert at some time.
    pub fired: Vec<String>,
    /// Seconds that were played.
    pub seconds: u32,
}

impl Outcome {
    /// Whether everything was as expected.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}
