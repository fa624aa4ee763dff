//! Tests of the manager: clocks, words that come late, scripts with what they must say, properties, storms, the settings file.

mod clock;
mod config;
mod late;
mod properties;
mod script;
mod storm;

use crate::handoff::{Finding, Labels, Severity, Standing};

/// A Tuesday, 12:00 UTC, µs.
pub const NOON: i64 = 1_767_700_800_000_000;

/// A finding about one host.
pub fn finding(rule: &str, labels: &[(&str, &str)], severity: Severity, now_us: i64) -> Finding {
    let labels: Labels =
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Finding {
        rule: rule.to_owned(),
        severity,
        standing: Standing::Firing,
        value: 1.0,
        at_us: now_us,
        since_us: now_us,
        summary: format!("{rule} holds"),
        description: String::new(),
        runbook: None,
        action: None,
        labels,
    }
}
