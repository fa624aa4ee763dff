//! Alerts that belong together, and which of them is probably the cause.
//!
//! An alert joins the incident of its host, or of a host that its component needs or that needs it, if that
//! incident got its last alert within the incident window. Causes are ranked by a weighted sum, each
//! part between 0 and 1: how many of the others depend on it (0.4), how early it began (0.3), how severe it is
//! (0.2), whether an anomaly on the host points at its metric (0.1). The weights say what an operator would:
//! first look below, then look back, then at the loudest.

use std::collections::BTreeSet;

use serde::Serialize;

use super::matchers::word;
use super::state::{Alert, Incident, Phase, INCIDENTS_MAX, INCIDENT_ALERTS_MAX};
use super::tell::subject;
use super::{hex, Manager};

/// Alerts that the ranking looks at: the first ones.
const RANKED_MAX: usize = 50;
/// Causes given.
const CAUSES_MAX: usize = 5;
/// How long an incident that is over is kept, µs.
const KEEP_US: i64 = 24 * 60 * super::config::MINUTE;

/// A probable cause.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cause {
    /// Alert's id.
    pub alert: String,
    /// 0 to 1.
    pub score: f64,
    /// What speaks for it, in words.
    pub text: String,
}

/// An incident as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IncidentView {
    /// Its id, 16 hexadecimal digits.
    pub id: String,
    /// Host that had it first.
    pub host: String,
    /// Ids of its alerts, in the order they came.
    pub alerts: Vec<String>,
    /// How many there were.
    pub alerts_total: usize,
    /// When it began, µs.
    pub began_us: i64,
    /// When it was over, µs.
    pub over_us: Option<i64>,
    /// Probable causes, the most probable first.
    pub causes: Vec<Cause>,
}

impl Manager {
    /// All incidents, the newest first.
    pub fn incidents(&self) -> Vec<IncidentView> {
        let mut all: Vec<IncidentView> =
            self.state.incidents.keys().filter_map(|id| self.incident(*id)).collect();
        all.sort_by_key(|view| std::cmp::Reverse(view.began_us));
        all
    }

    /// One incident.
    pub fn incident(&self, id: u64) -> Option<IncidentView> {
        let incident = self.state.incidents.get(&id)?;
        Some(IncidentView {
            id: hex(id),
            host: incident.host.clone(),
            alerts: incident.alerts.iter().map(|id| hex(*id)).collect(),
            alerts_total: incident.alerts_total,
            began_us: incident.began_us,
            over_us: incident.over_us,
            causes: self.causes(incident),
        })
    }

    /// Puts an alert that begins to fire into an incident.
    pub(super) fn join_incident(&mut self, id: u64, now_us: i64) {
        let Some(alert) = self.state.alerts.get(&id) else { return };
        let Some(host) = alert.labels.get("host").cloned() else { return };
        let open = self.linked_hosts(&host, alert).into_iter().find_map(|host| {
            let id = *self.state.open_incidents.get(&host)?;
            let incident = self.state.incidents.get(&id)?;
            (now_us - incident.joined_us <= self.config.incident_us).then_some(id)
        });
        let chosen = open.unwrap_or_else(|| self.begin_incident(&host, now_us));
        self.state.open_incidents.insert(host, chosen);
        if let Some(incident) = self.state.incidents.get_mut(&chosen) {
            incident.joined_us = now_us;
            incident.over_us = None;
            if !incident.alerts.contains(&id) {
                incident.alerts_total += 1;
                if incident.alerts.len() < INCIDENT_ALERTS_MAX {
                    incident.alerts.push(id);
                }
            }
        }
        if let Some(alert) = self.state.alerts.get_mut(&id) {
            alert.incident = Some(chosen);
        }
    }

    fn begin_incident(&mut self, host: &str, now_us: i64) -> u64 {
        if self.state.incidents.len() >= INCIDENTS_MAX {
            let oldest = self
                .state
                .incidents
                .iter()
                .min_by_key(|(id, incident)| (incident.over_us.is_none(), incident.began_us, **id));
            if let Some(id) = oldest.map(|(id, _)| *id) {
                self.state.incidents.remove(&id);
                self.state.open_incidents.retain(|_, open| *open != id);
            }
        }
        let began = std::collections::BTreeMap::from([("began".to_owned(), now_us.to_string())]);
        let id = crate::handoff::fingerprint(host, &began);
        let incident = Incident {
            host: host.to_owned(),
            alerts: Vec::new(),
            alerts_total: 0,
            began_us: now_us,
            joined_us: now_us,
            over_us: None,
        };
        self.state.incidents.insert(id, incident);
        id
    }

    /// The alert's host first, then hosts its component needs, then hosts that need it.
    fn linked_hosts(&self, host: &str, alert: &Alert) -> Vec<String> {
        let mut hosts = vec![host.to_owned()];
        if self.depends.is_empty() {
            return hosts;
        }
        hosts.extend(self.needed_by(alert).into_iter().map(|(host, _)| host));
        let prefix = format!("{host}/");
        for (other, components) in &self.depends {
            if components.values().flatten().any(|need| need.starts_with(&prefix)) {
                hosts.push(other.clone());
            }
        }
        hosts
    }

    /// Ends incidents whose alerts are all over; forgets old ones.
    pub(super) fn end_incidents(&mut self, now_us: i64) {
        let alerts = &self.state.alerts;
        let mut ended = BTreeSet::new();
        for (id, incident) in &mut self.state.incidents {
            let over = |id: &u64| alerts.get(id).is_none_or(|alert| alert.phase == Phase::Resolved);
            if incident.over_us.is_none() && incident.alerts.iter().all(over) {
                incident.over_us = Some(now_us);
                ended.insert(*id);
            }
        }
        // An incident that is over takes no more alerts once its window has passed; until then it opens again.
        let window = self.config.incident_us;
        let incidents = &mut self.state.incidents;
        let before = incidents.len();
        incidents.retain(|_, incident| incident.over_us.is_none_or(|at| now_us - at < KEEP_US));
        self.state.open_incidents.retain(|_, id| {
            incidents.get(id).is_some_and(|one| one.over_us.is_none() || now_us - one.joined_us <= window)
        });
        if !ended.is_empty() || incidents.len() != before {
            self.version += 1;
        }
    }

    /// The incident of the worst alert, and its probable cause, if it has more than one alert.
    pub(super) fn cause_for(&self, ids: &[u64]) -> (Option<String>, Option<String>) {
        let first = ids.first().and_then(|id| self.state.alerts.get(id));
        let Some(id) = first.and_then(|alert| alert.incident) else { return (None, None) };
        let Some(incident) = self.state.incidents.get(&id) else { return (None, None) };
        let cause = (incident.alerts_total > 1).then(|| self.causes(incident).into_iter().next()).flatten();
        (Some(hex(id)), cause.map(|cause| cause.text))
    }

    fn causes(&self, incident: &Incident) -> Vec<Cause> {
        let alerts: Vec<(u64, &Alert)> = incident
            .alerts
            .iter()
            .take(RANKED_MAX)
            .filter_map(|id| self.state.alerts.get(id).map(|alert| (*id, alert)))
            .collect();
        let first = alerts.iter().map(|(_, alert)| alert.since_us).min().unwrap_or(0);
        let last = alerts.iter().map(|(_, alert)| alert.since_us).max().unwrap_or(0);
        let needs: Vec<BTreeSet<(String, String)>> =
            alerts.iter().map(|(_, alert)| self.needed_by(alert)).collect();
        let mut causes: Vec<Cause> = alerts
            .iter()
            .map(|(id, alert)| {
                let own = alert.labels.get("host").cloned().zip(alert.labels.get("component").cloned());
                let below = own.map_or(0, |own| needs.iter().filter(|needs| needs.contains(&own)).count());
                let pointed_at = alerts.iter().any(|(_, other)| points_at(other, alert));
                cause(*id, alert, below, alerts.len(), (first, last), pointed_at)
            })
            .collect();
        causes.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.alert.cmp(&b.alert)));
        causes.truncate(CAUSES_MAX);
        causes
    }
}

fn cause(
    id: u64,
    alert: &Alert,
    below: usize,
    all: usize,
    (first, last): (i64, i64),
    pointed_at: bool,
) -> Cause {
    #[allow(clippy::cast_precision_loss)] // at most 50 alerts, and times a day apart
    let (depth, early) = (
        below as f64 / (all.saturating_sub(1).max(1)) as f64,
        1.0 - (alert.since_us - first) as f64 / (last - first).max(1) as f64,
    );
    let severity = f64::from(alert.severity as u8) / 3.0;
    let score = 0.4 * depth + 0.3 * early + 0.2 * severity + 0.1 * f64::from(u8::from(pointed_at));
    let mut because = vec![word(alert.severity).to_owned()];
    if alert.since_us == first {
        because.push("began first".to_owned());
    }
    if below > 0 {
        because.push(format!("{below} of {} others depend on it", all.saturating_sub(1)));
    }
    if pointed_at {
        because.push("an anomaly points at it".to_owned());
    }
    let text = format!("{} on {}: {} ({})", alert.rule, subject(alert), alert.summary, because.join(", "));
    Cause { alert: hex(id), score, text }
}

/// Whether an anomaly's finding names the metric that another alert is about: its texts say what it is due to.
fn points_at(anomaly: &Alert, alert: &Alert) -> bool {
    let Some(metric) = alert.labels.get("metric") else { return false };
    let texts = [&anomaly.summary, &anomaly.description];
    anomaly.rule.contains("anomaly")
        && anomaly.rule != alert.rule
        && anomaly.labels.get("host") == alert.labels.get("host")
        && texts.into_iter().any(|text| {
            let names = |c: char| !c.is_alphanumeric() && !matches!(c, '.' | '_');
            text.split(names).any(|word| word.trim_end_matches('.') == metric)
        })
}
