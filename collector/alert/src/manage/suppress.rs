//! Who is not told because of somebody else: silences, hosts that are silent, components whose dependency is
//! down, inhibition rules.
//!
//! Two alerts that suppress each other would both be lost. So a suppression counts only if the suppressor
//! is not itself suppressed, however indirectly, by the one it suppresses; in a ring, the one that began
//! first is told.

use std::collections::{BTreeMap, BTreeSet};

use super::reason::Reason;
use super::state::{Alert, Phase, Silence};
use super::{hex, Manager};

/// How many suppressors are looked at behind one before a ring is assumed.
const LOOKED_AT_MAX: usize = 32;

/// Alerts that can suppress others, by what they suppress.
#[derive(Debug, Default)]
pub struct Suppressors {
    silent_hosts: BTreeMap<String, (i64, u64)>,
    down: BTreeMap<(String, String), Vec<u64>>,
    /// For each inhibition rule: its firing sources by their equal labels.
    rules: Vec<BTreeMap<Vec<String>, (i64, u64)>>,
}

impl Manager {
    /// Finds who can suppress, if that may have changed.
    pub(super) fn find_suppressors(&mut self) {
        if self.suppressors.is_some() {
            return;
        }
        let mut found =
            Suppressors { rules: vec![BTreeMap::new(); self.config.inhibit.len()], ..Default::default() };
        for (id, alert) in self.state.alerts.iter().filter(|(_, alert)| alert.phase == Phase::Firing) {
            let rank = (alert.began_us, *id);
            let host = alert.labels.get("host");
            if let Some(host) = host {
                if self.config.host_silent.hold(&alert.rule, alert.severity, &alert.labels) {
                    let first = found.silent_hosts.entry(host.clone()).or_insert(rank);
                    *first = (*first).min(rank);
                }
                if let Some(component) = alert.labels.get("component") {
                    found.down.entry((host.clone(), component.clone())).or_default().push(*id);
                }
            }
            for (rule, sources) in self.config.inhibit.iter().zip(&mut found.rules) {
                if rule.source.hold(&alert.rule, alert.severity, &alert.labels) {
                    let first = sources.entry(equal_values(alert, &rule.equal)).or_insert(rank);
                    *first = (*first).min(rank);
                }
            }
        }
        self.suppressors = Some(found);
    }

    /// Why an alert is not told now, if somebody else is the reason.
    pub(super) fn suppressed(&self, id: u64, alert: &Alert, now_us: i64) -> Option<(Reason, String)> {
        if let Some((name, silence)) = self.silence_of(alert, now_us) {
            return Some((Reason::Silenced, format!("{name} by {}: {}", silence.author, silence.reason)));
        }
        let (reason, source) =
            self.suppressors_of(id, alert).into_iter().find(|(_, source)| self.may_suppress(*source, id))?;
        let rule = self.state.alerts.get(&source).map(|alert| alert.rule.clone()).unwrap_or_default();
        Some((reason, format!("{rule} {}", hex(source))))
    }

    /// The silence that holds for an alert.
    pub(super) fn silence_of(&self, alert: &Alert, now_us: i64) -> Option<(&String, &Silence)> {
        self.state.silences.iter().find(|(_, silence)| {
            (silence.begins_us..silence.expires_us).contains(&now_us)
                && silence.matchers.hold(&alert.rule, alert.severity, &alert.labels)
        })
    }

    /// The alert that says an alert's host is silent, if another one.
    pub(super) fn silent_host_of(&self, id: u64, alert: &Alert) -> Option<u64> {
        if self.config.host_silent.hold(&alert.rule, alert.severity, &alert.labels) {
            return None;
        }
        let silent = &self.suppressors.as_ref()?.silent_hosts;
        silent.get(alert.labels.get("host")?).map(|(_, source)| *source).filter(|source| *source != id)
    }

    fn suppressors_of(&self, id: u64, alert: &Alert) -> Vec<(Reason, u64)> {
        let Some(known) = &self.suppressors else { return Vec::new() };
        let mut found = Vec::new();
        if let Some(source) = self.silent_host_of(id, alert) {
            found.push((Reason::HostSilent, source));
        }
        for (host, component) in self.needed_by(alert) {
            for source in known.down.get(&(host, component)).into_iter().flatten() {
                let worse =
                    self.state.alerts.get(source).is_some_and(|other| other.severity >= alert.severity);
                if worse && *source != id {
                    found.push((Reason::DependencyDown, *source));
                }
            }
        }
        for (rule, sources) in self.config.inhibit.iter().zip(&known.rules) {
            if !rule.target.hold(&alert.rule, alert.severity, &alert.labels)
                || rule.source.hold(&alert.rule, alert.severity, &alert.labels)
            {
                continue;
            }
            if let Some((_, source)) = sources.get(&equal_values(alert, &rule.equal)) {
                if *source != id {
                    found.push((Reason::Inhibited, *source));
                }
            }
        }
        found
    }

    /// Components that an alert's component needs, however indirectly, as (host, component).
    pub(super) fn needed_by(&self, alert: &Alert) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        let (Some(host), Some(component)) = (alert.labels.get("host"), alert.labels.get("component")) else {
            return found;
        };
        let start = (host.clone(), component.clone());
        let mut open = vec![start.clone()];
        while let Some((host, component)) = open.pop() {
            let needs = self.depends.get(&host).and_then(|components| components.get(&component));
            for need in needs.into_iter().flatten() {
                let next = match need.split_once('/') {
                    Some((other, component)) => (other.to_owned(), component.to_owned()),
                    None => (host.clone(), need.clone()),
                };
                if next != start && found.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        found
    }

    /// Whether a suppressor counts: it does not hang on the one it would suppress, or it came first.
    fn may_suppress(&self, source: u64, target: u64) -> bool {
        let rank = |id: u64| self.state.alerts.get(&id).map(|alert| (alert.began_us, id));
        if rank(source) < rank(target) {
            return true;
        }
        let mut seen = BTreeSet::from([source]);
        let mut open = vec![source];
        while let Some(id) = open.pop() {
            let Some(alert) = self.state.alerts.get(&id) else { continue };
            for (_, behind) in self.suppressors_of(id, alert) {
                if behind == target || seen.len() > LOOKED_AT_MAX {
                    return false;
                }
                if seen.insert(behind) {
                    open.push(behind);
                }
            }
        }
        true
    }
}

fn equal_values(alert: &Alert, names: &[String]) -> Vec<String> {
    names.iter().map(|name| alert.labels.get(name).cloned().unwrap_or_default()).collect()
}
