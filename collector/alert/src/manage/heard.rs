//! When what nobody says any more is over. Rules say again every few seconds what holds, so silence means that it
//! holds no more, but only silence of somebody who could have spoken: it is counted in time in which this manager
//! lived, the rules beside the host's partition lived, and they had fresh data of the host. A collector that is
//! killed every few seconds, a store that is behind, a host that is silent: none of these ends an alert.

use super::config::SECOND;
use super::reason::Reason;
use super::state::{Alert, Phase};
use super::Manager;

/// The most that one word of a host counts for, µs.
const STEP_MAX_US: i64 = 2 * SECOND;
/// Time that words which come together may share, µs.
const CREDIT_MAX_US: i64 = 5 * SECOND;
/// Alerts are looked at this often, µs.
const LOOK_EVERY_US: i64 = SECOND;
/// Silence from which on it is saved how far it is, and how often, µs.
const WORTH_SAVING_US: i64 = 15 * SECOND;
/// See [`WORTH_SAVING_US`].
const SAVE_EVERY_US: i64 = 5 * SECOND;
/// What is about no host counts as heard while any host was, within this time, µs.
const ANY_US: i64 = 5 * SECOND;

/// What was heard in this life; silence before it counts for nothing.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    hosts: std::collections::BTreeMap<String, Ear>,
    any_us: i64,
    looked_us: i64,
    saved_us: i64,
}

/// One host.
#[derive(Debug)]
struct Ear {
    /// Time of the newest data, µs.
    data_us: i64,
    /// When it was heard, µs.
    now_us: i64,
    /// Time lived that no data has used up yet, µs.
    credit_us: i64,
}

/// The host that an alert is about; empty: none.
pub(super) fn host_of(alert: &Alert) -> &str {
    alert.labels.get("host").map_or("", String::as_str)
}

impl Manager {
    /// Rules have evaluated fresh data of this host, of the time `at_us`; what they say of it comes with it or was
    /// said a few seconds ago.
    pub fn heard(&mut self, host: &str, at_us: i64, now_us: i64) {
        self.hearing.any_us = now_us;
        let Some(heard) = self.state.heard.get_mut(host) else { return };
        let Some(ear) = self.hearing.hosts.get_mut(host) else {
            let ear = Ear { data_us: at_us, now_us, credit_us: 0 };
            self.hearing.hosts.insert(host.to_owned(), ear);
            return;
        };
        // Neither data that is caught up in a moment, nor time without data, is time in which somebody spoke.
        let lived_us = (now_us - ear.now_us).max(0);
        ear.credit_us = ear.credit_us.saturating_add(lived_us).min(CREDIT_MAX_US);
        let step_us = at_us.saturating_sub(ear.data_us).clamp(0, STEP_MAX_US).min(ear.credit_us);
        ear.credit_us -= step_us;
        (ear.data_us, ear.now_us) = (at_us, now_us);
        *heard += step_us;
    }

    /// How long a host was heard since it has alerts, µs: what an alert's silence is measured by.
    pub(super) fn heard_us(&mut self, host: &str) -> i64 {
        match self.state.heard.get(host) {
            Some(heard) => *heard,
            None => {
                self.state.heard.insert(host.to_owned(), 0);
                0
            }
        }
    }

    /// What is about no host is heard while any host is.
    pub(super) fn hear_fleet(&mut self, passed_us: i64, now_us: i64) {
        if now_us - self.hearing.any_us <= ANY_US {
            if let Some(heard) = self.state.heard.get_mut("") {
                *heard += passed_us.clamp(0, STEP_MAX_US);
            }
        }
    }

    /// Ends what nobody says any more.
    pub(super) fn end_stale(&mut self, now_us: i64) {
        if (0..LOOK_EVERY_US).contains(&(now_us - self.hearing.looked_us)) {
            return;
        }
        self.hearing.looked_us = now_us;
        let mut stale = Vec::new();
        let mut longest_us = 0;
        for (id, alert) in self.state.alerts.iter().filter(|(_, alert)| alert.phase != Phase::Resolved) {
            let heard_us = self.state.heard.get(host_of(alert)).copied().unwrap_or(0);
            let silent_us = heard_us.saturating_sub(alert.said_heard_us);
            longest_us = longest_us.max(silent_us);
            if silent_us > self.config.stale_us {
                stale.push(*id);
            }
        }
        if longest_us > WORTH_SAVING_US && now_us - self.hearing.saved_us >= SAVE_EVERY_US {
            self.hearing.saved_us = now_us;
            self.version += 1;
        }
        for id in stale {
            self.set_phase(id, Phase::Resolved, now_us, Reason::Stale, "nobody says it any more");
        }
    }

    /// Forgets how long hosts were heard that have no alert any more.
    pub(super) fn forget_heard(&mut self) {
        let used: std::collections::BTreeSet<&str> = self.state.alerts.values().map(host_of).collect();
        self.state.heard.retain(|host, _| used.contains(host.as_str()));
        self.hearing.hosts.retain(|host, _| used.contains(host.as_str()));
    }
}
