//! Alerts: what is remembered of findings, and who is told.
//!
//! [`Manager::findings`] takes what rules say, [`Manager::tick`] decides what is told, to whom and why not.
//! Each thing told is an entry of the outbox with an id that never changes; whoever sends saves the
//! [`State`] before it sends and after, so that after a crash the same notification goes out under the
//! same id. A tick decides in this order:
//!
//! 1. what nobody says any more is over (`heard.rs`); silences end; storms end or go on (`storm.rs`);
//! 2. each group looks at its alerts (`group.rs`): who is suppressed (`suppress.rs`), who must wait, who is
//!    news. News of which too much alike was told moves to the route's storm group, which names non-critical
//!    ones in digests and critical ones in batches 1, 2, 4 … 30 s apart: each critical alert is named in some
//!    message, and 10,000 of them are a handful of messages;
//! 3. what had no room is told; what is long over is forgotten.
//!
//! Rejected: a queue of timers (a tick that looks at all groups costs a millisecond and cannot forget one),
//! and holding criticals back in a storm (the first one of each is what people must not miss).

mod clock;
pub mod config;
mod config_file;
mod group;
mod heard;
mod hours;
mod incident;
mod intake;
mod matchers;
mod outbox;
mod reason;
mod requests;
mod state;
mod storm;
mod suppress;
mod tell;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::handoff::Notification;

pub use config::Config;
pub use config_file::{parse_span, ConfigError};
pub use incident::{Cause, IncidentView};
pub use matchers::{word, Matchers};
pub use outbox::Outcome;
pub use reason::Reason;
pub use requests::{Request, RequestError};
pub use state::{
    Acknowledgement, Alert, Delivery, Group, Incident, Outgoing, Phase, Silence, State, Storm, Transition,
    Why,
};

use config::Route;
use suppress::Suppressors;

/// Components and what they need, by host: `host → component → depends_on`. An entry of `depends_on` is a
/// component of the same host, or `host/component`.
pub type Dependencies = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// Remembers alerts and decides who is told.
#[derive(Debug)]
pub struct Manager {
    config: Config,
    depends: Dependencies,
    state: State,
    suppressors: Option<Suppressors>,
    fresh: Vec<Notification>,
    hearing: heard::Hearing,
    /// Alerts that may be over soon without anybody's help.
    being_mended: std::collections::BTreeSet<u64>,
    /// Since when the clock is behind, by itself, µs.
    behind_since_us: Option<i64>,
    version: u64,
}

/// What a tick decided.
#[derive(Debug, Default, PartialEq)]
pub struct Output {
    /// Decided now; they stand in the outbox as well.
    pub notifications: Vec<Notification>,
    /// Rows for the history, in order.
    pub transitions: Vec<Transition>,
}

/// How much there is of everything.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Alerts pending.
    pub pending: usize,
    /// Alerts firing.
    pub firing: usize,
    /// Alerts over and kept.
    pub resolved: usize,
    /// Groups.
    pub groups: usize,
    /// Storms that last.
    pub storms: usize,
    /// Silences.
    pub silences: usize,
    /// Incidents that are not over.
    pub incidents: usize,
    /// Notifications not sent yet.
    pub outbox: usize,
    /// Findings that had no room.
    pub overflow: u64,
}

impl Manager {
    /// Begins with nothing.
    pub fn new(config: Config) -> Self {
        Self::restore(config, State::default())
    }

    /// Goes on from a saved state. What was being sent is due again, with the same id.
    pub fn restore(config: Config, state: State) -> Self {
        let mut restored = Self {
            config,
            depends: Dependencies::new(),
            state,
            suppressors: None,
            fresh: Vec::new(),
            hearing: heard::Hearing::default(),
            being_mended: std::collections::BTreeSet::new(),
            behind_since_us: None,
            version: 0,
        };
        restored.hand_again();
        restored
    }

    /// Takes new settings; groups stay with routes of the same name, the others go to the root.
    pub fn reload(&mut self, config: Config) {
        self.config = config;
        self.suppressors = None;
    }

    /// Takes what depends on what.
    pub fn set_dependencies(&mut self, depends: Dependencies) {
        if self.depends != depends {
            self.depends = depends;
            self.suppressors = None;
        }
    }

    /// Takes which alerts are being mended now, by fingerprint: routes with `after_mending` wait for these.
    pub fn set_being_mended(&mut self, alerts: std::collections::BTreeSet<u64>) {
        self.being_mended = alerts;
    }

    /// The state, to be saved and shown.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Grows whenever something worth saving changed; a repeated finding is not.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Decides what is told now. `now_us` is the wall clock in µs since 1970, which may go back (`clock.rs`);
    /// call it each second or oftener.
    pub fn tick(&mut self, now_us: i64) -> Output {
        let now_us = self.advance(now_us);
        self.hear_fleet(now_us - self.state.ticked_us, now_us);
        self.state.ticked_us = now_us;
        self.end_stale(now_us);
        self.end_flapping(now_us);
        self.end_silences(now_us);
        self.end_storms(now_us);
        self.find_suppressors();
        let keys: Vec<(bool, String)> =
            self.state.groups.iter().map(|(key, group)| (group.storm, key.clone())).collect();
        for (_, key) in keys.iter().filter(|(storm, _)| !storm) {
            self.flush(key, now_us);
        }
        let storms: Vec<String> =
            self.state.groups.iter().filter(|(_, group)| group.storm).map(|(key, _)| key.clone()).collect();
        for key in &storms {
            self.flush_storm(key, now_us);
        }
        self.tell_overflow(now_us);
        self.end_incidents(now_us);
        self.forget(now_us);
        let transitions = std::mem::take(&mut self.state.rows);
        Output { notifications: std::mem::take(&mut self.fresh), transitions }
    }

    /// How much there is.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            groups: self.state.groups.len(),
            storms: self.state.storms.values().filter(|storm| storm.since_us.is_some()).count(),
            silences: self.state.silences.len(),
            incidents: self.state.incidents.values().filter(|incident| incident.over_us.is_none()).count(),
            outbox: self.state.outbox.len(),
            overflow: self.state.overflow.total,
            ..Counts::default()
        };
        for alert in self.state.alerts.values() {
            match alert.phase {
                Phase::Pending => counts.pending += 1,
                Phase::Firing => counts.firing += 1,
                Phase::Resolved => counts.resolved += 1,
            }
        }
        counts
    }

    /// The route of this name, or the root.
    fn route(&self, name: &str) -> &Route {
        self.config.routes.iter().find(|route| route.name == name).unwrap_or(&self.config.routes[0])
    }

    /// Notes a decision about an alert, unless it is what was noted last for the same group.
    fn note(&mut self, id: u64, now_us: i64, reason: Reason, group: &str, detail: String) {
        let Some(alert) = self.state.alerts.get_mut(&id) else { return };
        let last = alert.why.iter().rev().find(|why| why.group == group);
        if last.is_some_and(|why| why.reason == reason && why.detail == detail) {
            return;
        }
        let phase = alert.phase;
        if alert.why.len() >= WHY_KEPT_MAX {
            alert.why.remove(WHY_FIRST_KEPT);
        }
        if !reason.is_wait() {
            let row = row(id, alert, now_us, (phase.name(), phase.name()), reason, group, &detail);
            push_row(&mut self.state.rows, &mut self.state.rows_dropped, row);
        }
        alert.why.push_back(Why { at_us: now_us, reason, group: group.to_owned(), detail });
        self.version += 1;
    }
}

const WHY_KEPT_MAX: usize = state::WHY_MAX;
/// How many of the first reasons stay when older ones go.
const WHY_FIRST_KEPT: usize = 4;

/// The name of an alert or incident: 16 hexadecimal digits.
pub fn hex(id: u64) -> String {
    format!("{id:016x}")
}

/// Reads what [`hex`] wrote.
pub fn unhex(text: &str) -> Option<u64> {
    (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

fn row(
    id: u64,
    alert: &Alert,
    at_us: i64,
    (from, to): (&str, &str),
    reason: Reason,
    group: &str,
    text: &str,
) -> Transition {
    Transition {
        at_us,
        alert: hex(id),
        rule: alert.rule.clone(),
        labels: alert.labels.clone(),
        severity: word(alert.severity).to_owned(),
        value: alert.value,
        from: from.to_owned(),
        to: to.to_owned(),
        reason: reason.name().to_owned(),
        group: group.to_owned(),
        incident: alert.incident.map(hex).unwrap_or_default(),
        text: text.to_owned(),
    }
}

fn push_row(rows: &mut Vec<Transition>, dropped: &mut u64, row: Transition) {
    if rows.len() < state::ROWS_MAX {
        rows.push(row);
    } else {
        *dropped += 1;
    }
}
