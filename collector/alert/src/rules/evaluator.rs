//! The rules at work: seconds, signals and answers in, findings out. Nothing here reads a clock; `tick` brings it.
//!
//! `second`, the signals and `sql_rows` say what changed; `tick`, called about once a second, says again what is
//! pending or firing (and a few times what has ended), notices silence, and ends what was not renewed. Waiting (`for`)
//! and windows go by the time in the data; renewal and repetition by the time of `tick`; silence by the time in which
//! the collector listened (`hosts.rs`). What was restored is said again only once fresh data has spoken of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use fettle_analysis::second::HostSecond;
use fettle_shared::catalogue::catalogue;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::handoff::{Finding, Labels, Severity, Standing};

use super::hosts::HostClock;
use super::other_kinds::{rank, resource_word};
use super::renewed::{RenewedState, Told};
use super::rule::{Kind, Rule, SqlRule};
use super::set::RuleSet;
use super::signals::{AnomalySignal, ForecastSignal, PredictionSignal};
use super::silence::AbsenceState;
use super::speaker::{Ending, Speaker};
use super::template::Facts;
use super::threshold::{Bounds, ThresholdState};

/// A row of an answer: column and value.
pub type SqlRow = serde_json::Map<String, Json>;

/// Ticks further apart than this mean that nobody listened in between, µs.
const TICK_MOST_US: i64 = 2_000_000;

/// What does not follow from the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What is pending or firing is said again after this time, µs.
    pub repeat_us: i64,
    /// A host that was silent for this long is taken for gone, µs.
    pub forget_host_us: i64,
    /// Most things one rule follows; what is beyond is left out and counted.
    pub most_tracked: usize,
    /// Most things one rule follows on one host.
    pub most_tracked_a_host: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            repeat_us: 5_000_000,
            forget_host_us: 7 * 86_400 * 1_000_000,
            most_tracked: 20_000,
            most_tracked_a_host: 2_000,
        }
    }
}

/// What a rule does, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RuleFigures {
    /// The rule's name.
    pub rule: String,
    /// Label sets it follows.
    pub tracked: usize,
    /// Alerts that are pending.
    pub pending: usize,
    /// Alerts that fire.
    pub firing: usize,
    /// Times something was not followed because of the bound.
    pub left_out: u64,
}

/// Evaluates a set of rules.
#[derive(Debug)]
pub struct Evaluator {
    pub(crate) settings: Settings,
    pub(crate) running: Vec<Running>,
    pub(crate) hosts: BTreeMap<String, HostClock>,
    pub(crate) speaker: Speaker,
    /// Whether it has heard a tick in this life.
    is_ticking: bool,
    pub(super) late_seconds: u64,
    pub(super) cpu_family: usize,
}

/// One rule and its state.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) rule: Arc<Rule>,
    pub(crate) state: State,
}

/// State by kind of rule.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum State {
    Threshold(ThresholdState),
    Absence(AbsenceState),
    Renewed(RenewedState),
}

impl Running {
    pub(crate) fn new(rule: Arc<Rule>) -> Self {
        let state = match &rule.kind {
            Kind::Threshold(_) => State::Threshold(ThresholdState::default()),
            Kind::Absence(_) => State::Absence(AbsenceState::default()),
            _ => State::Renewed(RenewedState::default()),
        };
        Self { rule, state }
    }
}

impl Evaluator {
    /// Begins with nothing known. Rules that are not enabled are left out.
    pub fn new(set: &RuleSet, settings: Settings) -> Self {
        let running =
            set.rules.iter().filter(|rule| rule.enabled).map(|rule| Running::new(Arc::clone(rule))).collect();
        let cpu_family =
            catalogue().families.iter().position(|family| family.name == "cpu").unwrap_or(usize::MAX);
        Self {
            settings,
            running,
            hosts: BTreeMap::new(),
            speaker: Speaker::default(),
            is_ticking: false,
            late_seconds: 0,
            cpu_family,
        }
    }

    /// Takes in one second of one host; says what changed. A second that is not later than the host's latest is
    /// counted and left out.
    pub fn second(&mut self, second: &HostSecond) -> Vec<Finding> {
        let Some(cpus) = self.admit(second) else { return Vec::new() };
        let bounds = self.bounds();
        for Running { rule, state } in &mut self.running {
            match (&rule.kind, state) {
                (Kind::Threshold(threshold), State::Threshold(state)) => {
                    state.second(rule, threshold, second, cpus, bounds, &mut self.speaker);
                }
                (Kind::Absence(absence), State::Absence(state)) => {
                    state.second(rule, absence, second, bounds, &mut self.speaker);
                }
                _ => {}
            }
        }
        self.speaker.take()
    }

    /// Takes in an anomaly.
    pub fn anomaly(&mut self, signal: &AnomalySignal) -> Vec<Finding> {
        let most = self.settings.most_tracked;
        for Running { rule, state } in &mut self.running {
            let (Kind::Anomaly(anomaly), State::Renewed(state)) = (&rule.kind, state) else { continue };
            let floor = rule.ladder.levels.first().map_or(f64::INFINITY, |level| level.enter);
            if rank(signal.severity) < floor
                || anomaly.is_host != signal.series.is_none()
                || !rule.hosts.admits(&signal.host)
            {
                continue;
            }
            let mut labels = rule.labels.clone();
            labels.insert("host".into(), signal.host.clone());
            if let Some(series) = &signal.series {
                let is_meant = anomaly.metrics.is_open()
                    || anomaly.metrics.admits(&format!("{}.{}", series.family, series.metric));
                if !is_meant || !selects(&anomaly.select, &series.entity) {
                    continue;
                }
                labels.extend(series.entity.iter().map(|(name, value)| (name.clone(), value.clone())));
                labels.insert("family".into(), series.family.clone());
                labels.insert("metric".into(), series.metric.clone());
            }
            // A milder anomaly does not prove that the worse one is over; only quiet does.
            let height = rank(signal.severity).max(state.height(rule, &labels).unwrap_or(0.0));
            let facts = Facts::from([
                ("score".to_owned(), Json::from(finite(signal.score))),
                ("words".to_owned(), Json::from(signal.words.clone())),
            ]);
            let (value, at_us, gap_us) = (finite(signal.score), signal.at_us, anomaly.quiet_us);
            let told = Told { labels, height, value, at_us, gap_us, facts };
            state.tell(rule, told, most, &mut self.speaker);
        }
        self.speaker.take()
    }

    /// Takes in a forecast, whatever it says.
    pub fn forecast(&mut self, signal: &ForecastSignal) -> Vec<Finding> {
        let most = self.settings.most_tracked;
        let resource = resource_word(signal.resource);
        for Running { rule, state } in &mut self.running {
            let (Kind::Forecast(forecast), State::Renewed(state)) = (&rule.kind, state) else { continue };
            if !forecast.resources.admits(resource)
                || !selects(&forecast.select, &signal.entity)
                || !rule.hosts.admits(&signal.host)
            {
                continue;
            }
            let mut labels = rule.labels.clone();
            labels.extend(signal.entity.iter().map(|(name, value)| (name.clone(), value.clone())));
            labels.insert("host".into(), signal.host.clone());
            labels.insert("resource".into(), resource.to_owned());
            let is_likely = signal.probability >= forecast.probability;
            let eta = signal.eta_s.filter(|eta| is_likely && eta.is_finite());
            let mut facts = Facts::from([
                ("probability".to_owned(), Json::from(finite(signal.probability))),
                ("resource".to_owned(), Json::from(resource)),
                ("words".to_owned(), Json::from(signal.words.clone())),
            ]);
            for (name, value) in [("eta_s", signal.eta_s), ("low_s", signal.low_s), ("high_s", signal.high_s)]
            {
                facts.insert(name.into(), value.filter(|v| v.is_finite()).map_or(Json::Null, Json::from));
            }
            let told = Told {
                labels,
                height: eta.unwrap_or(f64::MAX),
                value: eta.unwrap_or(f64::MAX),
                at_us: signal.at_us,
                gap_us: forecast.quiet_us,
                facts,
            };
            state.tell(rule, told, most, &mut self.speaker);
        }
        self.speaker.take()
    }

    /// Takes in a prediction, whatever it says.
    pub fn prediction(&mut self, signal: &PredictionSignal) -> Vec<Finding> {
        let most = self.settings.most_tracked;
        for Running { rule, state } in &mut self.running {
            let (Kind::Prediction(prediction), State::Renewed(state)) = (&rule.kind, state) else { continue };
            if !rule.hosts.admits(&signal.host) {
                continue;
            }
            let mut labels = rule.labels.clone();
            labels.insert("host".into(), signal.host.clone());
            let probability = finite(signal.probability);
            let facts = Facts::from([
                ("probability".to_owned(), Json::from(probability)),
                ("horizon_s".to_owned(), Json::from(finite(signal.horizon_s))),
                ("words".to_owned(), Json::from(signal.words.clone())),
            ]);
            let (at_us, gap_us) = (signal.at_us, prediction.quiet_us);
            let told = Told { labels, height: probability, value: probability, at_us, gap_us, facts };
            state.tell(rule, told, most, &mut self.speaker);
        }
        self.speaker.take()
    }

    /// The questions that are due; each is due again after its interval, whether it is answered or not.
    pub fn sql_due(&mut self, now_us: i64) -> Vec<&SqlRule> {
        let mut due = Vec::new();
        for Running { rule, state } in &mut self.running {
            let (Kind::Sql(sql), State::Renewed(state)) = (&rule.kind, state) else { continue };
            // A clock that was set back must not silence the question for ever.
            if state.due_us <= now_us || state.due_us - now_us > sql.interval_us {
                state.due_us = now_us.saturating_add(sql.interval_us);
                due.push(sql);
            }
        }
        due
    }

    /// Takes in the answer to a question: what is in no row any more is over. An answer to no rule is left out.
    pub fn sql_rows(&mut self, rule: &str, rows: &[SqlRow], now_us: i64) -> Vec<Finding> {
        self.speaker.now_us = self.speaker.now_us.max(now_us);
        let most = self.settings.most_tracked;
        let Some(Running { rule, state }) = self.running.iter_mut().find(|running| running.rule.name == rule)
        else {
            return Vec::new();
        };
        let (Kind::Sql(sql), State::Renewed(state)) = (&rule.kind, state) else { return Vec::new() };
        let mut told_ids = Vec::new();
        for row in rows.iter().take(most) {
            let Some((labels, value)) = row_of(rule, sql, row) else { continue };
            if labels.get("host").is_some_and(|host| !rule.hosts.admits(host)) {
                continue;
            }
            let gap_us = sql.interval_us.saturating_mul(5);
            let told = Told { labels, height: value, value, at_us: now_us, gap_us, facts: Facts::new() };
            told_ids.push(state.tell(rule, told, most, &mut self.speaker));
        }
        state.left_out += rows.len().saturating_sub(most) as u64;
        told_ids.sort_unstable();
        state.only(&told_ids, rule.ladder.clear_for_us, &mut self.speaker);
        self.speaker.take()
    }

    /// Time goes on: silence, what was not renewed, and what is to be said again. Call it about once a second.
    pub fn tick(&mut self, now_us: i64) -> Vec<Finding> {
        let passed_us = now_us.saturating_sub(self.speaker.now_us).max(0);
        // In a life before, or while this one was held up, nobody could have been heard.
        let lived_us = if self.is_ticking { passed_us.min(TICK_MOST_US) } else { 0 };
        self.is_ticking = true;
        self.speaker.now_us = now_us;
        for Running { rule, state } in &mut self.running {
            match (&rule.kind, state) {
                (Kind::Absence(absence), State::Absence(state)) if absence.family.is_none() => {
                    for (host, clock) in &self.hosts {
                        state.host(rule, absence, host, clock.silent_us, &mut self.speaker);
                    }
                }
                (kind, State::Renewed(state)) => {
                    let is_fresh =
                        |host: &str| self.hosts.get(host).is_none_or(|clock| clock.is_fresh(now_us));
                    state.pass(passed_us, lived_us, is_fresh);
                    if let Some(quiet_us) = quiet_us(kind) {
                        state.expire(quiet_us, &mut self.speaker);
                    }
                }
                _ => {}
            }
        }
        let forget_us = self.settings.forget_host_us;
        let is_gone = |clock: &HostClock| clock.silent_us > forget_us;
        let gone: Vec<String> =
            self.hosts.iter().filter(|(_, clock)| is_gone(clock)).map(|(host, _)| host.clone()).collect();
        for host in gone {
            self.forget_now(&host);
        }
        self.speaker.repeat(self.settings.repeat_us, &self.hosts);
        self.speaker.take()
    }

    /// Grows with everything that is said for the first time.
    pub fn changes(&self) -> u64 {
        self.speaker.changes
    }

    /// Takes a host for gone, as when it was taken out of service: its alerts end.
    pub fn forget(&mut self, host: &str) -> Vec<Finding> {
        self.forget_now(host);
        self.speaker.take()
    }

    pub(super) fn forget_now(&mut self, host: &str) {
        self.hosts.remove(host);
        let at_us = self.speaker.now_us;
        for Running { state, .. } in &mut self.running {
            match state {
                State::Threshold(state) => state.forget(host, at_us, &mut self.speaker),
                State::Absence(state) => state.forget(host, at_us, &mut self.speaker),
                State::Renewed(state) => state.forget(host, at_us, &mut self.speaker),
            }
        }
    }

    /// Takes other rules. Those that say the same as before keep their state; the alerts of others end.
    pub fn reload(&mut self, set: &RuleSet) -> Vec<Finding> {
        let mut old: BTreeMap<String, Running> =
            self.running.drain(..).map(|running| (running.rule.name.clone(), running)).collect();
        for rule in set.rules.iter().filter(|rule| rule.enabled) {
            let running = match old.remove(&rule.name) {
                Some(running) if running.rule.digest == rule.digest => running,
                _ => Running::new(Arc::clone(rule)),
            };
            self.running.push(running);
        }
        let kept: BTreeMap<&str, &Arc<Rule>> =
            self.running.iter().map(|running| (running.rule.name.as_str(), &running.rule)).collect();
        let ended: Vec<(u64, Ending)> = self
            .speaker
            .alerts
            .iter()
            .filter_map(|(id, alert)| match kept.get(alert.rule.name.as_str()) {
                Some(rule) if Arc::ptr_eq(rule, &alert.rule) => None,
                Some(_) => Some((*id, Ending::RuleChanged)),
                None => Some((*id, Ending::RuleRemoved)),
            })
            .collect();
        let now_us = self.speaker.now_us;
        for (id, ending) in ended {
            self.speaker.end(id, now_us, ending);
        }
        self.speaker.take()
    }

    /// What each rule does, in numbers.
    pub fn figures(&self) -> Vec<RuleFigures> {
        let mut figures: Vec<RuleFigures> = Vec::new();
        for Running { rule, state } in &self.running {
            let (tracked, left_out) = match state {
                State::Threshold(state) => (state.tracked, state.left_out),
                State::Absence(state) => (state.tracked, state.left_out),
                State::Renewed(state) => (state.tracked(), state.left_out),
            };
            let count = |standing| {
                let mine = self.speaker.alerts.values().filter(|alert| alert.rule.name == rule.name);
                mine.filter(|alert| alert.standing == standing).count()
            };
            let (pending, firing) = (count(Standing::Pending), count(Standing::Firing));
            figures.push(RuleFigures { rule: rule.name.clone(), tracked, pending, firing, left_out });
        }
        figures
    }

    /// Seconds that came late or twice and were left out.
    pub fn late_seconds(&self) -> u64 {
        self.late_seconds
    }

    /// Names of the hosts that are known.
    pub fn host_names(&self) -> Vec<String> {
        self.hosts.keys().cloned().collect()
    }

    /// Hosts that are known.
    pub fn hosts(&self) -> usize {
        self.hosts.len()
    }

    fn bounds(&self) -> Bounds {
        Bounds { a_rule: self.settings.most_tracked, a_host: self.settings.most_tracked_a_host }
    }
}

/// After how long without renewal a rule's alerts end, µs; none for those that end otherwise.
fn quiet_us(kind: &Kind) -> Option<i64> {
    match kind {
        Kind::Anomaly(it) => Some(it.quiet_us),
        Kind::Forecast(it) => Some(it.quiet_us),
        Kind::Prediction(it) => Some(it.quiet_us),
        _ => None,
    }
}

fn selects(select: &BTreeMap<String, super::select::Matcher>, entity: &Labels) -> bool {
    select.iter().all(|(name, matcher)| entity.get(name).is_some_and(|value| matcher.admits(value)))
}

/// A number that can be compared and written down.
fn finite(value: f64) -> f64 {
    if value.is_finite() {
        value
    } else {
        0.0
    }
}

/// Labels and value of one row; `None` if its value is no number.
fn row_of(rule: &Rule, sql: &SqlRule, row: &SqlRow) -> Option<(Labels, f64)> {
    let text = |value: &Json| match value {
        Json::String(text) => text.chars().take(1000).collect(),
        other => other.to_string(),
    };
    let number = |value: &Json| match value {
        // ClickHouse writes 64-bit numbers as text.
        Json::String(text) => text.trim().parse::<f64>().ok(),
        Json::Bool(yes) => Some(f64::from(u8::from(*yes))),
        other => other.as_f64(),
    };
    let value = match row.get(&sql.value) {
        Some(value) => number(value).filter(|value| value.is_finite())?,
        None => 1.0,
    };
    let mut labels = rule.labels.clone();
    for (name, column) in row {
        let is_label = match &sql.labels {
            Some(named) => named.contains(name),
            None => *name != sql.value,
        };
        if is_label {
            labels.insert(name.clone(), text(column));
        }
    }
    Some((labels, value))
}

/// Severities in words, for those who print.
pub fn severity_name(severity: Severity) -> &'static str {
    super::reader::severity_word(severity)
}
