//! What the host detector says of one second: how odd, and which features made it so.

use serde::{Deserialize, Serialize};

use crate::detect::series::Severity;

/// Most features named in one verdict.
pub const NAMED: usize = 5;

/// Which way a feature went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Higher than expected.
    Up,
    /// Lower than expected.
    Down,
}

/// One feature's part in the oddness.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Attribution {
    /// Place of the feature in the list of names.
    pub feature: u16,
    /// Its share of the oddness of all features, 0..=1.
    pub share: f32,
    /// Which way it went.
    pub direction: Direction,
    /// What was expected, in the feature's unit.
    pub expected: f32,
    /// What was seen, in the feature's unit.
    pub seen: f32,
}

/// The judgement of one row of features, made from this row and those before it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HostVerdict {
    /// 0..=1; from 0.5 on the row is an alarm.
    pub score: f32,
    /// Share of this host's rows that were as odd as this one.
    pub tail: f64,
    /// The host's rows that share is counted in; 0 while nothing is scored. A tail is never below half a row of them.
    pub ranked: f32,
    /// Set on alarms only.
    pub severity: Option<Severity>,
    /// The features that made it odd, the oddest first; `None` behind the last one.
    pub attribution: [Option<Attribution>; NAMED],
    /// What each part says on the common scale (0 the median, 1 the 90 % quantile): forecast error,
    /// forest, daily profile, single features; `None` while the part has not seen enough.
    pub parts: [Option<f32>; 4],
}

impl HostVerdict {
    /// For a row that cannot be judged.
    pub(crate) fn none() -> Self {
        Self {
            score: 0.0,
            tail: 1.0,
            ranked: 0.0,
            severity: None,
            attribution: [None; NAMED],
            parts: [None; 4],
        }
    }

    /// The named features, the oddest first.
    pub fn named(&self) -> impl Iterator<Item = &Attribution> {
        self.attribution.iter().flatten()
    }
}

/// How bad an alarm of this rarity is: one row in 1,000, 10,000 and 100,000 are the steps.
pub(super) fn severity(tail: f64) -> Severity {
    match tail {
        tail if tail < 1e-5 => Severity::Critical,
        tail if tail < 1e-4 => Severity::High,
        tail if tail < 1e-3 => Severity::Medium,
        _ => Severity::Low,
    }
}
