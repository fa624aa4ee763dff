//! Plays a trial and compares.

use std::collections::{BTreeMap, BTreeSet};

use fettle_analysis::second::{EntitySecond, FamilySecond, HostSecond, KeyValue, Reduced};
use fettle_shared::catalogue::catalogue;

use crate::handoff::{Finding, Standing};
use crate::rules::evaluator::{Evaluator, Settings};
use crate::rules::reader::severity_word;
use crate::rules::set::RuleSet;

use super::{Expect, ExpectedAlert, Outcome, Series, Signal, Trial};

/// The second a trial begins at.
const START: u32 = 1_700_000_000;

/// Plays one trial against a set of rules.
pub fn run(set: &RuleSet, trial: &Trial) -> Outcome {
    let mut outcome = Outcome {
        name: trial.name.clone(),
        line: trial.line,
        failures: Vec::new(),
        fired: Vec::new(),
        seconds: 0,
    };
    let tried = match &trial.rule {
        None => set.clone(),
        Some(name) => match set.get(name) {
            Some(rule) => RuleSet { rules: vec![std::sync::Arc::clone(rule)] },
            None => {
                outcome.failures.push(format!("there is no rule {name:?}; correct its name"));
                return outcome;
            }
        },
    };
    for name in trial.expects.iter().flat_map(|expect| &expect.alerts).map(|alert| &alert.rule) {
        if tried.get(name).is_none() {
            outcome.failures.push(format!("rule {name:?} is not tried here, so its alert can never come"));
            return outcome;
        }
    }
    let ends = trial.expects.iter().map(|expect| expect.at);
    let signals = trial.signals.iter().map(|(at, _)| *at);
    let end = ends.chain(signals).chain(trial.series.iter().map(|series| series.values.seconds())).max();
    let end = end.unwrap_or(0);
    let mut evaluator = Evaluator::new(&tried, Settings::default());
    let mut alerts: BTreeMap<u64, Finding> = BTreeMap::new();
    let mut fired = BTreeSet::new();
    for at in 0..=end {
        let now_us = i64::from(START + at) * 1_000_000;
        evaluator.listened(i64::from(at.min(1)) * 1_000_000, |_| true, &[]);
        let mut said = evaluator.tick(now_us);
        for second in seconds(&trial.series, at) {
            said.extend(evaluator.second(&second));
        }
        for (_, signal) in trial.signals.iter().filter(|(when, _)| *when == at) {
            said.extend(tell(&mut evaluator, signal, now_us));
        }
        for finding in said {
            if finding.standing == Standing::Firing {
                fired.insert(finding.rule.clone());
            }
            if finding.standing == Standing::Resolved {
                alerts.remove(&finding.fingerprint());
            } else {
                alerts.insert(finding.fingerprint(), finding);
            }
        }
        for expect in trial.expects.iter().filter(|expect| expect.at == at) {
            compare(expect, alerts.values(), &mut outcome.failures);
        }
    }
    outcome.fired = fired.into_iter().collect();
    outcome.seconds = end + 1;
    outcome
}

fn tell(evaluator: &mut Evaluator, signal: &Signal, now_us: i64) -> Vec<Finding> {
    match signal {
        Signal::Anomaly(signal) => {
            let mut signal = signal.clone();
            signal.at_us = now_us;
            evaluator.anomaly(&signal)
        }
        Signal::Forecast(signal) => {
            let mut signal = signal.clone();
            signal.at_us = now_us;
            evaluator.forecast(&signal)
        }
        Signal::Prediction(signal) => {
            let mut signal = signal.clone();
            signal.at_us = now_us;
            evaluator.prediction(&signal)
        }
        Signal::Sql { rule, rows } => evaluator.sql_rows(rule, rows, now_us),
    }
}

/// What the hosts show in one second; a host of which nothing is sampled sends nothing.
fn seconds(series: &[Series], at: u32) -> Vec<HostSecond> {
    type Entities = BTreeMap<Vec<KeyValue>, Vec<Reduced>>;
    let mut hosts: BTreeMap<&str, BTreeMap<usize, Entities>> = BTreeMap::new();
    for series in series {
        let Some(value) = series.values.at(at) else { continue };
        let width = catalogue().families[series.family].metrics.len();
        let entities = hosts.entry(&series.host).or_default().entry(series.family).or_default();
        let values = entities.entry(series.key.clone()).or_insert_with(|| vec![Reduced::NONE; width]);
        values[series.metric] = Reduced { min: value, mean: value, max: value, last: value, count: 1 };
    }
    hosts
        .into_iter()
        .map(|(host, families)| HostSecond {
            host: host.to_owned(),
            second: START + at,
            families: families
                .into_iter()
                .map(|(family, entities)| FamilySecond {
                    family,
                    entities: entities
                        .into_iter()
                        .map(|(key, values)| EntitySecond { key: key.into(), values: values.into() })
                        .collect(),
                })
                .collect(),
        })
        .collect()
}

fn compare<'a>(expect: &Expect, alerts: impl Iterator<Item = &'a Finding>, failures: &mut Vec<String>) {
    let when = format!("line {}, at {} s", expect.line, expect.at);
    let mut left: Vec<&Finding> = alerts.collect();
    for wanted in &expect.alerts {
        match left.iter().position(|finding| is_same(wanted, finding)) {
            Some(place) => {
                left.swap_remove(place);
            }
            None => {
                let near: Vec<String> = left
                    .iter()
                    .filter(|finding| finding.rule == wanted.rule)
                    .map(|finding| shown(finding))
                    .collect();
                let instead = if near.is_empty() {
                    "there is none of it".into()
                } else {
                    format!("there is {}", near.join("; "))
                };
                failures.push(format!("{when}: expected {}, but {instead}", wanted.shown()));
            }
        }
    }
    for finding in left.iter().filter(|finding| finding.standing == Standing::Firing) {
        failures.push(format!("{when}: not expected, but there is {}", shown(finding)));
    }
}

fn is_same(wanted: &ExpectedAlert, finding: &Finding) -> bool {
    wanted.rule == finding.rule
        && wanted.standing == finding.standing
        && wanted.severity.is_none_or(|severity| severity == finding.severity)
        && wanted.labels.iter().all(|(name, value)| finding.labels.get(name) == Some(value))
        && wanted.summary.as_ref().is_none_or(|part| finding.summary.contains(part.as_str()))
}

fn shown(finding: &Finding) -> String {
    let labels: Vec<String> = finding.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!(
        "{} {} {} {{{}}} {:?}",
        finding.rule,
        severity_word(finding.severity),
        standing_word(finding.standing),
        labels.join(", "),
        finding.summary
    )
}

fn standing_word(standing: Standing) -> &'static str {
    match standing {
        Standing::Pending => "pending",
        Standing::Firing => "firing",
        Standing::Resolved => "resolved",
    }
}

impl ExpectedAlert {
    fn shown(&self) -> String {
        let mut text = format!("{} {}", self.rule, standing_word(self.standing));
        if let Some(severity) = self.severity {
            text = format!("{text} {}", severity_word(severity));
        }
        if !self.labels.is_empty() {
            let labels: Vec<String> =
                self.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            text = format!("{text} {{{}}}", labels.join(", "));
        }
        if let Some(summary) = &self.summary {
            text = format!("{text} with {summary:?}");
        }
        text
    }
}
