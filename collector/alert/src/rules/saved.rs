//! State that survives a restart. It is written as JSON (or another format that describes itself); a rule that was
//! changed in between begins anew, and its alerts end with that reason.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::handoff::{Finding, Labels, Severity, Standing};

use super::evaluator::{Evaluator, Settings, State};
use super::hosts::HostClock;
use super::rule::{Kind, Rule};
use super::set::RuleSet;
use super::speaker::{Alert, Ended, Ending};
use super::template::Facts;

/// Everything an [`Evaluator`] knows, to be given to [`Evaluator::restore`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Saved {
    now_us: i64,
    hosts: BTreeMap<String, HostClock>,
    rules: Vec<SavedRule>,
    alerts: Vec<SavedAlert>,
    #[serde(default)]
    ended: BTreeMap<u64, Ended>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedRule {
    name: String,
    digest: u64,
    state: State,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedAlert {
    id: u64,
    rule: String,
    labels: Labels,
    standing: Standing,
    severity: Severity,
    value: f64,
    at_us: i64,
    since_us: i64,
    said_us: i64,
    facts: Facts,
}

/// A borrowed [`Saved`]: what is written.
#[derive(Serialize)]
struct Saving<'a> {
    now_us: i64,
    hosts: &'a BTreeMap<String, HostClock>,
    rules: Vec<SavingRule<'a>>,
    alerts: Vec<SavedAlert>,
    ended: &'a BTreeMap<u64, Ended>,
}

#[derive(Serialize)]
struct SavingRule<'a> {
    name: &'a str,
    digest: u64,
    state: &'a State,
}

impl Evaluator {
    /// What it knows, ready to be serialized.
    pub fn save(&self) -> impl Serialize + '_ {
        let rules = self
            .running
            .iter()
            .map(|running| SavingRule {
                name: &running.rule.name,
                digest: running.rule.digest,
                state: &running.state,
            })
            .collect();
        let alerts = self
            .speaker
            .alerts
            .iter()
            .map(|(id, alert)| SavedAlert {
                id: *id,
                rule: alert.rule.name.clone(),
                labels: alert.labels.clone(),
                standing: alert.standing,
                severity: alert.severity,
                value: alert.value,
                at_us: alert.at_us,
                since_us: alert.since_us,
                said_us: alert.said_us,
                facts: alert.facts.clone(),
            })
            .collect();
        let Self { speaker, hosts, .. } = self;
        Saving { now_us: speaker.now_us, hosts, rules, alerts, ended: &speaker.ended }
    }

    /// Goes on where another one was saved. Rules that were changed or removed since begin anew; the findings
    /// are the ends of their alerts. Time between the two lives counts for nothing: no silence grows in it, and nothing
    /// that was restored is said before fresh data has spoken of it.
    pub fn restore(set: &RuleSet, settings: Settings, saved: Saved) -> (Self, Vec<Finding>) {
        let mut evaluator = Self::new(set, settings);
        evaluator.speaker.now_us = saved.now_us;
        evaluator.hosts = saved.hosts;
        evaluator.speaker.ended = saved.ended;
        let mut states: BTreeMap<String, (u64, State)> =
            saved.rules.into_iter().map(|rule| (rule.name, (rule.digest, rule.state))).collect();
        let mut kept: BTreeMap<String, Arc<Rule>> = BTreeMap::new();
        let mut known: BTreeSet<String> = BTreeSet::new();
        for running in &mut evaluator.running {
            let name = &running.rule.name;
            known.insert(name.clone());
            match states.remove(name) {
                Some((digest, state)) if digest == running.rule.digest && fits(&running.state, &state) => {
                    kept.insert(name.clone(), Arc::clone(&running.rule));
                    running.state = rebuilt(&running.rule, state);
                }
                _ => {}
            }
        }
        let mut ended = Vec::new();
        for alert in saved.alerts {
            let Some(rule) = kept.get(&alert.rule) else {
                let is_known = known.contains(&alert.rule);
                let ending = if is_known { Ending::RuleChanged } else { Ending::RuleRemoved };
                let end = alert.ended(ending, saved.now_us);
                evaluator.speaker.end_again(end.clone());
                ended.push(end);
                continue;
            };
            let live = Alert {
                rule: Arc::clone(rule),
                labels: alert.labels,
                standing: alert.standing,
                severity: alert.severity,
                value: alert.value,
                at_us: alert.at_us,
                since_us: alert.since_us,
                said_us: alert.said_us,
                facts: alert.facts,
                // The answers of questions come so seldom that the last one counts on.
                is_heard: matches!(rule.kind, Kind::Sql(_)),
            };
            evaluator.speaker.alerts.insert(alert.id, live);
        }
        (evaluator, ended)
    }
}

/// Whether a saved state is of the kind that the rule needs.
fn fits(needed: &State, saved: &State) -> bool {
    std::mem::discriminant(needed) == std::mem::discriminant(saved)
}

/// A saved state with what is not saved made anew.
fn rebuilt(rule: &Rule, mut state: State) -> State {
    if let (Kind::Threshold(threshold), State::Threshold(state)) = (&rule.kind, &mut state) {
        state.rebuild(threshold.over.reduce);
    }
    state
}

impl SavedAlert {
    fn ended(self, ending: Ending, at_us: i64) -> Finding {
        Finding {
            summary: format!("{}: ended", self.rule),
            description: ending.sentence(),
            rule: self.rule,
            labels: self.labels,
            severity: self.severity,
            standing: Standing::Resolved,
            value: self.value,
            at_us,
            since_us: self.since_us,
            runbook: None,
            action: None,
        }
    }
}
