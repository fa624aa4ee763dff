//! From findings to alerts: pending, firing, resolved; one alert a fingerprint; flapping; the bound on how
//! many there are.

use crate::handoff::{Finding, Severity, Standing};

use super::config::Outside;
use super::heard::host_of;
use super::matchers::word;
use super::reason::Reason;
use super::state::{Alert, Group, Phase, Transition};
use super::{push_row, row, Manager};

/// Longest summary and description kept, bytes; rules that write more are cut.
const SUMMARY_MAX: usize = 300;
/// See [`SUMMARY_MAX`].
const DESCRIPTION_MAX: usize = 1_000;
/// A word that is older than the last one by no more than this comes late; one that is older still tells of a
/// clock that was set back, µs.
const LATE_MAX_US: i64 = super::config::MINUTE;
/// Rules that the count of what had no room names.
const OVERFLOW_RULES_MAX: usize = 100;

impl Manager {
    /// Takes what rules said. `now_us` is the wall clock, µs since 1970.
    pub fn findings(&mut self, findings: &[Finding], now_us: i64) {
        let mut victims: Option<Vec<u64>> = None;
        for finding in findings {
            let id = finding.fingerprint();
            if self.state.alerts.contains_key(&id) {
                self.hear_again(id, finding, now_us);
                continue;
            }
            if finding.standing == Standing::Resolved {
                continue;
            }
            if self.state.alerts.len() >= self.config.alerts_max {
                let victims = victims.get_or_insert_with(|| self.victims());
                let room = match victims.last() {
                    Some(id) => self
                        .state
                        .alerts
                        .get(id)
                        .is_none_or(|old| old.phase != Phase::Firing || old.severity < finding.severity),
                    None => false,
                };
                if !room {
                    self.count_overflow(finding);
                    continue;
                }
                if let Some(victim) = victims.pop() {
                    self.evict(victim, now_us);
                }
            }
            let mut alert = alert_of(finding, now_us);
            alert.said_heard_us = self.heard_us(host_of(&alert));
            self.state.alerts.insert(id, alert);
            self.set_phase(id, phase_of(finding.standing), now_us, Reason::Condition, "");
        }
    }

    fn hear_again(&mut self, id: u64, finding: &Finding, now_us: i64) {
        let heard_us = self.heard_us(finding.labels.get("host").map_or("", String::as_str));
        let Some(alert) = self.state.alerts.get_mut(&id) else { return };
        let late_us = alert.word_us.saturating_sub(finding.at_us);
        let is_late = (1..=LATE_MAX_US).contains(&late_us);
        if finding.standing != Standing::Resolved {
            alert.said_heard_us = heard_us;
        }
        if is_late {
            // What was so then may be over since, or have begun again: only the newest word counts.
            return;
        }
        if finding.standing == Standing::Pending && alert.phase == Phase::Firing {
            // The condition holds. Rules that have lost what they knew begin their waiting anew; that ends nothing.
            alert.word_us = finding.at_us;
            return;
        }
        alert.word_us = finding.at_us;
        alert.value = finite(finding.value);
        if let Some(since) = alert.closed_since_us {
            if finding.standing != Standing::Resolved && finding.since_us <= since {
                return;
            }
            alert.closed_since_us = None;
        }
        let worse = finding.severity > alert.severity && alert.phase == Phase::Firing;
        if finding.standing != Standing::Resolved {
            alert.severity = finding.severity;
            alert.since_us = finding.since_us;
            if alert.summary != finding.summary {
                alert.summary = cut(&finding.summary, SUMMARY_MAX);
            }
            if alert.description != finding.description {
                alert.description = cut(&finding.description, DESCRIPTION_MAX);
            }
        }
        let phase = phase_of(finding.standing);
        if alert.phase != phase {
            self.set_phase(id, phase, now_us, Reason::Condition, "");
        } else if worse && phase == Phase::Firing {
            let text = format!("worse: now {}", word(finding.severity));
            self.untell(id, now_us);
            self.note(id, now_us, Reason::Condition, "", text);
        }
    }

    /// Changes an alert's phase: the row, the groups, the incident, the flapping.
    pub(super) fn set_phase(&mut self, id: u64, to: Phase, now_us: i64, reason: Reason, text: &str) {
        let limit = self.config.flapping.changes;
        let Some(alert) = self.state.alerts.get_mut(&id) else { return };
        let from = alert.phase;
        let began = alert.why.is_empty();
        if from == to && !began {
            return;
        }
        alert.phase = to;
        let crossing = !began && (from == Phase::Firing || to == Phase::Firing);
        if crossing || to == Phase::Firing {
            alert.changes.push_back(now_us);
            while alert.changes.len() > limit {
                alert.changes.pop_front();
            }
        }
        match to {
            Phase::Firing => {
                alert.began_us = now_us;
                alert.resolved_us = None;
            }
            Phase::Resolved => {
                alert.resolved_us = Some(now_us);
                if !alert.flapping {
                    alert.acknowledged = None;
                }
            }
            Phase::Pending => {
                alert.resolved_us = (from == Phase::Firing).then_some(now_us);
            }
        }
        if to == Phase::Firing {
            self.join_incident(id, now_us);
        }
        self.suppressors = None;
        let begun_from = if began { "none" } else { from.name() };
        self.phase_row(id, (begun_from, to.name()), now_us, reason, text);
        self.look_for_flapping(id, now_us);
        if to == Phase::Firing {
            self.join_groups(id, now_us);
        }
        // A condition that never fired leaves nothing behind.
        let over_unseen = from == Phase::Pending && to == Phase::Resolved;
        if over_unseen && self.state.alerts.get(&id).is_some_and(|alert| alert.changes.is_empty()) {
            self.state.alerts.remove(&id);
        }
    }

    fn phase_row(&mut self, id: u64, step: (&str, &str), now_us: i64, reason: Reason, text: &str) {
        let Some(alert) = self.state.alerts.get_mut(&id) else { return };
        let row = row(id, alert, now_us, step, reason, "", text);
        push_row(&mut self.state.rows, &mut self.state.rows_dropped, row);
        if alert.why.len() >= super::WHY_KEPT_MAX {
            alert.why.remove(super::WHY_FIRST_KEPT);
        }
        let detail = if text.is_empty() { step.1.to_owned() } else { format!("{}: {text}", step.1) };
        alert.why.push_back(super::Why { at_us: now_us, reason, group: String::new(), detail });
        self.version += 1;
    }

    fn look_for_flapping(&mut self, id: u64, now_us: i64) {
        let settings = self.config.flapping.clone();
        let Some(alert) = self.state.alerts.get_mut(&id) else { return };
        let many = alert.changes.len() >= settings.changes
            && alert.changes.front().is_some_and(|first| now_us - first <= settings.window_us);
        if alert.flapping {
            let text = format!("{} changes held back since it flaps", alert.phase.name());
            self.note(id, now_us, Reason::FlappingHeld, "", text);
        } else if many {
            alert.flapping = true;
            let minutes = settings.window_us / super::config::MINUTE;
            let text = format!("{} changes in {minutes} min", settings.changes);
            self.note(id, now_us, Reason::FlappingBegan, "", text);
            self.untell(id, now_us);
            self.join_groups(id, now_us);
        }
    }

    /// A flapping alert that has been calm for the window is what its phase says.
    pub(super) fn end_flapping(&mut self, now_us: i64) {
        let window = self.config.flapping.window_us;
        let calm: Vec<u64> = self
            .state
            .alerts
            .iter()
            .filter(|(_, alert)| alert.flapping)
            .filter(|(_, alert)| alert.changes.back().is_none_or(|last| now_us - last >= window))
            .map(|(id, _)| *id)
            .collect();
        for id in calm {
            if let Some(alert) = self.state.alerts.get_mut(&id) {
                alert.flapping = false;
                alert.changes.clear();
            }
            self.note(id, now_us, Reason::FlappingOver, "", String::new());
        }
    }

    /// Puts an alert into the groups of the routes that take it.
    pub(super) fn join_groups(&mut self, id: u64, now_us: i64) {
        let Some(alert) = self.state.alerts.get(&id) else { return };
        let mut keys: Vec<String> = Vec::new();
        for route in self.routes_of(alert, now_us) {
            let route = &self.config.routes[route];
            let labels = route
                .group_by
                .iter()
                .filter_map(|name| {
                    let value = match name.as_str() {
                        "rule" => Some(alert.rule.as_str()),
                        "severity" => Some(word(alert.severity)),
                        label => alert.labels.get(label).map(String::as_str),
                    };
                    value.map(|value| (name.clone(), value.to_owned()))
                })
                .collect();
            let key = group_key(&route.name, &labels);
            let storm = format!("storm:{}", route.name);
            let kept = self.state.groups.get(&storm).is_some_and(|group| group.members.contains(&id));
            if kept {
                keys.push(storm);
                continue;
            }
            let made = || Group {
                route: route.name.clone(),
                labels,
                count: now_us,
                batch_wait_us: 0,
                ..Group::default()
            };
            self.state.groups.entry(key.clone()).or_insert_with(made).members.insert(id);
            keys.push(key);
        }
        if let Some(alert) = self.state.alerts.get_mut(&id) {
            for key in keys {
                if !alert.groups.contains(&key) {
                    alert.groups.push(key);
                }
            }
        }
        self.version += 1;
    }

    /// Indices of the routes that take an alert which begins now.
    fn routes_of(&self, alert: &Alert, now_us: i64) -> Vec<usize> {
        let mut found = Vec::new();
        self.descend(0, alert, now_us, &mut found);
        if found.is_empty() {
            found.push(0);
        }
        found
    }

    fn descend(&self, index: usize, alert: &Alert, now_us: i64, found: &mut Vec<usize>) -> bool {
        let route = &self.config.routes[index];
        let skipped = route.outside == Outside::Skip && !self.inside_hours(route, now_us);
        if skipped || !route.matchers.hold(&alert.rule, alert.severity, &alert.labels) {
            return false;
        }
        let mut taken = false;
        for child in &route.children {
            if self.descend(*child, alert, now_us, found) {
                taken = true;
                if !self.config.routes[*child].carry_on {
                    return true;
                }
            }
        }
        if !taken {
            found.push(index);
        }
        true
    }

    pub(super) fn inside_hours(&self, route: &super::config::Route, now_us: i64) -> bool {
        let hours = route.hours.as_ref().and_then(|name| self.config.hours.get(name));
        hours.is_none_or(|hours| hours.hold(now_us))
    }

    /// Makes an alert news again in its groups.
    fn untell(&mut self, id: u64, now_us: i64) {
        let Some(alert) = self.state.alerts.get_mut(&id) else { return };
        alert.began_us = now_us;
        for key in &alert.groups {
            if let Some(group) = self.state.groups.get_mut(key) {
                group.told.remove(&id);
            }
        }
        self.version += 1;
    }

    /// Who goes first when there is no room, the first one last: what is over (the oldest first), then
    /// what is pending, then what fires (the mildest first).
    fn victims(&self) -> Vec<u64> {
        let mut all: Vec<(u8, i64, u64)> = self
            .state
            .alerts
            .iter()
            .map(|(id, alert)| match alert.phase {
                Phase::Resolved if !alert.flapping => (0, alert.resolved_us.unwrap_or(0), *id),
                Phase::Pending => (1 + alert.severity as u8, alert.since_us, *id),
                _ => (10 + alert.severity as u8, alert.began_us, *id),
            })
            .collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.into_iter().map(|(_, _, id)| id).collect()
    }

    fn evict(&mut self, id: u64, now_us: i64) {
        self.note(id, now_us, Reason::NoRoom, "", "evicted for one that is worse or fires".to_owned());
        let Some(alert) = self.state.alerts.remove(&id) else { return };
        if alert.phase == Phase::Firing {
            self.state.overflow.count(&alert.rule);
        }
        self.suppressors = None;
    }

    fn count_overflow(&mut self, finding: &Finding) {
        if finding.standing != Standing::Firing {
            return;
        }
        self.state.overflow.count(&finding.rule);
        let row = Transition {
            at_us: finding.at_us,
            alert: super::hex(finding.fingerprint()),
            rule: finding.rule.clone(),
            labels: finding.labels.clone(),
            severity: word(finding.severity).to_owned(),
            value: finite(finding.value),
            from: "none".to_owned(),
            to: "none".to_owned(),
            reason: Reason::NoRoom.name().to_owned(),
            group: String::new(),
            incident: String::new(),
            text: "the table of alerts is full".to_owned(),
        };
        push_row(&mut self.state.rows, &mut self.state.rows_dropped, row);
        self.version += 1;
    }

    /// Forgets what is long over and in no group.
    pub(super) fn forget(&mut self, now_us: i64) {
        let keep = self.config.keep_us;
        let groups = &self.state.groups;
        let before = self.state.alerts.len();
        self.state.alerts.retain(|id, alert| {
            let over = alert.phase == Phase::Resolved && !alert.flapping;
            let old = alert.resolved_us.is_none_or(|at| now_us - at > keep);
            let used = alert.groups.iter().any(|key| {
                groups.get(key).is_some_and(|group| group.gone.contains(id) || group.told.contains(id))
            });
            !(over && old) || used
        });
        if self.state.alerts.len() != before {
            self.forget_heard();
            self.version += 1;
        }
    }
}

impl super::state::Overflow {
    fn count(&mut self, rule: &str) {
        self.total += 1;
        self.fresh += 1;
        if let Some(count) = self.by_rule.get_mut(rule) {
            *count += 1;
        } else if self.by_rule.len() < OVERFLOW_RULES_MAX {
            self.by_rule.insert(rule.to_owned(), 1);
        }
    }
}

/// The key of a group: its labels, with the route before them unless that is the root.
fn group_key(route: &str, labels: &crate::handoff::Labels) -> String {
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let labels = if labels.is_empty() { "all".to_owned() } else { labels.join(",") };
    if route == "root" {
        labels
    } else {
        format!("{route}/{labels}")
    }
}

fn alert_of(finding: &Finding, now_us: i64) -> Alert {
    Alert {
        rule: finding.rule.clone(),
        labels: finding.labels.clone(),
        severity: finding.severity,
        phase: phase_of(finding.standing),
        value: finite(finding.value),
        since_us: finding.since_us,
        summary: cut(&finding.summary, SUMMARY_MAX),
        description: cut(&finding.description, DESCRIPTION_MAX),
        runbook: finding.runbook.clone(),
        action: finding.action.clone(),
        said_heard_us: 0,
        word_us: finding.at_us,
        began_us: now_us,
        resolved_us: None,
        cooled_us: None,
        changes: std::collections::VecDeque::new(),
        flapping: false,
        acknowledged: None,
        closed_since_us: None,
        incident: None,
        groups: Vec::new(),
        why: std::collections::VecDeque::new(),
    }
}

fn phase_of(standing: Standing) -> Phase {
    match standing {
        Standing::Pending => Phase::Pending,
        Standing::Firing => Phase::Firing,
        Standing::Resolved => Phase::Resolved,
    }
}

/// JSON has no words for what is not finite.
fn finite(value: f64) -> f64 {
    if value.is_nan() {
        0.0
    } else {
        value.clamp(f64::MIN, f64::MAX)
    }
}

fn cut(text: &str, max: usize) -> String {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// Whether it is the worst there is.
pub(super) fn is_critical(severity: Severity) -> bool {
    severity == Severity::Critical
}
