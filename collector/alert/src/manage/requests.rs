//! What people ask for: silences, acknowledgements, resolving by hand. Each has an author and leaves a row.

use serde::{Deserialize, Serialize};

use crate::handoff::{Labels, NotificationKind};

use super::config::MINUTE;
use super::matchers::Matchers;
use super::reason::Reason;
use super::state::{Acknowledgement, Phase, Silence, Transition, SILENCES_MAX};
use super::{push_row, unhex, Manager};

/// Longest silence, µs: a year. What is to be quiet for ever is to be taken out of the rules.
const SILENCE_MAX_US: i64 = 366 * 24 * 60 * MINUTE;
/// Longest author, note or reason, bytes.
const TEXT_MAX: usize = 1_000;

/// One thing asked for. `target` is an alert's id, an incident's id or a group's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Matching alerts are not told for a time.
    Silence {
        /// Which; at least one.
        matchers: Matchers,
        /// Who asks.
        author: String,
        /// Why.
        reason: String,
        /// From when, µs since 1970; none: now.
        begins_us: Option<i64>,
        /// Until when, µs since 1970.
        expires_us: i64,
    },
    /// Ends a silence.
    Unsilence {
        /// Its id.
        id: String,
        /// Who asks.
        author: String,
    },
    /// Takes alerts: no reminder, no escalation any more.
    Ack {
        /// Alert, incident or group.
        target: String,
        /// Who takes it.
        author: String,
        /// A word.
        note: String,
    },
    /// Gives alerts back.
    Unack {
        /// Alert, incident or group.
        target: String,
        /// Who asks.
        author: String,
        /// A word.
        #[serde(default)]
        note: String,
    },
    /// Ends alerts by hand; one comes back when its condition begins anew.
    Resolve {
        /// Alert, incident or group.
        target: String,
        /// Who asks.
        author: String,
        /// A word.
        note: String,
    },
}

/// Why something asked for is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A silence of everything would be an outage of its own.
    #[error("a silence needs at least one matcher; name a rule, a host or another label")]
    NoMatcher,
    /// It ends before it begins, or lasts more than a year.
    #[error("a silence ends after now and after it begins, within a year; give another expiry")]
    Times,
    /// No author, or no reason.
    #[error("{0} is missing or longer than 1000 bytes; say {0} in a few words")]
    Text(&'static str),
    /// The table of silences is full.
    #[error("there are {SILENCES_MAX} silences already; end some first")]
    TooMany,
    /// Nothing of this name.
    #[error("there is no {what} {name}; list them and choose one")]
    Unknown {
        /// Silence, or alert, incident or group.
        what: &'static str,
        /// As asked.
        name: String,
    },
    /// There is nothing to do it to.
    #[error("nothing of {name} fires; there is nothing to do")]
    NothingFires {
        /// As asked.
        name: String,
    },
}

impl Manager {
    /// Does what is asked. Gives the silence's id, or how many alerts it was done to.
    ///
    /// # Errors
    /// When the request names nothing there is, or says too little; nothing is changed then.
    pub fn ask(&mut self, request: &Request, now_us: i64) -> Result<String, RequestError> {
        match request {
            Request::Silence { matchers, author, reason, begins_us, expires_us } => {
                check_text("the author", author)?;
                check_text("the reason", reason)?;
                let begins_us = begins_us.unwrap_or(now_us);
                let silence = Silence {
                    matchers: matchers.clone(),
                    author: author.clone(),
                    reason: reason.clone(),
                    begins_us,
                    expires_us: *expires_us,
                };
                self.silence(silence, now_us)
            }
            Request::Unsilence { id, author } => {
                check_text("the author", author)?;
                let ended = self.state.silences.remove(id);
                let silence =
                    ended.ok_or_else(|| RequestError::Unknown { what: "silence", name: id.clone() })?;
                self.silence_row(id, &silence, Reason::SilenceOver, &format!("ended by {author}"), now_us);
                Ok(id.clone())
            }
            Request::Ack { target, author, note } => {
                check_text("the author", author)?;
                check_length("the note", note)?;
                let ids = self.firing_of(target)?;
                self.acknowledge(&ids, author, note, now_us);
                Ok(ids.len().to_string())
            }
            Request::Unack { target, author, note } => {
                check_text("the author", author)?;
                check_length("the note", note)?;
                let more = if note.is_empty() { String::new() } else { format!(": {note}") };
                let text = format!("given back by {author}{more}");
                let ids = self.firing_of(target)?;
                for id in &ids {
                    if let Some(alert) = self.state.alerts.get_mut(id) {
                        alert.acknowledged = None;
                    }
                    self.note(*id, now_us, Reason::AcknowledgedBy, "", text.clone());
                }
                Ok(ids.len().to_string())
            }
            Request::Resolve { target, author, note } => {
                check_text("the author", author)?;
                check_length("the note", note)?;
                let ids = self.firing_of(target)?;
                for id in &ids {
                    if let Some(alert) = self.state.alerts.get_mut(id) {
                        alert.closed_since_us = Some(alert.since_us);
                        alert.flapping = false;
                        alert.changes.clear();
                    }
                    let text = format!("by {author}: {note}");
                    self.set_phase(*id, Phase::Resolved, now_us, Reason::ResolvedByHand, &text);
                }
                Ok(ids.len().to_string())
            }
        }
    }

    /// How many alerts that are pending or fire a silence of these patterns would be about.
    pub fn matching(&self, matchers: &Matchers) -> usize {
        let alerts = self.state.alerts.values();
        let meant = |alert: &&super::Alert| matchers.hold(&alert.rule, alert.severity, &alert.labels);
        alerts.filter(|alert| alert.phase != Phase::Resolved).filter(meant).count()
    }

    fn silence(&mut self, silence: Silence, now_us: i64) -> Result<String, RequestError> {
        if silence.matchers.0.is_empty() {
            return Err(RequestError::NoMatcher);
        }
        let length = silence.expires_us.saturating_sub(silence.begins_us);
        if silence.expires_us <= now_us || !(1..=SILENCE_MAX_US).contains(&length) {
            return Err(RequestError::Times);
        }
        if self.state.silences.len() >= SILENCES_MAX {
            return Err(RequestError::TooMany);
        }
        self.state.next_silence += 1;
        let id = format!("s{}", self.state.next_silence);
        let text = format!("by {}: {}", silence.author, silence.reason);
        self.silence_row(&id, &silence, Reason::SilenceBegan, &text, now_us);
        self.state.silences.insert(id.clone(), silence);
        Ok(id)
    }

    /// Ends silences whose time is up.
    pub(super) fn end_silences(&mut self, now_us: i64) {
        let over: Vec<String> = self
            .state
            .silences
            .iter()
            .filter(|(_, silence)| silence.expires_us <= now_us)
            .map(|(id, _)| id.clone())
            .collect();
        for id in over {
            if let Some(silence) = self.state.silences.remove(&id) {
                self.silence_row(&id, &silence, Reason::SilenceOver, "expired", now_us);
            }
        }
    }

    fn silence_row(&mut self, id: &str, silence: &Silence, reason: Reason, text: &str, now_us: i64) {
        let row = Transition {
            at_us: now_us,
            alert: String::new(),
            rule: silence.matchers.0.get("rule").cloned().unwrap_or_default(),
            labels: Labels::from_iter(silence.matchers.0.clone()),
            severity: String::new(),
            value: 0.0,
            from: String::new(),
            to: String::new(),
            reason: reason.name().to_owned(),
            group: String::new(),
            incident: String::new(),
            text: format!("silence {id} {text}"),
        };
        push_row(&mut self.state.rows, &mut self.state.rows_dropped, row);
        self.version += 1;
    }

    fn acknowledge(&mut self, ids: &[u64], author: &str, note: &str, now_us: i64) {
        let text = if note.is_empty() { format!("by {author}") } else { format!("by {author}: {note}") };
        let mut groups = std::collections::BTreeMap::<String, Vec<u64>>::new();
        for id in ids {
            let Some(alert) = self.state.alerts.get_mut(id) else { continue };
            let taken = Acknowledgement { author: author.to_owned(), note: note.to_owned(), at_us: now_us };
            alert.acknowledged = Some(taken);
            for key in &alert.groups {
                groups.entry(key.clone()).or_default().push(*id);
            }
            self.note(*id, now_us, Reason::AcknowledgedBy, "", text.clone());
        }
        for (key, ids) in groups {
            let Some(mut group) = self.state.groups.remove(&key) else { continue };
            let told: Vec<u64> = ids.into_iter().filter(|id| group.told.contains(id)).collect();
            let channels: Vec<String> = group.channels.iter().cloned().collect();
            if !told.is_empty() && group.open_us.is_some() {
                let reason = Reason::AcknowledgedBy;
                let from = self.fresh.len();
                self.tell(&key, &mut group, NotificationKind::Acknowledged, &channels, &told, reason, now_us);
                self.say_who(from, &text);
            }
            self.state.groups.insert(key, group);
        }
        self.version += 1;
    }

    /// The reason of an acknowledgement names who and why.
    fn say_who(&mut self, from: usize, text: &str) {
        for notification in &mut self.fresh[from..] {
            notification.reason = format!("{} {text}", Reason::AcknowledgedBy.name());
            let id = notification.id.as_str();
            if let Some(out) = self.state.outbox.values_mut().rev().find(|out| out.notification.id == id) {
                out.notification.reason.clone_from(&notification.reason);
            }
        }
    }

    /// Alerts that fire of an alert's id, an incident's id or a group's key.
    fn firing_of(&self, target: &str) -> Result<Vec<u64>, RequestError> {
        let ids: Vec<u64> = if let Some(group) = self.state.groups.get(target) {
            group.members.iter().copied().collect()
        } else {
            let id = unhex(target);
            if let Some(id) = id.filter(|id| self.state.alerts.contains_key(id)) {
                vec![id]
            } else if let Some(incident) = id.and_then(|id| self.state.incidents.get(&id)) {
                incident.alerts.clone()
            } else {
                let what = "alert, incident or group";
                return Err(RequestError::Unknown { what, name: target.to_owned() });
            }
        };
        let shows = |id: &u64| self.state.alerts.get(id).is_some_and(super::Alert::shows);
        let firing: Vec<u64> = ids.into_iter().filter(shows).collect();
        if firing.is_empty() {
            return Err(RequestError::NothingFires { name: target.to_owned() });
        }
        Ok(firing)
    }
}

fn check_text(what: &'static str, text: &str) -> Result<(), RequestError> {
    if text.trim().is_empty() {
        return Err(RequestError::Text(what));
    }
    check_length(what, text)
}

fn check_length(what: &'static str, text: &str) -> Result<(), RequestError> {
    if text.len() > TEXT_MAX {
        return Err(RequestError::Text(what));
    }
    Ok(())
}
