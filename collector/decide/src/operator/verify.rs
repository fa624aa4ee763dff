//! Verification: samples taken after the action ended, and nothing else, say whether it helped. A condition
//! that must hold for some time must hold in every sample of that time, and the samples must not be far
//! apart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::run::{Hold, Phase};
use super::Operator;
use crate::policy::condition::{Facts, Subject, Verify};

/// Samples further apart than this do not show that something held in between, µs.
const GAP_US: i64 = 10_000_000;

/// What one second or one health check says of a component and its host. Absent: it does not say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VerifyFacts {
    /// Whether the component's check succeeded.
    pub up: Option<bool>,
    /// Whether other components of the host are up, by name.
    pub others_up: BTreeMap<String, bool>,
    /// Whether all it depends on is up.
    pub dependencies_up: Option<bool>,
    /// Replicas that run.
    pub replicas: Option<u32>,
    /// Fewest and most replicas.
    pub replica_bounds: Option<(u32, u32)>,
    /// Metrics of the host by name.
    pub values: BTreeMap<String, f64>,
}

/// Facts, and where the alert stands.
struct Sample<'a> {
    facts: &'a VerifyFacts,
    alert: Option<(bool, f64)>,
}

impl Facts for Sample<'_> {
    fn value(&self, subject: &Subject) -> Option<f64> {
        let truth = |up: bool| f64::from(u8::from(up));
        match subject {
            Subject::AlertFiring => self.alert.map(|(firing, _)| truth(firing)),
            Subject::AlertValue => self.alert.map(|(_, value)| value),
            Subject::Up => self.facts.up.map(truth),
            Subject::UpOf(name) => self.facts.others_up.get(name).copied().map(truth),
            Subject::Dependencies => self.facts.dependencies_up.map(truth),
            Subject::Replicas => self.facts.replicas.map(f64::from),
            Subject::Metric(name) => self.facts.values.get(name).copied(),
            Subject::ReleaseAge | Subject::PreviousFailed => None,
        }
    }

    fn replica_bounds(&self) -> Option<(u32, u32)> {
        self.facts.replica_bounds
    }
}

impl Hold {
    /// Takes one sample of the data's time `at_us`.
    fn take(&mut self, verify: &Verify, holds: bool, at_us: i64) {
        if at_us <= self.last_us && self.seen {
            return; // An old sample, or the same again.
        }
        let torn = at_us - self.last_us > GAP_US;
        self.seen = true;
        self.last_us = at_us;
        if !holds {
            self.since_us = 0;
            return;
        }
        if self.since_us == 0 || torn {
            self.since_us = at_us;
        }
        self.healed |= at_us - self.since_us >= verify.hold_us;
    }
}

impl Operator {
    /// What was seen of a component (or of the host, when `component` is empty) at `at_us`: when the check was
    /// made or the second ended, by the host's clock, not when it arrived.
    pub fn observe(&mut self, host: &str, component: &str, facts: &VerifyFacts, at_us: i64) {
        for run in self.state.runs.values_mut() {
            if !matches!(run.phase, Phase::Verifying { .. }) {
                continue;
            }
            let place = run.verified_at();
            if place.host != host || !(component.is_empty() || place.component == component) {
                continue;
            }
            let Some(step) = run.plan.steps.get(run.step) else { continue };
            let Phase::Verifying { ended_us, hold, .. } = &mut run.phase else { continue };
            // Where the alert stands is for the alert to say: see `alert_spoke`.
            let sample = Sample { facts, alert: None };
            if at_us > *ended_us {
                if let Some(holds) = step.verify.condition.holds(&sample) {
                    hold.take(&step.verify, holds, at_us);
                }
            }
        }
    }

    /// The latest word of an alert, against the plans that are verified by it. A resolved alert says so once,
    /// so its word counts on until it fires again.
    pub(super) fn alert_spoke(&mut self, incident: &str, now_us: i64) {
        let Some(watched) = self.state.incidents.get(incident) else { return };
        let (at_us, firing, value) =
            (watched.incident.at_us, watched.incident.firing, watched.incident.value);
        let facts = VerifyFacts::default();
        for run in self.state.runs.values_mut().filter(|run| run.plan.incident == incident) {
            let Some(step) = run.plan.steps.get(run.step) else { continue };
            let Phase::Verifying { ended_us, hold, .. } = &mut run.phase else { continue };
            let by_alert =
                matches!(step.verify.condition.subject, Subject::AlertFiring | Subject::AlertValue);
            if !by_alert || at_us <= *ended_us {
                continue;
            }
            let sample = Sample { facts: &facts, alert: Some((firing, value)) };
            if let Some(holds) = step.verify.condition.holds(&sample) {
                hold.take(&step.verify, holds, at_us);
                let well_us = if watched.well_us > 0 { now_us - watched.well_us } else { 0 };
                hold.healed |= holds && !firing && well_us >= step.verify.hold_us;
            }
        }
    }

    /// The same for all plans that are verified now: a resolved alert says nothing more, and time passes.
    pub(super) fn alerts_hold(&mut self, now_us: i64) {
        let verifying = |run: &&super::run::Run| matches!(run.phase, Phase::Verifying { .. });
        let incidents: Vec<String> =
            self.state.runs.values().filter(verifying).map(|run| run.plan.incident.clone()).collect();
        for incident in incidents {
            self.alert_spoke(&incident, now_us);
        }
    }
}
