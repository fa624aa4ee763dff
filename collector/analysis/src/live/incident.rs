//! What is reported within a minute belongs together: an incident, named by its host and its beginning.

use serde::{Deserialize, Serialize};

use crate::detect::correlate::Together;
use crate::detect::series::Severity;

use super::findings::Named;

/// Moves named of an incident at most.
const NAMED: usize = 12;
/// Links told in words at most.
const TOLD: usize = 3;

/// One incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Incident {
    pub id: String,
    /// The second it began.
    pub begin: u32,
    /// The last second in which something was odd.
    pub last: u32,
    /// The worst that was reported.
    pub severity: Severity,
    /// What moved together has been said.
    pub told: bool,
}

impl Incident {
    pub fn new(host: &str, second: u32, severity: Severity) -> Self {
        Self { id: format!("{host}-{second}"), begin: second, last: second, severity, told: false }
    }
}

/// What moved together, in words and as a list.
pub(super) fn words(together: &Together) -> (String, Vec<Named>) {
    let most = together.moves.first().map_or(1.0, |first| first.deviations.abs().max(1e-6));
    let named = together.moves.iter().take(NAMED).map(|one| Named {
        name: one.name.clone(),
        share: one.deviations.abs() / most,
        seen: f64::from(one.since),
        expected: f64::from(one.before),
    });
    let mut words: Vec<String> = together.links.iter().take(TOLD).map(ToString::to_string).collect();
    if words.is_empty() {
        let names: Vec<&str> = together.moves.iter().take(TOLD).map(|one| one.name.as_str()).collect();
        words.push(format!("{} moved, none with another", names.join(", ")));
    }
    if let Some(pattern) = together.groups.iter().find_map(|group| group.patterns.first()) {
        words.push(pattern.to_string());
    }
    (words.join("; "), named.collect())
}
