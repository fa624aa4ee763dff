//! What has been said: every alert that is pending or firing, kept so that it can be said again, and how each ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::handoff::{Finding, Labels, Severity, Standing};

use super::hosts::HostClock;
use super::kinds::unit_words;
use super::level::Track;
use super::reader::severity_word;
use super::rule::{Kind, Rule};
use super::template::{Facts, Scene};

/// Why an alert ended. The name stands in brackets in the last finding's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The condition holds no more.
    Cleared,
    /// What it was about is gone.
    Vanished,
    /// Nobody has renewed it.
    Expired,
    /// The host has been silent for so long that it is taken for gone.
    Forgotten,
    /// The rule is gone from the files or not in force any more.
    RuleRemoved,
    /// The rule was changed; it begins anew.
    RuleChanged,
}

impl Ending {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cleared => "cleared",
            Self::Vanished => "vanished",
            Self::Expired => "expired",
            Self::Forgotten => "forgotten",
            Self::RuleRemoved => "rule_removed",
            Self::RuleChanged => "rule_changed",
        }
    }

    /// The last finding's description.
    pub(crate) fn sentence(self) -> String {
        format!("Resolved ({}): {}.", self.name(), self.words())
    }

    fn words(self) -> &'static str {
        match self {
            Self::Cleared => "the condition holds no more",
            Self::Vanished => "what it was about is gone; no values come while the host reports",
            Self::Expired => "nothing has renewed it",
            Self::Forgotten => "the host has been silent for so long that it is taken for gone",
            Self::RuleRemoved => "the rule is no longer in force",
            Self::RuleChanged => "the rule was changed and begins anew",
        }
    }
}

/// An alert that is pending or firing.
#[derive(Debug, Clone)]
pub(crate) struct Alert {
    pub(crate) rule: Arc<Rule>,
    pub(crate) labels: Labels,
    pub(crate) standing: Standing,
    pub(crate) severity: Severity,
    pub(crate) value: f64,
    pub(crate) at_us: i64,
    pub(crate) since_us: i64,
    /// When it was said last, by the collector's clock, µs.
    pub(crate) said_us: i64,
    pub(crate) facts: Facts,
    /// Whether it was looked at in this life; what was restored says nothing before.
    pub(crate) is_heard: bool,
}

/// An alert that has ended, to be said a few times more: a word can be lost on the way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ended {
    finding: Finding,
    /// How often it is said yet.
    times: u8,
    /// When it was said last, by the collector's clock, µs.
    said_us: i64,
}

/// How often an end is said again.
const END_TIMES: u8 = 3;
/// Ends that are said again, at most.
const ENDED_MAX: usize = 20_000;

/// Remembers what was said and collects what is to be said.
#[derive(Debug, Default)]
pub(crate) struct Speaker {
    pub(crate) alerts: BTreeMap<u64, Alert>,
    pub(crate) ended: BTreeMap<u64, Ended>,
    pub(crate) now_us: i64,
    /// Grows with everything that is said for the first time.
    pub(crate) changes: u64,
    out: Vec<Finding>,
}

/// The value of the moment, for one thing that a rule watches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Fingerprint of rule and labels.
    pub(crate) id: u64,
    pub(crate) value: f64,
    pub(crate) at_us: i64,
}

impl Speaker {
    /// Says what has changed about one track after a step.
    pub(crate) fn tell(
        &mut self,
        rule: &Arc<Rule>,
        track: &mut Track,
        moment: Moment,
        labels: impl FnOnce() -> Labels,
        facts: Option<Facts>,
    ) {
        let stands = track.stands(&rule.ladder);
        let Some((standing, severity)) = stands else {
            if track.said.take().is_some() {
                if let Some(alert) = self.alerts.get_mut(&moment.id) {
                    (alert.value, alert.at_us) = (moment.value, moment.at_us);
                }
                self.end(moment.id, moment.at_us, Ending::Cleared);
            }
            return;
        };
        let is_change = track.said != stands;
        track.said = stands;
        let said_us = self.now_us;
        let alert = self.alerts.entry(moment.id).or_insert_with(|| Alert {
            rule: Arc::clone(rule),
            labels: labels(),
            standing,
            severity,
            value: moment.value,
            at_us: moment.at_us,
            since_us: 0,
            said_us,
            facts: Facts::new(),
            is_heard: true,
        });
        alert.is_heard = true;
        (alert.standing, alert.severity) = (standing, severity);
        (alert.value, alert.at_us, alert.since_us) = (moment.value, moment.at_us, track.since_us());
        if let Some(facts) = facts {
            alert.facts = facts;
        }
        if is_change {
            alert.said_us = said_us;
            self.out.push(alert.finding());
            self.ended.remove(&moment.id);
            self.changes += 1;
        }
    }

    /// Ends an alert, if there is one.
    pub(crate) fn end(&mut self, id: u64, at_us: i64, ending: Ending) {
        let Some(mut alert) = self.alerts.remove(&id) else { return };
        alert.at_us = at_us;
        let mut finding = alert.finding();
        finding.standing = Standing::Resolved;
        finding.description = ending.sentence();
        self.out.push(finding.clone());
        self.end_again(finding);
    }

    /// Notes an end that was said, to be said again.
    pub(crate) fn end_again(&mut self, finding: Finding) {
        self.changes += 1;
        if self.ended.len() < ENDED_MAX {
            let id = finding.fingerprint();
            self.ended.insert(id, Ended { finding, times: END_TIMES, said_us: self.now_us });
        }
    }

    /// Says again what was not said for `every_us`: what stands as soon as it was looked at in this life, and what
    /// has ended as soon as fresh data of its host could have brought it back.
    pub(crate) fn repeat(&mut self, every_us: i64, hosts: &BTreeMap<String, HostClock>) {
        let now_us = self.now_us;
        for alert in self.alerts.values_mut() {
            let host = alert.labels.get("host").and_then(|host| hosts.get(host));
            let may = alert.is_heard || host.is_none_or(HostClock::is_settled);
            if may && now_us.saturating_sub(alert.said_us) >= every_us {
                alert.said_us = now_us;
                self.out.push(alert.finding());
            }
        }
        let out = &mut self.out;
        self.ended.retain(|_, ended| {
            let host = ended.finding.labels.get("host").and_then(|host| hosts.get(host));
            let may = host.is_none_or(HostClock::is_evaluated);
            if may && now_us.saturating_sub(ended.said_us) >= every_us {
                ended.said_us = now_us;
                ended.times -= 1;
                let newest_us = host.map_or(0, |clock| i64::from(clock.last) * 1_000_000);
                ended.finding.at_us = ended.finding.at_us.max(newest_us);
                out.push(ended.finding.clone());
            }
            ended.times > 0
        });
    }

    /// What is to be said.
    pub(crate) fn take(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.out)
    }
}

impl Alert {
    fn finding(&self) -> Finding {
        let rule = &self.rule;
        let level = rule.ladder.levels.iter().rev().find(|level| level.severity <= self.severity);
        let unit = match &rule.kind {
            Kind::Threshold(threshold) => unit_words(&threshold.unit),
            _ => String::new(),
        };
        let (summary, description) = rule.templates.render(&Scene {
            rule: &rule.name,
            labels: &self.labels,
            value: self.value,
            severity: severity_word(self.severity),
            limit: level.map_or(0.0, |level| level.enter),
            unit: &unit,
            held_s: self.at_us.saturating_sub(self.since_us) as f64 / 1e6,
            facts: &self.facts,
        });
        Finding {
            rule: rule.name.clone(),
            labels: self.labels.clone(),
            severity: self.severity,
            standing: self.standing,
            value: self.value,
            at_us: self.at_us,
            since_us: self.since_us,
            summary,
            description,
            runbook: rule.runbook.clone(),
            action: rule.action.clone(),
        }
    }
}
